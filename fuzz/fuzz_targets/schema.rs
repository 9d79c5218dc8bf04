//! A plugin's JSON Schema and a payload: a payload is passed on unchanged, a refusal names its place.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kubeopencode_plugin_host::fuzzing::schema(data));
