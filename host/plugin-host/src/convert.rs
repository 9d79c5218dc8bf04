//! Between the generated types of the interface and those that the other crates use.
//!
//! May touch: the shape of data. Must not touch: its meaning.

use kubeopencode_api::plugin as api;

use crate::bindings::builder::exports::kubeopencode::plugin::command_builder as builder;
use crate::bindings::context::exports::kubeopencode::plugin::context_type as context;
use crate::bindings::server::exports::kubeopencode::plugin::server;
use crate::bindings::types;

/// What plugins learn about this host.
pub(crate) fn host_info() -> types::HostInfo {
    types::HostInfo {
        version: kubeopencode_api::release::VERSION.to_owned(),
        features: api::FEATURES.iter().map(|feature| (*feature).to_owned()).collect(),
    }
}

fn each<A: Into<B>, B>(items: Vec<A>) -> Vec<B> {
    items.into_iter().map(Into::into).collect()
}

fn each_of<A: Clone + Into<B>, B>(items: &[A]) -> Vec<B> {
    items.iter().cloned().map(Into::into).collect()
}

impl From<types::Extension> for api::Extension {
    fn from(e: types::Extension) -> Self {
        Self { kind: e.kind, body: e.body }
    }
}

impl From<api::Extension> for types::Extension {
    fn from(e: api::Extension) -> Self {
        Self { kind: e.kind, body: e.body }
    }
}

impl From<types::PluginError> for api::PluginError {
    fn from(e: types::PluginError) -> Self {
        let kind = match e.kind {
            types::ErrorKind::InvalidConfig => api::ErrorKind::InvalidConfig,
            types::ErrorKind::Unsatisfied => api::ErrorKind::Unsatisfied,
            types::ErrorKind::Unsupported => api::ErrorKind::Unsupported,
            types::ErrorKind::Internal => api::ErrorKind::Internal,
        };
        Self { kind, message: e.message, field: e.field }
    }
}

impl From<types::Diagnostic> for api::Diagnostic {
    fn from(d: types::Diagnostic) -> Self {
        let severity = match d.severity {
            types::Severity::Info => api::Severity::Info,
            types::Severity::Warning => api::Severity::Warning,
        };
        Self { severity, code: d.code, message: d.message }
    }
}

impl From<types::SecretKey> for api::SecretKey {
    fn from(s: types::SecretKey) -> Self {
        Self { name: s.name, key: s.key, optional: s.optional }
    }
}

impl From<types::EnvVar> for api::EnvVar {
    fn from(e: types::EnvVar) -> Self {
        let source = match e.source {
            types::EnvSource::Value(value) => api::EnvSource::Value(value),
            types::EnvSource::Secret(secret) => api::EnvSource::Secret(secret.into()),
            types::EnvSource::Extended(extension) => api::EnvSource::Extended(extension.into()),
        };
        Self { name: e.name, source }
    }
}

impl From<types::File> for api::File {
    fn from(f: types::File) -> Self {
        let content = match f.content {
            types::Content::Text(text) => text.into_bytes(),
            types::Content::Bytes(bytes) => bytes,
        };
        Self { path: f.path, content, mode: f.mode }
    }
}

/// Text where it is UTF-8.
fn content(bytes: Vec<u8>) -> types::Content {
    match String::from_utf8(bytes) {
        Ok(text) => types::Content::Text(text),
        Err(error) => types::Content::Bytes(error.into_bytes()),
    }
}

impl From<api::TaskView> for types::TaskView {
    fn from(t: api::TaskView) -> Self {
        Self {
            name: t.name,
            namespace: t.namespace,
            uid: t.uid,
            created: t.created.to_string(),
            labels: t.labels,
            annotations: t.annotations,
        }
    }
}

impl From<api::AgentView> for types::AgentView {
    fn from(a: api::AgentView) -> Self {
        Self { name: a.name, namespace: a.namespace, workspace_dir: a.workspace_dir }
    }
}

impl From<types::CommandPlan> for api::CommandPlan {
    fn from(p: types::CommandPlan) -> Self {
        let tools = match p.tools {
            types::Tools::InitContainer(image) => api::Tools::InitContainer(image),
            types::Tools::None => api::Tools::None,
            types::Tools::Extended(extension) => api::Tools::Extended(extension.into()),
        };
        Self {
            tools,
            command: p.command,
            args: p.args,
            env: each(p.env),
            files: each(p.files),
            result_reader: p.result_reader,
            diagnostics: each(p.diagnostics),
            extensions: each(p.extensions),
        }
    }
}

impl From<server::ServerPlan> for api::ServerPlan {
    fn from(p: server::ServerPlan) -> Self {
        Self { command: p.command.into(), health_path: p.health_path }
    }
}

impl From<context::Outcome> for api::Outcome {
    fn from(o: context::Outcome) -> Self {
        match o {
            context::Outcome::Needs(needs) => Self::Needs(each(needs)),
            context::Outcome::Ready(plan) => Self::Ready(api::Plan {
                actions: each(plan.actions),
                diagnostics: each(plan.diagnostics),
                extensions: each(plan.extensions),
            }),
            context::Outcome::Extended(extension) => Self::Extended(extension.into()),
        }
    }
}

impl From<context::Required> for api::Required {
    fn from(r: context::Required) -> Self {
        let what = match r.what {
            context::Requirement::ConfigMap(read) => {
                api::Requirement::ConfigMap(api::ConfigMapRead { name: read.name, keys: read.keys })
            }
            context::Requirement::Prompt => api::Requirement::Prompt,
            context::Requirement::Fetch(request) => api::Requirement::Fetch(request.into()),
            context::Requirement::Extended(extension) => api::Requirement::Extended(extension.into()),
        };
        Self { id: r.id, what }
    }
}

impl From<context::HttpRequest> for api::HttpRequest {
    fn from(r: context::HttpRequest) -> Self {
        Self {
            url: r.url,
            body: r.body,
            headers: each(r.headers),
            credentials: r.credentials,
            sha256: r.sha256,
            insecure_skip_tls_verify: r.insecure_skip_tls_verify,
            timeout_seconds: r.timeout_seconds,
        }
    }
}

impl From<context::Header> for api::Header {
    fn from(h: context::Header) -> Self {
        let value = match h.value {
            context::HeaderValue::Value(value) => api::HeaderValue::Value(value),
            context::HeaderValue::Secret(text) => api::HeaderValue::Secret(api::SecretText {
                before: text.before,
                secret: text.secret.into(),
                after: text.after,
            }),
            context::HeaderValue::Extended(extension) => api::HeaderValue::Extended(extension.into()),
        };
        Self { name: h.name, value }
    }
}

impl From<context::Action> for api::Action {
    fn from(action: context::Action) -> Self {
        use context::Action as From;
        match action {
            From::Inline(text) => Self::Inline(text),
            From::InlineFile(file) => Self::InlineFile { name: file.name, text: file.text },
            From::InlineSecret(secret) => Self::InlineSecret(secret.into()),
            From::InlineBrought(file) => {
                Self::InlineBrought(api::BroughtFile { path: file.path, optional: file.optional })
            }
            From::WriteFile(file) => Self::WriteFile(file.into()),
            From::MountConfigMap(m) => Self::MountConfigMap(api::ConfigMapMount {
                name: m.name,
                optional: m.optional,
                path: m.path,
                mode: m.mode,
            }),
            From::MountSecret(f) => {
                Self::MountSecret(api::SecretFile { secret: f.secret.into(), path: f.path, mode: f.mode })
            }
            From::FetchGit(g) => Self::FetchGit(api::GitFetch {
                repository: g.repository,
                r#ref: g.ref_,
                sub_path: g.sub_path,
                depth: g.depth,
                submodules: g.submodules,
                credentials: g.credentials,
                path: g.path,
                mode: g.mode,
            }),
            From::FetchUrl(u) => Self::FetchUrl(api::UrlFetch {
                request: u.request.into(),
                unpack: u.unpack,
                path: u.path,
                mode: u.mode,
            }),
            From::RunInit(c) => Self::RunInit(api::RunInit {
                name: c.name,
                image: c.image,
                command: c.command,
                args: c.args,
                env: each(c.env),
            }),
            From::SetEnv(env) => Self::SetEnv(env.into()),
            From::Extended(extension) => Self::Extended(extension.into()),
        }
    }
}

/// A request as the interface has it, with payload and settings already as text.
pub(crate) fn request(r: api::EvaluateRequest, payload: String, settings: String) -> context::Request {
    context::Request {
        host: host_info(),
        type_name: r.type_name,
        task: r.task.map(Into::into),
        agent: r.agent.into(),
        origin: r.origin.as_str().to_owned(),
        namespace: r.namespace,
        item_name: r.item_name,
        mount_path: r.mount_path,
        file_mode: r.file_mode,
        payload,
        settings,
        inputs: each(r.inputs),
        extensions: each(r.extensions),
    }
}

impl From<api::Input> for context::Input {
    fn from(i: api::Input) -> Self {
        let value = match i.value {
            api::Resolved::Missing => context::Resolved::Missing,
            api::Resolved::ConfigMap(entries) => context::Resolved::ConfigMap(each(entries)),
            api::Resolved::Prompt(text) => context::Resolved::Prompt(text),
            api::Resolved::Extended(json) => context::Resolved::Extended(json),
        };
        Self { id: i.id, value }
    }
}

impl From<api::Entry> for context::Entry {
    fn from(e: api::Entry) -> Self {
        Self { key: e.key, value: content(e.value) }
    }
}

/// A build request as the interface has it, with settings already as text.
pub(crate) fn build_request(r: &api::BuildRequest, settings: String) -> builder::BuildRequest {
    builder::BuildRequest {
        host: host_info(),
        task: r.task.clone().into(),
        agent: r.agent.clone().into(),
        tools_dir: r.tools_dir.clone(),
        prompt_path: r.prompt_path.clone(),
        context_path: r.context_path.clone(),
        attach_to: r.attach_to.clone(),
        config: r.config.clone(),
        config_path: r.config_path.clone(),
        settings,
        extensions: each_of(&r.extensions),
    }
}

/// A serve request as the interface has it, with settings already as text.
pub(crate) fn serve_request(r: &api::ServeRequest, settings: String) -> server::ServeRequest {
    server::ServeRequest {
        host: host_info(),
        agent: r.agent.clone().into(),
        tools_dir: r.tools_dir.clone(),
        context_path: r.context_path.clone(),
        port: r.port,
        config: r.config.clone(),
        config_path: r.config_path.clone(),
        settings,
        extensions: each_of(&r.extensions),
    }
}
