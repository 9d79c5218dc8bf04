//! What a reconciliation does once it is decided: delete, end, release, verify, open, record, stop.

use std::sync::Arc;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;
use kube::api::{Api, Patch};
use kube::runtime::controller::Action;
use kubeopencode_api::condition::Reason;
use kubeopencode_api::literals::TASK_UID_LABEL;
use kubeopencode_api::names::{Naming, ObjectKey, TaskNames};
use kubeopencode_api::task::TaskStatus;
use serde_json::json;

use super::decide::{End, PodDeletion, STOP_DEADLINE_SECONDS};
use super::delete::{Removal, remove_config_map_of, remove_pod};
use super::launch::open_gate;
use super::pod_outcome::{PodState, TaskOutcome, pod_state};
use super::reconcile::{Context, ReconcileError, ReconcileResult, SOON, TaskState, recorded_or_spec_agent};
use super::status::{LaunchRecord, StatusBuilder};
use crate::admission::live_pods::PodNames;
use crate::cache::pending_writes::STALE_TIMEOUT;
use crate::cache::pod_view::PodView;
use crate::cache::task_view::TaskRef;
use crate::frontend::Frontend;
use crate::runtime::api_error::{is_conflict, is_not_found, is_outdated, is_too_large};

impl Context {
    /// Writes a status; what changed meanwhile is reconciled anew, and `false` says so.
    pub(super) async fn write(&self, task: TaskRef<'_>, status: &TaskStatus) -> Result<bool, ReconcileError> {
        match self.writer.write(task, status).await {
            Ok(()) => Ok(true),
            Err(error) if is_too_large(&error) => {
                let note = "its status does not fit into etcd: make the Task smaller, or delete it";
                self.writer.warn(task, "TooLarge", note.to_owned());
                Err(error.into())
            }
            Err(error) if is_outdated(&error) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether every gated Pod is gone; the others end in their own time.
    pub(super) async fn delete(&self, deletions: &[PodDeletion]) -> Result<bool, ReconcileError> {
        let mut gone = true;
        for deletion in deletions {
            gone &= match remove_pod(&self.client, deletion).await? {
                Removal::Gone => true,
                Removal::Going => !deletion.gated,
                Removal::Changed => false,
            };
        }
        Ok(gone)
    }

    pub(super) async fn complete<F: Frontend>(
        &self,
        state: &TaskState<'_, F>,
        end: End,
        deletions: &[PodDeletion],
    ) -> ReconcileResult {
        if !self.delete(deletions).await? {
            return Ok(Action::requeue(SOON));
        }
        let builder = StatusBuilder::of(state.task, state.now);
        let status = match end {
            End::Pod(outcome) => builder.ended(&outcome),
            End::Stopped => builder.stopped(),
        };
        self.conclude(state, &status).await
    }

    /// Writes a terminal status; the Task then waits in no queue any more.
    pub(super) async fn conclude<F: Frontend>(
        &self,
        state: &TaskState<'_, F>,
        status: &TaskStatus,
    ) -> ReconcileResult {
        if !self.write(state.task, status).await? {
            return Ok(Action::requeue(SOON));
        }
        if let Ok(agent) = F::spec_agent(state.object) {
            self.admission.leave(&agent, &state.uid);
        }
        Ok(Action::await_change())
    }

    /// The Task is over or is being deleted: its slot may be free, its Pod's last state is of no more use.
    pub(super) fn release_resources<F: Frontend>(&self, state: &TaskState<'_, F>) {
        self.caches.pods.forget(&state.uid);
        let Some(agent) = recorded_or_spec_agent::<F>(state.object) else { return };
        self.admission.leave(&agent, &state.uid);
        if self.admission.may_hold(&agent, &state.uid) {
            let _ = self.agent_queue.send(agent);
        }
    }

    pub(super) async fn release<F: Frontend>(&self, state: &TaskState<'_, F>) -> ReconcileResult {
        // a terminal Task was written after its Pod was seen, and nothing launches it again: the cache knows enough
        let live = if state.task.is_terminal() { Vec::new() } else { self.live_pods(state).await? };
        if !live.is_empty() {
            let deletions: Vec<_> = live.into_iter().map(PodDeletion::of).collect();
            self.delete(&deletions).await?;
            return Ok(Action::requeue(SOON));
        }
        if !self.remove_embedded(state).await? {
            return Ok(Action::requeue(SOON));
        }
        self.release_resources(state);
        self.drop_finalizer(state.task).await
    }

    pub(super) async fn force_release<F: Frontend>(&self, state: &TaskState<'_, F>) -> ReconcileResult {
        let note = "its Pod could not be ended: the node may be lost; delete the Pod by hand when it is back";
        self.writer.warn(state.task, "Failed", note.to_owned());
        self.release_resources(state);
        self.drop_finalizer(state.task).await
    }

    /// Deletes the ConfigMaps that were made in another namespace for this Task: no garbage collection reaches there.
    /// Says whether all are gone.
    async fn remove_embedded<F: Frontend>(&self, state: &TaskState<'_, F>) -> Result<bool, ReconcileError> {
        let namespace = state.task.namespace();
        let Some(agent) =
            recorded_or_spec_agent::<F>(state.object).filter(|agent| agent.namespace != namespace)
        else {
            return Ok(true);
        };
        // between namespaces every name has the UID in it
        let key = state.task.key();
        let names = TaskNames::new(&key, &state.uid, &agent.namespace, Naming::Plain);
        for index in 0.. {
            let name = names.context(index);
            match remove_config_map_of(&self.client, &state.uid, &agent.namespace, &name).await? {
                Some(Removal::Changed) => return Ok(false),
                Some(_) => {}
                None => break,
            }
        }
        Ok(true)
    }

    /// The Pods that were made for the Task: a launch makes one where its Agent is, and what the cache shows may be
    /// elsewhere, since the Agent can be another one by now.
    pub(super) async fn live_pods<F: Frontend>(
        &self,
        state: &TaskState<'_, F>,
    ) -> Result<Vec<PodView>, ReconcileError> {
        let (task, key) = (state.task, state.task.key());
        let recorded = task.status.and_then(|status| {
            Some(ObjectKey::new(status.pod_namespace.as_deref()?, status.pod_name.as_deref()?))
        });
        let cached = state.pods.iter().map(|pod| ObjectKey::of(pod.as_ref()));
        let mut names = PodNames::none().and(recorded).and(cached);
        let of_spec = F::spec_agent(state.object).ok().filter(|_| task.pod_uid().is_none());
        for agent in task.recorded_agent().into_iter().chain(of_spec) {
            names = names.launched_in(&agent.namespace, &key, &state.uid);
        }
        Ok(names.get(&self.client, &state.uid).await?)
    }

    async fn drop_finalizer(&self, task: TaskRef<'_>) -> ReconcileResult {
        let ours = task.group.names().finalizer;
        let finalizers: Vec<_> = task.finalizers().iter().filter(|f| *f != ours).collect();
        let patch = json!({"metadata": {"resourceVersion": task.metadata.resource_version, "finalizers": finalizers}});
        match self.writer.patch_metadata(task, &patch).await {
            Ok(_) => Ok(Action::await_change()),
            Err(error) if is_not_found(&error) => Ok(Action::await_change()),
            Err(error) if is_conflict(&error) => Ok(Action::requeue(SOON)),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) async fn verify<F: Frontend>(&self, state: &TaskState<'_, F>) -> ReconcileResult {
        let Some(status) = state.task.status else { return Ok(Action::await_change()) };
        let (name, uid) =
            (status.pod_name.as_deref().unwrap_or_default(), status.pod_uid.as_deref().unwrap_or_default());
        let namespace = status.pod_namespace.as_deref().unwrap_or_default();
        let live = Api::<PodView>::namespaced(self.client.clone(), namespace).get_opt(name).await?;
        if let Some(pod) = live.filter(|pod| pod.uid() == uid) {
            // our watch does not show it (yet): somebody took its label, or it is very young
            return match pod_state(&pod, state.settings.result_summary()) {
                PodState::InProgress { .. } => Ok(Action::requeue(STALE_TIMEOUT)),
                PodState::Ended(outcome) => self.complete(state, End::Pod(outcome), &[]).await,
            };
        }
        let message = format!("Pod \"{namespace}/{name}\" is gone and how it ended is not known");
        let outcome = TaskOutcome::failed(Reason::PodLost, message);
        self.conclude(state, &StatusBuilder::of(state.task, state.now).ended(&outcome)).await
    }

    /// Opens the gate of the recorded Pod, unless one of its ConfigMaps has gone: then it could never run.
    pub(super) async fn open<F: Frontend>(
        &self,
        state: &TaskState<'_, F>,
        pod: &Arc<PodView>,
    ) -> ReconcileResult {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let api = Api::<ConfigMap>::namespaced(self.client.clone(), namespace);
        for name in pod.context_config_maps() {
            let there = api.get_metadata_opt(name).await?;
            let ours = there.is_some_and(|map| map.labels().get(TASK_UID_LABEL) == Some(&state.uid.0));
            if !ours {
                let message = format!("ConfigMap \"{namespace}/{name}\" of the Pod is gone; make a new Task");
                let end = End::Pod(TaskOutcome::failed(Reason::ConfigMapCreationError, message));
                let deletion = PodDeletion { pod: Arc::clone(pod), gated: true };
                return self.complete(state, end, &[deletion]).await;
            }
        }
        match open_gate(&self.client, &self.writer, pod).await {
            Ok(()) => Ok(Action::await_change()),
            Err(error) if is_outdated(&error) => Ok(Action::requeue(SOON)),
            Err(error) => Err(error.into()),
        }
    }

    /// A Pod of ours runs although nobody recorded it.
    pub(super) async fn record<F: Frontend>(
        &self,
        state: &TaskState<'_, F>,
        pod: &PodView,
    ) -> ReconcileResult {
        let Some(agent) = pod.pod_agent() else { return Ok(Action::await_change()) };
        let limited = self.caches.agent(&agent).is_some_and(|agent| agent.spec.is_limited());
        let launch = LaunchRecord {
            pod: &ObjectKey::of(pod),
            pod_uid: pod.uid(),
            agent: &agent,
            limited,
            plugins: Vec::new(),
            notices: &[],
        };
        let status = StatusBuilder::of(state.task, state.now).launched(&launch);
        self.write(state.task, &status).await?;
        Ok(Action::requeue(SOON))
    }

    pub(super) async fn stop_keep_pod<F: Frontend>(
        &self,
        state: &TaskState<'_, F>,
        pod: &PodView,
    ) -> ReconcileResult {
        let stopped = || StatusBuilder::of(state.task, state.now).stopped();
        if !state.task.is_terminal() && !self.write(state.task, &stopped()).await? {
            return Ok(Action::requeue(SOON));
        }
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let api = Api::<PodView>::namespaced(self.client.clone(), namespace);
        let patch =
            json!({"metadata": {"uid": pod.uid()}, "spec": {"activeDeadlineSeconds": STOP_DEADLINE_SECONDS}});
        match api.patch(&pod.name_any(), &Default::default(), &Patch::Merge(&patch)).await {
            Ok(_) => Ok(Action::await_change()),
            Err(error) if is_outdated(&error) => Ok(Action::await_change()),
            Err(kube::Error::Api(status)) if status.code == 403 => {
                let note = format!("stopPolicy KeepPod: {}; the Pod is deleted instead", status.message);
                self.writer.warn(state.task, "Stopped", note);
                self.delete(&[PodDeletion { pod: Arc::new(pod.clone()), gated: false }]).await?;
                Ok(Action::await_change())
            }
            Err(error) => Err(error.into()),
        }
    }
}
