//! ConfigMaps that an item names: asked for, read, and missed in the words that users know.

use crate::{
    Action, Answer, ConfigMapRead, Entry, File, Outcome, PluginError, Request, Required, Requirement,
    Resolved, ready, skipped,
};

/// A ConfigMap that an item names, in the namespace of the object that holds the item.
pub struct ConfigMapRef<'a> {
    /// Its name.
    pub name: &'a str,
    /// A missing ConfigMap or key is left out instead of being an error.
    pub optional: bool,
    /// RFC 6901 pointer to the object of the payload that has the fields `name` and `key`; empty for the payload.
    pub field: &'a str,
}

impl ConfigMapRef<'_> {
    /// All its entries.
    ///
    /// # Errors
    /// What to answer instead: the need in the first round; that it is missing.
    pub fn entries<'r>(&self, request: &'r Request) -> Result<&'r [Entry], Answer> {
        self.read(&[], request)
    }

    /// The entries of these keys, or all where none is named. One that is not there is left out.
    ///
    /// # Errors
    /// What to answer instead: the need in the first round; that the ConfigMap is missing.
    pub fn read<'r>(&self, keys: &[&str], request: &'r Request) -> Result<&'r [Entry], Answer> {
        let name = self.name;
        match request.input(name) {
            None => {
                let keys = keys.iter().map(|key| (*key).to_owned()).collect();
                let what = Requirement::ConfigMap(ConfigMapRead { name: name.to_owned(), keys });
                Err(Ok(Outcome::Needs(vec![Required { id: name.to_owned(), what }])))
            }
            Some(Resolved::ConfigMap(entries)) => Ok(entries),
            Some(Resolved::Missing) => Err(self.absent(format!("ConfigMap {name} not found"), "name")),
            Some(_) => {
                Err(Err(PluginError::internal(format!("the answer for ConfigMap {name} is of another kind"))))
            }
        }
    }

    /// One key of it, as text for the context file or as the file at mountPath. Bytes that are no text can only be
    /// a file.
    ///
    /// # Errors
    /// What is missing, or not text.
    pub fn one_key(&self, key: &str, request: &Request) -> Answer {
        let entries = match self.read(&[key], request) {
            Ok(entries) => entries,
            Err(answer) => return answer,
        };
        let Some(entry) = entries.iter().find(|entry| entry.key == key) else {
            return self.absent(format!("key {key} not found in ConfigMap {}", self.name), "key");
        };
        match (self.text(entry), &request.mount_path) {
            (Ok(text), _) => ready([Action::Inline(text)]),
            (Err(_), Some(path)) => ready([Action::WriteFile(File {
                path: path.clone(),
                content: entry.value.clone(),
                mode: request.file_mode,
            })]),
            (Err(error), None) => Err(error),
        }
    }

    /// An entry's value as text.
    ///
    /// # Errors
    /// Says that it is none.
    pub fn text(&self, entry: &Entry) -> Result<String, PluginError> {
        entry.value.as_text().map(str::to_owned).ok_or_else(|| {
            PluginError::unsatisfied(format!(
                "key {} of ConfigMap {} is not UTF-8 text and cannot be part of the context file: set mountPath to \
                 get it as a file",
                entry.key, self.name
            ))
            .at(format!("{}/name", self.field))
        })
    }

    fn absent(&self, message: String, field: &str) -> Answer {
        if self.optional {
            return skipped(message);
        }
        Err(PluginError::unsatisfied(message).at(format!("{}/{field}", self.field)))
    }
}
