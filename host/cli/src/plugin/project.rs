//! `plugin.toml`, beside the sources: what the verbs need to know of a plugin, so that none needs arguments.
//!
//! May touch: that file, and the component's; stderr, where the component is older than its sources.

use std::fs;
use std::path::{Path, PathBuf};

use kubeopencode_plan::is_object_name;
use kubeopencode_plugin_host::{Kind, LimitClass};
use serde::{Deserialize, Deserializer, de};

use super::freshness;
use crate::args::Component;
use crate::component;
use crate::error::CliError;

/// Its name.
pub(super) const MANIFEST: &str = "plugin.toml";

/// What stands in it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    /// Name of the Plugin and of its ConfigMap.
    #[serde(deserialize_with = "object_name")]
    pub(super) name: String,
    /// Commands of a shell that build the component, in this folder.
    pub(super) build: String,
    /// The component that they make, from this folder.
    pub(super) component: PathBuf,
    /// Limits that it is compiled and called with.
    #[serde(default)]
    pub(super) class: LimitClass,
    /// Which of the two it is, where the component is both.
    #[serde(default)]
    pub(super) kind: Option<Kind>,
}

/// The plugin that a verb is about.
#[derive(Debug)]
pub(super) struct Project {
    /// Where its golden cases are; empty: this folder.
    pub(super) folder: PathBuf,
    /// `name` of plugin.toml, if it was read.
    pub(super) name: Option<String>,
    /// The component's file, as it is shown.
    pub(super) component: PathBuf,
    pub(super) kind: Option<Kind>,
    pub(super) class: LimitClass,
    /// Whether plugin.toml says how it is built.
    can_be_built: bool,
}

impl Manifest {
    /// The one of a folder.
    ///
    /// # Errors
    /// There is none, or it makes no sense: with line and key.
    pub(super) fn read(folder: &Path) -> Result<Self, CliError> {
        let path = folder.join(MANIFEST);
        let place = path.display();
        let text = fs::read_to_string(&path).map_err(|error| {
            let remedy =
                "name a component, or a folder with a plugin.toml; `kubeopencode plugin new` makes one";
            let is_no_folder = !folder.as_os_str().is_empty() && !folder.is_dir();
            let place = if is_no_folder { folder.display() } else { path.display() };
            CliError::Usage(format!("{place}: {error}: {remedy}"))
        })?;
        Self::parse(&text).map_err(|problem| CliError::Usage(format!("{place}: {problem}")))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let manifest: Self = toml::from_str(text).map_err(|error| {
            let line = error.span().map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
            let line = line.map(|line| format!("line {line}: ")).unwrap_or_default();
            format!("{line}{}", error.message())
        })?;
        for (key, is_empty) in [
            ("build", manifest.build.trim().is_empty()),
            ("component", manifest.component.as_os_str().is_empty()),
        ] {
            if is_empty {
                return Err(format!("{key} is empty"));
            }
        }
        Ok(manifest)
    }
}

/// Read here, so that the message has its line.
fn object_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let name = String::deserialize(deserializer)?;
    if is_object_name(&name) {
        return Ok(name);
    }
    Err(de::Error::custom(format!(
        "name \"{name}\" is no name of a Plugin: write it with lower case letters, digits and dashes"
    )))
}

impl Project {
    /// What the flags name: a component by itself, or the one of a plugin.toml, of which it is said on stderr when it is older
    /// than its sources.
    ///
    /// # Errors
    /// See [`Manifest::read`].
    pub(super) fn of(flags: &Component) -> Result<Self, CliError> {
        let folder = match &flags.file {
            Some(file) if !file.is_dir() => {
                if let Err(error) = fs::metadata(file) {
                    let remedy = "name a component, or a folder with a plugin.toml";
                    return Err(CliError::Usage(format!("{}: {error}: {remedy}", file.display())));
                }
                return Ok(Self {
                    folder: PathBuf::new(),
                    name: None,
                    component: file.clone(),
                    kind: flags.kind,
                    class: flags.class.unwrap_or_default(),
                    can_be_built: false,
                });
            }
            folder => folder.clone().unwrap_or_default(),
        };
        let Manifest { name, component, class, kind, build: _ } = Manifest::read(&folder)?;
        if let Some(newer) = freshness::newer(&folder, &component) {
            let (newer, component) = (newer.display(), folder.join(&component));
            let of =
                if folder.as_os_str().is_empty() { String::new() } else { format!(" {}", folder.display()) };
            eprintln!(
                "kubeopencode: warning: {newer} is newer than {}: run `kubeopencode plugin build{of}`",
                component.display()
            );
        }
        Ok(Self {
            component: folder.join(component),
            folder,
            name: Some(name),
            kind: flags.kind.or(kind),
            class: flags.class.unwrap_or(class),
            can_be_built: true,
        })
    }

    /// The component's bytes.
    ///
    /// # Errors
    /// It cannot be read, or not be unpacked.
    pub(super) fn read(&self) -> Result<Vec<u8>, CliError> {
        component::read(&self.component).map_err(|error| {
            let remedy = match self.can_be_built && !self.component.exists() {
                true => ": build it with `kubeopencode plugin build`",
                false => "",
            };
            CliError::Usage(format!("{error}{remedy}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "name = \"jira\"\nbuild = \"make\"\ncomponent = \"out/jira.wasm\"\n";

    #[test]
    fn what_is_not_said_has_a_default() {
        let manifest = Manifest::parse(WHOLE).unwrap();
        assert_eq!((manifest.class, manifest.kind), (LimitClass::Default, None));
        let text = format!("{WHOLE}class = \"large\"\nkind = \"command-builder\"\n");
        let manifest = Manifest::parse(&text).unwrap();
        assert_eq!((manifest.class, manifest.kind), (LimitClass::Large, Some(Kind::CommandBuilder)));
    }

    #[test]
    fn what_makes_no_sense_is_named_with_its_line_and_its_key() {
        for (text, words) in [
            (
                format!("{WHOLE}limits = \"large\"\n"),
                "line 4: unknown field `limits`, expected one of `name`, `build`, ",
            ),
            (
                format!("{WHOLE}class = \"huge\"\n"),
                "line 4: unknown variant `huge`, expected `default` or `large`",
            ),
            ("name = \"jira\"\n".to_owned(), "line 1: missing field `build`"),
            (WHOLE.replace("make", " "), "build is empty"),
            (
                format!("\n{}", WHOLE.replace("\"jira\"", "\"Team Rules\"")),
                "line 2: name \"Team Rules\" is no name of a Plugin: write it with lower case letters, digits and dashes",
            ),
            (WHOLE.replace("\"jira\"", "\"\""), "line 1: name \"\" is no name of a Plugin: "),
            (format!("{WHOLE}name = \"b\"\n"), "line 4: duplicate key"),
            ("name".to_owned(), "line 1: "),
        ] {
            let error = Manifest::parse(&text).unwrap_err();
            assert!(error.starts_with(words), "{text}: {error}");
        }
    }
}
