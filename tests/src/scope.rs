//! One namespace as a world of its own.
//!
//! The operator lists and watches the whole cluster. Two scenarios that run at the same time would see each other's
//! Tasks, and each other's operators would act on them. So the path of such a request gets the scenario's namespace;
//! everything else that the operator does names its namespace by itself.

use http::Uri;
use http::uri::PathAndQuery;
use kube::client::Body;

/// Turns cluster-wide requests into requests for one namespace.
pub fn scope(namespace: &str) -> impl Fn(http::Request<Body>) -> http::Request<Body> + Clone + Send + use<> {
    let namespace = namespace.to_owned();
    move |mut request| {
        if let Some(path) = scoped(request.uri().path(), &namespace) {
            let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
            let mut parts = request.uri().clone().into_parts();
            parts.path_and_query = Some(PathAndQuery::try_from(format!("{path}{query}")).unwrap());
            *request.uri_mut() = Uri::from_parts(parts).unwrap();
        }
        request
    }
}

/// The path within the namespace, where `path` is that of a collection of the whole cluster.
fn scoped(path: &str, namespace: &str) -> Option<String> {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let (api, resource) = match parts.as_slice() {
        ["api", version, resource] => (format!("/api/{version}"), resource),
        ["apis", group, version, resource] => (format!("/apis/{group}/{version}"), resource),
        _ => return None,
    };
    (!matches!(*resource, "namespaces" | "nodes")).then(|| format!("{api}/namespaces/{namespace}/{resource}"))
}

#[cfg(test)]
mod tests {
    use super::scoped;

    #[test]
    fn only_collections_of_the_whole_cluster_are_narrowed() {
        let within = |path| scoped(path, "ns");
        assert_eq!(within("/api/v1/pods").as_deref(), Some("/api/v1/namespaces/ns/pods"));
        assert_eq!(
            within("/apis/kubeopencode.io/v1alpha1/tasks").as_deref(),
            Some("/apis/kubeopencode.io/v1alpha1/namespaces/ns/tasks")
        );
        assert_eq!(within("/api/v1/namespaces/ns/pods"), None);
        assert_eq!(within("/api/v1/namespaces/ns/pods/p"), None);
        assert_eq!(within("/api/v1/namespaces"), None);
    }
}
