//! `FILE_MAPPINGS` and `DIR_MAPPINGS`: every file goes below its directory and comes from its volume.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kubeopencode_pod_tools::context_init::fuzzing::mappings(data));
