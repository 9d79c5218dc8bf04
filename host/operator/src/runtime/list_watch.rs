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
    use super::*;

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
