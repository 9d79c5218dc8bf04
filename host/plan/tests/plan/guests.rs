//! Stands in for the plugins: what the built-in guests answer, as far as these tests ask them.

use kubeopencode_api::plugin::{
    Action, BuildRequest, Capability, CommandPlan, Descriptor, Entry, EnvVar, Extension, GIT_WRITE, GitFetch,
    HttpRequest, MountPathRule, Plan, SecretField, SecretStep, Tools, UrlFetch,
};
use kubeopencode_plan::{Granted, Item};
use serde_json::json;

/// What a type says about itself.
pub(crate) fn descriptor(type_: &str) -> Descriptor {
    let (mount_path, default_name) = match type_ {
        "Git" | "URL" => (MountPathRule::Required, None),
        "Runtime" => (MountPathRule::Ignored, Some("runtime".to_owned())),
        _ => (MountPathRule::Optional, None),
    };
    Descriptor {
        name: type_.to_owned(),
        version: "1".to_owned(),
        description: String::new(),
        config_schema: json!({}),
        settings_schema: None,
        capabilities: Vec::new(),
        requires: Vec::new(),
        mount_path,
        default_name,
        extensions: Vec::new(),
    }
}

/// The property of a payload that names a Secret.
pub(crate) fn secret_field(way: &[&str]) -> SecretField {
    SecretField(way.iter().map(|name| SecretStep::Property((*name).to_owned())).collect())
}

/// A GET, with these credentials.
pub(crate) fn get(url: impl Into<String>, credentials: Option<String>) -> HttpRequest {
    HttpRequest {
        url: url.into(),
        body: None,
        headers: Vec::new(),
        credentials,
        sha256: None,
        insecure_skip_tls_verify: false,
        timeout_seconds: 30,
    }
}

/// A plugin's plan for an item; `entries` are those of the ConfigMap that it names, if there is one.
pub(crate) fn plan(
    item: &Item,
    mount_path: Option<&str>,
    item_mode: Option<u32>,
    entries: Option<&[Entry]>,
) -> Plan {
    let payload = &item.payload;
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let mut actions = match item.type_.as_str() {
        "Text" => vec![Action::Inline(text(payload))],
        "Runtime" => vec![Action::Inline("KubeOpenCode Runtime Context".to_owned())],
        "ConfigMap" => entries.unwrap().iter().map(inline_file).collect(),
        "Git" => vec![Action::FetchGit(GitFetch {
            repository: text(&payload["repository"]),
            r#ref: "HEAD".to_owned(),
            sub_path: payload["path"].as_str().unwrap_or_default().to_owned(),
            depth: 1,
            submodules: false,
            credentials: payload["secretRef"]["name"].as_str().map(str::to_owned),
            path: mount_path.unwrap().to_owned(),
            mode: item_mode,
        })],
        "URL" => vec![Action::FetchUrl(UrlFetch {
            request: get(text(&payload["source"]), payload["secretRef"]["name"].as_str().map(str::to_owned)),
            unpack: payload["unpack"] == true,
            path: mount_path.unwrap().to_owned(),
            mode: None,
        })],
        other => panic!("no stand-in for {other}"),
    };
    if payload["identity"].is_object() || payload["push"] == true {
        let mut body = json!({"path": mount_path.unwrap(), "push": payload["push"] == true});
        body["identity"] = payload["identity"].clone();
        actions.push(Action::Extended(Extension { kind: GIT_WRITE.to_owned(), body: body.to_string() }));
    }
    Plan { actions, ..Plan::default() }
}

/// What the built-in plugin of the item's type may do.
pub(crate) fn granted(item: &Item) -> Granted {
    let capabilities = match item.type_.as_str() {
        "Git" => vec![Capability::Git, Capability::Secret],
        "URL" => vec![Capability::Url, Capability::Secret],
        _ => Vec::new(),
    };
    Granted { capabilities, secret_fields: vec![secret_field(&["secretRef", "name"])], ..Granted::none() }
}

fn inline_file(entry: &Entry) -> Action {
    let text = String::from_utf8(entry.value.clone()).unwrap();
    Action::InlineFile { name: entry.key.clone(), text }
}

/// What the builder `opencode` answers.
pub(crate) fn opencode(request: &BuildRequest) -> CommandPlan {
    let prompt = request.prompt_path.as_deref().unwrap_or("nothing");
    let mut env = Vec::new();
    if let Some(path) = &request.config_path {
        env.push(EnvVar::value("OPENCODE_CONFIG", path));
    }
    env.push(EnvVar::value("OPENCODE_PERMISSION", r#"{"*":"allow"}"#));
    if request.context_path.is_some() {
        let content = json!({"instructions": [".kubeopencode/context.md"]});
        env.push(EnvVar::value("OPENCODE_CONFIG_CONTENT", content.to_string()));
    }
    let command = format!("exec /tools/kubeopencode agent-run -- /tools/opencode run < {prompt}");
    CommandPlan {
        tools: Tools::InitContainer(None),
        command: vec!["sh".into(), "-c".into(), command],
        args: Vec::new(),
        env,
        files: Vec::new(),
        result_reader: Some(r#"{"format":"json-lines","args":["--format","json"]}"#.into()),
        diagnostics: Vec::new(),
        extensions: Vec::new(),
    }
}
