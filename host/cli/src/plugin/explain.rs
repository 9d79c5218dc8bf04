//! `plugin explain`: what the types of a component take, as a user of them wants to read it.
//!
//! May touch: descriptors. Must not touch: a cluster.

mod example;
mod fields;
mod variants;

use std::fmt::Write;
use std::path::{Path, PathBuf};

use kubeopencode_api::plugin::{Capability, Descriptor, Kind, MountPathRule};
use serde::Serialize;
use serde_json::{Value, json};

use super::project::{MANIFEST, Project};
use super::readable::indented;
use super::report;
use super::session::Session;
use crate::args::{Component, ExplainPlugin, Output};
use crate::error::CliError;
use crate::yaml;
use fields::{Field, fields};

/// A type. Its JSON is read by scripts: fields are added, never renamed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Explained {
    name: String,
    version: String,
    description: String,
    kind: Kind,
    config: Vec<Field>,
    settings: Vec<Field>,
    capabilities: Vec<Capability>,
    secrets: Vec<String>,
    mount_path: &'static str,
    /// A context item, or an Agent.
    example: Value,
    /// The Plugin that installs and grants it; none: nobody needs to write one.
    plugin: Option<Value>,
}

/// Explains the types of a component.
///
/// # Errors
/// The component does not load, or has no such type.
pub(super) fn explain(flags: &ExplainPlugin) -> Result<String, CliError> {
    let (component, only) = asked(flags);
    let project = Project::of(&component)?;
    let session = Session::of(&project)?;
    let mut all = Vec::new();
    for type_ in session.plugin.types() {
        let secrets = type_.secret_fields().iter().map(ToString::to_string).collect();
        all.push(explained(&session, type_.descriptor(), secrets));
    }
    if let Some(name) = only {
        let names: Vec<_> = all.iter().map(|type_| type_.name.clone()).collect();
        all.retain(|type_| type_.name == name);
        if all.is_empty() {
            return Err(CliError::Usage(format!("there is no type {name}: there are {}", names.join(", "))));
        }
    }
    match flags.output {
        Output::Json => Ok(report::json(&all)?),
        Output::Text => {
            let texts = all.iter().map(text).collect::<Result<Vec<_>, _>>()?;
            Ok(texts.join("\n"))
        }
    }
}

/// The component, and which one of its types. In the folder of a plugin a type may stand alone, as in `explain Jira`.
fn asked(flags: &ExplainPlugin) -> (Component, Option<String>) {
    let Component { file, kind, class } = &flags.component;
    let is_type = |file: &&PathBuf| {
        let is_word = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        file.to_str().is_some_and(is_word) && !file.exists() && Path::new(MANIFEST).exists()
    };
    let named = file.as_ref().filter(is_type).filter(|_| flags.type_.is_none());
    let only = named.map(|name| name.display().to_string()).or_else(|| flags.type_.clone());
    let file = file.clone().filter(|_| named.is_none());
    (Component { file, kind: *kind, class: *class }, only)
}

fn explained(session: &Session, descriptor: &Descriptor, secrets: Vec<String>) -> Explained {
    let kind = session.plugin.kind();
    let settings = descriptor.settings_schema.as_ref();
    Explained {
        name: descriptor.name.clone(),
        version: descriptor.version.clone(),
        description: descriptor.description.clone(),
        kind,
        config: fields(&descriptor.config_schema),
        settings: settings.map(fields).unwrap_or_default(),
        capabilities: descriptor.capabilities.clone(),
        secrets,
        mount_path: descriptor.mount_path.as_str(),
        example: used(kind, descriptor),
        plugin: installed(session, descriptor),
    }
}

/// How it is used: an item, or an Agent.
fn used(kind: Kind, descriptor: &Descriptor) -> Value {
    let Descriptor { name, config_schema, mount_path, .. } = descriptor;
    match kind {
        Kind::ContextType => item(name, config_schema, *mount_path),
        Kind::CommandBuilder => json!({
            "apiVersion": "kubeopencode.io/v1alpha1",
            "kind": "Agent",
            "metadata": {"name": name.to_lowercase()},
            "spec": {"commandBuilder": name, "serviceAccountName": "agent", "config": example::of(config_schema)},
        }),
    }
}

/// An item of a context type, as a user may begin with.
pub(super) fn item(type_: &str, schema: &Value, mount_path: MountPathRule) -> Value {
    let mut item = json!({"type": type_, "config": example::of(schema)});
    if mount_path.as_str() == "required" {
        item["mountPath"] = "path/in/the/workspace".into();
    }
    item
}

fn installed(session: &Session, descriptor: &Descriptor) -> Option<Value> {
    let capabilities = &descriptor.capabilities;
    if capabilities.is_empty() && descriptor.settings_schema.is_none() {
        return None;
    }
    let mut spec = json!({"kind": session.plugin.kind(), "source": {"configMap": {"name": session.name}}});
    if let Some(schema) = &descriptor.settings_schema {
        spec["config"] = example::of(schema);
    }
    if !capabilities.is_empty() {
        spec["sha256"] = session.sha256().into();
        let mut grants = json!({ "capabilities": capabilities });
        for (capability, field, pattern) in [
            (Capability::Env, "env", "NAME"),
            (Capability::InitContainer, "images", "registry.example.com/image:*"),
        ] {
            if capabilities.contains(&capability) {
                grants[field] = json!([pattern]);
            }
        }
        spec["grants"] = grants;
    }
    Some(json!({
        "apiVersion": "kubeopencode.io/v1alpha1",
        "kind": "Plugin",
        "metadata": {"name": session.name},
        "spec": spec,
    }))
}

fn text(type_: &Explained) -> Result<String, CliError> {
    let Explained { name, version, description, kind, .. } = type_;
    let mut text = format!("{}\n", format!("{name} {version}   {description}").trim_end());
    let holder = match kind {
        Kind::ContextType => "config of an item of this type",
        Kind::CommandBuilder => "config of an Agent with this commandBuilder",
    };
    table(&mut text, holder, &type_.config, "anything, its schema names no field");
    if let Some(first) = type_.secrets.first() {
        let more = type_.secrets.iter().skip(1).map(|place| format!(", {place}")).collect::<String>();
        let _ = writeln!(text, "  names Secrets at {first}{more}");
    }
    if *kind == Kind::ContextType {
        let _ = writeln!(text, "mountPath is {}", type_.mount_path);
    }
    table(&mut text, "settings (config of its Plugin)", &type_.settings, "none");
    let capabilities: Vec<_> = type_.capabilities.iter().map(|capability| capability.as_str()).collect();
    match capabilities.is_empty() {
        true => text.push_str("asks for nothing: needs no grants\n"),
        false => {
            let _ = writeln!(text, "asks for {}: needs grants", capabilities.join(", "));
        }
    }
    let example = match kind {
        Kind::ContextType => yaml::document(&[&type_.example])?,
        Kind::CommandBuilder => yaml::document(&type_.example)?,
    };
    let _ = writeln!(text, "example\n{}", indented(&example, 2));
    if let Some(plugin) = &type_.plugin {
        let _ = writeln!(
            text,
            "Plugin (`kubeopencode plugin pack` writes it with its ConfigMap)\n{}",
            indented(&yaml::document(plugin)?, 2)
        );
    }
    Ok(text)
}

fn table(text: &mut String, title: &str, fields: &[Field], nothing: &str) {
    if fields.is_empty() {
        let _ = writeln!(text, "{title}: {nothing}");
        return;
    }
    let _ = writeln!(text, "{title}");
    let width = fields.iter().map(|field| field.path.chars().count()).max().unwrap_or_default();
    let kinds = fields.iter().map(|field| field.in_words().chars().count()).max().unwrap_or_default();
    for field in fields {
        let line = format!("  {:<width$}   {:<kinds$}   {}", field.path, field.in_words(), field.meaning());
        let _ = writeln!(text, "{}", line.trim_end());
    }
}
