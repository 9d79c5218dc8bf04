//! What an agent's program prints, as the result reader cuts and reads it: nothing is lost, and every text has its limit.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| kubeopencode_pod_tools::agent_run::fuzzing::output(data));

#[cfg(not(fuzzing))]
fn main() {}
