//! Whether a plugin is asked: where its calls hang or crash one after the other, it is left alone for a while. Pure.
//!
//! Each namespace has its own: what somebody gives a plugin may be what breaks it, and that is no matter of anybody else.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kubeopencode_plugin_host::CallError;

/// Calls that have to break in a row.
const IN_A_ROW: u32 = 3;
/// The first pause, which doubles with each call that breaks after it, and the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// A pause that ran out so long ago, with no call since, says nothing of the plugin any more.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(3600);
/// Doublings until the longest pause.
const DOUBLINGS: u32 = 5;

/// Why, and until when, a plugin is not asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    /// When it may be asked again.
    pub until: Timestamp,
    /// How many of its calls broke one after the other.
    pub broken: u32,
    /// How the last of them broke.
    pub last: String,
}

impl fmt::Display for Pause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { until, broken, last } = self;
        let until = until.strftime("%Y-%m-%dT%H:%M:%SZ");
        write!(f, "{broken} calls in a row broke, so it is not asked before {until}; the last one: {last}")
    }
}

/// How the calls of one plugin ended, by the namespace that they were for. A namespace whose last call went well has no entry.
#[derive(Debug, Default)]
pub(crate) struct Health(BTreeMap<String, Broken>);

#[derive(Debug, Default)]
struct Broken {
    times: u32,
    pause: Option<(Instant, Pause)>,
}

impl Health {
    /// Why it is not to be asked now for this namespace.
    pub(crate) fn pause(&self, namespace: &str, now: Instant) -> Option<Pause> {
        let (until, pause) = self.0.get(namespace)?.pause.as_ref()?;
        (now < *until).then(|| pause.clone())
    }

    /// The namespaces for which it is, or was and nobody asked since, not asked. What is over for long is forgotten.
    pub(crate) fn pauses(&mut self, now: Instant) -> Vec<(String, Pause)> {
        self.0.retain(|_, broken| {
            broken.pause.as_ref().is_none_or(|(until, _)| now < *until + FORGOTTEN_AFTER)
        });
        let of = |(namespace, broken): (&String, &Broken)| {
            Some((namespace.clone(), broken.pause.as_ref()?.1.clone()))
        };
        self.0.iter().filter_map(of).collect()
    }

    /// A call ended; `error`: how it broke. Says whether the pauses are others than before.
    pub(crate) fn called(
        &mut self,
        namespace: &str,
        error: Option<&CallError>,
        now: Instant,
        clock: Timestamp,
    ) -> bool {
        let Some(error) = error.filter(|error| is_broken(error)) else {
            return self.0.remove(namespace).is_some_and(|broken| broken.pause.is_some());
        };
        let broken = self.0.entry(namespace.to_owned()).or_default();
        // one that was under way with the one that began the pause says nothing new
        if broken.pause.as_ref().is_some_and(|(until, _)| now < *until) {
            return false;
        }
        broken.times = broken.times.saturating_add(1);
        let Some(more) = broken.times.checked_sub(IN_A_ROW) else { return false };
        let length = (FIRST_PAUSE * 2_u32.pow(more.min(DOUBLINGS))).min(LONGEST_PAUSE);
        let pause = Pause {
            until: clock.saturating_add(length).unwrap_or(Timestamp::MAX),
            broken: broken.times,
            last: error.to_string(),
        };
        broken.pause = Some((now + length, pause));
        true
    }
}

/// Whether a call hung or crashed: an orderly error is an answer.
fn is_broken(error: &CallError) -> bool {
    match error {
        CallError::Trap { .. }
        | CallError::OutOfFuel { .. }
        | CallError::Timeout { .. }
        | CallError::StackOverflow { .. }
        | CallError::OutOfMemory { .. }
        | CallError::LogFlood { .. } => true,
        CallError::Plugin(_)
        | CallError::OutputTooLarge { .. }
        | CallError::MissingFeature(_)
        | CallError::NoSuchType(_)
        | CallError::NoSuchFunction(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HUNG: CallError = CallError::Timeout { seconds: 5 };
    const CLOCK: Timestamp = Timestamp::UNIX_EPOCH;

    #[test]
    fn three_broken_calls_in_a_row_are_a_pause_and_each_further_one_is_a_longer_one() {
        let (mut health, mut now) = (Health::default(), Instant::now());
        assert!(!health.called("team", Some(&HUNG), now, CLOCK));
        assert!(!health.called("team", Some(&HUNG), now, CLOCK));
        assert_eq!(health.pause("team", now), None);
        for (broken, seconds) in [(3, 10), (4, 20), (5, 40), (6, 80), (7, 160), (8, 300), (9, 300)] {
            assert!(health.called("team", Some(&HUNG), now, CLOCK), "{broken}");
            let pause = health.pause("team", now).unwrap();
            assert_eq!((pause.broken, pause.until.as_second()), (broken, seconds));
            assert!(!health.called("team", Some(&HUNG), now, CLOCK), "it was under way");
            assert!(health.pause("team", now + Duration::from_secs(seconds as u64 - 1)).is_some());
            now += Duration::from_secs(seconds as u64);
            assert_eq!(health.pause("team", now), None, "it may be asked");
            assert_eq!(health.pauses(now).len(), 1, "and nobody did");
        }
        assert!(health.called("team", None, now, CLOCK));
        assert!(health.pauses(now).is_empty());
        assert!(!health.called("team", Some(&HUNG), now, CLOCK), "it begins anew");
    }

    #[test]
    fn a_pause_that_ran_out_is_forgotten_after_an_hour_in_which_nobody_asked() {
        let (mut health, began) = (Health::default(), Instant::now());
        for _ in 0..3 {
            health.called("team", Some(&HUNG), began, CLOCK);
        }
        health.called("beside", Some(&HUNG), began, CLOCK);
        health.called("beside", Some(&HUNG), began, CLOCK);
        let over = began + FIRST_PAUSE;
        assert_eq!(health.pauses(over + Duration::from_secs(3599)).len(), 1);
        let now = over + Duration::from_secs(3600);
        assert!(health.pauses(now).is_empty());
        assert!(!health.called("team", Some(&HUNG), now, CLOCK), "it begins anew");
        assert!(health.called("beside", Some(&HUNG), now, CLOCK), "what is no pause yet is counted on");
    }

    #[test]
    fn one_that_hangs_every_third_time_and_one_that_answers_in_order_are_asked_for_ever() {
        let (mut health, now) = (Health::default(), Instant::now());
        let orderly = CallError::NoSuchFunction("serve");
        for call in 0..30 {
            let error = if call % 3 == 2 { Some(&HUNG) } else { None };
            assert!(!health.called("team", error, now, CLOCK));
        }
        for _ in 0..3 {
            assert!(!health.called("team", Some(&orderly), now, CLOCK));
        }
        assert_eq!(health.pause("team", now), None);
    }

    #[test]
    fn what_one_namespace_breaks_is_no_matter_of_another() {
        let (mut health, now) = (Health::default(), Instant::now());
        for _ in 0..3 {
            health.called("bad", Some(&HUNG), now, CLOCK);
            health.called("good", None, now, CLOCK);
        }
        assert_eq!(health.pause("good", now), None);
        assert_eq!(
            health.pause("bad", now).unwrap().to_string(),
            "3 calls in a row broke, so it is not asked before 1970-01-01T00:00:10Z; the last one: the plugin was stopped: \
             it ran for more than 5 s"
        );
    }
}
