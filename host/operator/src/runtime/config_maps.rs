//! ConfigMaps by name, from the API server: the only objects that are read for an evaluation and not watched.

use std::sync::Arc;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Client;
use kube::api::Api;
use kubeopencode_api::names::ObjectKey;
use kubeopencode_evaluate::ConfigMapReader;

use super::shared_reads::SharedReads;

/// Reads them from the API server. Tasks of one Agent all need its ConfigMaps: in a burst, one read serves several of them.
pub(crate) struct LiveConfigMaps {
    client: Client,
    // no value where the read failed: whose error it was, the others read themselves
    reads: SharedReads<ObjectKey, Option<Option<Arc<ConfigMap>>>>,
}

impl LiveConfigMaps {
    pub(crate) fn new(client: Client) -> Self {
        Self { client, reads: SharedReads::default() }
    }
}

impl ConfigMapReader for LiveConfigMaps {
    type Error = kube::Error;

    async fn get(&self, key: &ObjectKey) -> Result<Option<ConfigMap>, kube::Error> {
        let maps = Api::<ConfigMap>::namespaced(self.client.clone(), &key.namespace);
        let (shared, name) = (maps.clone(), key.name.clone());
        let read = async move { shared.get_opt(&name).await.ok().map(|map| map.map(Arc::new)) };
        match self.reads.get(key, read).await {
            Some(map) => Ok(map.map(Arc::unwrap_or_clone)),
            None => maps.get_opt(&key.name).await,
        }
    }
}
