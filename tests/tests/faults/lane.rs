//! Where one run happens after the other: two namespaces, in the second of which a neighbour works all the time.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use futures::future::Either;
use kubeopencode_tests::cluster::{Cluster, plugin_host};
use kubeopencode_tests::faults::{Fault, Faults};
use kubeopencode_tests::namespace::{TEAM, TestNamespace, check_invariants, make_namespace, operator_of};
use kubeopencode_tests::objects::{agent, task, workspace_config};
use kubeopencode_tests::operator::Operator;
use kubeopencode_tests::record::{History, Kind};

use crate::WORKER;
use crate::scenes::Scene;

/// A Task that runs on, and holds the only slot of its Agent, whose name is that of one in the first namespace.
const NEIGHBOUR: &str = "neighbour";
const NEIGHBOURS_AGENT: &str = "one-at-a-time";

/// Two namespaces.
pub(crate) struct Lane {
    cluster: Cluster,
    names: [String; 2],
}

/// What came of a run.
pub(crate) struct Run {
    /// What was struck by the fault.
    pub(crate) struck: Vec<String>,
    /// How often the operators wrote.
    pub(crate) writes: usize,
    /// What broke.
    pub(crate) broken: Vec<String>,
}

impl Lane {
    pub(crate) async fn make() -> Self {
        let cluster = Cluster::control_plane().await;
        let client = cluster.client();
        let lane = Self { names: [make_namespace(&client).await, make_namespace(&client).await], cluster };
        let [team, platform] = lane.start().await;
        team.apply(TEAM).await;
        platform.apply(TEAM).await;
        team.apply(workspace_config("default").spec("serviceAccountName: kubeopencode-agent")).await;
        platform.apply(agent("shared").at_once(1)).await;
        let operator = operator_of(&[&team, &platform], &Faults::none());
        platform.apply(task(NEIGHBOUR).agent(NEIGHBOURS_AGENT).does("run-on")).await;
        // the last that is written about it
        platform
            .until("the neighbour's agent started", |history| {
                let task = history.get(Kind::Task, NEIGHBOUR)?;
                (!task.text("/status/agentStarted").is_empty()).then_some(())
            })
            .await;
        operator.stop().await;
        lane
    }

    async fn start(&self) -> [TestNamespace; 2] {
        let host = plugin_host(WORKER).await;
        let start = async |name: &str| TestNamespace::start(&self.cluster, Some(host.clone()), name).await;
        let [team, platform] = &self.names;
        [start(team).await, start(platform).await]
    }

    /// Plays a scene in which this fault strikes at the `k`-th place.
    pub(crate) async fn run(&self, fault: Fault, k: usize, scene: Scene, name: &str) -> Run {
        let [team, platform] = self.start().await;
        let both = [&team, &platform];
        let neighbours = of_neighbour(&platform.record.history());
        let faults = Faults::at(fault, k);
        let mut operators = vec![operator_of(&both, &faults)];
        let outcome = {
            let supervised = supervise(both, &faults, &mut operators);
            let run = AssertUnwindSafe(scene.run(&team, &platform, name)).catch_unwind();
            futures::pin_mut!(supervised, run);
            match futures::future::select(run, supervised).await {
                Either::Left((outcome, _)) => outcome,
                Either::Right(_) => unreachable!("a supervisor never ends"),
            }
        };
        let mut broken: Vec<_> = outcome.err().map(words_of).into_iter().collect();
        for operator in operators {
            // the one after a crash may just be starting
            if fault.is_crash() {
                operator.crash().await;
            } else {
                broken.extend(operator.try_stop().await.err());
            }
        }
        broken.extend(check_invariants(&both).await);
        let after = of_neighbour(&platform.record.history());
        if after != neighbours {
            broken.push(format!("the neighbour was disturbed: {neighbours:?} became {after:?}"));
        }
        let writes = both.iter().map(|ns| ns.writes().len()).sum();
        if broken.is_empty() {
            for ns in both {
                ns.clear_but(NEIGHBOUR).await;
            }
        } else {
            eprintln!("{name}: {broken:#?}\n{}\n{}", team.describe().await, platform.describe().await);
        }
        Run { struck: faults.struck(), writes, broken }
    }

    /// Removes both namespaces.
    pub(crate) async fn remove(self) {
        for ns in self.start().await {
            ns.tear_down().await;
        }
    }
}

/// Starts the next operator when the first one has died.
async fn supervise(both: [&TestNamespace; 2], faults: &Faults, operators: &mut Vec<Operator>) {
    faults.crashed().await;
    if let Some(mut dead) = operators.pop() {
        dead.dead().await;
    }
    operators.push(operator_of(&both, &Faults::none()));
    std::future::pending().await
}

/// Every object of the neighbour, with its version: nobody has a reason to write any of them.
fn of_neighbour(history: &History) -> BTreeMap<(Kind, String), u64> {
    let all = Kind::ALL.into_iter().flat_map(|kind| history.all(kind));
    let of_it = all.filter(|object| {
        let name = object.name();
        object.kind != Kind::Event && (name == NEIGHBOURS_AGENT || name.starts_with(NEIGHBOUR))
    });
    of_it.map(|object| ((object.kind, object.name().to_owned()), object.version)).collect()
}

fn words_of(panic: Box<dyn Any + Send>) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}
