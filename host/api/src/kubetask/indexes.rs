//! A set of a Batch's indexes, as Kubernetes' indexed Jobs write it: `1,3-5,7`.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::batch::MAX_TASKS;

/// Indexes in their order, each below [`MAX_TASKS`]. As text they are decimal numbers with commas between them; three or
/// more in a row are the first and the last one with a dash between them. The text has less than 4 KiB at worst.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IndexSet(BTreeSet<usize>);

/// What is no set of indexes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotIndexes(String);

impl fmt::Display for NotIndexes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\" is no index below {MAX_TASKS} and no range of them", self.0)
    }
}

impl std::error::Error for NotIndexes {}

impl IndexSet {
    /// Whether it has this index.
    pub fn contains(&self, index: usize) -> bool {
        self.0.contains(&index)
    }

    /// Adds an index; whether it is new.
    pub fn insert(&mut self, index: usize) -> bool {
        self.0.insert(index)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them, in their order.
    pub fn iter(&self) -> impl Iterator<Item = usize> {
        self.0.iter().copied()
    }
}

impl FromIterator<usize> for IndexSet {
    fn from_iter<I: IntoIterator<Item = usize>>(indexes: I) -> Self {
        Self(indexes.into_iter().collect())
    }
}

impl fmt::Display for IndexSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut indexes = self.iter().peekable();
        let mut comma = "";
        while let Some(first) = indexes.next() {
            let mut last = first;
            while let Some(next) = indexes.next_if(|next| *next == last + 1) {
                last = next;
            }
            match last - first {
                0 => write!(f, "{comma}{first}")?,
                1 => write!(f, "{comma}{first},{last}")?,
                _ => write!(f, "{comma}{first}-{last}")?,
            }
            comma = ",";
        }
        Ok(())
    }
}

impl FromStr for IndexSet {
    type Err = NotIndexes;

    fn from_str(text: &str) -> Result<Self, NotIndexes> {
        let mut set = BTreeSet::new();
        for part in text.split(',').filter(|_| !text.is_empty()) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let index = |text: &str| text.parse::<usize>().ok().filter(|index| *index < MAX_TASKS);
            let (Some(first), Some(last)) = (index(first), index(last)) else {
                return Err(NotIndexes(part.to_owned()));
            };
            set.extend(first..=last);
        }
        Ok(Self(set))
    }
}

impl Serialize for IndexSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for IndexSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for IndexSet {
    fn schema_name() -> Cow<'static, str> {
        "IndexSet".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "maxLength": 4096, "pattern": "^([0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*)?$"})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_are_written_as_kubernetes_writes_them() {
        for (indexes, text) in [
            (vec![], ""),
            (vec![0], "0"),
            (vec![3, 4], "3,4"),
            (vec![1, 3, 4, 5, 7], "1,3-5,7"),
            ((0..12).chain([13]).collect(), "0-11,13"),
            ((0..1000).collect(), "0-999"),
        ] {
            let set: IndexSet = indexes.into_iter().collect();
            assert_eq!(set.to_string(), text);
            assert_eq!(text.parse(), Ok(set.clone()), "{text}");
            assert_eq!(serde_json::to_value(&set).unwrap(), text);
            assert_eq!(serde_json::from_value::<IndexSet>(text.into()).unwrap(), set);
        }
        assert_eq!("3-4".parse::<IndexSet>().unwrap().to_string(), "3,4");
        for wrong in [",", "1,", "a", "-1", "1-", "1000", "0-4000000000", "1 "] {
            assert!(wrong.parse::<IndexSet>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_longest_text_fits_the_schema() {
        // every second one, and pairs with one missing between them
        let longest =
            [(0..1000).step_by(2).collect::<IndexSet>(), (0..1000).filter(|i| i % 3 != 2).collect()];
        for set in longest {
            assert!(set.to_string().len() < 4096, "{}", set.to_string().len());
        }
    }
}
