//! What the user has to know or to do.
//!
//! May touch: words.

use std::collections::HashSet;
use std::fmt;

/// Warnings in the order in which they were found. The Tasks of a Batch have much in common: each is said once.
#[derive(Debug, Default)]
pub(super) struct Warnings {
    all: Vec<String>,
    said: HashSet<String>,
}

impl Warnings {
    /// Something about an object, as in `a.yaml: Task team/fix`, beginning with a field.
    pub(super) fn say(&mut self, place: &str, words: impl fmt::Display) {
        let warning = format!("{place}: {words}");
        if self.said.insert(warning.clone()) {
            self.all.push(warning);
        }
    }

    pub(super) fn all(&self) -> &[String] {
        &self.all
    }
}
