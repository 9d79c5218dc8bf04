//! The launch: the only place that creates Pods, and the only one that opens their gate.
//!
//! A Pod is made with our scheduling gate, so nothing runs yet however often we try. One PATCH of the Task's status,
//! with its resourceVersion, records one Pod's UID; the API server's rules keep it. Only the recorded Pod loses its
//! gate. A crash, a lost answer or a second operator between any two of these leaves gated Pods at worst.

use std::sync::Arc;

use futures::future::try_join_all;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, PartialObjectMeta, Patch, PatchParams, PostParams, Request};
use kube::{Client, Resource, ResourceExt};
use kubeopencode_api::literals::{AGENT_LABEL, LAUNCH_GATE, MADE_IN_ANNOTATION, PLAN_ANNOTATION};
use kubeopencode_api::names::{Naming, ObjectKey, TaskNames, TaskUid, label_value};
use kubeopencode_api::task::UsedPlugin;
use kubeopencode_evaluate::Planned;
use kubeopencode_plan::ExecutionPlan;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::runtime::api_error::{
    CreateError, classify_create_error, is_conflict, is_invalid, is_outdated, words,
};

use super::decide::PodDeletion;
use super::delete::{IN_A_ROW, Removal, remove_config_map, remove_config_maps, remove_pod};
use super::request::send;
use super::status::{LaunchRecord, StatusBuilder};
use super::writer::Writer;
use crate::admission::live_pods::live_pods;
use crate::cache::pod_places::PodPlaces;
use crate::cache::pod_view::PodView;
use crate::cache::task_view::{MadeIn, TaskRef};
use crate::frontend::Runner;

/// Why a launch stopped half-way. What it made is found again by the next try.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LaunchError {
    /// Something changed meanwhile: decide anew on what the cache will show.
    #[error("the Task or its Pod changed meanwhile")]
    Again,
    /// A Pod of an older Task of this name still ends.
    #[error("waiting for Pod \"{0}\" of an older Task of this name to end")]
    PreviousPod(ObjectKey),
    /// A Pod that has the Task's UID and a name of its Pod, and not our gate.
    #[error("Pod \"{0}\" has the name and the label of the Task's Pod and not our gate")]
    Stranger(ObjectKey),
    /// The API server did not create an object.
    #[error("{kind} \"{name}\" was not created: {reason:?}")]
    NotCreated {
        /// `Pod` or `ConfigMap`
        kind: &'static str,
        /// Its name.
        name: String,
        /// Why.
        reason: CreateError,
    },
    /// The API server did not answer.
    #[error("launching: {}", words(.0))]
    Api(#[from] kube::Error),
}

/// One try to make an object.
enum Made<T> {
    /// It is there, as planned.
    There(T),
    /// Its name is held by somebody else.
    Taken,
}

/// What a launch works with.
pub(crate) struct Launcher<'a> {
    /// The API.
    pub(crate) client: &'a Client,
    /// Records the launch.
    pub(crate) writer: &'a Writer,
    /// The Task, as the cache shows it.
    pub(crate) task: TaskRef<'a>,
    /// Its UID.
    pub(crate) uid: &'a TaskUid,
    /// Its Pods, as the cache shows them: all of them gated.
    pub(crate) pods: &'a [Arc<PodView>],
    /// What it runs with.
    pub(crate) runner: &'a Runner,
    /// Whether that has limits.
    pub(crate) limited: bool,
}

impl Launcher<'_> {
    /// Makes, records and releases the Task's Pod.
    ///
    /// # Errors
    /// See [`LaunchError`].
    pub(crate) async fn launch(&self, planned: Planned) -> Result<(), LaunchError> {
        let Planned { plan, plugins, held: _held } = planned;
        let _launching = self.writer.launching();
        self.leave_earlier_namespace().await?;
        if !self.has_alternative() && self.try_plan(&plan, &plugins).await? {
            return Ok(());
        }
        if self.try_plan(&plan.into_with_uid(), &plugins).await? {
            return Ok(());
        }
        let reason = CreateError::Refused("both its names are held by objects of somebody else".to_owned());
        Err(LaunchError::NotCreated { kind: POD, name: self.task.name().to_owned(), reason })
    }

    /// Launches under these names; `false`: one of them is held by somebody else.
    async fn try_plan(&self, plan: &ExecutionPlan, plugins: &[UsedPlugin]) -> Result<bool, LaunchError> {
        self.clear_other_plans(plan).await?;
        let Some((metadata, pod)) = self.make(plan).await? else { return Ok(false) };
        let task = TaskRef { metadata: &metadata, ..self.task };
        self.record(task, &pod, plan, plugins).await?;
        self.open(&pod).await.map(|()| true)
    }

    /// An earlier try had to take the name with the UID.
    fn has_alternative(&self) -> bool {
        let task = self.task.key();
        let pod = |naming| {
            let name = TaskNames::new(&task, self.uid, self.namespace(), naming).pod();
            ObjectKey::new(self.namespace(), name)
        };
        let alternative = pod(Naming::WithUid);
        alternative != pod(Naming::Plain)
            && self.pods.iter().any(|pod| ObjectKey::of(pod.as_ref()) == alternative)
    }

    /// The namespace that the Pod runs in.
    fn namespace(&self) -> &str {
        self.runner.namespace()
    }

    /// What an earlier try made where another Agent is goes, before the Task says that it is elsewhere: nobody would look
    /// there any more.
    async fn leave_earlier_namespace(&self) -> Result<(), LaunchError> {
        let Some(made_in) = self.task.made_in().filter(|made_in| made_in.namespace != self.namespace())
        else {
            return Ok(());
        };
        let places = PodPlaces::new(self.task.key(), self.uid.clone()).and_in(&made_in.namespace);
        for pod in live_pods(self.client, &places).await? {
            if !pod.is_gated() {
                return Err(LaunchError::Stranger(ObjectKey::of(&pod)));
            }
            self.remove_gated(pod).await?;
        }
        let all_gone = remove_config_maps(self.client, &places.key, self.uid, &made_in).await?;
        if all_gone { Ok(()) } else { Err(LaunchError::Again) }
    }

    /// Deletes a Pod that our gate holds; whoever finds it changed decides anew.
    async fn remove_gated(&self, pod: impl Into<Arc<PodView>>) -> Result<(), LaunchError> {
        let deletion = PodDeletion { pod: pod.into(), gated: true };
        match remove_pod(self.client, &deletion).await? {
            Removal::Gone => Ok(()),
            Removal::Going => Err(LaunchError::Again),
            Removal::Changed => {
                self.writer.pod_changed(&deletion.pod);
                Err(LaunchError::Again)
            }
        }
    }

    /// Gated Pods of other plans, and of this plan under its other name, are deleted.
    async fn clear_other_plans(&self, plan: &ExecutionPlan) -> Result<(), LaunchError> {
        for pod in self.pods.iter().filter(|pod| !is_planned(pod, plan)) {
            self.remove_gated(Arc::clone(pod)).await?;
        }
        Ok(())
    }

    /// Finalizer, ConfigMaps and Pod. `None`: a name is taken by somebody else.
    async fn make(&self, plan: &ExecutionPlan) -> Result<Option<(ObjectMeta, PodView)>, LaunchError> {
        let same_namespace = self.task.namespace() == self.namespace();
        let (task, maps, pod) = if same_namespace {
            // garbage collection covers a crash in the middle; the Pod takes the API server longest
            let (pod, task, maps) =
                futures::join!(self.make_pod(plan), self.claim(plan), self.make_config_maps(plan));
            (task, maps, pod)
        } else {
            let task = self.claim(plan).await?;
            let (pod, maps) = futures::join!(self.make_pod(plan), self.make_config_maps(plan));
            (Ok(task), maps, pod)
        };
        match (maps?, pod?) {
            (Made::There(()), Made::There(pod)) => Ok(Some((task?, pod))),
            (Made::Taken, Made::There(pod)) => {
                self.remove_gated(pod).await?;
                Ok(None)
            }
            (_, Made::Taken) => Ok(None),
        }
    }

    /// Puts finalizer and the Agent's label on the Task, and between namespaces where its objects will be.
    async fn claim(&self, plan: &ExecutionPlan) -> Result<ObjectMeta, LaunchError> {
        let (task, label) = (self.task, self.runner.agent().map(|agent| label_value(&agent.name)));
        let before = task.made_in();
        let made_in = (task.namespace() != self.namespace()).then(|| {
            let before = before.iter().filter(|before| before.namespace == self.namespace());
            let most = before.map(|before| before.config_maps).chain([plan.config_maps.len()]).max();
            MadeIn { namespace: self.namespace().to_owned(), config_maps: most.unwrap_or_default() }
        });
        let is_labelled = label.as_ref().is_none_or(|label| task.is_labelled(label));
        if task.has_finalizer() && is_labelled && made_in == before {
            return Ok(task.metadata.clone());
        }
        let mut finalizers = task.finalizers().to_vec();
        if !task.has_finalizer() {
            finalizers.push(task.group.names().finalizer.to_owned());
        }
        let mut patch = json!({"metadata": {
            "resourceVersion": task.metadata.resource_version, "finalizers": finalizers,
        }});
        if let Some(label) = label {
            patch["metadata"]["labels"] = json!({AGENT_LABEL: label});
        }
        if made_in != before {
            let made_in = made_in.map(|made_in| made_in.to_string());
            patch["metadata"]["annotations"] = json!({MADE_IN_ANNOTATION: made_in});
        }
        self.writer.patch_metadata(task, &patch).await.map_err(conflict_is_again)
    }

    async fn make_config_maps(&self, plan: &ExecutionPlan) -> Result<Made<()>, LaunchError> {
        // row by row: whoever deletes them takes a row of which none is there for the end
        for row in plan.config_maps.chunks(IN_A_ROW) {
            let made = try_join_all(row.iter().map(|map| self.make_config_map(map))).await?;
            if made.iter().any(|made| matches!(made, Made::Taken)) {
                return Ok(Made::Taken);
            }
        }
        Ok(Made::There(()))
    }

    async fn make_config_map(&self, map: &ConfigMap) -> Result<Made<()>, LaunchError> {
        let (api, name) =
            (Api::<ConfigMap>::namespaced(self.client.clone(), self.namespace()), map.name_any());
        let made: Result<PartialObjectMeta<ConfigMap>, _> = self.create(map).await;
        let Err(error) = made else { return Ok(Made::There(())) };
        let reason = classify_create_error(&error);
        if !matches!(reason, CreateError::Exists | CreateError::Unknown) {
            return Err(LaunchError::NotCreated { kind: CONFIG_MAP, name, reason });
        }
        let Some(there) = api.get_opt(&name).await? else { return Err(unanswered(error)) };
        if there.labels().get(self.task.group.names().task_uid_label) != Some(&self.uid.0) {
            return Ok(Made::Taken);
        }
        if is_as_planned(&there, map) {
            return Ok(Made::There(()));
        }
        remove_config_map(self.client, &there.metadata).await?;
        Err(LaunchError::Again)
    }

    async fn make_pod(&self, plan: &ExecutionPlan) -> Result<Made<PodView>, LaunchError> {
        let name = plan.pod.name_any();
        let api = Api::<PodView>::namespaced(self.client.clone(), self.namespace());
        // the cache may still show what an earlier try removed
        if self.pods.iter().any(|pod| is_planned(pod, plan))
            && let Some(there) = api.get_opt(&name).await?
        {
            return self.inspect(there, &plan.digest).await;
        }
        let error = match self.create::<_, PodView>(&plan.pod).await {
            Ok(pod) => {
                self.writer.pod_written(&pod);
                return Ok(Made::There(pod));
            }
            Err(error) => error,
        };
        let reason = classify_create_error(&error);
        if !matches!(reason, CreateError::Exists | CreateError::Unknown) {
            return Err(LaunchError::NotCreated { kind: POD, name, reason });
        }
        let Some(there) = api.get_opt(&name).await? else { return Err(unanswered(error)) };
        self.inspect(there, &plan.digest).await
    }

    /// What a Pod that has our name means.
    async fn inspect(&self, there: PodView, digest: &str) -> Result<Made<PodView>, LaunchError> {
        if there.task_uid().as_ref() != Some(self.uid) {
            let ours = Some(self.task.key());
            if there.task_uid().is_some() && there.task_key() == ours {
                return Err(LaunchError::PreviousPod(ObjectKey::of(&there)));
            }
            return Ok(Made::Taken);
        }
        if !there.is_gated() {
            // should another operator have launched it, the Task has changed, and nothing more is written
            return Err(LaunchError::Stranger(ObjectKey::of(&there)));
        }
        if there.is_deleting() {
            return Err(LaunchError::Again);
        }
        if there.plan() == Some(digest) {
            return Ok(Made::There(there));
        }
        self.remove_gated(there).await?;
        Err(LaunchError::Again)
    }

    /// Sends the whole object, reads back its metadata.
    async fn create<K, V>(&self, object: &K) -> Result<V, kube::Error>
    where
        K: Resource<DynamicType = ()> + Serialize,
        V: DeserializeOwned,
    {
        let body = serde_json::to_vec(object).map_err(kube::Error::SerdeError)?;
        let request = Request::new(K::url_path(&(), Some(self.namespace())));
        send(self.client, request.create(&PostParams::default(), body)).await
    }

    /// The one write that makes a Pod the Task's own.
    async fn record(
        &self,
        task: TaskRef<'_>,
        pod: &PodView,
        plan: &ExecutionPlan,
        plugins: &[UsedPlugin],
    ) -> Result<(), LaunchError> {
        let launch = LaunchRecord {
            pod: &ObjectKey::new(self.namespace(), pod.name_any()),
            pod_uid: pod.uid(),
            runner: self.runner,
            limited: self.limited,
            plugins: plugins.to_vec(),
            notices: &plan.notices,
        };
        let status = StatusBuilder::of(task, Timestamp::now()).launched(&launch);
        self.writer.write(task, &status).await.map_err(conflict_is_again)
    }

    async fn open(&self, pod: &PodView) -> Result<(), LaunchError> {
        match open_gate(self.client, self.writer, pod).await {
            // the recorded Pod is gone: the next reconciliation finds that out and says so
            Err(error) if is_outdated(&error) => Err(LaunchError::Again),
            other => other.map_err(LaunchError::Api),
        }
    }
}

/// Takes our gate off the recorded Pod, and no other gate. May be repeated.
///
/// # Errors
/// 404 where the Pod is gone, 422 where another one has its name.
pub(crate) async fn open_gate(client: &Client, writer: &Writer, pod: &PodView) -> Result<(), kube::Error> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let patch = json!({
        "metadata": {"uid": pod.uid()},
        "spec": {"schedulingGates": [{"$patch": "delete", "name": LAUNCH_GATE}]},
    });
    let request = Request::new(PodView::url_path(&(), Some(namespace)));
    let request = request.patch(&pod.name_any(), &PatchParams::default(), &Patch::Strategic(&patch));
    let opened: PodView = send(client, request).await?;
    writer.pod_written(&opened);
    Ok(())
}

const POD: &str = "Pod";
const CONFIG_MAP: &str = "ConfigMap";

/// Whether a gated Pod is the one of this plan. One of the same plan under its other name is not: it was made room for,
/// although the cache may still show it.
fn is_planned(pod: &PodView, plan: &ExecutionPlan) -> bool {
    let (there, planned) = (&pod.metadata, &plan.pod.metadata);
    let is_there = there.name == planned.name && there.namespace == planned.namespace;
    is_there && pod.plan() == Some(&plan.digest) && !pod.is_deleting()
}

/// Whether a ConfigMap holds what is planned, and will: labels and annotations prove nothing.
fn is_as_planned(there: &ConfigMap, planned: &ConfigMap) -> bool {
    let plan = |map: &ConfigMap| map.annotations().get(PLAN_ANNOTATION).cloned();
    there.data == planned.data
        && there.binary_data == planned.binary_data
        && there.immutable == planned.immutable
        && plan(there) == plan(planned)
        && there.metadata.deletion_timestamp.is_none()
}

/// The cache is behind: what it will show decides anew.
fn conflict_is_again(error: kube::Error) -> LaunchError {
    if is_conflict(&error) || is_invalid(&error) { LaunchError::Again } else { LaunchError::Api(error) }
}

/// A create that was not answered, and the object is not there (yet): whoever comes late is found by name.
fn unanswered(error: kube::Error) -> LaunchError {
    if is_conflict(&error) { LaunchError::Again } else { LaunchError::Api(error) }
}
