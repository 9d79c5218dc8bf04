//! What a reconciliation does once it is decided: delete, end, release, verify, open, record, stop.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;
use kube::api::{Api, Patch};
use kube::runtime::controller::Action;
use kubeopencode_api::condition::Reason;
use kubeopencode_api::literals::{PLAN_ANNOTATION, STOP_ANNOTATION};
use kubeopencode_api::task::TaskStatus;
use serde_json::json;

use super::decide::{End, PodDeletion, STOP_DEADLINE_SECONDS};
use super::delete::{Removal, remove_config_maps, remove_pod};
use super::launch::open_gate;
use super::pod_outcome::TaskOutcome;
use super::reconcile::{Context, ReconcileError, ReconcileResult, SOON, TaskState, recorded_or_spec_runner};
use crate::cache::pod_view::PodView;
use crate::cache::task_view::{MadeIn, TaskRef};
use crate::frontend::{Frontend, Runner};
use crate::runtime::api_error::{is_conflict, is_not_found, is_outdated, is_too_large};

/// ConfigMaps that are looked for where the Task does not say how many there are, since a version made them that wrote
/// no annotation, or somebody took it off: 64 directories, and 4 MiB in ConfigMaps of 900 KB that are half full at worst.
const MAX_CONFIG_MAPS: usize = 80;

/// How long after its deletion a Task stays at most until it was counted: nobody waits for ever for an object that cannot be
/// written.
const MAX_TO_BE_COUNTED: SignedDuration = SignedDuration::from_secs(60);

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
                Removal::Changed => {
                    self.writer.pod_changed(&deletion.pod);
                    false
                }
            };
        }
        Ok(gone)
    }

    pub(super) async fn complete<F: Frontend>(
        &self,
        state: &TaskState<'_, F>,
        end: End,
        started: Option<Timestamp>,
        deletions: &[PodDeletion],
    ) -> ReconcileResult {
        if !self.delete(deletions).await? {
            return Ok(Action::requeue(SOON));
        }
        let builder = state.status().agent_started(started);
        let status = match end {
            End::Pod(outcome) => builder.ended(&outcome),
            End::NotLaunched(refusal) => builder.refused(&refusal),
            End::Stopped => builder.stopped(state.task.stop.unwrap_or(STOP_ANNOTATION)),
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
        if let Ok(runner) = F::spec_runner(state.object) {
            self.admission.leave(&runner, &state.uid);
        }
        Ok(Action::await_change())
    }

    /// The Task is over or is being deleted: its slot may be free, its Pod's last state is of no more use.
    pub(super) fn release_resources<F: Frontend>(&self, state: &TaskState<'_, F>) {
        self.caches.pods.forget(&state.uid);
        let Some(runner) = recorded_or_spec_runner::<F>(state.object) else { return };
        self.admission.leave(&runner, &state.uid);
        if let Runner::Agent(agent) = runner
            && self.admission.may_hold(&agent, &state.uid)
        {
            let _ = self.agent_queue.send(agent);
        }
    }

    pub(super) async fn release<F: Frontend>(&self, state: &TaskState<'_, F>) -> ReconcileResult {
        let since = state.task.metadata.deletion_timestamp.as_ref();
        let is_waited_for = since.is_some_and(|since| state.now < since.0 + MAX_TO_BE_COUNTED);
        if is_waited_for && F::is_to_be_counted(state.task, &self.caches) {
            return Ok(Action::requeue(SOON));
        }
        if !self.remove_far_config_maps(state).await? {
            return Ok(Action::requeue(SOON));
        }
        self.release_resources(state);
        self.drop_finalizer(state.task).await
    }

    pub(super) async fn force_release<F: Frontend>(&self, state: &TaskState<'_, F>) -> ReconcileResult {
        let note = "its Pod could not be ended: the node may be lost; delete the Pod by hand when it is back";
        self.writer.warn(state.task, "Failed", note.to_owned());
        self.release(state).await
    }

    /// Deletes the ConfigMaps that were made in other namespaces for this Task: no garbage collection reaches there. Says
    /// whether all are gone.
    async fn remove_far_config_maps<F: Frontend>(
        &self,
        state: &TaskState<'_, F>,
    ) -> Result<bool, ReconcileError> {
        let (task, key) = (state.task, state.task.key());
        // where nobody watches nobody may ask, even if something was made there before --watch-namespace named fewer
        let far = |namespace: &String| *namespace != key.namespace && self.caches.show(namespace);
        let said = task.made_in().filter(|made_in| far(&made_in.namespace));
        let used = match &said {
            Some(_) => task.status.and_then(|status| status.pod_namespace.clone()),
            None => recorded_or_spec_runner::<F>(state.object).map(|runner| runner.namespace().to_owned()),
        };
        let is_said = |namespace: &String| said.as_ref().is_some_and(|said| said.namespace == *namespace);
        let unsaid = used.filter(|namespace| far(namespace) && !is_said(namespace));
        let unsaid = unsaid.map(|namespace| MadeIn { namespace, config_maps: MAX_CONFIG_MAPS });
        let mut all_gone = true;
        for made_in in said.iter().chain(&unsaid) {
            all_gone &= remove_config_maps(&self.client, &key, &state.uid, made_in).await?;
        }
        Ok(all_gone)
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

    /// Opens the gate of the recorded Pod, unless one of its ConfigMaps has gone: then it could never run.
    pub(super) async fn open<F: Frontend>(
        &self,
        state: &TaskState<'_, F>,
        pod: &Arc<PodView>,
    ) -> ReconcileResult {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let api = Api::<ConfigMap>::namespaced(self.client.clone(), namespace);
        for name in pod.own_config_maps() {
            let there = api.get_metadata_opt(name).await?;
            let is_of_this_plan = there.is_some_and(|map| {
                map.labels().get(F::GROUP.names().task_uid_label) == Some(&state.uid.0)
                    && map.annotations().get(PLAN_ANNOTATION).map(String::as_str) == pod.plan()
            });
            if !is_of_this_plan {
                let message = format!("ConfigMap \"{namespace}/{name}\" of the Pod is gone; make a new Task");
                let end = End::Pod(TaskOutcome::failed(Reason::ConfigMapCreationError, message));
                let deletion = PodDeletion { pod: Arc::clone(pod), gated: true };
                return self.complete(state, end, None, &[deletion]).await;
            }
        }
        match open_gate(&self.client, &self.writer, pod).await {
            Ok(()) => Ok(Action::await_change()),
            Err(error) if is_outdated(&error) => Ok(Action::requeue(SOON)),
            Err(error) => Err(error.into()),
        }
    }

    /// The kubelet ends the containers of a Pod that is over its `activeDeadlineSeconds`, and keeps it with its logs.
    #[expect(clippy::disallowed_methods, reason = "a Pod that ran is ended, and no gate is opened")]
    pub(super) async fn halt_pod<F: Frontend>(
        &self,
        state: &TaskState<'_, F>,
        pod: &PodView,
    ) -> ReconcileResult {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let api = Api::<PodView>::namespaced(self.client.clone(), namespace);
        let patch =
            json!({"metadata": {"uid": pod.uid()}, "spec": {"activeDeadlineSeconds": STOP_DEADLINE_SECONDS}});
        match api.patch(&pod.name_any(), &Default::default(), &Patch::Merge(&patch)).await {
            Ok(_) => Ok(Action::await_change()),
            Err(error) if is_outdated(&error) => Ok(Action::await_change()),
            Err(kube::Error::Api(status)) if status.code == 403 => {
                let note = format!(
                    "the Pod cannot be ended and kept for its log: {}; it is deleted instead",
                    status.message
                );
                self.writer.warn(state.task, "Stopped", note);
                self.delete(&[PodDeletion { pod: Arc::new(pod.clone()), gated: false }]).await?;
                Ok(Action::await_change())
            }
            Err(error) => Err(error.into()),
        }
    }
}
