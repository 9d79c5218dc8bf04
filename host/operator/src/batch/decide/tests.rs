use super::*;

const MADE: Known = Known::Made(Timestamp::UNIX_EPOCH);

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn status(made: i32, completed: &str, failed: &str) -> BatchStatus {
    BatchStatus {
        start_time: Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(0))),
        made: Some(made),
        completed_indexes: completed.parse().unwrap(),
        failed_indexes: failed.parse().unwrap(),
        ..BatchStatus::default()
    }
}

fn facts(total: usize, parallelism: usize, status: &BatchStatus) -> Facts<'_> {
    Facts { total, parallelism, is_paused: false, is_deleting: false, status, generation: Some(1), name: "b" }
}

fn next(facts: &Facts<'_>, known: &[(usize, Known)]) -> (Vec<usize>, Vec<usize>) {
    let Next { ask, make } = decide(facts, &known.iter().copied().collect(), at(100));
    (ask, make)
}

#[test]
fn nothing_is_made_before_the_batch_says_that_it_started() {
    let none = BatchStatus::default();
    assert_eq!(next(&facts(3, 3, &none), &[]), (vec![], vec![]));
    assert_eq!(next(&facts(3, 3, &status(0, "", "")), &[]), (vec![], vec![0, 1, 2]));
}

#[test]
fn tasks_are_made_in_their_order_as_far_as_there_is_room() {
    let (started, running, over) =
        (status(3, "0", ""), Known::Shown(Phase::Running), Known::Shown(Phase::Failed));
    let three = facts(9, 3, &started);
    assert_eq!(next(&three, &[(1, running), (2, running)]), (vec![], vec![3]));
    assert_eq!(next(&three, &[(1, over), (2, running)]), (vec![], vec![3, 4]), "over, and not counted yet");
    assert_eq!(next(&three, &[(1, Known::Gone), (2, Known::Taken)]), (vec![], vec![3, 4, 5]));
    assert_eq!(next(&three, &[(1, running), (2, running), (3, Known::Made(at(95)))]), (vec![], vec![]));
    assert_eq!(
        next(&three, &[(1, running), (2, over), (4, running)]),
        (vec![], vec![3]),
        "made, not counted"
    );
}

#[test]
fn a_task_that_was_counted_and_is_not_shown_is_asked_for_and_never_made() {
    let started = status(3, "0", "");
    assert_eq!(next(&facts(4, 2, &started), &[]), (vec![1, 2], vec![]), "both may be there");
    let made = [(1, Known::Made(at(90))), (2, Known::Made(at(91)))];
    assert_eq!(next(&facts(5, 3, &started), &made), (vec![1], vec![3]), "ten seconds unseen");
}

#[test]
fn a_name_that_somebody_else_had_is_asked_for_once_nobody_makes_its_task_any_more() {
    let (uncounted, counted) = (status(1, "", ""), status(2, "", ""));
    let running = (0, Known::Shown(Phase::Running));
    let known = [running, (1, Known::Contested)];
    assert_eq!(
        next(&facts(4, 3, &uncounted), &known),
        (vec![], vec![2]),
        "another operator may have made it"
    );
    assert_eq!(next(&facts(4, 3, &counted), &known), (vec![1], vec![2]));
    for (answer, learnt) in [(Known::Gone, Known::Taken), (Known::Taken, Known::Taken), (MADE, MADE)] {
        let mut all = Learnt::default();
        all.learn(1, Known::Contested);
        all.learn(1, answer);
        assert_eq!(all.with(&facts(4, 3, &counted), |_| None)[&1], learnt, "who went is somebody else's");
    }
}

#[test]
fn a_task_that_was_shown_and_is_not_any_more_is_asked_for_at_once() {
    let (counted, uncounted) = (status(1, "", ""), status(0, "", ""));
    for started in [counted, uncounted] {
        let (facts, mut learnt) = (facts(1, 1, &started), Learnt::default());
        learnt.learn(0, Known::Made(at(99)));
        let ask = |known| decide(&facts, &known, at(100));
        assert_eq!(ask(learnt.with(&facts, |_| None)), Next::default(), "the watch may be behind");
        learnt.with(&facts, |_| Some(Known::Shown(Phase::Running)));
        assert_eq!(ask(learnt.with(&facts, |_| None)), Next { ask: vec![0], make: vec![] });
    }
}

#[test]
fn who_is_paused_over_or_being_deleted_makes_nothing() {
    let started = status(1, "", "");
    let running = [(0, Known::Shown(Phase::Running))];
    assert_eq!(next(&Facts { is_paused: true, ..facts(3, 3, &started) }, &running), (vec![], vec![]));
    assert_eq!(next(&Facts { is_paused: true, ..facts(3, 3, &started) }, &[]), (vec![0], vec![]));
    assert_eq!(next(&Facts { is_deleting: true, ..facts(3, 3, &started) }, &[]), (vec![], vec![]));
    let over = BatchStatus { phase: Some(BatchPhase::Failed), ..started };
    assert_eq!(next(&facts(3, 3, &over), &[]), (vec![], vec![]));
}

#[test]
fn a_batch_is_read_with_its_defaults() {
    let batch = |text: &str| -> Batch { serde_json::from_str(text).unwrap() };
    let plain = batch(r#"{"metadata": {"name": "b"}, "spec": {"variableContexts": [[], []]}}"#);
    let facts = Facts::of(&plain);
    assert_eq!((facts.total, facts.parallelism, facts.is_paused, facts.name), (2, 2, false, "b"));
    for (value, paused) in [("true", true), ("yes", false)] {
        let text = format!(
            r#"{{"metadata": {{"name": "b", "annotations": {{"kubetask.io/pause": "{value}"}}}},
                "spec": {{"variableContexts": [[], []], "parallelism": 1}}}}"#
        );
        let batch = batch(&text);
        assert_eq!((Facts::of(&batch).parallelism, Facts::of(&batch).is_paused), (1, paused), "{value}");
    }
}
