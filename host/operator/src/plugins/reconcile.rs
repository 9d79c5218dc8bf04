//! One reconciliation of a Plugin: what it should be, what serves afterwards, and what it says of itself. The only writer of
//! Plugins and of the catalog.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Resource, ResourceExt};
use kubeopencode_api::condition::Reason;
use kubeopencode_api::names::PluginName;
use kubeopencode_api::plugin_object::{Plugin, PluginStatus};
use kubeopencode_evaluate::{Change, Publication};
use serde_json::json;
use tokio::time::Instant;

use super::desired::{Meta, is_abandoned, new_plugin, source_name};
use super::events::notes_due;
use super::load::{Loaded, Looked};
use super::seen::Look;
use super::source::SourceKind;
use super::status::{Findings, Problem, STATES, patch, state, status};
use super::{Door, MAX_PAUSE, Seen, kept};
use crate::cache::item::Item;
use crate::runtime::api_error::{is_conflict, is_not_found, is_refused, words};
use crate::runtime::event_recorder::{EventType, Note};

/// How long a look takes of which nothing is told.
const LOOK: Duration = Duration::from_secs(1);

impl Door {
    /// Brings one Plugin up to date; says when that is to be repeated.
    pub(super) async fn reconcile(&self, name: PluginName) -> Option<Duration> {
        // what is not listed is not known to be gone; with the end of the lists everybody is enqueued
        if !self.is_listed() {
            return None;
        }
        let maps = self.config_maps.state();
        let Some(item) = self.plugin(&name) else {
            self.forget(&name);
            return self.make(&name, &maps).await;
        };
        let plugin = match item.get() {
            Ok(plugin) => plugin,
            Err(unreadable) => {
                tracing::warn!(plugin = ?item, place = unreadable.place(), "a Plugin cannot be read, and stays as it is");
                self.catalog.arrived(&name.0, Timestamp::now());
                return None;
            }
        };
        if self.leads() && is_abandoned(plugin, &maps) {
            // whoever sees it gone finds its types gone too
            self.withdraw(&name);
            return self.paused(&name, self.remove(plugin).await);
        }
        self.bring_up_to_date(&name, plugin).await
    }

    async fn bring_up_to_date(&self, name: &PluginName, plugin: &Plugin) -> Option<Duration> {
        self.look_at_file(name, plugin).await;
        let (seen, now) = (self.seen(plugin), Instant::now());
        let of_files = plugin.spec.source.directory.as_ref().map(|_| self.sources.look_at_files);
        let (mut before, is_first) = {
            let mut known = self.known.lock();
            let is_blocked = known.blocked.remove(name);
            let next_try = known.retries.get(name).copied();
            match known.seen.get(name) {
                Some((last, status)) if last.uid == seen.uid => {
                    let is_due = next_try.is_some_and(|at| at <= now);
                    if *last == seen && !is_blocked && !is_due && !known.mismatched.contains_key(name) {
                        return next_try.map(|at| at - now).or(of_files);
                    }
                    if last.generation != seen.generation {
                        self.failures.forget(name);
                    }
                    // what a stand-by found nobody has told yet
                    match last.leads || !seen.leads {
                        true => (status.clone(), false),
                        false => (plugin.status.clone().unwrap_or_default(), true),
                    }
                }
                _ => (plugin.status.clone().unwrap_or_default(), true),
            }
        };
        let look = Look { known: &self.known, name };
        let mut told = None;
        let looked = self.looked(name, plugin, &seen, &mut before, &mut told).await;
        // whatever changed meanwhile has enqueued it again
        let now = self.plugin(name);
        if now.as_deref().and_then(|item| item.get().ok()).is_none_or(|now| self.seen(now) != seen) {
            look.finish();
            return None;
        }
        let (component, problem) = match looked.result {
            Ok((component, loaded)) => (component, self.publish(name, plugin, loaded).err()),
            Err(problem) => (None, Some(problem)),
        };
        let problem = match problem {
            Some(problem) => Some(match self.fall_back(name, plugin).await {
                Ok(()) => problem,
                Err(why) => problem.unsettled(&why),
            }),
            None => None,
        };
        let serving = self.known.lock().serving.get(name).cloned();
        let problem = problem.map(|problem| problem.beside(serving.is_some()));
        if serving.is_some() || !is_on_its_way(plugin, problem.as_ref()) {
            self.catalog.arrived(&name.0, Timestamp::now());
        }
        let retry = self.retry(name, problem.as_ref());
        let served = serving.as_ref().map(|loaded| loaded.served(&plugin.spec.names));
        let findings = Findings {
            wanted: looked.wanted.as_deref(),
            problem: problem.as_ref(),
            serving: served.as_ref(),
            // those of what serves now: a component that has just been published has none
            pauses: &self.catalog.pauses_of(&name.0),
            next_try: retry.and_then(|pause| Timestamp::now().checked_add(pause).ok()),
        };
        let after = status(&before, plugin.metadata.generation, findings, Timestamp::now());
        let is_leader = seen.leads;
        self.remember(name, seen, after.clone());
        let mut pause = None;
        if is_leader {
            let plugin = told.as_ref().unwrap_or(plugin);
            let written = self.write(plugin, &before, &after, component.as_deref(), is_first).await;
            if let Err(error) = &written {
                self.tell_unwritten(name, plugin, error);
                return self.paused(name, written);
            }
            self.unwritten.forget(name);
            pause = self.tell(name, plugin, &before, &after, problem.as_ref());
        }
        look.finish();
        [pause, retry, of_files].into_iter().flatten().min()
    }

    /// Looks at the component. Where that takes longer the Plugin says so meanwhile: `told` is the Plugin after that, and
    /// `before` its status.
    async fn looked(
        &self,
        name: &PluginName,
        plugin: &Plugin,
        seen: &Seen,
        before: &mut PluginStatus,
        told: &mut Option<Plugin>,
    ) -> Looked {
        let looking = self.look(plugin, seen.found.clone());
        futures::pin_mut!(looking);
        // one that failed before says that until it is known to be well
        if self.known.lock().retries.contains_key(name) {
            return looking.await;
        }
        if let Ok(looked) = tokio::time::timeout(LOOK, &mut looking).await {
            return looked;
        }
        let serving = self.known.lock().serving.get(name).cloned();
        let served = serving.map(|loaded| loaded.served(&plugin.spec.names));
        let problem = match SourceKind::of(&plugin.spec.source).is_remote() {
            true => Problem::fetched(Reason::Loading, "The component is being fetched"),
            false => Problem::compiled(Reason::Loading, "The component is being loaded"),
        };
        let findings = Findings {
            wanted: None,
            problem: Some(&problem),
            serving: served.as_ref(),
            pauses: &seen.pauses,
            next_try: None,
        };
        let after = status(before, plugin.metadata.generation, findings, Timestamp::now());
        if seen.leads {
            match self.write_status(plugin, before, &after).await {
                Ok(written) => {
                    *told = written;
                    *before = after;
                }
                Err(error) => {
                    tracing::debug!(plugin = %name, error = words(&error), "it is not told that it is being loaded");
                }
            }
        }
        looking.await
    }

    /// Offers a component, unless that is offered already.
    fn publish(&self, name: &PluginName, plugin: &Plugin, mut loaded: Loaded) -> Result<(), Problem> {
        let serves = self.known.lock().serving.get(name).cloned();
        if serves.is_some_and(|now| now.code.digest() == loaded.code.digest() && now.is_published_for(plugin))
        {
            return Ok(());
        }
        let publication = loaded.publication(plugin)?;
        loaded.published_for = Some((plugin.uid().unwrap_or_default(), plugin.metadata.generation));
        self.offer(name, &publication, loaded)
    }

    fn offer(&self, name: &PluginName, publication: &Publication, loaded: Loaded) -> Result<(), Problem> {
        match self.catalog.publish(publication) {
            Ok(change) => {
                let (types, digest) = (publication.type_names().join(", "), loaded.code.digest());
                tracing::info!(plugin = %name, types, digest, "serves");
                self.known.lock().serving.insert(name.clone(), Arc::new(loaded));
                self.changed(&change);
                Ok(())
            }
            Err(taken) => {
                self.known.lock().blocked.insert(name.clone());
                Err(Problem::name_taken(taken.to_string()))
            }
        }
    }

    /// The new component came to nothing: what served before serves on, as the Plugin says now; after a restart what is kept
    /// of it. Where the Plugin means other bytes, what it says now is not for them.
    ///
    /// # Errors
    /// It is not known yet what serves.
    async fn fall_back(&self, name: &PluginName, plugin: &Plugin) -> Result<(), Problem> {
        // what the operator's own settings forbid was never good
        if self.sources.refusal(&plugin.spec).is_some() {
            self.withdraw(name);
            return Ok(());
        }
        let serving = self.known.lock().serving.get(name).cloned();
        if let Some(loaded) = &serving
            && !self.sources.trusts(loaded.signed_by.as_deref()).await
        {
            self.withdraw(name);
            return Ok(());
        }
        match serving {
            Some(loaded) if loaded.fits(plugin) => {
                if let Err(problem) = self.publish(name, plugin, Loaded::clone(&loaded)) {
                    tracing::debug!(plugin = %name, problem = problem.message, "what served stays as it was");
                }
            }
            Some(loaded)
                if loaded
                    .published_for
                    .as_ref()
                    .is_some_and(|(uid, _)| Some(uid) != plugin.uid().as_ref()) =>
            {
                // of a Plugin of this name that is gone
                self.withdraw(name);
            }
            Some(_) => {}
            None => {
                if let Some(kept) = self.load_kept(plugin).await?
                    && let Err(problem) = self.publish(name, plugin, kept)
                {
                    tracing::debug!(plugin = %name, problem = problem.message, "what is kept does not serve");
                }
            }
        }
        Ok(())
    }

    /// The Plugin is gone.
    fn forget(&self, name: &PluginName) {
        self.withdraw(name);
        self.catalog.arrived(&name.0, Timestamp::now());
        self.failures.forget(name);
        let mut known = self.known.lock();
        known.blocked.remove(name);
        known.mismatched.remove(name);
        known.retries.remove(name);
        known.stamps.remove(name);
        if known.seen.remove(name).is_some() {
            drop(known);
            self.count();
        }
    }

    fn withdraw(&self, name: &PluginName) {
        if self.known.lock().serving.remove(name).is_some() {
            tracing::info!(plugin = %name, "serves no more");
            self.changed(&self.catalog.withdraw(&name.0));
        }
    }

    /// Whoever lost its name to an older one has to say so, and whoever waits for a name may try again.
    fn changed(&self, change: &Change) {
        let mut known = self.known.lock();
        let displaced: Vec<_> = change.displaced.iter().cloned().map(PluginName).collect();
        for name in &displaced {
            known.serving.remove(name);
            known.seen.remove(name);
        }
        let waiting: Vec<_> =
            if change.types.is_empty() { Vec::new() } else { known.blocked.iter().cloned().collect() };
        drop(known);
        self.enqueue(displaced.into_iter().chain(waiting));
    }

    fn remember(&self, name: &PluginName, seen: Seen, status: PluginStatus) {
        self.known.lock().seen.insert(name.clone(), (seen, status));
        self.count();
    }

    fn count(&self) {
        let known = self.known.lock();
        for which in STATES {
            let count = known.seen.values().filter(|(_, status)| state(status) == which).count();
            self.metrics.plugins(which, count);
        }
    }

    /// Keeps what serves, says so, and drops what was kept before: in this order, so that the status never names a component
    /// that is not there. Whoever led before may have died in the middle: `is_first` looks for what he left.
    async fn write(
        &self,
        plugin: &Plugin,
        before: &PluginStatus,
        after: &PluginStatus,
        component: Option<&[u8]>,
        is_first: bool,
    ) -> Result<(), kube::Error> {
        let is_new = |digest: &&str| after.wanted.as_deref() == Some(digest);
        let digest = after.digest.as_deref().filter(is_new);
        if let (Some(digest), Some(component)) = (digest, component) {
            kept::keep(&self.client, &self.namespace, plugin, digest, component).await?;
        }
        self.write_status(plugin, before, after).await?;
        let Some(digest) = digest else { return Ok(()) };
        let replaced = after.history.get(1).filter(|_| is_first);
        let is_left = match replaced {
            _ if before.digest.as_deref() != Some(digest) => true,
            Some(replaced) => kept::has(&self.client, &self.namespace, plugin, &replaced.digest).await?,
            None => false,
        };
        if is_left {
            kept::remove_others(&self.client, &self.namespace, plugin, digest).await?;
        }
        Ok(())
    }

    /// Writes the status, and gives the Plugin as it is then.
    #[expect(clippy::disallowed_methods, reason = "the only writer of a Plugin's status")]
    async fn write_status(
        &self,
        plugin: &Plugin,
        before: &PluginStatus,
        after: &PluginStatus,
    ) -> Result<Option<Plugin>, kube::Error> {
        if plugin.status.as_ref() == Some(after) {
            return Ok(None);
        }
        // what stands there may be older than what was written last
        let there = plugin.status.as_ref().unwrap_or(before);
        let status = patch(there, after).map_err(kube::Error::SerdeError)?;
        let metadata = json!({"uid": plugin.uid(), "resourceVersion": plugin.resource_version()});
        let patch = Patch::Merge(json!({"metadata": metadata, "status": status}));
        let api = Api::<Item<Plugin>>::all(self.client.clone());
        match api.patch_status(&plugin.name_any(), &PatchParams::default(), &patch).await {
            Ok(written) => Ok(written.get().ok().cloned()),
            Err(error) if is_not_found(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Events on the Plugin, and on the ConfigMaps that it comes from, whose author may not read Plugins. Says when there may
    /// be more to tell.
    fn tell(
        &self,
        name: &PluginName,
        plugin: &Plugin,
        before: &PluginStatus,
        after: &PluginStatus,
        problem: Option<&Problem>,
    ) -> Option<Duration> {
        let is_mismatch = problem.is_some_and(|problem| problem.reason == Reason::DigestMismatch);
        let (notes, pause) = {
            let mut known = self.known.lock();
            let untold = known.mismatched.get(name).map(Instant::elapsed);
            let (notes, pause) = notes_due(before, after, is_mismatch, untold);
            if pause.is_some() {
                known.mismatched.entry(name.clone()).or_insert_with(Instant::now);
            } else {
                known.mismatched.remove(name);
            }
            (notes, pause)
        };
        notes.iter().for_each(|note| self.record(plugin, note));
        pause
    }

    /// Who is refused what it writes says so once: a quota, or a right that is missing, may stay so for long.
    fn tell_unwritten(&self, name: &PluginName, plugin: &Plugin, error: &kube::Error) {
        if is_refused(error) && !self.unwritten.has(name) {
            let note = format!(
                "the component is not kept for the operator's next start, or the status says nothing of it: {}; look at quotas of \
                 namespace {} and at the operator's rights",
                words(error),
                self.namespace
            );
            self.record(plugin, &Note { type_: EventType::Warning, reason: "PluginNotKept", note });
        }
    }

    fn record(&self, plugin: &Plugin, note: &Note) {
        self.events.record(&plugin.object_ref(&()), note.clone());
        let source = plugin.spec.source.config_map.as_ref().map(|source| source.name.as_str());
        self.tell_source(source.unwrap_or_default(), note);
    }

    fn tell_source(&self, source: &str, note: &Note) {
        let maps = self.config_maps.state();
        let first = maps.iter().filter(|map| source_name(map) == source).min_by_key(|map| map.name_any());
        if let Some(map) = first {
            self.events.record(&reference(map), note.clone());
        }
    }

    /// Makes the Plugin of a labelled ConfigMap that none takes.
    async fn make(&self, name: &PluginName, maps: &[Arc<Meta>]) -> Option<Duration> {
        let is_taken = self.of_source(&name.0).iter().any(|user| self.plugin(user).is_some());
        if !self.leads() || is_taken {
            return None;
        }
        match new_plugin(&name.0, maps) {
            None => {
                self.known.lock().mislabelled.remove(name);
                self.unwritten.forget(name);
                None
            }
            Some(Ok(plugin)) => self.paused(name, self.create(&plugin).await),
            Some(Err(problem)) => {
                let is_new = self.known.lock().mislabelled.insert(name.clone());
                if is_new {
                    let note = Note { type_: EventType::Warning, reason: "PluginRefused", note: problem };
                    self.tell_source(&name.0, &note);
                }
                None
            }
        }
    }

    #[expect(clippy::disallowed_methods, reason = "the only one who makes Plugins")]
    async fn create(&self, plugin: &Plugin) -> Result<(), kube::Error> {
        let api = Api::<Plugin>::all(self.client.clone());
        match api.create(&PostParams::default(), plugin).await {
            Err(error) if !is_conflict(&error) => Err(error),
            _ => Ok(()),
        }
    }

    #[expect(clippy::disallowed_methods, reason = "the only one who makes Plugins removes those again")]
    async fn remove(&self, plugin: &Plugin) -> Result<(), kube::Error> {
        let preconditions = Preconditions { uid: plugin.uid(), resource_version: plugin.resource_version() };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        match Api::<Plugin>::all(self.client.clone()).delete(&plugin.name_any(), &params).await {
            Err(error) if !is_not_found(&error) && !is_conflict(&error) => Err(error),
            _ => Ok(()),
        }
    }

    fn paused(&self, name: &PluginName, result: Result<(), kube::Error>) -> Option<Duration> {
        match result {
            Ok(()) => {
                self.unwritten.forget(name);
                None
            }
            // the watch is behind: it will show what is there
            Err(error) if is_conflict(&error) => Some(super::FIRST_PAUSE),
            Err(error) => {
                let pause = self.unwritten.next(name).min(MAX_PAUSE);
                tracing::warn!(plugin = %name, error = words(&error), ?pause, "the Plugin could not be brought up to date, requeued");
                Some(pause)
            }
        }
    }
}

/// Whether the Plugin said before what it serves, and it is not known yet whether it does again: its Tasks wait for that.
fn is_on_its_way(plugin: &Plugin, problem: Option<&Problem>) -> bool {
    problem.is_some_and(|problem| problem.reason == Reason::Loading)
        && plugin.status.as_ref().is_some_and(|status| !status.types.is_empty())
}

/// A ConfigMap, as its Events name it.
fn reference(map: &Meta) -> ObjectReference {
    let metadata = map.meta();
    ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("ConfigMap".to_owned()),
        name: metadata.name.clone(),
        namespace: metadata.namespace.clone(),
        uid: metadata.uid.clone(),
        ..ObjectReference::default()
    }
}
