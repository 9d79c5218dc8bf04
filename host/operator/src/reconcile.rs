//! One look at a Task: decide, then do that one thing.

mod changes;
mod launching;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, ListParams};
use kube::runtime::controller::Action;
use kube::{Client, ResourceExt};
use kubeopencode_api::condition::Reason;
use kubeopencode_api::literals::{FINALIZER, TASK_UID_LABEL};
use kubeopencode_api::names::{Naming, ObjectKey, TaskNames, TaskUid};
use kubeopencode_api::task::{Phase, Task, TaskStatus};
use kubeopencode_plan::{Settings, agent_key};
use kubeopencode_plugin_host::PluginHost;
use serde_json::json;
use tokio::sync::mpsc::UnboundedSender;

use crate::admission::Admission;
use crate::answers::{is_conflict, is_invalid, is_not_found, label};
use crate::backoff::Failures;
use crate::caches::{Caches, GuardedTask, key_of};
use crate::decide::{Doomed, End, HALT_SECONDS, Known, Rules, Step, decide};
use crate::inspect::{self, Inspections};
use crate::launch::open_gate;
use crate::ledger::Waiting;
use crate::metrics::Metrics;
use crate::observe::{Ending, Seen, observe};
use crate::remove::{Removal, remove_config_map_of, remove_pod};
use crate::status::Draft;
use crate::view::PodView;
use crate::writer::Writer;
use crate::written::PATIENCE;

/// Until a look is repeated that the watches should have repeated already.
const SOON: Duration = Duration::from_secs(1);

/// What a look at a Task works with.
pub(crate) struct Operator {
    /// The API.
    pub client: Client,
    /// The plugins.
    pub host: Arc<PluginHost>,
    /// What the watches show.
    pub caches: Arc<Caches>,
    /// Writes Tasks.
    pub writer: Writer,
    /// Slots and starts.
    pub admission: Admission,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Agents whose ledger has to be looked at.
    pub agents: UnboundedSender<ObjectKey>,
    /// Looks that failed, in a row.
    pub failures: Failures<TaskUid>,
    /// Pods whose Events were asked.
    pub inspections: Inspections,
}

/// A look that has to be repeated.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct ReconcileError(#[from] pub kube::Error);

impl ReconcileError {
    /// The label of the metric.
    pub(crate) fn label(&self) -> &'static str {
        label(&self.0)
    }
}

type Looked = Result<Action, ReconcileError>;

/// A Task with what every step needs of it.
struct Case<'a> {
    task: &'a Task,
    uid: TaskUid,
    pods: Vec<Arc<PodView>>,
    settings: Settings,
    now: Timestamp,
}

impl Operator {
    /// Looks at a Task once.
    ///
    /// # Errors
    /// When the API server does not answer; the look is repeated with growing pauses.
    pub(crate) async fn reconcile(&self, guarded: &GuardedTask) -> Looked {
        match &guarded.0 {
            Ok(task) => self.look(task).await,
            Err(invalid) => {
                // the schema lets nothing pass that cannot be read: the CRDs are older or newer than the operator
                tracing::error!(task = ?invalid.metadata.name, namespace = ?invalid.metadata.namespace, error = %invalid.error,
                    "a Task cannot be read; install the CustomResourceDefinitions of this version");
                Ok(Action::await_change())
            }
        }
    }

    async fn look(&self, task: &Task) -> Looked {
        let uid = TaskUid(task.uid().unwrap_or_default());
        if self.writer.tasks.is_ahead_of(&uid.0, task.metadata.resource_version.as_deref()) {
            return Ok(Action::requeue(PATIENCE));
        }
        let namespace = task.namespace().unwrap_or_default();
        let pod_namespace = pod_namespace(task);
        let settings = self.caches.settings(&namespace, pod_namespace.as_deref().unwrap_or(&namespace));
        let pods = self.caches.pods.of(&uid);
        let behind = |pod: &Arc<PodView>| {
            self.writer.pods.is_ahead_of(pod.uid(), pod.metadata.resource_version.as_deref())
        };
        if pods.iter().any(behind) {
            return Ok(Action::requeue(PATIENCE));
        }
        let recorded = task.status.as_ref().and_then(|s| s.pod_uid.as_deref());
        let unseen = recorded.filter(|uid| pods.iter().all(|pod| pod.uid() != *uid));
        if unseen.is_some_and(|pod_uid| self.writer.pods.is_ahead_of(pod_uid, None)) {
            return Ok(Action::requeue(PATIENCE));
        }
        let last = recorded.and_then(|pod_uid| self.caches.pods.last_of(&uid, pod_uid));
        let case = Case { task, uid, pods, settings, now: Timestamp::now() };
        let rules = Rules {
            stop_policy: case.settings.stop_policy(),
            start_timeout: case.settings.start_timeout(),
            result_summary: case.settings.result_summary(),
        };
        let step = decide(&Known { task, pods: &case.pods, last: last.as_deref(), rules, now: case.now });
        tracing::debug!(task = %task.name_any(), namespace, ?step, "decided");
        self.act(&case, step).await
    }

    async fn act(&self, case: &Case<'_>, step: Step) -> Looked {
        match step {
            Step::Wait(at) => Ok(wait(case.now, at)),
            Step::Delete(doomed) => {
                self.delete(&doomed).await?;
                Ok(Action::requeue(SOON))
            }
            Step::Release => self.release(case).await,
            Step::Abandon => {
                let note = "its Pod could not be ended: the node may be lost; delete the Pod by hand when it is back";
                self.writer.warn(case.task, "Failed", note.to_owned());
                self.let_go(case);
                self.drop_finalizer(case.task).await
            }
            Step::LetGo => {
                self.let_go(case);
                Ok(Action::await_change())
            }
            Step::Launch => self.launch(case).await,
            Step::Record(pod) => self.record(case, &pod).await,
            Step::Open(pod) => self.open(case, &pod).await,
            Step::Verify => self.verify(case).await,
            Step::Halt(pod) => self.halt(case, &pod).await,
            Step::Finish { end, delete } => self.finish(case, end, &delete).await,
            Step::Report { trouble, skipped, again } => {
                let status = Draft::of(case.task, case.now).going(trouble.as_ref(), &skipped);
                self.write(case.task, &status).await?;
                Ok(wait(case.now, again))
            }
            Step::AskEvents(pod, again) => {
                if let Some(trouble) = self.inspections.ask(&self.client, &pod).await? {
                    let status = Draft::of(case.task, case.now).going(Some(&trouble), &[]);
                    self.write(case.task, &status).await?;
                }
                let next = case.now.checked_add(inspect::ROUND).ok();
                Ok(wait(case.now, again.into_iter().chain(next).min()))
            }
        }
    }

    /// Writes a status; what changed meanwhile is looked at anew.
    async fn write(&self, task: &Task, status: &TaskStatus) -> Result<bool, ReconcileError> {
        match self.writer.write(task, status).await {
            Ok(_) => Ok(true),
            Err(error) if is_conflict(&error) || is_invalid(&error) || is_not_found(&error) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether every gated Pod is gone; the others end in their own time.
    async fn delete(&self, doomed: &[Doomed]) -> Result<bool, ReconcileError> {
        let mut gone = true;
        for doomed in doomed {
            let removal = remove_pod(&self.client, doomed).await?;
            gone &= match removal {
                Removal::Gone => true,
                Removal::Going => !doomed.gated,
                Removal::Changed => false,
            };
        }
        Ok(gone)
    }

    async fn finish(&self, case: &Case<'_>, end: End, doomed: &[Doomed]) -> Looked {
        if !self.delete(doomed).await? {
            return Ok(Action::requeue(SOON));
        }
        let draft = Draft::of(case.task, case.now);
        let status = match end {
            End::Pod(ending) => draft.ended(&ending),
            End::Stopped => draft.stopped(),
        };
        self.conclude(case, &status).await
    }

    /// Writes a terminal status and lets go of what the Task held in memory.
    async fn conclude(&self, case: &Case<'_>, status: &TaskStatus) -> Looked {
        if !self.write(case.task, status).await? {
            return Ok(Action::requeue(SOON));
        }
        self.leave_queue(case);
        Ok(Action::await_change())
    }

    fn leave_queue(&self, case: &Case<'_>) {
        if let Ok(agent) = agent_key(case.task) {
            self.admission.leave(&agent, &case.uid);
        }
    }

    /// The Task is over or goes: its slot may be free, its Pod's last state is of no more use.
    fn let_go(&self, case: &Case<'_>) {
        self.caches.pods.forget(&case.uid);
        let Some(agent) = running_agent(case.task) else { return };
        self.admission.leave(&agent, &case.uid);
        if self.admission.may_hold(&agent, &case.uid) {
            let _ = self.agents.send(agent);
        }
    }

    async fn release(&self, case: &Case<'_>) -> Looked {
        // a terminal Task was written after its Pod was seen, and nothing launches it again: the cache knows enough
        let is_over = case.task.status.as_ref().and_then(|s| s.phase).is_some_and(Phase::is_terminal);
        let live = if is_over { Vec::new() } else { self.live_pods(&case.uid).await? };
        if !live.is_empty() {
            let doomed: Vec<_> =
                live.into_iter().map(|pod| Doomed { gated: pod.is_gated(), pod: Arc::new(pod) }).collect();
            self.delete(&doomed).await?;
            return Ok(Action::requeue(SOON));
        }
        if !self.remove_embedded(case).await? {
            return Ok(Action::requeue(SOON));
        }
        self.let_go(case);
        self.drop_finalizer(case.task).await
    }

    /// Deletes the ConfigMaps that were made in another namespace for this Task: no garbage collection reaches there.
    /// Says whether all are gone.
    async fn remove_embedded(&self, case: &Case<'_>) -> Result<bool, ReconcileError> {
        let namespace = case.task.namespace().unwrap_or_default();
        let Some(agent) = running_agent(case.task).filter(|agent| agent.namespace != namespace) else {
            return Ok(true);
        };
        let names = TaskNames {
            task_namespace: &namespace,
            task: case.task.metadata.name.as_deref().unwrap_or_default(),
            uid: &case.uid,
            pod_namespace: &agent.namespace,
            // between namespaces every name has the UID in it
            naming: Naming::Plain,
        };
        for index in 0.. {
            let name = names.context(index);
            match remove_config_map_of(&self.client, &case.uid, &agent.namespace, &name).await? {
                Some(Removal::Changed) => return Ok(false),
                Some(_) => {}
                None => break,
            }
        }
        Ok(true)
    }

    async fn live_pods(&self, uid: &TaskUid) -> Result<Vec<PodView>, ReconcileError> {
        let selector = ListParams::default().labels(&format!("{TASK_UID_LABEL}={uid}"));
        Ok(Api::<PodView>::all(self.client.clone()).list(&selector).await?.items)
    }

    async fn drop_finalizer(&self, task: &Task) -> Looked {
        let finalizers: Vec<_> = task.finalizers().iter().filter(|f| *f != FINALIZER).collect();
        let patch =
            json!({"metadata": {"resourceVersion": task.resource_version(), "finalizers": finalizers}});
        match self.writer.patch_metadata(task, &patch).await {
            Ok(_) => Ok(Action::await_change()),
            Err(error) if is_not_found(&error) => Ok(Action::await_change()),
            Err(error) if is_conflict(&error) => Ok(Action::requeue(SOON)),
            Err(error) => Err(error.into()),
        }
    }

    async fn verify(&self, case: &Case<'_>) -> Looked {
        let Some(status) = case.task.status.as_ref() else { return Ok(Action::await_change()) };
        let (name, uid) =
            (status.pod_name.as_deref().unwrap_or_default(), status.pod_uid.as_deref().unwrap_or_default());
        let namespace = status.pod_namespace.as_deref().unwrap_or_default();
        let live = Api::<PodView>::namespaced(self.client.clone(), namespace).get_opt(name).await?;
        if let Some(pod) = live.filter(|pod| pod.uid() == uid) {
            // our watch does not show it (yet): somebody took its label, or it is very young
            return match observe(&pod, case.settings.result_summary()) {
                Seen::Going { .. } => Ok(Action::requeue(PATIENCE)),
                Seen::Ended(ending) => self.finish(case, End::Pod(ending), &[]).await,
            };
        }
        let message = format!("Pod \"{namespace}/{name}\" is gone and how it ended is not known");
        let status = Draft::of(case.task, case.now).ended(&Ending::failed(Reason::PodLost, message));
        self.conclude(case, &status).await
    }

    /// Opens the gate of the recorded Pod, unless one of its ConfigMaps has gone: then it could never run.
    async fn open(&self, case: &Case<'_>, pod: &Arc<PodView>) -> Looked {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let api = Api::<ConfigMap>::namespaced(self.client.clone(), namespace);
        for name in pod.context_config_maps() {
            let there = api.get_metadata_opt(name).await?;
            let ours = there.is_some_and(|map| map.labels().get(TASK_UID_LABEL) == Some(&case.uid.0));
            if !ours {
                let message = format!("ConfigMap \"{namespace}/{name}\" of the Pod is gone; make a new Task");
                let end = End::Pod(Ending::failed(Reason::ConfigMapCreationError, message));
                return self.finish(case, end, &[Doomed { pod: Arc::clone(pod), gated: true }]).await;
            }
        }
        match open_gate(&self.client, &self.writer, pod).await {
            Ok(()) => Ok(Action::await_change()),
            Err(error) if is_not_found(&error) || is_invalid(&error) || is_conflict(&error) => {
                Ok(Action::requeue(SOON))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// A Pod of ours runs although nobody recorded it.
    async fn record(&self, case: &Case<'_>, pod: &PodView) -> Looked {
        let Some(agent) = pod.agent_key() else { return Ok(Action::await_change()) };
        let launch = crate::status::Launch {
            pod: &key_of(pod),
            pod_uid: pod.uid(),
            agent: &agent,
            limited: false,
            plugins: Vec::new(),
            notices: &[],
        };
        let status = Draft::of(case.task, case.now).launched(&launch);
        self.write(case.task, &status).await?;
        Ok(Action::requeue(SOON))
    }

    async fn halt(&self, case: &Case<'_>, pod: &PodView) -> Looked {
        let is_over =
            case.task.status.as_ref().and_then(|s| s.phase).is_some_and(|phase| phase.is_terminal());
        if !is_over && !self.write(case.task, &Draft::of(case.task, case.now).stopped()).await? {
            return Ok(Action::requeue(SOON));
        }
        let api = Api::<PodView>::namespaced(
            self.client.clone(),
            pod.metadata.namespace.as_deref().unwrap_or_default(),
        );
        let patch = json!({"metadata": {"uid": pod.uid()}, "spec": {"activeDeadlineSeconds": HALT_SECONDS}});
        match api.patch(&pod.name_any(), &Default::default(), &kube::api::Patch::Merge(&patch)).await {
            Ok(_) => Ok(Action::await_change()),
            Err(error) if is_not_found(&error) || is_conflict(&error) || is_invalid(&error) => {
                Ok(Action::await_change())
            }
            Err(kube::Error::Api(status)) if status.code == 403 => {
                let note = format!("stopPolicy KeepPod: {}; the Pod is deleted instead", status.message);
                self.writer.warn(case.task, "Stopped", note);
                self.delete(&[Doomed { pod: Arc::new(pod.clone()), gated: false }]).await?;
                Ok(Action::await_change())
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Its place in the line of its Agent.
pub(crate) fn waiting(task: &Task, uid: &TaskUid) -> Waiting {
    Waiting {
        created: task.metadata.creation_timestamp.as_ref().map(|t| t.0).unwrap_or_default(),
        namespace: task.namespace().unwrap_or_default(),
        name: task.name_any(),
        uid: uid.clone(),
    }
}

/// The Agent that the Task runs with, or would.
fn running_agent(task: &Task) -> Option<ObjectKey> {
    let recorded = task.status.as_ref().and_then(|s| s.agent_ref.as_ref());
    recorded.map(|agent| ObjectKey::new(&agent.namespace, &agent.name)).or_else(|| agent_key(task).ok())
}

fn pod_namespace(task: &Task) -> Option<String> {
    running_agent(task).map(|agent| agent.namespace)
}

fn wait(now: Timestamp, at: Option<Timestamp>) -> Action {
    match at {
        Some(at) => Action::requeue(at.duration_since(now).unsigned_abs().max(Duration::from_millis(10))),
        None => Action::await_change(),
    }
}
