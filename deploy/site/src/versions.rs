//! The versions that a site holds, a folder each: their order, the page that lists them, and where its root leads.
//!
//! May touch: text. Must not touch: files.

use std::cmp::Reverse;
use std::fmt::Write;

use semver::Version;

/// The version of what is not released.
pub(crate) const UNRELEASED: &str = "main";

/// Whether a folder's name is a version: one of a release, as in `1.2.3`, or `main`.
pub(crate) fn is_version(name: &str) -> bool {
    name == UNRELEASED || Version::parse(name).is_ok()
}

/// The branch or tag that a version is from.
pub(crate) fn revision(version: &str) -> String {
    if version == UNRELEASED { version.to_owned() } else { format!("v{version}") }
}

/// The newest first, and what is not released last.
pub(crate) fn sorted(names: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut versions: Vec<_> = names.into_iter().filter(|name| is_version(name)).collect();
    versions.sort_by_key(|name| Reverse(Version::parse(name).ok()));
    versions
}

/// The page that lists them.
pub(crate) fn list(versions: &[String]) -> String {
    let mut items = String::new();
    for version in versions {
        let words = if version == UNRELEASED { " (not released)" } else { "" };
        let _ = writeln!(items, "<li><a href=\"{version}/index.html\">{version}</a>{words}</li>");
    }
    html("", &format!("<h1>Versions of KubeOpenCode's documentation</h1>\n<ul>\n{items}</ul>"))
}

/// The page at the root: it leads to the newest release, and while there is none to what there is.
pub(crate) fn root(versions: &[String]) -> String {
    let is_final = |name: &&String| Version::parse(name).is_ok_and(|version| version.pre.is_empty());
    let Some(newest) = versions.iter().find(is_final).or(versions.first()) else { return list(versions) };
    let head = format!("<meta http-equiv=\"refresh\" content=\"0; url={newest}/index.html\">\n");
    html(&head, &format!("<p><a href=\"{newest}/index.html\">KubeOpenCode {newest}</a></p>"))
}

fn html(head: &str, body: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n{head}<title>KubeOpenCode</title>\n\
         <style>body {{ font-family: sans-serif; margin: 3rem auto; max-width: 40rem; padding: 0 1rem; }}</style>\n\
         </head>\n<body>\n{body}\n</body>\n</html>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions(names: &[&str]) -> Vec<String> {
        sorted(names.iter().map(|name| (*name).to_owned()))
    }

    #[test]
    fn the_newest_is_first_and_what_is_no_version_is_left_out() {
        let names =
            ["0.9.0", "main", ".git", "0.10.0", "1.0.0-rc.1", "versions.html", "1.0.0", "v2.0.0", ".."];
        assert_eq!(versions(&names), ["1.0.0", "1.0.0-rc.1", "0.10.0", "0.9.0", "main"]);
    }

    #[test]
    fn the_root_leads_to_the_newest_release_or_to_what_there_is() {
        let cases: [(&[&str], &str); 4] = [
            (&["main"], "main"),
            (&["main", "0.1.0"], "0.1.0"),
            (&["0.1.0", "0.2.0-rc.1"], "0.1.0"),
            (&["main", "0.2.0-rc.1"], "0.2.0-rc.1"),
        ];
        for (names, leads_to) in cases {
            let root = root(&versions(names));
            assert!(root.contains(&format!("url={leads_to}/index.html\"")), "{names:?}: {root}");
        }
        assert!(list(&versions(&["main", "0.1.0"])).contains(
            "<li><a href=\"0.1.0/index.html\">0.1.0</a></li>\n<li><a href=\"main/index.html\">main</a> (not released)</li>"
        ));
    }

    #[test]
    fn a_release_is_from_its_tag() {
        assert_eq!((revision("main"), revision("0.1.0")), ("main".to_owned(), "v0.1.0".to_owned()));
    }
}
