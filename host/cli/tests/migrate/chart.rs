//! A Batch as a chart: what Helm makes of it are the Tasks that are printed without it.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::{call, objects, old, repository, text};

/// What `helm template` prints.
fn template(release: &str, chart: &Path) -> Vec<Value> {
    let script = repository().join("deploy/local/tools.sh");
    let tools = Command::new(script).arg("clients").stderr(Stdio::inherit()).output().unwrap();
    assert!(tools.status.success(), "helm could not be had: see above");
    let helm = Path::new(str::from_utf8(&tools.stdout).unwrap().trim()).join("helm");
    let output = Command::new(helm).args(["template", release]).arg(chart).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    objects(str::from_utf8(&output.stdout).unwrap())
}

#[test]
fn helm_makes_the_tasks_that_are_printed_without_it() {
    let secret = |path: &str| {
        format!(
            "{{type: File, file: {{name: f, source: {{secretKeyRef: {{name: s, key: k}}}}, mountPath: \"{path}\"}}}}"
        )
    };
    let common = [text("</a> & <b> {{ .x }}\r\n\n"), secret("/etc/a"), secret("/etc/b")].join(", ");
    let jira = "{type: Jira, mountPath: issue, fileMode: 0400, config: {issue: \"0400\", on: 'yes', limit: 12345678}}";
    let variants = [
        format!("[{}, {}]", text("One 🦀\u{2028}.\n\n"), text("Two.")),
        format!("[{}]", secret("/etc//b")),
        format!("[{jira}]"),
        "[]".to_owned(),
    ];
    let with = |name: &str, common: &str| {
        let spec = format!(
            "{{commonContext: [{common}], variableContexts: [{}], workspaceConfigRef: \"1e3\"}}",
            variants.join(", ")
        );
        let name =
            format!("{name}, namespace: team, labels: {{cost: \"7\"}}, annotations: {{owner: \"a: b\"}}");
        old("Batch", &name, &spec)
    };
    for (name, common) in [("all", common.as_str()), ("only-their-own", "")] {
        let folder = tempfile::tempdir().unwrap();
        let chart = folder.path().join("new/chart");
        let yaml = with(name, common);
        let printed = call("migrate", &["-f", "-"], &yaml);
        let said = call("migrate", &["-f", "-", "--helm", chart.to_str().unwrap()], &yaml);
        assert_eq!((said.code, said.stdout.as_str()), (0, ""), "{}", said.stderr);
        assert_eq!(said.stderr, printed.stderr);
        let expected = objects(&printed.stdout);
        assert_eq!(expected.len(), 4);
        assert_eq!(template(name, &chart), expected);
        let other = &template("june", &chart)[0]["metadata"];
        assert_eq!((&other["name"], &other["labels"]["batch"]), (&"june-task-0".into(), &"june".into()));
        assert!(
            fs::read_to_string(chart.join("Chart.yaml")).unwrap().contains(&format!("helm template {name} "))
        );
    }
}

#[test]
fn what_all_tasks_of_an_image_begin_with_is_a_value_of_the_chart() {
    let folder = tempfile::tempdir().unwrap();
    let yaml = old(
        "WorkspaceConfig",
        "default",
        &format!("{{agentImage: i, defaultContexts: [{}]}}", text("a\n\n")),
    ) + &old("Batch", "b", &format!("{{variableContexts: [[{}], []]}}", text("b")));
    let printed = objects(&call("migrate", &["-f", "-"], &yaml).stdout);
    let said = call("migrate", &["-f", "-", "--helm", folder.path().to_str().unwrap()], &yaml);
    let tasks = template("b", folder.path());
    assert_eq!([objects(&said.stdout), tasks.clone()].concat(), printed);
    let descriptions: Vec<_> = tasks.iter().map(|task| &task["spec"]["description"]).collect();
    assert_eq!(descriptions, ["a\n\n---\n\nb", "a\n\n"]);
}

#[test]
fn a_chart_is_one_batch_in_a_folder_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let batch = |name: &str| old("Batch", name, &format!("{{variableContexts: [[{}]]}}", text("a")));
    let task = old("Task", "fix", &format!("{{contexts: [{}]}}", text("a")));
    let helm = |yaml: &str| call("migrate", &["-f", "-", "--helm", path], yaml);
    for (yaml, words) in [
        (task.clone(), "--helm: the files hold no Batch: leave --helm out"),
        (
            batch("a") + &batch("b"),
            "--helm: a chart is one Batch: call it for each of stdin: Batch default/a, stdin: Batch default/b",
        ),
    ] {
        let said = helm(&yaml);
        assert_eq!((said.code, said.stdout.as_str()), (2, ""));
        assert!(said.stderr.contains(words), "{}", said.stderr);
    }
    let said = helm(&(task.clone() + &old("Batch", "b", "{variableContexts: [[{type: File}]]}")));
    assert_eq!((said.code, said.stdout.as_str()), (1, ""));
    assert_eq!(fs::read_dir(path).unwrap().count(), 0, "nothing is written while something is refused");

    // what is no Batch is printed
    let said = helm(&(task.clone() + &batch("b")));
    assert_eq!(objects(&said.stdout).len(), 1, "{}", said.stderr);
    assert_eq!(template("b", folder.path())[0]["metadata"]["name"], "b-task-0");
    let said = helm(&batch("b"));
    assert_eq!(said.code, 2);
    assert!(said.stderr.contains("is not empty: name a folder that is, or is not there"), "{}", said.stderr);
}
