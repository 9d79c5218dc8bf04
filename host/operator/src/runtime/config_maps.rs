//! ConfigMaps by name, from the API server: the only objects that are read for an evaluation and not watched.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Client;
use kube::api::Api;
use kubeopencode_api::names::ObjectKey;
use kubeopencode_evaluate::ConfigMapReader;

/// Reads them from the API server.
pub(crate) struct LiveConfigMaps<'a>(pub(crate) &'a Client);

impl ConfigMapReader for LiveConfigMaps<'_> {
    type Error = kube::Error;

    async fn get(&self, key: &ObjectKey) -> Result<Option<ConfigMap>, kube::Error> {
        Api::namespaced(self.0.clone(), &key.namespace).get_opt(&key.name).await
    }
}
