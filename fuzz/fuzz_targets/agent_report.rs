//! Termination messages, which the agent may have written itself: what is read is bounded, and survives being written.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kubeopencode_api::report::fuzzing::message(data));
