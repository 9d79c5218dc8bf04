// Included by the tests that hold a property to the seeds of its fuzz target.

use std::fs;
use std::path::Path;

pub(crate) fn each(target: &str, property: impl Fn(&[u8])) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds").join(target);
    let mut seeds: Vec<_> = dir.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(!seeds.is_empty(), "{} is empty", dir.display());
    seeds.sort();
    for seed in seeds {
        println!("{}", seed.display());
        property(&fs::read(seed).unwrap());
    }
}
