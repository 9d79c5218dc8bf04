//! Addresses of repositories: what the PlanValidator takes, `git-init` takes for the same host.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let validated = kubeopencode_plan::fuzzing::host_of_repository(data);
    kubeopencode_pod_tools::git_init::fuzzing::repository(data, validated.as_deref());
});
