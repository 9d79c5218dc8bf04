//! For native tests of plugins: requests with a Task `task` of namespace `team` and Agent `default`.

use crate::{
    AgentView, Answer, BuildRequest, ContextType, Entry, HostInfo, Input, Request, Resolved, ServeRequest,
    TaskView,
};

fn host() -> HostInfo {
    HostInfo { version: env!("CARGO_PKG_VERSION").to_owned(), features: Vec::new() }
}

fn task() -> TaskView {
    TaskView {
        name: "task".to_owned(),
        namespace: "team".to_owned(),
        uid: "7f7e5f0c-5d49-4b8e-9c36-0d6c7a2f5b11".to_owned(),
        created: "2026-01-02T03:04:05Z".to_owned(),
        labels: Vec::new(),
        annotations: Vec::new(),
    }
}

fn agent() -> AgentView {
    AgentView {
        name: "default".to_owned(),
        namespace: "team".to_owned(),
        workspace_dir: "/workspace".to_owned(),
    }
}

/// An item of the Task with this payload and nothing else.
pub fn request(payload: serde_json::Value) -> Request {
    Request {
        host: host(),
        type_name: String::new(),
        task: Some(task()),
        agent: agent(),
        origin: "task".to_owned(),
        namespace: "team".to_owned(),
        item_name: None,
        mount_path: None,
        file_mode: None,
        payload: payload.to_string(),
        settings: "{}".to_owned(),
        inputs: Vec::new(),
        extensions: Vec::new(),
    }
}

/// The answer to a need under this id: no such object.
pub fn missing(id: &str) -> Input {
    Input { id: id.to_owned(), value: Resolved::Missing }
}

/// The answer to a need under this id: a ConfigMap of these entries.
pub fn config_map(id: &str, entries: &[(&str, &[u8])]) -> Input {
    let entries = entries
        .iter()
        .map(|(key, value)| Entry { key: (*key).to_owned(), value: value.to_vec().into() })
        .collect();
    Input { id: id.to_owned(), value: Resolved::ConfigMap(entries) }
}

/// Calls a context type as the host does, payload as JSON text included.
///
/// # Errors
/// The plugin's own.
pub fn evaluate<T: ContextType>(request: &Request) -> Answer {
    crate::evaluate_context::<T>(request)
}

/// The process of a Task with a prompt and nothing else.
pub fn build_request() -> BuildRequest {
    BuildRequest {
        host: host(),
        task: task(),
        agent: agent(),
        tools_dir: "/tools".to_owned(),
        prompt_path: Some("/workspace/task.md".to_owned()),
        context_path: None,
        attach_to: None,
        config: None,
        config_path: None,
        settings: "{}".to_owned(),
        extensions: Vec::new(),
    }
}

/// The server of an Agent without config on port 4096.
pub fn serve_request() -> ServeRequest {
    ServeRequest {
        host: host(),
        agent: agent(),
        tools_dir: "/tools".to_owned(),
        context_path: None,
        port: 4096,
        config: None,
        config_path: None,
        settings: "{}".to_owned(),
        extensions: Vec::new(),
    }
}
