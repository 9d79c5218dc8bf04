//! Generated from `wit/`: one module per world, shared interfaces only in the first.
#![allow(missing_docs, unreachable_pub, clippy::all)]

pub mod context {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "context-type-plugin",
        pub_export_macro: true,
        default_bindings_module: "kubeopencode_plugin_sdk::bindings::context",
        export_macro_name: "export_context_type",
        additional_derives: [PartialEq],
    });
}

pub mod builder {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "command-builder-plugin",
        pub_export_macro: true,
        default_bindings_module: "kubeopencode_plugin_sdk::bindings::builder",
        export_macro_name: "export_command_builder",
        additional_derives: [PartialEq],
        with: {
            "kubeopencode:plugin/types@1.0.0": crate::bindings::context::kubeopencode::plugin::types,
            "kubeopencode:plugin/log@1.0.0": crate::bindings::context::kubeopencode::plugin::log,
        },
    });
}

// the world `server-builder-plugin` is this and the one before: a component may be of both
pub mod server {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "
            package kubeopencode:sdk;
            world server {
                import kubeopencode:plugin/log@1.0.0;
                export kubeopencode:plugin/server@1.0.0;
            }
        ",
        pub_export_macro: true,
        default_bindings_module: "kubeopencode_plugin_sdk::bindings::server",
        export_macro_name: "export_server",
        additional_derives: [PartialEq],
        with: {
            "kubeopencode:plugin/types@1.0.0": crate::bindings::context::kubeopencode::plugin::types,
            "kubeopencode:plugin/log@1.0.0": crate::bindings::context::kubeopencode::plugin::log,
        },
    });
}
