//! A loaded plugin: code, descriptor and schema of one digest. Immutable; a reload makes another one.
//!
//! May touch: one plugin and one call at a time. Must not touch: the cache.

use std::fmt;

use kubeopencode_api::plugin::{
    BuildRequest, CommandPlan, Descriptor, EvaluateRequest, Kind, LimitClass, Outcome, PluginError,
    ServeRequest, ServerPlan,
};
use serde_json::Value;
use wasmtime::component::Component;
use wasmtime::{Engine, Store};

use crate::bindings::{builder, context, server};
use crate::cache::Used;
use crate::error::{CallError, LoadError, PayloadError, quote};
use crate::limits::{Limits, OUTPUT};
use crate::sandbox::{self, Call};
use crate::schema::Schema;
use crate::size::{Answer, error_bytes};
use crate::{convert, descriptor};

/// A plugin that has been compiled, linked and asked for its descriptor.
pub struct Plugin {
    digest: String,
    class: LimitClass,
    engine: Engine,
    code: Code,
    descriptor: Descriptor,
    schema: Schema,
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
        let code = Code::link(engine, component, kind)?;
        let digest = format!("sha256:{sha256}");
        let describe = |store: &mut Store<Call>| match &code {
            Code::ContextType(pre) => {
                let instance = pre.instantiate(&mut *store)?;
                instance.kubeopencode_plugin_context_type().call_describe(store)
            }
            Code::CommandBuilder { builder, .. } => {
                let instance = builder.instantiate(&mut *store)?;
                instance.kubeopencode_plugin_command_builder().call_describe(store)
            }
        };
        let raw = sandbox::run(engine, Limits::of(class), &digest, describe).map_err(LoadError::Describe)?;
        let (descriptor, schema) = descriptor::check(raw)?;
        Ok(Self { digest, class, engine: engine.clone(), code, descriptor, schema, _file: file })
    }

    /// `sha256:` and the SHA-256 of the component in hex.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Which of the two kinds it is.
    pub fn kind(&self) -> Kind {
        match self.code {
            Code::ContextType(_) => Kind::ContextType,
            Code::CommandBuilder { .. } => Kind::CommandBuilder,
        }
    }

    /// What it says about itself.
    pub fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    /// RFC 6901 pointers into a payload: where it names Secrets, as its schema marks them.
    pub fn secret_fields(&self) -> &[String] {
        self.schema.secret_fields()
    }

    /// Whether [`Self::serve`] can be called.
    pub fn has_server(&self) -> bool {
        matches!(&self.code, Code::CommandBuilder { server: Some(_), .. })
    }

    /// Checks a payload against the plugin's schema; the calls below do so themselves.
    ///
    /// # Errors
    /// The first place that does not fit.
    pub fn check_payload(&self, payload: &Value) -> Result<(), PayloadError> {
        self.schema.check(payload).map(drop)
    }

    /// Asks a context type what one item comes to.
    ///
    /// # Errors
    /// The plugin's own error, a payload that does not fit, or how the call broke.
    pub fn evaluate(&self, request: EvaluateRequest) -> Result<Outcome, CallError> {
        let Code::ContextType(pre) = &self.code else { return Err(CallError::NoSuchFunction("evaluate")) };
        let payload = self.schema.check(&request.payload).map_err(|error| self.mismatch(error))?;
        let request = convert::request(request, payload);
        let result = self.run(|store| {
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
        self.check_config(request.config.as_deref())?;
        let request = convert::build_request(request);
        let result = self.run(|store| {
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
        self.check_config(request.config.as_deref())?;
        let request = convert::serve_request(request);
        let result = self.run(|store| {
            let instance = pre.instantiate(&mut *store)?;
            instance.kubeopencode_plugin_server().call_serve(store, &request)
        })?;
        answer(result.map(ServerPlan::from).map_err(PluginError::from))
    }

    fn run<R>(&self, call: impl FnOnce(&mut Store<Call>) -> wasmtime::Result<R>) -> Result<R, CallError> {
        sandbox::run(&self.engine, Limits::of(self.class), &self.descriptor.name, call)
    }

    fn check_config(&self, config: Option<&str>) -> Result<(), CallError> {
        let Some(config) = config else { return Ok(()) };
        let checked = serde_json::from_str(config)
            .map_err(|error| PayloadError {
                field: String::new(),
                message: format!("invalid JSON in Agent config: {error}"),
            })
            .and_then(|config: Value| self.check_payload(&config));
        checked.map_err(|error| self.mismatch(error))
    }

    /// A payload that does not fit is the user's to change, as if the plugin had said so.
    fn mismatch(&self, mut error: PayloadError) -> CallError {
        let Descriptor { name, .. } = &self.descriptor;
        error.message = format!("not what {} {name:?} takes: {}", self.kind(), error.message);
        CallError::Plugin(error.into())
    }
}

impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plugin")
            .field("kind", &self.kind())
            .field("name", &self.descriptor.name)
            .field("digest", &self.digest)
            .finish_non_exhaustive()
    }
}

impl Code {
    fn link(engine: &Engine, component: &Component, kind: Kind) -> Result<Self, LoadError> {
        let refuse = |error: wasmtime::Error| {
            let ty = component.component_type();
            let exports: Vec<_> = ty.exports(engine).map(|(name, _)| name.to_owned()).collect();
            let exports = if exports.is_empty() { "nothing".to_owned() } else { exports.join(", ") };
            LoadError::WrongWorld { kind, reason: quote(&format!("{error:#}; it exports {exports}")) }
        };
        let linker = sandbox::linker(engine, component)?;
        sandbox::check_exports(engine, component, kind.as_str())?;
        let pre = linker.instantiate_pre(component).map_err(refuse)?;
        Ok(match kind {
            Kind::ContextType => Self::ContextType(context::ContextTypePluginPre::new(pre).map_err(refuse)?),
            Kind::CommandBuilder => Self::CommandBuilder {
                server: server::ServerPre::new(pre.clone()).ok(),
                builder: builder::CommandBuilderPluginPre::new(pre).map_err(refuse)?,
            },
        })
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
    match answer.unknown_extension() {
        Some(kind) => Err(CallError::UnknownExtension(quote(kind))),
        None => Ok(answer),
    }
}
