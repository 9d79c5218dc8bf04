//! Command builders, with and without a server mode.

use crate::{About, CommandPlan, EnvVar, PluginError, Tools};

pub use crate::bindings::builder::exports::kubeopencode::plugin::command_builder::BuildRequest;
pub use crate::bindings::server::exports::kubeopencode::plugin::server::{ServeRequest, ServerPlan};

/// A command builder. Export it with [`command_builder!`](crate::command_builder), or with
/// [`server_builder!`](crate::server_builder) when it is a [`Server`] too.
pub trait CommandBuilder {
    /// What it says about itself.
    const ABOUT: About;

    /// The process of one Task.
    ///
    /// # Errors
    /// What the user or the plugin's author has to mend.
    fn build(request: &BuildRequest) -> Result<CommandPlan, PluginError>;
}

/// A command builder whose agent can run as a server.
pub trait Server: CommandBuilder {
    /// The server's process.
    ///
    /// # Errors
    /// What the user or the plugin's author has to mend.
    fn serve(request: &ServeRequest) -> Result<ServerPlan, PluginError>;
}

impl CommandPlan {
    /// A process whose exit code alone counts, its program copied in by the Agent's image.
    pub fn new<S: Into<String>>(command: impl IntoIterator<Item = S>, env: Vec<EnvVar>) -> Self {
        CommandPlan {
            tools: Tools::InitContainer(None),
            command: command.into_iter().map(Into::into).collect(),
            args: Vec::new(),
            env,
            files: Vec::new(),
            result_reader: None,
            diagnostics: Vec::new(),
            extensions: Vec::new(),
        }
    }
}

/// Exports a [`CommandBuilder`] as this component's only plugin.
#[macro_export]
macro_rules! command_builder {
    ($plugin:ty) => {
        const _: () = {
            use $crate::bindings::builder::exports::kubeopencode::plugin::command_builder as wit;

            struct Component;

            impl wit::Guest for Component {
                fn describe() -> $crate::Descriptor {
                    $crate::report_panics();
                    (&<$plugin as $crate::CommandBuilder>::ABOUT).into()
                }
                fn build(request: wit::BuildRequest) -> Result<$crate::CommandPlan, $crate::PluginError> {
                    $crate::report_panics();
                    <$plugin as $crate::CommandBuilder>::build(&request)
                }
            }

            $crate::bindings::builder::export_command_builder!(
                Component with_types_in $crate::bindings::builder
            );
        };
    };
}

/// Exports a [`CommandBuilder`] that is also a [`Server`] as this component's only plugin.
#[macro_export]
macro_rules! server_builder {
    ($plugin:ty) => {
        $crate::command_builder!($plugin);

        const _: () = {
            use $crate::bindings::server::exports::kubeopencode::plugin::server as wit;

            struct Component;

            impl wit::Guest for Component {
                fn serve(request: wit::ServeRequest) -> Result<wit::ServerPlan, $crate::PluginError> {
                    $crate::report_panics();
                    <$plugin as $crate::Server>::serve(&request)
                }
            }

    $crate::bindings::server::export_server!(Component with_types_in $crate::bindings::server);
        };
    };
}
