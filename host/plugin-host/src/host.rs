//! The host: one engine, the door through which plugins come in, and the registry in which they are found.
//!
//! May touch: the registry. Must not touch: where bytes come from and who may install them.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use kubeopencode_api::plugin::Kind;
use sha2::{Digest, Sha256};
use wasmtime::component::Linker;

use crate::built_in::BUILT_IN;
use crate::compile::Compiler;
use crate::engine::{engine, start_ticker};
use crate::error::{HostError, LoadError};
use crate::gate::SharedGate;
use crate::limits::LimitClass;
use crate::plugin::Plugin;
use crate::sandbox::{self, Call};

/// What a [`PluginHost`] needs of its machine.
#[derive(Debug, Clone)]
pub struct HostOptions {
    /// Where compiled plugins are kept; made with mode 0700. Whoever can write there can run code in this process.
    pub cache_dir: PathBuf,
    /// The executable that is called as `<worker> compile-worker <class>` and calls
    /// [`compile_worker_main`](crate::compile_worker_main).
    pub worker: PathBuf,
}

/// Loads plugins and keeps those that are installed. Cheap to share by reference between threads.
pub struct PluginHost {
    linker: Linker<Call>,
    compiler: Compiler,
    gate: SharedGate,
    registry: ArcSwap<Registry>,
    /// Kinds and names of the built-in plugins.
    reserved: Vec<(Kind, String)>,
}

/// Readers see all of one state; a change makes a new one.
#[derive(Default, Clone)]
struct Registry {
    context_types: HashMap<String, Arc<Plugin>>,
    command_builders: HashMap<String, Arc<Plugin>>,
}

impl Registry {
    fn of(&self, kind: Kind) -> &HashMap<String, Arc<Plugin>> {
        match kind {
            Kind::ContextType => &self.context_types,
            Kind::CommandBuilder => &self.command_builders,
        }
    }

    fn of_mut(&mut self, kind: Kind) -> &mut HashMap<String, Arc<Plugin>> {
        match kind {
            Kind::ContextType => &mut self.context_types,
            Kind::CommandBuilder => &mut self.command_builders,
        }
    }
}

impl PluginHost {
    /// Sets up the engine and installs the built-in plugins. Blocks: some 100 ms with an empty cache.
    ///
    /// # Errors
    /// The machine's: the cache directory, the worker, the processor.
    pub fn new(options: HostOptions) -> Result<Self, HostError> {
        let engine = engine()?;
        start_ticker(&engine)?;
        let linker = sandbox::linker(&engine).map_err(|error| HostError::Engine(format!("{error:#}")))?;
        let compiler = Compiler::new(&engine, options.cache_dir, options.worker)?;
        let mut host = Self {
            linker,
            compiler,
            gate: SharedGate::new(),
            registry: ArcSwap::default(),
            reserved: Vec::new(),
        };
        for built_in in &BUILT_IN {
            let plugin = host
                .load(built_in.bytes, built_in.kind, LimitClass::Default)
                .map_err(|error| HostError::BuiltIn { name: built_in.name, error: Box::new(error) })?;
            host.put(&plugin);
            host.reserved.push((built_in.kind, plugin.descriptor().name.clone()));
        }
        Ok(host)
    }

    /// Turns the bytes of a component into a plugin, without installing it. Blocks: up to seconds, when it is not in
    /// the cache.
    ///
    /// # Errors
    /// What is wrong with the bytes; [`LoadError::Host`] when another try may do better.
    pub fn load(&self, bytes: &[u8], kind: Kind, class: LimitClass) -> Result<Arc<Plugin>, LoadError> {
        let sha256: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        let component = self.compiler.compile(bytes, &sha256, class)?;
        Plugin::new(&self.linker, &self.gate, &component, &sha256, kind, class).map(Arc::new)
    }

    /// The installed context type of this name.
    pub fn context_type(&self, name: &str) -> Option<Arc<Plugin>> {
        self.registry.load().context_types.get(name).cloned()
    }

    /// The installed command builder of this name.
    pub fn command_builder(&self, name: &str) -> Option<Arc<Plugin>> {
        self.registry.load().command_builders.get(name).cloned()
    }

    /// Installs a plugin under its name, in the place of one that had it. Calls that run finish with the old one.
    ///
    /// # Errors
    /// [`LoadError::BuiltInName`].
    pub fn install(&self, plugin: Arc<Plugin>) -> Result<(), LoadError> {
        let name = &plugin.descriptor().name;
        if self.is_reserved(plugin.kind(), name) {
            return Err(LoadError::BuiltInName(name.clone()));
        }
        self.put(&plugin);
        Ok(())
    }

    /// Removes an installed plugin; the built-in ones stay. Calls that run finish.
    pub fn remove(&self, kind: Kind, name: &str) {
        if self.is_reserved(kind, name) || !self.registry.load().of(kind).contains_key(name) {
            return;
        }
        self.registry.rcu(|registry| {
            let mut registry = Registry::clone(registry);
            registry.of_mut(kind).remove(name);
            registry
        });
    }

    fn is_reserved(&self, kind: Kind, name: &str) -> bool {
        self.reserved.iter().any(|(k, n)| *k == kind && n == name)
    }

    fn put(&self, plugin: &Arc<Plugin>) {
        self.registry.rcu(|registry| {
            let mut registry = Registry::clone(registry);
            registry.of_mut(plugin.kind()).insert(plugin.descriptor().name.clone(), Arc::clone(plugin));
            registry
        });
    }
}

impl std::fmt::Debug for PluginHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let registry = self.registry.load();
        f.debug_struct("PluginHost")
            .field("context_types", &registry.context_types.values())
            .field("command_builders", &registry.command_builders.values())
            .finish_non_exhaustive()
    }
}
