//! What is expected beside what came. Pure but for the files that a case names.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Value, json};
use similar::{ChangeTag, TextDiff};

use super::{Came, Expect, Expected, Placed};
use crate::error::CliError;
use crate::plugin::readable::pruned;
use crate::plugin::transcript::Failure;
use crate::yaml;

/// Lines around a difference.
const AROUND: usize = 2;

/// Something that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::plugin) struct Difference {
    /// As in `contextFile`, `error`, or the path of a file.
    pub(in crate::plugin) what: String,
    pub(in crate::plugin) expected: String,
    pub(in crate::plugin) came: String,
}

impl Difference {
    /// Its lines: `- ` what was expected, `+ ` what came.
    pub(in crate::plugin) fn lines(&self) -> Vec<String> {
        let ended = |text: &str| format!("{}\n", text.trim_end_matches('\n'));
        let (expected, came) = (ended(&self.expected), ended(&self.came));
        let diff = TextDiff::from_lines(&expected, &came);
        let mut lines = Vec::new();
        for (i, group) in diff.grouped_ops(AROUND).iter().enumerate() {
            if i > 0 {
                lines.push("...".to_owned());
            }
            for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
                let sign = match change.tag() {
                    ChangeTag::Delete => '-',
                    ChangeTag::Insert => '+',
                    ChangeTag::Equal => ' ',
                };
                lines.push(format!("{sign} {}", change.value().trim_end_matches('\n')).trim_end().to_owned());
            }
        }
        lines
    }
}

/// All that differs; nothing: it is as expected.
///
/// # Errors
/// A file that the case names cannot be read.
pub(in crate::plugin) fn compare(placed: &Placed, came: &Came) -> Result<Vec<Difference>, CliError> {
    let Some(Expect { context_file, files, plan, error }) = &placed.case.expect else {
        let expected = "nothing is expected: write one of contextFile, files, plan and error".to_owned();
        return Ok(vec![Difference {
            what: "expect".to_owned(),
            expected,
            came: yaml::document(&expect_of(came))?,
        }]);
    };
    let mut found = Vec::new();
    if let Some(expected) = error {
        let Some(failure) = &came.failure else {
            let came = "no error: a plan".to_owned();
            let expected = "an error".to_owned();
            return Ok(vec![Difference { what: "error".to_owned(), expected, came }]);
        };
        // all of it, of which what is not written is as it came
        let (expected, failure) = (filled(expected, failure), ended_alike(failure));
        if expected != failure {
            let (expected, came) = (yaml::document(&expected)?, yaml::document(&failure)?);
            found.push(Difference { what: "error".to_owned(), expected, came });
        }
        return Ok(found);
    }
    if let Some(failure) = &came.failure {
        let expected = "no error".to_owned();
        return Ok(vec![Difference { what: "error".to_owned(), expected, came: yaml::document(failure)? }]);
    }
    if let Some(expected) = context_file {
        found.extend(differs("contextFile", &placed.text(expected)?, &came.seen.context_file));
    }
    if let Some(expected) = plan {
        let (expected, came) = (pruned(expected), &came.plan);
        if expected != *came {
            found.extend(differs("plan", &yaml::document(&expected)?, &yaml::document(came)?));
        }
    }
    if let Some(expected) = files {
        found.extend(files_differ(placed, expected, &came.seen.files)?);
    }
    Ok(found)
}

/// The error that is expected, as one that came.
fn filled(expected: &Expected, came: &Failure) -> Failure {
    let Expected { kind, field, message } = expected;
    ended_alike(&Failure {
        kind: kind.as_ref().unwrap_or(&came.kind).clone(),
        field: field.clone().or_else(|| came.field.clone()),
        message: message.as_ref().unwrap_or(&came.message).clone(),
    })
}

/// Line ends at the end do not count, and a field that is empty is none.
fn ended_alike(failure: &Failure) -> Failure {
    let cut = |text: &String| text.trim_end_matches('\n').to_owned();
    let Failure { kind, field, message } = failure;
    Failure {
        kind: cut(kind),
        field: field.as_ref().map(cut).filter(|field| !field.is_empty()),
        message: cut(message),
    }
}

fn files_differ(
    placed: &Placed,
    expected: &BTreeMap<String, Value>,
    came: &BTreeMap<String, Value>,
) -> Result<Vec<Difference>, CliError> {
    let paths: BTreeSet<_> = expected.keys().chain(came.keys()).collect();
    let mut found = Vec::new();
    for path in paths {
        let expected = match expected.get(path) {
            None => "no such file".to_owned(),
            Some(Value::String(text)) => placed.text(text)?,
            Some(other) => other.to_string(),
        };
        let came = match came.get(path) {
            None => "no such file".to_owned(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        };
        found.extend(differs(path, &expected, &came));
    }
    Ok(found)
}

/// Line ends at the end do not count: YAML's block texts have one.
fn differs(what: &str, expected: &str, came: &str) -> Option<Difference> {
    let is_same = expected.trim_end_matches('\n') == came.trim_end_matches('\n');
    (!is_same).then(|| Difference {
        what: what.to_owned(),
        expected: expected.to_owned(),
        came: came.to_owned(),
    })
}

/// What a case is to expect that came to this.
pub(super) fn expect_of(came: &Came) -> Value {
    if let Some(failure) = &came.failure {
        return json!({ "error": failure });
    }
    if !came.seen.context_file.is_empty() {
        return json!({"contextFile": ended(&came.seen.context_file)});
    }
    json!({"plan": came.plan})
}

/// With a line end, so that it is written as a block.
pub(super) fn ended(text: &str) -> String {
    format!("{}\n", text.trim_end_matches('\n'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_shown_with_what_is_around_it() {
        let lines = |text: &str| text.split(' ').collect::<Vec<_>>().join("\n");
        let difference = Difference {
            what: "contextFile".to_owned(),
            expected: lines("a b c d e f g h i j k l"),
            came: lines("a b c D e f g h i j k"),
        };
        assert_eq!(
            difference.lines(),
            ["  b", "  c", "- d", "+ D", "  e", "  f", "...", "  j", "  k", "- l"]
        );
    }
}
