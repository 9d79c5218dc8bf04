//! Some namespaces as a world of their own.
//!
//! The operator lists and watches the whole cluster. Two scenarios that run at the same time would see each other's
//! Tasks, and each other's operators would act on them. So an operator under test sees the namespaces of its scenario
//! and no other: of several, its requests go out as it makes them and what the API server answers is sifted; of a
//! single one, the path of such a request gets the namespace, which spares reading everybody else's objects. Everything
//! else that the operator does names its namespace by itself.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures::FutureExt;
use futures::future::BoxFuture;
use http::uri::PathAndQuery;
use http::{Request, Response, Uri};
use http_body::{Body as HttpBody, Frame};
use http_body_util::BodyExt;
use kube::client::Body;
use serde::Deserialize;
use serde_json::Value;
use tokio_util::bytes::{Bytes, BytesMut};
use tower::{BoxError, Layer, Service};

/// Narrows a client to some namespaces.
#[derive(Debug, Clone)]
pub struct ScopeLayer(Arc<Sight>);

/// What is seen.
#[derive(Debug)]
struct Sight {
    namespaces: Vec<String>,
}

impl ScopeLayer {
    /// These namespaces are seen.
    pub fn new(namespaces: &[String]) -> Self {
        Self(Arc::new(Sight { namespaces: namespaces.to_vec() }))
    }
}

impl<S> Layer<S> for ScopeLayer {
    type Service = Scoped<S>;

    fn layer(&self, inner: S) -> Scoped<S> {
        Scoped { inner, sight: Arc::clone(&self.0) }
    }
}

/// A client that sees some namespaces.
#[derive(Debug)]
pub struct Scoped<S> {
    inner: S,
    sight: Arc<Sight>,
}

impl<S, B> Service<Request<Body>> for Scoped<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: Into<BoxError> + 'static,
    S::Future: Send + 'static,
    B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<ScopedBody<B>>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let mut sifted = false;
        let path = request.uri().path().to_owned();
        if let Some(collection) = Collection::of_the_cluster(&path) {
            match self.sight.namespaces.as_slice() {
                [namespace] if !collection.is_cluster_scoped() => {
                    narrow(&mut request, &collection.within(namespace))
                }
                _ => sifted = true,
            }
        }
        let is_watch = request.uri().query().is_some_and(|query| query.contains("watch=true"));
        let (answer, sight) = (self.inner.call(request), Arc::clone(&self.sight));
        async move {
            let answer = answer.await.map_err(Into::into)?;
            if !sifted || !answer.status().is_success() {
                return Ok(answer.map(ScopedBody::Whole));
            }
            if is_watch {
                let sifted = |inner| ScopedBody::Watch(Events { inner, read: BytesMut::new(), sight });
                return Ok(answer.map(sifted));
            }
            let (parts, body) = answer.into_parts();
            let list = body.collect().await.map_err(Into::into)?.to_bytes();
            let list = sight.list(&list)?;
            Ok(Response::from_parts(parts, ScopedBody::List(Some(list))))
        }
        .boxed()
    }
}

/// The objects of a kind, in all namespaces.
#[derive(Debug, PartialEq, Eq)]
struct Collection<'a> {
    /// As in `/apis/kubeopencode.io/v1alpha1`.
    api: &'a str,
    resource: &'a str,
}

impl<'a> Collection<'a> {
    fn of_the_cluster(path: &'a str) -> Option<Self> {
        let (api, resource) = path.trim_end_matches('/').rsplit_once('/')?;
        let depth = api.split('/').count();
        let is_collection = depth == 3 && api.starts_with("/api/") || depth == 4 && api.starts_with("/apis/");
        (is_collection && !matches!(resource, "namespaces" | "nodes")).then_some(Self { api, resource })
    }

    /// Whether its objects have no namespace. Each scenario has those whose names begin with that of its namespace.
    fn is_cluster_scoped(&self) -> bool {
        self.resource == "plugins"
    }

    fn within(&self, namespace: &str) -> String {
        format!("{}/namespaces/{namespace}/{}", self.api, self.resource)
    }
}

fn narrow(request: &mut Request<Body>, path: &str) {
    let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    let mut parts = request.uri().clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(format!("{path}{query}")).unwrap());
    *request.uri_mut() = Uri::from_parts(parts).unwrap();
}

impl Sight {
    /// The list as it is seen.
    fn list(&self, list: &[u8]) -> Result<Bytes, serde_json::Error> {
        let mut list: Value = serde_json::from_slice(list)?;
        if let Some(items) = list["items"].as_array_mut() {
            items.retain(|object| {
                let metadata = &object["metadata"];
                self.shows(metadata["namespace"].as_str(), metadata["name"].as_str())
            });
        }
        serde_json::to_vec(&list).map(Bytes::from)
    }

    /// An event of a watch as it is seen, if it is.
    fn event(&self, event: BytesMut) -> Option<Bytes> {
        // most are about others, and most of a Pod's text is of no interest
        #[derive(Deserialize)]
        struct Event {
            object: Object,
        }
        #[derive(Deserialize)]
        struct Object {
            #[serde(default)]
            metadata: Metadata,
        }
        #[derive(Deserialize, Default)]
        struct Metadata {
            namespace: Option<String>,
            name: Option<String>,
        }
        let parsed = serde_json::from_slice::<Event>(&event).ok();
        let about = parsed.map(|event| event.object.metadata).unwrap_or_default();
        self.shows(about.namespace.as_deref(), about.name.as_deref()).then(|| event.freeze())
    }

    fn shows(&self, namespace: Option<&str>, name: Option<&str>) -> bool {
        self.namespaces.iter().any(|visible| match (namespace, name) {
            (Some(namespace), _) => visible == namespace,
            (None, Some(name)) => {
                name.strip_prefix(visible.as_str()).is_some_and(|rest| rest.starts_with('-'))
            }
            // about the watch itself
            (None, None) => true,
        })
    }
}

/// The body of an answer, without what is out of sight.
#[derive(Debug)]
pub enum ScopedBody<B> {
    /// As it came.
    Whole(B),
    /// A list.
    List(Option<Bytes>),
    /// A watch.
    Watch(Events<B>),
}

/// The events of a watch, each a line.
#[derive(Debug)]
pub struct Events<B> {
    inner: B,
    read: BytesMut,
    sight: Arc<Sight>,
}

impl<B> HttpBody for ScopedBody<B>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Self::Whole(body) => Pin::new(body).poll_frame(context).map_err(Into::into),
            Self::List(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Watch(events) => events.poll(context),
        }
    }
}

impl<B> Events<B>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let event = self.read.split_to(end + 1);
                if let Some(seen) = self.sight.event(event) {
                    return Poll::Ready(Some(Ok(Frame::data(seen))));
                }
                continue;
            }
            match ready!(Pin::new(&mut self.inner).poll_frame(context)) {
                Some(Ok(frame)) => {
                    self.read.extend_from_slice(&frame.into_data().unwrap_or_default());
                }
                other => return Poll::Ready(other.map(|frame| frame.map_err(Into::into))),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, Full};
    use serde_json::json;

    use super::*;

    fn sight() -> Arc<Sight> {
        ScopeLayer::new(&["team".to_owned(), "platform".to_owned()]).0
    }

    #[test]
    fn only_collections_of_the_whole_cluster_are_narrowed() {
        let within = |path| Collection::of_the_cluster(path).map(|collection| collection.within("ns"));
        assert_eq!(within("/api/v1/pods").as_deref(), Some("/api/v1/namespaces/ns/pods"));
        assert_eq!(
            within("/apis/kubeopencode.io/v1alpha1/tasks").as_deref(),
            Some("/apis/kubeopencode.io/v1alpha1/namespaces/ns/tasks")
        );
        for named in
            ["/api/v1/namespaces/ns/pods", "/api/v1/namespaces/ns/pods/p", "/api/v1/namespaces", "/version"]
        {
            assert_eq!(within(named), None);
        }
    }

    #[test]
    fn a_list_has_the_objects_of_the_visible_namespaces_and_its_own_version() {
        let object = |namespace| json!({"metadata": {"namespace": namespace}});
        let [team, other, platform] = ["team", "other", "platform"].map(object);
        let list = json!({"metadata": {"resourceVersion": "7", "continue": "more"}, "items": [team, other, platform]});
        let sifted: Value =
            serde_json::from_slice(&sight().list(list.to_string().as_bytes()).unwrap()).unwrap();
        assert_eq!(sifted, json!({"metadata": list["metadata"], "items": [team, platform]}));
    }

    #[test]
    fn of_what_has_no_namespace_a_scenario_sees_what_begins_with_its_name() {
        let plugins = Collection::of_the_cluster("/apis/kubeopencode.io/v1alpha1/plugins").unwrap();
        assert!(plugins.is_cluster_scoped());
        let sight = sight();
        assert!(sight.shows(None, Some("team-jira")) && sight.shows(None, None));
        assert!(!sight.shows(None, Some("teamwork-jira")) && !sight.shows(None, Some("team")));
    }

    #[tokio::test]
    async fn a_watch_has_the_events_of_the_visible_namespaces_one_in_a_frame() {
        let event = |namespace| {
            format!("{{\"type\":\"ADDED\",\"object\":{{\"metadata\":{{\"namespace\":\"{namespace}\"}}}}}}\n")
        };
        let bookmark = "{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":\"9\"}}}\n";
        let all = [event("team"), event("other"), bookmark.to_owned(), event("platform")].concat();
        let mut sifted = ScopedBody::Watch(Events {
            inner: Full::new(Bytes::from(all)),
            read: BytesMut::new(),
            sight: sight(),
        });
        let mut frames = Vec::new();
        while let Some(frame) = sifted.frame().await {
            frames.push(String::from_utf8(frame.unwrap().into_data().unwrap().to_vec()).unwrap());
        }
        assert_eq!(frames, [event("team"), bookmark.to_owned(), event("platform")]);
    }
}
