//! `FILE_MAPPINGS` and `DIR_MAPPINGS`: every file goes below its directory and comes from its volume.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| kubeopencode_pod_tools::context_init::fuzzing::mappings(data));

#[cfg(not(fuzzing))]
fn main() {}
