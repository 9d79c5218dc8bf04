//! The plugins of `examples/plugins`, installed and used as their documents say.
//!
//! They go under their own names, beside whatever an earlier run, or `make demo`, left of them.

use std::fs;
use std::path::Path;
use std::process::Command;

use kube::api::{Patch, PatchParams};
use kubeopencode_api::agent::Agent;
use kubeopencode_api::plugin::Kind;
use kubeopencode_api::plugin_object::Plugin;
use kubeopencode_api::task::{Phase, Task};
use kubeopencode_tests::cluster::FIELD_MANAGER;
use kubeopencode_tests::components::sha256;
use kubeopencode_tests::examples::{component, file};
use kubeopencode_tests::namespace::TestNamespace;
use kubeopencode_tests::objects::{self, Builder, documents, secret, status, words};
use kubeopencode_tests::pages::repository;
use kubeopencode_tests::program::under_test;
use serde_json::{Value, json};

use crate::built::built;
use crate::contexts::sources;
use crate::plugins::{apply_map, install, plugins, remove, serves};
use crate::support::{agent, log, on_the_whole_cluster, received_with, shell_agent};

/// They print what the programs print.
const CLAUDE: &str = include_str!("../../fixtures/claude.sh");
const CODEX: &str = include_str!("../../fixtures/codex.sh");
/// Its `aws` asks [`sources`].
const AWS: &str = "quay.io/kubeopencode/kubeopencode-aws-stand-in:latest";

/// Builds an example in Rust.
async fn compiled(name: &'static str) -> Vec<u8> {
    // cargo, for a minute
    tokio::task::spawn_blocking(move || component(name)).await.unwrap()
}

/// Builds an example in another language, by its README: the component, which is this file of its folder, and the ConfigMap that
/// `plugin pack` prints.
async fn packed(name: &'static str, component: &'static str) -> (Vec<u8>, Value) {
    // npm or go, for seconds
    let build = move || {
        let program = under_test("dev", ["--test", "e2e"]);
        let folder = built(&program, &repository(), name, Path::new(env!("CARGO_TARGET_TMPDIR")));
        let pack = Command::new(&program).args(["plugin", "pack"]).current_dir(&folder).output().unwrap();
        assert!(pack.status.success(), "{name}: {}", String::from_utf8_lossy(&pack.stderr));
        let mut maps = documents(str::from_utf8(&pack.stdout).unwrap());
        assert_eq!(maps.len(), 1, "{name}: its README speaks of one ConfigMap");
        (fs::read(folder.join(component)).unwrap(), maps.remove(0))
    };
    tokio::task::spawn_blocking(build).await.unwrap()
}

/// Builds an example and puts it into a labelled ConfigMap, without a Plugin that somebody wrote.
async fn installed(ns: &TestNamespace, name: &'static str, kind: Kind) -> Vec<u8> {
    let component = compiled(name).await;
    remove(ns, name).await;
    install(ns, name, kind, &component).await;
    component
}

/// Writes the Plugin.
async fn write_plugin(ns: &TestNamespace, plugin: &Builder<Plugin>, name: &str) {
    let params = PatchParams::apply(FIELD_MANAGER).force();
    plugins(ns).patch(name, &params, &Patch::Apply(&plugin.json())).await.unwrap();
}

/// Writes the Plugin, and waits until it serves.
pub(crate) async fn apply_plugin(ns: &TestNamespace, plugin: Builder<Plugin>, name: &str, component: &[u8]) {
    write_plugin(ns, &plugin, name).await;
    serves(ns, name, component).await;
}

#[tokio::test]
async fn snippets_of_a_library_reach_the_model_with_what_the_task_says_of_itself() {
    on_the_whole_cluster(async |ns| {
        installed(ns, "prompt-library", Kind::ContextType).await;
        ns.apply(agent("m")).await;
        ns.apply(file("prompt-library/prompts.yaml").as_str()).await;
        ns.apply(file("prompt-library/task.yaml").as_str()).await;
        ns.phase("refund", Phase::Completed).await;
        let asked = received_with(&ns.client, &format!("by Task {}/refund.", ns.name)).await;
        for words in ["You work on the ledger for team payments.", "that names ticket PAY-7."] {
            assert!(asked.contains(words), "{words}: {asked}");
        }
        remove(ns, "prompt-library").await;
    })
    .await;
}

#[tokio::test]
async fn a_pull_request_is_two_files_once_its_plugin_may_download() {
    on_the_whole_cluster(async |ns| {
        let name = "pull-request";
        let component = installed(ns, name, Kind::ContextType).await;
        ns.apply(secret("github", &[("token", "t0ken")])).await;
        let script = "cat .kubeopencode/context.md pull-request-7/pull.diff pull-request-7/pull.json";
        ns.apply(shell_agent(script, "")).await;
        // answers nobody without the token
        let api = format!("{}/token", sources());
        let review = Builder::<Task>::among(&file("pull-request/task.yaml"), "Task", "review")
            .set("/spec/contexts/0/config/apiUrl", api);

        ns.apply(review.clone().change("/metadata/name", "refused")).await;
        let refused = ns.phase("refused", Phase::Failed).await;
        assert_eq!(status(&refused).reason.as_deref(), Some("PluginError"), "{:#?}", refused.status);
        let message = status(&refused).message.as_deref().unwrap();
        assert!(
            message.contains(
                "needs the capability \"url\": add it to spec.grants.capabilities of Plugin \"pull-request\""
            ),
            "{message}"
        );

        let plugin = Builder::among(&file("pull-request/plugin.yaml"), "Plugin", name)
            .change("/spec/sha256", sha256(&component));
        apply_plugin(ns, plugin, name, &component).await;
        ns.apply(review).await;
        let done = ns.phase("review", Phase::Completed).await;
        let said = log(ns, &done).await;
        for words in [
            "- pull-request-7/pull.diff: what it changes",
            "+def price(items): return round(sum(items), 2)",
            "\"title\": \"Prices have two digits\"",
        ] {
            assert!(said.contains(words), "{words}: {said}");
        }
        remove(ns, name).await;
    })
    .await;
}

#[tokio::test]
async fn rules_of_the_installer_are_those_for_the_labels_of_the_task() {
    on_the_whole_cluster(async |ns| {
        let name = "team-rules";
        let component = compiled(name).await;
        remove(ns, name).await;
        let plugin = Builder::among(&file("team-rules/plugin.yaml"), "Plugin", name);
        write_plugin(ns, &plugin, name).await;
        install(ns, name, Kind::ContextType, &component).await;

        ns.apply(shell_agent("cat .kubeopencode/context.md", "")).await;
        let refund = Builder::<Task>::among(&file("team-rules/task.yaml"), "Task", "refund");
        let search = refund
            .clone()
            .change("/metadata/name", "search")
            .change("/metadata/labels", json!({"example.com/team": "search"}));
        let refused = refund
            .clone()
            .change("/metadata/name", "refused")
            .change("/spec/contexts/0/config/without", json!(["docs"]));
        for task in [refund, search, refused] {
            ns.apply(task).await;
        }
        let tests = "## tests\n\nEvery change has a test that fails without it.";
        let money = "\n\n## money\n\nAmounts are integers of the smallest unit, never floating point.";
        for (task, rules) in [("refund", format!("{tests}{money}")), ("search", tests.to_owned())] {
            let done = ns.phase(task, Phase::Completed).await;
            let expected = format!(
                "<context name=\"rules\" namespace=\"{}\" type=\"TeamRules\">\n{rules}\n</context>",
                ns.name
            );
            assert_eq!(log(ns, &done).await.trim_end(), expected, "{task}");
        }
        let refused = ns.phase("refused", Phase::Failed).await;
        assert_eq!(status(&refused).reason.as_deref(), Some("ContextError"), "{:#?}", refused.status);
        let message = status(&refused).message.as_deref().unwrap();
        let problem = "without.0: there is no rule \"docs\": the rules are tests, changelog, money";
        assert!(message.contains(problem), "{message}");
        remove(ns, name).await;
    })
    .await;
}

#[tokio::test]
async fn the_agent_reads_a_line_for_each_operation_of_an_api() {
    on_the_whole_cluster(async |ns| {
        let name = "openapi-digest";
        let (component, map) = packed(name, "build/openapi-digest.wasm").await;
        remove(ns, name).await;
        apply_map(ns, &map).await;
        serves(ns, name, &component).await;

        ns.apply(shell_agent("cat .kubeopencode/context.md", "")).await;
        ns.apply(file("openapi-digest/task.yaml").as_str()).await;
        let done = ns.phase("order", Phase::Completed).await;
        let expected = format!(
            "<context name=\"api\" namespace=\"{}\" type=\"OpenApiDigest\">\n\
             Shop 1.4.0\n\n\
             - GET /orders(since?): All orders\n\
             - POST /orders(body): Places an order\n\
             - DELETE /orders/{{id}}(id): cancelOrder [deprecated]\n\
             </context>",
            ns.name
        );
        assert_eq!(log(ns, &done).await.trim_end(), expected);
        remove(ns, name).await;
    })
    .await;
}

#[tokio::test]
async fn an_object_of_a_bucket_reaches_the_agent_and_the_key_to_it_does_not() {
    on_the_whole_cluster(async |ns| {
        let name = "s3-object";
        let (component, map) = packed(name, "s3-object.wasm").await;
        remove(ns, name).await;
        let plugin = Builder::among(&file("s3-object/plugin.yaml"), "Plugin", name)
            .change("/spec/sha256", sha256(&component))
            .change("/spec/config/image", AWS)
            .set("/spec/config/endpoint", sources())
            .change("/spec/grants/images", json!([AWS]));
        write_plugin(ns, &plugin, name).await;
        apply_map(ns, &map).await;
        serves(ns, name, &component).await;

        ns.apply(shell_agent("cat .kubeopencode/context.md; echo; env", "")).await;
        // the server gives what is private to nobody without this key
        ns.apply(secret("s3", &[("accessKeyId", "ada"), ("secretAccessKey", "s3cret")])).await;
        ns.apply(secret("wrong", &[("accessKeyId", "ada"), ("secretAccessKey", "wrong")])).await;
        let restore = Builder::<Task>::among(&file("s3-object/task.yaml"), "Task", "restore")
            .change("/spec/contexts/0/config/bucket", "private")
            .change("/spec/contexts/0/config/key", "checklist.md");
        let refused = restore
            .clone()
            .change("/metadata/name", "refused")
            .change("/spec/contexts/0/config/secretRef/name", "wrong");
        ns.apply(restore).await;
        ns.apply(refused).await;

        let done = ns.phase("restore", Phase::Completed).await;
        let said = log(ns, &done).await;
        let brought = format!(
            "<context name=\"s3-object\" namespace=\"{}\" type=\"S3Object\">\n\
             Before you hand in: does it build, does it read well, does it say why?\n",
            ns.name
        );
        assert!(said.starts_with(&brought), "{said}");
        assert!(said.contains("\nTASK_NAME=restore\n"), "its variables are shown: {said}");
        for of_the_key in ["AWS_", "s3cret"] {
            assert!(!said.contains(of_the_key), "{of_the_key}: {said}");
        }
        let refused = ns.phase("refused", Phase::Failed).await;
        assert_eq!(status(&refused).reason.as_deref(), Some("InitContainerFailed"), "{:#?}", refused.status);
        let message = words(&refused, "Succeeded").2;
        assert!(message.contains("401 Unauthorized"), "{message}");
        remove(ns, name).await;
    })
    .await;
}

/// Installs a builder and the Agent that stands beside it, which finds `stand_in` as its program in the workspace.
async fn installed_with(ns: &TestNamespace, name: &'static str, agent: &str, stand_in: &str) {
    let component = installed(ns, name, Kind::CommandBuilder).await;
    let plugin = Builder::among(&file(&format!("{name}/plugin.yaml")), "Plugin", name)
        .change("/spec/config/program", "/workspace/bin/stand-in");
    apply_plugin(ns, plugin, name, &component).await;
    let objects = file(&format!("{name}/agent.yaml"));
    let agent = Builder::<Agent>::among(&objects, "Agent", agent).without("/spec/executorImage").set(
        "/spec/contexts",
        json!([
            {"type": "Text", "mountPath": "bin/stand-in", "fileMode": 0o755, "text": stand_in},
            {"type": "Text", "text": "Words of the Agent."},
        ]),
    );
    let others = documents(&objects).into_iter().filter(|object| object["kind"] != "Agent");
    ns.apply(others.chain([agent.json()]).collect::<Vec<_>>()).await;
}

/// The summary of a Task that is done, which has all of these words.
fn summary(task: &Task, expected: &[&str]) -> String {
    let summary = status(task).result.as_ref().and_then(|result| result.summary.clone()).unwrap();
    for words in expected {
        assert!(summary.contains(words), "{words}: {summary}");
    }
    summary
}

#[tokio::test]
async fn claude_code_works_on_tasks_and_what_it_says_of_them_is_read() {
    on_the_whole_cluster(async |ns| {
        let name = "claude-code";
        installed_with(ns, name, "claude", CLAUDE).await;
        ns.apply(secret("anthropic", &[("api-key", "k3y")])).await;

        let task = |name: &str, does: &str| objects::task(name).agent("claude").description(does);
        ns.apply(task("hello", "Say hello.")).await;
        let done = ns.phase("hello", Phase::Completed).await;
        let expected = [
            "asked: Say hello.;",
            "--permission-mode bypassPermissions",
            "--output-format stream-json --verbose;",
            "model:sonnet",
            "deny:[WebFetch]",
            "url:https://mcp.example.com",
            "Words of the Agent.",
            "key: there",
        ];
        summary(&done, &expected);
        let usage = status(&done).usage.as_ref().unwrap();
        let tokens = (usage.input_tokens, usage.output_tokens, usage.cache_read_tokens);
        assert_eq!(tokens, (Some(1205), Some(21), Some(800)));
        assert_eq!(usage.cost_usd.as_deref(), Some("0.0125"));
        let said = log(ns, &done).await;
        assert!(said.starts_with("I will look.\nBash\nasked: Say hello.;"), "{said}");

        ns.apply(task("fails", "Please fail.")).await;
        let failed = ns.phase("fails", Phase::Failed).await;
        let (_, reason, message) = words(&failed, "Succeeded");
        assert_eq!(reason, "AgentReportedError", "{:#?}", failed.status);
        assert!(message.contains("API Error: 401 invalid x-api-key"), "{message}");
        assert_eq!(status(&failed).usage.as_ref().unwrap().cost_usd.as_deref(), Some("0.0125"));
        remove(ns, name).await;
    })
    .await;
}

#[tokio::test]
async fn codex_works_on_tasks_and_what_it_says_of_them_is_read() {
    on_the_whole_cluster(async |ns| {
        let name = "codex";
        installed_with(ns, name, "codex", CODEX).await;
        ns.apply(secret("openai", &[("api-key", "k3y")])).await;

        let task = |name: &str, does: &str| objects::task(name).agent("codex").description(does);
        ns.apply(task("hello", "Say hello.")).await;
        let done = ns.phase("hello", Phase::Completed).await;
        let expected = [
            "asked: Say hello.;",
            "--dangerously-bypass-approvals-and-sandbox - --json;",
            "url = https://mcp.example.com",
            "model = gpt-5.6",
            "/workspace = {trust_level = untrusted}",
            "Words of the Agent.",
            "key: there",
        ];
        let summary = summary(&done, &expected);
        let usage = status(&done).usage.as_ref().unwrap();
        let tokens =
            (usage.input_tokens, usage.output_tokens, usage.reasoning_tokens, usage.cache_read_tokens);
        assert_eq!(tokens, (Some(2005), Some(61), Some(20), Some(1600)));
        let said = log(ns, &done).await;
        assert!(said.contains("I will look.\n/bin/sh -lc ls\n") && said.contains(&summary), "{said}");

        ns.apply(task("fails", "Please fail.")).await;
        let failed = ns.phase("fails", Phase::Failed).await;
        let (_, reason, message) = words(&failed, "Succeeded");
        assert_eq!(reason, "AgentReportedError", "{:#?}", failed.status);
        assert!(message.contains("401 Unauthorized: Incorrect API key provided"), "{message}");
        remove(ns, name).await;
    })
    .await;
}
