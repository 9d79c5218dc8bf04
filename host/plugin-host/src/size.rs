//! What an answer weighs, and the extensions in it.
//!
//! Weight is text and bytes plus a little for each element, so that a million empty ones are not free.
//!
//! May touch: plans as data. Must not touch: what they ask for, which is the PlanValidator's.

use kubeopencode_api::plugin::{
    Action, CommandPlan, Diagnostic, EnvSource, EnvVar, Extension, FEATURES, File, Outcome, Plan,
    PluginError, Required, Requirement, SecretKey, Tools,
};

const ELEMENT: usize = 16;

/// An answer of a plugin.
pub(crate) trait Answer {
    /// Its size in bytes.
    fn bytes(&self) -> usize;
    /// All extensions in it.
    fn extensions(&self) -> Vec<&Extension>;

    /// The first extension that this version does not have.
    fn unknown_extension(&self) -> Option<&str> {
        let unknown = |e: &&Extension| !FEATURES.contains(&e.kind.as_str());
        self.extensions().into_iter().find(unknown).map(|e| e.kind.as_str())
    }
}

impl Answer for Outcome {
    fn bytes(&self) -> usize {
        match self {
            Self::Needs(needs) => sum(needs, |Required { id, what }| {
                id.len()
                    + match what {
                        Requirement::ConfigMap(name) => name.len(),
                        Requirement::Extended(e) => extension(e),
                    }
            }),
            Self::Ready(Plan { actions, diagnostics, extensions }) => {
                sum(actions, action) + sum(diagnostics, diagnostic) + sum(extensions, extension)
            }
        }
    }

    fn extensions(&self) -> Vec<&Extension> {
        match self {
            Self::Needs(needs) => needs
                .iter()
                .filter_map(|required| match &required.what {
                    Requirement::Extended(e) => Some(e),
                    Requirement::ConfigMap(_) => None,
                })
                .collect(),
            Self::Ready(plan) => {
                let acted = plan.actions.iter().filter_map(|action| match action {
                    Action::Extended(e) => Some(e),
                    _ => None,
                });
                plan.extensions.iter().chain(acted).collect()
            }
        }
    }
}

impl Answer for CommandPlan {
    fn bytes(&self) -> usize {
        let tools = match &self.tools {
            Tools::InitContainer(image) => text(image),
            Tools::None => 0,
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

    fn extensions(&self) -> Vec<&Extension> {
        self.extensions.iter().collect()
    }
}

impl Answer for kubeopencode_api::plugin::ServerPlan {
    fn bytes(&self) -> usize {
        self.command.bytes() + text(&self.health_path)
    }

    fn extensions(&self) -> Vec<&Extension> {
        self.command.extensions()
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
        }
}

fn action(a: &Action) -> usize {
    match a {
        Action::Inline(text) => text.len(),
        Action::InlineFile { name, text } => name.len() + text.len(),
        Action::InlineSecret(s) => secret(s),
        Action::WriteFile(f) => file(f),
        Action::MountConfigMap(m) => m.name.len() + m.path.len(),
        Action::MountSecret(f) => secret(&f.secret) + f.path.len(),
        Action::FetchGit(g) => {
            [&g.repository, &g.r#ref, &g.sub_path, &g.path].map(|s| s.len()).iter().sum::<usize>()
                + text(&g.credentials)
        }
        Action::FetchUrl(u) => {
            u.url.len()
                + sum(&u.headers, |(name, value)| name.len() + value.len())
                + text(&u.sha256)
                + text(&u.credentials)
                + u.path.len()
        }
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
