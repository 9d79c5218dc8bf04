//! What goes wrong with plugins, in words for the person who wrote or installed one.
//!
//! [`LoadError`]: bytes that do not become a plugin. [`CallError`]: a call without a usable answer.
//! [`PayloadError`]: a user's payload that the plugin's schema does not take. [`HostError`]: the machine underneath.

use std::path::PathBuf;

use kubeopencode_api::plugin::{ErrorKind, Kind, PluginError};

/// The longest piece of a plugin's or compiler's own words in a message, in bytes.
const QUOTE: usize = 1024;

/// Cuts foreign words so that a message stays readable and small enough for a status.
pub(crate) fn quote(words: &str) -> String {
    let words = words.trim();
    match words.len() {
        0..=QUOTE => words.to_owned(),
        _ => format!("{}…", &words[..words.floor_char_boundary(QUOTE)]),
    }
}

/// The machine underneath fails: not the plugin's fault, worth another try.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// wasmtime does not take its configuration on this machine.
    #[error("cannot set up the WebAssembly engine: {0}")]
    Engine(String),
    /// The clock of running calls does not start.
    #[error("cannot start the thread that limits the time of plugin calls: {0}")]
    Ticker(#[source] std::io::Error),
    /// The cache of compiled plugins cannot be used.
    #[error("cannot use the cache of compiled plugins at {}: {error}", path.display())]
    Cache {
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        #[source]
        error: std::io::Error,
    },
    /// The compile worker does not start.
    #[error("cannot start the compile worker {}: {error}", path.display())]
    Worker {
        /// The executable.
        path: PathBuf,
        /// What the system says.
        #[source]
        error: std::io::Error,
    },
    /// A plugin that this program itself brings does not load.
    #[error("the built-in plugin {name} does not load: {error}")]
    BuiltIn {
        /// Its component's name.
        name: &'static str,
        /// Why.
        #[source]
        error: Box<LoadError>,
    },
}

/// Bytes that do not become a plugin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// Nothing at all.
    #[error("the component is empty")]
    Empty,
    /// Larger than its class allows.
    #[error("the component has {bytes} bytes, more than the {limit} of limits class {class}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The size that is allowed.
        limit: usize,
        /// The class.
        class: &'static str,
    },
    /// Native code, which nobody can check.
    #[error("this is a file of already compiled native code; only WebAssembly components are taken")]
    Precompiled,
    /// A core module.
    #[error(
        "this is a core WebAssembly module, not a component; build it for wasm32-wasip2, \
         or make a component of it with `wasm-tools component new`"
    )]
    CoreModule,
    /// Something else.
    #[error("this is not a WebAssembly component: it does not begin with a component's header")]
    NotWasm,
    /// Found broken or out of bounds by the compile worker.
    #[error("the component cannot be compiled: {0}")]
    Invalid(String),
    /// Takes too much to compile.
    #[error(
        "compiling the component takes more than the {what} of limits class {class}; make it smaller (release \
         build, size optimisation), or give the Plugin limits.class large"
    )]
    TooExpensive {
        /// Which limit.
        what: String,
        /// The class.
        class: &'static str,
        /// Whether another machine, or this one later, may have compiled it: memory that is lacking looks the same.
        may_pass: bool,
    },
    /// Does not export the interface of its kind.
    #[error("the component does not export the interface of a {kind}: {reason}")]
    WrongWorld {
        /// The kind that it was installed as.
        kind: Kind,
        /// What it has instead, or what differs.
        reason: String,
    },
    /// Imports what no plugin can be given.
    #[error("the component's imports cannot be served: {0}")]
    Imports(String),
    /// Imports a WASI that plugins do not have.
    #[error("{0}: a plugin has WASI 0.2; build it for that, as for Rust's wasm32-wasip2")]
    OtherWasi(String),
    /// Imports something of ours that this version does not have.
    #[error(
        "the component was built for a newer KubeOpenCode: it imports {0}; build it against the interface of this \
         version, or upgrade KubeOpenCode"
    )]
    NewerInterface(String),
    /// Was built for another major version of our interface.
    #[error("the component was built for {found}, and this KubeOpenCode has {have}")]
    OtherInterface {
        /// Package and version that it wants.
        found: String,
        /// Package and version that there is.
        have: String,
    },
    /// Its first call failed.
    #[error("the plugin does not describe itself: {0}")]
    Describe(CallError),
    /// Its descriptor breaks a rule.
    #[error("the plugin's descriptor is not usable: {0}")]
    Descriptor(String),
    /// Its JSON Schema breaks a rule.
    #[error("the plugin's config-schema is not usable: {0}")]
    Schema(String),
    /// The JSON Schema of its settings breaks a rule.
    #[error("the plugin's settings-schema is not usable: {0}")]
    SettingsSchema(String),
    /// Says that it does not work without a feature that this version does not have.
    #[error("the plugin needs the feature {0:?}, which this version does not have: upgrade KubeOpenCode")]
    MissingFeature(String),
    /// Not the plugin's fault: worth another try.
    #[error("{0}")]
    Host(String),
}

impl LoadError {
    /// Whether another try may do better, without a change of anything.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Host(_) | Self::TooExpensive { may_pass: true, .. })
    }

    /// Where on its way the plugin failed: a word for metrics, from a small fixed set.
    pub fn stage(&self) -> &'static str {
        match self {
            Self::Empty | Self::TooLarge { .. } | Self::Precompiled | Self::CoreModule | Self::NotWasm => {
                "read"
            }
            Self::Invalid(_) | Self::TooExpensive { .. } => "compile",
            Self::WrongWorld { .. }
            | Self::Imports(_)
            | Self::OtherWasi(_)
            | Self::NewerInterface(_)
            | Self::OtherInterface { .. } => "link",
            Self::Describe(_)
            | Self::Descriptor(_)
            | Self::Schema(_)
            | Self::SettingsSchema(_)
            | Self::MissingFeature(_) => "describe",
            Self::Host(_) => "host",
        }
    }
}

impl From<HostError> for LoadError {
    fn from(error: HostError) -> Self {
        Self::Host(error.to_string())
    }
}

/// A payload that the plugin's schema does not take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PayloadError {
    /// RFC 6901 pointer into the payload; empty for all of it.
    pub field: String,
    /// What is wrong there.
    pub message: String,
}

impl From<PayloadError> for PluginError {
    fn from(error: PayloadError) -> Self {
        Self { kind: ErrorKind::InvalidConfig, message: error.message, field: Some(error.field) }
    }
}

/// A call without a usable answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The plugin's own, orderly answer; also a payload that its schema does not take.
    #[error("{0}")]
    Plugin(PluginError),
    /// The plugin crashed.
    #[error("the plugin crashed: {reason}{}", last_words(words))]
    Trap {
        /// How it ended.
        reason: String,
        /// The end of what it wrote to standard error or logged as a warning or an error, 1 KiB at most.
        words: Option<String>,
    },
    /// Ran for too many instructions.
    #[error("the plugin was stopped: it used up its {limit} units of fuel")]
    OutOfFuel {
        /// Fuel of its class.
        limit: u64,
    },
    /// Ran for too long.
    #[error("the plugin was stopped: it ran for more than {seconds} s")]
    Timeout {
        /// Seconds of its class.
        seconds: u64,
    },
    /// Called itself too deeply.
    #[error("the plugin was stopped: its call stack grew beyond {limit} bytes")]
    StackOverflow {
        /// Bytes of stack.
        limit: usize,
    },
    /// Wanted too much memory.
    #[error("the plugin was stopped: it wanted more than {limit} bytes of memory")]
    OutOfMemory {
        /// Bytes of its class.
        limit: usize,
    },
    /// Logged without end.
    #[error("the plugin was stopped: it logged more than {limit} lines")]
    LogFlood {
        /// Lines that are allowed.
        limit: usize,
    },
    /// Answered or logged too much at once.
    #[error("the plugin's output was refused: it has more than {limit} bytes")]
    OutputTooLarge {
        /// Bytes that are allowed.
        limit: usize,
    },
    /// Answered with what this version does not have: an extension, or a case of the interface that comes later.
    #[error(
        "the plugin's output was refused: it uses {0:?}, which this version does not have: upgrade KubeOpenCode"
    )]
    MissingFeature(String),
    /// Serves no type of that name.
    #[error("the plugin has no type {0:?}")]
    NoSuchType(String),
    /// Has no function of that name.
    #[error("the plugin has no {0}")]
    NoSuchFunction(&'static str),
}

/// How a call ended: a word for metrics, from a small fixed set.
pub fn outcome<T>(result: &Result<T, CallError>) -> &'static str {
    match result {
        Ok(_) => "ok",
        Err(CallError::Plugin(error)) => match error.kind {
            ErrorKind::InvalidConfig => "invalid-config",
            ErrorKind::Unsatisfied => "unsatisfied",
            ErrorKind::Unsupported => "unsupported",
            ErrorKind::Internal => "internal",
        },
        Err(CallError::Trap { .. }) => "trap",
        Err(CallError::OutOfFuel { .. }) => "fuel",
        Err(CallError::Timeout { .. }) => "timeout",
        Err(CallError::StackOverflow { .. }) => "stack",
        Err(CallError::OutOfMemory { .. }) => "memory",
        Err(CallError::LogFlood { .. }) => "log",
        Err(CallError::OutputTooLarge { .. }) => "output",
        Err(CallError::MissingFeature(_)) => "extension",
        Err(CallError::NoSuchFunction(_) | CallError::NoSuchType(_)) => "function",
    }
}

fn last_words(words: &Option<String>) -> String {
    words.as_ref().map(|words| format!("; its last words: {words}")).unwrap_or_default()
}
