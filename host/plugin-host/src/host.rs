//! The host: one engine, and the door through which plugins come in.
//!
//! May touch: bytes. Must not touch: where they come from, under which name they serve, and what they are granted.

use std::path::PathBuf;
use std::sync::Arc;

use kubeopencode_api::names::hex;
use kubeopencode_api::plugin::{Kind, LimitClass};
use sha2::{Digest, Sha256};
use wasmtime::Engine;

use crate::built_in::{BUILT_IN, BuiltIn};
use crate::compile::Compiler;
use crate::engine::{engine, start_ticker};
use crate::error::{HostError, LoadError};
use crate::inspect::Inspection;
use crate::plugin::Plugin;
use crate::sandbox;

/// What a [`PluginHost`] needs of its machine.
#[derive(Debug, Clone)]
pub struct HostOptions {
    /// Where compiled plugins are kept; made with mode 0700. Whoever can write there can run code in this process.
    pub cache_dir: PathBuf,
    /// The executable that is called as `<worker> compile-worker <class>` and calls
    /// [`compile_worker_main`](crate::compile_worker_main).
    pub worker: PathBuf,
}

/// Loads plugins. Cheap to share by reference between threads.
pub struct PluginHost {
    engine: Engine,
    compiler: Compiler,
}

impl PluginHost {
    /// Sets up the engine.
    ///
    /// # Errors
    /// The machine's: the cache directory, the worker, the processor.
    pub fn new(options: HostOptions) -> Result<Self, HostError> {
        let engine = engine()?;
        start_ticker(&engine)?;
        let compiler = Compiler::new(&engine, options.cache_dir, options.worker)?;
        Ok(Self { engine, compiler })
    }

    /// Loads the plugins that the program brings. Blocks: a second with an empty cache.
    ///
    /// # Errors
    /// [`HostError::BuiltIn`].
    pub fn load_built_in(&self) -> Result<Vec<Arc<Plugin>>, HostError> {
        let load = |built_in: &BuiltIn| {
            self.load(built_in.bytes, built_in.kind, LimitClass::Default)
                .map_err(|error| HostError::BuiltIn { name: built_in.name, error: Box::new(error) })
        };
        BUILT_IN.iter().map(load).collect()
    }

    /// Turns the bytes of a component into a plugin. Blocks: up to seconds, when it is not in
    /// the cache.
    ///
    /// # Errors
    /// What is wrong with the bytes; [`LoadError::Host`] when another try may do better.
    pub fn load(&self, bytes: &[u8], kind: Kind, class: LimitClass) -> Result<Arc<Plugin>, LoadError> {
        let sha256 = hex(&Sha256::digest(bytes));
        let (component, file) = self.compiler.compile(bytes, &sha256, class)?;
        Plugin::new(&self.engine, &component, file, &sha256, kind, class).map(Arc::new)
    }

    /// What a component imports and exports, whether it can be linked or not. Blocks as [`Self::load`] does, which then finds
    /// it compiled.
    ///
    /// # Errors
    /// Why it cannot be compiled.
    pub fn inspect(&self, bytes: &[u8], class: LimitClass) -> Result<Inspection, LoadError> {
        let sha256 = hex(&Sha256::digest(bytes));
        let (component, _file) = self.compiler.compile(bytes, &sha256, class)?;
        Ok(sandbox::inspect(&self.engine, &component))
    }

    /// Bytes of address space that the last compilation took, which [`Limits::worker_memory`](crate::Limits) limits; none, where
    /// nothing was compiled.
    pub fn compile_memory(&self) -> Option<u64> {
        self.compiler.took()
    }
}

impl std::fmt::Debug for PluginHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PluginHost").finish_non_exhaustive()
    }
}
