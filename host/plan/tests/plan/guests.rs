//! Stands in for the plugins: what the built-in guests answer, as far as these tests ask them.

use kubeopencode_api::plugin::{
    Action, BuildRequest, Capability, CommandPlan, Entry, EnvVar, GitFetch, Plan, Tools, UrlFetch,
};
use kubeopencode_plan::{Granted, Item};
use serde_json::json;

/// A plugin's plan for an item; `entries` are those of the ConfigMap that it names, if there is one.
pub(crate) fn plan(item: &Item, mount_path: Option<&str>, entries: Option<&[Entry]>) -> Plan {
    let payload = &item.payload;
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let actions = match item.type_.as_str() {
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
        })],
        "URL" => vec![Action::FetchUrl(UrlFetch {
            url: text(&payload["source"]),
            headers: Vec::new(),
            sha256: None,
            insecure_skip_tls_verify: false,
            unpack: payload["unpack"] == true,
            timeout_seconds: 30,
            credentials: payload["secretRef"]["name"].as_str().map(str::to_owned),
            path: mount_path.unwrap().to_owned(),
            mode: None,
        })],
        other => panic!("no stand-in for {other}"),
    };
    Plan { actions, ..Plan::default() }
}

/// What the built-in plugin of the item's type may do.
pub(crate) fn granted(item: &Item) -> Granted {
    let capabilities = match item.type_.as_str() {
        "Git" => vec![Capability::Git, Capability::Secret],
        "URL" => vec![Capability::Url, Capability::Secret],
        _ => Vec::new(),
    };
    Granted { capabilities, secret_fields: vec!["/secretRef/name".to_owned()], ..Granted::none() }
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
