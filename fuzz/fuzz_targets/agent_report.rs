//! Termination messages, which the agent may have written itself: what is read is bounded, and survives being written.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| kubeopencode_api::report::fuzzing::message(data));

#[cfg(not(fuzzing))]
fn main() {}
