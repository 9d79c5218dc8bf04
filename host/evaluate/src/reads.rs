//! The ConfigMaps that plugins ask for.

use std::collections::HashMap;

use k8s_openapi::api::core::v1::ConfigMap;
use kubeopencode_api::names::ObjectKey;
use kubeopencode_api::plugin::Entry;

/// Reads ConfigMaps by name.
pub trait ConfigMapReader: Send + Sync {
    /// Why one could not be read.
    type Error: Send;

    /// The ConfigMap, or `None` where there is none.
    fn get(&self, key: &ObjectKey) -> impl Future<Output = Result<Option<ConfigMap>, Self::Error>> + Send;
}

/// The ConfigMaps that one evaluation has read: each once.
pub(crate) struct ReadCache<'a, R> {
    reader: &'a R,
    read: HashMap<ObjectKey, Option<ConfigMap>>,
}

impl<'a, R: ConfigMapReader> ReadCache<'a, R> {
    pub(crate) fn new(reader: &'a R) -> Self {
        Self { reader, read: HashMap::new() }
    }

    pub(crate) async fn get(&mut self, key: &ObjectKey) -> Result<Option<&ConfigMap>, R::Error> {
        if !self.read.contains_key(key) {
            let answer = self.reader.get(key).await?;
            self.read.insert(key.clone(), answer);
        }
        Ok(self.read.get(key).and_then(Option::as_ref))
    }
}

/// Text and bytes of a ConfigMap, sorted by key.
pub(crate) fn entries(map: &ConfigMap) -> Vec<Entry> {
    let text = map.data.iter().flatten().map(|(key, value)| (key, value.clone().into_bytes()));
    let binary = map.binary_data.iter().flatten().map(|(key, value)| (key, value.0.clone()));
    let mut entries: Vec<_> =
        text.chain(binary).map(|(key, value)| Entry { key: key.clone(), value }).collect();
    entries.sort_by(|a, b| a.key.cmp(&b.key));
    entries
}
