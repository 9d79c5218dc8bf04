//! A scenario waits until the record shows something, and gives up after some time.

use std::time::Duration;

use k8s_openapi::api::core::v1::ResourceQuota;
use kube::runtime::wait::await_condition;
use kubeopencode_api::kubetask::task::Task as KubeTask;
use kubeopencode_api::task::{Phase, Task};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{PATIENCE, TestNamespace};
use crate::objects::AnyTask;
use crate::record::{History, Kind};

/// [`PATIENCE`] with real nodes, which pull images and end Pods in their own time.
const PATIENCE_WITH_NODES: Duration = Duration::from_secs(180);

impl TestNamespace {
    /// Waits until the record shows it.
    ///
    /// # Panics
    /// After some time, saying what was waited for.
    pub async fn until<T>(&self, what: &str, look: impl FnMut(&History) -> Option<T>) -> T {
        let patience = if self.host.is_some() { PATIENCE } else { PATIENCE_WITH_NODES };
        let found = self.record.wait(patience, look).await;
        found.unwrap_or_else(|()| panic!("waited {patience:?} in vain: {what}"))
    }

    /// Waits until a Task looks so.
    pub async fn until_task(&self, name: &str, what: &str, is_so: impl Fn(&Task) -> bool) -> Task {
        self.until_object(Kind::Task, name, what, is_so).await
    }

    /// The same for a Task of `kubetask.io`.
    pub async fn until_kubetask(
        &self,
        name: &str,
        what: &str,
        is_so: impl Fn(&KubeTask) -> bool,
    ) -> KubeTask {
        self.until_object(Kind::KubeTask, name, what, is_so).await
    }

    async fn until_object<K: DeserializeOwned>(
        &self,
        kind: Kind,
        name: &str,
        what: &str,
        is_so: impl Fn(&K) -> bool,
    ) -> K {
        self.until(&format!("{kind:?} {name} {what}"), |history| {
            let object = history.get(kind, name)?;
            let object: K = serde_json::from_value(object.object.clone()).unwrap();
            is_so(&object).then_some(object)
        })
        .await
    }

    /// Waits until a Task is in a phase.
    ///
    /// # Panics
    /// When it ended in another one, or after some time.
    pub async fn phase(&self, name: &str, phase: Phase) -> Task {
        self.until_task(name, &format!("is {phase:?}"), |task| has_phase(task, phase)).await
    }

    /// The same for a Task of `kubetask.io`.
    ///
    /// # Panics
    /// As [`Self::phase`].
    pub async fn kubetask_phase(&self, name: &str, phase: Phase) -> KubeTask {
        self.until_kubetask(name, &format!("is {phase:?}"), |task| has_phase(task, phase)).await
    }

    /// Waits until the agent's container in a Pod runs.
    pub async fn agent_runs(&self, pod: &str) {
        let runs = |pod: &Value| pod["status"]["containerStatuses"][0]["state"].get("running").is_some();
        self.until(&format!("the agent in Pod {pod} runs"), |history| {
            runs(&history.get(Kind::Pod, pod)?.object).then_some(())
        })
        .await;
    }

    /// Waits until an object is gone.
    pub async fn gone(&self, kind: Kind, name: &str) {
        self.until(&format!("{kind:?} {name} is gone"), |history| {
            history.get(kind, name).is_none().then_some(())
        })
        .await;
    }

    /// Waits until the API server enforces a ResourceQuota.
    pub async fn quota_is_in_force(&self, name: &str) {
        let counted = |quota: Option<&ResourceQuota>| {
            quota.and_then(|quota| quota.status.as_ref()?.used.as_ref()).is_some_and(|used| !used.is_empty())
        };
        let enforced = await_condition(self.api::<ResourceQuota>(), name, counted);
        tokio::time::timeout(PATIENCE, enforced).await.expect("the quota is counted").unwrap();
    }
}

/// Whether a Task is in this phase, and panics where it ended in another one.
fn has_phase(task: &impl AnyTask, phase: Phase) -> bool {
    let now = task.status().and_then(|status| status.phase).unwrap_or_default();
    assert!(now == phase || !now.is_terminal(), "a Task is {now:?} instead of {phase:?}: {task:#?}");
    now == phase
}
