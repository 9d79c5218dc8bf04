//! What a plugin sees of the world: a bounded `log`, a random seed that is always the same, and traps.
//! And what is counted while it runs.
//!
//! May touch: the state of one call. Must not touch: anything that outlives it, but for the operator's log.

use wasmtime::component::{Component, HasSelf, Linker};
use wasmtime::{Engine, ResourceLimiter, Store, Trap};

use crate::bindings::log;
use crate::error::{CallError, quote};
use crate::limits::{HOSTCALL_FUEL, LOG_BYTES, LOG_CALLS, LOG_LINES, Limits, OUTPUT, STACK, TICK};

/// A plugin has no randomness, so that its answers are the same everywhere: hash tables take this as their seed.
const SEED: (u64, u64) = (0x6b75_6265_6f70_656e, 0x636f_6465_2d72_7573);

/// One call.
pub(crate) struct Call {
    limits: Limits,
    memory: usize,
    table_elements: usize,
    log: Vec<(log::Level, String)>,
    log_calls: usize,
    log_bytes: usize,
    /// Set by whatever ends the call before its time.
    stopped: Option<CallError>,
}

/// What every plugin is linked against; the rest of its imports become traps.
pub(crate) fn linker(engine: &Engine) -> wasmtime::Result<Linker<Call>> {
    let mut linker = Linker::new(engine);
    log::add_to_linker::<Call, HasSelf<Call>>(&mut linker, |call| call)?;
    linker.instance("wasi:random/insecure-seed@0.2.0")?.func_wrap("insecure-seed", |_, ()| Ok((SEED,)))?;
    Ok(linker)
}

/// The same with the imports of this component that nobody knows.
pub(crate) fn linker_for(base: &Linker<Call>, component: &Component) -> wasmtime::Result<Linker<Call>> {
    let mut linker = base.clone();
    linker.define_unknown_imports_as_traps(component)?;
    Ok(linker)
}

/// Runs one call in a fresh store and tells a crash from a limit.
pub(crate) fn run<R>(
    engine: &Engine,
    limits: Limits,
    name: &str,
    call: impl FnOnce(&mut Store<Call>) -> wasmtime::Result<R>,
) -> Result<R, CallError> {
    let mut store = Store::new(engine, Call::new(limits));
    store.limiter(|call| call);
    store.set_hostcall_fuel(HOSTCALL_FUEL);
    // the current tick is partly over
    store.set_epoch_deadline((limits.time.as_millis() / TICK.as_millis()) as u64 + 1);
    let result = store.set_fuel(limits.fuel).and_then(|()| call(&mut store));
    let state = store.into_data();
    state.report(name);
    result.map_err(|error| state.explain(error))
}

impl Call {
    fn new(limits: Limits) -> Self {
        Self {
            limits,
            memory: 0,
            table_elements: 0,
            log: Vec::new(),
            log_calls: 0,
            log_bytes: 0,
            stopped: None,
        }
    }

    fn stop(&mut self, reason: CallError) -> wasmtime::Error {
        let error = wasmtime::Error::msg(reason.to_string());
        self.stopped = Some(reason);
        error
    }

    /// Passes the plugin's lines on.
    fn report(&self, plugin: &str) {
        for (level, line) in &self.log {
            match level {
                log::Level::Debug => tracing::debug!(target: "plugin", plugin, "{line}"),
                log::Level::Info => tracing::info!(target: "plugin", plugin, "{line}"),
                log::Level::Warn => tracing::warn!(target: "plugin", plugin, "{line}"),
                log::Level::Error => tracing::error!(target: "plugin", plugin, "{line}"),
            }
        }
        if self.log_calls > self.log.len() {
            let dropped = self.log_calls - self.log.len();
            tracing::warn!(target: "plugin", plugin, dropped, "the plugin logged too much");
        }
    }

    fn explain(self, error: wasmtime::Error) -> CallError {
        if let Some(reason) = self.stopped {
            return reason;
        }
        match error.downcast_ref::<Trap>() {
            Some(Trap::OutOfFuel) => return CallError::OutOfFuel { limit: self.limits.fuel },
            Some(Trap::Interrupt) => return CallError::Timeout { seconds: self.limits.time.as_secs() },
            Some(Trap::StackOverflow) => return CallError::StackOverflow { limit: STACK },
            _ => {}
        }
        let reason = error.root_cause().to_string();
        // wasmtime keeps the type of this error to itself
        if reason.contains("fuel allocated for hostcalls") {
            return CallError::OutputTooLarge { limit: OUTPUT };
        }
        let last_error = self.log.iter().rev().find(|(level, _)| matches!(level, log::Level::Error));
        CallError::Trap { reason: quote(&reason), words: last_error.map(|(_, line)| quote(line)) }
    }
}

impl log::Host for Call {
    fn log(&mut self, level: log::Level, mut message: String) -> wasmtime::Result<()> {
        self.log_calls += 1;
        if self.log_calls > LOG_CALLS {
            return Err(self.stop(CallError::LogFlood { limit: LOG_CALLS }));
        }
        let left = LOG_BYTES - self.log_bytes;
        if self.log.len() < LOG_LINES && left > 0 {
            message.truncate(message.floor_char_boundary(left));
            self.log_bytes += message.len();
            self.log.push((level, message));
        }
        Ok(())
    }
}

impl ResourceLimiter for Call {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        self.memory = self.memory.saturating_add(desired.saturating_sub(current));
        if self.memory > self.limits.memory {
            return Err(self.stop(CallError::OutOfMemory { limit: self.limits.memory }));
        }
        Ok(true)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        self.table_elements = self.table_elements.saturating_add(desired.saturating_sub(current));
        if self.table_elements > self.limits.table_elements {
            return Err(self.stop(CallError::OutOfMemory { limit: self.limits.memory }));
        }
        Ok(true)
    }

    fn instances(&self) -> usize {
        256
    }

    fn tables(&self) -> usize {
        256
    }

    fn memories(&self) -> usize {
        32
    }
}
