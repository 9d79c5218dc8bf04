use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn facts(total: usize, status: &BatchStatus) -> Facts<'_> {
    Facts {
        total,
        parallelism: total,
        is_paused: false,
        is_deleting: false,
        status,
        generation: Some(1),
        name: "b",
    }
}

fn after(before: &BatchStatus, total: usize, known: &[(usize, Known)]) -> BatchStatus {
    status(&facts(total, before), &known.iter().copied().collect(), None, at(9))
}

/// Phase, made, completed, failed, and the counts of pending and running.
fn summary(status: &BatchStatus) -> (&'static str, usize, String, String, i32, i32) {
    let progress = status.progress.unwrap();
    let (completed, failed) = (status.completed_indexes.to_string(), status.failed_indexes.to_string());
    let sum = progress.pending + progress.running + progress.completed + progress.failed;
    assert_eq!(sum, progress.total);
    (status.phase.unwrap().as_str(), status.made(), completed, failed, progress.pending, progress.running)
}

fn row(
    phase: &'static str,
    made: usize,
    over: [&str; 2],
    pending: i32,
    running: i32,
) -> (&'static str, usize, String, String, i32, i32) {
    (phase, made, over[0].to_owned(), over[1].to_owned(), pending, running)
}

fn condition(status: &BatchStatus, type_: BatchCondition) -> (&str, &str, &str) {
    let condition = find(&status.conditions, type_).unwrap();
    (&condition.status, &condition.reason, &condition.message)
}

#[test]
fn the_phase_follows_the_tasks() {
    use Phase::{Completed, Failed, Pending, Queued, Running};
    let none = BatchStatus::default();
    for (known, expected) in [
        (vec![], row("Pending", 0, ["", ""], 3, 0)),
        (vec![(0, Known::Made(at(1)))], row("Pending", 1, ["", ""], 3, 0)),
        (vec![(0, Known::Contested)], row("Pending", 1, ["", ""], 3, 0)),
        (vec![(0, Known::Shown(Pending)), (1, Known::Shown(Queued))], row("Queued", 2, ["", ""], 3, 0)),
        (vec![(0, Known::Shown(Running)), (1, Known::Shown(Queued))], row("Running", 2, ["", ""], 2, 1)),
        (vec![(0, Known::Shown(Completed)), (1, Known::Shown(Pending))], row("Running", 2, ["0", ""], 2, 0)),
        (vec![(0, Known::Shown(Failed)), (2, Known::Shown(Completed))], row("Running", 1, ["2", "0"], 1, 0)),
        (
            vec![(0, Known::Shown(Completed)), (1, Known::Shown(Completed)), (2, Known::Shown(Completed))],
            row("Completed", 3, ["0-2", ""], 0, 0),
        ),
        (
            vec![(0, Known::Shown(Completed)), (1, Known::Gone), (2, Known::Taken)],
            row("Failed", 3, ["0", "1,2"], 0, 0),
        ),
    ] {
        let status = after(&none, 3, &known);
        assert_eq!(summary(&status), expected, "{known:?}");
        assert_eq!(status.completion_time.is_some(), status.phase.unwrap().is_terminal());
        assert_eq!(status.start_time, Some(Time(at(9))));
    }
}

#[test]
fn a_paused_batch_is_paused_while_there_is_something_to_make() {
    let none = BatchStatus::default();
    let paused = |before: &BatchStatus, known: &[(usize, Known)]| {
        let facts = Facts { is_paused: true, ..facts(2, before) };
        status(&facts, &known.iter().copied().collect(), None, at(9))
    };
    let new = paused(&none, &[]);
    assert_eq!(summary(&new), row("Paused", 0, ["", ""], 2, 0));
    assert_eq!(new.start_time, None, "its spec may still change");
    let begun = paused(&none, &[(0, Known::Shown(Phase::Running))]);
    assert_eq!(summary(&begun), row("Paused", 1, ["", ""], 1, 1));
    let all = paused(&none, &[(0, Known::Shown(Phase::Running)), (1, Known::Shown(Phase::Running))]);
    assert_eq!(summary(&all), row("Running", 2, ["", ""], 0, 2));
    let over = paused(&none, &[(0, Known::Gone), (1, Known::Shown(Phase::Completed))]);
    assert_eq!(summary(&over), row("Failed", 2, ["1", "0"], 0, 0));
    let on = after(&begun, 2, &[(0, Known::Shown(Phase::Running))]);
    assert_eq!(summary(&on), row("Running", 1, ["", ""], 1, 1));
}

#[test]
fn what_stands_there_stays_and_is_not_written_again() {
    let before = after(&BatchStatus::default(), 4, &[(0, Known::Shown(Phase::Completed)), (1, Known::Gone)]);
    let again = status(&facts(4, &before), &BTreeMap::new(), None, at(77));
    assert_eq!(again, before, "nobody needs to know again what is over");
    let over = after(&before, 4, &[(2, Known::Shown(Phase::Failed)), (3, Known::Gone)]);
    assert_eq!(summary(&over), row("Failed", 4, ["0", "1-3"], 0, 0));
    let known = [(0, Known::Shown(Phase::Failed)), (2, Known::Gone)];
    assert_eq!(after(&over, 4, &known), over, "a Batch that is over stays as it is");
    let words = condition(&over, BatchCondition::Finished);
    assert_eq!(words, ("True", "TasksFailed", "3 of 4 indexes failed: status.failedIndexes names them"));
}

#[test]
fn each_task_that_was_lost_is_named_as_long_as_there_is_room() {
    let first = after(&BatchStatus::default(), 900, &[(3, Known::Gone)]);
    let words = "Task \"b-task-3\" was deleted before its end: index 3 is failed and not made again";
    assert_eq!(condition(&first, BatchCondition::TasksIntact), ("False", "TaskDeleted", words));
    let second = after(&first, 900, &[(7, Known::Taken)]);
    let both =
        format!("{words}; Task \"b-task-7\" is not this Batch's: it is left alone, and index 7 is failed");
    assert_eq!(condition(&second, BatchCondition::TasksIntact), ("False", "NameConflict", both.as_str()));
    let many: Vec<_> = (8..800).map(|index| (index, Known::Gone)).collect();
    let third = after(&second, 900, &many);
    let (_, _, words) = condition(&third, BatchCondition::TasksIntact);
    assert!(words.starts_with(&both) && words.ends_with("; and more") && words.len() < 1200, "{words}");
    let fourth = after(&third, 900, &[(801, Known::Gone)]);
    assert_eq!(condition(&fourth, BatchCondition::TasksIntact).2, words, "it does not grow");
}

#[test]
fn a_refusal_is_told_and_taken_back() {
    let none = BatchStatus::default();
    let refused = status(&facts(2, &none), &BTreeMap::new(), Some("exceeded quota"), at(9));
    assert_eq!(
        condition(&refused, BatchCondition::TasksCreated),
        ("False", "TaskCreationError", "exceeded quota")
    );
    let taken = after(&refused, 2, &[(0, Known::Made(at(9)))]);
    assert_eq!(condition(&taken, BatchCondition::TasksCreated).0, "True");
    assert!(find(&after(&none, 2, &[]).conditions, BatchCondition::TasksCreated).is_none());
}

#[test]
fn one_that_cannot_be_read_has_failed_with_the_words() {
    let status = refused(None, Some(1), "spec.variableContexts: why", at(9));
    assert_eq!((status.phase, status.completion_time.clone()), (Some(BatchPhase::Failed), Some(Time(at(9)))));
    let words = condition(&status, BatchCondition::Finished);
    assert_eq!(words, ("True", "InvalidConfig", "spec.variableContexts: why"));
}

#[test]
fn each_phase_is_told_once_and_the_worst_status_is_small() {
    let none = BatchStatus::default();
    let running = after(&none, 2, &[(0, Known::Shown(Phase::Running))]);
    let failed = after(&running, 2, &[(0, Known::Shown(Phase::Failed)), (1, Known::Shown(Phase::Completed))]);
    let reasons = [(&none, &running), (&running, &running), (&running, &failed), (&failed, &failed)]
        .map(|(before, new)| event(before, new).map(|note| note.reason));
    assert_eq!(reasons, [Some("Running"), None, Some("Failed"), None]);

    let phase = |index: usize| if index.is_multiple_of(2) { Phase::Completed } else { Phase::Failed };
    let alternating: Vec<_> = (0..1000).map(|index| (index, Known::Shown(phase(index)))).collect();
    let bytes = serde_json::to_vec(&after(&none, 1000, &alternating)).unwrap().len();
    assert!(bytes < 5 << 10, "{bytes}");
}
