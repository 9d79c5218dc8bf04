//! What is broken fails the scenario in which it breaks.

use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use k8s_openapi::api::core::v1::PodSchedulingGate;
use kubeopencode_api::literals::LAUNCH_GATE;
use kubeopencode_tests::namespace::TEAM;
use kubeopencode_tests::objects::task;

use crate::scenario;

#[tokio::test]
async fn a_pod_that_gets_its_gate_back_fails_its_scenario() {
    let fails = scenario(async |ns| {
        ns.apply(TEAM).await;
        let _operator = ns.operator();
        ns.apply(task("fix").does("run-on")).await;
        ns.agent_runs("fix-pod").await;
        // the API server lets nobody do this, so only the kubelet is shown it
        let mut pod = ns.pods().get("fix-pod").await.unwrap();
        let gate = PodSchedulingGate { name: LAUNCH_GATE.to_owned() };
        pod.spec.as_mut().unwrap().scheduling_gates = Some(vec![gate]);
        ns.kubelet().shows(pod);
        ns.kubelet().until_violation().await;
    });
    let panic = AssertUnwindSafe(fails).catch_unwind().await.expect_err("the scenario fails");
    let words = panic.downcast_ref::<String>().expect("words");
    assert!(words.contains("kubelet: Pod fix-pod got its gate back"), "{words}");
}
