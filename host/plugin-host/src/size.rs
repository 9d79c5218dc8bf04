//! What an answer weighs, and the features that it uses.
//!
//! Weight is text and bytes plus a little for each element, so that a million empty ones are not free.
//!
//! May touch: plans as data. Must not touch: what they ask for, which is the PlanValidator's.

use kubeopencode_api::plugin::{
    Action, CommandPlan, Diagnostic, EnvSource, EnvVar, Extension, FEATURES, File, HeaderValue, HttpRequest,
    Outcome, Plan, PluginError, Required, Requirement, SecretKey, Tools,
};

const ELEMENT: usize = 16;

/// The feature of [`Requirement::Fetch`].
const FETCH: &str = "fetch";

/// An answer of a plugin.
pub(crate) trait Answer {
    /// Its size in bytes.
    fn bytes(&self) -> usize;
    /// The features that it uses: kinds of extensions, and what the interface has for later.
    fn features(&self) -> Vec<&str>;

    /// The first feature that this version does not have.
    fn missing_feature(&self) -> Option<&str> {
        self.features().into_iter().find(|feature| !FEATURES.contains(feature))
    }
}

impl Answer for Outcome {
    fn bytes(&self) -> usize {
        match self {
            Self::Needs(needs) => sum(needs, |Required { id, what }| {
                id.len()
                    + match what {
                        Requirement::ConfigMap(read) => read.name.len() + sum(&read.keys, String::len),
                        Requirement::Prompt => 0,
                        Requirement::Fetch(r) => request(r),
                        Requirement::Extended(e) => extension(e),
                    }
            }),
            Self::Ready(Plan { actions, diagnostics, extensions }) => {
                sum(actions, action) + sum(diagnostics, diagnostic) + sum(extensions, extension)
            }
            Self::Extended(e) => extension(e),
        }
    }

    fn features(&self) -> Vec<&str> {
        match self {
            Self::Needs(needs) => needs
                .iter()
                .filter_map(|required| match &required.what {
                    Requirement::Extended(e) => Some(e.kind.as_str()),
                    Requirement::Fetch(_) => Some(FETCH),
                    Requirement::ConfigMap(_) | Requirement::Prompt => None,
                })
                .collect(),
            Self::Ready(plan) => {
                kinds(&plan.extensions).chain(plan.actions.iter().flat_map(action_features)).collect()
            }
            Self::Extended(e) => vec![&e.kind],
        }
    }
}

impl Answer for CommandPlan {
    fn bytes(&self) -> usize {
        let tools = match &self.tools {
            Tools::InitContainer(image) => text(image),
            Tools::None => 0,
            Tools::Extended(e) => extension(e),
        };
        tools
            + sum(&self.command, String::len)
            + sum(&self.args, String::len)
            + sum(&self.env, env)
            + sum(&self.files, file)
            + text(&self.result_reader)
            + sum(&self.diagnostics, diagnostic)
            + sum(&self.extensions, extension)
    }

    fn features(&self) -> Vec<&str> {
        let tools = match &self.tools {
            Tools::Extended(e) => Some(e.kind.as_str()),
            Tools::InitContainer(_) | Tools::None => None,
        };
        kinds(&self.extensions).chain(tools).chain(env_features(&self.env)).collect()
    }
}

impl Answer for kubeopencode_api::plugin::ServerPlan {
    fn bytes(&self) -> usize {
        self.command.bytes() + text(&self.health_path)
    }

    fn features(&self) -> Vec<&str> {
        self.command.features()
    }
}

fn kinds(extensions: &[Extension]) -> impl Iterator<Item = &str> {
    extensions.iter().map(|e| e.kind.as_str())
}

fn env_features(env: &[EnvVar]) -> impl Iterator<Item = &str> {
    env.iter().filter_map(|variable| match &variable.source {
        EnvSource::Extended(e) => Some(e.kind.as_str()),
        EnvSource::Value(_) | EnvSource::Secret(_) => None,
    })
}

fn action_features(action: &Action) -> Vec<&str> {
    match action {
        Action::Extended(e) => vec![&e.kind],
        Action::SetEnv(variable) => env_features(std::slice::from_ref(variable)).collect(),
        Action::RunInit(init) => env_features(&init.env).collect(),
        Action::FetchUrl(fetch) => {
            let headers = fetch.request.headers.iter();
            let extended = headers.filter_map(|header| match &header.value {
                HeaderValue::Extended(e) => Some(e.kind.as_str()),
                HeaderValue::Value(_) | HeaderValue::Secret(_) => None,
            });
            extended.collect()
        }
        _ => Vec::new(),
    }
}

/// Bytes of an orderly error.
pub(crate) fn error_bytes(error: &PluginError) -> usize {
    error.message.len() + text(&error.field)
}

fn sum<T>(items: &[T], weigh: impl Fn(&T) -> usize) -> usize {
    items.iter().map(|item| ELEMENT + weigh(item)).sum()
}

fn text(text: &Option<String>) -> usize {
    text.as_ref().map_or(0, String::len)
}

fn extension(e: &Extension) -> usize {
    e.kind.len() + e.body.len()
}

fn diagnostic(d: &Diagnostic) -> usize {
    d.code.len() + d.message.len()
}

fn secret(s: &SecretKey) -> usize {
    s.name.len() + s.key.len()
}

fn file(f: &File) -> usize {
    f.path.len() + f.content.len()
}

fn env(e: &EnvVar) -> usize {
    e.name.len()
        + match &e.source {
            EnvSource::Value(value) => value.len(),
            EnvSource::Secret(s) => secret(s),
            EnvSource::Extended(e) => extension(e),
        }
}

fn request(r: &HttpRequest) -> usize {
    let header = |value: &HeaderValue| match value {
        HeaderValue::Value(value) => value.len(),
        HeaderValue::Secret(text) => text.before.len() + secret(&text.secret) + text.after.len(),
        HeaderValue::Extended(e) => extension(e),
    };
    r.url.len()
        + text(&r.body)
        + sum(&r.headers, |h| h.name.len() + header(&h.value))
        + text(&r.sha256)
        + text(&r.credentials)
}

fn action(a: &Action) -> usize {
    match a {
        Action::Inline(text) => text.len(),
        Action::InlineFile { name, text } => name.len() + text.len(),
        Action::InlineSecret(s) => secret(s),
        Action::InlineBrought(f) => f.path.len(),
        Action::WriteFile(f) => file(f),
        Action::MountConfigMap(m) => m.name.len() + m.path.len(),
        Action::MountSecret(f) => secret(&f.secret) + f.path.len(),
        Action::FetchGit(g) => {
            [&g.repository, &g.r#ref, &g.sub_path, &g.path].map(|s| s.len()).iter().sum::<usize>()
                + text(&g.credentials)
        }
        Action::FetchUrl(u) => request(&u.request) + u.path.len(),
        Action::RunInit(c) => {
            c.name.len()
                + c.image.len()
                + sum(&c.command, String::len)
                + sum(&c.args, String::len)
                + sum(&c.env, env)
        }
        Action::SetEnv(e) => env(e),
        Action::Extended(e) => extension(e),
    }
}
