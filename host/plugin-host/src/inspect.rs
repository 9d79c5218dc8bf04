//! What a component asks of its host and gives to it: for its author, before anybody installs it.
//!
//! May touch: names of imports and exports. Must not touch: what the linker offers, which `sandbox` alone decides.

use kubeopencode_api::plugin::Kind;
use wasmparser::{Parser, Payload};

use crate::error::quote;
use crate::sandbox::of_network;

/// What a component imports and exports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// In its own order.
    pub imports: Vec<Import>,
    /// Of our interfaces, each with its package: `kubeopencode:plugin@1.0.0`, `context-type`.
    pub exports: Vec<(String, String)>,
}

/// Something that a component imports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// As the component names it: `wasi:cli/stdout@0.2.6`.
    pub name: String,
    /// What it gets.
    pub offer: Offer,
}

/// What a plugin gets for an import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Offer {
    /// Something of ours.
    Ours,
    /// WASI, with nothing behind it.
    Empty,
    /// A part of WASI that the runtimes of some languages import whether they need it or not. A call of what is not there
    /// ends the plugin's call; why, in words.
    Absent(&'static str),
    /// Nothing, and no plugin needs it; why, in words that say what to do.
    Refused(String),
}

/// What a component imports of a network, which no plugin has: read from its bytes alone, for one that cannot be compiled.
pub fn network_imports(bytes: &[u8]) -> Vec<Import> {
    let mut found: Vec<Import> = Vec::new();
    for payload in Parser::new(0).parse_all(bytes) {
        match payload {
            Ok(Payload::ComponentImportSection(imports)) => {
                for import in imports.into_iter().map_while(Result::ok) {
                    let name = quote(import.name.name);
                    if let Some(why) = of_network(&name).filter(|_| found.iter().all(|one| one.name != name))
                    {
                        found.push(Import { name, offer: Offer::Absent(why) });
                    }
                }
            }
            Ok(_) => {}
            Err(_) => break,
        }
    }
    found
}

impl Inspection {
    /// The kinds of plugin that it can be, whatever version of the interface it was built for.
    pub fn kinds(&self) -> Vec<Kind> {
        let has = |kind: &Kind| self.exports.iter().any(|(_, interface)| interface == kind.as_str());
        [Kind::ContextType, Kind::CommandBuilder].into_iter().filter(has).collect()
    }

    /// Names of the exports, as in `kubeopencode:plugin/context-type@1.0.0`.
    pub fn interfaces(&self) -> Vec<String> {
        let named = |(package, interface): &(String, String)| match package.split_once('@') {
            Some((package, version)) => format!("{package}/{interface}@{version}"),
            None => format!("{package}/{interface}"),
        };
        self.exports.iter().map(named).collect()
    }

    /// The interface that it was built for as a plugin of this kind, as in `kubeopencode:plugin@1.0.0`.
    pub fn interface(&self, kind: Kind) -> Option<&str> {
        let found = self.exports.iter().find(|(_, interface)| interface == kind.as_str());
        found.map(|(package, _)| package.as_str())
    }
}
