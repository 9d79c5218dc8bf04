//! From the bytes of a component to what there is to say about it. The rules are the plugin host's: here they are asked for,
//! one after the other, so that an author hears of all that is wrong at once.
//!
//! May touch: the plugin host, and how long it took. Must not touch: files, a cluster.

use std::time::Instant;

use kubeopencode_api::context::BuiltInType;
use kubeopencode_api::literals::DEFAULT_COMMAND_BUILDER;
use kubeopencode_api::names::hex;
use kubeopencode_api::plugin::Descriptor;
use kubeopencode_operator::{PackedPlugin, pack_plugin};
use kubeopencode_plugin_host::{
    Import, Inspection, Kind, LimitClass, Limits, LoadError, Offer, Plugin, PluginHost, PluginType,
    network_imports,
};
use sha2::{Digest, Sha256};

use super::lint::{Finding, lint};
use super::report::{Compile, ImportState, Imported, Part, Problem, Report, Size, Type};
use super::versions::{Version, since};
use super::{network, refusal};
use crate::error::CliError;
use crate::plugin_host::worker_time;

/// A component, and what there is to say about it.
pub(super) struct Examined {
    pub(super) report: Report,
    pub(super) packed: PackedPlugin,
}

/// Looks at a component, with a host that has not compiled it before.
///
/// # Errors
/// It could be of either kind and nobody said which, or the machine fails.
pub(super) fn examine(
    host: &PluginHost,
    file: String,
    bytes: &[u8],
    kind: Option<Kind>,
    class: LimitClass,
) -> Result<Examined, CliError> {
    let packed = pack_plugin(bytes)?;
    let config_maps = packed.parts().ok();
    let mut sources = Vec::new();
    if bytes.len() <= Limits::of(class).component {
        sources.extend(config_maps.map(|_| "configMap"));
        sources.extend(["oci", "https", "directory"]);
    }
    let size = Size { bytes: bytes.len(), zstd_bytes: packed.len(), config_maps, sources };
    let mut report = Report {
        file,
        digest: format!("sha256:{}", hex(&Sha256::digest(bytes))),
        ok: false,
        kind,
        interface: None,
        server: false,
        types: Vec::new(),
        imports: Vec::new(),
        size,
        class,
        compile: None,
        same_twice: None,
        repeated: None,
        problems: Vec::new(),
        warnings: Vec::new(),
    };
    // before its size: with --class large it would be no better
    if let Some(package) = network::of_go(bytes) {
        report.warning(Part::Imports, network::remedy(package));
    }
    let (started, before) = (Instant::now(), worker_time());
    match host.inspect(bytes, class) {
        Ok(inspection) => {
            let took = worker_time().zip(before).map(|(after, before)| after.saturating_sub(before));
            let took = took.unwrap_or_else(|| started.elapsed());
            let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
            let Limits { worker_seconds, worker_memory, .. } = Limits::of(class);
            report.compile = Some(Compile {
                millis,
                limit_seconds: worker_seconds,
                memory_bytes: host.compile_memory(),
                limit_memory_bytes: worker_memory,
            });
            for import in &inspection.imports {
                offered(&mut report, import.clone());
            }
            load(&mut report, host, bytes, &inspection)?;
        }
        Err(error) => {
            for import in network_imports(bytes) {
                offered(&mut report, import);
            }
            match error {
                LoadError::TooLarge { .. } => {
                    report.problem(Part::Size, refusal::of_bytes(&error, bytes));
                }
                _ => refused(&mut report, &error)?,
            }
        }
    }
    report.ok = report.problems.is_empty();
    Ok(Examined { report, packed })
}

/// What it gets for one of its imports.
fn offered(report: &mut Report, Import { name, offer }: Import) {
    let (state, why) = match offer {
        Offer::Ours => (ImportState::Offered, None),
        Offer::Empty => (ImportState::Empty, None),
        Offer::Absent(why) => (ImportState::Absent, Some(why)),
        Offer::Refused(words) => return report.problem(Part::Imports, words),
    };
    report.imports.push(Imported { name, state, why });
}

/// Loads it, twice, as the kind that it is.
fn load(
    report: &mut Report,
    host: &PluginHost,
    bytes: &[u8],
    inspection: &Inspection,
) -> Result<(), CliError> {
    let kind = match (report.kind, inspection.kinds().as_slice()) {
        (Some(asked), _) => asked,
        (None, [only]) => *only,
        (None, []) => {
            let words = "it exports no plugin: build it for the world context-type-plugin or command-builder-plugin of \
                         kubeopencode:plugin (wit/plugin.wit); in Rust, context_type! or command_builder! exports it";
            report.problem(Part::Interface, words.to_owned());
            return Ok(());
        }
        (None, kinds) => {
            let kinds: Vec<_> = kinds.iter().map(|kind| kind.as_str()).collect();
            let problem = format!("it is {}: say with --kind as which it is installed", kinds.join(" and "));
            return Err(CliError::Usage(format!("{}: {problem}", report.file)));
        }
    };
    report.kind = Some(kind);
    report.interface = inspection.interface(kind).map(str::to_owned);
    match host.load(bytes, kind, report.class) {
        Ok(plugin) => {
            report.server = plugin.has_server();
            report.types = plugin.types().iter().map(described).collect();
            let again = host.load(bytes, kind, report.class);
            same_twice(report, &plugin, again.as_deref());
            for type_ in plugin.types() {
                named(report, kind, &type_.descriptor().name);
                schemas(report, type_.descriptor());
            }
            Ok(())
        }
        Err(error) => refused(report, &error),
    }
}

fn same_twice(report: &mut Report, plugin: &Plugin, again: Result<&Plugin, &LoadError>) {
    let descriptors =
        |plugin: &Plugin| plugin.types().iter().map(|type_| type_.descriptor().clone()).collect::<Vec<_>>();
    let same = again.is_ok_and(|again| descriptors(again) == descriptors(plugin));
    report.same_twice = Some(same);
    if !same {
        let words = "it describes itself in other words when it is asked again: the descriptor must not depend on anything";
        report.problem(Part::SameTwice, words.to_owned());
    }
}

/// Whether nobody else has the name of a type.
fn named(report: &mut Report, kind: Kind, name: &str) {
    let is_built_in = match kind {
        Kind::ContextType => BuiltInType::find(name).is_some(),
        Kind::CommandBuilder => name == DEFAULT_COMMAND_BUILDER,
    };
    if is_built_in {
        let words = format!(
            "{name} is the name of a {kind} that comes with KubeOpenCode, and no other serves it: give yours another one"
        );
        report.problem(Part::Types, words);
    }
}

/// What its author does not mean, though the host takes it.
fn schemas(report: &mut Report, descriptor: &Descriptor) {
    let settings = descriptor.settings_schema.as_ref().map(|schema| (Part::Settings, schema));
    for (part, schema) in std::iter::once((Part::Schema, &descriptor.config_schema)).chain(settings) {
        for finding in lint(schema) {
            match finding {
                Finding::Wrong(words) => {
                    report.problem(part, format!("{}: {words}", descriptor.name));
                    let types = report
                        .types
                        .iter_mut()
                        .filter(|type_| part == Part::Schema && type_.name == descriptor.name);
                    types.for_each(|type_| type_.schema_ok = false);
                }
                Finding::Doubtful(words) => report.warning(part, format!("{}: {words}", descriptor.name)),
            }
        }
    }
}

fn described(type_: &PluginType) -> Type {
    let descriptor = type_.descriptor();
    Type {
        name: descriptor.name.clone(),
        version: descriptor.version.clone(),
        description: descriptor.description.clone(),
        mount_path: descriptor.mount_path,
        capabilities: descriptor.capabilities.clone(),
        secrets: type_.secret_fields().iter().map(ToString::to_string).collect(),
        config_schema: descriptor.config_schema.clone(),
        schema_ok: true,
        settings_schema: descriptor.settings_schema.clone(),
    }
}

/// What the host refuses, in its words.
fn refused(report: &mut Report, error: &LoadError) -> Result<(), CliError> {
    let part = match error {
        LoadError::Host(words) => return Err(CliError::Plugins(words.clone())),
        LoadError::Empty | LoadError::Precompiled | LoadError::CoreModule | LoadError::NotWasm => Part::File,
        LoadError::TooLarge { .. } => Part::Size,
        LoadError::Invalid(_) | LoadError::TooExpensive { .. } => Part::Compile,
        LoadError::WrongWorld { .. } | LoadError::OtherInterface { .. } => Part::Interface,
        LoadError::Imports(_) | LoadError::OtherWasi(_) | LoadError::NewerInterface(_) => Part::Imports,
        LoadError::Describe(error) if refusal::unlike_schema(error).is_some() => Part::Schema,
        LoadError::Describe(_) | LoadError::Descriptor(_) | LoadError::MissingFeature(_) => Part::Types,
        LoadError::Schema(_) => Part::Schema,
        LoadError::SettingsSchema(_) => Part::Settings,
    };
    report.problem(part, refusal::words(error));
    Ok(())
}

impl Report {
    /// Adds that this KubeOpenCode is too old for it, if it is.
    pub(super) fn of_host(&mut self, host: Version) {
        let Some((interface, since)) = self.interface.as_deref().and_then(|own| Some((own, since(own)?)))
        else {
            return;
        };
        if host < since {
            let words = format!(
                "KubeOpenCode {host} does not have {interface}, which came with {since}: build it against an older interface, or upgrade"
            );
            self.problem(Part::Interface, words);
        }
    }

    pub(super) fn warning(&mut self, part: Part, message: String) {
        self.warnings.push(Problem { part, message });
    }

    pub(super) fn problem(&mut self, part: Part, message: String) {
        // one import that is refused refuses all of the component
        if self.problems.iter().all(|problem| problem.message != message) {
            self.problems.push(Problem { part, message });
        }
    }
}
