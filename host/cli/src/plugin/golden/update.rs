//! `--update`: what came takes the place of what was expected, and all else in the file stays as it is.
//!
//! May touch: the files of cases, and those that they name.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::Path;

use serde_json::{Value, json};

use super::compare::{ended, expect_of};
use super::{Came, Expect, Placed, documents};
use crate::error::CliError;
use crate::yaml;

/// Writes what came of the cases of one file.
///
/// # Errors
/// A file that cannot be written, or a case whose `expect` does not stand by itself.
pub(in crate::plugin) fn update(file: &Path, cases: &[(&Placed, &Came)]) -> Result<(), CliError> {
    let refuse = |error| CliError::File { path: file.to_owned(), error };
    let mut text = fs::read_to_string(file).map_err(refuse)?;
    // from the end, so that lines before keep their numbers
    for (placed, came) in cases.iter().rev() {
        let expect = expected(placed, came)?;
        text = rewritten(&text, placed.line, &expect)
            .map_err(|problem| CliError::Usage(format!("{}:{}: {problem}", file.display(), placed.line)))?;
    }
    fs::write(file, text).map_err(refuse)
}

/// What is expected from now on. What stood in a file of its own is written there.
fn expected(placed: &Placed, came: &Came) -> Result<Value, CliError> {
    let Some(Expect { context_file, files, plan, .. }) =
        placed.case.expect.as_ref().filter(|_| came.failure.is_none())
    else {
        return Ok(expect_of(came));
    };
    if let Some(written) = context_file {
        return Ok(json!({"contextFile": put(placed, written, &came.seen.context_file)?}));
    }
    if let Some(written) = files {
        let mut files = BTreeMap::new();
        for (path, content) in &came.seen.files {
            let content = match (written.get(path).and_then(Value::as_str), content.as_str()) {
                (Some(written), Some(text)) => put(placed, written, text)?.into(),
                (None, Some(text)) => ended(text).into(),
                (_, None) => content.clone(),
            };
            files.insert(path, content);
        }
        return Ok(json!({ "files": files }));
    }
    if plan.is_some() { Ok(json!({"plan": came.plan})) } else { Ok(expect_of(came)) }
}

fn put(placed: &Placed, written: &str, text: &str) -> Result<String, CliError> {
    let Some(path) = placed.path(written) else { return Ok(ended(text)) };
    let folder = path.parent().unwrap_or(Path::new(""));
    let done = fs::create_dir_all(folder).and_then(|()| fs::write(&path, ended(text)));
    done.map_err(|error| CliError::File { path, error })?;
    Ok(written.to_owned())
}

/// The file with another `expect` in the case of this line.
fn rewritten(file: &str, line: usize, expect: &Value) -> Result<String, String> {
    let all = documents::of(file);
    let document = all.iter().find(|document| document.line == line).ok_or("the case is gone")?;
    let yaml = yaml::document(&json!({ "expect": expect })).map_err(|error| error.to_string())?;
    let Range { start, end } = place_of_expect(document.text);
    let (before, after) = (&document.text[..start], &document.text[end..]);
    let line_end = if before.is_empty() || before.ends_with('\n') { "" } else { "\n" };
    let text = format!("{before}{line_end}{yaml}\n{after}");
    let value = |text: &str| yaml::documents(text).ok().and_then(|all| all.into_iter().next());
    let mut meant = value(document.text).unwrap_or_default();
    meant["expect"] = expect.clone();
    if value(&text) != Some(meant) {
        return Err(
            "expect cannot be changed where it stands: write it at the beginning of a line".to_owned()
        );
    }
    let (start, end) = (document.start, document.start + document.text.len());
    Ok(format!("{}{text}{}", &file[..start], &file[end..]))
}

/// From the key to the end of what belongs to it; where there is none, the end.
fn place_of_expect(text: &str) -> Range<usize> {
    let (mut found, mut at) = (None::<Range<usize>>, 0);
    for line in text.split_inclusive('\n') {
        let end = at + line.len();
        match &mut found {
            None if line.starts_with("expect:") => found = Some(at..end),
            Some(_) if line.starts_with(|c: char| !c.is_whitespace() && c != '#') => break,
            Some(range) if line.starts_with(' ') && !line.trim().is_empty() => range.end = end,
            _ => {}
        }
        at = end;
    }
    found.unwrap_or(text.len()..text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_expected_changes_and_nothing_else() {
        let file = "# cases\nname: a\nexpect: {plan: {}}\ngiven:\n  configMaps: {} # none\n---\nname: b # the second\nexpect:\n  contextFile: |\n    old\n# end\n";
        let text = json!({"contextFile": "one\ntwo\n"});
        assert_eq!(rewritten(file, 7, &text).unwrap(), file.replace("    old\n", "    one\n    two\n"));
        assert_eq!(
            rewritten(file, 2, &text).unwrap(),
            file.replace("expect: {plan: {}}\n", "expect:\n  contextFile: |\n    one\n    two\n")
        );
        assert_eq!(rewritten("name: a\n", 1, &json!({"plan": 1})).unwrap(), "name: a\nexpect:\n  plan: 1\n");
        let flow = "{name: a, expect: {plan: {}}}\n";
        assert!(rewritten(flow, 1, &text).unwrap_err().contains("at the beginning of a line"));
    }
}
