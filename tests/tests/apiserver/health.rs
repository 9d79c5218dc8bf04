//! What an operator says of itself when one of its watches does not work.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use k8s_openapi::api::rbac::v1::PolicyRule;
use kubeopencode_api::task::Phase;
use kubeopencode_tests::faults::{Fault, Faults};
use kubeopencode_tests::namespace::{TEAM, TestNamespace};
use kubeopencode_tests::objects::task;
use kubeopencode_tests::operator::{Operator, Setup};
use kubeopencode_tests::rbac::Granted;
use serde_json::json;

use crate::scenario;

/// Whose rights are the namespace's own.
pub(crate) const USER: &str = "operator-with-a-role";

/// Gives the operator these rights, and no other.
pub(crate) async fn grant(ns: &TestNamespace, rules: Vec<PolicyRule>) {
    let (api, name) = ("rbac.authorization.k8s.io/v1", json!({"name": "operator"}));
    let role = json!({"apiVersion": api, "kind": "Role", "metadata": name, "rules": rules});
    let binding = json!({
        "apiVersion": api, "kind": "RoleBinding", "metadata": name,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "operator"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": USER}],
    });
    ns.apply(role).await;
    ns.apply(binding).await;
}

fn probed(faults: Faults, user: Option<&str>) -> Setup {
    Setup { faults, user: user.map(str::to_owned), is_probed: true, ..Setup::default() }
}

async fn last_sign(operator: &Operator, kind: &str) -> Option<f64> {
    operator.metric(&format!("kubeopencode_watch_last_event_timestamp_seconds{{kind=\"{kind}\"}}")).await
}

#[tokio::test]
async fn an_operator_that_may_not_list_tasks_says_so_until_it_may() {
    scenario(async |ns| {
        let chart = Granted::by_the_chart();
        ns.apply(TEAM).await;
        ns.apply(task("one")).await;
        grant(ns, chart.without(&["list", "watch"], "tasks")).await;
        let operator = ns.start_operator(probed(Faults::none(), Some(USER)));
        let told = operator.log.until("the watch of Tasks failed").await;
        assert!(told.contains("WARN") && told.contains("watch: 403 Forbidden: tasks.kubeopencode.io"), "{told}");
        let (code, words) = operator.probe("/readyz").await;
        let expected = "the first list of Tasks is not complete: watch: 403 Forbidden: tasks.kubeopencode.io is forbidden";
        assert!(code == 503 && words.contains(expected), "{code} {words}");
        assert_eq!(operator.probe("/healthz").await, (200, "ok".into()), "it may be a passing trouble");
        assert_eq!(last_sign(&operator, "Task").await, Some(0.0));
        assert!(last_sign(&operator, "Pod").await > Some(1.7e9));
        grant(ns, chart.without(&[], "tasks")).await;
        ns.phase("one", Phase::Completed).await;
        operator.is_ready().await;
        operator.log.until("the watch of Tasks works again").await;
        assert!(last_sign(&operator, "Task").await > Some(1.7e9));
        operator.stop().await;
    })
    .await;
}

#[tokio::test]
async fn an_operator_without_a_definition_names_it() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        let missing = Faults::not_installed("kubeopencodeconfigs");
        let operator = ns.start_operator(probed(missing, None));
        let told = operator.log.until("the watch of KubeOpenCodeConfigs failed").await;
        assert!(told.contains("watch: 404"), "{told}");
        let (code, words) = operator.probe("/readyz").await;
        assert!(
            code == 503
                && words.contains("the first list of KubeOpenCodeConfigs is not complete: watch: 404"),
            "{words}"
        );
        assert_eq!(last_sign(&operator, "KubeOpenCodeConfig").await, Some(0.0));
        operator.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_watch_that_is_refused_later_is_told_and_works_again() {
    scenario(async |ns| {
        let chart = Granted::by_the_chart();
        ns.apply(TEAM).await;
        grant(ns, chart.without(&[], "tasks")).await;
        let cut = Arc::new(AtomicBool::new(false));
        let faults = Faults::while_set(&cut, ("WATCH", "/tasks"), Fault::WatchEnds);
        let operator = ns.start_operator(probed(faults, Some(USER)));
        operator.is_ready().await;
        ns.apply(task("before")).await;
        ns.phase("before", Phase::Completed).await;
        grant(ns, chart.without(&["list", "watch"], "tasks")).await;
        cut.store(true, Ordering::Relaxed);
        ns.apply(task("after")).await;
        let told = operator.log.until("the watch of Tasks failed").await;
        assert!(told.contains("watch: 403 Forbidden: tasks.kubeopencode.io"), "{told}");
        assert_eq!(operator.probe("/readyz").await, (200, "ok".into()), "it has what it listed");
        cut.store(false, Ordering::Relaxed);
        grant(ns, chart.without(&[], "tasks")).await;
        operator.log.until("the watch of Tasks works again").await;
        ns.phase("after", Phase::Completed).await;
        operator.stop().await;
    })
    .await;
}
