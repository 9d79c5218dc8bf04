//! Which Events a change of a Plugin's status is worth. Pure.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kubeopencode_api::condition::{PluginCondition, find};
use kubeopencode_api::plugin_object::PluginStatus;

use super::status::{first_false, paused};
use crate::runtime::event_recorder::{EventType, Note};

/// How long other bytes than those that are meant are no news: one apply brings both, one after the other.
const MISMATCH_GRACE: Duration = Duration::from_secs(5);
const REFUSED: &str = "PluginRefused";

/// What people are told of a change, and when there is more to tell. `is_mismatch`: the bytes are others than those that are
/// meant; `untold`: how long they have been, while nobody was told.
pub(super) fn notes_due(
    before: &PluginStatus,
    after: &PluginStatus,
    is_mismatch: bool,
    untold: Option<Duration>,
) -> (Vec<Note>, Option<Duration>) {
    let mut notes = notes(before, after);
    if !is_mismatch {
        return (notes, None);
    }
    notes.retain(|note| note.reason != REFUSED);
    let Some(untold) = untold else {
        let why = |status: &PluginStatus| first_false(status).map(|condition| condition.message.clone());
        let is_known = before.wanted == after.wanted && why(before) == why(after);
        return (notes, (!is_known).then_some(MISMATCH_GRACE));
    };
    let left = MISMATCH_GRACE.checked_sub(untold).filter(|left| !left.is_zero());
    if left.is_none() {
        notes.extend(first_false(after).map(refused));
    }
    (notes, left)
}

fn notes(before: &PluginStatus, after: &PluginStatus) -> Vec<Note> {
    let is_ready = |status: &PluginStatus| {
        find(&status.conditions, PluginCondition::Ready).is_some_and(|c| c.status == "True")
    };
    let mut notes = Vec::new();
    if let Some(digest) = after.digest.as_deref().filter(|_| is_ready(after)) {
        let version = after.version.as_deref().unwrap_or_default();
        let words =
            find(&after.conditions, PluginCondition::Ready).map(|c| c.message.as_str()).unwrap_or_default();
        let note = format!("{words} (version {version}, {digest})");
        let reason = match before.digest.as_deref() {
            Some(old) if old != digest => Some("PluginReplaced"),
            _ if !is_ready(before) => Some("PluginReady"),
            _ => None,
        };
        notes.extend(reason.map(|reason| Note { type_: EventType::Normal, reason, note }));
    }
    if let Some(wrong) = first_false(after)
        && first_false(before)
            .is_none_or(|known| (&known.reason, &known.message) != (&wrong.reason, &wrong.message))
    {
        notes.push(refused(wrong));
    }
    if let (None, Some(paused)) = (paused(before), paused(after)) {
        let note = paused.message.clone();
        notes.push(Note { type_: EventType::Warning, reason: "PluginPaused", note });
    }
    notes
}

/// That a component does not serve.
fn refused(wrong: &Condition) -> Note {
    let note = format!("{}: {}", wrong.reason, wrong.message);
    Note { type_: EventType::Warning, reason: REFUSED, note }
}

#[cfg(test)]
mod tests {
    use kubeopencode_api::condition::Reason;
    use kubeopencode_plugin_host::LoadError;

    use super::super::status::Problem;
    use super::super::status::tests::{after, pause, served, with_pauses};
    use super::*;

    fn told(before: &PluginStatus, after: &PluginStatus) -> Vec<String> {
        words(notes(before, after))
    }

    fn words(notes: Vec<Note>) -> Vec<String> {
        notes.into_iter().map(|note| format!("{}: {}", note.reason, note.note)).collect()
    }

    #[test]
    fn of_one_that_serves_people_are_told_what_and_of_which_version() {
        let new = PluginStatus::default();
        let good = after(&new, None, Some(&served("a")), 0);
        assert_eq!(told(&new, &good), ["PluginReady: Serves context type Jira (version 1, sha256:a)"]);
    }

    #[test]
    fn of_a_new_one_that_is_refused_people_are_told_once_and_of_the_next_that_it_serves() {
        let good = after(&PluginStatus::default(), None, Some(&served("a")), 0);
        let problem = Problem::compiled(Reason::Invalid, "why");
        let stale = after(&good, Some(&problem), Some(&served("a")), 1);
        assert_eq!(told(&good, &stale), ["PluginRefused: Invalid: why"]);
        assert!(told(&stale, &stale).is_empty());
        let next = after(&stale, None, Some(&served("b")), 2);
        assert_eq!(told(&stale, &next), ["PluginReplaced: Serves context type Jira (version 1, sha256:b)"]);
    }

    #[test]
    fn who_brings_other_bytes_and_what_they_should_be_in_one_apply_is_not_warned() {
        let good = after(&PluginStatus::default(), None, Some(&served("a")), 0);
        let problem = Problem::verified(Reason::DigestMismatch, "the component is b, and spec.sha256 says a");
        let other = after(&good, Some(&problem), Some(&served("a")), 1);
        let due = |before: &PluginStatus, after: &PluginStatus, is_mismatch, untold: Option<u64>| {
            let (notes, left) = notes_due(before, after, is_mismatch, untold.map(Duration::from_secs));
            (words(notes), left.map(|left| left.as_secs()))
        };
        assert_eq!(due(&good, &other, true, None), (vec![], Some(5)), "the Plugin may come, too");
        assert_eq!(due(&other, &other, true, Some(2)), (vec![], Some(3)));
        let meant = after(&other, None, Some(&served("b")), 2);
        let replaced = "PluginReplaced: Serves context type Jira (version 1, sha256:b)".to_owned();
        assert_eq!(due(&other, &meant, false, Some(2)), (vec![replaced], None), "it came");
    }

    #[test]
    fn of_bytes_that_stay_others_than_those_that_are_meant_people_are_told_once() {
        let good = after(&PluginStatus::default(), None, Some(&served("a")), 0);
        let with = |message: &str| {
            let problem = Problem::verified(Reason::DigestMismatch, message);
            after(&good, Some(&problem), Some(&served("a")), 1)
        };
        let (other, next) = (with("it is b"), with("it is c"));
        let (notes, left) = notes_due(&other, &other, true, Some(MISMATCH_GRACE));
        assert_eq!((words(notes), left), (vec!["PluginRefused: DigestMismatch: it is b".to_owned()], None));
        assert_eq!(notes_due(&other, &other, true, None), (vec![], None), "they know");
        assert_eq!(notes_due(&other, &next, true, None), (vec![], Some(MISMATCH_GRACE)), "again others");
        let wanted = Some("sha256:c".to_owned());
        let next = PluginStatus { wanted, ..other.clone() };
        assert_eq!(notes_due(&other, &next, true, None), (vec![], Some(MISMATCH_GRACE)));
        let (notes, left) = notes_due(&other, &next, true, Some(MISMATCH_GRACE * 2));
        assert_eq!((notes.len(), left), (1, None), "a look that comes late");
    }

    #[test]
    fn other_bytes_than_those_that_are_meant_keep_no_further_news_back() {
        let good = after(&PluginStatus::default(), None, Some(&served("a")), 0);
        let problem = Problem::verified(Reason::DigestMismatch, "it is b");
        let other = after(&good, Some(&problem), Some(&served("a")), 1);
        let paused = with_pauses(&other, Some(&problem), &[pause("team", 3)]);
        let (notes, left) = notes_due(&other, &paused, true, None);
        assert_eq!((notes[0].reason, notes.len(), left), ("PluginPaused", 1, None));
    }

    #[test]
    fn of_one_that_is_paused_people_are_told_once() {
        let good = after(&PluginStatus::default(), None, Some(&served("a")), 0);
        let paused = with_pauses(&good, None, &[pause("team", 3)]);
        let words = "In namespace team 3 calls in a row broke, so it is not asked before 1970-01-01T00:00:10Z; the last one: \
                     the plugin was stopped: it ran for more than 5 s";
        assert_eq!(told(&good, &paused), [format!("PluginPaused: {words}")]);
        let longer = with_pauses(&paused, None, &[pause("team", 4), pause("other", 3)]);
        assert!(told(&paused, &longer).is_empty());
    }

    #[test]
    fn of_a_machine_that_fails_nobody_is_told() {
        let problem = Problem::from(&LoadError::Host("the compile worker was killed".into()));
        let loading = after(&PluginStatus::default(), Some(&problem), None, 0);
        assert!(told(&PluginStatus::default(), &loading).is_empty());
    }
}
