//! From the environment to the list of what is to be written. Pure.
//!
//! `FILE_MAPPINGS` is a list of `{targetPath, fileMode?, optional?}`, each with either `key` or `parts` (and `separator`,
//! `trim`), which `join` explains; `DIR_MAPPINGS` of `{sourcePath, targetPath, fileMode?, optional?}`. What is
//! optional and cannot be written is left out, with a message.

use std::path::{Component, Path, PathBuf};

use kubeopencode_api::literals::TOOLS_DIR;
use serde::Deserialize;

use super::join::{Group, Part};
use crate::Error;
use crate::environment::Environment;

/// As everywhere: kubelet's default for what is mounted.
const FILE_MODE: u32 = 0o644;
const PROGRAM_MODE: u32 = 0o755;

/// The program that the agent's container runs as, beside the agent's own in the tools directory.
const PROGRAM: &str = "kubeopencode";

/// What docs/contract.md, section 4, gives to `context-init`.
pub(super) struct Settings {
    /// the volume that the agent works in, where there is one
    pub(super) workspace_dir: Option<PathBuf>,
    config_map_path: Option<PathBuf>,
    tools_dir: Option<PathBuf>,
    files: Vec<FileMapping>,
    directories: Vec<DirMapping>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct FileMapping {
    key: Option<String>,
    parts: Option<Vec<Part>>,
    #[serde(default)]
    separator: String,
    #[serde(default)]
    trim: bool,
    target_path: String,
    file_mode: Option<u32>,
    #[serde(default)]
    optional: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DirMapping {
    source_path: PathBuf,
    target_path: String,
    file_mode: Option<u32>,
    #[serde(default)]
    optional: bool,
}

/// One thing to write.
#[derive(Debug, PartialEq)]
pub(super) struct Operation {
    /// Names it in messages.
    pub(super) entry: String,
    pub(super) content: Content,
    pub(super) place: Place,
    /// Below the workspace, or from the top of the file system.
    pub(super) path: PathBuf,
    /// Permissions of the files written.
    pub(super) mode: u32,
    /// Left out when it cannot be written.
    pub(super) optional: bool,
}

#[derive(Debug, PartialEq)]
pub(super) enum Content {
    /// One file, the same as this.
    Copy(PathBuf),
    /// One file, joined from parts; their keys lie in this directory.
    Joined { parts: Group, keys: PathBuf },
    /// One file for each key in this ConfigMap volume.
    Directory(PathBuf),
}

#[derive(Debug, PartialEq)]
pub(super) enum Place {
    Workspace,
    /// An absolute path in the tools directory.
    Tools,
    /// An absolute path in a clone or an unpacked archive.
    Elsewhere,
}

impl Settings {
    pub(super) fn of(environment: &Environment) -> Result<Self, Error> {
        Ok(Settings {
            workspace_dir: environment.path("WORKSPACE_DIR"),
            config_map_path: environment.path("CONFIGMAP_PATH"),
            tools_dir: environment.path("TOOLS_DIR"),
            files: environment.json("FILE_MAPPINGS")?,
            directories: environment.json("DIR_MAPPINGS")?,
        })
    }

    /// What is to be written, in order: files come last, so that no key of a directory takes their place.
    pub(super) fn operations(&self) -> Result<Vec<Operation>, Error> {
        let program = self.tools_dir.as_ref().map(|dir| self.program(dir));
        let directories = self.directories.iter().map(|mapping| self.directory(mapping));
        let files = self.files.iter().map(|mapping| self.file(mapping));
        program.into_iter().chain(directories).chain(files).collect()
    }

    fn program(&self, tools_dir: &Path) -> Result<Operation, Error> {
        let target = tools_dir.join(PROGRAM).to_string_lossy().into_owned();
        let content = Content::Copy("/proc/self/exe".into());
        self.operation("TOOLS_DIR", format!("program -> {target}"), content, &target, Some(PROGRAM_MODE))
    }

    fn file(&self, mapping: &FileMapping) -> Result<Operation, Error> {
        let refuse = |reason| Error::Env { name: "FILE_MAPPINGS", reason };
        let target = &mapping.target_path;
        let parts = match (&mapping.key, &mapping.parts) {
            (Some(key), None) => Group::of(vec![Part::Key(key.clone())]),
            (None, Some(parts)) if !parts.is_empty() => {
                Group::joined(parts.clone(), &mapping.separator, mapping.trim)
            }
            _ => return Err(refuse(format!("the entry for {target} needs one of key and parts"))),
        };
        parts.check().map_err(|problem| refuse(format!("the entry for {target}: {problem}")))?;
        let keys = match &self.config_map_path {
            None if parts.has_keys() => return Err(Error::EnvMissing("CONFIGMAP_PATH")),
            path => path.clone().unwrap_or_default(),
        };
        let what = if mapping.key.is_some() { "key" } else { "parts" };
        let entry = format!("{what} {} -> {target}", parts.sources().join(" + "));
        let content = Content::Joined { parts, keys };
        let operation = self.operation("FILE_MAPPINGS", entry, content, target, mapping.file_mode)?;
        Ok(Operation { optional: mapping.optional, ..operation })
    }

    fn directory(&self, mapping: &DirMapping) -> Result<Operation, Error> {
        let content = Content::Directory(mapping.source_path.clone());
        let entry = format!("directory {} -> {}", mapping.source_path.display(), mapping.target_path);
        let target = &mapping.target_path;
        let operation = self.operation("DIR_MAPPINGS", entry, content, target, mapping.file_mode)?;
        Ok(Operation { optional: mapping.optional, ..operation })
    }

    fn operation(
        &self,
        name: &'static str,
        entry: String,
        content: Content,
        target: &str,
        mode: Option<u32>,
    ) -> Result<Operation, Error> {
        let refuse = |reason| Err(Error::Env { name, reason });
        let Some(target) = normal(target) else {
            return refuse(format!("target path {target:?} must be absolute, without \"..\""));
        };
        if let Some(mode) = mode.filter(|mode| *mode > 0o777) {
            return refuse(format!(
                "fileMode of {} is {mode:#o}, at most 0o777 is allowed",
                target.display()
            ));
        }
        let from_top = target.strip_prefix("/").unwrap_or(&target);
        let tools = self.tools_dir.as_deref().unwrap_or(Path::new(TOOLS_DIR));
        let in_workspace = self.workspace_dir.as_ref().and_then(|dir| target.strip_prefix(dir).ok());
        let (place, path) = match in_workspace {
            Some(below) => (Place::Workspace, below),
            None if target.starts_with(tools) => (Place::Tools, from_top),
            None => (Place::Elsewhere, from_top),
        };
        if path.as_os_str().is_empty() && !matches!(content, Content::Directory(_)) {
            return refuse(format!("{} is a directory, no place for a file", target.display()));
        }
        let (path, mode) = (path.to_owned(), mode.unwrap_or(FILE_MODE));
        Ok(Operation { entry, content, place, path, mode, optional: false })
    }
}

/// The path without `.` and doubled slashes; none when it is relative or has `..`.
fn normal(path: &str) -> Option<PathBuf> {
    let path = Path::new(path);
    let fine =
        |part: &Component| matches!(part, Component::RootDir | Component::Normal(_) | Component::CurDir);
    (path.is_absolute() && path.components().all(|part| fine(&part))).then(|| path.components().collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn settings(files: serde_json::Value, directories: serde_json::Value) -> Settings {
        Settings {
            workspace_dir: Some("/workspace".into()),
            config_map_path: Some("/configmap-files".into()),
            tools_dir: None,
            files: serde_json::from_value(files).unwrap(),
            directories: serde_json::from_value(directories).unwrap(),
        }
    }

    fn only(settings: &Settings) -> Operation {
        let mut operations = settings.operations().unwrap();
        assert_eq!(operations.len(), 1);
        operations.remove(0)
    }

    fn refused(target: &str, more: serde_json::Value) -> String {
        let mut mapping = json!({"key": "k", "targetPath": target});
        mapping.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        settings(json!([mapping]), json!([])).operations().unwrap_err().to_string()
    }

    #[test]
    fn a_workspace_file_is_0644() {
        let task = json!([{"key": "workspace-task.md", "targetPath": "/workspace//./task.md"}]);
        let expected = Operation {
            entry: "key workspace-task.md -> /workspace//./task.md".into(),
            content: Content::Joined {
                parts: Group::of(vec![Part::Key("workspace-task.md".into())]),
                keys: "/configmap-files".into(),
            },
            place: Place::Workspace,
            path: "task.md".into(),
            mode: 0o644,
            optional: false,
        };
        assert_eq!(only(&settings(task, json!([]))), expected);
    }

    #[test]
    fn the_default_and_a_file_mode_hold_everywhere() {
        for (target, mode, place, expected) in [
            ("/tools/opencode.json", None, Place::Tools, 0o644),
            ("/workspace-two/a", None, Place::Elsewhere, 0o644),
            ("/workspace/run.sh", Some(0o755), Place::Workspace, 0o755),
            ("/etc/app/key", Some(0), Place::Elsewhere, 0),
        ] {
            let files = json!([{"key": "k", "targetPath": target, "fileMode": mode}]);
            let operation = only(&settings(files, json!([])));
            assert_eq!((operation.place, operation.mode), (place, expected), "{target}");
        }
    }

    #[test]
    fn without_a_workspace_of_its_own_all_else_is_elsewhere() {
        let files = json!([{"key": "k", "targetPath": "/workspace/repo/a"}]);
        let settings = Settings { workspace_dir: None, ..settings(files, json!([])) };
        let operation = only(&settings);
        assert_eq!((operation.place, operation.path), (Place::Elsewhere, "workspace/repo/a".into()));
    }

    #[test]
    fn directories_may_be_the_workspace_itself_and_come_before_files() {
        let dirs = json!([{"sourcePath": "/configmap-dir-0", "targetPath": "/workspace", "optional": true}]);
        let files = json!([{"key": "k", "targetPath": "/workspace/task.md"}]);
        let [directory, file] = settings(files, dirs).operations().unwrap().try_into().unwrap();
        assert_eq!(directory.content, Content::Directory("/configmap-dir-0".into()));
        assert_eq!((directory.path, directory.optional), (PathBuf::new(), true));
        assert_eq!((file.path, file.optional), ("task.md".into(), false));
    }

    #[test]
    fn the_program_comes_first() {
        let settings = Settings {
            tools_dir: Some("/tools".into()),
            ..settings(json!([{"key": "k", "targetPath": "/workspace/a"}]), json!([]))
        };
        let first = settings.operations().unwrap().remove(0);
        assert_eq!(first.content, Content::Copy("/proc/self/exe".into()));
        assert_eq!((first.path, first.mode), ("tools/kubeopencode".into(), 0o755));
    }

    #[test]
    fn broken_mappings_are_refused_by_name() {
        for (target, more, words) in [
            ("task.md", json!({}), "FILE_MAPPINGS: target path \"task.md\" must be absolute"),
            ("/workspace/../etc/passwd", json!({}), "must be absolute, without \"..\""),
            ("/workspace", json!({}), "/workspace is a directory"),
            ("/workspace/a", json!({"fileMode": 0o1777}), "fileMode of /workspace/a is 0o1777"),
            ("/workspace/a", json!({"key": null}), "the entry for /workspace/a needs one of key and parts"),
            ("/workspace/a", json!({"parts": ["x"]}), "needs one of key and parts"),
            ("/workspace/a", json!({"key": null, "parts": []}), "needs one of key and parts"),
            ("/workspace/a", json!({"key": "../x"}), "the entry for /workspace/a: \"../x\" is no key"),
        ] {
            let message = refused(target, more);
            assert!(message.contains(words), "{message}");
        }
    }
}
