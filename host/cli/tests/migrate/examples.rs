//! The examples of docs/spec/agent-context.md, as they stand there (tests/fixtures/spec), alone and with the ConfigMaps that
//! they name.

use crate::call;

const CONFIG_MAPS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/migrate/fixtures/config-maps.yaml");

fn migrated(files: &[&str]) -> String {
    let args: Vec<_> = files.iter().flat_map(|file| ["-f", file]).collect();
    let said = call("migrate", &args, "");
    assert_eq!(said.code, 0, "{}", said.stderr);
    format!("{}\n{}", said.stdout, said.stderr)
}

#[test]
fn basic_task_with_aggregated_context() {
    insta::assert_snapshot!(migrated(&["02-aggregated-context.yaml"]));
}

#[test]
fn mixed_contexts() {
    insta::assert_snapshot!(migrated(&["03-mixed-contexts.yaml"]));
}

#[test]
fn batch_with_workspace_config_defaults() {
    insta::assert_snapshot!(migrated(&["04-batch-with-defaults.yaml"]));
}

#[test]
fn all_of_them_with_their_config_maps() {
    let files = ["02-aggregated-context.yaml", "03-mixed-contexts.yaml", "04-batch-with-defaults.yaml"];
    insta::assert_snapshot!(migrated(&[&files[..], &[CONFIG_MAPS]].concat()));
}

#[test]
fn the_part_of_one_is_no_object() {
    let said = call("migrate", &["-f", "01-file-context.yaml"], "");
    assert_eq!((said.code, said.stdout.as_str()), (1, ""));
    assert!(
        said.stderr.contains("01-file-context.yaml: document 1: apiVersion and kind are required"),
        "{}",
        said.stderr
    );
}
