//! The plugin interface is frozen: plugins that were compiled against it must load for ever.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "all of this is tests: a failure is a panic"
)]

use std::path::Path;
use std::{env, fs};

use kubeopencode_api::names::hex;
use sha2::{Digest, Sha256};

#[test]
fn the_interface_is_the_committed_one() {
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit");
    let sums = fs::read_to_string(wit.join("SHA256SUMS")).unwrap();
    let mut files: Vec<_> = fs::read_dir(&wit)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".wit"))
        .collect();
    files.sort();
    let found: String = files
        .iter()
        .map(|name| {
            let digest = Sha256::digest(fs::read(wit.join(name)).unwrap());
            format!("{}  {name}\n", hex(&digest))
        })
        .collect();
    assert_eq!(
        found, sums,
        "wit/ changed. A new record field or variant case breaks every compiled plugin: grow through `extension`, \
         host-info.features or a new interface. Before the first release, or for comments: \
         `cd wit && sha256sum *.wit > SHA256SUMS`"
    );
}
