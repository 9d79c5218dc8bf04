//! `--plugin FILE`: a component, compressed or not, installed under the name that it gives itself.
//!
//! May touch: the file, the plugin host, the catalog. It gets the grants of a plugin from a ConfigMap: none.

use std::path::Path;

use kubeopencode_evaluate::Catalog;
use kubeopencode_plan::Granted;
use kubeopencode_plugin_host::{Kind, LimitClass, LoadError, PluginHost};

use crate::component;
use crate::error::CliError;

/// Loads and installs the component of a file.
///
/// # Errors
/// A file that cannot be read, and why it is no plugin.
pub(super) fn install(host: &PluginHost, catalog: &Catalog, path: &Path) -> Result<(), CliError> {
    let bytes = component::read(path)?;
    let refuse = |problem: String| CliError::Object { place: path.display().to_string(), problem };
    let load = |class| match host.load(&bytes, Kind::ContextType, class) {
        Err(error @ LoadError::WrongWorld { .. }) => {
            host.load(&bytes, Kind::CommandBuilder, class).map_err(|_| error)
        }
        loaded => loaded,
    };
    // which class a plugin has is said in the cluster, by its Plugin
    let plugin = match load(LimitClass::Default) {
        Err(LoadError::TooLarge { .. } | LoadError::TooExpensive { .. }) => load(LimitClass::Large),
        loaded => loaded,
    };
    let plugin = plugin.map_err(|error| refuse(error.to_string()))?;
    catalog.install(&plugin, &Granted::none()).map_err(|error| refuse(error.to_string()))
}
