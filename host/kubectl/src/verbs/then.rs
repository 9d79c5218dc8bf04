//! What is done when a Task was made: nothing, or waiting for its end, with its log or without.
//!
//! May touch: stdout, stderr, a watch of one Task. Must not touch: the Task.

use kubeopencode_api::task::{Phase, Task};

use crate::args::{ObjectFormat, Then};
use crate::cluster::{Cluster, until};
use crate::error::{Asked, Failure};
use crate::output::{Progress, print, remark};
use crate::table::harmless;
use crate::task::{ended, reference, state, status};
use crate::verbs::logs;

/// Tells of a Task that was made, and of its end where that is wanted.
///
/// # Errors
/// When it did not do its work, or nobody knows.
pub(crate) async fn main(cluster: &Cluster, made: Task, then: Then) -> Result<(), Failure> {
    if then.follow {
        remark(&format!("{} created", reference(&made)));
        let over = logs::to_the_end(cluster, &made).await.map_err(Failure::after_the_start)?;
        let words = ended(&over)?;
        remark(&words);
        return Ok(());
    }
    if !then.wait {
        return print(created(&made, then.output)?);
    }
    if then.output == Some(ObjectFormat::Json) {
        // stdout is the Task as it ends, and whoever ends the waiting before that wants to know its name
        remark(&format!("{} created", reference(&made)));
    } else {
        print(created(&made, then.output)?)?;
    }
    let over = over(cluster, &made).await.map_err(Failure::after_the_start)?;
    if then.output == Some(ObjectFormat::Json) {
        print(json(&over)?)?;
    }
    let words = ended(&over)?;
    match then.output {
        None => print(last_words(&over, &words)),
        Some(_) => Ok(()),
    }
}

fn created(task: &Task, output: Option<ObjectFormat>) -> Result<String, Failure> {
    Ok(match output {
        None => format!("{} created\n", reference(task)),
        Some(ObjectFormat::Name) => format!("{}\n", reference(task)),
        Some(ObjectFormat::Json) => json(task)?,
    })
}

/// An object as JSON.
///
/// # Errors
/// When it cannot be written as such, which no object is.
pub(crate) fn json(object: &impl serde::Serialize) -> Result<String, Failure> {
    let text = serde_json::to_string_pretty(object);
    text.map(|text| text + "\n").map_err(|error| Failure::Failed(format!("writing JSON: {error}")))
}

/// How it ended, and what the agent said then.
fn last_words(task: &Task, words: &str) -> String {
    let summary = status(task).result.and_then(|result| result.summary);
    let summary = summary.map(|summary| format!("{}\n", harmless(summary.trim_end()))).unwrap_or_default();
    format!("{words}\n{summary}")
}

/// Waits for the end of a Task.
///
/// # Errors
/// When it is gone, or the API server is.
pub(crate) async fn over(cluster: &Cluster, task: &Task) -> Result<Task, Failure> {
    until_it(cluster, task, Task::is_terminal, Progress::new()).await?.ok_or_else(|| gone(task))
}

/// Waits for the end of a Task without a word, beside what has the terminal; `None`: it was deleted.
///
/// # Errors
/// When the API server does not answer.
pub(crate) async fn end(cluster: &Cluster, task: &Task) -> Result<Option<Task>, Failure> {
    until_it(cluster, task, Task::is_terminal, Progress::silent()).await
}

/// Waits until a Task has a Pod that was launched, or is over.
///
/// # Errors
/// As those of [`over`].
pub(crate) async fn launched(cluster: &Cluster, task: &Task) -> Result<Task, Failure> {
    let is_launched = |task: &Task| task.is_terminal() || task.phase() == Phase::Running;
    until_it(cluster, task, is_launched, Progress::new()).await?.ok_or_else(|| gone(task))
}

fn gone(task: &Task) -> Failure {
    Failure::Lost(format!("Task {} was deleted: how it ended is not known", task.key()))
}

async fn until_it(
    cluster: &Cluster,
    task: &Task,
    is_so: impl Fn(&Task) -> bool,
    mut progress: Progress,
) -> Result<Option<Task>, Failure> {
    let (key, uid) = (task.key(), task.uid());
    let asked = Asked::task(&key.namespace, &key.name);
    let tasks = cluster.tasks();
    until(&tasks, &key.name, &asked, |seen: Option<&Task>| match seen {
        Some(seen) if seen.uid() == uid => {
            progress.say(&state(seen));
            is_so(seen).then(|| Some(seen.clone()))
        }
        _ => Some(None),
    })
    .await
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::task::tests::task;

    #[test]
    fn what_was_made_is_told_as_kubectl_tells_it() {
        let task = task(json!({"phase": "Completed", "result": {"summary": "All is done.\u{1b}[2J\n"}}));
        assert_eq!(created(&task, None).unwrap(), "task.kubeopencode.io/fix created\n");
        assert_eq!(created(&task, Some(ObjectFormat::Name)).unwrap(), "task.kubeopencode.io/fix\n");
        let json = created(&task, Some(ObjectFormat::Json)).unwrap();
        assert_eq!(serde_json::from_str::<Task>(&json).unwrap(), task);
        assert_eq!(
            last_words(&task, "Task team/fix completed"),
            "Task team/fix completed\nAll is done.\u{fffd}[2J\n"
        );
    }
}
