//! What a component may import, in which versions, and what it finds behind its imports.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "all of this is tests: a failure is a panic"
)]

mod common;

use common::{Guest, assert_others_work, host, hostile, inline, request};
use kubeopencode_api::plugin::{Action, EvaluateRequest, Kind, Outcome};
use kubeopencode_plugin_host::{CallError, LimitClass, LoadError};
use serde_json::json;

fn refusal(text: &str) -> String {
    let component = wat::parse_str(text).unwrap();
    let error = host().load(&component, Kind::ContextType, LimitClass::Default).unwrap_err();
    assert_others_work(host());
    error.to_string()
}

#[test]
fn a_guest_of_any_1_x_loads_logs_and_answers() {
    let log = "(call $log (i32.const 1) (i32.const 2048) (i32.const 5))";
    for version in ["1.0.0", "1.0.7", "1.1.0", "1.12.0"] {
        let component = Guest { describe: log, evaluate: log, ..Guest::default() }.of_version(version);
        let plugin = host().load(&component, Kind::ContextType, LimitClass::Default).unwrap();
        assert_eq!(plugin.interface(), format!("kubeopencode:plugin@{version}"));
        assert_eq!(plugin.evaluate(request("x")), Ok(inline("hello")), "{version}");
    }
}

#[test]
fn a_guest_of_another_major_version_is_refused_with_both_versions() {
    for version in ["2.0.0", "0.9.0", "1.1.0-rc.1"] {
        let component = Guest::default().of_version(version);
        let error = host().load(&component, Kind::ContextType, LimitClass::Default).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "the component was built for kubeopencode:plugin@{version}, and this KubeOpenCode has \
                 kubeopencode:plugin@1.0.0"
            )
        );
    }
    // one that imports nothing is known by what it exports
    let error = refusal(
        r#"(component
            (instance $i)
            (export "kubeopencode:plugin/context-type@2.0.0" (instance $i)))"#,
    );
    assert!(error.contains("kubeopencode:plugin@2.0.0, and"), "{error}");
    // one for both is not for another
    let error = refusal(
        r#"(component
            (instance $i)
            (export "kubeopencode:plugin/context-type@2.0.0" (instance $i))
            (export "kubeopencode:plugin/context-type@1.0.0" (instance $i)))"#,
    );
    assert!(error.contains("does not export the interface of a context-type"), "{error}");
}

#[test]
fn what_this_version_does_not_have_is_refused_when_it_is_loaded() {
    for (import, named) in [
        (
            r#"(import "kubeopencode:plugin/clock@1.1.0" (instance (export "now" (func (result u64)))))"#,
            "kubeopencode:plugin/clock@1.1.0",
        ),
        (
            r#"(import "kubeopencode:plugin/log@1.1.0" (instance (export "flush" (func))))"#,
            "kubeopencode:plugin/log@1.1.0#flush",
        ),
        (
            r#"(import "kubeopencode:plugin/types@1.1.0" (instance (export "now" (func (result u64)))))"#,
            "kubeopencode:plugin/types@1.1.0",
        ),
        (r#"(import "kubeopencode:store/kv@1.0.0" (instance))"#, "kubeopencode:store/kv@1.0.0"),
    ] {
        let error = refusal(&format!("(component {import})"));
        let expected = format!("the component was built for a newer KubeOpenCode: it imports {named};");
        assert!(error.starts_with(&expected), "{error}");
    }
}

#[test]
fn a_later_wasi_is_refused_with_what_to_build_for() {
    let words = "a plugin has WASI 0.2; build it for that, as for Rust's wasm32-wasip2";
    let error = refusal(
        r#"(component (import "wasi:random/random@0.3.0" (instance (export "get-random-u64" (func (result u64))))))"#,
    );
    assert_eq!(error, format!("wasi:random/random@0.3.0: {words}"));
    // a function that waits is more than the compiler takes
    let error = refusal(
        r#"(component
            (import "wasi:cli/environment@0.3.0" (instance (export "get-arguments" (func (result (list string))))))
            (import "wasi:clocks/monotonic-clock@0.3.0"
                (instance (export "wait-for" (func async (param "how-long" u64))))))"#,
    );
    let expected = format!("the component cannot be compiled: wasi:cli/environment@0.3.0: {words} (");
    assert!(error.starts_with(&expected) && error.contains("async component functions"), "{error}");
}

#[test]
fn an_import_of_the_wrong_shape_is_refused() {
    let component = wat::parse_str(
        r#"(component
            (import "wasi:random/insecure-seed@0.2.6" (instance (export "insecure-seed" (func (result u32))))))"#,
    );
    let error = host().load(&component.unwrap(), Kind::ContextType, LimitClass::Default).unwrap_err();
    assert!(
        matches!(&error, LoadError::WrongWorld { reason, .. } if reason.contains("insecure-seed")),
        "{error}"
    );
}

#[test]
fn the_world_around_a_plugin_is_empty_and_the_same_in_each_call() {
    let look = || hostile().evaluate(request(json!("look-around"))).unwrap();
    let Outcome::Ready(plan) = look() else { panic!() };
    let [Action::Inline(seen)] = &plan.actions[..] else { panic!("{:?}", plan.actions) };
    assert!(seen.starts_with("hashed word "), "{seen}");
    let (_, rest) = seen.split_once("; ").unwrap();
    assert_eq!(
        rest,
        r#"environment []; arguments []; file Err(NotFound); input Ok(""); time Ok(1767323045)"#
    );
    assert_eq!(look(), Outcome::Ready(plan));
}

#[test]
fn a_server_has_no_task_and_its_clock_stands_at_the_beginning() {
    let item = EvaluateRequest { task: None, ..request(json!("look-around")) };
    let Outcome::Ready(plan) = hostile().evaluate(item).unwrap() else { panic!() };
    let [Action::Inline(seen)] = &plan.actions[..] else { panic!("{:?}", plan.actions) };
    assert!(seen.ends_with("time Ok(0)"), "{seen}");
}

#[test]
fn features_of_later_versions_are_refused_by_name() {
    for (deed, feature) in
        [(json!({"fetch": "https://acme.example"}), "fetch"), (json!({"extend": "vault"}), "vault")]
    {
        assert_eq!(
            hostile().evaluate(request(deed)).unwrap_err().to_string(),
            format!(
                "the plugin's output was refused: it uses \"{feature}\", which this version does not have: upgrade KubeOpenCode"
            )
        );
    }
}

#[test]
fn what_is_not_there_is_told_in_words() {
    for (deed, words) in [
        (json!({"exit": 3}), "it ended itself with a failure"),
        (json!({"exit": 0}), "it ended itself with exit code 0"),
        (json!({"connect": "127.0.0.1:80"}), "a plugin has no network: it called wasi:sockets/"),
    ] {
        let error = hostile().evaluate(request(deed)).unwrap_err();
        let CallError::Trap { reason, .. } = &error else { panic!("{error}") };
        assert!(reason.starts_with(words), "{reason}");
    }
}

#[test]
fn a_pause_is_over_at_once() {
    assert_eq!(hostile().evaluate(request(json!({"sleep": 3600}))), Ok(inline("slept")));
}

#[test]
fn a_crash_is_told_with_the_end_of_standard_error() {
    let error = hostile().evaluate(request(json!({"complain": ["Traceback", "  at one", "  at two"]})));
    assert_eq!(
        error.unwrap_err().to_string(),
        "the plugin crashed: it aborted; its last words: Traceback\n  at one\n  at two"
    );
}
