//! Plugins that mean harm or are broken, where the exact bytes matter: limits to the byte, answers that no compiler
//! would make. The words that each kind of harm gets are in `table.rs`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "all of this is tests: a failure is a panic"
)]

mod common;

use std::process::{Command, Stdio};
use std::{fs, thread};

use common::{Guest, assert_others_work, host, inline, request, worker};
use kubeopencode_api::plugin::Kind;
use kubeopencode_plugin_host::{CallError, LimitClass, LoadError};

/// Loads the guest, calls it twice, and gives what both calls said.
fn call(guest: &Guest) -> Result<(), CallError> {
    let plugin = guest.load().unwrap();
    let first = plugin.evaluate(request("x"));
    assert_eq!(plugin.evaluate(request("x")), first, "a call is not affected by the one before");
    assert_others_work(host());
    first.map(drop)
}

fn evaluate(statements: &str) -> Result<(), CallError> {
    call(&Guest { evaluate: statements, ..Guest::default() })
}

fn load(bytes: &[u8]) -> LoadError {
    let error = host().load(bytes, Kind::ContextType, LimitClass::Default).unwrap_err();
    assert_others_work(host());
    error
}

#[test]
fn the_guest_of_these_tests_works_when_it_does_no_harm() {
    let plugin = Guest::default().load().unwrap();
    assert_eq!(plugin.types()[0].descriptor().name, "Hostile");
    assert_eq!(plugin.evaluate(request("x")).unwrap(), inline("hello"));
}

#[test]
fn what_takes_time_and_little_fuel_is_stopped_by_the_clock() {
    // growing by nothing leaves the plugin's code and comes back: slow, and two units of fuel
    let evaluate = format!("(loop {} (br 0))", "(drop (memory.grow (i32.const 0)))".repeat(50));
    let component = Guest { evaluate: &evaluate, ..Guest::default() }.component();
    let plugin = host().load(&component, Kind::ContextType, LimitClass::Large).unwrap();
    assert_eq!(plugin.evaluate(request("x")), Err(CallError::Timeout { seconds: 5 }));
    assert_others_work(host());
}

#[test]
fn memory_from_the_start_counts_too() {
    let error = Guest { pages: 513, ..Guest::default() }.load().unwrap_err();
    assert_eq!(error, LoadError::Describe(CallError::OutOfMemory { limit: 32 << 20 }));
    assert_others_work(host());
}

#[test]
fn who_compiles_gives_way_to_everything_else() {
    let niceness = |process: &str| -> i32 {
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
        // after the name in parentheses: state is field 3, nice 19
        stat.rsplit_once(')').unwrap().1.split_whitespace().nth(16).unwrap().parse().unwrap()
    };
    let mut compiles = Command::new(worker())
        .args(["compile-worker", "default"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let nicer = (niceness("self") + 10).min(19);
    while niceness(&compiles.id().to_string()) != nicer {
        thread::yield_now();
    }
    // it waits for a component, and none comes
    drop(compiles.stdin.take());
    assert!(!compiles.wait().unwrap().success());
}

#[test]
fn what_instances_hold_beside_memory_is_bounded() {
    for (items, number, says) in [
        ("(global i32 (i32.const 0))", 16 << 10, "globals and imports, more than the 16384 allowed"),
        ("(func)", 64 << 10, "functions, more than the 65536 allowed"),
    ] {
        let error = Guest { items: &items.repeat(number), ..Guest::default() }.load().unwrap_err();
        assert!(error.to_string().ends_with(says), "{error}");
    }
    let instances =
        |number| format!("(core module $small) {}", "(core instance (instantiate $small))".repeat(number));
    // its own are three
    let component = Guest::default().with(&instances(61));
    let plugin = host().load(&component, Kind::ContextType, LimitClass::Default).unwrap();
    assert_eq!(plugin.evaluate(request("x")).unwrap(), inline("hello"));
    let error = load(&Guest::default().with(&instances(62)));
    assert!(error.to_string().ends_with("instance count too high at 65"), "{error}");
}

#[test]
fn imports_that_multiply_are_refused_before_something_is_made_of_each() {
    let of = |number: usize, export: &str| -> String {
        (0..number).map(|i| format!("(export \"e{i}\" ({export}))")).collect()
    };
    let inner = "(alias outer 1";
    let component = format!(
        r#"(component
            (type $few (instance {}))
            (type $more (instance {inner} $few (type $t)) {}))
            (type $most (instance {inner} $more (type $t)) {}))
            (import "wasi:cli/environment@0.2.0" (instance (type $most))))"#,
        of(50, "func"),
        of(50, "instance (type $t)"),
        of(10, "instance (type $t)"),
    );
    let error = load(&wat::parse_str(component).unwrap());
    assert_eq!(
        error.to_string(),
        "the component's imports cannot be served: there are more than 10000 with what is in them"
    );
}

#[test]
fn tables_end_at_their_limit() {
    let guest = Guest {
        items: "(table $t 0 funcref)",
        evaluate: "(loop (drop (table.grow $t (ref.null func) (i32.const 10000))) (br 0))",
        ..Guest::default()
    };
    assert_eq!(call(&guest), Err(CallError::OutOfMemory { limit: 32 << 20 }));
}

#[test]
fn a_flood_of_log_lines_is_dropped_and_then_stopped() {
    let line = "(call $log (i32.const 1) (i32.const 2048) (i32.const 5))";
    assert_eq!(evaluate(&line.repeat(100)), Ok(()));
    assert_eq!(evaluate(&format!("(loop {line} (br 0))")), Err(CallError::LogFlood { limit: 4096 }));
}

#[test]
fn handles_of_streams_have_an_end() {
    assert_eq!(evaluate(&"(drop (call $get-stdout))".repeat(1000)), Ok(()));
    let CallError::Trap { reason, .. } = evaluate("(loop (drop (call $get-stdout)) (br 0))").unwrap_err()
    else {
        panic!()
    };
    assert_eq!(reason, "it asked for more than 4096 handles of streams");
}

#[test]
fn a_huge_result_is_refused() {
    let answer_of = |bytes: u32| {
        let evaluate = format!(
            "(i32.store (i32.const 1060) (i32.const 65536)) (i32.store (i32.const 1064) (i32.const {bytes}))"
        );
        call(&Guest { pages: 64, evaluate: &evaluate, ..Guest::default() })
    };
    assert_eq!(answer_of(1 << 20), Ok(()));
    for bytes in [1_200_000, 3_000_000] {
        assert_eq!(answer_of(bytes), Err(CallError::OutputTooLarge { limit: 1_114_112 }));
    }
}

#[test]
fn a_crash_is_told_with_the_last_words() {
    let CallError::Trap { reason, words } = evaluate("(unreachable)").unwrap_err() else { panic!() };
    assert_eq!(reason, "it aborted");
    assert_eq!(words, None);
    let error =
        evaluate("(call $log (i32.const 3) (i32.const 2048) (i32.const 5)) (unreachable)").unwrap_err();
    assert!(error.to_string().ends_with("; its last words: hello"), "{error}");
}

/// Where a stack at the lower end of the memory grows to.
#[test]
fn an_address_below_its_memory_is_told_as_what_it_may_be() {
    assert_eq!(
        evaluate("(i32.store (i32.const -16) (i32.const 1))").unwrap_err().to_string(),
        "the plugin crashed: out of bounds memory access, as when a recursion does not end or too much is held on its \
         stack"
    );
}

#[test]
fn answers_outside_its_memory_or_that_are_no_text_are_a_crash() {
    for (statements, words) in [
        (
            "(i32.store (i32.const 1060) (i32.const 65530)) (i32.store (i32.const 1064) (i32.const 100))",
            "out",
        ),
        ("(i32.store (i32.const 2048) (i32.const 0xffffffff))", "utf-8"),
        ("(i32.store8 (i32.const 1024) (i32.const 7))", "discriminant"),
        ("(return (i32.const 65533))", "align"),
    ] {
        let CallError::Trap { reason, .. } = evaluate(statements).unwrap_err() else { panic!() };
        assert!(reason.contains(words), "{statements}: {reason}");
    }
}

#[test]
fn an_import_that_nobody_has_is_a_crash_when_it_is_called() {
    let error = evaluate("(call $danger)").unwrap_err();
    assert!(error.to_string().contains("unknown import: `danger`"), "{error}");
}

#[test]
fn a_descriptor_or_schema_that_breaks_a_rule_is_refused() {
    let error = Guest { name: "no name", ..Guest::default() }.load().unwrap_err();
    assert!(
        error.to_string().starts_with("the plugin's descriptor is not usable: name \"no name\""),
        "{error}"
    );
    let error = Guest { schema: r##"{"$ref":"#"}"##, ..Guest::default() }.load().unwrap_err();
    assert!(error.to_string().starts_with("the plugin's config-schema is not usable: \"$ref\""), "{error}");
    let error = Guest { describe: "(loop (br 0))", ..Guest::default() }.load().unwrap_err();
    assert_eq!(error, LoadError::Describe(CallError::OutOfFuel { limit: 200_000_000 }));
}

#[test]
fn what_is_no_component_is_told_what_it_is() {
    assert_eq!(load(b""), LoadError::Empty);
    assert_eq!(
        load(&vec![0; (4 << 20) + 1]),
        LoadError::TooLarge { bytes: (4 << 20) + 1, limit: 4 << 20, class: "default" }
    );
    let component = Guest::default().component();
    for length in [8, 100, component.len() / 2, component.len() - 1] {
        let error = load(&component[..length]);
        let expected = matches!(error, LoadError::Invalid(_) | LoadError::WrongWorld { .. });
        assert!(expected, "{length}: {error}");
    }
    let mut broken = component.clone();
    broken[200..].fill(0xff);
    assert!(matches!(load(&broken), LoadError::Invalid(_)));
}

#[test]
fn a_function_that_would_take_too_long_to_compile_is_refused_and_taken_as_large() {
    let body = "(drop (i32.const 1))".repeat(30_000);
    let component = Guest { evaluate: &body, ..Guest::default() }.component();
    let error = load(&component).to_string();
    assert!(error.contains("has 90005 bytes, more than the 65536 allowed"), "{error}");
    host().load(&component, Kind::ContextType, LimitClass::Large).unwrap();
    assert_eq!(load(&component).to_string(), error, "what large has in the cache is not for default");
}
