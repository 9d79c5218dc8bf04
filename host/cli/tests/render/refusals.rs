//! What cannot work ends with words that name object, field and remedy.

use std::fmt::Write;

use crate::program::{fixtures, render};

/// Each case is a Task and an Agent, written one below the other, as far as they differ from nothing.
#[test]
fn refusals() {
    let cases = std::fs::read_to_string(fixtures().join("refusals.yaml")).unwrap();
    let mut seen = String::new();
    for case in cases.split("\n# ").skip(1) {
        let (title, yaml) = case.split_once('\n').unwrap();
        let said = render(&["-f", "-"], yaml);
        assert_eq!(said.code, i32::from(!said.stderr.is_empty()), "{title}: {}", said.stderr);
        writeln!(seen, "{title}\n    {}", said.stderr.trim_end()).unwrap();
    }
    insta::assert_snapshot!(seen);
}
