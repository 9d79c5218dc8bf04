//! Archives that `url-fetch` lays out: nothing lies, or leads, outside.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kubeopencode_pod_tools::url_fetch::fuzzing::archive(data));
