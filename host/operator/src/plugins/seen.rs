//! What a Plugin depends on, as far as it is seen without fetching anything, and when it is looked at again without a change of
//! that.

use std::time::Duration;

use kube::ResourceExt;
use kubeopencode_api::names::PluginName;
use kubeopencode_api::plugin_object::Plugin;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::desired::{Found, pieces};
use super::source::directory;
use super::status::Problem;
use super::{Door, Known, MAX_RETRY, Seen};

/// A look at a Plugin. One that came to no end, because an answer did not come in time or how it stands could not be written, is
/// made again: whatever was seen before counts no more.
pub(super) struct Look<'a> {
    pub(super) known: &'a Mutex<Known>,
    pub(super) name: &'a PluginName,
}

impl Look<'_> {
    pub(super) fn finish(self) {
        std::mem::forget(self);
    }
}

impl Drop for Look<'_> {
    fn drop(&mut self) {
        self.known.lock().seen.remove(self.name);
    }
}

impl Door {
    /// What the Plugin depends on, as it is now.
    pub(super) fn seen(&self, plugin: &Plugin) -> Seen {
        Seen {
            uid: plugin.uid().unwrap_or_default(),
            generation: plugin.metadata.generation,
            found: self.found(plugin),
            pauses: self.catalog.pauses_of(&plugin.name_any()),
            leads: self.leads(),
        }
    }

    fn found(&self, plugin: &Plugin) -> Result<Found, Problem> {
        if let Some(refusal) = self.sources.refusal(&plugin.spec) {
            return Err(refusal);
        }
        if let Some(map) = &plugin.spec.source.config_map {
            return pieces(&map.name, &self.namespace, &self.config_maps.state()).map(Found::ConfigMaps);
        }
        match self.known.lock().stamps.get(&PluginName::of(plugin)) {
            Some(stamp) => stamp.clone().map(Found::File),
            None => Ok(Found::Elsewhere),
        }
    }

    /// When another try is made, if without a change of anything.
    pub(super) fn retry(&self, name: &PluginName, problem: Option<&Problem>) -> Option<Duration> {
        if problem.is_some_and(|problem| problem.may_pass) {
            let pause = self.failures.next(name).min(MAX_RETRY);
            self.known.lock().retries.insert(name.clone(), Instant::now() + pause);
            return Some(pause);
        }
        self.known.lock().retries.remove(name);
        self.failures.forget(name);
        None
    }

    /// Remembers how the file of a directory source is now: a volume may take its time to say.
    pub(super) async fn look_at_file(&self, name: &PluginName, plugin: &Plugin) {
        let Some(source) = &plugin.spec.source.directory else {
            self.known.lock().stamps.remove(name);
            return;
        };
        let (volumes, path) = (self.sources.volumes.clone(), source.path.clone());
        let stamp = self.volumes.ask(name, move || directory::stamp(&volumes, &path)).await;
        self.known.lock().stamps.insert(name.clone(), stamp);
    }
}

#[cfg(test)]
mod tests {
    use kubeopencode_api::plugin_object::PluginStatus;

    use super::*;

    #[test]
    fn a_look_that_was_given_up_is_made_again() {
        let (known, name) = (Mutex::new(Known::default()), PluginName("jira".into()));
        let seen = Seen {
            uid: "a".into(),
            generation: Some(1),
            found: Ok(Found::Elsewhere),
            pauses: Vec::new(),
            leads: true,
        };
        known.lock().seen.insert(name.clone(), (seen, PluginStatus::default()));
        Look { known: &known, name: &name }.finish();
        assert!(known.lock().seen.contains_key(&name), "nothing has changed since");
        drop(Look { known: &known, name: &name });
        assert!(!known.lock().seen.contains_key(&name));
    }
}
