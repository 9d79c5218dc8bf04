//! What the installer wrote in the Plugin's `spec.config`.

use serde::de::DeserializeOwned;

use crate::{BuildRequest, PluginError, Request, ServeRequest};

fn read<T: DeserializeOwned>(settings: &str) -> Result<T, PluginError> {
    serde_json::from_str(settings).map_err(|error| PluginError::internal(format!("settings: {error}")))
}

macro_rules! has_settings {
    ($($request:ty),*) => {$(
        impl $request {
            /// What the installer wrote in the Plugin's `spec.config`, checked against [`About::settings_schema`](crate::About).
            ///
            /// # Errors
            /// That the plugin's schema takes what this type does not.
            pub fn settings<T: DeserializeOwned>(&self) -> Result<T, PluginError> {
                read(&self.settings)
            }
        }
    )*};
}

has_settings!(Request, BuildRequest, ServeRequest);
