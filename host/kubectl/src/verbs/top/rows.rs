//! An Agent as a row: what runs, what may, who waits, what was spent.
//!
//! May touch: text made of Agents and Tasks. Must not touch: a client, a clock.

use jiff::{SignedDuration, Timestamp};
use kubeopencode_api::agent::Agent;
use kubeopencode_api::names::AgentKey;
use kubeopencode_api::task::{Phase, Task};

use crate::output::{Paint, Style};
use crate::table::{Cell, Table};
use crate::task::cost;
use crate::units::Dollars;

/// A table of Agents, with what these Tasks say of them.
pub(crate) fn table(
    agents: &[Agent],
    tasks: &[Task],
    with_namespace: bool,
    now: Timestamp,
    style: Style,
) -> String {
    let front = if with_namespace { &["NAMESPACE"][..] } else { &[] };
    let head = [front, &["NAME", "RUNNING", "LIMIT", "QUEUED", "STARTS-LEFT", "SPEND", "STATE"]].concat();
    let mut table = Table::new(&head);
    for agent in agents {
        let key = AgentKey::of(agent);
        let own: Vec<_> = tasks.iter().filter(|task| task.recorded_agent().as_ref() == Some(&key)).collect();
        let in_phase = |phase: Phase| own.iter().filter(|task| task.phase() == phase).count();
        let running = running(agent).unwrap_or_else(|| in_phase(Phase::Running));
        let limit = agent.spec.capacity();
        let is_full = limit.is_some_and(|limit| running >= limit);
        let queued = in_phase(Phase::Queued);
        let spent = own.iter().filter_map(|task| cost(task)).fold(Dollars::default(), Dollars::and);
        let mut cells: Vec<Cell> = if with_namespace { vec![key.namespace.into()] } else { Vec::new() };
        cells.extend([
            key.name.into(),
            Cell::painted(running.to_string(), if is_full { Paint::Warn } else { Paint::Plain }),
            limit.map_or("<none>".to_owned(), |limit| limit.to_string()).into(),
            Cell::painted(queued.to_string(), if queued > 0 { Paint::Warn } else { Paint::Plain }),
            starts_left(agent, now).into(),
            spent.shown().into(),
            state(agent),
        ]);
        table.row(cells);
    }
    table.print(style)
}

/// The Tasks that hold a slot; `None`: nobody counts them.
fn running(agent: &Agent) -> Option<usize> {
    agent.spec.is_limited().then(|| agent.status.as_ref().map_or(0, |status| status.admitted.len()))
}

/// Starts that the quota's window still allows, and how many it allows at all.
fn starts_left(agent: &Agent, now: Timestamp) -> String {
    let Some(quota) = &agent.spec.quota else { return "<none>".to_owned() };
    let window = SignedDuration::from_secs(quota.window_seconds.into());
    let history = agent.status.iter().flat_map(|status| &status.task_start_history);
    let counted = history.filter(|start| now.duration_since(start.start_time.0) < window).count();
    let max = usize::try_from(quota.max_task_starts).unwrap_or_default();
    format!("{}/{max}", max.saturating_sub(counted))
}

fn state(agent: &Agent) -> Cell {
    if agent.spec.is_suspended() {
        return Cell::painted("Suspended", Paint::Warn);
    }
    let accepted =
        agent.status.iter().flat_map(|status| &status.conditions).find(|one| one.type_ == "Accepted");
    match accepted {
        Some(accepted) if accepted.status == "True" => Cell::painted("Accepted", Paint::Good),
        Some(accepted) => Cell::painted(accepted.reason.clone(), Paint::Bad),
        None => "<unknown>".into(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::task::tests::{now, task};

    fn agent(name: &str, spec: Value, status: Value) -> Agent {
        serde_json::from_value(json!({
            "apiVersion": "kubeopencode.io/v1alpha1", "kind": "Agent", "metadata": {"name": name, "namespace": "team"},
            "spec": spec, "status": status,
        }))
        .unwrap()
    }

    #[test]
    fn an_agent_says_what_runs_who_waits_and_what_is_left() {
        let start = |minutes: u8| {
            json!({"taskUID": "u", "taskNamespace": "team", "taskName": "t",
            "startTime": format!("2026-11-27T10:0{minutes}:00Z")})
        };
        let accepted = |status: &str, reason: &str| {
            json!([{"type": "Accepted", "status": status, "reason": reason,
            "message": "m", "lastTransitionTime": "2026-11-27T10:00:00Z"}])
        };
        let agents = [
            agent(
                "free",
                json!({"serviceAccountName": "a"}),
                json!({"conditions": accepted("True", "Resolved")}),
            ),
            agent(
                "limited",
                json!({"serviceAccountName": "a", "maxConcurrentTasks": 2, "quota": {"maxTaskStarts": 3, "windowSeconds": 120}}),
                json!({"admitted": [start(4), start(3)], "taskStartHistory": [start(1), start(4), start(4)],
                    "conditions": accepted("False", "ContextError")}),
            ),
            agent("off", json!({"serviceAccountName": "a", "suspend": true}), Value::Null),
        ];
        let of = |agent: &str, phase: &str, cost: &str| {
            task(
                json!({"phase": phase, "agentRef": {"name": agent, "namespace": "team"}, "usage": {"costUSD": cost}}),
            )
        };
        let tasks = [
            of("free", "Running", "0.01"),
            of("free", "Completed", "0.5"),
            of("limited", "Queued", "x"),
            task(json!({"phase": "Queued", "agentRef": {"name": "free", "namespace": "other"}})),
        ];
        let plain = Style { colours: false };
        let one = table(&agents, &tasks, false, now(), plain);
        insta::assert_snapshot!(format!("{one}\n{}", table(&agents[..1], &[], true, now(), plain)));
    }
}
