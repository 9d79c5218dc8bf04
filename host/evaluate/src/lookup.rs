//! Who serves a type, and what it means that nobody does. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use kubeopencode_api::globs::matches;
use kubeopencode_api::plugin::Kind;
use kubeopencode_plan::Refusal;
use parking_lot::Mutex;

use crate::EvaluateError;
use crate::catalog::{Offer, Snapshot};

/// What a plugin is asked for by.
pub(crate) type TypeKey = (Kind, String);
pub(crate) type Offers = HashMap<TypeKey, Arc<Offer>>;

/// Who serves a type.
#[derive(Clone, Debug)]
pub enum Lookup<'a> {
    /// This plugin.
    Offer(&'a Arc<Offer>),
    /// It may come: why that is not known yet.
    NotYet(String),
    /// A plugin, but not for this namespace: in words.
    NotAllowed(String),
    /// Nobody.
    Nobody,
}

/// Plugins that are not there and may come.
#[derive(Clone, Debug, Default)]
pub(crate) struct Awaited {
    /// Not all Plugins are known.
    is_incomplete: bool,
    /// By the Plugin's name; without types where nobody knows them.
    on_the_way: BTreeMap<String, (Kind, Option<Vec<String>>)>,
    /// Those that somebody waits for. One for all states: who asks has an old one.
    wanted: Arc<Mutex<BTreeSet<String>>>,
    /// When the last one arrived.
    settled: Option<Timestamp>,
}

impl Awaited {
    pub(crate) fn opens(&mut self) {
        self.is_incomplete = true;
    }

    pub(crate) fn awaits(&mut self, source: &str, kind: Kind, types: Option<Vec<String>>) {
        self.on_the_way.insert(source.to_owned(), (kind, types));
    }

    pub(crate) fn arrived(&mut self, source: &str, now: Timestamp) {
        if self.on_the_way.remove(source).is_some() {
            self.wanted.lock().remove(source);
            self.settled = Some(now);
        }
    }

    /// Whether somebody waits for what a Plugin may bring.
    pub(crate) fn is_wanted(&self, source: &str) -> bool {
        self.on_the_way.contains_key(source) && self.wanted.lock().contains(source)
    }

    pub(crate) fn complete(&mut self, now: Timestamp) {
        if std::mem::take(&mut self.is_incomplete) {
            self.settled = Some(now);
        }
    }

    fn why_not_yet(&self, kind: Kind, name: &str) -> Option<String> {
        let may_bring = |(of, types): &(Kind, Option<Vec<String>>)| {
            *of == kind && types.as_ref().is_none_or(|types| types.iter().any(|type_| type_ == name))
        };
        let on_the_way: Vec<_> = self
            .on_the_way
            .iter()
            .filter(|(_, brings)| may_bring(brings))
            .map(|(source, _)| source)
            .collect();
        self.wanted.lock().extend(on_the_way.iter().map(|source| (*source).clone()));
        match on_the_way.first() {
            Some(source) => Some(format!("Plugin \"{source}\" is loading")),
            None => self.is_incomplete.then(|| "the operator has not read all Plugins".to_owned()),
        }
    }
}

impl Snapshot {
    /// Who serves a type to an object of this namespace.
    pub fn find(&self, kind: Kind, name: &str, namespace: &str) -> Lookup<'_> {
        let Some(offer) = self.state.offers.get(&(kind, name.to_owned())) else {
            return self.state.awaited.why_not_yet(kind, name).map_or(Lookup::Nobody, Lookup::NotYet);
        };
        let allowed = &offer.allowed_namespaces;
        if allowed.is_empty() || allowed.iter().any(|glob| matches(glob, namespace) == Ok(true)) {
            return Lookup::Offer(offer);
        }
        Lookup::NotAllowed(format!(
            "namespace \"{namespace}\" is not allowed to use Plugin \"{}\" (allowed: [{}])",
            offer.source.as_deref().unwrap_or_default(),
            allowed.join(", ")
        ))
    }

    /// The types that plugins serve beside those that come with the program, in the order of their names.
    pub fn custom_types(&self) -> Vec<&str> {
        let custom = self.state.offers.values().filter(|offer| !offer.is_built_in());
        let mut names: Vec<_> = custom.map(|offer| offer.name.as_str()).collect();
        names.sort_unstable();
        names
    }

    /// The plugin that serves a type to an object of this namespace; `asks` is what needs it, `nobody` what it means that
    /// nobody does.
    pub(crate) fn offer<E>(
        &self,
        (kind, name): (Kind, &str),
        namespace: &str,
        asks: &dyn std::fmt::Display,
        nobody: impl FnOnce() -> Refusal,
    ) -> Result<&Arc<Offer>, EvaluateError<E>> {
        match self.find(kind, name, namespace) {
            Lookup::Offer(offer) => Ok(offer),
            Lookup::NotYet(why) => {
                let kind = kind.as_str().replace('-', " ");
                let message = format!("no plugin for {kind} \"{name}\" yet: {why}");
                Err(EvaluateError::NotYet(Refusal { message, ..nobody() }))
            }
            Lookup::NotAllowed(why) => {
                Err(EvaluateError::Refused(Refusal { message: format!("{asks}: {why}"), ..nobody() }))
            }
            Lookup::Nobody => {
                Err(EvaluateError::NoPlugin { refusal: nobody(), settled: self.state.awaited.settled })
            }
        }
    }
}
