//! The client, and its connections to the API server.
//!
//! kube's own client leaves Nagle's algorithm on, and offers no way to turn it off. A connection whose TLS session is resumed begins
//! with words of ours that a server in Go answers by nothing, so its kernel acknowledges them only after 40 ms, and until then ours
//! held the request back: docs/decisions/0138.

use std::time::Duration;

use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::client::{Body, ClientBuilder, ConfigExt};
use kube::{Client, Config};
use tower::{BoxError, ServiceBuilder};

use crate::runtime::answer_limit::AnswerLimit;

/// How long a connection may be silent: longer than a watch, which hears of its end after at most 290 seconds.
const SILENCE: Duration = Duration::from_secs(300);
/// How long a connection that nobody uses is kept for the next request. An API server closes one after 90 s, and so would hyper: a
/// request that is sent in that moment is lost, and of a POST nobody knows whether it was done.
const MAX_IDLE: Duration = Duration::from_secs(60);

/// A client that repeats nothing by itself: whether a POST that was not answered was done is decided by looking. It waits 90 s for
/// the beginning of an answer, but for that of a watch.
///
/// # Errors
/// When the configuration names files that cannot be read.
pub fn client(mut config: Config) -> Result<Client, kube::Error> {
    config.default_retry = false;
    config.read_timeout.get_or_insert(SILENCE);
    if config.proxy_url.is_some() {
        // kube knows the ways through proxies
        return Ok(ClientBuilder::try_from(config)?.with_layer(&AnswerLimit).build());
    }
    let mut connector = TimeoutConnector::new(config.rustls_https_connector_with_connector(tcp())?);
    connector.set_connect_timeout(config.connect_timeout);
    connector.set_read_timeout(config.read_timeout);
    connector.set_write_timeout(config.write_timeout);
    connector.set_reset_reader_on_write(config.reset_reader_on_write);
    let http: legacy::Client<_, Body> = legacy::Client::builder(TokioExecutor::new())
        .pool_idle_timeout(MAX_IDLE)
        .pool_timer(TokioTimer::new())
        .build(connector);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(http);
    Ok(ClientBuilder::new(service, config.default_namespace).with_layer(&AnswerLimit).build())
}

/// What TLS goes over: all that is written is sent at once.
fn tcp() -> HttpConnector {
    let mut connector = HttpConnector::new();
    // https is what lies over it
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use axum::extract::ConnectInfo;
    use axum::routing::get;
    use axum::{Json, Router};
    use http::Uri;
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::ResourceExt;
    use kube::api::Api;
    use serde_json::json;
    use tokio::net::TcpListener;
    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn a_request_does_not_wait_until_what_was_sent_before_it_is_acknowledged() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: Uri = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let connection = tcp().oneshot(address).await.unwrap();
        assert!(connection.inner().nodelay().unwrap());
    }

    #[tokio::test]
    async fn a_connection_that_nobody_used_for_a_minute_is_not_used_again() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: Uri = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let who_asks = |ConnectInfo(from): ConnectInfo<SocketAddr>| async move {
            let data = json!({"from": from.to_string()});
            Json(
                json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "asked"}, "data": data}),
            )
        };
        let routes = Router::new().route("/api/v1/namespaces/team/configmaps/asked", get(who_asks));
        let service = routes.into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, service).await });
        let mut config = Config::new(address);
        // without any, the machine's own would be read
        config.root_cert = Some(Vec::new());
        let maps = Api::<ConfigMap>::namespaced(client(config).unwrap(), "team");
        let ask = async || maps.get("asked").await.unwrap().data.unwrap()["from"].clone();
        let first = ask().await;
        pass(MAX_IDLE / 2).await;
        assert_eq!(ask().await, first);
        pass(MAX_IDLE + Duration::from_secs(1)).await;
        assert_ne!(ask().await, first);
    }

    /// As if so much time went by.
    async fn pass(time: Duration) {
        tokio::time::pause();
        tokio::time::advance(time).await;
        tokio::time::resume();
    }

    #[tokio::test]
    async fn an_api_server_below_a_path_is_asked_there() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: Uri = format!("http://{}/cluster", listener.local_addr().unwrap()).parse().unwrap();
        let found = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "found"}});
        let routes = Router::new().route(
            "/cluster/api/v1/namespaces/team/configmaps/asked",
            get(move || async move { Json(found) }),
        );
        tokio::spawn(async move { axum::serve(listener, routes).await });
        let mut config = Config::new(address);
        // without any, the machine's own would be read
        config.root_cert = Some(Vec::new());
        let maps = Api::<ConfigMap>::namespaced(client(config).unwrap(), "team");
        assert_eq!(maps.get("asked").await.unwrap().name_any(), "found");
    }
}
