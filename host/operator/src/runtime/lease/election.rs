//! Who may hold the leader lease, as client-go's leaderelection decides it. Pure: what was read and the time go in.
//!
//! The clocks of two operators are never compared. A candidate waits until the record has not changed for as long as it
//! says, by the candidate's own monotonic clock. The holder counts from before it sent the renewal, the candidate from
//! after it has read it, and the holder counts less: it gives up first, whatever requests hang in between.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::LeaseSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use tokio::time::Instant;

/// How long a record that does not change keeps others away, in seconds; client-go's `LeaseDuration`.
pub(super) const DURATION: i32 = 15;
/// How long after a renewal was sent its sender still works; client-go's `RenewDeadline`, less than [`DURATION`].
pub(super) const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// Who holds the lease while the operator is uninstalled.
pub(super) const UNINSTALLER: &str = "uninstall";

/// How a lease was lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// This one holds it now.
    ToAnother(String),
    /// Nobody confirmed a renewal for [`RENEW_DEADLINE`]: another one may begin soon.
    NotRenewed,
    /// The operator is being uninstalled.
    Uninstalling,
}

/// The record as a candidate last saw it change, and when that was by its own clock.
#[derive(Debug, Default)]
pub(super) struct Seen(Option<(LeaseSpec, Instant)>);

impl Seen {
    /// Takes in a record that was read. Where there is no lease nothing is taken in: whoever held it may not know yet.
    pub(super) fn read(&mut self, record: &LeaseSpec, now: Instant) {
        if self.0.as_ref().is_none_or(|(known, _)| known != record) {
            self.0 = Some((record.clone(), now));
        }
    }

    /// Who else still holds the lease; `None`: `identity` may take it.
    pub(super) fn held_by_another(&self, identity: &str, now: Instant) -> Option<&str> {
        let (record, since) = self.0.as_ref()?;
        let seconds = u64::try_from(record.lease_duration_seconds.unwrap_or(DURATION)).unwrap_or(0);
        let is_over = now.duration_since(*since) >= Duration::from_secs(seconds);
        holder(record).filter(|holder| *holder != identity && !is_over)
    }
}

/// Who holds the lease by this record.
fn holder(record: &LeaseSpec) -> Option<&str> {
    record.holder_identity.as_deref().filter(|holder| !holder.is_empty())
}

/// Until when whoever sent a renewal at this moment may work, once it was confirmed.
pub(super) fn works_until(sent: Instant) -> Instant {
    sent + RENEW_DEADLINE
}

/// The record in the hands of `identity`.
pub(super) fn taken(record: LeaseSpec, identity: &str, now: Timestamp) -> LeaseSpec {
    let same = holder(&record) == Some(identity);
    // as every other lease counts: changes of the holder, not its creation
    let handed_on = holder(&record).is_some() && !same;
    LeaseSpec {
        holder_identity: Some(identity.to_owned()),
        lease_duration_seconds: Some(DURATION),
        acquire_time: if same { record.acquire_time } else { Some(MicroTime(now)) },
        renew_time: Some(MicroTime(now)),
        lease_transitions: Some(record.lease_transitions.unwrap_or(0) + i32::from(handed_on)),
        ..record
    }
}

/// The record that its holder renews, unless it is another's by now.
pub(super) fn renewed(record: LeaseSpec, identity: &str, now: Timestamp) -> Result<LeaseSpec, Lost> {
    match holder(&record) {
        Some(UNINSTALLER) => Err(Lost::Uninstalling),
        Some(another) if another != identity => Err(Lost::ToAnother(another.to_owned())),
        _ => Ok(taken(record, identity, now)),
    }
}

/// The record that its holder lets go, so that the next one need not wait; `None`: it is another's.
pub(super) fn released(record: LeaseSpec, identity: &str) -> Option<LeaseSpec> {
    let is_ours = holder(&record) == Some(identity);
    is_ours.then_some(LeaseSpec { holder_identity: None, lease_duration_seconds: Some(1), ..record })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(holder: &str, renewed: i64) -> LeaseSpec {
        taken(LeaseSpec::default(), holder, Timestamp::from_second(renewed).unwrap())
    }

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn a_candidate_waits_by_its_own_clock_whatever_the_holders_says() {
        for holders_clock in [0, 1_000_000_000, 4_000_000_000] {
            let (mut seen, start) = (Seen::default(), Instant::now());
            seen.read(&record("a", holders_clock), start);
            assert_eq!(seen.held_by_another("a", start), None, "it is its own");
            assert_eq!(seen.held_by_another("b", start), Some("a"));
            seen.read(&record("a", holders_clock), start + seconds(14));
            assert_eq!(seen.held_by_another("b", start + seconds(14)), Some("a"));
            assert_eq!(seen.held_by_another("b", start + seconds(15)), None, "it did not change for 15 s");
            seen.read(&record("a", holders_clock + 2), start + seconds(15));
            assert_eq!(seen.held_by_another("b", start + seconds(29)), Some("a"), "it was renewed");
        }
    }

    #[test]
    fn a_record_says_itself_how_long_it_holds() {
        let start = Instant::now();
        for (duration, still, over) in [(Some(45), 44, 45), (None, 14, 15), (Some(-1), 0, 0)] {
            let mut seen = Seen::default();
            seen.read(&LeaseSpec { lease_duration_seconds: duration, ..record("a", 0) }, start);
            let held = |after| seen.held_by_another("b", start + seconds(after)).is_some();
            assert_eq!((held(still), held(over)), (still < over, false), "{duration:?}");
        }
    }

    #[test]
    fn nobody_waits_for_a_record_without_a_holder_or_for_no_record() {
        let now = Instant::now();
        assert_eq!(Seen::default().held_by_another("b", now), None);
        for nobody in [None, Some(String::new())] {
            let mut seen = Seen::default();
            seen.read(&LeaseSpec { holder_identity: nobody, ..record("a", 0) }, now);
            assert_eq!(seen.held_by_another("b", now), None);
        }
    }

    #[test]
    fn the_holder_gives_up_before_another_may_begin() {
        let sent = Instant::now();
        // it may be read the moment that it is sent, at the earliest
        let mut seen = Seen::default();
        seen.read(&record("a", 0), sent);
        assert_eq!(seen.held_by_another("b", works_until(sent) + seconds(4)), Some("a"));
    }

    #[test]
    fn a_renewal_is_lost_only_to_another_holder() {
        let now = Timestamp::from_second(100).unwrap();
        let ours = record("a", 0);
        let again = renewed(ours.clone(), "a", now).unwrap();
        assert_eq!(again, LeaseSpec { renew_time: Some(MicroTime(now)), ..ours.clone() });
        assert!(renewed(LeaseSpec::default(), "a", now).is_ok(), "nobody has it");
        assert_eq!(renewed(record("b", 0), "a", now), Err(Lost::ToAnother("b".into())));
        assert_eq!(renewed(record(UNINSTALLER, 0), "a", now), Err(Lost::Uninstalling));
        let handed_on = taken(ours, "b", now);
        assert_eq!((handed_on.lease_transitions, handed_on.holder_identity.as_deref()), (Some(1), Some("b")));
        assert_eq!(handed_on.acquire_time, Some(MicroTime(now)));
    }

    #[test]
    fn only_its_holder_releases_a_lease() {
        assert_eq!(released(record("b", 0), "a"), None);
        let free = released(record("a", 0), "a").unwrap();
        assert_eq!((free.holder_identity.as_deref(), free.lease_duration_seconds), (None, Some(1)));
        let next = taken(free, "b", Timestamp::UNIX_EPOCH);
        assert_eq!(next.lease_duration_seconds, Some(DURATION), "the next one holds it as long as any");
    }
}
