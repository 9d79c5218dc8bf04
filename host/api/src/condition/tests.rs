//! The phase, and what becomes of conditions that are there.

use super::*;

fn conditions(set_these: &[(TaskCondition, ConditionStatus, Reason)]) -> Vec<Condition> {
    let mut list = Vec::new();
    let mut conditions = Conditions::new(&mut list, None, Timestamp::UNIX_EPOCH);
    for (type_, status, reason) in set_these {
        conditions.set(*type_, *status, *reason, "");
    }
    list
}

#[test]
fn the_phase_follows_the_conditions() {
    use TaskCondition::*;
    let launched = (Ready, ConditionStatus::True, Reason::PodLaunched);
    for (given, expected) in [
        (vec![], Phase::Pending),
        (vec![(Accepted, ConditionStatus::Unknown, Reason::WaitingForDependency)], Phase::Pending),
        (vec![(Queued, ConditionStatus::True, Reason::AgentAtCapacity)], Phase::Queued),
        (vec![(Queued, ConditionStatus::False, Reason::CapacityAvailable), launched], Phase::Running),
        (vec![launched, (Started, ConditionStatus::False, Reason::ImagePullFailed)], Phase::Running),
        (vec![launched, (Succeeded, ConditionStatus::True, Reason::Completed)], Phase::Completed),
        (vec![launched, (Succeeded, ConditionStatus::False, Reason::PodFailed)], Phase::Failed),
        (vec![launched, (Stopped, ConditionStatus::True, Reason::UserStopped)], Phase::Completed),
        (vec![(Accepted, ConditionStatus::False, Reason::AgentError)], Phase::Failed),
    ] {
        assert_eq!(phase(&conditions(&given)), expected, "{given:?}");
    }
}

#[test]
fn the_transition_time_moves_only_with_the_status() {
    let mut conditions = Vec::new();
    let later = Timestamp::from_second(60).unwrap();
    let queued = |list: &mut Vec<_>, status, now| {
        let mut conditions = Conditions::new(list, Some(1), now);
        conditions.set(TaskCondition::Queued, status, Reason::AgentAtCapacity, "3 before it");
    };
    queued(&mut conditions, ConditionStatus::True, Timestamp::UNIX_EPOCH);
    queued(&mut conditions, ConditionStatus::True, later);
    assert_eq!(conditions[0].last_transition_time.0, Timestamp::UNIX_EPOCH);
    queued(&mut conditions, ConditionStatus::False, later);
    assert_eq!((conditions.len(), conditions[0].last_transition_time.0), (1, later));
}
