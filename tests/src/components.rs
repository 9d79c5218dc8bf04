//! Components of plugins, written as WebAssembly text: context types that answer every item with one action.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::ConfigMap;
use kubeopencode_api::literals::PLUGIN_LABEL;
use kubeopencode_api::names::hex;
use kubeopencode_api::plugin::Kind;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::harmless::harmless;

/// What surrounds the module of a context type in its component: that of the plugin host's own tests.
const FRAME: &str = include_str!("../../host/plugin-host/tests/common/context-type.wat");

/// A context type that answers every item with one action. Its memory begins with the list of its one descriptor; the answer
/// is at 1024, and its action at 1056.
const MODULE: &str = r#"(core module $main
    (import "kubeopencode:plugin/log@1.0.0" "log" (func (param i32 i32 i32)))
    (import "wasi:cli/stdout@0.2.6" "get-stdout" (func (result i32)))
    (import "$root" "danger" (func))
    (memory (export "memory") 1)
    (data (i32.const 0) "\80\00\00\00\01\00\00\00")
    (data (i32.const 128) "\00\01\00\00\08\00\00\00\80\01\00\00\01\00\00\00\80\01\00\00\01\00\00\00\00\02\00\00\02\00\00\00")
    (data (i32.const 188) "\40\02\00\00\08\00\00\00")
    (data (i32.const 576) "optional")
    (data (i32.const 256) "NAMENAME")
    (data (i32.const 384) "1")
    (data (i32.const 512) "{}")
    (data (i32.const 1024) "\00\00\00\00\01\00\00\00\20\04\00\00\01")
    (data (i32.const 1056) "ACTION")
    (data (i32.const 2048) "SAYSS")
    (data (i32.const 2176) "GREETING")
    (global $free (mut i32) (i32.const 4096))
    (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
        (global.get $free)
        (global.set $free
            (i32.and (i32.add (i32.add (global.get $free) (local.get 3)) (i32.const 7)) (i32.const -8))))
    (func (export "kubeopencode:plugin/context-type@1.0.0#describe") (result i32) (i32.const 0))
    (func (export "kubeopencode:plugin/context-type@1.0.0#evaluate") (param i32) (result i32) (i32.const 1024)))"#;

/// `inline` of the text.
pub const INLINE: &str = r"\00\00\00\00\00\08\00\00\05\00\00\00";
/// `set-env` of GREETING to the text.
pub const SET_ENV: &str = r"\0a\00\00\00\80\08\00\00\08\00\00\00\00\00\00\00\00\08\00\00\05\00\00\00";

/// A component with the type `name`, of 8 letters, that does `action` with a text of 5 letters.
///
/// # Panics
/// When they have more or less.
pub fn component(name: &str, action: &str, says: &str) -> Vec<u8> {
    wat::parse_str(FRAME.replace("(;MODULE;)", &module(name, action, says))).unwrap()
}

fn module(name: &str, action: &str, says: &str) -> String {
    assert_eq!((name.len(), says.len()), (8, 5));
    MODULE.replace("NAMENAME", name).replace("ACTION", action).replace("SAYSS", says)
}

/// That of [`greeting`] without the import that nobody has, which only a hostile one has a use for: `plugin check` refuses it.
///
/// # Panics
/// When the frame has other words for it.
pub fn checked_greeting(says: &str) -> Vec<u8> {
    let text = FRAME.replace("(;MODULE;)", &module("Greeting", INLINE, says));
    wat::parse_str(harmless(text)).unwrap()
}

/// The type `Greeting` that crashes when it is asked.
pub fn crashing() -> Vec<u8> {
    instead_of_an_answer("Greeting", "unreachable")
}

/// The type `name`, of 8 letters, that never answers.
pub fn endless(name: &str) -> Vec<u8> {
    instead_of_an_answer(name, ENDLESS)
}

/// A type that never comes to say what it is.
pub fn speechless() -> Vec<u8> {
    with_code("Greeting", "(result i32) (i32.const 0))", &format!("(result i32) {ENDLESS})"))
}

const ENDLESS: &str = "loop (result i32) (br 0) end";

/// A type whose code ends otherwise than with an answer.
fn instead_of_an_answer(name: &str, code: &str) -> Vec<u8> {
    with_code(name, "(result i32) (i32.const 1024)))", &format!("(result i32) {code}))"))
}

/// A type with some other code.
///
/// # Panics
/// When the module above has changed.
fn with_code(name: &str, code: &str, other: &str) -> Vec<u8> {
    assert!(MODULE.contains(code) && name.len() == 8);
    let module = MODULE.replace("NAMENAME", name).replace(code, other);
    wat::parse_str(FRAME.replace("(;MODULE;)", &module)).unwrap()
}

/// Something for a later WASI than that of plugins, with a function that waits, which components could not have before.
///
/// # Panics
/// When it is no WebAssembly.
pub fn of_wasi_0_3() -> Vec<u8> {
    let text = r#"(component
        (import "wasi:cli/environment@0.3.0" (instance (export "get-arguments" (func (result (list string))))))
        (import "wasi:clocks/monotonic-clock@0.3.0" (instance
            (export "now" (func (result u64)))
            (export "wait-for" (func async (param "how-long" u64)))))
        (import "wasi:random/random@0.3.0" (instance (export "get-random-u64" (func (result u64))))))"#;
    wat::parse_str(text).unwrap()
}

/// The type `Greeting` that gives a text of 5 letters.
pub fn greeting(says: &str) -> Vec<u8> {
    component("Greeting", INLINE, says)
}

/// The same component with so many bytes that nobody reads, and that cannot be made smaller.
pub fn with_noise(component: &[u8], length: usize) -> Vec<u8> {
    let noise = (0_u32..).flat_map(|i| Sha256::digest(i.to_le_bytes())).take(length);
    // a custom section: its size, and its name's
    let mut section = vec![0];
    let mut size = length + 1;
    while size > 127 {
        section.push((size & 127) as u8 | 128);
        size >>= 7;
    }
    section.extend([size as u8, 0]);
    [component, &section].concat().into_iter().chain(noise).collect()
}

/// In hex.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// A labelled ConfigMap with a component.
pub fn config_map(name: &str, kind: Kind, key: &str, bytes: &[u8]) -> Value {
    let mut map = ConfigMap::default();
    map.metadata.name = Some(name.to_owned());
    map.metadata.labels = Some([(PLUGIN_LABEL.to_owned(), kind.as_str().to_owned())].into());
    map.binary_data = Some([(key.to_owned(), ByteString(bytes.to_vec()))].into());
    let mut map = serde_json::to_value(map).unwrap();
    map["apiVersion"] = "v1".into();
    map["kind"] = "ConfigMap".into();
    map
}
