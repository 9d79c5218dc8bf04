//! What the items of a user come to.

use kubeopencode_plugin_sdk::testing::{config_map, evaluate, missing, request};
use kubeopencode_plugin_sdk::{
    Action, Answer, ConfigMapMount, ErrorKind, File, Input, Outcome, Request, TextFile, need, ready,
};
use serde_json::{Value, json};

use super::ConfigMap;

fn item(payload: Value, mount_path: Option<&str>, input: Input) -> Request {
    let mut request = request(payload);
    request.mount_path = mount_path.map(str::to_owned);
    request.file_mode = mount_path.map(|_| 0o600);
    request.inputs.push(input);
    request
}

fn answer(payload: Value, mount_path: Option<&str>, input: Input) -> Answer {
    evaluate::<ConfigMap>(&item(payload, mount_path, input))
}

fn unsatisfied(answer: Answer) -> (String, Option<String>) {
    let error = answer.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unsatisfied);
    (error.message, error.field)
}

fn rules() -> Input {
    config_map("rules", &[("b.md", b"two"), ("a.md", b"one\n</file>"), ("logo", b"\xff\xd8")])
}

#[test]
fn it_asks_for_the_config_map_first() {
    assert_eq!(evaluate::<ConfigMap>(&request(json!({"name": "rules"}))), need(["rules"]));
}

#[test]
fn one_key_is_its_text_wherever_it_goes() {
    for mount_path in [None, Some("docs/a.md")] {
        let answer = answer(json!({"name": "rules", "key": "a.md"}), mount_path, rules());
        assert_eq!(answer, ready([Action::Inline("one\n</file>".into())]));
    }
}

#[test]
fn all_keys_are_named_texts_in_order() {
    let input = config_map("rules", &[("b", b"2"), ("a.md", b""), ("B", b"1")]);
    let file = |name: &str, text: &str| Action::InlineFile(TextFile { name: name.into(), text: text.into() });
    assert_eq!(
        answer(json!({"name": "rules"}), None, input),
        ready([file("B", "1"), file("a.md", ""), file("b", "2")])
    );
}

#[test]
fn all_keys_with_a_mount_path_are_a_directory() {
    assert_eq!(
        answer(json!({"name": "rules"}), Some("/etc/rules"), rules()),
        ready([Action::MountConfigMap(ConfigMapMount {
            name: "rules".into(),
            optional: false,
            path: "/etc/rules".into(),
            mode: Some(0o600)
        })])
    );
}

#[test]
fn what_is_missing_is_named() {
    let payload = json!({"name": "rules", "key": "c.md"});
    assert_eq!(
        unsatisfied(answer(payload.clone(), None, rules())),
        ("key c.md not found in ConfigMap rules".into(), Some("/key".into()))
    );
    for mount_path in [None, Some("rules")] {
        assert_eq!(
            unsatisfied(answer(payload.clone(), mount_path, missing("rules"))),
            ("ConfigMap rules not found".into(), Some("/name".into()))
        );
    }
}

#[test]
fn what_is_missing_and_optional_is_skipped_and_said() {
    for (payload, input, message) in [
        (json!({"name": "rules", "optional": true}), missing("rules"), "ConfigMap rules not found"),
        (
            json!({"name": "rules", "key": "x", "optional": true}),
            rules(),
            "key x not found in ConfigMap rules",
        ),
    ] {
        let Outcome::Ready(plan) = answer(payload, Some("there"), input).unwrap() else { panic!("no plan") };
        assert!(plan.actions.is_empty());
        assert_eq!(plan.diagnostics[0].code, "OptionalSkipped");
        assert_eq!(plan.diagnostics[0].message, message);
    }
}

#[test]
fn bytes_that_are_no_text_are_a_file_or_an_error_that_names_the_key() {
    assert_eq!(
        answer(json!({"name": "rules", "key": "logo"}), Some("logo.jpg"), rules()),
        ready([Action::WriteFile(File {
            path: "logo.jpg".into(),
            content: vec![0xff, 0xd8].into(),
            mode: Some(0o600)
        })])
    );
    for payload in [json!({"name": "rules", "key": "logo"}), json!({"name": "rules"})] {
        let (message, _) = unsatisfied(answer(payload, None, rules()));
        assert!(message.starts_with("key logo of ConfigMap rules is not UTF-8 text"), "{message}");
    }
}
