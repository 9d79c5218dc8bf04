//! The fault matrix: every kind of fault at every request and every watch event of a Task's way, until a run passes
//! without reaching it. Whatever happens, each Task runs once and ends as it should.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use futures::{FutureExt, StreamExt};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use kubeopencode_api::task::Phase;
use kubeopencode_tests::cluster::{Cluster, plugin_host};
use kubeopencode_tests::faults::{Fault, Faults};
use kubeopencode_tests::operator::Operator;
use kubeopencode_tests::record::{History, Kind};
use kubeopencode_tests::stage::{Stage, TEAM, make_namespace};
use serde_json::json;

use crate::{WORKER, status};

/// Scenes played beside each other, each in a namespace of its own.
const LANES: usize = 8;
/// No way of a Task has so many requests or events: whoever gets here runs in circles.
const TOO_FAR: usize = 120;

/// What happens while faults strike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Scene {
    /// A Task of an Agent without limits runs and completes.
    Unlimited,
    /// Two Tasks of an Agent that runs one at a time.
    Limited,
    /// A Task is stopped while it runs.
    Stopped,
    /// A Task is deleted while it runs.
    Deleted,
}

impl Scene {
    const ALL: [Self; 4] = [Self::Unlimited, Self::Limited, Self::Stopped, Self::Deleted];

    async fn play(self, stage: &Stage, run: &str) {
        let task = |name: &str, agent: &str, agent_does: &str| {
            format!(
                "apiVersion: kubeopencode.io/v1alpha1\nkind: Task\nmetadata:\n  name: {name}\n  annotations: {{tests.kubeopencode.io/agent-does: {agent_does}}}\nspec: {{description: d, agentRef: {agent}}}\n"
            )
        };
        match self {
            Self::Unlimited => {
                stage.apply(&task(run, "default", "succeed")).await;
                let task = stage.phase(run, Phase::Completed).await;
                assert_eq!(status(&task).reason.as_deref(), Some("Completed"));
            }
            Self::Limited => {
                let names = [format!("{run}-a"), format!("{run}-b")];
                for name in &names {
                    stage.apply(&task(name, "one-at-a-time", "succeed")).await;
                }
                for name in &names {
                    let task = stage.phase(name, Phase::Completed).await;
                    assert_eq!(status(&task).reason.as_deref(), Some("Completed"));
                }
                stage
                    .until("both slots are given back", |history| {
                        history
                            .get(Kind::Agent, "one-at-a-time")?
                            .list("/status/admitted")
                            .is_empty()
                            .then_some(())
                    })
                    .await;
            }
            Self::Stopped => {
                stage.apply(&task(run, "default", "run-on")).await;
                self.agent_runs(stage, run).await;
                stage.stop_task(run).await;
                let task = stage.phase(run, Phase::Completed).await;
                assert_eq!(status(&task).reason.as_deref(), Some("UserStopped"));
                stage.gone(Kind::Pod, &format!("{run}-pod")).await;
            }
            Self::Deleted => {
                stage.apply(&task(run, "default", "run-on")).await;
                self.agent_runs(stage, run).await;
                stage.delete_task(run).await;
                stage.gone(Kind::Task, run).await;
                stage.gone(Kind::Pod, &format!("{run}-pod")).await;
            }
        }
    }

    async fn agent_runs(self, stage: &Stage, run: &str) {
        let pod = format!("{run}-pod");
        let runs = stage.until("the agent runs", |history| {
            (history.get(Kind::Pod, &pod)?.text("/status/phase") == "Running").then_some(())
        });
        runs.await;
    }
}

/// What came of one fault in one scene.
#[derive(Debug, Default)]
struct Tally {
    tried: usize,
    slowest: Duration,
    most_writes: usize,
    broken: Vec<String>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_at_every_request_and_event() {
    let started = Instant::now();
    let cluster = Cluster::control_plane().await;
    let client = cluster.client();
    let lanes: Vec<String> = futures::future::join_all((0..LANES).map(|_| make_namespace(&client))).await;
    let free = Mutex::new(lanes.clone());
    let cells = Scene::ALL.into_iter().flat_map(|scene| {
        Fault::OF_REQUESTS.into_iter().chain(Fault::OF_WATCHES).map(move |fault| (fault, scene))
    });
    let tallies: BTreeMap<(Fault, Scene), Tally> = futures::stream::iter(cells)
        .map(|(fault, scene)| {
            let (cluster, free) = (&cluster, &free);
            async move {
                let lane = free.lock().unwrap().pop().expect("as many lanes as cells at once");
                let tally = try_all(cluster, &lane, fault, scene).await;
                free.lock().unwrap().push(lane);
                ((fault, scene), tally)
            }
        })
        .buffer_unordered(LANES)
        .collect()
        .await;
    for lane in lanes {
        let _ = Api::<k8s_openapi::api::core::v1::Namespace>::all(client.clone())
            .delete(&lane, &DeleteParams::background())
            .await;
    }
    println!("{}", table(&tallies, started.elapsed()));
    let broken: Vec<_> = tallies.values().flat_map(|tally| &tally.broken).collect();
    assert!(
        broken.is_empty(),
        "{} broken:\n{}",
        broken.len(),
        broken.iter().map(|b| b.as_str()).collect::<Vec<_>>().join("\n")
    );
}

/// One fault in one scene, at the first request or event, the second, and so on.
async fn try_all(cluster: &Cluster, lane: &str, fault: Fault, scene: Scene) -> Tally {
    let mut tally = Tally::default();
    for k in 1..=TOO_FAR {
        let name = format!("{fault:?}-{scene:?}-{k}").to_lowercase();
        let began = Instant::now();
        let (struck, writes, broken) = play(cluster, lane, fault, k, scene, &name).await;
        if !broken.is_empty() {
            tally.broken.push(format!("{name} (struck: {struck:?}): {}", broken.join("; ")));
        }
        if struck.is_empty() {
            return tally;
        }
        tally.tried = k;
        tally.slowest = tally.slowest.max(began.elapsed());
        tally.most_writes = tally.most_writes.max(writes);
    }
    tally.broken.push(format!("{fault:?} in {scene:?}: still requests after {TOO_FAR}"));
    tally
}

/// One run: what was struck, how often the operators wrote, and what broke.
async fn play(
    cluster: &Cluster,
    lane: &str,
    fault: Fault,
    k: usize,
    scene: Scene,
    name: &str,
) -> (Vec<String>, usize, Vec<String>) {
    let stage = Stage::set(cluster, Some(plugin_host(WORKER).await), lane).await;
    if stage.record.history().all(Kind::Agent).next().is_none() {
        stage.apply(TEAM).await;
    }
    let faults = Faults::at(fault, k);
    let mut operators = vec![stage.operator_with(&faults)];
    let played = {
        let supervised = supervise(&stage, &faults, &mut operators);
        let play = AssertUnwindSafe(scene.play(&stage, name)).catch_unwind();
        futures::pin_mut!(supervised, play);
        match futures::future::select(play, supervised).await {
            futures::future::Either::Left((played, _)) => played,
            futures::future::Either::Right(_) => unreachable!("a supervisor never ends"),
        }
    };
    let mut broken = Vec::new();
    for operator in operators {
        // the one after a crash may just be starting
        if fault.is_crash() {
            operator.crash().await;
        } else {
            broken.extend(operator.try_stop().await.err());
        }
    }
    broken.extend(stage.judge().await);
    if let Err(panic) = played {
        let words = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
        broken.insert(0, words.unwrap_or_default());
    }
    if !broken.is_empty() {
        eprintln!("{name}: {broken:#?}\n{}", stage.describe().await);
    }
    let writes = stage.writes().len();
    clear(&stage).await;
    (faults.struck(), writes, broken)
}

/// Starts the next operator when the first one has died.
async fn supervise(stage: &Stage, faults: &Faults, operators: &mut Vec<Operator>) {
    faults.crashed().await;
    if let Some(mut dead) = operators.pop() {
        dead.dead().await;
    }
    operators.push(stage.operator());
    std::future::pending().await
}

/// The next run finds the namespace as the first one did.
async fn clear(stage: &Stage) {
    let of_agents =
        |history: &History| history.all(Kind::Agent).all(|agent| agent.list("/status/admitted").is_empty());
    if !of_agents(&stage.record.history()) {
        let nobody = Patch::Merge(json!({"status": {"admitted": []}}));
        stage.agents().patch_status("one-at-a-time", &PatchParams::default(), &nobody).await.unwrap();
    }
    stage.release().await;
    let _ = stage.tasks().delete_collection(&DeleteParams::background(), &ListParams::default()).await;
    let is_clear = |history: &History| {
        let gone = [Kind::Task, Kind::Pod].into_iter().all(|kind| history.all(kind).next().is_none());
        (gone && of_agents(history)).then_some(())
    };
    stage.until("the lane is clear", is_clear).await;
}

fn table(tallies: &BTreeMap<(Fault, Scene), Tally>, took: Duration) -> String {
    let mut text = format!("\n{:<14}", "fault");
    for scene in Scene::ALL {
        text += &format!(" {:>26}", format!("{scene:?}"));
    }
    text += "\n";
    for fault in Fault::OF_REQUESTS.into_iter().chain(Fault::OF_WATCHES) {
        text += &format!("{:<14}", format!("{fault:?}"));
        for scene in Scene::ALL {
            let Tally { tried, slowest, most_writes, broken } = &tallies[&(fault, scene)];
            let verdict = if broken.is_empty() { "ok" } else { "BROKEN" };
            text += &format!(
                " {:>26}",
                format!("{verdict} {tried}x {:.1}s {most_writes}w", slowest.as_secs_f64())
            );
        }
        text += "\n";
    }
    let runs: usize = tallies.values().map(|tally| tally.tried + 1).sum();
    text += &format!(
        "{runs} runs in {:.0} s; x: places struck, s: slowest run, w: most writes of a run\n",
        took.as_secs_f64()
    );
    text
}
