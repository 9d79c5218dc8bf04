//! Context types: the trait, the export and the words a plugin answers with.

use serde::de::DeserializeOwned;

use crate::bindings::context::exports::kubeopencode::plugin::context_type as wit;
use crate::{About, Descriptor, Diagnostic, PluginError, Severity, reads};

pub use wit::{
    Action, BroughtFile, ConfigMapMount, ConfigMapRead, Entry, GitFetch, Header, HeaderValue, HttpRequest,
    InitContainer, Input, Outcome, Plan, Request, Required, Requirement, Resolved, Response, SecretFile,
    SecretText, TextFile, UrlFetch,
};

/// What [`ContextType::evaluate`] gives.
pub type Answer = Result<Outcome, PluginError>;

/// A context type. Export it with [`context_type!`](crate::context_type).
pub trait ContextType {
    /// The payload: the host has checked it against the schema.
    type Config: DeserializeOwned;
    /// What it says about itself.
    const ABOUT: About;

    /// JSON Schema of the payload: the one of `ABOUT`, unless it is made of the type with `schema_of` (feature `schemars`).
    fn config_schema() -> String {
        Self::ABOUT.schema.to_owned()
    }

    /// The same of the settings.
    fn settings_schema() -> Option<String> {
        Self::ABOUT.settings_schema.map(str::to_owned)
    }

    /// Turns one item into actions; a pure function, called again with the inputs that it asked for.
    ///
    /// # Errors
    /// What the user or the plugin's author has to mend.
    fn evaluate(config: Self::Config, request: &Request) -> Answer;
}

/// Exports one [`ContextType`] or several as this component's plugin: `context_type!(Jira, JiraSearch);`.
#[macro_export]
macro_rules! context_type {
    ($($plugin:ty),+ $(,)?) => {
        const _: () = {
            use $crate::bindings::context::exports::kubeopencode::plugin::context_type as wit;

            struct Component;

            impl wit::Guest for Component {
                fn describe() -> ::std::vec::Vec<$crate::Descriptor> {
                    $crate::report_panics();
                    ::std::vec![$($crate::descriptor_of::<$plugin>()),+]
                }
                fn evaluate(request: wit::Request) -> $crate::Answer {
                    $crate::report_panics();
                    $(if request.type_name == <$plugin as $crate::ContextType>::ABOUT.name {
                        return $crate::evaluate_context::<$plugin>(&request);
                    })+
                    $crate::no_such_type(&request)
                }
            }

            $crate::bindings::context::export_context_type!(Component with_types_in $crate::bindings::context);
        };
    };
}

/// What the host is told.
#[doc(hidden)]
pub fn descriptor_of<T: ContextType>() -> Descriptor {
    Descriptor {
        config_schema: T::config_schema(),
        settings_schema: T::settings_schema(),
        ..Descriptor::from(&T::ABOUT)
    }
}

/// Reads the payload and calls the plugin.
#[doc(hidden)]
pub fn evaluate_context<T: ContextType>(request: &Request) -> Answer {
    let config =
        serde_json::from_str(&request.payload).map_err(|e| PluginError::invalid_config(e.to_string()))?;
    reads::asking(request, || T::evaluate(config, request))
}

/// The host asks for the types that were described, and for no other.
#[doc(hidden)]
pub fn no_such_type(request: &Request) -> Answer {
    Err(PluginError::internal(format!("there is no type {:?} here", request.type_name)))
}

/// A plan of these actions, in this order.
///
/// # Errors
/// Never; an [`Answer`] so that it can stand at the end of `evaluate`.
pub fn ready(actions: impl IntoIterator<Item = Action>) -> Answer {
    let actions = actions.into_iter().collect();
    Ok(Outcome::Ready(Plan { actions, diagnostics: Vec::new(), extensions: Vec::new() }))
}

/// A plan of one text: for the context file, or the file at `mountPath`.
///
/// # Errors
/// Never; an [`Answer`] so that it can stand at the end of `evaluate`.
pub fn text(text: impl Into<String>) -> Answer {
    ready([Action::Inline(text.into())])
}

/// A plan of nothing: something optional is missing, and `message` says what.
///
/// # Errors
/// Never; an [`Answer`] so that it can stand at the end of `evaluate`.
pub fn skipped(message: impl Into<String>) -> Answer {
    let diagnostics = vec![Diagnostic {
        severity: Severity::Info,
        code: "OptionalSkipped".to_owned(),
        message: message.into(),
    }];
    Ok(Outcome::Ready(Plan { actions: Vec::new(), diagnostics, extensions: Vec::new() }))
}

/// Asks the host to read ConfigMaps; the call comes again with one input for each name, under that name as id.
/// Ask for all that was asked for before and for more.
///
/// # Errors
/// Never; an [`Answer`] so that it can stand at the end of `evaluate`.
pub fn need<'a>(config_maps: impl IntoIterator<Item = &'a str>) -> Answer {
    let needs = config_maps
        .into_iter()
        .map(|name| Required {
            id: name.to_owned(),
            what: Requirement::ConfigMap(ConfigMapRead { name: name.to_owned(), keys: Vec::new() }),
        })
        .collect();
    Ok(Outcome::Needs(needs))
}

impl HttpRequest {
    /// A GET without anything else, for half a minute.
    pub fn get(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            body: None,
            headers: Vec::new(),
            credentials: None,
            sha256: None,
            insecure_skip_tls_verify: false,
            timeout_seconds: 30,
        }
    }
}

impl Header {
    /// A header whose value is in the open.
    pub fn value(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), value: HeaderValue::Value(value.into()) }
    }
}

impl Request {
    /// Where the item goes, for types that cannot do without ([`MountPath::Required`](crate::MountPath)): the host has seen
    /// to it that there is one.
    ///
    /// # Errors
    /// There is none.
    pub fn required_mount_path(&self) -> Result<&str, PluginError> {
        self.mount_path.as_deref().ok_or_else(|| PluginError::internal("there is no mountPath"))
    }

    /// The answer to an earlier [`need`], `None` when it was not asked for yet.
    pub fn input(&self, id: &str) -> Option<&Resolved> {
        self.inputs.iter().find(|input| input.id == id).map(|input| &input.value)
    }
}
