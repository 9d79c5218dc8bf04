//! Generated from `wit/`: one module per world, shared interfaces only in the first.
#![allow(missing_docs, unreachable_pub, clippy::all)]

pub(crate) mod context {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "context-type-plugin",
        imports: { default: trappable },
    });
}

pub(crate) mod builder {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "command-builder-plugin",
        imports: { default: trappable },
        with: {
            "kubeopencode:plugin/types@1.0.0": crate::bindings::context::kubeopencode::plugin::types,
            "kubeopencode:plugin/log@1.0.0": crate::bindings::context::kubeopencode::plugin::log,
        },
    });
}

// looked for in every command builder; the world `server-builder-plugin` is this and the one before
pub(crate) mod server {
    wasmtime::component::bindgen!({
        path: "../../wit",
        inline: "
            package kubeopencode:host;
            world server {
                export kubeopencode:plugin/server@1.0.0;
            }
        ",
        world: "kubeopencode:host/server",
        with: {
            "kubeopencode:plugin/types@1.0.0": crate::bindings::context::kubeopencode::plugin::types,
        },
    });
}

pub(crate) use context::kubeopencode::plugin::{log, types};
