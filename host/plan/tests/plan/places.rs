//! Where a Task's contexts may go.

use serde_json::{Value, json};

use crate::stable::given;

/// What becomes of a Text at this path in a Task of the namespace `team`.
fn mounted(agents_namespace: &str, spec: Value, path: &str) -> Result<(), String> {
    let mut given = given(json!([{"type": "Text", "name": "n", "text": "x", "mountPath": path}]));
    let mut agent = serde_json::to_value(&given.agent).unwrap();
    agent["metadata"]["namespace"] = agents_namespace.into();
    agent["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    given.agent = serde_json::from_value(agent).unwrap();
    let reference = json!({"name": "default", "namespace": agents_namespace});
    given.task.spec.agent_ref = Some(reference);
    given.plan().map(drop).map_err(|refusal| refusal.message)
}

#[test]
fn nothing_that_the_agent_runs_through_is_a_tasks() {
    for path in [
        "/usr/local/bin/sh",
        "/usr",
        "/bin/sh",
        "/lib/x86_64-linux-gnu/libc.so.6",
        "/lib64",
        "/etc/opencode/opencode.json",
        "/etc/claude-code/managed-settings.json",
        "/etc/codex/requirements.toml",
        "/etc/passwd",
        "/etc/group",
        "/etc/ssl/certs/ca.pem",
        "/etc/ld.so.preload",
        "/etc/hosts",
        "/tmp/.opencode/opencode.json",
        "/tmp/.config/opencode/opencode.json",
        "/tmp/.local/share/opencode/auth.json",
        "/tmp/.gitconfig",
        "/tmp",
    ] {
        let refused = mounted("team", json!({}), path).unwrap_err();
        let begin = format!("spec.contexts[0] \"n\" of Task team/hello: path {path} reaches into ");
        assert!(refused.starts_with(&begin), "{refused}");
        assert!(
            refused.ends_with("in the workspace /workspace, or let Agent team/default hold the context"),
            "{refused}"
        );
        // no pattern opens it
        let refused = mounted("team", json!({"taskMountPaths": ["/*"]}), path).unwrap_err();
        assert!(refused.starts_with(&begin), "{refused}");
    }
    assert!(mounted("team", json!({}), "/etc").unwrap_err().contains("which is reserved"));
    for path in
        ["/etc/app/app.conf", "/opt/data", "/tmp/data", "/home/agent/.ssh/config", "opencode.json", "/data"]
    {
        mounted("team", json!({}), path).unwrap();
    }
}

#[test]
fn what_the_agents_own_variables_and_command_name_is_not_a_tasks() {
    let env = |name: &str, value: &str| json!({"podSpec": {"env": [{"name": name, "value": value}]}});
    for (spec, path) in [
        (env("HOME", "/home/agent"), "/home/agent/.npmrc"),
        (env("HOME", "/home/agent"), "/home"),
        (env("PATH", "/opt/bin:/usr/bin"), "/opt/bin/git"),
        (env("XDG_CONFIG_HOME", "/cfg"), "/cfg/opencode/opencode.json"),
        (env("OPENCODE_CONFIG", "/company/opencode.json"), "/company/opencode.json"),
        (env("SSL_CERT_FILE", "/ca/ca.pem"), "/ca"),
        (json!({"command": ["/app/run", "x"]}), "/app/run"),
    ] {
        let refused = mounted("team", spec, path).unwrap_err();
        assert!(refused.contains("reaches into"), "{path}: {refused}");
    }
    for (spec, path) in [
        (env("HOME", "/home/agent"), "/tmp/.npmrc"),
        (env("HOME", "/home/agent"), "/home/agent/notes"),
        (env("DATA", "/data"), "/data/x"),
        (env("PATH", "/workspace/bin:/opt/bin"), "/workspace/bin/x"),
        (json!({"command": ["run", "/data/x"]}), "/data/x"),
    ] {
        mounted("team", spec, path).unwrap_or_else(|refused| panic!("{path}: {refused}"));
    }
}

#[test]
fn tasks_of_other_namespaces_stay_in_the_workspace_unless_the_agent_says_more() {
    mounted("platform", json!({}), "guides/a.md").unwrap();
    assert_eq!(
        mounted("platform", json!({}), "/etc/app/app.conf").unwrap_err(),
        "spec.contexts[0] \"n\" of Task team/hello: path /etc/app/app.conf lies outside of the workspace /workspace, where \
         Tasks of other namespaces mount nothing: choose one in the workspace, or add /etc/app/app.conf to \
         spec.taskMountPaths of Agent platform/default"
    );
    let more = json!({"taskMountPaths": [".", "/etc/app", "/data-?"]});
    for path in ["a.md", "/etc/app/app.conf", "/data-1/x/y"] {
        mounted("platform", more.clone(), path).unwrap();
    }
    assert_eq!(
        mounted("team", more, "/data/x").unwrap_err(),
        "spec.contexts[0] \"n\" of Task team/hello: path /data/x is not in spec.taskMountPaths of Agent team/default (allowed: \
         [/workspace, /etc/app, /data-?]): choose one that is, or add it there"
    );
    let refused = mounted("team", json!({"taskMountPaths": []}), "a.md").unwrap_err();
    assert!(refused.contains("(allowed: [])"), "{refused}");
}
