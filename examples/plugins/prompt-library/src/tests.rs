//! What the items of a user come to.

use kubeopencode_plugin_sdk::testing::{config_map, evaluate, missing, request};
use kubeopencode_plugin_sdk::{
    Action, Answer, ConfigMapRead, ErrorKind, Input, Outcome, Request, Required, Requirement, ready,
};
use serde_json::{Value, json};

use super::PromptLibrary;

fn library() -> Input {
    config_map(
        "prompts",
        &[
            ("review", b"Review {{ service }} for {{ team }} ({{ ticket }}).\n".as_slice()),
            (
                "closing",
                b"Asked in {{namespace}}/{{task}} on {{date}}. Keep {{.Values}} as it is.\n".as_slice(),
            ),
            ("logo", b"\xff\xd8".as_slice()),
        ],
    )
}

fn item(payload: Value) -> Request {
    let mut request = request(payload);
    let task = request.task.as_mut().unwrap();
    task.labels.push(("example.com/team".into(), "payments".into()));
    task.annotations.push(("example.com/ticket".into(), "PAY-7".into()));
    request.inputs.push(library());
    request
}

fn payload(snippets: &[&str], variables: Value) -> Value {
    json!({"configMap": {"name": "prompts"}, "snippets": snippets, "variables": variables})
}

fn variables() -> Value {
    json!({
        "service": {"value": "the ledger"},
        "team": {"label": "example.com/team"},
        "ticket": {"annotation": "example.com/ticket", "default": "no ticket"},
    })
}

fn problem(answer: Answer) -> (ErrorKind, String, String) {
    let error = answer.unwrap_err();
    (error.kind, error.field.unwrap_or_default(), error.message)
}

#[test]
fn it_asks_for_the_snippets_that_it_needs_and_no_other() {
    let read = ConfigMapRead { name: "prompts".into(), keys: vec!["closing".into(), "review".into()] };
    let need = Required { id: "prompts".into(), what: Requirement::ConfigMap(read) };
    assert_eq!(
        evaluate::<PromptLibrary>(&request(payload(&["closing", "review"], json!({})))),
        Ok(Outcome::Needs(vec![need]))
    );
}

#[test]
fn snippets_come_in_their_order_with_what_the_task_says_in_them() {
    let text = "Asked in team/task on 2026-01-02. Keep {{.Values}} as it is.\n\nReview the ledger for payments (PAY-7).";
    assert_eq!(
        evaluate::<PromptLibrary>(&item(payload(&["closing", "review"], variables()))),
        ready([Action::Inline(text.into())])
    );
}

#[test]
fn a_default_stands_in_for_what_the_task_does_not_have() {
    let mut request = item(payload(&["review"], variables()));
    request.task.as_mut().unwrap().annotations.clear();
    let text = "Review the ledger for payments (no ticket).";
    assert_eq!(evaluate::<PromptLibrary>(&request), ready([Action::Inline(text.into())]));
}

#[test]
fn what_is_missing_is_named_with_its_field() {
    let mut bare = item(payload(&["review"], variables()));
    bare.task.as_mut().unwrap().labels.clear();
    assert_eq!(
        problem(evaluate::<PromptLibrary>(&bare)),
        (
            ErrorKind::InvalidConfig,
            "/variables/team/label".into(),
            "Task team/task has no label example.com/team: set it, or give variable team a default".into()
        )
    );
    assert_eq!(
        problem(evaluate::<PromptLibrary>(&item(payload(&["closing", "review"], json!({}))))),
        (
            ErrorKind::InvalidConfig,
            "/variables".into(),
            "key review of ConfigMap prompts uses {{ service }}, which nothing gives a value: add service to variables"
                .into()
        )
    );
    for (key, words) in [
        ("missing", "key missing not found in ConfigMap prompts"),
        ("logo", "key logo of ConfigMap prompts is not UTF-8 text"),
    ] {
        assert_eq!(
            problem(evaluate::<PromptLibrary>(&item(payload(&["closing", key], json!({}))))),
            (ErrorKind::Unsatisfied, "/snippets/1".into(), words.into())
        );
    }
    let mut nothing = item(payload(&["review"], json!({})));
    nothing.inputs = vec![missing("prompts")];
    assert_eq!(
        problem(evaluate::<PromptLibrary>(&nothing)),
        (ErrorKind::Unsatisfied, "/configMap/name".into(), "ConfigMap prompts not found".into())
    );
}

#[test]
fn a_variable_has_one_source() {
    for variable in [json!({}), json!({"default": "x"}), json!({"value": "x", "label": "y"})] {
        let answer = evaluate::<PromptLibrary>(&item(payload(&["closing"], json!({"team": variable}))));
        let expected = "write one of value, label and annotation";
        assert_eq!(problem(answer), (ErrorKind::InvalidConfig, "/variables/team".into(), expected.into()));
    }
}

#[test]
fn a_server_has_no_task_and_its_snippets_no_words_of_one() {
    let mut request = item(payload(&["review"], variables()));
    request.task = None;
    let (_, field, message) = problem(evaluate::<PromptLibrary>(&request));
    assert_eq!(field, "/variables/team/label");
    assert!(message.starts_with("the server of an Agent has no label example.com/team"), "{message}");

    let mut request = item(payload(&["closing"], json!({})));
    request.task = None;
    let (_, _, message) = problem(evaluate::<PromptLibrary>(&request));
    assert!(message.contains("uses {{ namespace }}, which nothing gives a value"), "{message}");
}
