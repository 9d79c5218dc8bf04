//! The second group turned off, not installed, and with the chart's rights alone.

use kubeopencode_api::task::Phase;
use kubeopencode_tests::faults::Faults;
use kubeopencode_tests::namespace::TEAM;
use kubeopencode_tests::objects::{kubetask, task};
use kubeopencode_tests::operator::Setup;
use kubeopencode_tests::rbac::Granted;
use kubeopencode_tests::record::Kind;

use super::prepare;
use crate::health::{USER, grant};
use crate::scenario;

#[tokio::test]
async fn turned_off_nothing_of_it_is_watched_or_touched() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        prepare(ns).await;
        // a request that the operator has no rule for would be refused
        grant(ns, Granted::by_the_chart().without_group("kubetask.io").without(&[], "")).await;
        let operator = ns.start_operator(Setup {
            user: Some(USER.to_owned()),
            without_kubetask: true,
            is_probed: true,
            ..Setup::default()
        });
        ns.apply(kubetask("fix")).await;
        ns.apply(task("fix")).await;
        ns.phase("fix", Phase::Completed).await;
        operator.is_ready().await;
        let log = operator.log.clone();
        operator.stop().await;
        assert!(!log.text().contains("kubetask.io"), "{}", log.text());
        let history = ns.record.history();
        let left = history.get(Kind::KubeTask, "fix").unwrap();
        assert!(left.object["status"].is_null() && left.list("/metadata/finalizers").is_empty());
    })
    .await;
}

#[tokio::test]
async fn without_its_definitions_the_first_group_works_and_they_may_come_later() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        prepare(ns).await;
        let missing = Faults::not_installed("kubetask.io");
        let operator =
            ns.start_operator(Setup { faults: missing.clone(), is_probed: true, ..Setup::default() });
        let told = operator.log.until("the watch of kubetask.io Tasks failed").await;
        assert!(told.contains("WARN") && told.contains("404"), "{told}");
        operator.is_ready().await;
        assert_eq!(operator.probe("/healthz").await.0, 200);
        ns.apply(kubetask("fix")).await;
        ns.apply(task("fix")).await;
        ns.phase("fix", Phase::Completed).await;
        assert!(ns.record.history().get(Kind::KubeTask, "fix").unwrap().object["status"].is_null());
        missing.let_go();
        ns.kubetask_phase("fix", Phase::Completed).await;
        assert_eq!(operator.log.lines("the watch of kubetask.io Tasks failed").len(), 1, "told once");
        operator.stop().await;
    })
    .await;
}

#[tokio::test]
async fn without_its_definitions_an_operator_ends_when_it_is_told_to() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        let operator = ns.start_operator(Setup {
            faults: Faults::not_installed("kubetask.io"),
            is_probed: true,
            ..Setup::default()
        });
        operator.is_ready().await;
        let log = operator.log.clone();
        operator.stop().await;
        assert_eq!(log.lines("were cancelled"), [""; 0], "nothing was in flight");
    })
    .await;
}

#[tokio::test]
async fn the_charts_rules_are_enough_for_its_tasks() {
    scenario(async |ns| {
        prepare(ns).await;
        grant(ns, Granted::by_the_chart().without(&[], "")).await;
        let operator = ns.start_operator(Setup { user: Some(USER.to_owned()), ..Setup::default() });
        ns.apply(kubetask("fix").does("run-on")).await;
        ns.agent_runs("fix-kt-pod").await;
        super::delete(ns, "fix").await;
        ns.gone(Kind::KubeTask, "fix").await;
        let refused: Vec<_> = operator.log.lines("403");
        // a Role reaches no Plugins
        assert!(
            refused
                .iter()
                .all(|line| line.contains("plugins.kubeopencode.io") || line.contains("configmaps")),
            "{refused:?}"
        );
        operator.stop().await;
    })
    .await;
}
