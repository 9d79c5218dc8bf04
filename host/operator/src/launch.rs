//! The launch: the only place that creates Pods, and the only one that opens their gate.
//!
//! A Pod is made with our scheduling gate, so nothing runs yet however often we try. One PATCH of the Task's status,
//! with its resourceVersion, records one Pod's UID; the API server's rules keep it. Only the recorded Pod loses its
//! gate. A crash, a lost answer or a second operator between any two of these leaves gated Pods at worst.

use std::sync::Arc;

use futures::future::try_join_all;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{Api, Patch, PatchParams, PostParams, Request};
use kube::{Client, Resource, ResourceExt};
use kubeopencode_api::literals::{AGENT_LABEL, FINALIZER, LAUNCH_GATE, PLAN_ANNOTATION, TASK_UID_LABEL};
use kubeopencode_api::names::{Naming, ObjectKey, TaskNames, TaskUid, label_value};
use kubeopencode_api::task::Task;
use kubeopencode_plan::{ExecutionPlan, Refusal, build};
use serde_json::json;

use crate::answers::{Denied, denied, is_conflict, is_invalid, is_not_found};
use crate::caches::key_of;
use crate::decide::Doomed;
use crate::gather::Gathered;
use crate::remove::{Removal, remove_config_map, remove_pod};
use crate::status::{Draft, Launch};
use crate::view::PodView;
use crate::writer::Writer;

/// Why a launch stopped half-way. What it made is found again by the next try.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The plan makes no sense.
    #[error("{0}")]
    Refused(Refusal),
    /// Something changed meanwhile: decide anew on what the cache will show.
    #[error("the Task or its Pod changed meanwhile")]
    Again,
    /// A Pod of an older Task of this name still ends.
    #[error("waiting for Pod \"{0}\" of an older Task of this name to end")]
    PreviousPod(ObjectKey),
    /// The API server did not take an object.
    #[error("{kind} \"{name}\" was not taken: {denied:?}")]
    Denied {
        /// `Pod` or `ConfigMap`
        kind: &'static str,
        /// Its name.
        name: String,
        /// Why.
        denied: Denied,
    },
    /// The API server did not answer.
    #[error("launching: {0}")]
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
pub struct Launcher<'a> {
    /// The API.
    pub client: &'a Client,
    /// Records the launch.
    pub writer: &'a Writer,
    /// The Task, as the cache shows it.
    pub task: &'a Task,
    /// Its UID.
    pub uid: &'a TaskUid,
    /// Its Pods, as the cache shows them: all of them gated.
    pub pods: &'a [Arc<PodView>],
    /// The Agent.
    pub agent: &'a ObjectKey,
    /// Whether the Agent has limits.
    pub limited: bool,
}

impl Launcher<'_> {
    /// Makes, records and releases the Task's Pod.
    ///
    /// # Errors
    /// See [`LaunchError`].
    pub async fn launch(&self, gathered: &Gathered) -> Result<(), LaunchError> {
        let plain_is_taken = self.has_alternative();
        for naming in [Naming::Plain, Naming::WithUid] {
            if naming == Naming::Plain && plain_is_taken {
                continue;
            }
            let plan = build(&gathered.resolved, &gathered.contexts, &gathered.command, naming);
            let plan = plan.map_err(LaunchError::Refused)?;
            self.clear_other_plans(&plan).await?;
            if let Some((task, pod)) = self.make(&plan).await? {
                self.record(&task, &pod, &plan, gathered).await?;
                return self.open(&pod).await;
            }
        }
        let denied = Denied::Refused("both its names are held by objects of somebody else".to_owned());
        Err(LaunchError::Denied { kind: POD, name: self.task.name_any(), denied })
    }

    /// An earlier try had to take the name with the UID.
    fn has_alternative(&self) -> bool {
        let names = |naming| TaskNames {
            task_namespace: self.task.metadata.namespace.as_deref().unwrap_or_default(),
            task: self.task.metadata.name.as_deref().unwrap_or_default(),
            uid: self.uid,
            pod_namespace: &self.agent.namespace,
            naming,
        };
        let alternative = names(Naming::WithUid).pod();
        alternative != names(Naming::Plain).pod() && self.pods.iter().any(|pod| pod.name_any() == alternative)
    }

    /// Gated Pods of other plans make room.
    async fn clear_other_plans(&self, plan: &ExecutionPlan) -> Result<(), LaunchError> {
        for pod in self.pods.iter().filter(|pod| pod.plan() != Some(&plan.digest) || pod.is_deleting()) {
            match remove_pod(self.client, &Doomed { pod: Arc::clone(pod), gated: true }).await? {
                Removal::Gone => {}
                Removal::Going | Removal::Changed => return Err(LaunchError::Again),
            }
        }
        Ok(())
    }

    /// Finalizer, ConfigMaps and Pod. `None`: a name is taken by somebody else.
    async fn make(&self, plan: &ExecutionPlan) -> Result<Option<(Task, PodView)>, LaunchError> {
        let same_namespace = self.task.metadata.namespace.as_deref() == Some(self.agent.namespace.as_str());
        let (task, maps, pod) = if same_namespace {
            // garbage collection covers a crash in the middle
            futures::join!(self.claim(), self.make_config_maps(plan), self.make_pod(plan))
        } else {
            let task = self.claim().await?;
            let (maps, pod) = futures::join!(self.make_config_maps(plan), self.make_pod(plan));
            (Ok(task), maps, pod)
        };
        match (maps?, pod?) {
            (Made::There(()), Made::There(pod)) => Ok(Some((task?, pod))),
            (Made::Taken, Made::There(pod)) => {
                let doomed = Doomed { pod: Arc::new(pod), gated: true };
                match remove_pod(self.client, &doomed).await? {
                    Removal::Gone => Ok(None),
                    Removal::Going | Removal::Changed => Err(LaunchError::Again),
                }
            }
            (_, Made::Taken) => Ok(None),
        }
    }

    /// Puts finalizer and label on the Task.
    async fn claim(&self) -> Result<Task, LaunchError> {
        let (task, label) = (self.task, label_value(&self.agent.name));
        let has_finalizer = task.finalizers().iter().any(|f| f == FINALIZER);
        if has_finalizer && task.labels().get(AGENT_LABEL) == Some(&label) {
            return Ok(task.clone());
        }
        let mut finalizers = task.finalizers().to_vec();
        if !has_finalizer {
            finalizers.push(FINALIZER.to_owned());
        }
        let patch = json!({"metadata": {
            "resourceVersion": task.resource_version(), "finalizers": finalizers, "labels": {AGENT_LABEL: label},
        }});
        self.writer.patch_metadata(task, &patch).await.map_err(conflict_is_again)
    }

    async fn make_config_maps(&self, plan: &ExecutionPlan) -> Result<Made<()>, LaunchError> {
        let made =
            try_join_all(plan.config_maps.iter().map(|map| self.make_config_map(map, &plan.digest))).await?;
        let taken = made.iter().any(|made| matches!(made, Made::Taken));
        Ok(if taken { Made::Taken } else { Made::There(()) })
    }

    #[expect(clippy::disallowed_methods, reason = "this is the launch")]
    async fn make_config_map(&self, map: &ConfigMap, digest: &str) -> Result<Made<()>, LaunchError> {
        let (api, name) =
            (Api::<ConfigMap>::namespaced(self.client.clone(), &self.agent.namespace), map.name_any());
        let Err(error) = api.create(&PostParams::default(), map).await else { return Ok(Made::There(())) };
        let reason = denied(&error);
        if !matches!(reason, Denied::Exists | Denied::Unknown) {
            return Err(LaunchError::Denied { kind: CONFIG_MAP, name, denied: reason });
        }
        let Some(there) = api.get_opt(&name).await? else { return Err(unanswered(error)) };
        if there.labels().get(TASK_UID_LABEL) != Some(&self.uid.0) {
            return Ok(Made::Taken);
        }
        if there.annotations().get(PLAN_ANNOTATION).map(String::as_str) == Some(digest)
            && !is_deleting(&there)
        {
            return Ok(Made::There(()));
        }
        remove_config_map(self.client, &there.metadata).await?;
        Err(LaunchError::Again)
    }

    async fn make_pod(&self, plan: &ExecutionPlan) -> Result<Made<PodView>, LaunchError> {
        if let Some(pod) = self.pods.iter().find(|pod| pod.plan() == Some(&plan.digest) && !pod.is_deleting())
        {
            return Ok(Made::There(pod.as_ref().clone()));
        }
        let name = plan.pod.name_any();
        let error = match self.create_pod(&plan.pod).await {
            Ok(pod) => {
                self.writer.made_pod(&pod);
                return Ok(Made::There(pod));
            }
            Err(error) => error,
        };
        let reason = denied(&error);
        if !matches!(reason, Denied::Exists | Denied::Unknown) {
            return Err(LaunchError::Denied { kind: POD, name, denied: reason });
        }
        let api = Api::<PodView>::namespaced(self.client.clone(), &self.agent.namespace);
        let Some(there) = api.get_opt(&name).await? else { return Err(unanswered(error)) };
        self.look_at(there, &plan.digest).await
    }

    /// What a Pod that holds our name means.
    async fn look_at(&self, there: PodView, digest: &str) -> Result<Made<PodView>, LaunchError> {
        if there.task_uid().as_ref() != Some(self.uid) {
            let ours = Some(key_of(self.task));
            if there.task_uid().is_some() && there.task_key() == ours {
                return Err(LaunchError::PreviousPod(key_of(&there)));
            }
            return Ok(Made::Taken);
        }
        if !there.is_gated() || there.is_deleting() {
            // launched by somebody whom our cache does not show yet
            return Err(LaunchError::Again);
        }
        if there.plan() == Some(digest) {
            return Ok(Made::There(there));
        }
        remove_pod(self.client, &Doomed { pod: Arc::new(there), gated: true }).await?;
        Err(LaunchError::Again)
    }

    /// Sends the whole Pod, reads back what we keep of it.
    async fn create_pod(&self, pod: &Pod) -> Result<PodView, kube::Error> {
        let body = serde_json::to_vec(pod).map_err(kube::Error::SerdeError)?;
        let request = Request::new(Pod::url_path(&(), Some(&self.agent.namespace)));
        let mut request = request.create(&PostParams::default(), body).map_err(kube::Error::BuildRequest)?;
        request.extensions_mut().insert("create");
        let mut pod: PodView = self.client.request(request).await?;
        pod.slim();
        Ok(pod)
    }

    /// The one write that makes a Pod the Task's own.
    async fn record(
        &self,
        task: &Task,
        pod: &PodView,
        plan: &ExecutionPlan,
        gathered: &Gathered,
    ) -> Result<(), LaunchError> {
        let launch = Launch {
            pod: &ObjectKey::new(self.agent.namespace.clone(), pod.name_any()),
            pod_uid: pod.uid(),
            agent: self.agent,
            limited: self.limited,
            plugins: gathered.plugins.clone(),
            notices: &plan.notices,
        };
        let status = Draft::of(task, Timestamp::now()).launched(&launch);
        self.writer.write(task, &status).await.map(|_| ()).map_err(conflict_is_again)
    }

    async fn open(&self, pod: &PodView) -> Result<(), LaunchError> {
        match open_gate(self.client, self.writer, pod).await {
            // the recorded Pod is gone: the next look finds that out and says so
            Err(error) if is_not_found(&error) || is_invalid(&error) || is_conflict(&error) => {
                Err(LaunchError::Again)
            }
            other => other.map_err(LaunchError::Api),
        }
    }
}

/// Takes our gate off the recorded Pod, and no other gate. May be repeated.
///
/// # Errors
/// 404 where the Pod is gone, 422 where another one has its name.
pub async fn open_gate(client: &Client, writer: &Writer, pod: &PodView) -> Result<(), kube::Error> {
    let api =
        Api::<PodView>::namespaced(client.clone(), pod.metadata.namespace.as_deref().unwrap_or_default());
    let patch = json!({
        "metadata": {"uid": pod.uid()},
        "spec": {"schedulingGates": [{"$patch": "delete", "name": LAUNCH_GATE}]},
    });
    let opened = api.patch(&pod.name_any(), &PatchParams::default(), &Patch::Strategic(&patch)).await?;
    writer.made_pod(&opened);
    Ok(())
}

const POD: &str = "Pod";
const CONFIG_MAP: &str = "ConfigMap";

fn is_deleting(map: &ConfigMap) -> bool {
    map.metadata.deletion_timestamp.is_some()
}

/// The cache is behind: what it will show decides anew.
fn conflict_is_again(error: kube::Error) -> LaunchError {
    if is_conflict(&error) || is_invalid(&error) { LaunchError::Again } else { LaunchError::Api(error) }
}

/// A create that was not answered, and the object is not there (yet): whoever comes late is found by name.
fn unanswered(error: kube::Error) -> LaunchError {
    if is_conflict(&error) { LaunchError::Again } else { LaunchError::Api(error) }
}
