//! Plugins that were compiled from released versions load and work for ever.
//!
//! `data/<version>/` holds what that version brought, as `zstd -19` of `$OUT_DIR/built-in/*.wasm`. A release that
//! changes `wit/` or the SDK adds its own directory; none is ever changed or removed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "all of this is tests: a failure is a panic"
)]

mod common;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{env, fs};

use common::{build_request, host, inline, request_of};
use kubeopencode_api::plugin::Kind;
use kubeopencode_plugin_host::{LimitClass, Plugin};

fn releases() -> Vec<PathBuf> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    fs::read_dir(data).unwrap().map(|entry| entry.unwrap().path()).collect()
}

fn load(release: &Path, name: &str, kind: Kind) -> Arc<Plugin> {
    let component = zstd::decode_all(fs::File::open(release.join(name)).unwrap()).unwrap();
    host()
        .load(&component, kind, LimitClass::Default)
        .unwrap_or_else(|error| panic!("{name} of {}: {error}", release.display()))
}

#[test]
fn every_released_plugin_loads_and_works() {
    assert!(!releases().is_empty());
    for release in releases() {
        let text = load(&release, "text.wasm.zst", Kind::ContextType);
        assert_eq!(
            text.evaluate(request_of("Text", "Use tabs.")).unwrap(),
            inline("Use tabs."),
            "{}",
            release.display()
        );

        let opencode = load(&release, "opencode.wasm.zst", Kind::CommandBuilder);
        assert!(opencode.has_server());
        let command = opencode.build(&build_request()).unwrap().command;
        assert!(command[2].ends_with("/tools/opencode run < /workspace/task.md"), "{command:?}");
    }
}
