//! Keeps what others put into a clone out of its commits: the prompt, the context file, other items, Secrets. Agents say
//! `git add --all`.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use super::git::{Failure, Git};
use crate::error::io_reason;

/// Lists the paths in `.git/info/exclude`, which is no part of the repository, and lets git take no notice of those files
/// among them that the repository has itself and that are about to be replaced.
pub(super) fn hide(git: &Git<'_>, clone: &Path, paths: &[String]) -> Result<(), Failure> {
    if paths.is_empty() {
        return Ok(());
    }
    list(&clone.join(".git").join("info"), paths).map_err(|e| Failure::permanent(io_reason(&e)))?;
    let files: Vec<&str> = paths.iter().map(String::as_str).filter(|path| !path.ends_with('/')).collect();
    if files.is_empty() {
        return Ok(());
    }
    let tracked =
        git.run(clone, &[&["--literal-pathspecs", "ls-files", "-z", "--"], files.as_slice()].concat())?;
    let tracked: Vec<&str> = tracked.split_terminator('\0').filter(|path| files.contains(path)).collect();
    if tracked.is_empty() {
        return Ok(());
    }
    git.run(clone, &[&["update-index", "--skip-worktree", "--"], tracked.as_slice()].concat()).map(drop)
}

fn list(info: &Path, paths: &[String]) -> io::Result<()> {
    fs::create_dir_all(info)?;
    let mut file = OpenOptions::new().create(true).append(true).open(info.join("exclude"))?;
    let patterns = paths.iter().map(|path| pattern(path));
    let text: String = ["# KubeOpenCode: what is no part of the repository".to_owned()]
        .into_iter()
        .chain(patterns)
        .flat_map(|line| [line, "\n".to_owned()])
        .collect();
    file.write_all(text.as_bytes())
}

/// Exactly this path, whether it is a file or a directory.
fn pattern(path: &str) -> String {
    let mut pattern = String::from("/");
    let path = path.trim_end_matches('/');
    for (i, c) in path.char_indices() {
        let trailing = c == ' ' && path[i..].bytes().all(|b| b == b' ');
        if trailing || matches!(c, '\\' | '*' | '?' | '[') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::pattern;

    #[test]
    fn a_pattern_means_one_path() {
        for (path, expected) in [
            ("task.md", "/task.md"),
            ("vendor/lib/", "/vendor/lib"),
            ("#a!", "/#a!"),
            ("a*b?[c]\\d", r"/a\*b\?\[c]\\d"),
            ("a b  ", r"/a b\ \ "),
        ] {
            assert_eq!(pattern(path), expected);
        }
    }
}
