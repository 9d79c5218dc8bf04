//! What happens while faults strike.

use kubeopencode_api::task::{Phase, Task};
use kubeopencode_tests::namespace::TestNamespace;
use kubeopencode_tests::objects::{Builder, batch, kubetask, status, task};
use kubeopencode_tests::record::{Kind, Revision};
use serde_json::json;

/// What happens in a lane. Those that are `Far` have their Tasks in the first namespace and the Agent, its Pods and their
/// ConfigMaps in the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scene {
    /// Two Tasks of an Agent that runs one at a time.
    Limited,
    /// A Task is stopped while it runs.
    Stopped,
    /// A Task is deleted while it runs.
    Deleted,
    /// A Task runs, completes, and is made again under its name, while the ConfigMap and the Pod of the one before may
    /// still hold theirs.
    MadeAgain,
    /// A Task of `kubetask.io` runs and completes beside one of the first group that wants its Pod's name.
    KubeTask,
    /// A Batch of three Tasks, two at a time, of which the second fails.
    BatchOfThree,
    /// Two Tasks of one name, one in each namespace, share an Agent that runs one at a time; both complete and are
    /// deleted.
    FarLimited,
    /// A Task is deleted while its Pod runs in the other namespace.
    FarDeleted,
    /// A Task's Pod is deleted in the other namespace while it runs; the failed Task is deleted too.
    FarPodDeleted,
}

impl Scene {
    pub(crate) const ALL: [Self; 9] = [
        Self::Limited,
        Self::Stopped,
        Self::Deleted,
        Self::MadeAgain,
        Self::KubeTask,
        Self::BatchOfThree,
        Self::FarLimited,
        Self::FarDeleted,
        Self::FarPodDeleted,
    ];

    /// Plays it with Tasks of these names.
    ///
    /// # Panics
    /// When something ends otherwise than it should.
    pub(crate) async fn run(self, team: &TestNamespace, platform: &TestNamespace, run: &str) {
        match self {
            Self::Limited => {
                let names = [format!("{run}-a"), format!("{run}-b")];
                for name in &names {
                    team.apply(task(name).agent("one-at-a-time")).await;
                }
                for name in &names {
                    completes(team, name).await;
                }
                until_free(team, "one-at-a-time").await;
            }
            Self::Stopped => {
                team.apply(task(run).does("run-on")).await;
                team.agent_runs(&format!("{run}-pod")).await;
                team.stop_task(run).await;
                let task = team.phase(run, Phase::Completed).await;
                assert_eq!(status(&task).reason.as_deref(), Some("UserStopped"));
                team.gone(Kind::Pod, &format!("{run}-pod")).await;
            }
            Self::Deleted => {
                team.apply(task(run).does("run-on")).await;
                team.agent_runs(&format!("{run}-pod")).await;
                team.delete_task(run).await;
                team.gone(Kind::Task, run).await;
                team.gone(Kind::Pod, &format!("{run}-pod")).await;
            }
            Self::MadeAgain => {
                for _ in 0..2 {
                    team.apply(task(run)).await;
                    completes(team, run).await;
                    team.delete_task(run).await;
                    team.gone(Kind::Task, run).await;
                }
            }
            Self::KubeTask => {
                let theirs = format!("{run}-kt");
                team.apply(task(&theirs)).await;
                team.apply(kubetask(run)).await;
                completes(team, &theirs).await;
                let task = team.kubetask_phase(run, Phase::Completed).await;
                assert_eq!(status(&task).reason.as_deref(), Some("Completed"));
            }
            Self::BatchOfThree => {
                team.apply(batch(run, 3).parallelism(2).does_at(1, "fail")).await;
                let is_over =
                    |batch: &Revision| matches!(batch.text("/status/phase"), "Completed" | "Failed");
                let status = team
                    .until("the Batch is over", |history| {
                        let batch = history.get(Kind::Batch, run)?;
                        is_over(batch).then(|| batch.object["status"].clone())
                    })
                    .await;
                let counts = json!({"total": 3, "pending": 0, "running": 0, "completed": 2, "failed": 1});
                let said = ["phase", "made", "completedIndexes", "failedIndexes", "progress"]
                    .map(|field| status[field].clone());
                assert_eq!(said, [json!("Failed"), json!(3), json!("0,2"), json!("1"), counts], "{status:#}");
            }
            Self::FarLimited => {
                team.apply(far(platform, "shared", run)).await;
                platform.apply(task(run).agent("shared")).await;
                for ns in [team, platform] {
                    completes(ns, run).await;
                }
                until_free(platform, "shared").await;
                for ns in [team, platform] {
                    ns.delete_task(run).await;
                    ns.gone(Kind::Task, run).await;
                }
            }
            Self::FarDeleted => {
                // a second ConfigMap over there
                let copied =
                    "contexts: [{type: ConfigMap, mountPath: copied, configMap: {name: team-conventions}}]";
                team.apply(far(platform, "default", run).does("run-on").spec(copied)).await;
                let pod = runs_far(team, platform, run).await;
                team.delete_task(run).await;
                team.gone(Kind::Task, run).await;
                platform.gone(Kind::Pod, &pod).await;
            }
            Self::FarPodDeleted => {
                team.apply(far(platform, "default", run).does("run-on")).await;
                let pod = runs_far(team, platform, run).await;
                platform.pods().delete(&pod, &Default::default()).await.unwrap();
                let task = team.phase(run, Phase::Failed).await;
                // who did not look while the Pod ended can only say that it is gone
                let reason = status(&task).reason.as_deref();
                assert!(matches!(reason, Some("PodDeleted" | "PodLost")), "{reason:?}");
                team.delete_task(run).await;
                team.gone(Kind::Task, run).await;
            }
        }
    }
}

fn far(platform: &TestNamespace, agent: &str, name: &str) -> Builder<Task> {
    task(name).agent_in(&platform.name, agent)
}

async fn completes(ns: &TestNamespace, name: &str) {
    let task = ns.phase(name, Phase::Completed).await;
    assert_eq!(status(&task).reason.as_deref(), Some("Completed"));
}

async fn until_free(ns: &TestNamespace, agent: &str) {
    ns.until("the slots are given back", |history| {
        history.get(Kind::Agent, agent)?.list("/status/admitted").is_empty().then_some(())
    })
    .await;
}

/// The name of the Pod, once its agent runs.
async fn runs_far(team: &TestNamespace, platform: &TestNamespace, name: &str) -> String {
    let task = team.phase(name, Phase::Running).await;
    let pod = status(&task).pod_name.clone().unwrap();
    platform.agent_runs(&pod).await;
    pod
}
