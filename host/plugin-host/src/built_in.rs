//! The plugins that the program brings. They go through the same door as every other: worker, cache, limits.
//!
//! May touch: the embedded bytes. Must not touch: anything that other plugins do not get.

use kubeopencode_api::plugin::Kind;

/// A component that `build.rs` made.
pub(crate) struct BuiltIn {
    /// Its file's name.
    pub(crate) name: &'static str,
    /// Its kind.
    pub(crate) kind: Kind,
    /// The component.
    pub(crate) bytes: &'static [u8],
}

macro_rules! built_in {
    ($name:literal, $kind:expr) => {
        BuiltIn {
            name: $name,
            kind: $kind,
            bytes: include_bytes!(concat!(env!("OUT_DIR"), "/built-in/", $name, ".wasm")),
        }
    };
}

pub(crate) static BUILT_IN: [BuiltIn; 7] = [
    built_in!("configmap", Kind::ContextType),
    built_in!("file", Kind::ContextType),
    built_in!("git", Kind::ContextType),
    built_in!("opencode", Kind::CommandBuilder),
    built_in!("runtime", Kind::ContextType),
    built_in!("text", Kind::ContextType),
    built_in!("url", Kind::ContextType),
];
