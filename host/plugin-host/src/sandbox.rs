//! One call of a plugin: what is counted while it runs, and what its end is called.
//!
//! What a plugin is linked against is in `imports`: a bounded `log` and a WASI with nothing behind it (`wasi`). What it
//! says in a call is in `lines`.
//!
//! May touch: the state of one call. Must not touch: anything that outlives it, but for the operator's log.

mod imports;
mod lines;
mod wasi;

use jiff::Timestamp;
use wasmtime::{Engine, ResourceLimiter, Store, Trap};

pub(crate) use imports::{check_wasi, exported, inspect, linker, of_network};

use crate::error::{CallError, quote};
use crate::limits::{HOSTCALL_FUEL, INSTANCES, LOG_CALLS, Limits, OUTPUT, STACK, TICK, Used};
use lines::Lines;

/// What the trap "cannot leave component instance" means.
const CALLED_OUT: &str = "it called the host while it made room for what it is given, when no component may call anything; in Go \
                          packages do so that begin something of their own, as net/http: leave them out";

/// What the trap "out of bounds memory access" often means: linkers put the stack of a language at the lower end of its memory, and
/// what grows beyond that end comes to addresses that are none.
const OUT_OF_BOUNDS: &str =
    "out of bounds memory access, as when a recursion does not end or too much is held on its stack";

/// One call.
pub(crate) struct Call {
    limits: Limits,
    memory: usize,
    table_elements: usize,
    lines: Lines,
    wasi: wasi::State,
    /// Set by whatever ends the call before its time.
    stopped: Option<CallError>,
}

/// Runs one call in a fresh store, at which the clock stands at `time`, and tells a crash from a limit. Says what it used.
pub(crate) fn run<R>(
    engine: &Engine,
    limits: Limits,
    name: &str,
    time: Timestamp,
    call: impl FnOnce(&mut Store<Call>) -> wasmtime::Result<R>,
) -> (Result<R, CallError>, Used) {
    let mut store = Store::new(engine, Call::new(limits, time));
    store.limiter(|call| call);
    store.set_hostcall_fuel(HOSTCALL_FUEL);
    // the current tick is partly over
    store.set_epoch_deadline((limits.time.as_millis() / TICK.as_millis()) as u64 + 1);
    let result = store.set_fuel(limits.fuel).and_then(|()| call(&mut store));
    let fuel = limits.fuel.saturating_sub(store.get_fuel().unwrap_or(limits.fuel));
    let mut state = store.into_data();
    let used = Used { fuel, memory: state.memory };
    state.lines.finish();
    state.lines.report(name);
    (result.map_err(|error| state.explain(error)), used)
}

impl Call {
    fn new(limits: Limits, time: Timestamp) -> Self {
        Self {
            limits,
            memory: 0,
            table_elements: 0,
            lines: Lines::default(),
            wasi: wasi::State::at(time),
            stopped: None,
        }
    }

    fn stop(&mut self, reason: CallError) -> wasmtime::Error {
        let error = wasmtime::Error::msg(reason.to_string());
        self.stopped = Some(reason);
        error
    }

    /// After the plugin has said something: there is an end to it.
    fn listen(&mut self) -> wasmtime::Result<()> {
        if self.lines.number() > LOG_CALLS {
            return Err(self.stop(CallError::LogFlood { limit: LOG_CALLS }));
        }
        Ok(())
    }

    fn explain(self, error: wasmtime::Error) -> CallError {
        if let Some(reason) = self.stopped {
            return reason;
        }
        let trap = error.downcast_ref::<Trap>();
        match trap {
            Some(Trap::OutOfFuel) => return CallError::OutOfFuel { limit: self.limits.fuel },
            Some(Trap::Interrupt) => return CallError::Timeout { seconds: self.limits.time.as_secs() },
            Some(Trap::StackOverflow) => return CallError::StackOverflow { limit: STACK },
            _ => {}
        }
        let reason = match trap {
            // how the runtimes of all languages end when something cannot go on: the plugin's own words say why
            Some(Trap::UnreachableCodeReached) => "it aborted".to_owned(),
            Some(Trap::CannotLeaveComponent) => CALLED_OUT.to_owned(),
            Some(Trap::MemoryOutOfBounds) => OUT_OF_BOUNDS.to_owned(),
            _ => error.root_cause().to_string(),
        };
        // wasmtime keeps the type of this error to itself
        if reason.contains("fuel allocated for hostcalls") {
            return CallError::OutputTooLarge { limit: OUTPUT };
        }
        CallError::Trap { reason: quote(&reason), words: self.lines.last_words() }
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
        INSTANCES
    }

    fn tables(&self) -> usize {
        256
    }

    fn memories(&self) -> usize {
        32
    }
}
