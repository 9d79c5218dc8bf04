//! `spec.credentials` of an Agent or a WorkspaceConfig: Secrets as environment or files, in the four forms that mean something.
//!
//! May touch: these credentials. Must not touch: a Secret.

use kubeopencode_api::agent::Credential as Spec;

use crate::Refusal;
use crate::conventions::Conventions;
use crate::item::file_mode;
use crate::object_name::{is_env_name, is_key, is_object_name};
use crate::paths::AbsPath;
use crate::run::credential::{Credential, CredentialEnv, CredentialMount};

pub(super) fn read(
    specs: &[Spec],
    workspace: &AbsPath,
    holder: &str,
    conventions: &Conventions,
) -> Result<Vec<Credential>, Refusal> {
    let mut credentials = Vec::with_capacity(specs.len());
    for (i, spec) in specs.iter().enumerate() {
        let described = format!("spec.credentials[{i}] \"{}\" of {holder}", spec.name);
        let refuse = |problem: String| Refusal::invalid_config(format!("{described}: {problem}"));
        if specs[..i].iter().any(|earlier| earlier.name == spec.name) {
            return Err(refuse("another credential has this name already: choose another".to_owned()));
        }
        let (env, mount) = form(spec, workspace, conventions).map_err(refuse)?;
        credentials.push(Credential { secret: spec.secret_ref.name.clone(), described, env, mount });
    }
    Ok(credentials)
}

fn form(
    spec: &Spec,
    workspace: &AbsPath,
    conventions: &Conventions,
) -> Result<(Option<CredentialEnv>, Option<CredentialMount>), String> {
    let set = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let (key, env, path) = (set(&spec.secret_ref.key), set(&spec.env), set(&spec.mount_path));
    if !is_object_name(&spec.secret_ref.name) {
        return Err(format!("\"{}\" cannot be the name of a Secret", spec.secret_ref.name));
    }
    if let Some(key) = key.as_ref().filter(|key| !is_key(key)) {
        return Err(format!("\"{key}\" cannot be a key of a Secret"));
    }
    if let Some(env) = env.as_ref().filter(|env| !is_env_name(env)) {
        return Err(format!("\"{env}\" cannot be the name of an environment variable"));
    }
    if spec.file_mode.is_some() && path.is_none() {
        return Err("fileMode without mountPath means nothing: add mountPath, or remove fileMode".to_owned());
    }
    let mode = spec.file_mode.map(file_mode).transpose()?;
    let mount = path
        .map(|path| {
            Ok::<_, String>(CredentialMount {
                key: key.clone(),
                path: mount_path(&path, workspace, conventions)?,
                mode,
            })
        })
        .transpose()?;
    match (key, env) {
        (Some(key), Some(name)) => Ok((Some(CredentialEnv::Key { name, key }), mount)),
        (Some(_), None) if mount.is_none() => {
            Err("a key of the Secret goes nowhere: add env, mountPath or both, or remove key".to_owned())
        }
        (None, Some(env)) => {
            Err(format!("env {env} needs one key of the Secret: add secretRef.key, or remove env"))
        }
        (None, None) if mount.is_none() => Ok((Some(CredentialEnv::All), None)),
        (_, None) => Ok((None, mount)),
    }
}

fn mount_path(written: &str, workspace: &AbsPath, conventions: &Conventions) -> Result<AbsPath, String> {
    let refuse = |problem: &str| Err(format!("mountPath \"{written}\" {problem}"));
    let path = match AbsPath::parse(written, Some(workspace)) {
        Ok(path) => path,
        Err(problem) => return refuse(problem),
    };
    if let Some(reserved) = path.touches(conventions.reserved_paths) {
        return refuse(&format!("reaches into {reserved}, which is reserved: choose another"));
    }
    if workspace.is_within(&path) {
        return refuse(&format!("would cover the workspace {workspace}: choose another"));
    }
    if !path.is_mountable() {
        return refuse("holds \":\", which no mount path may: choose another");
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::conventions::KUBEOPENCODE;

    fn only(spec: Value) -> Result<Credential, String> {
        let workspace = AbsPath::parse("/workspace", None).unwrap();
        let specs: Vec<Spec> = serde_json::from_value(json!([spec])).unwrap();
        read(&specs, &workspace, "Agent team/a", &KUBEOPENCODE)
            .map(|mut all| all.remove(0))
            .map_err(|r| r.message)
    }

    fn path(path: &str) -> AbsPath {
        AbsPath::parse(path, None).unwrap()
    }

    #[test]
    fn each_form_means_one_thing() {
        let key = || Some("k".to_owned());
        let env = || Some(CredentialEnv::Key { name: "E".into(), key: "k".into() });
        for (spec, expected_env, mount) in [
            (json!({"name": "a", "secretRef": {"name": "s"}}), Some(CredentialEnv::All), None),
            (
                json!({"name": "a", "secretRef": {"name": "s"}, "mountPath": "/etc/s"}),
                None,
                Some(CredentialMount { key: None, path: path("/etc/s"), mode: None }),
            ),
            (json!({"name": "a", "secretRef": {"name": "s", "key": "k"}, "env": "E"}), env(), None),
            (
                json!({"name": "a", "secretRef": {"name": "s", "key": "k"}, "mountPath": "f", "fileMode": 256}),
                None,
                Some(CredentialMount { key: key(), path: path("/workspace/f"), mode: Some(0o400) }),
            ),
            (
                json!({"name": "a", "secretRef": {"name": "s", "key": "k"}, "env": "E", "mountPath": "/f"}),
                env(),
                Some(CredentialMount { key: key(), path: path("/f"), mode: None }),
            ),
        ] {
            let credential = only(spec.clone()).unwrap();
            assert_eq!((credential.env, credential.mount), (expected_env, mount), "{spec}");
        }
    }

    #[test]
    fn the_rest_is_refused_with_a_remedy() {
        for (spec, words) in [
            (
                json!({"name": "a", "secretRef": {"name": "s", "key": "k"}}),
                "spec.credentials[0] \"a\" of Agent team/a: a key of the Secret goes nowhere: add env, mountPath",
            ),
            (json!({"name": "a", "secretRef": {"name": "s"}, "env": "E"}), "env E needs one key"),
            (
                json!({"name": "a", "secretRef": {"name": "s"}, "env": "E", "mountPath": "/d"}),
                "env E needs one key",
            ),
            (json!({"name": "a", "secretRef": {"name": "s"}, "fileMode": 256}), "fileMode without mountPath"),
            (json!({"name": "a", "secretRef": {"name": "s"}, "mountPath": "/"}), "is the root"),
            (
                json!({"name": "a", "secretRef": {"name": "s"}, "mountPath": "/workspace"}),
                "cover the workspace",
            ),
            (
                json!({"name": "a", "secretRef": {"name": "s"}, "mountPath": "/tools/x"}),
                "reaches into /tools",
            ),
            (json!({"name": "a", "secretRef": {"name": "S"}}), "\"S\" cannot be the name of a Secret"),
            (json!({"name": "a", "secretRef": {"name": "s", "key": "k"}, "env": "A=B"}), "\"A=B\" cannot be"),
        ] {
            let message = only(spec).unwrap_err();
            assert!(message.contains(words), "{message}");
        }
    }
}
