//! A plugin that is too large for ConfigMaps: pushed into the registry beside the node, which has TLS by an authority of its own and a
//! password, and fetched from there by the operator that the chart installed.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use kubeopencode_api::plugin_object::Plugin;
use kubeopencode_api::task::Phase;
use kubeopencode_tests::cluster::from_environment;
use kubeopencode_tests::components::sha256;
use kubeopencode_tests::examples::file;
use kubeopencode_tests::kubectl::Kubectl;
use kubeopencode_tests::objects::Builder;
use kubeopencode_tests::pages::repository;
use kubeopencode_tests::program::under_test;
use serde_json::Value;
use tokio::process::Command;

use crate::built::built;
use crate::example_plugins::apply_plugin;
use crate::plugins::{plugins, remove};
use crate::support::{log, on_the_whole_cluster, shell_agent};

/// What cargo gives to tests, so that what one suite built and compiled is there for the next.
const TEMPORARY: &str = env!("CARGO_TARGET_TMPDIR");

/// `kubeopencode plugin push` of the plugin in a folder, to the registry: what it prints.
async fn pushed(program: &Path, folder: &Path, repository: &str) -> Value {
    let registry = PathBuf::from(from_environment("KUBEOPENCODE_E2E_REGISTRY"));
    let login = registry.join("auth.json");
    let logins: Value = serde_json::from_slice(&std::fs::read(&login).unwrap()).unwrap();
    let address = logins["auths"].as_object().unwrap().keys().next().unwrap();
    let push = Command::new(program)
        .args(["plugin", "push", &format!("{address}/{repository}"), ".", "--output", "json", "--ca"])
        .arg(registry.join("registry.crt"))
        .arg("--registry-config")
        .arg(login)
        .current_dir(folder)
        .env("XDG_CACHE_HOME", TEMPORARY)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let said = Kubectl::end(push).await;
    assert_eq!(said.code, 0, "{}", said.stderr);
    serde_json::from_str(&said.stdout).unwrap()
}

#[tokio::test]
async fn a_table_of_a_csv_reaches_the_agent_by_a_plugin_in_python_out_of_a_private_registry() {
    on_the_whole_cluster(async |ns| {
        let name = "csv-table";
        // componentize-py, for a quarter of a minute
        let build = move || {
            let program = under_test("dev", ["--test", "e2e"]);
            let folder = built(&program, &repository(), name, Path::new(TEMPORARY));
            (program, folder)
        };
        let (program, folder) = tokio::task::spawn_blocking(build).await.unwrap();
        let component = std::fs::read(folder.join("csv-table.wasm")).unwrap();
        let artifact = pushed(&program, &folder, "team/csv-table:0.1.0").await;
        assert_eq!(artifact["sha256"], sha256(&component));

        remove(ns, name).await;
        let plugin = Builder::<Plugin>::among(&file("csv-table/plugin.yaml"), "Plugin", name)
            .change("/spec/source/oci/image", artifact["image"].clone())
            .change("/spec/sha256", artifact["sha256"].clone());
        apply_plugin(ns, plugin, name, &component).await;
        let served = plugins(ns).get(name).await.unwrap().status.unwrap();
        assert_eq!(served.image.as_deref(), artifact["digest"].as_str());

        ns.apply(shell_agent("cat .kubeopencode/context.md", "")).await;
        ns.apply(file("csv-table/task.yaml").as_str()).await;
        let done = ns.phase("reorder", Phase::Completed).await;
        let expected = format!(
            "<context name=\"table\" namespace=\"{}\" type=\"CsvTable\">\n\
             | item | pieces | supplier |\n\
             | --- | --- | --- |\n\
             | hinge | 0 | Weber, Sons & Co. |\n\
             | handle | 3 | Schmidt |\n\
             </context>",
            ns.name
        );
        assert_eq!(log(ns, &done).await.trim_end(), expected);
        remove(ns, name).await;
    })
    .await;
}
