//! `plugin pack`: what it prints installs the component.

use std::fs;
use std::io::Read;

use insta::assert_snapshot;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;
use kubeopencode_api::names::hex;
use kubeopencode_api::plugin_object::Plugin;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{Said, asking, component, greeting, plugin};

fn documents(said: &Said) -> Vec<Value> {
    assert_eq!(said.code, 0, "{}", said.stderr);
    serde_norway::Deserializer::from_str(&said.stdout).map(|one| Value::deserialize(one).unwrap()).collect()
}

/// The bytes in a ConfigMap.
fn packed(map: &Value) -> Vec<u8> {
    let map: ConfigMap = serde_json::from_value(map.clone()).unwrap();
    let (key, bytes) = map.binary_data.clone().unwrap().pop_first().unwrap();
    assert!(key.ends_with(".wasm.zst"), "{key} of {}", map.name_any());
    bytes.0
}

fn unpacked(bytes: &[u8]) -> Vec<u8> {
    let mut component = Vec::new();
    zstd::Decoder::new(bytes).unwrap().read_to_end(&mut component).unwrap();
    component
}

#[test]
fn a_component_without_grants_is_a_config_map() {
    let path = component("plain.wasm", &greeting(""));
    let said = plugin(&["pack", path.to_str().unwrap()], &[]);
    let [map] = documents(&said).try_into().unwrap();
    let bytes = fs::read(&path).unwrap();
    assert_eq!(unpacked(&packed(&map)), bytes);
    assert_eq!((&map["apiVersion"], &map["kind"]), (&json!("v1"), &json!("ConfigMap")));
    assert_eq!(
        map["metadata"],
        json!({
            "name": "greeting",
            "namespace": "kubeopencode-system",
            "labels": {"kubeopencode.io/plugin": "context-type"},
            "annotations": {"kubeopencode.io/sha256": hex(&Sha256::digest(&bytes))},
        })
    );
    let size = packed(&map).len().div_ceil(1000);
    assert_eq!(
        said.stderr,
        format!(
            "ConfigMap greeting ({size} KB)\napply it with: kubectl apply --server-side -n kubeopencode-system -f FILE\n"
        )
    );
    let again = plugin(&["pack", path.to_str().unwrap()], &[]);
    assert_eq!(again.stdout, said.stdout, "the same component gives the same bytes");
}

#[test]
fn for_programs_all_objects_are_one_list() {
    let path = component("list.wasm", &greeting(&asking("{}", "")));
    let path = path.to_str().unwrap();
    let as_yaml = plugin(&["pack", path, "--grant", "url"], &[]);
    let said = plugin(&["pack", path, "--grant", "url", "-o", "json"], &[]);
    let list: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(list["items"], Value::Array(documents(&as_yaml)), "the same objects, in the same order");
    assert_eq!((said.code, said.stderr), (0, as_yaml.stderr));
    let sha256 = hex(&Sha256::digest(fs::read(path).unwrap()));
    let bytes = list["items"][1]["binaryData"]["greeting.wasm.zst"].as_str().unwrap();
    assert_snapshot!(said.stdout.replace(&sha256, "[sha256]").replace(bytes, "[component]"));

    let path = component("list-bad.wasm", "(component)");
    let said = plugin(&["pack", path.to_str().unwrap(), "-o", "json"], &[]);
    assert_eq!((said.code, said.stdout.as_str()), (1, ""));
    assert!(said.stderr.ends_with("1 problem; nothing is packed\n"), "{}", said.stderr);
}

#[test]
fn grants_are_a_plugin_for_these_bytes() {
    let path = component("granted.wasm", &greeting(&asking("{}", "")));
    let path = path.to_str().unwrap();
    let secret = "secret=jira:acme.atlassian.net,api.atlassian.com";
    let said = plugin(
        &["pack", path, "--name", "jira", "-n", "system", "--grant", secret, "--grant", "host=*.acme.net"],
        &[],
    );
    let [object, map] = documents(&said).try_into().unwrap();
    let sha256 = hex(&Sha256::digest(fs::read(path).unwrap()));
    assert_eq!(
        object,
        json!({
            "apiVersion": "kubeopencode.io/v1alpha1",
            "kind": "Plugin",
            "metadata": {"name": "jira"},
            "spec": {
                "kind": "context-type",
                "source": {"configMap": {"name": "jira"}},
                "sha256": sha256,
                "grants": {
                    "capabilities": ["secret"],
                    "hosts": ["*.acme.net"],
                    "secrets": [{"name": "jira", "hosts": ["acme.atlassian.net", "api.atlassian.com"]}],
                },
            },
        })
    );
    serde_json::from_value::<Plugin>(object).unwrap();
    assert_eq!(map["metadata"]["name"], "jira");
    assert_eq!(map["metadata"]["namespace"], "system");
    let lines: Vec<_> = said.stderr.lines().collect();
    let granted = format!(
        "and Plugin jira (sha256:{}..., secret, host *.acme.net, Secret jira to acme.atlassian.net and api.atlassian.com)",
        &sha256[..8]
    );
    assert!(lines[0].starts_with("ConfigMap jira (") && lines[0].ends_with(&granted), "{}", lines[0]);
    assert_eq!(
        lines[1..],
        [
            "it asks for more than is granted: a Task that needs url fails",
            "apply it with: kubectl apply --server-side -n system -f FILE"
        ]
    );
}

#[test]
fn what_lies_in_a_registry_is_a_plugin_alone() {
    let path = component("in-a-registry.wasm", &greeting(&asking("{}", "")));
    let path = path.to_str().unwrap();
    let image = format!("ghcr.io/acme/greeting@sha256:{}", "0a".repeat(32));
    let said = plugin(&["pack", path, "--class", "large", "--grant", "url", "--image", &image], &[]);
    let [object] = documents(&said).try_into().unwrap();
    let sha256 = hex(&Sha256::digest(fs::read(path).unwrap()));
    assert_eq!(
        object["spec"],
        json!({
            "kind": "context-type",
            "source": {"oci": {"image": image}},
            "sha256": sha256,
            "grants": {"capabilities": ["url"]},
            "limits": {"class": "large"},
        })
    );
    serde_json::from_value::<Plugin>(object).unwrap();
    let first = format!("Plugin greeting (sha256:{}..., url) of {image}\n", &sha256[..8]);
    assert!(said.stderr.starts_with(&first), "{}", said.stderr);
    for (image, words) in [
        (
            "ghcr.io/acme/greeting:1.0.0",
            "write registry/repository@sha256:..., as `kubeopencode plugin push`",
        ),
        (
            "ghcr.io/acme/greeting@sha256:0a",
            "write registry/repository@sha256:..., as `kubeopencode plugin push`",
        ),
    ] {
        let said = plugin(&["pack", path, "--image", image], &[]);
        assert!(said.stderr.contains(words), "{}", said.stderr);
        assert_eq!((said.code, said.stdout.as_str()), (2, ""), "{image}");
    }
}

#[test]
fn a_versioned_config_map_is_named_by_its_plugin() {
    let said = plugin(&["pack", "1.0.0/rust.wasm.zst", "--kind", "command-builder", "--versioned"], &[]);
    let [object, map] = documents(&said).try_into().unwrap();
    let sha256 = object["spec"]["sha256"].as_str().unwrap();
    let source = format!("fixture-{}", &sha256[..16]);
    assert_eq!(object["metadata"]["name"], "fixture");
    assert_eq!(object["spec"]["source"]["configMap"]["name"], source.as_str());
    assert_eq!(object["spec"]["grants"], Value::Null);
    assert_eq!(map["metadata"]["name"], source.as_str());
    assert_eq!(map["metadata"]["labels"]["kubeopencode.io/plugin"], "command-builder");
    assert_eq!(hex(&Sha256::digest(unpacked(&packed(&map)))), sha256);
}

#[test]
fn what_is_too_much_for_one_config_map_lies_in_parts() {
    // a section that nobody reads, of bytes that cannot be made smaller
    let noise: String = (0..30_000_u32).map(|i| hex(&Sha256::digest(i.to_le_bytes()))).collect();
    let noise: String =
        noise.as_bytes().chunks(2).map(|byte| format!("\\{}", str::from_utf8(byte).unwrap())).collect();
    let text = greeting("").replacen("(component", &format!("(component (@custom \"noise\" \"{noise}\")"), 1);
    let path = component("parts.wasm", &text);
    let said = plugin(&["pack", path.to_str().unwrap(), "--class", "large"], &[]);
    let [object, first, second] = documents(&said).try_into().unwrap();
    assert_eq!(object["spec"]["limits"], json!({"class": "large"}));
    assert_eq!(unpacked(&[packed(&first), packed(&second)].concat()), fs::read(&path).unwrap());
    for (map, name, part) in [(first, "greeting", "1/2"), (second, "greeting-part-2", "2/2")] {
        assert_eq!(map["metadata"]["name"], name);
        assert_eq!(map["metadata"]["annotations"]["kubeopencode.io/plugin-name"], "greeting");
        assert_eq!(map["metadata"]["annotations"]["kubeopencode.io/plugin-part"], part);
    }
    assert!(said.stderr.starts_with("2 ConfigMaps greeting (96"), "{}", said.stderr);
}

#[test]
fn what_is_not_good_is_not_packed() {
    let path = component("bad.wasm", "(component)");
    let said = plugin(&["pack", path.to_str().unwrap()], &[]);
    assert_eq!((said.code, said.stdout.as_str()), (1, ""));
    assert!(
        said.stderr.contains("PROBLEM: it exports no plugin")
            && said.stderr.ends_with("1 problem; nothing is packed\n")
    );
    let path = component("call.wasm", &greeting(&asking("{}", "")));
    for (args, words) in [
        (["--grant", "git"], "it does not ask for git, and is granted no more than it asks for: url, secret"),
        (["--grant", "root"], "\"root\" is no grant"),
        (["--name", "Jira_"], "\"Jira_\" is no name of a Plugin"),
    ] {
        let said = plugin(&[&["pack", path.to_str().unwrap()], &args[..]].concat(), &[]);
        assert!(said.stderr.contains(words), "{}", said.stderr);
        assert_eq!((said.code, said.stdout.as_str()), (2, ""), "{args:?}");
    }
}
