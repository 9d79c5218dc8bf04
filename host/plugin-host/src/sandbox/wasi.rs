//! WASI 0.2 with nothing behind it, so that the runtimes of languages start and their last words are heard.
//!
//! Standard output and error become lines of the plugin's log, standard input is at its end, environment and file system
//! are empty, no terminal is there, clocks stand still and pauses are over at once, and random numbers are the same in each call. Whatever is not here
//! ends the call, and [`absent`] says why in words. By hand, because a WASI that does something is what a plugin must not
//! have. The functions are the same in all of 0.2: the version that a component imports does not matter.
//!
//! May touch: the state of one call. Must not touch: anything of this machine.

use jiff::Timestamp;
use wasmtime::component::{ComponentType, Lift, LinkerInstance, Lower, Resource};
use wasmtime::{StoreContextMut, bail};

use super::Call;
use super::lines::Stream;

/// A plugin has no randomness, so that its answers are the same everywhere: hash tables take this as their seed.
const SEED: (u64, u64) = (0x6b75_6265_6f70_656e, 0x636f_6465_2d72_7573);
/// Handles that one call may be given: the host keeps some bytes for each.
const HANDLES: usize = 4096;
/// Random bytes that a plugin may ask for at once.
const RANDOM_BYTES: u64 = 64 << 10;
/// Bytes that a stream takes at once.
const WRITE: u64 = 4096;
/// What the clock that only goes forward shows; the runtime of Go does not take zero.
const MONOTONIC: u64 = 1;

/// What is behind each resource of WASI: a number that tells the streams apart.
pub(super) struct Handle;

const STDOUT: u32 = 1;
const STDERR: u32 = 2;
const OTHER: u32 = 0;

/// What a call has of WASI.
#[derive(Debug)]
pub(super) struct State {
    /// Where the clock stands.
    time: Timestamp,
    handles: usize,
    /// How many random numbers were given.
    random: u64,
}

#[derive(ComponentType, Lift, Lower)]
#[component(variant)]
enum StreamError {
    #[component(name = "last-operation-failed")]
    LastOperationFailed(Resource<Handle>),
    #[component(name = "closed")]
    Closed,
}

#[derive(ComponentType, Lift, Lower)]
#[component(record)]
struct Datetime {
    seconds: u64,
    nanoseconds: u32,
}

type Store<'a> = StoreContextMut<'a, Call>;
type OfHandle = (Resource<Handle>,);

/// Offers a function, where it is one of those that are here: `wasi:cli/stdout` and `get-stdout`.
pub(super) fn define(
    linker: &mut LinkerInstance<'_, Call>,
    interface: &str,
    function: &str,
) -> wasmtime::Result<bool> {
    match (interface, function) {
        ("wasi:cli/stdout", "get-stdout") => linker.func_wrap(function, |s, ()| handle(s, STDOUT)),
        ("wasi:cli/stderr", "get-stderr") => linker.func_wrap(function, |s, ()| handle(s, STDERR)),
        ("wasi:cli/stdin", "get-stdin") => linker.func_wrap(function, |s, ()| handle(s, OTHER)),
        ("wasi:cli/terminal-stdin", "get-terminal-stdin")
        | ("wasi:cli/terminal-stdout", "get-terminal-stdout")
        | ("wasi:cli/terminal-stderr", "get-terminal-stderr") => {
            linker.func_wrap(function, |_, ()| Ok((None::<Resource<Handle>>,)))
        }
        ("wasi:cli/environment", "get-environment") => {
            linker.func_wrap(function, |_, ()| Ok((Vec::<(String, String)>::new(),)))
        }
        ("wasi:cli/environment", "get-arguments") => {
            linker.func_wrap(function, |_, ()| Ok((Vec::<String>::new(),)))
        }
        ("wasi:cli/environment", "initial-cwd") => linker.func_wrap(function, |_, ()| Ok((None::<String>,))),
        ("wasi:cli/exit", "exit") => {
            linker.func_wrap(function, |_, (status,): (Result<(), ()>,)| exit(status.ok().map(|()| 0)))
        }
        ("wasi:cli/exit", "exit-with-code") => {
            linker.func_wrap(function, |_, (code,): (u8,)| exit(Some(code)))
        }
        ("wasi:io/streams", _) => return stream(linker, function),
        ("wasi:io/poll", "[method]pollable.ready") => {
            linker.func_wrap(function, |_, (_,): OfHandle| Ok((true,)))
        }
        ("wasi:io/poll", "[method]pollable.block") => linker.func_wrap(function, |_, (_,): OfHandle| Ok(())),
        ("wasi:io/poll", "poll") => linker.func_wrap(function, |_, (handles,): (Vec<Resource<Handle>>,)| {
            Ok(((0..).take(handles.len()).collect::<Vec<u32>>(),))
        }),
        ("wasi:clocks/wall-clock", "now") => {
            linker.func_wrap(function, |s: Store<'_>, ()| Ok((Datetime::from(s.data().wasi.time),)))
        }
        ("wasi:clocks/wall-clock", "resolution") => {
            linker.func_wrap(function, |_, ()| Ok((Datetime { seconds: 1, nanoseconds: 0 },)))
        }
        ("wasi:clocks/monotonic-clock", "now") => linker.func_wrap(function, |_, ()| Ok((MONOTONIC,))),
        ("wasi:clocks/monotonic-clock", "resolution") => linker.func_wrap(function, |_, ()| Ok((1u64,))),
        // a pause is over at once; the runtime of Go makes one before it ends after a panic
        ("wasi:clocks/monotonic-clock", "subscribe-duration" | "subscribe-instant") => {
            linker.func_wrap(function, |s, (_,): (u64,)| handle(s, OTHER))
        }
        ("wasi:filesystem/preopens", "get-directories") => {
            linker.func_wrap(function, |_, ()| Ok((Vec::<(Resource<Handle>, String)>::new(),)))
        }
        ("wasi:random/insecure-seed", "insecure-seed") => linker.func_wrap(function, |_, ()| Ok((SEED,))),
        ("wasi:random/random", "get-random-u64") | ("wasi:random/insecure", "get-insecure-random-u64") => {
            linker.func_wrap(function, |mut s: Store<'_>, ()| Ok((s.data_mut().wasi.random(),)))
        }
        ("wasi:random/random", "get-random-bytes")
        | ("wasi:random/insecure", "get-insecure-random-bytes") => linker
            .func_wrap(function, |mut s: Store<'_>, (length,): (u64,)| {
                Ok((s.data_mut().wasi.random_bytes(length)?,))
            }),
        _ => return Ok(false),
    }
    .map(|()| true)
}

/// Streams: what is read is at its end, what is written becomes lines.
fn stream(linker: &mut LinkerInstance<'_, Call>, function: &str) -> wasmtime::Result<bool> {
    match function {
        "[method]input-stream.read" | "[method]input-stream.blocking-read" => {
            linker.func_wrap(function, |_, (_, _): (Resource<Handle>, u64)| Ok((at_end::<Vec<u8>>(),)))
        }
        "[method]input-stream.skip" | "[method]input-stream.blocking-skip" => {
            linker.func_wrap(function, |_, (_, _): (Resource<Handle>, u64)| Ok((at_end::<u64>(),)))
        }
        "[method]output-stream.check-write" => {
            linker.func_wrap(function, |_, (_,): OfHandle| Ok((Ok::<u64, StreamError>(WRITE),)))
        }
        "[method]output-stream.write" | "[method]output-stream.blocking-write-and-flush" => {
            linker.func_wrap(function, |mut s: Store<'_>, (to, bytes): (Resource<Handle>, Vec<u8>)| {
                let stream = if to.rep() == STDERR { Stream::Stderr } else { Stream::Stdout };
                s.data_mut().lines.write(stream, &bytes);
                s.data_mut().listen()?;
                Ok((Ok::<(), StreamError>(()),))
            })
        }
        "[method]output-stream.flush" | "[method]output-stream.blocking-flush" => {
            linker.func_wrap(function, |_, (_,): OfHandle| Ok((Ok::<(), StreamError>(()),)))
        }
        // at any time
        "[method]input-stream.subscribe" | "[method]output-stream.subscribe" => {
            linker.func_wrap(function, |s, (_,): OfHandle| handle(s, OTHER))
        }
        _ => return Ok(false),
    }
    .map(|()| true)
}

/// Why nothing of a network is there.
pub(super) const NO_NETWORK: &str = "a plugin has no network";

/// Why what a component imports of this package is not there.
pub(super) fn absent(package: &str) -> &'static str {
    match package {
        "wasi:sockets" | "wasi:http" | "wasi:tls" => NO_NETWORK,
        "wasi:filesystem" | "wasi:blobstore" | "wasi:keyvalue" => "a plugin has no files",
        "wasi:cli" => "a plugin has no terminal and no process around it",
        _ => "a plugin does not have this part of WASI",
    }
}

fn handle(mut store: Store<'_>, rep: u32) -> wasmtime::Result<OfHandle> {
    let state = &mut store.data_mut().wasi;
    state.handles += 1;
    if state.handles > HANDLES {
        bail!("it asked for more than {HANDLES} handles of streams");
    }
    Ok((Resource::new_own(rep),))
}

fn at_end<T>() -> Result<T, StreamError> {
    Err(StreamError::Closed)
}

/// Without `exit-with-code`, which few runtimes call, a failure has no number.
fn exit(code: Option<u8>) -> wasmtime::Result<()> {
    match code {
        Some(code) => bail!("it ended itself with exit code {code}"),
        None => bail!("it ended itself with a failure"),
    }
}

impl From<Timestamp> for Datetime {
    /// WASI knows no time before 1970.
    fn from(time: Timestamp) -> Self {
        let seconds = u64::try_from(time.as_second()).unwrap_or_default();
        Self { seconds, nanoseconds: u32::try_from(time.subsec_nanosecond()).unwrap_or_default() }
    }
}

impl State {
    pub(super) fn at(time: Timestamp) -> Self {
        Self { time, handles: 0, random: 0 }
    }

    /// SplitMix64 over a count.
    fn random(&mut self) -> u64 {
        self.random += 1;
        let mut z = SEED.0.wrapping_add(self.random.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn random_bytes(&mut self, length: u64) -> wasmtime::Result<Vec<u8>> {
        if length > RANDOM_BYTES {
            bail!("it asked for {length} random bytes at once, more than {RANDOM_BYTES}");
        }
        let words = length.div_ceil(8);
        let mut bytes: Vec<u8> = (0..words).flat_map(|_| self.random().to_le_bytes()).collect();
        bytes.truncate(length as usize);
        Ok(bytes)
    }
}
