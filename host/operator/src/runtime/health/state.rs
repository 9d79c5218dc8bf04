//! What the watches have shown, and what follows for `/readyz` and `/healthz`. Pure: signs and the time go in.

use std::time::Duration;

use tokio::time::Instant;

/// A watch without a sign for so long is dead. A quiet one shows a sign about every five minutes: the API server ends
/// it after 290 s, a connection that is silent for 295 s is given up, and each new watch that it answers is a sign.
pub(super) const DEAD_AFTER: Duration = Duration::from_secs(600);

/// One watch.
#[derive(Debug)]
pub(super) struct Watch {
    kind: &'static str,
    /// The operator does its work without it, and before it was ever there nobody waits for it.
    is_optional: bool,
    /// The last good sign; at first when it was begun.
    good: Instant,
    is_listed: bool,
    /// How often it failed since the last good sign.
    pub(super) failures: u32,
    /// Why, the last time.
    reason: String,
}

impl Watch {
    /// One that begins now.
    pub(super) fn new(kind: &'static str, now: Instant) -> Self {
        Self { kind, is_optional: false, good: now, is_listed: false, failures: 0, reason: String::new() }
    }

    /// The same of a kind whose definition may be missing.
    pub(super) fn optional(kind: &'static str, now: Instant) -> Self {
        Self { is_optional: true, ..Self::new(kind, now) }
    }

    /// What it watches.
    pub(super) fn kind(&self) -> &'static str {
        self.kind
    }

    /// Whether it is the watch of this kind.
    pub(super) fn is_of(&self, kind: &str) -> bool {
        self.kind == kind
    }

    /// It showed an event, was answered, or completed a list; says whether it had failed before.
    pub(super) fn good(&mut self, with_list: bool, now: Instant) -> bool {
        self.good = now;
        self.is_listed |= with_list;
        self.reason.clear();
        std::mem::take(&mut self.failures) > 0
    }

    /// It failed; says whether that is to be told. Of an optional kind that is not there, once.
    pub(super) fn failed(&mut self, reason: String, is_missing: bool) -> bool {
        let is_known = self.failures > 0 && self.reason == reason;
        self.failures += 1;
        self.reason = reason;
        !(is_known && is_missing && self.is_optional)
    }

    fn because(&self) -> String {
        if self.reason.is_empty() { String::new() } else { format!(": {}", self.reason) }
    }
}

/// Why the operator is not ready; `None`: every first list is complete.
pub(super) fn unready(watches: &[Watch]) -> Option<String> {
    let waited_for = watches.iter().filter(|watch| !watch.is_listed && !watch.is_optional);
    lines(
        waited_for.map(|watch| {
            format!("the first list of {} is not complete{}", plural(watch.kind), watch.because())
        }),
    )
}

/// Several objects of a kind.
pub(super) fn plural(kind: &str) -> String {
    format!("{kind}{}", if kind.ends_with("ch") { "es" } else { "s" })
}

/// Which watches are dead; `None`: none. An optional one that never worked keeps no Task from running, and a restart would.
pub(super) fn dead<'a>(watches: impl IntoIterator<Item = &'a Watch>, now: Instant) -> Option<String> {
    let counts = |watch: &&Watch| watch.is_listed || !watch.is_optional;
    let silent =
        watches.into_iter().filter(counts).filter(|watch| now.duration_since(watch.good) > DEAD_AFTER);
    lines(silent.map(|watch| {
        let seconds = now.duration_since(watch.good).as_secs();
        format!("the watch of {} has shown nothing for {seconds} s{}", plural(watch.kind), watch.because())
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
