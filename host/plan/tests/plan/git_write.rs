//! Who commits in a clone, and what of its Secret the agent gets.

use kubeopencode_api::plugin::{Action, Capability, Extension, GIT_WRITE, GitFetch, Plan};
use kubeopencode_api::plugin_object::SecretGrant;
use kubeopencode_plan::{ExecutionPlan, Granted, Item};
use serde_json::{Value, json};

use crate::guests;
use crate::stable::{container, env, given};

fn clone(path: &str, more: &Value) -> Value {
    let mut git = json!({"repository": "https://a.example/b"});
    git.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"type": "Git", "git": git, "mountPath": path})
}

/// The Secrets that the agent's container mounts, each with its path.
fn secrets_of_agent(plan: &ExecutionPlan) -> Vec<(Value, &str)> {
    let volumes = plan.pod.spec.as_ref().unwrap().volumes.as_ref().unwrap();
    let mounts = container(plan, "agent").volume_mounts.iter().flatten();
    mounts
        .filter_map(|mount| {
            let volume = volumes.iter().find(|volume| volume.name == mount.name)?;
            Some((serde_json::to_value(volume.secret.as_ref()?).unwrap(), mount.mount_path.as_str()))
        })
        .collect()
}

fn variable<'a>(plan: &'a ExecutionPlan, of: &str, name: &str) -> Option<&'a str> {
    let variable = container(plan, of).env.iter().flatten().find(|variable| variable.name == name)?;
    variable.value.as_deref()
}

#[test]
fn the_agent_gets_the_secret_that_it_may_push_with_and_no_other() {
    let secret = |name: &str| json!({"secretRef": {"name": name}});
    let mut push = secret("deploy");
    push["push"] = true.into();
    let plan = given(json!([clone("a", &secret("read")), clone("b", &push)])).plan().unwrap();
    let keys = ["username", "password", "ssh-privatekey", "ssh-known-hosts"];
    let items: Vec<_> = keys.iter().map(|key| json!({"key": key, "path": key})).collect();
    let expected = json!({"secretName": "deploy", "items": items, "optional": true, "defaultMode": 0o600});
    assert_eq!(secrets_of_agent(&plan), [(expected, "/git/push-1")]);
    assert_eq!(env(container(&plan, "git-init-1"), "GIT_PUSH"), "/git/push-1");
    assert_eq!(variable(&plan, "git-init-0", "GIT_PUSH"), None);
    // the Pod still waits for it, and its values are in no variable of the agent
    let mut waits = container(&plan, "git-init-1").volume_mounts.iter().flatten();
    assert!(waits.any(|mount| mount.name == "git-secret-1"));
    let agent = container(&plan, "agent");
    assert!(agent.env.iter().flatten().all(|variable| variable.value_from.is_none()), "{:?}", agent.env);
}

#[test]
fn without_a_word_the_agent_has_no_secret_of_a_clone() {
    let plan = given(json!([clone("a", &json!({"secretRef": {"name": "deploy"}, "push": false}))]));
    let plan = plan.plan().unwrap();
    assert!(secrets_of_agent(&plan).is_empty(), "{:?}", secrets_of_agent(&plan));
}

#[test]
fn a_clone_says_who_commits_in_it_and_an_agent_who_commits_elsewhere() {
    let identity = json!({"name": "Ada", "email": "ada@example.com"});
    let items = json!([clone("a", &json!({"identity": identity})), clone("b", &json!({}))]);
    let mut given = given(items);
    let plan = given.plan().unwrap();
    let told = |plan, of| (variable(plan, of, "GIT_USER_NAME"), variable(plan, of, "GIT_USER_EMAIL"));
    assert_eq!(told(&plan, "git-init-0"), (Some("Ada"), Some("ada@example.com")));
    assert_eq!(told(&plan, "git-init-1"), (None, None));

    let git_config = |plan: &ExecutionPlan| {
        plan.config_maps.iter().find_map(|map| map.data.as_ref()?.get("tools-.gitconfig").cloned())
    };
    let ours = git_config(&plan).unwrap();
    let bot = json!({"identity": {"name": "Build \"Bot\"", "email": "bot@example.com"}});
    given.agent.spec.git = serde_json::from_value(bot).unwrap();
    let user = "[user]\n\tname = \"Build \\\"Bot\\\"\"\n\temail = \"bot@example.com\"\n";
    assert_eq!(git_config(&given.plan().unwrap()), Some(format!("{ours}{user}")));

    // an agent may clone by itself
    given.task.spec.contexts.clear();
    let plan = given.plan().unwrap();
    assert!(git_config(&plan).is_some());
    assert_eq!(variable(&plan, "agent", "GIT_CONFIG_GLOBAL"), Some("/tools/.gitconfig"));
    given.agent.spec.git = None;
    let plan = given.plan().unwrap();
    assert_eq!((git_config(&plan), variable(&plan, "agent", "GIT_CONFIG_GLOBAL")), (None, None));
}

#[test]
fn what_makes_no_sense_is_refused_with_its_field() {
    let secret = json!({"name": "deploy"});
    let identity = |name: &str, email: &str| json!({"name": name, "email": email});
    for (git, words) in [
        (json!({"push": true}), "push needs secretRef"),
        (
            json!({"push": true, "secretRef": secret, "path": "docs"}),
            "push is for a whole repository, and of path \"docs\"",
        ),
        (json!({"identity": identity("Ada", "a@b"), "path": "docs"}), "identity is for a whole repository"),
        (json!({"identity": identity("<>", "a@b")}), "identity: name \"<>\" is none that Git takes"),
        (json!({"identity": identity("Ada", "ada")}), "identity: email \"ada\" is no address"),
    ] {
        let refusal = given(json!([clone("a", &git)])).plan().unwrap_err();
        assert!(refusal.message.starts_with("spec.contexts[0] of Task team/hello: "), "{refusal}");
        assert!(refusal.message.contains(words), "{refusal}");
        assert_eq!(refusal.reason.as_str(), "ContextError");
    }
    let mut given = given(json!([]));
    given.agent.spec.git = serde_json::from_value(json!({"identity": identity("Bot", "bot")})).unwrap();
    let refusal = given.plan().unwrap_err();
    assert!(
        refusal.message.starts_with("spec.git.identity of Agent team/default: email \"bot\""),
        "{refusal}"
    );
    assert_eq!(refusal.reason.as_str(), "InvalidConfig");
}

/// A grant lets the Pod's own programs use a Secret, for some hosts. The agent gets what the item names.
#[test]
fn a_plugin_hands_over_no_secret_that_its_item_does_not_name() {
    fn fetch(secret: &str, body: &str) -> Plan {
        let clone = GitFetch {
            repository: "https://git.example/a".into(),
            r#ref: "HEAD".into(),
            sub_path: String::new(),
            depth: 1,
            submodules: false,
            credentials: Some(secret.into()),
            path: "src".into(),
            mode: None,
        };
        let write = Extension { kind: GIT_WRITE.to_owned(), body: body.to_owned() };
        Plan { actions: vec![Action::FetchGit(clone), Action::Extended(write)], ..Plan::default() }
    }
    let mut given = given(json!([{"type": "Repo", "config": {"secret": "named"}}]));
    let granted = Granted {
        capabilities: vec![Capability::Git, Capability::Secret],
        secrets: vec![SecretGrant { name: "granted".into(), hosts: vec!["git.example".into()] }],
        secret_fields: vec![guests::secret_field(&["secret"])],
        ..Granted::none()
    };
    type Case = (fn(&Item) -> Plan, Result<(), &'static str>);
    let cases: [Case; 6] = [
        (|_| fetch("named", r#"{"path": "src", "push": true}"#), Ok(())),
        (|_| fetch("granted", r#"{"path": "src"}"#), Ok(())),
        (
            |_| fetch("granted", r#"{"path": "src", "push": true}"#),
            Err("Secret granted is not named by the item"),
        ),
        (|_| fetch("named", r#"{"path": "other", "push": true}"#), Err("where no fetch-git before it goes")),
        (|_| fetch("named", r#"{"path": "src", "sign": true}"#), Err("unknown field `sign`")),
        (
            |_| fetch("named", r#"{"path": "src", "identity": {"name": "a", "email": "a@b", "key": "k"}}"#),
            Err("unknown field `key`"),
        ),
    ];
    for (plugin, expected) in cases {
        given.plugin = Some((plugin, granted.clone()));
        match (given.plan(), expected) {
            (Ok(_), Ok(())) => {}
            (Err(refusal), Err(words)) => {
                assert!(refusal.message.contains(words), "{refusal}");
                assert_eq!(refusal.reason.as_str(), "PluginError");
            }
            (plan, expected) => {
                panic!("{expected:?}: {:?}", plan.map(|_| ()).map_err(|refusal| refusal.message))
            }
        }
    }
}
