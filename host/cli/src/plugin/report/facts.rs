//! What a report says of a component that is right with it, line by line. Pure.

use std::collections::BTreeSet;

use kubeopencode_api::plugin::Capability;
use kubeopencode_operator::PackedPlugin;

use super::{Bytes, Compile, ImportState, Imported, Part, Repeated, Report, Size, Type, list};
use crate::plugin::readable::{count, counted, mebibytes};
use crate::plugin::versions::since;

impl Report {
    pub(super) fn title(&self) -> String {
        let named = self.types.first().map(|type_| format!("{} {}   ", type_.name, type_.version));
        format!("{}{}   {}", named.unwrap_or_default(), self.file, self.digest)
    }

    pub(super) fn facts(&self) -> Vec<(&'static str, String)> {
        let mut facts = Vec::new();
        if let (Some(interface), Some(kind)) = (&self.interface, self.kind) {
            let server = if self.server { ", also as a server" } else { "" };
            let since =
                since(interface).map(|since| format!("; KubeOpenCode {since} and newer")).unwrap_or_default();
            facts.push((Part::Interface.label(), format!("{interface}, {kind}{server}{since}")));
        }
        if !self.types.is_empty() {
            facts.push((Part::Types.label(), list(self.types.iter().map(|type_| type_.name.as_str()))));
        }
        // before it is compiled nobody knows all of them
        facts.extend(self.compile.map(|_| (Part::Imports.label(), self.imports())));
        facts.extend(self.not_here());
        facts.push((Part::Size.label(), self.size()));
        if let Some(Compile { millis, limit_seconds, memory_bytes, limit_memory_bytes }) = self.compile {
            let seconds = millis / 1000;
            let hundredths = millis % 1000 / 10;
            let class = self.class.as_str();
            let memory = memory_bytes.map(|bytes| {
                format!(", {} of {}", mebibytes(bytes as usize), mebibytes(limit_memory_bytes as usize))
            });
            let memory = memory.unwrap_or_default();
            let words = format!("{seconds}.{hundredths:02} s of {limit_seconds} s{memory} (class {class})");
            facts.push((Part::Compile.label(), words));
        }
        if !self.types.is_empty() {
            facts.push((Part::Schema.label(), self.schema()));
            let takes = |type_: &&Type| type_.settings_schema.is_some();
            let with: Vec<_> = self.types.iter().filter(takes).map(|type_| type_.name.as_str()).collect();
            if !with.is_empty() {
                facts
                    .push((Part::Settings.label(), format!("spec.config of the Plugin, for {}", list(with))));
            }
            facts.push(("asks for", self.asks_for()));
        }
        if self.same_twice == Some(true)
            && self.problems.iter().all(|problem| problem.part != Part::SameTwice)
        {
            let words = match self.repeated {
                None => "what it says of itself; no golden case was run".to_owned(),
                Some(Repeated { cases, reached, fuel, .. }) => {
                    let all = counted(cases, "golden case");
                    let some = if reached == cases {
                        String::new()
                    } else {
                        format!(", {reached} of them reach it")
                    };
                    format!("{all}{some}, {} fuel, same bytes", count(fuel))
                }
            };
            facts.push((Part::SameTwice.label(), format!("yes: {words}")));
        }
        if let Some(Repeated { cases, failed: 0, .. }) = self.repeated {
            facts.push((Part::Cases.label(), format!("{} ok", counted(cases, "golden case"))));
        }
        facts
    }

    fn imports(&self) -> String {
        let of = |state| self.of(state);
        // `log` of `kubeopencode:plugin/log@1.0.0`, `cli` of `wasi:cli/stdout@0.2.6`
        let interface = |import: &Imported| {
            let name = import.name.rsplit('/').next().unwrap_or_default();
            name.split('@').next().unwrap_or_default().to_owned()
        };
        let package = |import: &Imported| {
            let name = import.name.split('/').next().unwrap_or_default();
            name.trim_start_matches("wasi:").to_owned()
        };
        let ours: BTreeSet<_> =
            of(ImportState::Offered).map(interface).filter(|name| name != "types").collect();
        let wasi: BTreeSet<_> = of(ImportState::Empty).map(package).collect();
        let mut words = Vec::new();
        if !ours.is_empty() {
            words.push(list(ours.iter().map(String::as_str)));
        }
        if !wasi.is_empty() {
            words.push(format!("WASI (empty here): {}", list(wasi.iter().map(String::as_str))));
        }
        if words.is_empty() {
            words.push("nothing".to_owned());
        }
        words.join("; ")
    }

    fn not_here(&self) -> Vec<(&'static str, String)> {
        let absent = || self.of(ImportState::Absent);
        // no folder is there to begin with, so that nobody comes to a call of it
        let comes_of_it = |import: &Imported| match import.name.starts_with("wasi:filesystem/") {
            true => "opening one is an error",
            false => "a call of it ends the plugin's call",
        };
        let told = |import: &Imported| Some((import.why?, comes_of_it(import)));
        let reasons: BTreeSet<_> = absent().filter_map(told).collect();
        let line = |reason: (&'static str, &'static str)| {
            let names = absent().filter(|import| told(import) == Some(reason));
            let names = names.map(|import| import.name.split('@').next().unwrap_or_default());
            ("not here", format!("{}: {}; {}", list(names), reason.0, reason.1))
        };
        reasons.into_iter().map(line).collect()
    }

    fn of(&self, state: ImportState) -> impl Iterator<Item = &Imported> {
        self.imports.iter().filter(move |import| import.state == state)
    }

    fn size(&self) -> String {
        let Size { bytes, zstd_bytes, config_maps, sources } = &self.size;
        let fits = match (config_maps, sources.as_slice()) {
            // nobody takes it
            (_, []) => String::new(),
            _ if *bytes == 0 => String::new(),
            (Some(1), _) => ": fits one ConfigMap".to_owned(),
            (Some(parts), _) => format!(": fits {parts} ConfigMaps"),
            (None, [others @ .., last]) => {
                let limit = Bytes(PackedPlugin::MAX);
                let others = others.join(", ");
                format!(": too much for ConfigMaps, which hold {limit}; fits {others} and {last}")
            }
        };
        format!("{}, {} as zstd{fits}", Bytes(*bytes), Bytes(*zstd_bytes))
    }

    fn schema(&self) -> String {
        let number = self.types.len();
        let good = self.types.iter().filter(|type_| type_.schema_ok).count();
        let secrets = self.types.iter().flat_map(|type_| {
            type_.secrets.iter().map(move |place| {
                if number == 1 { place.clone() } else { format!("{place} of {}", type_.name) }
            })
        });
        let secrets: Vec<_> = secrets.collect();
        match secrets.is_empty() {
            true => format!("{good} of {number} good"),
            false => {
                format!("{good} of {number} good; Secrets at {}", list(secrets.iter().map(String::as_str)))
            }
        }
    }

    fn asks_for(&self) -> String {
        let capabilities = self.capabilities();
        if capabilities.is_empty() {
            return "nothing: needs no grants".to_owned();
        }
        let grants: Vec<_> = capabilities
            .iter()
            .map(|capability| match capability {
                Capability::Env => "--grant env=NAME".to_owned(),
                Capability::InitContainer => "--grant image=IMAGE".to_owned(),
                other => format!("--grant {}", other.as_str()),
            })
            .collect();
        let names = list(capabilities.iter().map(|capability| capability.as_str()));
        format!("{names}: needs grants (kubeopencode plugin pack {})", grants.join(" "))
    }
}
