//! `/healthz`, `/readyz` and `/metrics` over plain HTTP.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::runtime::metrics::Metrics;

/// The content type of OpenMetrics text.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Whether the operator's caches are filled, or it stands by for the leader.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ready(Arc<AtomicBool>);

impl Ready {
    /// From now on `/readyz` answers 200.
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn get(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Answers probes at an address.
///
/// # Errors
/// When the address cannot be bound.
pub(crate) async fn probes(address: SocketAddr, ready: Ready) -> Result<(), std::io::Error> {
    let readyz = move || async move {
        if ready.get() {
            (StatusCode::OK, "ok")
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, "the caches are not filled yet")
        }
    };
    let routes = Router::new().route("/healthz", get(|| async { "ok" })).route("/readyz", get(readyz));
    axum::serve(TcpListener::bind(address).await?, routes).await
}

/// Answers scrapes at an address.
///
/// # Errors
/// When the address cannot be bound.
pub(crate) async fn metrics(address: SocketAddr, metrics: Arc<Metrics>) -> Result<(), std::io::Error> {
    let text =
        move || async move { ([(header::CONTENT_TYPE, OPEN_METRICS)], metrics.text()).into_response() };
    let routes = Router::new().route("/metrics", get(text));
    axum::serve(TcpListener::bind(address).await?, routes).await
}
