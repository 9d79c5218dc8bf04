//! The README, each document of docs/ and docs/how-to/, and each skill, as a script, on a real cluster with the operator in
//! it: one test for each.
//!
//! `cargo test --test docs_run -- task` runs docs/task.md, `-- how-to/` all pages of that folder, `-- skills/` the skills,
//! `-- README` the README.
//! How a document is read stands in `tests/src/docs.rs`; each is run in a directory and in namespaces of its own, which
//! are made before and deleted after.
//!
//! Which cluster: the one of `KUBEOPENCODE_E2E_KUBECONFIG`, as for the other tests on a whole cluster; without it, as
//! for `make demo`, that of `DEMO_CONTEXT` or `KUBECONFIG`, or else the local one. None is brought up.
//! `KUBEOPENCODE` names the program of that name; without it, it is built where a document calls it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "all of this is tests: a failure is a panic")]

mod cluster;
mod script;

use std::process::ExitCode;

use kubeopencode_tests::docs::Document;
use kubeopencode_tests::pages::{pages, repository};
use libtest_mimic::{Arguments, Trial};

use crate::cluster::Cluster;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // they look at the whole cluster, and at each other's traces in it
    arguments.test_threads.get_or_insert(1);
    let trials = pages().into_iter().filter_map(|page| {
        let name = page.strip_prefix("docs").unwrap_or(&page).with_extension("").to_str()?.to_owned();
        let path = repository().join(page);
        let document = Document::parse(&std::fs::read_to_string(&path).expect("a document"));
        let has_blocks = !document.blocks.is_empty();
        let run = move || Cluster::find()?.run(&path, &document).map_err(Into::into);
        has_blocks.then(|| Trial::test(name, run))
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}
