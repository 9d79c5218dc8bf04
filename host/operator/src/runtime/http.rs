//! `/healthz`, `/readyz` and `/metrics` over plain HTTP.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::runtime::health::Health;
use crate::runtime::metrics::Metrics;

/// The content type of OpenMetrics text.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Answers probes at an address.
///
/// # Errors
/// When the address cannot be bound.
pub(crate) async fn probes(address: SocketAddr, health: Health) -> Result<(), std::io::Error> {
    axum::serve(TcpListener::bind(address).await?, routes(health)).await
}

fn routes(health: Health) -> Router {
    let ready = health.clone();
    Router::new()
        .route("/healthz", get(|| async move { said(health.dead()) }))
        .route("/readyz", get(|| async move { said(ready.unready()) }))
}

/// 200, or 503 with what is wrong.
fn said(wrong: Option<String>) -> (StatusCode, String) {
    match wrong {
        None => (StatusCode::OK, "ok".to_owned()),
        Some(what) => (StatusCode::SERVICE_UNAVAILABLE, what),
    }
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

#[cfg(test)]
mod tests {
    use tower::ServiceExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn probes_say_what_is_wrong() {
        let health = Health::new(Arc::default(), &[]);
        let ask = async |path: &str| {
            let request = axum::extract::Request::get(path).body(axum::body::Body::empty()).unwrap();
            let answer = routes(health.clone()).oneshot(request).await.unwrap();
            let code = answer.status().as_u16();
            let body = axum::body::to_bytes(answer.into_body(), 4096).await.unwrap();
            (code, String::from_utf8(body.to_vec()).unwrap())
        };
        assert_eq!(ask("/readyz").await, (503, "the operator starts".into()));
        health.stands_by();
        assert_eq!(ask("/readyz").await, (200, "ok".into()));
        let _leading = health.leads(&["Task"], &[]);
        let (code, words) = ask("/readyz").await;
        assert!(code == 503 && words.contains("the first list of Tasks is not complete"), "{code} {words}");
        assert_eq!(ask("/healthz").await, (200, "ok".into()));
        tokio::time::sleep(std::time::Duration::from_secs(601)).await;
        let (code, words) = ask("/healthz").await;
        assert!(
            code == 503 && words.contains("the watch of Tasks has shown nothing for 601 s"),
            "{code} {words}"
        );
    }
}
