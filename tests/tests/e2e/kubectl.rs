//! `kubectl kubeopencode` with real Pods: their logs, and a Task from a line to its exit code.

use kubeopencode_api::task::Phase;
use kubeopencode_tests::kubectl::Kubectl;
use kubeopencode_tests::objects::status;
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::support::{on_the_whole_cluster, shell_agent};

/// Prints the prompt; one that says so goes on until it is ended.
const SCRIPT: &str =
    "cat task.md; echo; if grep -q 'go on' task.md; then sleep 600 & trap 'kill $!' TERM; wait; fi";

#[tokio::test]
async fn a_task_from_a_line_is_followed_stopped_and_run_again() {
    on_the_whole_cluster(async |ns| {
        ns.apply(shell_agent(SCRIPT, "{}")).await;
        let user =
            Kubectl::admin(env!("CARGO_BIN_EXE_kubectl-under-test"), "KUBEOPENCODE_E2E_KUBECONFIG", &ns.name);

        let said = user.call(&["run", "-p", "hello from a line", "--follow"]).await;
        assert_eq!(said.code, 0, "{said:?}");
        assert!(said.stdout.ends_with("hello from a line\n"), "{said:?}");
        let (created, ended) = said.stderr.trim_end().split_once('\n').unwrap();
        let name = created
            .strip_prefix("task.kubeopencode.io/")
            .and_then(|rest| rest.strip_suffix(" created"))
            .unwrap();
        assert!(ended.starts_with(&format!("Task {}/{name} completed in ", ns.name)), "{ended}");
        assert_eq!(user.prints(&["logs", name]).await, "hello from a line\n");
        assert_eq!(user.prints(&["logs", "-f", name]).await, "hello from a line\n");
        let with_time = user.prints(&["logs", "--timestamps", name]).await;
        assert!(with_time.starts_with("20") && with_time.ends_with("Z hello from a line\n"), "{with_time}");
        assert!(user.prints(&["describe", name]).await.contains("\n  agent "), "its containers are shown");

        let refused = user.call(&["rerun", name]).await;
        assert_eq!((refused.code, refused.stdout.as_str()), (2, ""), "{refused:?}");
        let again = user.call(&["rerun", name, "--force", "--follow"]).await;
        assert_eq!((again.code, again.stdout.ends_with("hello from a line\n")), (0, true), "{again:?}");

        let long = user.prints(&["run", "-p", "go on", "-o", "name"]).await;
        let long = long.trim().strip_prefix("task.kubeopencode.io/").unwrap();
        let mut follows = user.start(&["logs", "-f", long]);
        let mut lines = BufReader::new(follows.stdout.take().unwrap()).lines();
        while lines.next_line().await.unwrap().expect("the agent's line comes") != "go on" {}
        user.prints(&["stop", long]).await;
        let stopped = ns.phase(long, Phase::Completed).await;
        assert_eq!(status(&stopped).reason.as_deref(), Some("UserStopped"));
        let followed = Kubectl::end(follows).await;
        assert_eq!(followed.code, 0, "{followed:?}");

        // its log ends with a Task that is deleted, and that is no error
        let deleted = user.prints(&["run", "-p", "go on", "-o", "name"]).await;
        let mut follows = user.start(&["logs", "-f", deleted.trim()]);
        let mut lines = BufReader::new(follows.stdout.take().unwrap()).lines();
        while lines.next_line().await.unwrap().expect("the agent's line comes") != "go on" {}
        ns.delete_task(deleted.trim().strip_prefix("task.kubeopencode.io/").unwrap()).await;
        let followed = Kubectl::end(follows).await;
        assert_eq!((followed.code, followed.stderr.as_str()), (0, ""), "{followed:?}");
    })
    .await;
}
