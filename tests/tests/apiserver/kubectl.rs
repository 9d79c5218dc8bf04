//! `kubectl kubeopencode` on a real API server, with the user's own rights.

use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use kubeopencode_api::task::{Phase, Task};
use kubeopencode_tests::kubectl::{Kubectl, Said};
use kubeopencode_tests::namespace::{PATIENCE, TEAM, TestNamespace};
use kubeopencode_tests::objects::{agent, config, status, task};
use kubeopencode_tests::record::Kind;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::{KUBECTL, scenario};

fn user(ns: &TestNamespace) -> Kubectl {
    Kubectl::admin(KUBECTL, "KUBEOPENCODE_TEST_KUBECONFIG", &ns.name)
}

/// The Task that a line as `task.kubeopencode.io/run-x7k2p created` is about.
fn named(line: &str) -> String {
    let rest = line.trim().strip_prefix("task.kubeopencode.io/");
    let name = rest.and_then(|rest| rest.split(' ').next());
    name.unwrap_or_else(|| panic!("no Task in {line:?}")).to_owned()
}

/// Writes a status as an operator would, of the one Task that there is.
async fn end_it(ns: &TestNamespace, status: Value) {
    let made = |history: &kubeopencode_tests::record::History| {
        Some(history.all(Kind::Task).next()?.name().to_owned())
    };
    let name = ns.until("a Task is made", made).await;
    let patch = Patch::Merge(json!({"status": status}));
    ns.tasks().patch_status(&name, &PatchParams::default(), &patch).await.unwrap();
}

#[tokio::test]
async fn run_makes_the_task_that_the_line_says() {
    scenario(async |ns| {
        let folder = tempfile::tempdir().unwrap();
        let notes = folder.path().join("notes.md");
        std::fs::write(&notes, "Be kind.\n").unwrap();
        let file = format!("{}=docs/notes.md", notes.display());
        let line = [
            "run", "-p", "Fix it", "--agent", "platform/reviewer", "--git", "https://github.com/org/service@v1",
            "--file", &file, "--timeout", "30m", "-o", "json",
        ];
        let made: Task = serde_json::from_str(&user(ns).prints(&line).await).unwrap();
        let there = ns.tasks().get(&made.name_any()).await.unwrap();
        assert!(there.name_any().starts_with("run-"), "{}", there.name_any());
        let expected = json!({
            "description": "Fix it", "timeout": "30m", "agentRef": {"name": "reviewer", "namespace": "platform"},
            "contexts": [
                {"type": "Git", "name": "service", "mountPath": "service",
                 "git": {"repository": "https://github.com/org/service", "ref": "v1"}},
                {"type": "Text", "name": notes.to_str(), "mountPath": "docs/notes.md", "text": "Be kind.\n"},
            ],
        });
        assert_eq!(serde_json::to_value(&there.spec).unwrap(), expected);
    })
    .await;
}

#[tokio::test]
async fn run_waits_for_the_end_and_tells_what_the_agent_said() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        let _operator = ns.operator();
        let said = user(ns).prints(&["run", "-p", "Say hello", "--wait"]).await;
        let name = named(&said);
        let (created, rest) = said.split_once('\n').unwrap();
        assert_eq!(created, format!("task.kubeopencode.io/{name} created"));
        assert!(rest.starts_with(&format!("Task {}/{name} completed in ", ns.name)), "{said}");
        assert!(rest.ends_with(", $0.0123\nAll is done\n"), "{said}");
        assert_eq!(user(ns).prints(&["result", &name]).await, "All is done\n");
        let data: Value =
            serde_json::from_str(&user(ns).prints(&["result", &name, "-o", "json"]).await).unwrap();
        assert_eq!((&data["phase"], &data["usage"]["inputTokens"]), (&json!("Completed"), &json!(11)));
    })
    .await;
}

#[tokio::test]
async fn the_exit_code_says_how_it_ended() {
    for (end, code, words) in [
        (
            json!({"phase": "Failed", "reason": "PodFailed", "message": "exit code 3", "agentStarted": "2026-01-01T00:00:00Z"}),
            1,
            "failed (PodFailed): exit code 3",
        ),
        (json!({"phase": "Completed", "reason": "UserStopped", "message": "m"}), 1, "was stopped by a user"),
        (
            json!({"phase": "Failed", "reason": "ContextError", "message": "no such ConfigMap"}),
            2,
            "was refused (ContextError): no such ConfigMap",
        ),
    ] {
        scenario(async |ns| {
            let call = user(ns).start(&["run", "-p", "d", "--wait", "-o", "name"]);
            end_it(ns, end.clone()).await;
            let said = Kubectl::end(call).await;
            assert_eq!(said.code, code, "{said:?}");
            let name = named(&said.stdout);
            assert_eq!(said.stderr, format!("error: Task {}/{name} {words}\n", ns.name));
        })
        .await;
    }
}

#[tokio::test]
async fn whoever_waits_for_json_knows_the_name_before_the_end() {
    scenario(async |ns| {
        let mut call = user(ns).start(&["run", "-p", "d", "--wait", "-o", "json"]);
        let mut remarks = BufReader::new(call.stderr.take().unwrap()).lines();
        let name = named(&remarks.next_line().await.unwrap().unwrap());
        end_it(ns, json!({"phase": "Completed", "reason": "Completed", "message": "m"})).await;
        let said = Kubectl::end(call).await;
        assert_eq!(said.code, 0, "{said:?}");
        let over: Task = serde_json::from_str(&said.stdout).unwrap();
        assert_eq!((over.name_any(), over.phase()), (name, Phase::Completed));
    })
    .await;
}

#[tokio::test]
async fn a_task_that_is_deleted_meanwhile_has_no_known_end() {
    scenario(async |ns| {
        let mut call = user(ns).start(&["run", "-p", "d", "--wait"]);
        let mut lines = BufReader::new(call.stdout.take().unwrap()).lines();
        let name = named(&lines.next_line().await.unwrap().unwrap());
        ns.delete_task(&name).await;
        let said = Kubectl::end(call).await;
        let words = format!("error: Task {}/{name} was deleted: how it ended is not known\n", ns.name);
        assert_eq!((said.code, said.stderr), (3, words));
    })
    .await;
}

#[tokio::test]
async fn stop_ends_a_task_and_leaves_alone_what_is_over() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        let _operator = ns.operator();
        ns.apply(task("fix").does("run-on")).await;
        ns.agent_runs("fix-pod").await;
        assert_eq!(user(ns).prints(&["stop", "fix"]).await, "task.kubeopencode.io/fix is being stopped\n");
        let stopped = ns.phase("fix", Phase::Completed).await;
        assert_eq!(status(&stopped).reason.as_deref(), Some("UserStopped"));
        let said = user(ns).call(&["stop", "no-such", "fix"]).await;
        assert_eq!((said.code, said.stdout.as_str()), (1, "task.kubeopencode.io/fix was stopped before\n"));
        assert!(said.stderr.contains(&format!("Task {}/no-such not found", ns.name)), "{}", said.stderr);
    })
    .await;
}

#[tokio::test]
async fn rerun_copies_what_never_ran_and_by_force_what_did() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        ns.apply(config("dependencyGraceSeconds: 0")).await;
        let _operator = ns.operator();
        ns.apply(task("never").agent("later")).await;
        ns.phase("never", Phase::Failed).await;
        ns.apply(agent("later")).await;
        let said = user(ns).prints(&["rerun", "never", "--wait"]).await;
        let name = named(&said);
        assert!(name.starts_with("never-") && said.contains(" completed in "), "{said}");
        let Said { code, stdout, stderr } = user(ns).call(&["rerun", &name]).await;
        assert_eq!((code, stdout.as_str()), (2, ""));
        assert!(stderr.contains("it may have done its work") && stderr.contains("--force"), "{stderr}");
        let again = named(&user(ns).prints(&["rerun", &name, "--force"]).await);
        ns.phase(&again, Phase::Completed).await;
        assert_eq!(ns.tasks().list(&Default::default()).await.unwrap().items.len(), 3);
    })
    .await;
}

/// A proxy that connects to whatever CONNECT names; gives its address, and what it was asked.
async fn proxy() -> (String, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (asked, all_asked) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let asked = asked.clone();
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(client.read_u8().await.unwrap());
                }
                let head = String::from_utf8(head).unwrap();
                let server = head.split_whitespace().nth(1).unwrap();
                asked.send(head.lines().next().unwrap().to_owned()).unwrap();
                let mut server = TcpStream::connect(server).await.unwrap();
                client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                // how it ends is the client's and the server's business
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    (address, all_asked)
}

#[tokio::test]
async fn a_proxy_is_gone_through_where_kubectl_goes_through_it() {
    scenario(async |ns| {
        ns.apply(task("fix")).await;
        let (address, mut asked) = proxy().await;
        let folder = tempfile::tempdir().unwrap();
        let through = user(ns).through(&address, folder.path());
        let said = through.prints(&["get"]).await;
        assert!(said.contains("\nfix "), "{said}");
        let asked = asked.try_recv().unwrap();
        assert!(asked.starts_with("CONNECT 127.0.0.1:"), "{asked}");
        // the environment's is not for an API server on this machine, as this one is; nobody listens there
        let said = user(ns).with_variable("HTTPS_PROXY", "http://127.0.0.1:1").prints(&["get"]).await;
        assert!(said.contains("\nfix "), "{said}");
    })
    .await;
}

#[tokio::test]
async fn rights_that_are_missing_are_named() {
    scenario(async |ns| {
        let folder = tempfile::tempdir().unwrap();
        let jane = user(ns).of_user("jane", folder.path());
        let lacks = |said: &Said, code: i32, right: &str| {
            assert_eq!((said.code, said.stdout.as_str()), (code, ""), "{said:?}");
            let words = format!(
                "User \"jane\" cannot {right} in API group \"kubeopencode.io\" in the namespace \"{}\"",
                ns.name
            );
            assert!(
                said.stderr.contains("you lack a right") && said.stderr.contains(&words),
                "{}",
                said.stderr
            );
        };
        lacks(&jane.call(&["get"]).await, 1, "list resource \"tasks\"");
        lacks(&jane.call(&["logs", "fix"]).await, 1, "get resource \"tasks\"");
        lacks(&jane.call(&["top"]).await, 1, "list resource \"agents\"");
        lacks(&jane.call(&["run", "-p", "d"]).await, 2, "create resource \"tasks\"");
        let said = jane.call(&["doctor"]).await;
        assert!(said.stdout.contains("?  Agents"), "{said:?}");
        assert!(said.stdout.contains("ok definitions of kubeopencode.io are installed"), "{said:?}");
        assert_eq!(said.code, 0, "what one does not see is no fault: {said:?}");
    })
    .await;
}

#[tokio::test]
async fn who_may_make_a_task_and_not_watch_it_does_not_know_its_end() {
    scenario(async |ns| {
        let (api, metadata) = ("rbac.authorization.k8s.io/v1", json!({"name": "task-creator"}));
        let rules = json!([{"apiGroups": ["kubeopencode.io"], "resources": ["tasks"], "verbs": ["create"]}]);
        ns.apply(json!({"apiVersion": api, "kind": "Role", "metadata": metadata, "rules": rules})).await;
        ns.apply(json!({
            "apiVersion": api, "kind": "RoleBinding", "metadata": metadata,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "task-creator"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "jane"}],
        }))
        .await;
        let folder = tempfile::tempdir().unwrap();
        let jane = user(ns).of_user("jane", folder.path());
        let may = async {
            loop {
                let said = jane.call(&["run", "-p", "d", "--wait"]).await;
                if said.code != 2 {
                    break said;
                }
            }
        };
        let said = tokio::time::timeout(PATIENCE, may).await.expect("the API server knows the Role");
        assert_eq!((said.code, named(&said.stdout).starts_with("run-")), (3, true), "{said:?}");
        assert!(said.stderr.contains("you lack a right"), "{said:?}");
        assert!(said.stderr.ends_with("; the Task goes on, and how it ends is not known here\n"), "{said:?}");
    })
    .await;
}

#[tokio::test]
async fn a_task_that_is_not_there_is_named_with_where_to_look() {
    scenario(async |ns| {
        for args in [
            &["logs", "fix"][..],
            &["describe", "fix"],
            &["result", "fix"],
            &["stop", "fix"],
            &["get", "fix"],
            &["rerun", "fix"],
        ] {
            let said = user(ns).call(args).await;
            let words =
                "error: Task NS/fix not found: kubectl kubeopencode get -n NS lists those that there are\n";
            assert_eq!(said.stderr, words.replace("NS", &ns.name), "{args:?}");
            assert_eq!(said.code, if args == ["rerun", "fix"] { 2 } else { 1 }, "{args:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn get_shows_those_that_are_there_of_those_that_are_named() {
    scenario(async |ns| {
        ns.apply(task("fix")).await;
        let said = user(ns).call(&["get", "no-such", "task/fix", "-o", "name"]).await;
        assert_eq!((said.code, said.stdout.as_str()), (1, "task.kubeopencode.io/fix\n"), "{said:?}");
        let words = format!("error: Task {}/no-such not found: ", ns.name);
        assert!(said.stderr.starts_with(&words), "{said:?}");
    })
    .await;
}

#[tokio::test]
async fn a_task_that_goes_while_it_is_watched_is_told() {
    scenario(async |ns| {
        ns.apply(task("fix")).await;
        let mut watch = user(ns).start(&["get", "-w"]);
        let mut rows = BufReader::new(watch.stdout.take().unwrap()).lines();
        for begin in ["NAME   PHASE ", "fix    Pending "] {
            let row = rows.next_line().await.unwrap().unwrap();
            assert!(row.starts_with(begin), "{row}");
        }
        ns.delete_task("fix").await;
        let row = rows.next_line().await.unwrap().expect("the watch goes on");
        assert!(row.starts_with("fix    Gone "), "{row}");
    })
    .await;
}

#[tokio::test]
async fn a_task_in_line_is_shown_with_its_place_and_the_reason() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        let _operator = ns.operator();
        ns.apply(task("first").agent("one-at-a-time").does("run-on")).await;
        ns.agent_runs("first-pod").await;
        ns.apply(task("second").agent("one-at-a-time")).await;
        ns.phase("second", Phase::Queued).await;
        let mut watch = user(ns).start(&["get", "-w", "second"]);
        let mut rows = BufReader::new(watch.stdout.take().unwrap()).lines();
        let head = rows.next_line().await.unwrap().unwrap();
        assert!(head.starts_with("NAME     PHASE    REASON            PLACE   COST "), "{head}");
        let row = rows.next_line().await.unwrap().unwrap();
        assert!(row.starts_with("second   Queued   AgentAtCapacity   1       <none>"), "{row}");
        let said = user(ns).call(&["logs", "second"]).await;
        assert_eq!(said.code, 1);
        assert!(
            said.stderr
                .contains("has no Pod, and no log: Queued, place 1 (AgentAtCapacity): Waiting for agent"),
            "{said:?}"
        );
        let page = user(ns).prints(&["describe", "second"]).await;
        assert!(page.contains("Phase:     Queued, place 1 in line\nReason:    AgentAtCapacity\n"), "{page}");
        let top = user(ns).prints(&["top"]).await;
        let row = top.lines().find(|line| line.starts_with("one-at-a-time")).unwrap();
        let cells: Vec<_> = row.split_whitespace().collect();
        assert_eq!(cells[1..6], ["1", "1", "1", "<none>", "$0.0000"], "{top}");
        user(ns).prints(&["stop", "first"]).await;
        let ended = async {
            loop {
                let row = rows.next_line().await.unwrap().expect("the watch goes on");
                if row.starts_with("second") && row.contains("Completed") {
                    break row;
                }
            }
        };
        let row = tokio::time::timeout(PATIENCE, ended).await.expect("the watch shows the end");
        assert!(row.contains("$0.0123"), "{row}");
    })
    .await;
}

#[tokio::test]
async fn doctor_finds_what_an_agent_names_and_is_not_there() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        ns.apply(agent("keyless").spec("credentials: [{name: key, secretRef: {name: model}}]")).await;
        let _operator = ns.operator();
        ns.until("the Agents were seen", |history| {
            history.all(Kind::Agent).all(|agent| !agent.list("/status/conditions").is_empty()).then_some(())
        })
        .await;
        let said = user(ns).call(&["doctor"]).await;
        let missing = format!(
            "x  Secret model is not in namespace {} (Agent keyless, spec.credentials[0]): make it, or name another",
            ns.name
        );
        assert!(said.stdout.contains(&missing), "{said:?}");
        assert!(said.stdout.contains("ok ServiceAccount kubeopencode-agent is there"), "{said:?}");
        assert!(said.stdout.contains("x  no operator in namespace kubeopencode-system"), "none is installed: {said:?}");
        assert_eq!((said.code, said.stderr.contains("things are wrong")), (1, true), "{said:?}");
    })
    .await;
}
