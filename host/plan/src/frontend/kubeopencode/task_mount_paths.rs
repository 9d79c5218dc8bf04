//! `Agent.spec.taskMountPaths`: where contexts of Tasks may go.
//!
//! May touch: the patterns. Must not touch: the paths that they decide on, which `validate` does.

use kubeopencode_api::globs;

use crate::Refusal;
use crate::paths::AbsPath;

/// The patterns as absolute paths; `None`: the Agent does not say.
pub(super) fn read(
    written: Option<&[String]>,
    workspace: &AbsPath,
    holder: &str,
) -> Result<Option<Vec<AbsPath>>, Refusal> {
    let read = |(index, pattern): (usize, &String)| {
        let path = AbsPath::parse(pattern, Some(workspace)).map_err(str::to_owned);
        path.and_then(|path| globs::matches(path.as_str(), "").map(|_| path)).map_err(|problem| {
            Refusal::invalid_config(format!("{holder}: spec.taskMountPaths[{index}] \"{pattern}\" {problem}"))
        })
    };
    written.map(|patterns| patterns.iter().enumerate().map(read).collect()).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(written: &[&str]) -> Result<Vec<String>, String> {
        let workspace = AbsPath::parse("/work", None).unwrap();
        let written: Vec<_> = written.iter().map(ToString::to_string).collect();
        let read = read(Some(&written), &workspace, "Agent team/a").map_err(|refusal| refusal.message)?;
        Ok(read.unwrap().iter().map(|path| path.as_str().to_owned()).collect())
    }

    #[test]
    fn patterns_are_paths_and_relative_ones_lie_in_the_workspace() {
        assert_eq!(
            patterns(&[".", "in//put", "/data/", "/*"]).unwrap(),
            ["/work", "/work/in/put", "/data", "/*"]
        );
        assert_eq!(patterns(&[]).unwrap(), [""; 0]);
    }

    #[test]
    fn what_is_no_pattern_is_named() {
        for (written, words) in [
            ("../x", "Agent team/a: spec.taskMountPaths[0] \"../x\" holds \"..\""),
            ("/", "is the root of the file system"),
            ("/a[", "spec.taskMountPaths[0] \"/a[\" "),
        ] {
            let message = patterns(&[written]).unwrap_err();
            assert!(message.contains(words), "{message}");
        }
    }
}
