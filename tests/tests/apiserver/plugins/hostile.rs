//! The hostile guest of the plugin host's own tests, in a ConfigMap: each harm that it does is one Task's, whose message
//! names it, and Tasks beside it go on.

#[path = "../../../../host/plugin-host/build/guests.rs"]
mod guests;

use std::path::Path;

use kubeopencode_api::task::Phase;
use kubeopencode_tests::components::{of_wasi_0_3, sha256, speechless};
use kubeopencode_tests::namespace::TEAM;
use kubeopencode_tests::objects::{status, task};
use serde_json::{Value, json};

use super::{apply_plugin, clear, condition, in_config_map, named, serves};
use crate::scenario;

/// Tasks of a built-in type beside each harm.
const BESIDE: usize = 8;

fn hostile() -> Vec<u8> {
    let plugins = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins");
    let built = guests::build(&plugins, &Path::new(env!("CARGO_TARGET_TMPDIR")).join("guests"), &["hostile"]);
    std::fs::read(built.unwrap().join("hostile.wasm")).unwrap()
}

#[tokio::test]
async fn each_harm_is_told_to_its_task_and_no_other_notices() {
    scenario(async |ns| {
        ns.apply(TEAM).await;
        let _operator = ns.operator();
        let component = hostile();
        ns.apply(in_config_map(ns, "hostile", "hostile.wasm", &component)).await;
        let (source, sha256) = (named(ns, "hostile"), sha256(&component));
        let grants = "grants: {capabilities: [env], env: ['*']}";
        apply_plugin(
            ns,
            "hostile",
            &format!("source: {{configMap: {{name: {source}}}}}, sha256: {sha256}, {grants}"),
        )
        .await;
        serves(ns, "hostile", &component).await;
        let deed = async |name: &str, deed: Value| {
            let contexts = json!([{"type": "Hostile", "config": deed}]);
            ns.apply(task(name).spec(&format!("contexts: {contexts}"))).await;
        };
        for (i, (harm, says)) in [
            (json!("loop"), "it used up its 200000000 units of fuel"),
            (json!("recurse"), "its call stack grew beyond 524288 bytes"),
            (json!("grow"), "it wanted more than 33554432 bytes of memory"),
            (json!("flood"), "it logged more than 4096 lines"),
            (json!({"huge": 2 << 20}), "it has more than 1114112 bytes"),
            (
                json!("panic"),
                "the plugin crashed: it aborted; its last words: panicked at hostile/src/lib.rs",
            ),
            (json!({"exit": 3}), "the plugin crashed: it ended itself with a failure"),
            (json!({"connect": "127.0.0.1:80"}), "a plugin has no network"),
            (json!("need-for-ever"), "asks for more after 4 rounds"),
            (json!({"write": "/etc/passwd"}), "path \"/etc/passwd\" lies neither in the workspace"),
            (json!({"set-env": "LD_PRELOAD"}), "LD_PRELOAD is reserved"),
            (json!({"run": "evil.example/miner:latest"}), "add it to spec.grants.capabilities of Plugin"),
            (json!({"mount-secret": "production"}), "add it to spec.grants.capabilities of Plugin"),
        ]
        .into_iter()
        .enumerate()
        {
            let harmful = format!("harm-{i}");
            let beside: Vec<_> = (0..BESIDE).map(|j| format!("beside-{i}-{j}")).collect();
            deed(&harmful, harm.clone()).await;
            for name in &beside {
                ns.apply(task(name).spec("contexts: [{type: Text, text: hello}]")).await;
            }
            let failed = ns.phase(&harmful, Phase::Failed).await;
            let message = status(&failed).message.clone().unwrap();
            // a loop has two limits, and on a busy machine the clock's comes first
            let is_late = harm == "loop" && message.contains("it ran for more than 2 s");
            assert!(message.contains(says) || is_late, "{harm}: {message}");
            for name in &beside {
                ns.phase(name, Phase::Completed).await;
            }
            // or the third crash in a row would be a pause
            deed(&format!("well-{i}"), json!("behave")).await;
            ns.phase(&format!("well-{i}"), Phase::Completed).await;
        }
        condition(ns, "hostile", "Healthy", "True Healthy").await;
        clear(ns).await;
    })
    .await;
}

#[tokio::test]
async fn what_is_no_plugin_of_this_version_says_so() {
    scenario(async |ns| {
        let _operator = ns.operator();
        for (name, bytes, is, says) in [
            ("module", wat::parse_str("(module)").unwrap(), "False Invalid", "not a component"),
            ("script", b"#!/bin/sh".to_vec(), "False Invalid", "this is not a WebAssembly component"),
            ("empty", wat::parse_str("(component)").unwrap(), "False WrongWorld", "it exports nothing"),
            (
                "wasi",
                of_wasi_0_3(),
                "False Invalid",
                "wasi:cli/environment@0.3.0: a plugin has WASI 0.2; build it for that",
            ),
            ("speechless", speechless(), "False BadDescriptor", "it used up its 200000000 units of fuel"),
        ] {
            ns.apply(in_config_map(ns, name, "plugin.wasm", &bytes)).await;
            let why = condition(ns, name, "Compiled", is).await;
            let is_late = name == "speechless" && why.contains("it ran for more than 2 s");
            assert!(why.contains(says) || is_late, "{name}: {why}");
        }
        clear(ns).await;
    })
    .await;
}
