//! What is offered of a component for a Plugin: with its settings, its names, its grants. Pure.

use std::sync::Arc;

use kube::ResourceExt;
use kubeopencode_api::plugin_object::Plugin;
use kubeopencode_evaluate::Publication;
use kubeopencode_plan::Granted;
use kubeopencode_plugin_host::Plugin as Code;
use serde_json::json;

use super::desired::is_meant;

/// What is offered of it for this Plugin, where it came from the OCI artifact of the digest `image`, if from one. Grants are for
/// the bytes that the Plugin names, and for no others.
///
/// # Errors
/// Settings that the component does not take, and names of types that it does not have.
pub fn publication(plugin: &Plugin, code: &Arc<Code>, image: Option<&str>) -> Result<Publication, String> {
    let spec = &plugin.spec;
    let settings = spec.config.clone().unwrap_or_else(|| json!({}));
    for type_ in code.types() {
        if let Err(error) = type_.check_settings(&settings) {
            let (name, field) = (&type_.descriptor().name, error.field.replace('/', "."));
            return Err(format!("spec.config{field}: not what {name} takes: {error}"));
        }
    }
    let own: Vec<_> = code.types().iter().map(|type_| type_.descriptor().name.as_str()).collect();
    if let Some(unknown) = spec.names.keys().find(|name| !own.contains(&name.as_str())) {
        let own = own.join(", ");
        return Err(format!("spec.names: the component has no type {unknown}: it has {own}"));
    }
    Ok(Publication {
        source: plugin.name_any(),
        created: plugin.creation_timestamp().map(|time| time.0).unwrap_or_default(),
        plugin: Arc::clone(code),
        names: spec.names.clone(),
        settings,
        granted: granted(plugin, code.digest(), image),
        allowed_namespaces: spec.allowed_namespaces.clone(),
    })
}

fn granted(plugin: &Plugin, digest: &str, image: Option<&str>) -> Granted {
    let spec = &plugin.spec;
    let is_named = spec.sha256.is_some() || spec.source.oci.is_some();
    let nothing = Granted { plugin: Some(plugin.name_any()), ..Granted::none() };
    match &spec.grants {
        Some(grants) if is_named && is_meant(spec, digest, image) => Granted {
            capabilities: grants.capabilities.clone(),
            env: grants.env.clone(),
            images: grants.images.clone(),
            secrets: grants.secrets.clone(),
            ..nothing
        },
        _ => nothing,
    }
}

#[cfg(test)]
mod tests {
    use kubeopencode_api::plugin::Capability;
    use kubeopencode_api::plugin_object::{Grants, OciSource, PluginSpec, SecretGrant};

    use super::*;

    #[test]
    fn grants_are_for_the_bytes_that_the_plugin_names_and_for_no_others() {
        let (hex, other) = ("ab".repeat(32), "cd".repeat(32));
        let (digest, image) = (format!("sha256:{hex}"), format!("sha256:{other}"));
        let secret = SecretGrant { name: "jira-token".to_owned(), hosts: vec!["jira.example".to_owned()] };
        let grants = Grants {
            capabilities: vec![Capability::Env],
            env: vec!["JIRA_*".to_owned()],
            images: vec!["jira.example/*".to_owned()],
            secrets: vec![secret],
            ..Grants::default()
        };
        let nothing = Granted { plugin: Some("jira".to_owned()), ..Granted::none() };
        let all = Granted {
            capabilities: grants.capabilities.clone(),
            env: grants.env.clone(),
            images: grants.images.clone(),
            secrets: grants.secrets.clone(),
            ..nothing.clone()
        };
        let mut plugin = Plugin::new("jira", PluginSpec { grants: Some(grants), ..PluginSpec::default() });
        assert_eq!(granted(&plugin, &digest, None), nothing, "any bytes");
        plugin.spec.sha256 = Some(other);
        assert_eq!(granted(&plugin, &digest, None), nothing, "other bytes");
        plugin.spec.sha256 = Some(hex);
        assert_eq!(granted(&plugin, &digest, None), all);
        plugin.spec.sha256 = None;
        plugin.spec.source.oci = Some(OciSource { image: format!("a.example/jira@{image}") });
        assert_eq!(granted(&plugin, &digest, Some(&image)), all, "the artifact's digest names them, too");
        assert_eq!(granted(&plugin, &digest, Some(&digest)), nothing, "another artifact");
        plugin.spec.grants = None;
        assert_eq!(granted(&plugin, &digest, Some(&image)), nothing);
    }
}
