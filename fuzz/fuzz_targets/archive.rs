//! Archives that `url-fetch` lays out: nothing lies, or leads, outside.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| kubeopencode_pod_tools::url_fetch::fuzzing::archive(data));

#[cfg(not(fuzzing))]
fn main() {}
