//! The ConfigMaps that plugins ask for.

use k8s_openapi::api::core::v1::ConfigMap;
use kubeopencode_api::names::ObjectKey;
use kubeopencode_api::plugin::{Entry, MAX_INPUT_BYTES};

use crate::EvaluateError;
use crate::memory::Memory;

/// Reads ConfigMaps by name.
pub trait ConfigMapReader: Send + Sync {
    /// Why one could not be read.
    type Error: Send;

    /// The ConfigMap, or `None` where there is none.
    fn get(&self, key: &ObjectKey) -> impl Future<Output = Result<Option<ConfigMap>, Self::Error>> + Send;
}

/// Bytes of ConfigMaps that one evaluation keeps for items to come: what one plugin may read.
const KEPT: usize = MAX_INPUT_BYTES;

/// The ConfigMaps that one evaluation has read: each once, for as long as there is room.
pub(crate) struct ReadCache<'a, R> {
    reader: &'a R,
    memory: &'a Memory,
    /// the last one used stands last
    read: Vec<(ObjectKey, Option<Vec<Entry>>)>,
}

impl<'a, R: ConfigMapReader> ReadCache<'a, R> {
    pub(crate) fn new(reader: &'a R, memory: &'a Memory) -> Self {
        Self { reader, memory, read: Vec::new() }
    }

    /// Reads a ConfigMap, unless it is there: [`Self::last`] has it then.
    ///
    /// # Errors
    /// When it could not be read, or others read for too long.
    pub(crate) async fn read(&mut self, key: &ObjectKey) -> Result<(), EvaluateError<R::Error>> {
        match self.read.iter().position(|(known, _)| known == key) {
            Some(i) => self.read[i..].rotate_left(1),
            None => {
                let _reading = self.memory.read().await.ok_or(EvaluateError::NoMemory)?;
                let answer = self.reader.get(key).await.map_err(EvaluateError::Read)?;
                self.read.push((key.clone(), answer.map(entries)));
                while self.bytes() > KEPT && self.read.len() > 1 {
                    self.read.remove(0);
                }
            }
        }
        Ok(())
    }

    /// Text and bytes, sorted by key, of the ConfigMap that was read last; `None`: there is no such ConfigMap.
    pub(crate) fn last(&self) -> Option<&[Entry]> {
        self.read.last().and_then(|(_, entries)| entries.as_deref())
    }

    /// Bytes that it keeps.
    pub(crate) fn bytes(&self) -> usize {
        self.read.iter().filter_map(|(_, entries)| entries.as_deref()).map(size).sum()
    }
}

/// Bytes of a ConfigMap's entries.
pub(crate) fn size(entries: &[Entry]) -> usize {
    entries.iter().map(|entry| entry.key.len() + entry.value.len()).sum()
}

/// Text and bytes of a ConfigMap, sorted by key.
fn entries(map: ConfigMap) -> Vec<Entry> {
    let text = map.data.into_iter().flatten().map(|(key, value)| (key, value.into_bytes()));
    let binary = map.binary_data.into_iter().flatten().map(|(key, value)| (key, value.0));
    let mut entries: Vec<_> = text.chain(binary).map(|(key, value)| Entry { key, value }).collect();
    entries.sort_by(|a, b| a.key.cmp(&b.key));
    entries
}
