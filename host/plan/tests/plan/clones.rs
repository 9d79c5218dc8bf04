//! What lies beside, above and inside of clones, and what they wait for.

use kubeopencode_plan::ExecutionPlan;
use serde_json::{Value, json};

use crate::stable::{container, given};

fn variable(plan: &ExecutionPlan, of: &str, name: &str) -> Option<Value> {
    let variable = container(plan, of).env.iter().flatten().find(|variable| variable.name == name)?;
    Some(serde_json::from_str(variable.value.as_deref()?).unwrap())
}

/// Path, volume and part of each mount.
fn mounts(plan: &ExecutionPlan, of: &str) -> Vec<(String, String)> {
    let mounts = container(plan, of).volume_mounts.iter().flatten();
    mounts.map(|mount| (mount.mount_path.clone(), mount.name.clone())).collect()
}

fn clone(path: &str) -> Value {
    json!({"type": "Git", "git": {"repository": "https://a.example/b"}, "mountPath": path})
}

#[test]
fn directories_above_mounts_are_made_before_anything_is_mounted_in_them() {
    let plan = given(json!([
        clone("services/api"),
        {"type": "Text", "text": "x", "mountPath": "services/NOTES.md"},
        clone("services/api/vendor/deep/lib"),
        clone("top"),
        clone("/opt/guides/team"),
    ]));
    let plan = plan.plan().unwrap();
    assert_eq!(
        variable(&plan, "git-init-0", "MOUNT_PARENTS"),
        Some(json!([{"root": "/mounts/0", "directories": ["services"]}]))
    );
    let of_first = [("/git", "git-context-0"), ("/mounts/0", "workspace")];
    assert_eq!(mounts(&plan, "git-init-0"), of_first.map(|(path, name)| (path.to_owned(), name.to_owned())));
    // who clones makes what is in the clone
    assert_eq!(variable(&plan, "git-init-0", "GIT_DIRECTORIES"), Some(json!(["vendor/deep"])));
    for other in ["git-init-1", "git-init-2", "git-init-3"] {
        assert_eq!(mounts(&plan, other).len(), 1, "{other}");
        assert_eq!(variable(&plan, other, "GIT_DIRECTORIES"), None, "{other}");
    }
    assert_eq!(variable(&plan, "context-init", "MOUNT_PARENTS"), None);
}

#[test]
fn without_a_clone_the_last_program_of_ours_makes_them_for_the_agent() {
    let mut given = given(json!([]));
    given.agent.spec.credentials = serde_json::from_value(json!([
        {"name": "k", "secretRef": {"name": "s", "key": "id"}, "mountPath": "/workspace/home/keys/id"},
        {"name": "top", "secretRef": {"name": "s", "key": "id"}, "mountPath": "/workspace/id"},
        {"name": "away", "secretRef": {"name": "s", "key": "id"}, "mountPath": "/opt/keys/id"},
    ]))
    .unwrap();
    given.agent.spec.command = vec!["true".into()];
    given.task.spec.description = None;
    let plan = given.plan().unwrap();
    assert_eq!(
        variable(&plan, "context-init", "MOUNT_PARENTS"),
        Some(json!([{"root": "/workspace", "directories": ["home/keys"]}]))
    );
}

#[test]
fn volumes_of_the_agents_own_are_left_as_they_are() {
    let mut given = given(json!([clone("/data/src/api")]));
    given.agent.spec.pod_spec = Some(
        serde_json::from_value(json!({
            "volumes": [{"name": "data", "emptyDir": {}}],
            "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        }))
        .unwrap(),
    );
    assert_eq!(variable(&given.plan().unwrap(), "git-init-0", "MOUNT_PARENTS"), None);
}

#[test]
fn what_others_put_into_a_clone_is_told_to_who_clones() {
    let mut given = given(json!([
        clone("."),
        {"type": "Text", "text": "known"},
        {"type": "Text", "text": "x", "mountPath": "docs/a b.md"},
        {"type": "URL", "url": {"source": "https://a.example/a.zip", "unpack": true}, "mountPath": "conf"},
        clone("vendor/lib"),
        {"type": "Text", "text": "x", "mountPath": "vendor/lib/notes.md"},
        {"type": "Git", "git": {"repository": "https://a.example/b", "path": "docs"}, "mountPath": "part"},
        {"type": "Text", "text": "x", "mountPath": "part/notes.md"},
    ]));
    given.agent.spec.credentials = serde_json::from_value(json!([
        {"name": "k", "secretRef": {"name": "s", "key": "id"}, "mountPath": "/workspace/key"},
    ]))
    .unwrap();
    let plan = given.plan().unwrap();
    let Some(Value::Array(mut others)) = variable(&plan, "git-init-0", "GIT_EXCLUDE") else { panic!() };
    others.sort_by_key(|path| path.as_str().unwrap().to_owned());
    let expected =
        [".kubeopencode/context.md", "conf/", "docs/a b.md", "key", "part/", "task.md", "vendor/lib/"];
    assert_eq!(others, expected);
    assert_eq!(variable(&plan, "git-init-1", "GIT_EXCLUDE"), Some(json!(["notes.md"])));
    assert_eq!(variable(&plan, "git-init-2", "GIT_EXCLUDE"), None, "a part of a repository has no commits");
}

#[test]
fn the_pod_waits_for_the_secret_of_a_clone_and_of_a_download() {
    let plan = given(json!([
        {"type": "Git", "git": {"repository": "https://a.example/b", "secretRef": {"name": "deploy"}}, "mountPath": "a"},
        {"type": "URL", "url": {"source": "https://a.example/b", "secretRef": {"name": "token"}}, "mountPath": "b"},
        {"type": "Git", "git": {"repository": "https://a.example/c", "secretRef": {"name": "perhaps"}}, "mountPath": "c",
         "optional": true},
    ]));
    let plan = plan.plan().unwrap();
    let volumes = plan.pod.spec.as_ref().unwrap().volumes.iter().flatten();
    let secrets: Vec<_> = volumes
        .filter_map(|volume| Some((volume.name.as_str(), volume.secret.as_ref()?)))
        .map(|(name, secret)| {
            (name, secret.secret_name.as_deref().unwrap(), secret.optional, secret.items.is_some())
        })
        .collect();
    assert_eq!(secrets, [("git-secret-0", "deploy", None, false), ("url-secret-0", "token", None, false)]);
    // kubelet waits for volumes that somebody mounts
    for (of, volume, mounted) in [
        ("git-init-0", "git-secret-0", true),
        ("url-fetch-0", "url-secret-0", true),
        ("git-init-1", "git-secret-1", false),
    ] {
        assert_eq!(mounts(&plan, of).iter().any(|(_, name)| name == volume), mounted, "{of}");
    }
}
