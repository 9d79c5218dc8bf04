//! What an agent's program prints, as the result reader cuts and reads it: nothing is lost, and every text has its limit.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kubeopencode_pod_tools::agent_run::fuzzing::output(data));
