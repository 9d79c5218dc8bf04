//! A loaded plugin: code, descriptors and schemas of one digest. Immutable; a reload makes another one.
//!
//! May touch: one plugin and one call at a time. Must not touch: the cache.

use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use jiff::Timestamp;
use kubeopencode_api::plugin::{
    BuildRequest, CommandPlan, EvaluateRequest, Kind, LimitClass, Outcome, PluginError, ServeRequest,
    ServerPlan, TaskView,
};
use serde_json::Value;
use wasmtime::component::Component;
use wasmtime::{Engine, Store};

use crate::bindings::{builder, context, server};
use crate::cache::Used;
use crate::convert;
use crate::descriptor::{self, PluginType};
use crate::error::{CallError, LoadError, PayloadError, quote};
use crate::limits::{Limits, OUTPUT, Used as UsedUp};
use crate::sandbox::{self, Call};
use crate::size::{Answer, error_bytes};

/// A plugin that has been compiled, linked and asked for its descriptors.
pub struct Plugin {
    digest: String,
    interface: String,
    class: LimitClass,
    engine: Engine,
    code: Code,
    types: Vec<PluginType>,
    /// Fuel that its calls used since somebody asked for it.
    fuel: AtomicU64,
    /// Memory of the largest of them.
    memory: AtomicUsize,
    /// Of its code.
    _file: Used,
}

/// What a plugin exports.
enum Code {
    ContextType(context::ContextTypePluginPre<Call>),
    CommandBuilder {
        builder: builder::CommandBuilderPluginPre<Call>,
        server: Option<server::ServerPre<Call>>,
    },
}

impl Plugin {
    pub(crate) fn new(
        engine: &Engine,
        component: &Component,
        file: Used,
        sha256: &str,
        kind: Kind,
        class: LimitClass,
    ) -> Result<Self, LoadError> {
        let (code, interface) = Code::link(engine, component, kind)?;
        let digest = format!("sha256:{sha256}");
        let describe = |store: &mut Store<Call>| match &code {
            Code::ContextType(pre) => {
                let instance = pre.instantiate(&mut *store)?;
                instance.kubeopencode_plugin_context_type().call_describe(store)
            }
            Code::CommandBuilder { builder, .. } => {
                let instance = builder.instantiate(&mut *store)?;
                let described = instance.kubeopencode_plugin_command_builder().call_describe(store)?;
                Ok(vec![described])
            }
        };
        let no_time = Timestamp::UNIX_EPOCH;
        let (raw, _) = sandbox::run(engine, Limits::of(class), &digest, no_time, describe);
        let types = descriptor::check_all(raw.map_err(LoadError::Describe)?, kind)?;
        Ok(Self {
            digest,
            interface,
            class,
            engine: engine.clone(),
            code,
            types,
            fuel: AtomicU64::default(),
            memory: AtomicUsize::default(),
            _file: file,
        })
    }

    /// `sha256:` and the SHA-256 of the component in hex.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The interface that it was built for, as in `kubeopencode:plugin@1.0.0`.
    pub fn interface(&self) -> &str {
        &self.interface
    }

    /// Which of the two kinds it is.
    pub fn kind(&self) -> Kind {
        match self.code {
            Code::ContextType(_) => Kind::ContextType,
            Code::CommandBuilder { .. } => Kind::CommandBuilder,
        }
    }

    /// The types that it serves, in its own order: at least one, and one alone in a command builder.
    pub fn types(&self) -> &[PluginType] {
        &self.types
    }

    /// The type of this name.
    pub fn type_named(&self, name: &str) -> Option<&PluginType> {
        self.types.iter().find(|type_| type_.descriptor.name == name)
    }

    /// Whether [`Self::serve`] can be called.
    pub fn has_server(&self) -> bool {
        matches!(&self.code, Code::CommandBuilder { server: Some(_), .. })
    }

    /// What its calls used since this was asked last.
    pub fn take_used(&self) -> UsedUp {
        UsedUp { fuel: self.fuel.swap(0, Ordering::Relaxed), memory: self.memory.swap(0, Ordering::Relaxed) }
    }

    /// Which limits it has.
    pub fn class(&self) -> LimitClass {
        self.class
    }

    /// Asks a context type what one item comes to.
    ///
    /// # Errors
    /// The plugin's own error, a payload that does not fit, or how the call broke.
    pub fn evaluate(&self, request: EvaluateRequest) -> Result<Outcome, CallError> {
        let Code::ContextType(pre) = &self.code else { return Err(CallError::NoSuchFunction("evaluate")) };
        let Some(type_) = self.type_named(&request.type_name) else {
            return Err(CallError::NoSuchType(request.type_name));
        };
        let payload = type_.schema.check(&request.payload).map_err(|error| self.mismatch(type_, error))?;
        let settings = self.settings(type_, &request.settings)?;
        let time = created(request.task.as_ref());
        let name = type_.descriptor.name.as_str();
        let request = convert::request(request, payload, settings);
        let result = self.run(name, time, |store| {
            let instance = pre.instantiate(&mut *store)?;
            instance.kubeopencode_plugin_context_type().call_evaluate(store, &request)
        })?;
        answer(result.map(Outcome::from).map_err(PluginError::from))
    }

    /// Asks a command builder for the process of a Task.
    ///
    /// # Errors
    /// The plugin's own error, a config that does not fit, or how the call broke.
    pub fn build(&self, request: &BuildRequest) -> Result<CommandPlan, CallError> {
        let Code::CommandBuilder { builder, .. } = &self.code else {
            return Err(CallError::NoSuchFunction("build"));
        };
        let settings = self.check_builder(request.config.as_deref(), &request.settings)?;
        let time = request.task.created;
        let request = convert::build_request(request, settings);
        let result = self.run(self.name(), time, |store| {
            let instance = builder.instantiate(&mut *store)?;
            instance.kubeopencode_plugin_command_builder().call_build(store, &request)
        })?;
        answer(result.map(CommandPlan::from).map_err(PluginError::from))
    }

    /// Asks a command builder for the process of a server.
    ///
    /// # Errors
    /// The plugin's own error, a config that does not fit, or how the call broke;
    /// [`CallError::NoSuchFunction`] when its agent cannot run as a server.
    pub fn serve(&self, request: &ServeRequest) -> Result<ServerPlan, CallError> {
        let Code::CommandBuilder { server: Some(pre), .. } = &self.code else {
            return Err(CallError::NoSuchFunction("serve"));
        };
        let settings = self.check_builder(request.config.as_deref(), &request.settings)?;
        let request = convert::serve_request(request, settings);
        let result = self.run(self.name(), created(None), |store| {
            let instance = pre.instantiate(&mut *store)?;
            instance.kubeopencode_plugin_server().call_serve(store, &request)
        })?;
        answer(result.map(ServerPlan::from).map_err(PluginError::from))
    }

    fn run<R>(
        &self,
        name: &str,
        time: Timestamp,
        call: impl FnOnce(&mut Store<Call>) -> wasmtime::Result<R>,
    ) -> Result<R, CallError> {
        let (result, used) = sandbox::run(&self.engine, Limits::of(self.class), name, time, call);
        self.fuel.fetch_add(used.fuel, Ordering::Relaxed);
        self.memory.fetch_max(used.memory, Ordering::Relaxed);
        result
    }

    /// The name of its first type.
    fn name(&self) -> &str {
        self.types.first().map_or("", |type_| &type_.descriptor.name)
    }

    /// Checks what a command builder is asked with, and gives its settings as text.
    fn check_builder(&self, config: Option<&str>, settings: &Value) -> Result<String, CallError> {
        let [type_] = self.types.as_slice() else {
            return Err(CallError::NoSuchType(self.name().to_owned()));
        };
        if let Some(config) = config {
            let checked = serde_json::from_str(config)
                .map_err(|error| PayloadError {
                    field: String::new(),
                    message: format!("invalid JSON in Agent config: {error}"),
                })
                .and_then(|config: Value| type_.check_payload(&config));
            checked.map_err(|error| self.mismatch(type_, error))?;
        }
        self.settings(type_, settings)
    }

    fn settings(&self, type_: &PluginType, settings: &Value) -> Result<String, CallError> {
        type_.settings_text(settings).map_err(|error| {
            // no place in the user's payload
            self.mismatch(
                type_,
                PayloadError { field: String::new(), message: format!("settings: {}", error.message) },
            )
        })
    }

    /// A payload that does not fit is the user's to change, as if the plugin had said so.
    fn mismatch(&self, type_: &PluginType, mut error: PayloadError) -> CallError {
        let (kind, name) = (self.kind(), &type_.descriptor.name);
        error.message = format!("not what {kind} {name:?} takes: {}", error.message);
        CallError::Plugin(error.into())
    }
}

/// The only time that a plugin knows.
fn created(task: Option<&TaskView>) -> Timestamp {
    task.map_or(Timestamp::UNIX_EPOCH, |task| task.created)
}

impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plugin")
            .field("kind", &self.kind())
            .field("name", &self.name())
            .field("digest", &self.digest)
            .finish_non_exhaustive()
    }
}

impl Code {
    /// With the interface that it was built for.
    fn link(engine: &Engine, component: &Component, kind: Kind) -> Result<(Self, String), LoadError> {
        let refuse = |error: wasmtime::Error| {
            let ty = component.component_type();
            let exports: Vec<_> = ty.exports(engine).map(|(name, _)| name.to_owned()).collect();
            let exports = if exports.is_empty() { "nothing".to_owned() } else { exports.join(", ") };
            LoadError::WrongWorld { kind, reason: quote(&format!("{error:#}; it exports {exports}")) }
        };
        let linker = sandbox::linker(engine, component)?;
        let interface = sandbox::exported(engine, component, kind.as_str())?.unwrap_or_default();
        let pre = linker.instantiate_pre(component).map_err(refuse)?;
        let code = match kind {
            Kind::ContextType => Self::ContextType(context::ContextTypePluginPre::new(pre).map_err(refuse)?),
            Kind::CommandBuilder => Self::CommandBuilder {
                server: server::ServerPre::new(pre.clone()).ok(),
                builder: builder::CommandBuilderPluginPre::new(pre).map_err(refuse)?,
            },
        };
        Ok((code, interface))
    }
}

fn answer<A: Answer>(result: Result<A, PluginError>) -> Result<A, CallError> {
    let bytes = result.as_ref().map_or_else(error_bytes, Answer::bytes);
    if bytes > OUTPUT {
        return Err(CallError::OutputTooLarge { limit: OUTPUT });
    }
    let answer = result.map_err(|mut error| {
        error.message = quote(&error.message);
        CallError::Plugin(error)
    })?;
    match answer.missing_feature() {
        Some(feature) => Err(CallError::MissingFeature(quote(feature))),
        None => Ok(answer),
    }
}
