//! Custom plugins: what they are granted, and what of their plans only the Pod sees.

use kubeopencode_api::plugin::{
    Action, BroughtFile, Capability, EnvSource, EnvVar, Extension, File, GitFetch, Header, HeaderValue,
    HttpRequest, Plan, RunInit, SecretKey, SecretText, UrlFetch,
};
use kubeopencode_api::plugin_object::SecretGrant;
use kubeopencode_plan::{Granted, Item};
use serde_json::json;

use crate::guests;
use crate::stable::{container, env, given};

type PlanFor = fn(&Item) -> Plan;

/// What a custom plugin asks for and is told.
#[test]
fn a_custom_plugin_gets_what_it_was_granted_and_nothing_else() {
    let none = Granted::none;
    let all = || Granted {
        plugin: Some("jira".into()),
        capabilities: vec![
            Capability::Env,
            Capability::Git,
            Capability::Url,
            Capability::Secret,
            Capability::InitContainer,
        ],
        declared: None,
        env: vec!["JIRA_*".into()],
        images: vec!["registry.example/jira:*".into()],
        secrets: vec![SecretGrant { name: "jira".into(), hosts: vec!["*.jira.example".into()] }],
        secret_fields: vec![guests::secret_field(&["secret"])],
    };
    fn fetch(url: &str, secret: &str) -> Plan {
        get(guests::get(url, Some(secret.into())))
    }
    fn get(request: HttpRequest) -> Plan {
        only(Action::FetchUrl(UrlFetch { request, unpack: false, path: "issue".into(), mode: None }))
    }
    fn send(url: &str, secret: &str) -> Plan {
        let secret = SecretKey { name: secret.into(), key: "token".into(), optional: false };
        let value =
            HeaderValue::Secret(SecretText { before: "Bearer ".into(), secret, after: String::new() });
        let headers = vec![Header { name: "X-Token".into(), value }];
        get(HttpRequest { headers, ..guests::get(url, None) })
    }
    fn post(bytes: usize) -> Plan {
        let body = Some("x".repeat(bytes));
        get(HttpRequest { body, ..guests::get("https://a.example/", None) })
    }
    fn extension() -> Extension {
        Extension { kind: "volume".into(), body: "{}".into() }
    }
    fn brought(path: &str, more: Vec<Action>) -> Plan {
        let mut actions = vec![Action::InlineBrought(BroughtFile { path: path.into(), optional: false })];
        actions.extend(more);
        Plan { actions, ..Plan::default() }
    }
    fn clone(path: &str) -> Action {
        Action::FetchGit(GitFetch {
            repository: "https://git.example/a".into(),
            r#ref: "HEAD".into(),
            sub_path: String::new(),
            depth: 1,
            submodules: false,
            credentials: None,
            path: path.into(),
            mode: None,
        })
    }
    fn only(action: Action) -> Plan {
        Plan { actions: vec![action], ..Plan::default() }
    }
    fn write(path: &str) -> Plan {
        only(Action::WriteFile(File { path: path.into(), content: Vec::new(), mode: None }))
    }
    fn run(image: &str) -> Plan {
        let (name, image) = ("x".into(), image.into());
        only(Action::RunInit(RunInit { name, image, command: vec![], args: vec![], env: vec![] }))
    }
    type Case = (PlanFor, fn() -> Granted, Result<(), &'static str>);
    let none_: fn() -> Granted = none;
    let all_: fn() -> Granted = all;
    // of a type that declares nothing
    let undeclared: fn() -> Granted = || {
        let plugin = Some("jira".into());
        Granted { plugin, ..Granted::none() }.of_type(&guests::descriptor("Text"), &[])
    };
    let cases: [Case; 29] = [
        (|_| write("issue.md"), none_, Ok(())),
        (|_| write("/opt/issue/a.md"), none_, Ok(())),
        (|_| write("/etc/passwd"), all_, Err("lies neither in the workspace")),
        (|_| write("/opt/issue/../passwd"), all_, Err("holds \"..\"")),
        (|_| write("/tools/opencode"), all_, Err("reaches into /tools")),
        (
            |_| only(Action::SetEnv(EnvVar::value("JIRA_URL", "x"))),
            none_,
            Err("needs the capability \"env\""),
        ),
        (
            |_| only(Action::SetEnv(EnvVar::value("JIRA_URL", "x"))),
            undeclared,
            Err(
                "needs the capability \"env\": its type does not declare it: add it to the type's own capabilities first, \
                 then add it to spec.grants.capabilities of Plugin \"jira\"",
            ),
        ),
        (|_| only(Action::SetEnv(EnvVar::value("JIRA_URL", "x"))), all_, Ok(())),
        (|_| only(Action::SetEnv(EnvVar::value("OTHER", "x"))), all_, Err("OTHER is not granted")),
        (|_| only(Action::SetEnv(EnvVar::value("LD_PRELOAD", "x"))), all_, Err("LD_PRELOAD is reserved")),
        (|_| only(Action::SetEnv(EnvVar::value("JIRA_SET", "x"))), all_, Err("JIRA_SET is set by the Agent")),
        (|_| run("registry.example/jira:1"), all_, Ok(())),
        (
            |_| run("registry.example/other:1"),
            all_,
            Err("which no grant allows: add it to spec.grants.images of Plugin \"jira\""),
        ),
        (|_| fetch("https://a.jira.example/1", "jira"), all_, Ok(())),
        (|_| fetch("https://evil.example/1", "jira"), all_, Err("Secret jira must not go to evil.example")),
        (|_| fetch("https://evil.example/1", "named"), all_, Ok(())),
        (|_| fetch("https://a.jira.example/1", "other"), all_, Err("neither named by the item nor granted")),
        (|_| send("https://a.jira.example/1", "jira"), all_, Ok(())),
        (|_| send("https://evil.example/1", "jira"), all_, Err("Secret jira must not go to evil.example")),
        (|_| send("https://evil.example/1", "named"), all_, Ok(())),
        (|_| send("https://a.jira.example/1", "jira"), none_, Err("needs the capability \"url\"")),
        (|_| post(65536), all_, Ok(())),
        (|_| post(65537), all_, Err("the body of a request has 65537 bytes; at most 65536 are allowed")),
        (|_| brought("src/README.md", vec![clone("src")]), all_, Ok(())),
        (
            |_| brought("other/README.md", vec![clone("src")]),
            all_,
            Err("which no clone, download or init container"),
        ),
        (|_| brought("../README.md", vec![clone("src")]), all_, Err("holds \"..\"")),
        (
            |_| only(Action::Extended(extension())),
            all_,
            Err("asks for \"volume\", which this version does not know"),
        ),
        (
            |_| {
                let source = EnvSource::Extended(extension());
                only(Action::SetEnv(EnvVar { name: "JIRA_URL".into(), source }))
            },
            all_,
            Err("asks for \"volume\", which this version does not know"),
        ),
        (
            |_| {
                let headers = vec![Header { name: "A".into(), value: HeaderValue::Extended(extension()) }];
                get(HttpRequest { headers, ..guests::get("https://a.example/", None) })
            },
            all_,
            Err("asks for \"volume\", which this version does not know"),
        ),
    ];
    for (i, (plugin, granted, expected)) in cases.into_iter().enumerate() {
        let mut given =
            given(json!([{"type": "Jira", "mountPath": "/opt/issue", "config": {"secret": "named"}}]));
        given.agent.spec.pod_spec =
            Some(serde_json::from_value(json!({"env": [{"name": "JIRA_SET", "value": "x"}]})).unwrap());
        given.plugin = Some((plugin, granted()));
        match (given.plan(), expected) {
            (Ok(_), Ok(())) => {}
            (Err(refusal), Err(words)) => {
                assert!(refusal.message.contains(words), "{i}: {refusal}");
                assert!(refusal.message.starts_with("spec.contexts[0] of Task team/hello: "), "{refusal}");
                assert_eq!(refusal.reason.as_str(), "PluginError");
            }
            (plan, _) => panic!("{i}: {:?}", plan.map(|_| ()).map_err(|refusal| refusal.message)),
        }
    }
}

/// What `url-fetch` and `context-init` are told of requests with Secrets and of files that are read in the Pod.
#[test]
fn what_only_the_pod_sees_is_told_by_reference() {
    let mut given = given(
        json!([{"type": "Jira", "config": {}}, {"type": "Jira", "config": {}, "mountPath": "/opt/a.md"}]),
    );
    let granted = Granted {
        capabilities: vec![Capability::Url, Capability::Secret],
        secrets: vec![SecretGrant { name: "jira".into(), hosts: vec!["*.jira.example".into()] }],
        ..Granted::none()
    };
    given.plugin = Some((
        |item| {
            let secret = SecretKey { name: "jira".into(), key: "token".into(), optional: true };
            let value =
                HeaderValue::Secret(SecretText { before: "Bearer ".into(), secret, after: "!".into() });
            let headers = vec![Header::value("A", "b"), Header { name: "X-Token".into(), value }];
            let request = HttpRequest {
                body: Some("{}".into()),
                headers,
                ..guests::get("https://a.jira.example/", None)
            };
            let path = format!("issue-{}", item.field.len() + usize::from(item.field.contains('1')));
            let brought = BroughtFile { path: path.clone(), optional: false };
            let fetch = UrlFetch { request, unpack: false, path, mode: None };
            Plan { actions: vec![Action::FetchUrl(fetch), Action::InlineBrought(brought)], ..Plan::default() }
        },
        granted,
    ));
    let plan = given.plan().unwrap();
    let fetch = container(&plan, "url-fetch-0");
    assert_eq!(env(fetch, "URL_HEADERS"), r#"{"A":"b"}"#);
    assert_eq!((env(fetch, "URL_POST"), env(fetch, "URL_BODY")), ("true", "{}"));
    assert_eq!(
        env(fetch, "URL_SECRET_HEADERS"),
        r#"[{"name":"X-Token","before":"Bearer ","after":"!","variable":"URL_SECRET_HEADER_0"}]"#
    );
    let variable =
        fetch.env.iter().flatten().find(|variable| variable.name == "URL_SECRET_HEADER_0").unwrap();
    assert_eq!(
        serde_json::to_value(&variable.value_from).unwrap(),
        json!({"secretKeyRef": {"name": "jira", "key": "token", "optional": true}})
    );
    let files = env(container(&plan, "context-init"), "FILE_MAPPINGS");
    let inline = r#"{"parts":[{"path":"/workspace/issue-16","escape":true,"brought":true}],"separator":"\n","before":"<context name=\"context\""#;
    assert!(files.contains(inline), "{files}");
    let file = r#"{"parts":[{"path":"/workspace/issue-17","brought":true}],"targetPath":"/tools/.files/"#;
    assert!(files.contains(file), "{files}");
}
