//! A Task as a row.
//!
//! May touch: text made of a Task. Must not touch: a client, a clock.

use jiff::Timestamp;
use kubeopencode_api::task::Task;

use crate::output::{Paint, Style};
use crate::table::{Cell, Table, line};
use crate::task::{condition, cost, duration, paint, reference, status};
use crate::units::age;
use kubeopencode_api::condition::TaskCondition;

/// What of a Task is shown.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Columns {
    /// With the namespace.
    pub(crate) namespace: bool,
    /// With Pod and message.
    pub(crate) wide: bool,
}

/// A table of Tasks.
#[derive(Debug)]
pub(crate) struct Rows {
    columns: Columns,
    table: Table,
}

impl Rows {
    /// These Tasks.
    pub(crate) fn new(columns: Columns, tasks: &[Task], now: Timestamp) -> Self {
        let mut table = Table::new(&columns.head());
        for task in tasks {
            table.row(columns.row(task, now, phase(task)));
        }
        Self { columns, table }
    }

    /// All of it.
    pub(crate) fn print(&self, style: Style) -> String {
        self.table.print(style)
    }

    /// A Task that comes later, in the same columns.
    pub(crate) fn later(&self, task: &Task, now: Timestamp, style: Style) -> String {
        line(&self.columns.row(task, now, phase(task)), &self.table.widths(), style)
    }

    /// A Task that is not there any more, as it was last.
    pub(crate) fn gone(&self, task: &Task, now: Timestamp, style: Style) -> String {
        let phase = Cell::painted("Gone", Paint::Warn);
        line(&self.columns.row(task, now, phase), &self.table.widths(), style)
    }
}

/// Kinds and names of Tasks.
pub(crate) fn names(tasks: &[Task]) -> String {
    tasks.iter().map(|task| format!("{}\n", reference(task))).collect()
}

/// Its phase; while it is being deleted, that.
fn phase(task: &Task) -> Cell {
    if task.metadata.deletion_timestamp.is_some() {
        return Cell::painted("Deleting", Paint::Warn);
    }
    Cell::painted(task.phase().as_str(), paint(task))
}

/// The reason that one wants to read: why a launched agent does not start, else that of the phase.
fn reason(task: &Task) -> String {
    let started = condition(task, TaskCondition::Started).filter(|started| started.status == "False");
    let stuck = started.filter(|_| !task.is_terminal()).map(|started| started.reason.clone());
    stuck.or(status(task).reason).unwrap_or_default()
}

fn or_none(text: Option<String>) -> Cell {
    text.filter(|text| !text.is_empty()).unwrap_or_else(|| "<none>".to_owned()).into()
}

impl Columns {
    fn head(self) -> Vec<&'static str> {
        let front = if self.namespace { &["NAMESPACE"][..] } else { &[] };
        let back = if self.wide { &["POD", "MESSAGE"][..] } else { &[] };
        [front, &["NAME", "PHASE", "REASON", "PLACE", "COST", "DURATION", "AGENT", "AGE"], back].concat()
    }

    fn row(self, task: &Task, now: Timestamp, phase: Cell) -> Vec<Cell> {
        let (of, key) = (status(task), task.key());
        let agent = of.agent_ref.as_ref().map(|agent| {
            if agent.namespace == key.namespace {
                agent.name.clone()
            } else {
                format!("{}/{}", agent.namespace, agent.name)
            }
        });
        let made = task.metadata.creation_timestamp.as_ref();
        let mut cells: Vec<Cell> = Vec::new();
        if self.namespace {
            cells.push(key.namespace.into());
        }
        cells.extend([
            key.name.into(),
            phase,
            or_none(Some(reason(task))),
            or_none(of.queue_position.map(|place| place.to_string())),
            or_none(cost(task).map(crate::units::Dollars::shown)),
            or_none(duration(task, now)),
            or_none(agent),
            or_none(made.map(|made| age(made.0, now))),
        ]);
        if self.wide {
            let pod = of.pod_name.map(|pod| match of.pod_namespace {
                Some(namespace) if Some(&namespace) != task.metadata.namespace.as_ref() => {
                    format!("{namespace}/{pod}")
                }
                _ => pod,
            });
            cells.extend([or_none(pod), or_none(of.message)]);
        }
        cells
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::task::tests::{now, task};

    fn tasks() -> Vec<Task> {
        let agent = json!({"name": "default", "namespace": "team"});
        let started = |reason: &str| {
            json!([{"type": "Started", "status": "False", "reason": reason, "message": "no image",
            "lastTransitionTime": "2026-11-27T10:00:00Z"}])
        };
        vec![
            task(json!(null)),
            task(
                json!({"phase": "Queued", "reason": "AgentAtCapacity", "message": "Waiting", "queuePosition": 2, "agentRef": agent}),
            ),
            task(
                json!({"phase": "Running", "reason": "PodLaunched", "agentRef": {"name": "reviewer", "namespace": "platform"},
                "startTime": "2026-11-27T10:01:00Z", "podName": "team-fix-u-1-pod", "podNamespace": "platform",
                "conditions": started("ImagePullFailed")}),
            ),
            task(
                json!({"phase": "Completed", "reason": "Completed", "message": "The agent ended successfully", "agentRef": agent,
                "duration": "1m30s", "usage": {"costUSD": "0.1"}, "podName": "fix-pod", "podNamespace": "team"}),
            ),
            task(
                json!({"phase": "Failed", "reason": "PodFailed", "message": "exit 3\nError: no", "agentRef": agent, "duration": "5s"}),
            ),
        ]
    }

    #[test]
    fn a_table_says_reason_place_and_cost() {
        let plain = Style { colours: false };
        let narrow = Rows::new(Columns::default(), &tasks(), now());
        let wide = Rows::new(Columns { namespace: true, wide: true }, &tasks(), now());
        insta::assert_snapshot!(format!("{}\n{}", narrow.print(plain), wide.print(plain)));
    }

    #[test]
    fn a_change_stands_in_the_columns_of_the_table() {
        let all = tasks();
        let rows = Rows::new(Columns::default(), &all[..1], now());
        let plain = Style { colours: false };
        let later = rows.later(&all[3], now(), plain);
        assert_eq!(later, "fix    Completed   Completed   <none>   $0.1000   1m30s      default   5m\n");
        assert_eq!(names(&all[..1]), "task.kubeopencode.io/fix\n");
        let gone = rows.gone(&all[3], now(), plain);
        assert_eq!(gone, "fix    Gone      Completed   <none>   $0.1000   1m30s      default   5m\n");
    }

    #[test]
    fn a_task_that_is_being_deleted_says_so_in_place_of_its_phase() {
        let mut task = tasks().remove(3);
        task.metadata.deletion_timestamp = task.metadata.creation_timestamp.clone();
        let text = Rows::new(Columns::default(), &[task], now()).print(Style { colours: false });
        assert!(text.contains("\nfix    Deleting   Completed "), "{text}");
    }
}
