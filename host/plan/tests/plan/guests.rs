//! Stands in for the plugins: what the built-in guests answer, without WebAssembly around them.

use kubeopencode_api::plugin::{
    Action, BuildRequest, CommandPlan, ConfigMapMount, Diagnostic, Entry, EnvVar, GitFetch, Plan, SecretKey,
    Severity, Tools, UrlFetch,
};
use kubeopencode_plan::Item;
use serde_json::{Value, json};

/// A plugin's plan for an item; `entries` are those of the ConfigMap that it names, if there is one.
pub(crate) fn plan(
    item: &Item,
    mount_path: Option<&str>,
    mode: Option<u32>,
    entries: Option<&[Entry]>,
) -> Plan {
    let payload = &item.payload;
    let text = |pointer: &str| payload.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let path = mount_path.unwrap_or_default().to_owned();
    let actions = match item.type_.as_str() {
        "Text" => vec![Action::Inline(text("").unwrap())],
        "Runtime" => vec![Action::Inline("KubeOpenCode Runtime Context".to_owned())],
        "ConfigMap" => match (text("/key"), mount_path, entries) {
            (_, _, None) => return skipped("ConfigMap not found"),
            (Some(key), _, Some(entries)) => {
                let entry = entries.iter().find(|entry| entry.key == key).unwrap();
                vec![Action::Inline(String::from_utf8(entry.value.clone()).unwrap())]
            }
            (None, Some(_), _) => {
                let optional = payload["optional"] == true;
                vec![Action::MountConfigMap(ConfigMapMount {
                    name: text("/name").unwrap(),
                    optional,
                    path,
                    mode,
                })]
            }
            (None, None, Some(entries)) => entries.iter().map(inline_file).collect(),
        },
        "Git" => vec![Action::FetchGit(GitFetch {
            repository: text("/repository").unwrap(),
            r#ref: text("/ref").unwrap_or_else(|| "HEAD".to_owned()),
            sub_path: text("/path").unwrap_or_default(),
            depth: payload["depth"].as_u64().unwrap_or(1) as u32,
            submodules: payload["submodules"] == true,
            credentials: text("/secretRef/name"),
            path,
        })],
        "URL" => vec![Action::FetchUrl(UrlFetch {
            url: text("/source").unwrap(),
            headers: payload["headers"]
                .as_object()
                .map(|headers| {
                    headers.iter().map(|(k, v)| (k.clone(), v.as_str().unwrap().to_owned())).collect()
                })
                .unwrap_or_default(),
            sha256: text("/sha256"),
            insecure_skip_tls_verify: payload["insecureSkipTLSVerify"] == true,
            unpack: payload["unpack"] == true,
            timeout_seconds: payload["timeout"].as_u64().unwrap_or(30) as u32,
            credentials: text("/secretRef/name"),
            path,
            mode,
        })],
        "File" => match text("/source/inline") {
            Some(content) => vec![Action::Inline(content)],
            None => vec![Action::InlineSecret(SecretKey {
                name: text("/source/secretKeyRef/name").unwrap(),
                key: text("/source/secretKeyRef/key").unwrap(),
                optional: false,
            })],
        },
        other => panic!("no stand-in for {other}"),
    };
    Plan { actions, ..Plan::default() }
}

fn inline_file(entry: &Entry) -> Action {
    let text = String::from_utf8(entry.value.clone()).unwrap();
    Action::InlineFile { name: entry.key.clone(), text }
}

fn skipped(message: &str) -> Plan {
    let remark =
        Diagnostic { severity: Severity::Info, code: "OptionalSkipped".into(), message: message.into() };
    Plan { diagnostics: vec![remark], ..Plan::default() }
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
