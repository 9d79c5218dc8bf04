//! Objects that say more than this version reads: the log tells it once.

use std::collections::HashSet;

use crate::cache::item::{Item, Kind};

/// Tells once of each field that this version does not know, and of each object that cannot be read: the
/// CustomResourceDefinitions are newer than the operator. Names and places alone, never what stands there.
#[derive(Default)]
pub(super) struct UnknownFields {
    told: HashSet<String>,
}

impl UnknownFields {
    /// Fields and places that are remembered.
    const MAX: usize = 256;

    pub(super) fn tell<K: Kind>(&mut self, item: &mut Item<K>) {
        let kind = K::kind(&());
        for field in item.unknown_fields() {
            if self.begin_telling(&format!("{field} is unknown")) {
                tracing::warn!(object = ?item, field,
                    "a {kind} has a field that this version does not know, and which is ignored; are the CustomResourceDefinitions newer than the operator?");
            }
        }
        if let Err(unreadable) = item.get()
            && self.begin_telling(unreadable.place())
        {
            tracing::warn!(object = ?item, place = unreadable.place(), "a {kind} cannot be read");
        }
    }

    /// From now on it was told; whether it was not before.
    fn begin_telling(&mut self, text: &str) -> bool {
        self.told.len() < Self::MAX && self.told.insert(text.to_owned())
    }
}
