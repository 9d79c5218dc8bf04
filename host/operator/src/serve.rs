//! `/healthz`, `/readyz` and `/metrics` over plain HTTP.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::Ready;
use crate::metrics::Metrics;

/// The content type of OpenMetrics text.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

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
