//! How much a plugin may use, in its two classes. Users rely on the numbers: docs/contract.md, section 7, names them.
//!
//! May touch: numbers. Must not touch: what they limit.

use std::time::Duration;

use kubeopencode_api::plugin::LimitClass;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// Bytes of a payload, as compact JSON.
pub(crate) const PAYLOAD: usize = 256 * KIB;
/// Bytes that one answer of a plugin may have.
pub(crate) const OUTPUT: usize = MIB + 64 * KIB;
/// Bytes that the host copies out of a plugin in one call; more than [`OUTPUT`], because every list element counts
/// with its size in memory.
pub(crate) const HOSTCALL_FUEL: usize = 2 * MIB;
/// Log lines of one call.
pub(crate) const LOG_LINES: usize = 64;
/// Log bytes of one call.
pub(crate) const LOG_BYTES: usize = 8 * KIB;
/// Lines, logged or written to its streams, after which a plugin is stopped; what is beyond [`LOG_LINES`] is dropped before.
pub(crate) const LOG_CALLS: usize = 4096;
/// Stack of a plugin, in bytes.
pub(crate) const STACK: usize = 512 * KIB;
/// Instances of core modules in a call: that of Python has 14.
pub(crate) const INSTANCES: usize = 64;
/// Globals and imports of one core module: Python's largest has 962. An instance holds up to 32 bytes for each and fills them
/// before any code runs, where neither fuel nor clock nor [`Limits::memory`] counts.
pub(crate) const MODULE_ENTRIES: usize = 16 * KIB;
/// Whatever a component may import, types and what is in interfaces included: for each there is something in the operator's own
/// memory for as long as the plugin is loaded. All of WASI 0.2 has less than a thousand.
pub(crate) const IMPORTS: usize = 10_000;
/// How often the clock of running calls ticks.
pub(crate) const TICK: Duration = Duration::from_millis(100);

/// What calls of a plugin used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Used {
    /// Units of fuel: about one for each WebAssembly instruction.
    pub fuel: u64,
    /// Bytes of linear memory that a call had at its end, which is most: of several calls the largest.
    pub memory: usize,
}

/// The numbers of a [`LimitClass`].
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of the decoded component.
    pub component: usize,
    /// Bytes of one function body.
    pub(crate) function_body: usize,
    /// Functions of one core module: an instance has 32 bytes for each that its code takes the address of.
    pub(crate) functions: usize,
    /// Bytes of all linear memories of a call.
    pub memory: usize,
    /// Elements of all tables of a call.
    pub(crate) table_elements: usize,
    /// Instructions of a call, about: the same on every machine.
    pub fuel: u64,
    /// Wall time of a call: the backstop where fuel does not count.
    pub time: Duration,
    /// Address space of the compile worker, in bytes. A Python component of 19 MB takes 588 MiB, so that a quarter more is there for
    /// its packages and for the next Python; beside it, 256 MiB are left to the operator of the 1 GiB that the chart gives both.
    pub worker_memory: u64,
    /// CPU time of the compile worker, in seconds. A Python component of 19 MB takes 14 s where these were chosen, and a node of a
    /// cloud may be half as fast.
    pub worker_seconds: u64,
    /// Bytes of the compiled file.
    pub(crate) compiled: u64,
}

impl Limits {
    /// Those of a class.
    pub const fn of(class: LimitClass) -> Self {
        match class {
            LimitClass::Default => Self {
                component: 4 * MIB,
                function_body: 64 * KIB,
                functions: 64 * KIB,
                memory: 32 * MIB,
                table_elements: 64 * KIB,
                fuel: 200_000_000,
                time: Duration::from_secs(2),
                worker_memory: 256 * MIB as u64,
                worker_seconds: 20,
                compiled: 64 * MIB as u64,
            },
            LimitClass::Large => Self {
                component: 32 * MIB,
                function_body: 512 * KIB,
                functions: 256 * KIB,
                memory: 64 * MIB,
                table_elements: 256 * KIB,
                fuel: 2_000_000_000,
                time: Duration::from_secs(5),
                worker_memory: 768 * MIB as u64,
                worker_seconds: 60,
                compiled: 256 * MIB as u64,
            },
        }
    }
}
