//! What a plugin says about itself: what is taken over keeps the rules, a refusal is short.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kubeopencode_plugin_host::fuzzing::descriptor(data));
