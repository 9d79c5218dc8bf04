//! One context: a `File`, or an item of another type with its payload in `config`.
//!
//! May touch: the item and the object that holds it. Must not touch: what a plugin makes of it.

use kubeopencode_api::context::BuiltInType;
use kubeopencode_api::kubetask::context::{Context, File};
use serde_json::{Value, json};

use crate::Refusal;
use crate::frontend::item::{self, CONFIG, Place, Written};
use crate::item::Item;
use crate::paths::AbsPath;

/// The type that has a field of its own.
const FILE: &str = "File";

/// Reads the item at `field`.
pub(super) fn read(spec: &Context, field: String, place: &Place<'_>) -> Result<Item, Refusal> {
    let file = spec.file.as_ref();
    let item = item::read(
        Written {
            field,
            type_: &spec.type_,
            name: file.map(|file| file.name.as_str()).or(spec.name.as_deref()),
            payload: payload(spec),
            mount_path: file.map_or(spec.mount_path.as_deref(), |file| file.mount_path.as_deref()),
            file_mode: spec.file_mode,
            optional: spec.optional,
        },
        place,
    )?;
    match item.mount_path() {
        Some(path) if !path.is_mountable() => Err(item
            .refused(format!("mountPath \"{path}\" holds \":\", which no mount path may: choose another"))),
        _ => Ok(item),
    }
}

/// What the plugin is given, if the fields fit the type: the API server's own rules once more, for objects that it did not see.
fn payload(spec: &Context) -> Result<Value, String> {
    let type_ = spec.type_.as_str();
    match &spec.file {
        Some(file) if type_ == FILE => file_payload(spec, file),
        Some(_) => Err(format!("type {type_} takes its content from {CONFIG}, not from file: remove file")),
        None if type_ == FILE => Err("type File needs file: add it".to_owned()),
        None => match &spec.config {
            Some(config) => Ok(config.clone()),
            None if BuiltInType::find(type_).is_none_or(|type_| type_.may_be_empty) => Ok(json!({})),
            None => Err(format!("type {type_} needs {CONFIG}: add it")),
        },
    }
}

fn file_payload(spec: &Context, file: &File) -> Result<Value, String> {
    let beside = [
        ("name", spec.name.is_some()),
        ("mountPath", spec.mount_path.is_some()),
        ("fileMode", spec.file_mode.is_some()),
        ("optional", spec.optional.is_some()),
        (CONFIG, spec.config.is_some()),
    ];
    if let Some((field, _)) = beside.into_iter().find(|(_, is_set)| *is_set) {
        return Err(format!("{field} belongs to plugins' types: a File has all that it needs in file"));
    }
    let path = file.mount_path.as_deref().filter(|path| !path.is_empty());
    if let Some((path, problem)) = path.and_then(|path| Some((path, AbsPath::parse(path, None).err()?))) {
        return Err(format!("mountPath \"{path}\" {problem}"));
    }
    let source = serde_json::to_value(&file.source).map_err(|e| e.to_string())?;
    Ok(json!({"name": file.name, "source": source}))
}

#[cfg(test)]
mod tests {
    use kubeopencode_api::plugin::Origin;

    use super::*;
    use crate::conventions::{Conventions, KUBETASK, KUBETASK_OPENCODE};

    fn read_by(conventions: &Conventions, json: Value) -> Result<Item, String> {
        let workspace = AbsPath::parse("/workspace", None).unwrap();
        let spec: Context = serde_json::from_value(json).unwrap();
        let (namespace, holder) = ("team", "Task team/fix");
        let place = Place { origin: Origin::Task, namespace, holder, workspace: &workspace, conventions };
        super::read(&spec, "spec.contexts[2]".into(), &place).map_err(|refusal| refusal.message)
    }

    fn read(json: Value) -> Result<Item, String> {
        read_by(&KUBETASK, json)
    }

    fn file_at(path: &str) -> Value {
        json!({"type": "File", "file": {"name": "a.md", "source": {"inline": "x"}, "mountPath": path}})
    }

    #[test]
    fn a_file_is_what_the_plugin_of_that_name_takes() {
        let source = json!({"configMapKeyRef": {"name": "m", "key": "k", "optional": true}});
        let file = json!({"name": "a.md", "source": source, "mountPath": "//etc/app/./a.md"});
        let item = read(json!({"type": "File", "file": file})).unwrap();
        assert_eq!(item.payload, json!({"name": "a.md", "source": source}));
        assert_eq!((item.type_.as_str(), item.name.as_deref()), ("File", Some("a.md")));
        assert_eq!(item.mount_path().unwrap().as_str(), "/etc/app/a.md");
        assert!(item.is_built_in() && !item.optional);
        assert_eq!(item.to_string(), "spec.contexts[2] \"a.md\" of Task team/fix");
        assert_eq!(read(file_at("")).unwrap().mount_path, None, "an empty one is none");
    }

    #[test]
    fn other_types_have_their_payload_in_config() {
        for (item, payload) in [
            (json!({"type": "Text", "config": "a"}), json!("a")),
            (json!({"type": "Runtime"}), json!({})),
            (json!({"type": "Jira"}), json!({})),
            (json!({"type": "Jira", "config": [1]}), json!([1])),
        ] {
            assert_eq!(read(item).unwrap().payload, payload);
        }
        let git = json!({"type": "Git", "name": "n", "mountPath": "repo", "fileMode": 0o400, "optional": true,
            "config": {"repository": "https://example.com/a"}});
        let item = read(git).unwrap();
        assert_eq!(item.mount_path().unwrap().as_str(), "/workspace/repo");
        assert_eq!((item.name.as_deref(), item.file_mode, item.optional), (Some("n"), Some(0o400), true));
    }

    #[test]
    fn what_belongs_elsewhere_is_named() {
        let file = json!({"name": "a", "source": {"inline": "x"}});
        for (item, words) in [
            (json!({"type": "File"}), "spec.contexts[2] of Task team/fix: type File needs file"),
            (json!({"type": "Git"}), "type Git needs config"),
            (json!({"type": "Jira", "file": file}), "type Jira takes its content from config, not from file"),
            (json!({"type": "File", "file": file, "name": "n"}), "name belongs to plugins' types"),
            (json!({"type": "File", "file": file, "mountPath": "/a"}), "mountPath belongs to plugins' types"),
            (json!({"type": "File", "file": file, "fileMode": 1}), "fileMode belongs to plugins' types"),
            (json!({"type": "File", "file": file, "optional": true}), "optional belongs to plugins' types"),
            (json!({"type": "File", "file": file, "config": {}}), "config belongs to plugins' types"),
        ] {
            let message = read(item).unwrap_err();
            assert!(message.contains(words), "{message}");
        }
    }

    #[test]
    fn only_what_cannot_be_is_refused() {
        for (path, words) in [
            ("/", "is the root"),
            ("/etc/../passwd", "holds \"..\""),
            ("/a\nb", "holds a control character"),
            ("/a:b", "holds \":\""),
            ("a.md", "mountPath \"a.md\" is not absolute"),
            ("/proc/self/x", "reaches into /proc"),
            ("/sys", "reaches into /sys"),
            ("/dev/null", "reaches into /dev"),
            (
                "/var/run/secrets/kubernetes.io/serviceaccount/token",
                "reaches into /var/run/secrets/kubernetes.io",
            ),
            ("/run", "reaches into /run/secrets/kubernetes.io/serviceaccount"),
            ("/workspace", "would cover the workspace"),
            ("/workspace/.", "would cover the workspace"),
        ] {
            for conventions in [&KUBETASK, &KUBETASK_OPENCODE] {
                let message = read_by(conventions, file_at(path)).unwrap_err();
                assert!(message.contains(words), "{path}: {message}");
            }
        }
        for path in [
            "/workspace/task.md",
            "/etc/passwd",
            "/bin/sh",
            "/tools/opencode",
            "/git/x",
            "/home/agent/.claude/CLAUDE.md",
            "/var/run/secrets/app/key",
            "/etc/kubeopencode/x",
        ] {
            read(file_at(path)).unwrap_or_else(|refused| panic!("{refused}"));
        }
        for path in ["/tools/opencode", "/git"] {
            let message = read_by(&KUBETASK_OPENCODE, file_at(path)).unwrap_err();
            assert!(message.contains("which is reserved"), "{message}");
        }
    }
}
