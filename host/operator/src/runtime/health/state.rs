//! What the watches have shown, and what follows for `/readyz` and `/healthz`. Pure: signs and the time go in.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

/// A watch without a sign for so long is dead. A quiet one shows a sign about every five minutes: the API server ends
/// it after 290 s, a connection that is silent for 295 s is given up, and each new watch that it answers is a sign.
pub(super) const DEAD_AFTER: Duration = Duration::from_secs(600);

/// What is watched: a kind, or a kind in one of several namespaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Watched {
    pub(super) kind: &'static str,
    pub(super) namespace: Option<Arc<str>>,
}

impl From<&'static str> for Watched {
    fn from(kind: &'static str) -> Self {
        Self { kind, namespace: None }
    }
}

impl fmt::Display for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind)?;
        f.write_str(if self.kind.ends_with("ch") { "es" } else { "s" })?;
        self.namespace.iter().try_for_each(|namespace| write!(f, " in namespace {namespace}"))
    }
}

/// One watch.
#[derive(Debug)]
pub(super) struct Watch {
    of: Watched,
    /// The operator does its work without it, and before it was ever there nobody waits for it.
    is_optional: bool,
    /// The last good sign; at first when it was begun.
    good: Instant,
    is_listed: bool,
    /// Since the last good sign the API server refused it.
    pub(super) is_refused: bool,
    /// How often it failed since the last good sign.
    pub(super) failures: u32,
    /// Why, the last time.
    reason: String,
}

impl Watch {
    /// One that begins now.
    pub(super) fn new(of: impl Into<Watched>, now: Instant) -> Self {
        Self {
            of: of.into(),
            is_optional: false,
            good: now,
            is_listed: false,
            is_refused: false,
            failures: 0,
            reason: String::new(),
        }
    }

    /// The same of a kind whose definition may be missing.
    pub(super) fn optional(of: impl Into<Watched>, now: Instant) -> Self {
        Self { is_optional: true, ..Self::new(of, now) }
    }

    /// What it watches.
    pub(super) fn of(&self) -> &Watched {
        &self.of
    }

    /// It showed an event, was answered, or completed a list; says whether it had failed before.
    pub(super) fn good(&mut self, with_list: bool, now: Instant) -> bool {
        self.good = now;
        self.is_listed |= with_list;
        self.is_refused = false;
        self.reason.clear();
        std::mem::take(&mut self.failures) > 0
    }

    /// It failed; says whether that is to be told. Of an optional kind that is not there, once.
    pub(super) fn failed(&mut self, reason: String, is_missing: bool) -> bool {
        let is_known = self.reason == reason;
        self.failures += 1;
        self.reason = reason;
        !(is_known && is_missing && self.is_optional)
    }

    /// Whether nobody waits for it: its namespace is refused, and others of the kind work. A restart would not mend that.
    fn is_left_out<'a>(&self, all: impl IntoIterator<Item = &'a Self>) -> bool {
        let works = |other: &Self| other.of.kind == self.of.kind && other.is_listed && !other.is_refused;
        self.of.namespace.is_some() && self.is_refused && all.into_iter().any(works)
    }

    fn because(&self) -> String {
        if self.reason.is_empty() { String::new() } else { format!(": {}", self.reason) }
    }
}

/// Why the operator is not ready; `None`: every first list is complete.
pub(super) fn unready(watches: &[Watch]) -> Option<String> {
    let is_waited_for =
        |watch: &&Watch| !watch.is_listed && !watch.is_optional && !watch.is_left_out(watches);
    lines(
        watches
            .iter()
            .filter(is_waited_for)
            .map(|watch| format!("the first list of {} is not complete{}", watch.of, watch.because())),
    )
}

/// How long ago the one that is silent longest, of the watches of a kind in several namespaces, showed something; `None`: one
/// has shown nothing yet.
pub(super) fn silence(watches: &[Watch], kind: &str, now: Instant) -> Option<Duration> {
    let of_kind = watches.iter().filter(|watch| watch.of.kind == kind && !watch.is_left_out(watches));
    let mut silent = of_kind.map(|watch| watch.is_listed.then(|| now.duration_since(watch.good)));
    silent.try_fold(Duration::ZERO, |longest, silent| Some(longest.max(silent?)))
}

/// Which watches are dead; `None`: none. An optional one that never worked keeps no Task from running, and a restart would.
pub(super) fn dead<'a>(watches: impl IntoIterator<Item = &'a Watch>, now: Instant) -> Option<String> {
    let all: Vec<_> = watches.into_iter().collect();
    let counts =
        |watch: &&Watch| (watch.is_listed || !watch.is_optional) && !watch.is_left_out(all.iter().copied());
    let silent =
        all.iter().copied().filter(counts).filter(|watch| now.duration_since(watch.good) > DEAD_AFTER);
    lines(silent.map(|watch| {
        let seconds = now.duration_since(watch.good).as_secs();
        format!("the watch of {} has shown nothing for {seconds} s{}", watch.of, watch.because())
    }))
}

fn lines(of: impl Iterator<Item = String>) -> Option<String> {
    let lines: Vec<_> = of.collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn ready_is_who_has_listed_everything_and_who_is_not_says_what_is_missing_and_why() {
        let start = Instant::now();
        let mut watches = ["Pod", "Task"].map(|kind| Watch::new(kind, start));
        watches[1].failed("403 Forbidden".into(), false);
        assert_eq!(
            unready(&watches).unwrap(),
            "the first list of Pods is not complete\nthe first list of Tasks is not complete: 403 Forbidden"
        );
        watches[0].good(true, start);
        watches[1].good(false, start);
        assert_eq!(unready(&watches).unwrap(), "the first list of Tasks is not complete");
        watches[1].good(true, start);
        assert_eq!(unready(&watches), None);
        watches[1].failed("410 Expired".into(), false);
        assert_eq!(unready(&watches), None, "a list that is repeated is no first one");
        watches[1].good(true, start);
        assert_eq!(unready(&watches), None, "nor is it when it is complete");
    }

    #[test]
    fn an_optional_watch_counts_once_it_has_worked() {
        let start = Instant::now();
        let mut watches = [Watch::new("Task", start), Watch::optional("Batch", start)];
        watches[0].good(true, start);
        assert!(watches[1].failed("404 page not found".into(), true));
        assert!(!watches[1].failed("404 page not found".into(), true), "told once");
        assert!(watches[1].failed("403 Forbidden".into(), false));
        assert!(watches[1].failed("403 Forbidden".into(), false), "that is somebody's to mend");
        assert_eq!(unready(&watches), None, "its definition may come later");
        watches[0].good(false, after(start, 590));
        assert_eq!(dead(&watches, after(start, 900)), None);
        watches[1].good(true, start);
        let words = "the watch of Batches has shown nothing for 900 s";
        assert_eq!(dead(&watches, after(start, 900)).unwrap(), words);
    }

    #[test]
    fn a_namespace_that_is_refused_keeps_nobody_from_work() {
        let start = Instant::now();
        let of = |namespace: &str| Watched { kind: "Task", namespace: Some(namespace.into()) };
        let mut watches = ["a", "b"].map(|namespace| Watch::new(of(namespace), start));
        let refused = |watch: &mut Watch| {
            watch.failed("403 Forbidden".into(), false);
            watch.is_refused = true;
        };
        refused(&mut watches[1]);
        assert_eq!(
            unready(&watches).unwrap(),
            "the first list of Tasks in namespace a is not complete\n\
             the first list of Tasks in namespace b is not complete: 403 Forbidden"
        );
        assert_eq!(silence(&watches, "Task", start), None);
        watches[0].good(true, after(start, 890));
        assert_eq!((unready(&watches), dead(&watches, after(start, 900))), (None, None));
        assert_eq!(silence(&watches, "Task", after(start, 900)), Some(Duration::from_secs(10)));
        refused(&mut watches[0]);
        let all = dead(&watches, after(start, 1500)).unwrap();
        assert_eq!(all.lines().count(), 2, "where none works a restart may mend it: {all}");
        watches[0].good(false, after(start, 1500));
        watches[1].good(true, after(start, 1500));
        assert_eq!(dead(&watches, after(start, 2100)), None);
        watches[0].good(false, after(start, 2100));
        assert_eq!(
            dead(&watches, after(start, 2101)).unwrap(),
            "the watch of Tasks in namespace b has shown nothing for 601 s",
            "one that lives hides none that is dead"
        );
        assert_eq!(silence(&watches, "Task", after(start, 2101)), Some(Duration::from_secs(601)));
    }

    #[test]
    fn a_watch_is_dead_without_a_sign_for_ten_minutes_and_a_quiet_one_is_not() {
        let start = Instant::now();
        let mut watches = ["Pod", "Task"].map(|kind| Watch::new(kind, start));
        assert_eq!(dead(&watches, after(start, 600)), None);
        // answered again every five minutes
        for reopened in [295, 590, 885] {
            watches[0].good(false, after(start, reopened));
        }
        watches[1].failed("403 Forbidden".into(), false);
        assert_eq!(
            dead(&watches, after(start, 900)).unwrap(),
            "the watch of Tasks has shown nothing for 900 s: 403 Forbidden"
        );
        assert!(watches[1].good(false, after(start, 901)), "it had failed");
        assert!(!watches[1].good(false, after(start, 902)), "it had not");
        assert_eq!(dead(&watches, after(start, 903)), None);
    }
}
