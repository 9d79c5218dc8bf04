//! The only place that writes Tasks: their status, and the metadata that the launch and the end need.
//!
//! Every write carries the resourceVersion that it was decided on, and is remembered until the cache shows it, or, if it was
//! refused for that version, until the cache shows a newer one. The
//! phases that a write brings about are counted and recorded as Events here, so that nobody else has to.

use std::fmt::Debug;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions, Request};
use kube::{Client, Resource};
use kubeopencode_api::group::Group;
use kubeopencode_api::names::{ObjectKey, TaskKey};
use kubeopencode_api::task::{Phase, TaskStatus};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::Notify;

use super::request::send;
use super::status;
use crate::cache::item::Item;
use crate::cache::pending_writes::PendingWrites;
use crate::cache::pod_view::PodView;
use crate::cache::task_view::{TaskRef, TaskView};
use crate::frontend::BatchObject;
use crate::runtime::api_error::{is_conflict, is_not_found, is_too_large};
use crate::runtime::event_recorder::{EventRecorder, EventType, Note, Precedence};
use crate::runtime::metrics::Metrics;

/// Writes Tasks.
pub(crate) struct Writer {
    client: Client,
    events: EventRecorder,
    metrics: Arc<Metrics>,
    /// Own writes of Tasks that the cache does not show yet: each group has a watch of its own.
    tasks: PendingWrites,
    kubetask: PendingWrites,
    /// Own writes of Pods that the cache does not show yet.
    pub(crate) pods: PendingWrites,
    /// Notified when a Task ended: others may have to make room.
    pub(crate) finished: Arc<Notify>,
}

impl Writer {
    /// A writer with this client.
    pub(crate) fn new(client: Client, events: EventRecorder, metrics: Arc<Metrics>) -> Self {
        Self {
            client,
            events,
            metrics,
            tasks: PendingWrites::default(),
            kubetask: PendingWrites::default(),
            pods: PendingWrites::default(),
            finished: Arc::default(),
        }
    }

    /// Own writes of the group's Tasks that the cache does not show yet.
    pub(crate) fn tasks(&self, group: Group) -> &PendingWrites {
        match group {
            Group::KubeOpenCode => &self.tasks,
            Group::KubeTask => &self.kubetask,
        }
    }

    /// A launch is under way: Events wait.
    pub(crate) fn launching(&self) -> Precedence {
        self.events.precede()
    }

    /// Writes a status, unless it says what stands there already.
    ///
    /// # Errors
    /// 409 when the Task is not what the decision was made on; 422 when the API server's own rules forbid it.
    pub(crate) async fn write(&self, task: TaskRef<'_>, new: &TaskStatus) -> Result<(), kube::Error> {
        if task.status == Some(new) {
            return Ok(());
        }
        let write = async |new: &TaskStatus| {
            let patch = status::patch(task, new).map_err(kube::Error::SerdeError)?;
            let (params, patch) = (PatchParams::default(), Patch::Merge(&patch));
            let request = requests(task).patch_subresource("status", task.name(), &params, &patch);
            send::<TaskView>(&self.client, request).await
        };
        let written = match write(new).await {
            // somebody made the object grow: how it ended has to fit
            Err(error) if is_too_large(&error) => write(&status::shortened(new)).await,
            written => written,
        };
        self.remember(task, written)?;
        self.report(task, new);
        if new.phase.is_some_and(Phase::is_terminal) {
            self.finished.notify_one();
        }
        Ok(())
    }

    /// Writes metadata; the patch carries the resourceVersion.
    ///
    /// # Errors
    /// 409 when the Task changed meanwhile.
    pub(crate) async fn patch_metadata(
        &self,
        task: TaskRef<'_>,
        patch: &Value,
    ) -> Result<ObjectMeta, kube::Error> {
        let request = requests(task).patch(task.name(), &PatchParams::default(), &Patch::Merge(patch));
        let written = self.remember(task, send(&self.client, request).await)?;
        Ok(written.metadata)
    }

    /// Deletes exactly this Task, not a newer one of its name; one that is gone already counts as deleted.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub(crate) async fn delete(&self, key: &TaskKey, uid: &str) -> Result<(), kube::Error> {
        delete(&self.api(key), &key.name, uid).await
    }

    /// The same with a Batch; garbage collection takes its Tasks.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub(crate) async fn delete_batch(&self, key: &ObjectKey, uid: &str) -> Result<(), kube::Error> {
        delete(&Api::<Item<BatchObject>>::namespaced(self.client.clone(), &key.namespace), &key.name, uid)
            .await
    }

    /// A Pod was made or its gate was opened by us.
    pub(crate) fn pod_written(&self, pod: &PodView) {
        self.pods.record(pod.uid(), pod.metadata.resource_version.as_deref());
    }

    /// A Pod is not what it was when something about it was decided.
    pub(crate) fn pod_changed(&self, pod: &PodView) {
        self.pods.conflicted(pod.uid(), pod.metadata.resource_version.as_deref());
    }

    /// Something about a Task that people should know and that its status does not say.
    pub(crate) fn warn(&self, task: TaskRef<'_>, reason: &'static str, note: String) {
        self.events.record(&reference(task), Note { type_: EventType::Warning, reason, note });
    }

    fn api(&self, key: &TaskKey) -> Api<TaskView> {
        Api::namespaced_with(self.client.clone(), &key.namespace, &key.group)
    }

    fn remember(
        &self,
        task: TaskRef<'_>,
        written: Result<TaskView, kube::Error>,
    ) -> Result<TaskView, kube::Error> {
        let (tasks, uid) = (self.tasks(task.group), &task.uid().0);
        match &written {
            Ok(written) => tasks.record(uid, written.metadata.resource_version.as_deref()),
            Err(error) if is_conflict(error) => {
                tasks.conflicted(uid, task.metadata.resource_version.as_deref());
            }
            Err(_) => {}
        }
        written
    }

    fn report(&self, task: TaskRef<'_>, new: &TaskStatus) {
        let before = task.phase();
        let Some(phase) = new.phase.filter(|phase| *phase != before) else { return };
        self.metrics.phase(task.namespace(), phase);
        log(task, new, phase);
        let created = task.metadata.creation_timestamp.as_ref().map(|t| t.0);
        match (phase, created, new.start_time.as_ref().map(|t| t.0)) {
            (Phase::Running, Some(created), Some(started)) => {
                self.metrics.launched(before == Phase::Queued, seconds(created, started));
            }
            (Phase::Completed | Phase::Failed, _, Some(started)) => {
                self.metrics.ended(seconds(started, Timestamp::now()));
            }
            _ => {}
        }
        if let Some(usage) = new.usage.as_ref().filter(|_| phase.is_terminal()) {
            let agent = TaskRef { status: Some(new), ..task }.recorded_agent();
            self.metrics.used(task.namespace(), agent.as_ref(), usage);
        }
        if let Some(event) = status::event(new) {
            self.events.record(&reference(task), event);
        }
    }
}

/// What makes requests about Tasks of its group and namespace.
fn requests(task: TaskRef<'_>) -> Request {
    Request::new(TaskView::url_path(&task.group, Some(task.namespace())))
}

#[expect(clippy::disallowed_methods, reason = "this is the writer")]
async fn delete<K: Clone + DeserializeOwned + Debug>(
    api: &Api<K>,
    name: &str,
    uid: &str,
) -> Result<(), kube::Error> {
    let preconditions = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
    let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::background() };
    match api.delete(name, &params).await {
        Err(error) if !is_not_found(&error) && !is_conflict(&error) => Err(error),
        _ => Ok(()),
    }
}

/// A line for each launch and each end.
fn log(task: TaskRef<'_>, new: &TaskStatus, phase: Phase) {
    let agent = new.recorded_agent().map(|agent| agent.to_string());
    let pod = new.pod_namespace.as_deref().zip(new.pod_name.as_deref());
    let pod = pod.map(|(namespace, name)| ObjectKey::new(namespace, name).to_string());
    if phase == Phase::Running {
        tracing::info!(task = %task.key(), agent, pod, "launched");
    } else if phase.is_terminal() {
        let (reason, duration) = (new.reason.as_deref(), new.duration.as_deref());
        tracing::info!(task = %task.key(), agent, pod, phase = phase.as_str(), reason, duration, "ended");
    }
}

/// The Task, as its Events name it.
fn reference(task: TaskRef<'_>) -> ObjectReference {
    TaskView { metadata: task.metadata.clone(), status: None }.object_ref(&task.group)
}

fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64().max(0.0)
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use http::header::{ACCEPT, HeaderValue};
    use parking_lot::Mutex;
    use serde_json::json;

    use super::super::launch::open_gate;
    use super::super::request::METADATA_ONLY;
    use super::*;
    use crate::runtime::test_client::answered_by;

    #[tokio::test]
    async fn of_what_a_launch_wrote_the_metadata_comes_back() {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&asked);
        let client = answered_by(move |request| {
            let accepted = request.headers().get(ACCEPT).cloned();
            seen.lock().push((request.uri().path().to_owned(), accepted));
            let metadata = json!({"name": "fix", "uid": "u", "resourceVersion": "7", "managedFields": [{}]});
            let answer = json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata});
            ready((200, answer.to_string()))
        });
        let (events, _) = EventRecorder::new(client.clone(), "operator");
        let writer = Writer::new(client.clone(), events, Arc::default());
        let metadata = ObjectMeta {
            name: Some("fix".to_owned()),
            namespace: Some("team".to_owned()),
            uid: Some("u".to_owned()),
            resource_version: Some("6".to_owned()),
            ..ObjectMeta::default()
        };
        let view = TaskView { metadata: metadata.clone(), status: None };
        let task = view.task_ref(Group::KubeOpenCode);
        let claimed = writer.patch_metadata(task, &json!({})).await.unwrap();
        let running = TaskStatus { phase: Some(Phase::Running), ..TaskStatus::default() };
        writer.write(task, &running).await.unwrap();
        open_gate(&client, &writer, &PodView { metadata, ..PodView::default() }).await.unwrap();
        assert_eq!(claimed.resource_version.as_deref(), Some("7"));
        let stale_for = writer.tasks(Group::KubeOpenCode).stale_for("u", Some("6"));
        assert!(stale_for.is_some(), "the cache is behind");
        assert!(writer.pods.stale_for("u", Some("6")).is_some(), "the cache is behind");
        let path = "/apis/kubeopencode.io/v1alpha1/namespaces/team/tasks/fix";
        let paths =
            [path.to_owned(), format!("{path}/status"), "/api/v1/namespaces/team/pods/fix".to_owned()];
        let metadata_only = Some(HeaderValue::from_static(METADATA_ONLY));
        assert_eq!(*asked.lock(), paths.map(|path| (path, metadata_only.clone())));
    }

    #[tokio::test]
    async fn after_a_conflict_the_task_is_left_alone_until_the_cache_shows_what_came_after() {
        let status = json!({"kind": "Status", "status": "Failure", "code": 409, "reason": "Conflict",
            "message": "the object has been modified"});
        let client = answered_by(move |_| ready((409, status.to_string())));
        let (events, _) = EventRecorder::new(client.clone(), "operator");
        let writer = Writer::new(client, events, Arc::default());
        let view = |uid: &str| {
            let (name, namespace, version) = ("fix".to_owned(), "team".to_owned(), "6".to_owned());
            let metadata = ObjectMeta {
                name: Some(name),
                namespace: Some(namespace),
                uid: Some(uid.to_owned()),
                resource_version: Some(version),
                ..ObjectMeta::default()
            };
            TaskView { metadata, status: None }
        };
        let (launched, ended) = (view("launched"), view("ended"));
        let running = TaskStatus { phase: Some(Phase::Running), ..TaskStatus::default() };
        writer.patch_metadata(launched.task_ref(Group::KubeOpenCode), &json!({})).await.unwrap_err();
        writer.write(ended.task_ref(Group::KubeOpenCode), &running).await.unwrap_err();
        for uid in ["launched", "ended"] {
            let stale_for = |version| writer.tasks(Group::KubeOpenCode).stale_for(uid, Some(version));
            assert!(stale_for("6").is_some(), "{uid}: the same write would be refused again");
            assert_eq!(stale_for("7"), None, "{uid}");
        }
    }
}
