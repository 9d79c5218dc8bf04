//! What a Batch's status says, from what is known of its indexes. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kubeopencode_api::condition::{BatchCondition, ConditionStatus, Conditions, Reason, find};
use kubeopencode_api::kubetask::batch::{BatchPhase, BatchStatus, Progress};
use kubeopencode_api::kubetask::batch_task::batch_task_name;
use kubeopencode_api::task::Phase;

use super::decide::{Facts, Known};
use crate::runtime::event_recorder::{EventType, Note};

/// Bytes of the condition `TasksIntact` after which no further Task is named in it.
const ENOUGH_WORDS: usize = 1024;

/// The status of the Batch, now. `known`: of the indexes that are not over; `refusal`: why the API server takes no Task of it,
/// for now.
pub(super) fn status(
    batch: &Facts<'_>,
    known: &BTreeMap<usize, Known>,
    refusal: Option<&str>,
    now: Timestamp,
) -> BatchStatus {
    let mut status = batch.status.clone();
    if batch.is_done() {
        return status;
    }
    let mut lost = Vec::new();
    let (mut running, mut is_queued) = (0, false);
    for (index, known) in known {
        match known {
            Known::Shown(Phase::Completed) => drop(status.completed_indexes.insert(*index)),
            Known::Shown(Phase::Failed) => drop(status.failed_indexes.insert(*index)),
            Known::Shown(Phase::Running) => running += 1,
            Known::Shown(Phase::Queued) => is_queued = true,
            Known::Shown(Phase::Pending) | Known::Made(_) | Known::Contested => {}
            Known::Taken | Known::Gone => {
                status.failed_indexes.insert(*index);
                lost.push((*index, *known));
            }
        }
    }
    let (completed, failed) = (status.completed_indexes.len(), status.failed_indexes.len());
    let is_known = |index: &usize| known.contains_key(index) || status.is_over(*index);
    let made = (batch.status.made()..batch.total).find(|index| !is_known(index)).unwrap_or(batch.total);
    let is_over = completed + failed >= batch.total;
    let is_all_made = made >= batch.total;
    if !batch.is_paused {
        status.start_time.get_or_insert(Time(now));
    }
    status.made = Some(count(made));
    status.progress = Some(Progress {
        total: count(batch.total),
        pending: count(batch.total) - running - count(completed) - count(failed),
        running,
        completed: count(completed),
        failed: count(failed),
    });
    let phase = if is_over && failed > 0 {
        BatchPhase::Failed
    } else if is_over {
        BatchPhase::Completed
    } else if batch.is_paused && !is_all_made {
        BatchPhase::Paused
    } else if running > 0 || completed + failed > 0 {
        BatchPhase::Running
    } else if is_queued {
        BatchPhase::Queued
    } else {
        BatchPhase::Pending
    };
    status.phase = Some(phase);
    if is_over {
        status.completion_time = Some(Time(now));
    }
    let said = intact_words(batch.name, &status.conditions, &lost);
    let mut conditions = Conditions::new(&mut status.conditions, batch.generation, now);
    if let Some((reason, words)) = said {
        conditions.set(BatchCondition::TasksIntact, ConditionStatus::False, reason, &words);
    }
    created(&mut conditions, batch, refusal);
    if is_over {
        let (reason, words) = end_words(phase, completed, failed);
        conditions.set(BatchCondition::Finished, ConditionStatus::True, reason, &words);
    }
    status
}

/// The status of a Batch that cannot be read, and never started.
pub(super) fn refused(
    before: Option<&BatchStatus>,
    generation: Option<i64>,
    words: &str,
    now: Timestamp,
) -> BatchStatus {
    let mut status = before.cloned().unwrap_or_default();
    status.phase = Some(BatchPhase::Failed);
    status.completion_time = Some(Time(now));
    let mut conditions = Conditions::new(&mut status.conditions, generation, now);
    conditions.set(BatchCondition::Finished, ConditionStatus::True, Reason::InvalidConfig, words);
    status
}

/// Whether the API server takes its Tasks. Only one that it refused once says that it does.
fn created(conditions: &mut Conditions<'_>, batch: &Facts<'_>, refusal: Option<&str>) {
    let before = find(&batch.status.conditions, BatchCondition::TasksCreated);
    match refusal {
        Some(words) => {
            conditions.set(
                BatchCondition::TasksCreated,
                ConditionStatus::False,
                Reason::TaskCreationError,
                words,
            );
        }
        None if before.is_some_and(|c| c.status == ConditionStatus::False.as_str()) => {
            let words = "The API server takes its Tasks again";
            conditions.set(BatchCondition::TasksCreated, ConditionStatus::True, Reason::TasksCreated, words);
        }
        None => {}
    }
}

/// Reason and message of `TasksIntact`, where there is something new to tell: the Tasks that were lost so far.
fn intact_words(batch: &str, conditions: &[Condition], lost: &[(usize, Known)]) -> Option<(Reason, String)> {
    let (_, newest) = lost.last()?;
    let reason = if *newest == Known::Taken { Reason::NameConflict } else { Reason::TaskDeleted };
    let mut words =
        find(conditions, BatchCondition::TasksIntact).map(|c| c.message.clone()).unwrap_or_default();
    for (index, known) in lost {
        if words.len() >= ENOUGH_WORDS {
            if !words.ends_with(AND_MORE) {
                words += AND_MORE;
            }
            break;
        }
        if !words.is_empty() {
            words += "; ";
        }
        let task = batch_task_name(batch, *index);
        words += &match known {
            Known::Taken => {
                format!("Task \"{task}\" is not this Batch's: it is left alone, and index {index} is failed")
            }
            _ => format!(
                "Task \"{task}\" was deleted before its end: index {index} is failed and not made again"
            ),
        };
    }
    Some((reason, words))
}

/// End of a message that has room for no more.
const AND_MORE: &str = "; and more";

fn end_words(phase: BatchPhase, completed: usize, failed: usize) -> (Reason, String) {
    match phase {
        BatchPhase::Failed => {
            let all = completed + failed;
            (
                Reason::TasksFailed,
                format!("{failed} of {all} indexes failed: status.failedIndexes names them"),
            )
        }
        _ => (Reason::Completed, format!("All {completed} Tasks are Completed")),
    }
}

/// The Event of the phase that a status came into.
pub(super) fn event(before: &BatchStatus, new: &BatchStatus) -> Option<Note> {
    let phase = new.phase.filter(|phase| before.phase != Some(*phase))?;
    let progress = new.progress.unwrap_or_default();
    let all = progress.total;
    let finished =
        find(&new.conditions, BatchCondition::Finished).map(|c| c.message.clone()).unwrap_or_default();
    let (type_, reason, note) = match phase {
        BatchPhase::Pending => return None,
        BatchPhase::Queued => {
            (EventType::Normal, "Queued", format!("Its Tasks wait for room in the namespace; {all} in all"))
        }
        BatchPhase::Running => (EventType::Normal, "Running", format!("Its Tasks run, {all} in all")),
        BatchPhase::Paused => {
            (EventType::Normal, "Paused", format!("No further Task is made: {} of {all} were", new.made()))
        }
        BatchPhase::Completed => (EventType::Normal, "Completed", finished),
        BatchPhase::Failed => (EventType::Warning, "Failed", finished),
    };
    Some(Note { type_, reason, note })
}

/// At most a thousand.
fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests;
