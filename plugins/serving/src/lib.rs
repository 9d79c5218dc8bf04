//! A command builder for the tests of the author's program: its agent may run as a server. No part of the product.

use kubeopencode_plugin_sdk::{
    About, BuildRequest, CommandBuilder, CommandPlan, Content, File, PluginError, ServeRequest, Server,
    ServerPlan, Tools, server_builder,
};

/// The plugin.
pub struct Serving;

impl CommandBuilder for Serving {
    const ABOUT: About = About {
        name: "serving",
        version: env!("CARGO_PKG_VERSION"),
        description: env!("CARGO_PKG_DESCRIPTION"),
        ..About::NOTHING
    };

    fn build(request: &BuildRequest) -> Result<CommandPlan, PluginError> {
        let server = request.attach_to.as_deref().unwrap_or("nobody");
        Ok(CommandPlan { tools: Tools::None, ..CommandPlan::new(["client", server], Vec::new()) })
    }
}

impl Server for Serving {
    fn serve(request: &ServeRequest) -> Result<ServerPlan, PluginError> {
        if request.port == 1 {
            return Err(PluginError::invalid_config("spec.serverConfig.port: as asked"));
        }
        let context = request.context_path.as_deref().unwrap_or("nothing");
        let path = format!("{}/serving.conf", request.tools_dir);
        let file = File { path, content: Content::Text(format!("read {context}\n")), mode: None };
        let port = request.port.to_string();
        let command = CommandPlan {
            tools: Tools::None,
            files: vec![file],
            ..CommandPlan::new(["serving", "--port", port.as_str()], Vec::new())
        };
        Ok(ServerPlan { command, health_path: Some("/health".to_owned()) })
    }
}

server_builder!(Serving);
