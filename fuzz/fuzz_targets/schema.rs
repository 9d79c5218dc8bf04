//! A plugin's JSON Schema and a payload: a payload is passed on unchanged, a refusal names its place.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| kubeopencode_plugin_host::fuzzing::schema(data));

#[cfg(not(fuzzing))]
fn main() {}
