//! How many calls run at the same time: of all plugins, and of one.
//!
//! A call may use a processor for seconds and 64 MiB of memory. The cap bounds what all of them use together; the cap
//! of each plugin leaves room for the others while one hangs in all its calls.
//!
//! May touch: the counting of calls. Must not touch: the calls.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::limits::{CALLS, CALLS_OF_ONE};

/// Lets a number of callers in at a time; the others wait, so only threads that may block come here.
struct Gate {
    places: Mutex<Places>,
    left: Condvar,
}

struct Places {
    free: usize,
    waiting: usize,
}

/// Whoever holds it is inside; others get in when it is dropped.
struct Inside<'a>(&'a Gate);

impl Gate {
    fn new(places: usize) -> Self {
        Self { places: Mutex::new(Places { free: places, waiting: 0 }), left: Condvar::new() }
    }

    fn enter(&self) -> Inside<'_> {
        let mut places = self.places();
        while places.free == 0 {
            places.waiting += 1;
            places = self.left.wait(places).unwrap_or_else(PoisonError::into_inner);
            places.waiting -= 1;
        }
        places.free -= 1;
        Inside(self)
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        // nothing panics while it is held
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        let mut places = self.0.places();
        places.free += 1;
        // waking nobody would still be a system call
        if places.waiting > 0 {
            self.0.left.notify_one();
        }
    }
}

/// The gate that all plugins of a host share.
#[derive(Clone)]
pub(crate) struct SharedGate(Arc<Gate>);

impl SharedGate {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Gate::new(CALLS)))
    }
}

/// The way into one plugin: through its own gate first, so that who waits for it stands in nobody else's way.
pub(crate) struct PluginGate {
    own: Gate,
    shared: SharedGate,
}

impl PluginGate {
    pub(crate) fn new(shared: &SharedGate) -> Self {
        Self { own: Gate::new(CALLS_OF_ONE), shared: shared.clone() }
    }

    /// Runs `call` when there is room for it; waits until then.
    pub(crate) fn pass<R>(&self, call: impl FnOnce() -> R) -> R {
        let _own = self.own.enter();
        let _shared = self.shared.0.enter();
        call()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use super::*;

    #[test]
    fn no_more_than_the_cap_are_inside_and_everybody_gets_in() {
        let shared = SharedGate::new();
        let plugins: Vec<_> = (0..CALLS).map(|_| PluginGate::new(&shared)).collect();
        let (inside, most, done) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for i in 0..32 {
                let plugin = &plugins[i % plugins.len()];
                let (inside, most, done) = (&inside, &most, &done);
                scope.spawn(move || {
                    for _ in 0..100 {
                        plugin.pass(|| {
                            most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                            thread::yield_now();
                            inside.fetch_sub(1, Ordering::SeqCst);
                            done.fetch_add(1, Ordering::SeqCst);
                        });
                    }
                });
            }
        });
        assert!((1..=CALLS).contains(&most.into_inner()));
        assert_eq!(done.into_inner(), 3200);
    }

    #[test]
    fn a_plugin_that_hangs_in_all_its_calls_leaves_room_for_others() {
        let shared = SharedGate::new();
        let (hung, good) = (PluginGate::new(&shared), PluginGate::new(&shared));
        let (full, over) = (Barrier::new(CALLS_OF_ONE + 1), Barrier::new(CALLS_OF_ONE + 1));
        thread::scope(|scope| {
            for _ in 0..CALLS_OF_ONE {
                scope.spawn(|| {
                    hung.pass(|| {
                        full.wait();
                        over.wait();
                    });
                });
            }
            full.wait();
            // these wait for the hung plugin only
            let waiting: Vec<_> = (0..8).map(|_| scope.spawn(|| hung.pass(|| ()))).collect();
            assert_eq!(good.pass(|| "works"), "works");
            assert!(waiting.iter().all(|thread| !thread.is_finished()));
            over.wait();
        });
    }

    #[test]
    fn a_call_that_panics_gives_its_place_back() {
        let gate = PluginGate::new(&SharedGate::new());
        for _ in 0..=CALLS {
            let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                gate.pass(|| std::panic::panic_any("as intended"));
            }));
            assert!(panicked.is_err());
        }
        gate.pass(|| ());
    }
}
