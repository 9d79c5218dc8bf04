//! The plugin interface is frozen: plugins that were compiled against it must load for ever, and mean the same.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "all of this is tests: a failure is a panic"
)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{env, fs};

use common::{Guest, build_request, command_builder};
use kubeopencode_api::names::hex;
use kubeopencode_api::plugin::{Capability, FEATURES, MountPathRule, Origin};
use serde_json::Value;
use sha2::{Digest, Sha256};
use wit_parser::{Function, Resolve, Type, TypeDef, TypeDefKind, TypeId, WorldItem};

fn wit() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit")
}

fn json(name: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(wit().join(name)).unwrap()).unwrap()
}

#[test]
fn the_interface_is_the_committed_one() {
    let sums = fs::read_to_string(wit().join("SHA256SUMS")).unwrap();
    let mut files: Vec<_> = fs::read_dir(wit())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "SHA256SUMS")
        .collect();
    files.sort();
    let found: String = files
        .iter()
        .map(|name| {
            let digest = Sha256::digest(fs::read(wit().join(name)).unwrap());
            format!("{}  {name}\n", hex(&digest))
        })
        .collect();
    assert_eq!(
        found, sums,
        "wit/ changed. A new record field or variant case breaks every compiled plugin: grow through `extension`, \
         host-info.features or a new interface; words may be added, never changed. Before the first release, or for \
         comments: `cd wit && sha256sum *.json *.wit | sort -k2 > SHA256SUMS`"
    );
}

#[test]
fn the_words_are_those_that_the_host_knows() {
    let words = json("words.json");
    let listed = |set: &str| words[set].as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    let known = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(listed("capabilities"), known(&Capability::ALL.map(Capability::as_str)));
    assert_eq!(listed("mount-path"), known(&MountPathRule::ALL.map(MountPathRule::as_str)));
    assert_eq!(listed("origin"), known(&Origin::ALL.map(Origin::as_str)));
    assert_eq!(listed("features"), known(FEATURES));
    for word in listed("capabilities") {
        assert_eq!(Capability::parse(&word).unwrap().as_str(), word);
    }
}

#[test]
fn a_mark_in_a_schema_means_what_the_examples_say() {
    for example in json("secret-names.json").as_array().unwrap() {
        let rule = example["rule"].as_str().unwrap();
        let schema = example["schema"].to_string();
        let loaded = Guest { schema: &schema, ..Guest::default() }.load();
        if example["refused"] == true {
            let error = loaded.err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.contains("x-kubeopencode-secret"), "{rule} {error}");
            continue;
        }
        let plugin = loaded.unwrap_or_else(|error| panic!("{rule} {error}"));
        let fields = plugin.types()[0].secret_fields();
        let names: BTreeSet<_> = fields.iter().flat_map(|field| field.names(&example["payload"])).collect();
        let expected: BTreeSet<_> =
            example["names"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
        assert_eq!(names, expected, "{rule}");
    }
}

#[test]
fn what_builders_write_keeps_the_published_schema() {
    let schema = jsonschema::validator_for(&json("result-reader.schema.json")).unwrap();
    let mut request = build_request();
    for attach_to in [None, Some("http://helper.team.svc:4096".to_owned())] {
        request.attach_to = attach_to;
        let reader = command_builder("opencode").build(&request).unwrap().result_reader.unwrap();
        let reader: Value = serde_json::from_str(&reader).unwrap();
        schema.validate(&reader).unwrap_or_else(|error| panic!("{}: {error}", error.instance_path()));
        let mut unknown = reader.clone();
        unknown["colour"] = "green".into();
        let mut leaves = reader;
        leaves["rules"][0]["print"] = "no pointer".into();
        assert!(!schema.is_valid(&unknown) && !schema.is_valid(&leaves));
    }
}

/// Enums and variants that plugins never make, each with the reason why no case will be missing in it.
const HOST_ALONE: [(&str, &str); 1] = [("resolved", "it has a case `extended`")];

#[test]
fn the_interface_can_grow() {
    let interface = Interface::read();
    let (by_plugins, by_hosts) = interface.made();
    let has_extended = |def: &TypeDef| match &def.kind {
        TypeDefKind::Variant(variant) => variant.cases.iter().any(|case| case.name == "extended"),
        _ => false,
    };
    for (name, def) in &by_plugins {
        let is_variant = matches!(def.kind, TypeDefKind::Variant(_));
        if is_variant && !by_hosts.contains_key(name) {
            assert!(has_extended(def), "variant {name} is made by plugins alone and has no case `extended`");
        }
    }
    let host_alone: Vec<_> = by_hosts
        .iter()
        .filter(|(name, def)| {
            matches!(def.kind, TypeDefKind::Variant(_) | TypeDefKind::Enum(_))
                && !by_plugins.contains_key(*name)
        })
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(
        host_alone,
        HOST_ALONE.map(|(name, _)| name),
        "an enum or variant that the host alone makes can never have a case more: use a word, or list it with a reason"
    );
    let requests = interface.requests();
    assert_eq!(requests.len(), 3, "{requests:?}");
    for (name, fields) in requests {
        for field in ["host", "extensions"] {
            assert!(fields.contains(&field.to_owned()), "{name} has no field {field}");
        }
    }
}

/// The named types of a world, and which side makes them.
struct Interface(Resolve);

type Named<'a> = BTreeMap<String, &'a TypeDef>;

impl Interface {
    fn read() -> Self {
        let mut resolve = Resolve::default();
        resolve.push_dir(wit()).unwrap();
        Self(resolve)
    }

    /// Functions of all worlds: those that plugins export, and those that they import.
    fn functions(&self) -> (Vec<&Function>, Vec<&Function>) {
        let of = |item: &WorldItem| match item {
            WorldItem::Interface { id, .. } => self.0.interfaces[*id].functions.values().collect::<Vec<_>>(),
            _ => Vec::new(),
        };
        let worlds = || self.0.worlds.iter().map(|(_, world)| world);
        let exported = worlds().flat_map(|world| world.exports.values().flat_map(of)).collect();
        let imported = worlds().flat_map(|world| world.imports.values().flat_map(of)).collect();
        (exported, imported)
    }

    /// What plugins make, and what the host makes.
    fn made(&self) -> (Named<'_>, Named<'_>) {
        let (mut by_plugins, mut by_hosts) = (Named::new(), Named::new());
        let (exported, imported) = self.functions();
        for function in exported {
            function.params.iter().for_each(|param| self.collect(&param.ty, &mut by_hosts));
            function.result.iter().for_each(|result| self.collect(result, &mut by_plugins));
        }
        for function in imported {
            function.params.iter().for_each(|param| self.collect(&param.ty, &mut by_plugins));
            function.result.iter().for_each(|result| self.collect(result, &mut by_hosts));
        }
        (by_plugins, by_hosts)
    }

    /// Names and fields of the records that exported functions are called with.
    fn requests(&self) -> BTreeMap<String, Vec<String>> {
        let (exported, _) = self.functions();
        let params = exported.into_iter().flat_map(|function| &function.params);
        params
            .map(|param| {
                let Type::Id(id) = param.ty else { panic!("{} is no record", param.name) };
                let def = &self.0.types[self.alias(id)];
                let TypeDefKind::Record(record) = &def.kind else { panic!("{} is no record", param.name) };
                let fields = record.fields.iter().map(|field| field.name.clone()).collect();
                (def.name.clone().unwrap(), fields)
            })
            .collect()
    }

    fn alias(&self, id: TypeId) -> TypeId {
        match self.0.types[id].kind {
            TypeDefKind::Type(Type::Id(id)) => self.alias(id),
            _ => id,
        }
    }

    fn collect<'a>(&'a self, ty: &Type, into: &mut Named<'a>) {
        let Type::Id(id) = *ty else { return };
        let def = &self.0.types[self.alias(id)];
        if let Some(name) = &def.name
            && into.insert(name.clone(), def).is_some()
        {
            return;
        }
        let mut inner: Vec<&Type> = Vec::new();
        match &def.kind {
            TypeDefKind::Record(record) => inner.extend(record.fields.iter().map(|field| &field.ty)),
            TypeDefKind::Variant(variant) => {
                inner.extend(variant.cases.iter().filter_map(|case| case.ty.as_ref()))
            }
            TypeDefKind::Tuple(tuple) => inner.extend(&tuple.types),
            TypeDefKind::Option(ty) | TypeDefKind::List(ty) | TypeDefKind::Type(ty) => inner.push(ty),
            TypeDefKind::Result(result) => inner.extend(result.ok.iter().chain(&result.err)),
            TypeDefKind::Enum(_) => {}
            other => panic!("{} has no place in the interface", other.as_str()),
        }
        inner.into_iter().for_each(|ty| self.collect(ty, into));
    }
}
