//! The only import: a few lines for the operator's log.

pub use crate::bindings::context::kubeopencode::plugin::log::Level;

/// Writes a line to the operator's log; what goes beyond 64 lines or 8 KiB a call is dropped.
/// Natively, in tests, the line goes to stderr.
pub fn log(level: Level, message: &str) {
    #[cfg(target_family = "wasm")]
    crate::bindings::context::kubeopencode::plugin::log::log(level, message);
    #[cfg(not(target_family = "wasm"))]
    eprintln!("{level:?} {message}");
}

/// Lets a panic's message reach the operator's log and the Task in one line, without the advice to ask for a backtrace
/// that the standard library writes to standard error.
#[doc(hidden)]
pub fn report_panics() {
    #[cfg(target_family = "wasm")]
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map_or_else(String::new, |place| format!(" at {place}"));
        log(Level::Error, &format!("panicked{place}: {}", info.payload_as_str().unwrap_or_default()));
    }));
}
