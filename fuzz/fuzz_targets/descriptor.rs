//! What a plugin says about itself: what is taken over keeps the rules, a refusal is short.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| kubeopencode_plugin_host::fuzzing::descriptor(data));

#[cfg(not(fuzzing))]
fn main() {}
