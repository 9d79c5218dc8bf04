//! What a document gives to helm by `--set` is a value of the chart.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::{nothing_is_wrong, read};
use kubeopencode_tests::pages::{BUILT, entries, repository};

/// The chart of a command that names none in the repository, as one of a release's does.
const CHART: &str = "deploy/chart";

#[test]
fn what_is_set_is_a_value_of_the_chart() {
    let (mut found, mut set) = (Vec::new(), 0);
    for path in markdown() {
        for command in read(&path).replace("\\\n", " ").lines() {
            for value in set_by(command) {
                set += 1;
                let (chart, path) = (chart_of(command), path.display());
                if !has(&chart, &value) {
                    found.push(format!("{path}: the chart {chart} has no value {value}: {}", command.trim()));
                }
            }
        }
    }
    nothing_is_wrong(&found);
    assert!(set > 5, "the documents set {set} values");
}

#[test]
fn a_value_that_the_chart_has_not_is_found() {
    let set = "$ helm upgrade a deploy/chart --set controller.replica=2,plugins.sources={configMap,oci} --set-string 'a\\.b.c[0].d=1' `--set=x`";
    assert_eq!(set_by(set), ["controller.replica", "plugins.sources", "a\\.b.c[0].d", "x"]);
    assert_eq!(chart_of("helm template may examples/helm-batch --set agentRef=a"), "examples/helm-batch");
    assert_eq!(chart_of("helm install k kubeopencode-0.2.0.tgz --set a=b"), CHART);
    for (value, is_there) in [
        ("controller.replicas", true),
        ("controller.replica", false),
        ("controller.replicas.more", false),
        ("crds", true),
        ("watchNamespaces[0]", true),
        ("global.imagePullSecrets[0].name", true),
        ("controller.nodeSelector.kubernetes\\.io/arch", true),
        ("controller.strategy.rollingUpdate.maxSurge", true),
        ("kubeopencodeConfig.defaults.imagePullPolicy", true),
        ("kubeopencodeConfig.proxy.http", true),
        ("kubeopencodeConfig.proxy.htp", false),
        ("agentNetworkPolicy.egress[0].to[0].ipBlock.cidr", true),
        ("agentNetworkPolicy.egress[0].to[0].ipBlock.cidrs", false),
    ] {
        assert_eq!(has(CHART, value), is_there, "{value}");
    }
    assert!(has("examples/helm-batch", "tasks[0].repo") && !has("examples/helm-batch", "task"));
}

/// All documents of the repository.
fn markdown() -> Vec<PathBuf> {
    let folders = ["docs", "deploy", "skills", "examples", "tests"].map(PathBuf::from);
    let mut found: Vec<_> = entries(".").into_iter().filter(|path| is_markdown(path)).collect();
    folders.iter().for_each(|folder| below(folder, &mut found));
    found
}

fn is_markdown(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "md")
}

/// Those below a folder, but for what builds leave there.
fn below(folder: &Path, found: &mut Vec<PathBuf>) {
    for path in entries(folder.to_str().unwrap()) {
        let name = path.file_name().unwrap();
        if is_markdown(&path) {
            found.push(path);
        } else if BUILT.iter().all(|built| name != *built) && repository().join(&path).is_dir() {
            below(&path, found);
        }
    }
}

/// The folder of the chart that a command is about.
fn chart_of(command: &str) -> String {
    let is_chart = |word: &&str| repository().join(word).join("Chart.yaml").exists();
    command.split_whitespace().find(is_chart).unwrap_or(CHART).to_owned()
}

/// The values that a command names by `--set` and its like, as paths.
fn set_by(command: &str) -> Vec<String> {
    const QUOTES: [char; 3] = ['\'', '"', '`'];
    let mut words = command.split_whitespace().map(|word| word.trim_start_matches(QUOTES));
    let mut found = Vec::new();
    while let Some(word) = words.next() {
        let (flag, same_word) =
            word.split_once('=').map_or((word, None), |(flag, given)| (flag, Some(given)));
        if !["--set", "--set-string", "--set-json", "--set-file"].contains(&flag) {
            continue;
        }
        let Some(given) = same_word.or_else(|| words.next()) else { break };
        let mut depth = 0;
        let assignments = given.trim_matches(QUOTES).split(|c: char| {
            depth += i32::from(c == '{') - i32::from(c == '}');
            c == ',' && depth == 0
        });
        found.extend(assignments.map(|one| one.split('=').next().unwrap_or_default().to_owned()));
    }
    found
}

/// Whether a chart has a value, by its schema, or by its values.yaml where it has none.
fn has(chart: &str, path: &str) -> bool {
    let schema = format!("{chart}/values.schema.json");
    let (schema, values) = if repository().join(&schema).exists() {
        (serde_json::from_str(&read(schema)).unwrap(), Value::Null)
    } else {
        (Value::Null, serde_norway::from_str(&read(format!("{chart}/values.yaml"))).unwrap())
    };
    // a dot that belongs to a name has a backslash before it
    let names = path.replace("\\.", "\0").replace('[', ".[");
    let names: Vec<_> = names.split('.').map(|name| name.replace('\0', ".")).collect();
    if schema.is_null() { is_in(&values, &names) } else { may_have(&schema, &schema, &names) }
}

fn is_in(values: &Value, names: &[String]) -> bool {
    let Some((name, rest)) = names.split_first() else { return true };
    match values {
        Value::Array(items) => name.starts_with('[') && items.iter().any(|item| is_in(item, rest)),
        _ => values.get(name).is_some_and(|value| is_in(value, rest)),
    }
}

/// Whether a schema, or a part of it, knows such a value.
fn may_have(whole: &Value, schema: &Value, names: &[String]) -> bool {
    if let Some(place) = schema["$ref"].as_str() {
        let definition = whole.pointer(place.trim_start_matches('#')).unwrap();
        return may_have(whole, definition, names);
    }
    if let Some(any) = schema["anyOf"].as_array() {
        return any.iter().any(|one| may_have(whole, one, names));
    }
    let Some((name, rest)) = names.split_first() else { return true };
    if name.starts_with('[') {
        return schema.get("items").is_some_and(|items| may_have(whole, items, rest));
    }
    match (&schema["properties"][name], &schema["additionalProperties"]) {
        (Value::Null, Value::Object(_)) => may_have(whole, &schema["additionalProperties"], rest),
        // an object as in Kubernetes, which the chart passes on
        (Value::Null, other) => schema["type"] == "object" && other.is_null(),
        (known, _) => may_have(whole, known, rest),
    }
}
