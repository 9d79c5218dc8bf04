//! A module that exports the functions of the interface, as Go makes it, becomes a component. Pure.

use kubeopencode_plugin_host::Kind;
use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// The interface.
const WIT: &str = include_str!("../../../../../wit/plugin.wit");
/// How a module begins; a component has another version.
const MODULE: &[u8] = b"\0asm\x01\0\0\0";

/// Whether these bytes are a module, and no component.
pub(super) fn is_module(bytes: &[u8]) -> bool {
    bytes.starts_with(MODULE)
}

/// The component of a module, whose imports of WASI's first preview become those of the second.
///
/// # Errors
/// What it has not, or has too much, for this kind of plugin.
pub(super) fn to_component(module: &[u8], kind: Kind) -> Result<Vec<u8>, String> {
    let encode = || {
        let mut resolve = Resolve::default();
        let package = resolve.push_str("plugin.wit", WIT)?;
        let world = resolve.select_world(&[package], Some(&format!("{}-plugin", kind.as_str())))?;
        let mut module = module.to_vec();
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)?;
        ComponentEncoder::default()
            .module(&module)?
            .adapter(WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER)?
            .validate(true)
            .encode()
    };
    encode().map_err(|error| format!("{error:#}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_module_lacks_is_named() {
        let module = wat::parse_str("(module (memory (export \"memory\") 1))").unwrap();
        assert!(is_module(&module));
        let problem = to_component(&module, Kind::ContextType).unwrap_err();
        assert!(
            problem.contains("interface `kubeopencode:plugin/context-type@1.0.0` function `describe`"),
            "{problem}"
        );
        assert!(!is_module(&wat::parse_str("(component)").unwrap()));
    }
}
