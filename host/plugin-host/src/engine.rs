//! The engine: one configuration for the operator and for its compile worker, and the clock of running calls.
//!
//! May touch: wasmtime's settings and one thread. Must not touch: components.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::thread;

use kubeopencode_api::plugin::LimitClass;
use wasmtime::{Config, Engine, OptLevel};

use crate::error::HostError;
use crate::limits::{STACK, TICK};

/// Settings that decide what a component may contain, what its code checks, and whether a compiled file fits.
///
/// `wasm_multi_memory` stays on: with it off the compiler panics on components that bring QuickJS.
/// `memory_reservation` stays at 4 GiB a memory: the processor then finds what lies outside, and an eighth less code
/// has to be compiled. Only a few calls run at the same time, so they do not use up an address space.
fn config() -> Config {
    let mut config = Config::new();
    config
        // the same end on every replica; costs some percent of speed
        .consume_fuel(true)
        // the backstop: host calls do not use fuel
        .epoch_interruption(true)
        // the same floating-point bits on every machine
        .cranelift_nan_canonicalization(true)
        .wasm_relaxed_simd(false)
        .wasm_memory64(false)
        .concurrency_support(false)
        .max_wasm_stack(STACK)
        // nothing unwinds through a plugin, and nobody reads where in its code it crashed: smaller files
        .native_unwind_info(false)
        .generate_address_map(false)
        // a third less processor time to compile; a call is mostly the making of its instance
        .cranelift_opt_level(OptLevel::None);
    config
}

/// An engine with this configuration.
pub(crate) fn engine() -> Result<Engine, HostError> {
    Engine::new(&config()).map_err(|error| HostError::Engine(format!("{error:#}")))
}

/// What a compiled file's name says about the engine that made it and what it took: another version, configuration,
/// processor or class gives another hash. Without the class, a plugin that only `large` takes would be taken as
/// `default` wherever it happens to be in the cache.
pub(crate) fn compatibility(engine: &Engine, class: LimitClass) -> String {
    let mut hasher = DefaultHasher::new();
    class.hash(&mut hasher);
    engine.precompile_compatibility_hash().hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// Starts the clock, which ends with the engine. One tick a wake: after a machine slept, calls do not all time out.
pub(crate) fn start_ticker(engine: &Engine) -> Result<(), HostError> {
    let engine = engine.weak();
    let tick = move || {
        while let Some(engine) = engine.upgrade() {
            engine.increment_epoch();
            drop(engine);
            thread::sleep(TICK);
        }
    };
    thread::Builder::new().name("plugin-clock".to_owned()).spawn(tick).map_err(HostError::Ticker)?;
    Ok(())
}
