//! One reconciliation of a Task: read the caches, decide, act.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::Client;
use kube::runtime::controller::Action;
use kubeopencode_api::condition::{Reason, TaskCondition, find};
use kubeopencode_api::group::Group;
use kubeopencode_api::names::{AgentKey, TaskKey, TaskUid};
use kubeopencode_evaluate::Catalog;
use kubeopencode_plan::Settings;
use tokio::sync::mpsc::UnboundedSender;

use super::decide::{Observed, Policy, Step, Timeout, decide};
use super::launch_queue::LaunchQueue;
use super::pod_events::PodEvents;
use super::start::LaunchResult;
use super::start_problem::missing_image;
use super::status::StatusBuilder;
use super::writer::Writer;
use crate::admission::Admission;
use crate::admission::ledger::QueuedTask;
use crate::admission::live_pods::live_pods;
use crate::cache::Caches;
use crate::cache::item::{Item, Unreadable};
use crate::cache::pending_writes::STALE_TIMEOUT;
use crate::cache::pod_places::PodPlaces;
use crate::cache::pod_view::PodView;
use crate::cache::task_view::TaskRef;
use crate::frontend::{Frontend, Runner};
use crate::runtime::api_error::{label, words};
use crate::runtime::backoff::Failures;
use crate::runtime::config_maps::LiveConfigMaps;
use crate::runtime::metrics::Metrics;

/// Until a reconciliation is repeated that the watches should have caused already.
pub(super) const SOON: Duration = Duration::from_secs(1);

/// What the reconciliation of Tasks works with.
pub(crate) struct Context {
    /// The API.
    pub(crate) client: Client,
    /// ConfigMaps that plugins ask for.
    pub(crate) config_maps: Arc<LiveConfigMaps>,
    /// The plugins.
    pub(crate) catalog: Arc<Catalog>,
    /// What the watches show.
    pub(crate) caches: Arc<Caches>,
    /// Writes Tasks.
    pub(crate) writer: Writer,
    /// Slots and starts.
    pub(crate) admission: Admission,
    /// Tasks that are to be launched.
    pub(crate) launches: LaunchQueue,
    /// What is counted.
    pub(crate) metrics: Arc<Metrics>,
    /// Agents whose ledger has to be processed.
    pub(crate) agent_queue: UnboundedSender<AgentKey>,
    /// Failures in a row, by Task.
    pub(crate) failures: Failures<TaskUid>,
    /// How often in a row a plugin that it needs was busy, by Task.
    pub(crate) busy: Failures<TaskUid>,
    /// When the Events of Pods were listed.
    pub(crate) pod_events: PodEvents,
}

/// A reconciliation that has to be repeated.
#[derive(Debug, thiserror::Error)]
#[error("{}", words(.0))]
pub(crate) struct ReconcileError(#[from] pub(crate) kube::Error);

impl ReconcileError {
    /// The label of the metric.
    pub(crate) fn label(&self) -> &'static str {
        label(&self.0)
    }
}

pub(super) type ReconcileResult = Result<Action, ReconcileError>;

/// A Task with what every step needs of it.
pub(super) struct TaskState<'a, F: Frontend> {
    /// As its group has it: for its frontend alone.
    pub(super) object: &'a Item<F::Object>,
    pub(super) task: TaskRef<'a>,
    pub(super) uid: TaskUid,
    /// What it runs with; before the launch what its spec names now.
    pub(super) runner: Option<Runner>,
    /// Where its Pods may be.
    pub(super) places: PodPlaces,
    /// What is there.
    pub(super) pods: Vec<Arc<PodView>>,
    pub(super) settings: Settings,
    pub(super) now: Timestamp,
}

/// The cache is behind our own writes; how long the Task is left alone at most.
struct CacheIsStale(Duration);

impl<F: Frontend> TaskState<'_, F> {
    /// A new status of the Task.
    pub(super) fn status(&self) -> StatusBuilder {
        StatusBuilder::of(self.task, self.now).agent(self.runner.as_ref().and_then(Runner::agent))
    }
}

impl Context {
    /// Reconciles a Task once.
    ///
    /// # Errors
    /// When the API server does not answer; the reconciliation is repeated with growing pauses.
    pub(crate) async fn reconcile<F: Frontend>(&self, object: &Item<F::Object>) -> ReconcileResult {
        let Some(task) = F::task_ref(object) else {
            // no user can write one: a newer operator did, and nobody knows what it started
            tracing::error!(task = ?object, place = object.get().err().map(Unreadable::place),
                "the status of a Task cannot be read, and it is left alone; run the version that wrote it");
            return Ok(Action::await_change());
        };
        // everything but a launch: that has to wait for its turn
        let key = task.key();
        if self.launches.defer(&key) {
            return Ok(Action::await_change());
        }
        let mut state = match self.observe::<F>(object, task) {
            Ok(state) => state,
            Err(CacheIsStale(rest)) => return Ok(Action::requeue(rest)),
        };
        let step = self.decide(&state, false);
        if matches!(step, Step::Launch) {
            self.enqueue_launch::<F>(key, object);
            return Ok(Action::await_change());
        }
        self.launches.cancel(&key);
        if let Some(runner) = recorded_or_spec_runner::<F>(object) {
            self.admission.leave_namespace(runner.namespace(), &state.uid);
        }
        if !matches!(step, Step::Verify) {
            return self.act(&state, step).await;
        }
        self.ask(&mut state).await?;
        let step = self.decide(&state, true);
        // of what the watch does not show nobody tells when it changes
        let goes_on = matches!(
            step,
            Step::Wait(_) | Step::Report { .. } | Step::AskEvents(..) | Step::Open(_) | Step::HaltPod(_)
        );
        let action = self.act(&state, step).await?;
        Ok(if goes_on { Action::requeue(STALE_TIMEOUT) } else { action })
    }

    /// Whether the Task is being launched right now, which is told what changes by its end.
    pub(crate) fn defers<F: Frontend>(&self, object: &Item<F::Object>) -> bool {
        F::task_ref(object).is_some_and(|task| self.launches.defer(&task.key()))
    }

    /// Whether a Task of a list is to be launched, and is in the queue of launches then. A new one is the controller's: what was
    /// applied before it, by another watch, has the moment that the controller takes.
    pub(crate) fn is_for_launch<F: Frontend>(&self, object: &Item<F::Object>) -> bool {
        let Some(task) = F::task_ref(object) else { return false };
        let key = task.key();
        if self.launches.defer(&key) {
            return true;
        }
        if task.pod_uid().is_some() || task.is_terminal() {
            return false;
        }
        let state = self.observe::<F>(object, task);
        let is_to_be_launched = state.is_ok_and(|state| matches!(self.decide(&state, false), Step::Launch));
        if is_to_be_launched {
            self.enqueue_launch::<F>(key, object);
        }
        is_to_be_launched
    }

    fn enqueue_launch<F: Frontend>(&self, key: TaskKey, object: &Item<F::Object>) {
        let nobody = |_| Runner::Agent(AgentKey::new(&*key.namespace, ""));
        let runner = F::spec_runner(object).unwrap_or_else(nobody);
        self.launches.enqueue(key, runner);
    }

    /// Launches a Task whose turn has come, if that is still what it needs; says when it is to be repeated.
    ///
    /// # Errors
    /// As [`Self::reconcile`].
    pub(crate) async fn launch<F: Frontend>(&self, object: &Item<F::Object>) -> LaunchResult {
        let Some(task) = F::task_ref(object) else { return Ok(None) };
        let state = match self.observe::<F>(object, task) {
            Ok(state) => state,
            Err(CacheIsStale(rest)) => return Ok(Some(rest)),
        };
        if matches!(self.decide(&state, false), Step::Launch) {
            return self.start(&state).await;
        }
        self.launches.defer(&task.key());
        Ok(None)
    }

    /// What the cache shows of a Task.
    fn observe<'a, F: Frontend>(
        &self,
        object: &'a Item<F::Object>,
        task: TaskRef<'a>,
    ) -> Result<TaskState<'a, F>, CacheIsStale> {
        let (uid, namespace) = (task.uid(), task.namespace());
        let runner = runner_of::<F>(object, task);
        let pod_namespace = runner.as_ref().map(Runner::namespace);
        // where nothing is watched nothing was launched, and nobody may ask
        let watched = pod_namespace.filter(|namespace| self.caches.show(namespace));
        let named = PodPlaces::of(task).only_where(|namespace| self.caches.show(namespace));
        let places = watched.iter().fold(named, |places, namespace| places.and_in(namespace));
        // its Agent may have been one of its own namespace once
        let pods = self.caches.pods.at(&places.clone().and_in(namespace));
        if let Some(rest) = self.stale_for(task, &pods) {
            return Err(CacheIsStale(rest));
        }
        let settings = self.caches.settings(namespace, pod_namespace.unwrap_or(namespace));
        Ok(TaskState { object, task, uid, runner, places, pods, settings, now: Timestamp::now() })
    }

    /// What to do next.
    fn decide<F: Frontend>(&self, state: &TaskState<'_, F>, asked: bool) -> Step {
        let TaskState { task, uid, pods, settings, now, .. } = state;
        let last = task.pod_uid().and_then(|pod_uid| self.caches.pods.last_of(uid, pod_uid));
        let policy = Policy {
            stop_policy: settings.stop_policy(),
            timeout_policy: settings.timeout_policy(),
            start_timeout: settings.start_timeout(),
            result_summary: settings.result_summary(),
            is_image_outdated: self.is_image_outdated(state),
        };
        let timeout = self.timeout(state);
        let (last, task, now) = (last.as_deref(), *task, *now);
        let step = decide(&Observed { task, pods, asked, last, timeout, policy, now });
        tracing::debug!(
            task = task.name(),
            namespace = task.namespace(),
            asked,
            step = word(&step),
            "decided"
        );
        step
    }

    /// Asks the API server for the Pods that the watch does not show.
    async fn ask<F: Frontend>(&self, state: &mut TaskState<'_, F>) -> Result<(), ReconcileError> {
        for live in live_pods(&self.client, &state.places).await? {
            state.pods.retain(|pod| pod.uid() != live.uid());
            state.pods.push(Arc::new(live));
        }
        Ok(())
    }

    /// The Task's own timeout, else what its group has beside it, else that of the settings, as they are now.
    fn timeout<F: Frontend>(&self, state: &TaskState<'_, F>) -> Option<Timeout> {
        if let Some(own) = state.task.timeout {
            return Timeout::new(own, "spec.timeout");
        }
        match F::timeout(state.runner.as_ref(), &self.caches) {
            Some((text, field)) => Timeout::new(&text, field),
            None => Timeout::new(
                state.settings.defaults().timeout.as_deref()?,
                "spec.defaults.timeout of KubeOpenCodeConfig",
            ),
        }
    }

    /// Whether its runner was changed since the Pod was made, which waits for an image that nobody wants any more.
    fn is_image_outdated<F: Frontend>(&self, state: &TaskState<'_, F>) -> bool {
        let recorded = state.pods.iter().find(|pod| Some(pod.uid()) == state.task.pod_uid());
        let Some(missing) = recorded.and_then(|pod| missing_image(pod)) else { return false };
        let Some(runner) = &state.runner else { return false };
        let images = F::agent_images(&self.caches, runner, &state.settings);
        images.is_some_and(|images| images.iter().all(|image| image != missing))
    }

    /// How long to leave it alone, since the cache is behind an own write of this Task or of one of its Pods.
    fn stale_for(&self, task: TaskRef<'_>, pods: &[Arc<PodView>]) -> Option<Duration> {
        let (tasks, written) = (self.writer.tasks(task.group), &self.writer.pods);
        let of_task = tasks.stale_for(&task.uid().0, task.metadata.resource_version.as_deref());
        let of_pod =
            |pod: &Arc<PodView>| written.stale_for(pod.uid(), pod.metadata.resource_version.as_deref());
        let unseen = task.pod_uid().filter(|uid| pods.iter().all(|pod| pod.uid() != *uid));
        let of_unseen = unseen.and_then(|uid| written.stale_for(uid, None));
        pods.iter().filter_map(of_pod).chain(of_task).chain(of_unseen).max()
    }

    async fn act<F: Frontend>(&self, state: &TaskState<'_, F>, step: Step) -> ReconcileResult {
        match step {
            Step::Wait(at) => Ok(requeue_at(state.now, at)),
            Step::Delete(deletions) => {
                self.delete(&deletions).await?;
                Ok(Action::requeue(SOON))
            }
            Step::Release => self.release(state).await,
            Step::ForceRelease => self.force_release(state).await,
            Step::ReleaseResources => {
                self.release_resources(state);
                Ok(Action::await_change())
            }
            // it is in the queue of launches
            Step::Launch => Ok(Action::await_change()),
            Step::Open(pod) => self.open(state, &pod).await,
            // it was
            Step::Verify => Ok(Action::requeue(SOON)),
            Step::HaltPod(pod) => self.halt_pod(state, &pod).await,
            Step::Complete { end, started, delete } => self.complete(state, end, started, &delete).await,
            Step::Report { started, problem, skipped, again } => {
                let status = state.status().agent_started(started);
                let status = status.in_progress(problem.as_ref(), &skipped);
                self.write(state.task, &status).await?;
                Ok(requeue_at(state.now, again))
            }
            Step::AskEvents(pod, again) => {
                let (problem, pause) = self.pod_events.start_problem(&self.client, &pod).await?;
                if let Some(problem) = problem {
                    let status = state.status().in_progress(Some(&problem), &[]);
                    self.write(state.task, &status).await?;
                }
                let next =
                    SignedDuration::try_from(pause).ok().and_then(|pause| state.now.checked_add(pause).ok());
                Ok(requeue_at(state.now, again.into_iter().chain(next).min()))
            }
        }
    }
}

/// Its place in the queue of its Agent.
pub(crate) fn queued_task(task: TaskRef<'_>) -> QueuedTask {
    QueuedTask {
        created: task.metadata.creation_timestamp.as_ref().map(|t| t.0).unwrap_or_default(),
        key: task.key(),
        uid: task.uid(),
    }
}

/// What the Task waits for, by the condition `Queued`. One that does was evaluated before.
pub(crate) fn waits_for(task: TaskRef<'_>) -> Option<Reason> {
    let blocked = find(task.conditions(), TaskCondition::Queued).filter(|c| c.status == "True")?;
    blocked.reason.parse().ok()
}

/// The Agent that its status names, or without one what its spec names.
pub(crate) fn recorded_or_spec_runner<F: Frontend>(object: &Item<F::Object>) -> Option<Runner> {
    let recorded = F::task_ref(object)?.recorded_agent().map(Runner::Agent);
    recorded.or_else(|| F::spec_runner(object).ok())
}

/// What it runs with; before the launch what its spec names now. Of a launched Task with an Agent its status says it; the
/// spec of any launched Task stays as it is.
fn runner_of<F: Frontend>(object: &Item<F::Object>, task: TaskRef<'_>) -> Option<Runner> {
    match task.pod_uid() {
        Some(_) if F::GROUP == Group::KubeOpenCode => task.recorded_agent().map(Runner::Agent),
        _ => F::spec_runner(object).ok(),
    }
}

/// All that a log says of a step: what is in it may be the agent's own words.
fn word(step: &Step) -> &'static str {
    match step {
        Step::Wait(_) => "Wait",
        Step::Delete(_) => "Delete",
        Step::Release => "Release",
        Step::ForceRelease => "ForceRelease",
        Step::ReleaseResources => "ReleaseResources",
        Step::Launch => "Launch",
        Step::Open(_) => "Open",
        Step::Verify => "Verify",
        Step::HaltPod(_) => "HaltPod",
        Step::Complete { .. } => "Complete",
        Step::Report { .. } => "Report",
        Step::AskEvents(..) => "AskEvents",
    }
}

/// How long after `from` it was at `to`: nothing where that was before, as by the clock of another machine.
pub(super) fn time_between(from: Timestamp, to: Timestamp) -> Duration {
    to.duration_since(from).try_into().unwrap_or_default()
}

fn requeue_at(now: Timestamp, at: Option<Timestamp>) -> Action {
    match at {
        Some(at) => Action::requeue(time_between(now, at).max(Duration::from_millis(10))),
        None => Action::await_change(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_clock_ahead_of_ours_wrote_is_no_time_that_has_passed() {
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(time_between(at(1000), at(1060)), Duration::from_secs(60));
        assert_eq!(time_between(at(1060), at(1000)), Duration::ZERO);
        assert_eq!(requeue_at(at(1060), Some(at(1000))), Action::requeue(Duration::from_millis(10)));
    }
}
