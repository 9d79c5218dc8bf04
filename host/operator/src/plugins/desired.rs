//! From Plugins, and what is known of ConfigMaps without their content, to what each Plugin should be. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::core::PartialObjectMeta;
use kube::{Resource, ResourceExt};
use kubeopencode_api::condition::Reason;
use kubeopencode_api::literals::{
    MADE_FOR_ANNOTATION, PLUGIN_LABEL, PLUGIN_NAME_ANNOTATION, PLUGIN_PART_ANNOTATION, SHA256_ANNOTATION,
};
use kubeopencode_api::names::PluginName;
use kubeopencode_api::plugin::Kind;
use kubeopencode_api::plugin_object::{ConfigMapSource, Plugin, PluginSource, PluginSpec};

use super::source::{SourceKind, digest_of_image, directory::Stamp};
use super::status::Problem;

/// Most parts of a component.
pub(super) const MAX_PARTS: usize = 4;

/// A ConfigMap with a component, or a part of one, without what is in it.
pub(super) type Meta = PartialObjectMeta<ConfigMap>;

/// One state of the ConfigMaps that a Plugin is made from: names, UIDs and resourceVersions in the order of the parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Pieces {
    pub(super) maps: Vec<[String; 3]>,
    /// The digest that they say they have, in hex.
    pub(super) sha256: Option<String>,
}

/// The name that a ConfigMap has for a Plugin's source: its own, or the one that all parts have together.
pub(super) fn source_name(map: &Meta) -> String {
    let annotations = map.annotations();
    let of_parts =
        annotations.get(PLUGIN_NAME_ANNOTATION).filter(|_| annotations.contains_key(PLUGIN_PART_ANNOTATION));
    of_parts.cloned().unwrap_or_else(|| map.name_any())
}

/// Where the component of a Plugin is, as far as that is seen without fetching it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// In these ConfigMaps.
    ConfigMaps(Pieces),
    /// Elsewhere: what is there is known when it was fetched.
    Elsewhere,
    /// In a file that is like this now.
    File(Stamp),
}

/// What a component of this name is made from.
///
/// # Errors
/// When nothing, or not all of it, is there.
pub(super) fn pieces(name: &str, namespace: &str, maps: &[impl AsRef<Meta>]) -> Result<Pieces, Problem> {
    let of_it = maps.iter().map(AsRef::as_ref).filter(|map| source_name(map) == name);
    let (parts, whole): (Vec<_>, Vec<_>) =
        of_it.partition(|map| map.annotations().contains_key(PLUGIN_PART_ANNOTATION));
    if let Some(whole) = whole.first() {
        return Ok(in_order(&[whole]));
    }
    if parts.is_empty() {
        let message = format!(
            "there is no ConfigMap {name} with label {PLUGIN_LABEL} in namespace \"{namespace}\": apply it, or label it"
        );
        return Err(Problem::fetched(Reason::NotFound, message));
    }
    let mut by_place = BTreeMap::new();
    let mut of = None;
    for map in parts {
        let written = &map.annotations()[PLUGIN_PART_ANNOTATION];
        let (place, number) = part(written).ok_or_else(|| {
            let problem = format!("annotation {PLUGIN_PART_ANNOTATION}: \"{written}\" of ConfigMap {} is no part: write 1/{MAX_PARTS} for the first of {MAX_PARTS}, which is the most", map.name_any());
            Problem::fetched(Reason::FetchFailed, problem)
        })?;
        if *of.get_or_insert(number) != number || by_place.insert(place, map).is_some() {
            let problem = format!("the parts of {name} do not belong together: {}", said(maps, name));
            return Err(Problem::fetched(Reason::FetchFailed, problem));
        }
    }
    let number = of.unwrap_or_default();
    if let Some(missing) = (1..=number).find(|place| !by_place.contains_key(place)) {
        let problem = format!("part {missing}/{number} of {name} is missing: there is {}", said(maps, name));
        return Err(Problem::fetched(Reason::PartMissing, problem));
    }
    Ok(in_order(&by_place.into_values().collect::<Vec<_>>()))
}

fn in_order(maps: &[&Meta]) -> Pieces {
    let one = |map: &&Meta| {
        [map.name_any(), map.uid().unwrap_or_default(), map.resource_version().unwrap_or_default()]
    };
    let sha256 = maps.iter().find_map(|map| map.annotations().get(SHA256_ANNOTATION));
    Pieces { maps: maps.iter().map(one).collect(), sha256: sha256.map(|hex| hex.to_ascii_lowercase()) }
}

fn part(written: &str) -> Option<(usize, usize)> {
    let (place, number) = written.split_once('/')?;
    let (place, number) = (place.parse().ok()?, number.parse().ok()?);
    (1 <= place && place <= number && number <= MAX_PARTS).then_some((place, number))
}

fn said(maps: &[impl AsRef<Meta>], name: &str) -> String {
    let of_it = maps.iter().map(AsRef::as_ref).filter(|map| source_name(map) == name);
    let words = of_it.map(|map| {
        let part = map.annotations().get(PLUGIN_PART_ANNOTATION).map_or("", String::as_str);
        format!("{part} in ConfigMap {}", map.name_any())
    });
    words.collect::<Vec<_>>().join(", ")
}

/// Whether the bytes are those that Plugin and ConfigMap name.
///
/// # Errors
/// Other ones, or grants for any bytes.
pub(super) fn verify(spec: &PluginSpec, annotated: Option<&str>, digest: &str) -> Result<(), Problem> {
    let (source, is_named) = (&spec.source, spec.sha256.is_some());
    if !is_named && (source.https.is_some() || spec.grants.is_some() && source.oci.is_none()) {
        let what = if source.https.is_some() {
            "what a web server gives may change"
        } else {
            "spec.grants are for certain bytes"
        };
        let message = format!("{what}: add spec.sha256, the digest of the component");
        return Err(Problem::verified(Reason::DigestMissing, message));
    }
    let named = [("spec.sha256", spec.sha256.as_deref()), (SHA256_ANNOTATION, annotated)];
    for (place, sha256) in named {
        let Some(sha256) = sha256 else { continue };
        if !fits(sha256, digest) {
            let message = format!("the component has the digest {digest}, and {place} says {sha256}");
            let problem = Problem::verified(Reason::DigestMismatch, message);
            // nothing tells when a server gives something else
            return Err(if SourceKind::of(source).is_remote() { problem.passing() } else { problem });
        }
    }
    Ok(())
}

/// Whether a component, from an OCI artifact or not, is the one that the Plugin names; whatever it is where none is named.
pub(super) fn is_meant(spec: &PluginSpec, digest: &str, image: Option<&str>) -> bool {
    spec.sha256.as_ref().is_none_or(|sha256| fits(sha256, digest))
        && spec.source.oci.as_ref().is_none_or(|oci| image == Some(digest_of_image(&oci.image)))
}

/// Whether a SHA-256 in hex is that of a digest as `sha256:…`.
pub(super) fn fits(sha256: &str, digest: &str) -> bool {
    digest.strip_prefix("sha256:").is_some_and(|hex| hex.eq_ignore_ascii_case(sha256))
}

/// Whether it says that a component of it serves, or did before a restart.
pub(super) fn has_served(plugin: &Plugin) -> bool {
    plugin.status.as_ref().is_some_and(|status| status.digest.is_some())
}

/// The order for Plugins that are all due, as at a start: others may be bad, or needed by nobody yet.
pub(super) fn in_turn(
    plugins: impl IntoIterator<Item = PluginName>,
    has_served: impl Fn(&PluginName) -> bool,
) -> Vec<PluginName> {
    let (mut in_turn, others): (Vec<_>, Vec<_>) = plugins.into_iter().partition(has_served);
    in_turn.extend(others);
    in_turn
}

/// The Plugin to make for a component in ConfigMaps, where there is none that takes it.
///
/// # Errors
/// A label that names no kind.
pub(super) fn new_plugin(name: &str, maps: &[impl AsRef<Meta>]) -> Option<Result<Plugin, String>> {
    let map = maps.iter().map(AsRef::as_ref).find(|map| source_name(map) == name)?;
    let kind = map.labels().get(PLUGIN_LABEL).map(String::as_str).unwrap_or_default();
    let Some(kind) =
        [Kind::ContextType, Kind::CommandBuilder].into_iter().find(|known| known.as_str() == kind)
    else {
        return Some(Err(format!(
            "label {PLUGIN_LABEL}: \"{kind}\" is no kind of plugin: write {} or {}",
            Kind::ContextType,
            Kind::CommandBuilder
        )));
    };
    let mut plugin = Plugin::new(name, made_spec(name, kind));
    plugin.metadata.annotations = Some([(MADE_FOR_ANNOTATION.to_owned(), name.to_owned())].into());
    Some(Ok(plugin))
}

/// Whether the operator made the Plugin, nobody has changed it since, and what it was made for is gone.
pub(super) fn is_abandoned(plugin: &Plugin, maps: &[impl AsRef<Meta>]) -> bool {
    let name = plugin.name_any();
    plugin.annotations().get(MADE_FOR_ANNOTATION) == Some(&name)
        && plugin.spec == made_spec(&name, plugin.spec.kind)
        && maps.iter().all(|map| source_name(map.as_ref()) != name)
}

fn made_spec(name: &str, kind: Kind) -> PluginSpec {
    let config_map = ConfigMapSource { name: name.to_owned(), key: None };
    PluginSpec {
        kind,
        source: PluginSource { config_map: Some(config_map), ..PluginSource::default() },
        ..PluginSpec::default()
    }
}

/// Drops what nothing here looks at.
pub(super) fn slim(map: &mut Meta) {
    let metadata = map.meta_mut();
    metadata.managed_fields = None;
    let known = [PLUGIN_NAME_ANNOTATION, PLUGIN_PART_ANNOTATION, SHA256_ANNOTATION];
    metadata.annotations.iter_mut().for_each(|all| all.retain(|key, _| known.contains(&key.as_str())));
    metadata.labels.iter_mut().for_each(|all| all.retain(|key, _| key == PLUGIN_LABEL));
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kubeopencode_api::plugin_object::{OciSource, PluginStatus};
    use serde_json::json;

    use super::*;

    fn map(name: &str, part: Option<&str>) -> Arc<Meta> {
        let mut annotations = json!({});
        if let Some(part) = part {
            annotations = json!({PLUGIN_NAME_ANNOTATION: "jira", PLUGIN_PART_ANNOTATION: part});
        }
        let metadata = json!({
            "name": name, "uid": name, "resourceVersion": "1", "annotations": annotations,
            "labels": {PLUGIN_LABEL: "context-type"},
        });
        Arc::new(
            serde_json::from_value(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}))
                .unwrap(),
        )
    }

    fn found(maps: &[Arc<Meta>]) -> Result<Vec<String>, (Reason, String)> {
        let pieces = pieces("jira", "system", maps).map_err(|problem| (problem.reason, problem.message))?;
        Ok(pieces.maps.into_iter().map(|[name, ..]| name).collect())
    }

    #[test]
    fn parts_are_put_into_their_order_and_one_that_is_missing_is_named() {
        let [one, two, three] =
            ["1/3", "2/3", "3/3"].map(|part| map(&format!("p{}", &part[..1]), Some(part)));
        let other = map("other", None);
        assert_eq!(
            found(&[three.clone(), other.clone(), one.clone(), two.clone()]).unwrap(),
            ["p1", "p2", "p3"]
        );
        let (reason, message) = found(&[three.clone(), one.clone()]).unwrap_err();
        assert_eq!(reason, Reason::PartMissing);
        assert_eq!(message, "part 2/3 of jira is missing: there is 3/3 in ConfigMap p3, 1/3 in ConfigMap p1");
        for (maps, reason, words) in [
            (
                vec![other],
                Reason::NotFound,
                "there is no ConfigMap jira with label kubeopencode.io/plugin in namespace \"system\"",
            ),
            (
                vec![one.clone(), map("again", Some("1/3"))],
                Reason::FetchFailed,
                "do not belong together: 1/3 in ConfigMap p1, 1/3 in ConfigMap again",
            ),
            (vec![one, map("p2", Some("2/2"))], Reason::FetchFailed, "do not belong together"),
            (vec![map("p5", Some("1/5"))], Reason::FetchFailed, "is no part: write 1/4"),
        ] {
            let (found, message) = found(&maps).unwrap_err();
            assert_eq!(found, reason, "{message}");
            assert!(message.contains(words), "{message}");
        }
        assert_eq!(found(&[map("jira", None), three]).unwrap(), ["jira"], "what is whole needs no parts");
    }

    #[test]
    fn a_plugin_that_the_operator_made_goes_with_its_config_map_and_one_that_somebody_changed_stays() {
        let there = [map("jira", None)];
        let mut plugin = new_plugin("jira", &there).unwrap().unwrap();
        assert_eq!(plugin.spec.kind, Kind::ContextType);
        assert_eq!(plugin.spec.source.config_map.as_ref().map(|map| map.name.as_str()), Some("jira"));
        assert!(!is_abandoned(&plugin, &there));
        let gone: [Arc<Meta>; 0] = [];
        assert!(is_abandoned(&plugin, &gone));
        plugin.spec.allowed_namespaces.push("team".into());
        assert!(!is_abandoned(&plugin, &gone), "somebody changed it");
        let written = Plugin::new("jira", made_spec("jira", Kind::ContextType));
        assert!(!is_abandoned(&written, &gone), "somebody else made it");
        assert!(new_plugin("jira", &gone).is_none());
    }

    #[test]
    fn what_is_kept_of_a_config_map_says_of_which_kind_its_plugin_is() {
        let mut builder = Arc::unwrap_or_clone(map("claude", None));
        let labels = [(PLUGIN_LABEL, "command-builder"), ("team", "platform")];
        builder.metadata.labels = Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
        slim(&mut builder);
        assert_eq!(builder.labels().len(), 1, "nobody looks at the other one");
        let plugin = new_plugin("claude", &[Arc::new(builder)]).unwrap().unwrap();
        assert_eq!(plugin.spec.kind, Kind::CommandBuilder);
    }

    #[test]
    fn those_that_served_before_are_looked_at_before_new_and_bad_ones() {
        let plugin = |name: &str, digest: Option<&str>| {
            let mut plugin = Plugin::new(name, made_spec(name, Kind::ContextType));
            let digest = digest.map(str::to_owned);
            plugin.status = Some(PluginStatus { digest, ..PluginStatus::default() });
            plugin
        };
        let new = Plugin::new("new", made_spec("new", Kind::ContextType));
        let plugins =
            [new, plugin("served", Some("sha256:a")), plugin("bad", None), plugin("well", Some("sha256:b"))];
        let names = plugins.iter().map(|plugin| PluginName(plugin.name_any()));
        let order = in_turn(names, |name| plugins.iter().any(|p| p.name_any() == name.0 && has_served(p)));
        assert_eq!(
            order.iter().map(|name| name.0.as_str()).collect::<Vec<_>>(),
            ["served", "well", "new", "bad"]
        );
    }

    #[test]
    fn other_bytes_than_those_that_are_named_are_refused() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        let mut spec = made_spec("jira", Kind::ContextType);
        assert!(verify(&spec, None, &digest).is_ok());
        assert!(verify(&spec, Some(&"AB".repeat(32)), &digest).is_ok());
        let annotated = verify(&spec, Some(&"cd".repeat(32)), &digest).unwrap_err();
        assert!(annotated.message.contains("and kubeopencode.io/sha256 says cdcd"), "{}", annotated.message);
        spec.grants = Some(Default::default());
        assert_eq!(verify(&spec, None, &digest).unwrap_err().reason, Reason::DigestMissing);
        spec.sha256 = Some("cd".repeat(32));
        assert_eq!(verify(&spec, None, &digest).unwrap_err().reason, Reason::DigestMismatch);
        let (image, other) = (format!("a.example/b@{digest}"), format!("sha256:{}", "ef".repeat(32)));
        spec.source = PluginSource { oci: Some(OciSource { image }), ..PluginSource::default() };
        assert!(verify(&spec, None, &digest).unwrap_err().may_pass, "a registry may give something else");
        spec.sha256 = None;
        assert!(verify(&spec, None, &digest).is_ok(), "the image's digest is enough");
        assert!(is_meant(&spec, &other, Some(&digest)));
        assert!(!is_meant(&spec, &other, Some(&other)) && !is_meant(&spec, &other, None));
        spec.source = PluginSource { https: Some(Default::default()), ..PluginSource::default() };
        assert_eq!(verify(&spec, None, &digest).unwrap_err().reason, Reason::DigestMissing);
    }
}
