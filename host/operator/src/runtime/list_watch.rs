//! Lists and watches, one object at a time: a page of 500 objects of 1.5 MB each would be the operator's memory.

use std::fmt::Debug;

use futures::{Stream, StreamExt, stream};
use http::Request;
use http::uri::PathAndQuery;
use kube::Resource;
use kube::api::Api;
use kube::client::Body;
use kube::runtime::watcher::{Config, Error, Event, watcher};
use serde::de::DeserializeOwned;

/// Objects of a page, where the API server has no streaming lists: 24 MB of the largest ones.
const PAGE: u32 = 16;

/// The events of a kind. The first list comes as a stream of objects (`sendInitialEvents`, on by default from Kubernetes
/// 1.34 on); an API server that refuses that is asked for pages.
pub(crate) fn list_watch<K>(
    api: Api<K>,
    config: Config,
) -> impl Stream<Item = Result<Event<K>, Error>> + Send + use<K>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let streaming = watcher(api.clone(), config.clone().streaming_lists()).boxed();
    let paging = watcher(api, config.page_size(PAGE)).boxed();
    let pages = Some(paging);
    stream::unfold((streaming, pages), async |(mut events, mut pages)| {
        let event = loop {
            match events.next().await? {
                Err(Error::WatchStartFailed(kube::Error::Api(status)))
                    if status.code == 422 && pages.is_some() =>
                {
                    tracing::info!("the API server has no streaming lists: pages of {PAGE} objects are read");
                    events = pages.take()?;
                }
                event => break event,
            }
        };
        Some((event, (events, pages)))
    })
}

/// Asks for a streamed list that shows all that was written before, as client-go's do. kube asks for resourceVersion 0,
/// which is whatever the API server's cache has.
pub(super) fn newest(mut request: Request<Body>) -> Request<Body> {
    let query = request.uri().query().unwrap_or_default();
    if !query.split('&').any(|parameter| parameter == "sendInitialEvents=true") {
        return request;
    }
    let parameters = query.split('&').map(|parameter| match parameter {
        "resourceVersion=0" => "resourceVersion=",
        other => other,
    });
    let query = parameters.collect::<Vec<_>>().join("&");
    let mut parts = request.uri().clone().into_parts();
    parts.path_and_query = PathAndQuery::try_from(format!("{}?{query}", request.uri().path())).ok();
    if let Ok(uri) = parts.try_into() {
        *request.uri_mut() = uri;
    }
    request
}

#[cfg(test)]
mod tests {
    use std::future::ready;
    use std::sync::Arc;

    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::ResourceExt;
    use parking_lot::Mutex;
    use serde_json::{Value, json};

    use super::*;
    use crate::runtime::test_client::answered_by;

    /// What an API server before 1.34 answers.
    fn answer_of_1_33(query: &str) -> (u16, Value) {
        let list = |name: &str, next: &str| {
            let metadata = json!({"resourceVersion": "7", "continue": next});
            json!({"kind": "ConfigMapList", "apiVersion": "v1", "metadata": metadata, "items": [{"metadata": {"name": name}}]})
        };
        if query.contains("sendInitialEvents") {
            let words = "sendInitialEvents: Forbidden: sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled";
            let status = json!({
                "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 422, "reason": "Invalid", "message": words,
            });
            return (422, status);
        }
        (200, if query.contains("continue=next") { list("b", "") } else { list("a", "next") })
    }

    #[tokio::test]
    async fn an_api_server_without_streaming_lists_is_asked_for_pages() {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&asked);
        let client = answered_by(move |request| {
            let query = request.uri().query().unwrap_or_default().to_owned();
            let (code, answer) = answer_of_1_33(&query);
            seen.lock().push(query);
            ready((code, answer.to_string()))
        });
        let events = list_watch(Api::<ConfigMap>::all(client), Config::default()).take(4);
        let shown: Vec<_> = events
            .map(|event| match event.unwrap() {
                Event::Init => "it begins".to_owned(),
                Event::InitDone => "it is complete".to_owned(),
                Event::InitApply(map) | Event::Apply(map) | Event::Delete(map) => map.name_any(),
            })
            .collect()
            .await;
        assert_eq!(shown, ["it begins", "a", "b", "it is complete"]);
        let asked = asked.lock();
        // the API server's cache, which resourceVersion=0 asks, gives all at once
        let is_page = |query: &String| query.contains("limit=16") && !query.contains("resourceVersion");
        assert!(asked.len() == 3 && asked[1..].iter().all(is_page), "{asked:?}");
    }

    #[test]
    fn the_first_list_is_the_newest() {
        let asked = |uri: &str| newest(Request::get(uri).body(Body::empty()).unwrap()).uri().to_string();
        assert_eq!(
            asked(
                "/api/v1/pods?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&resourceVersion=0"
            ),
            "/api/v1/pods?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&resourceVersion="
        );
        let resumed = "/api/v1/pods?watch=true&resourceVersion=0";
        assert_eq!(asked(resumed), resumed);
    }
}
