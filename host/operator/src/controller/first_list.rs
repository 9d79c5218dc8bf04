//! The Tasks with an Agent that were there before the operator: those that are queued keep their place, and those that were
//! never reconciled are waited for, since they may have come first.

use kube::runtime::watcher::Event;
use kubeopencode_api::condition::Reason;
use kubeopencode_api::group::Group;
use kubeopencode_api::names::{AgentKey, TaskUid};
use kubeopencode_api::task::{Phase, Task};

use crate::admission::ledger::QueuedTask;
use crate::cache::item::Item;
use crate::frontend::{Frontend, KubeOpenCode, Runner};
use crate::task::reconcile::{Context, queued_task, waits_for};

/// What a list of Tasks has shown so far.
#[derive(Default)]
pub(super) struct FirstList {
    queued: Vec<(AgentKey, QueuedTask)>,
    unreconciled: Vec<(AgentKey, TaskUid)>,
    is_up: bool,
}

impl FirstList {
    /// Takes in an event of the Task watch.
    pub(super) fn apply(&mut self, context: &Context, event: &Event<Item<Task>>) {
        match event {
            Event::Init => {
                self.queued.clear();
                self.unreconciled.clear();
            }
            Event::InitApply(task) => self.listed(task),
            Event::InitDone => {
                self.is_up = true;
                context.writer.tasks(Group::KubeOpenCode).forget_all();
                context.admission.tasks_were_listed();
                for (agent, task) in self.queued.drain(..) {
                    context.admission.remember(&agent, task);
                }
                for (agent, uid) in self.unreconciled.drain(..) {
                    if context.caches.is_limited(&agent) {
                        context.admission.expect(&agent, uid);
                    }
                }
            }
            Event::Apply(_) | Event::Delete(_) => {}
        }
    }

    fn listed(&mut self, item: &Item<Task>) {
        let runner = KubeOpenCode::spec_runner(item);
        let (Some(task), Ok(Runner::Agent(agent))) = (KubeOpenCode::task_ref(item), runner) else { return };
        match task.phase() {
            // who waits for room in a namespace stands in no Agent's queue
            Phase::Queued if waits_for(task) != Some(Reason::NamespaceQuotaExceeded) => {
                self.queued.push((agent, queued_task(task)));
            }
            Phase::Pending if !self.is_up && !task.is_deleting() => {
                self.unreconciled.push((agent, task.uid()));
            }
            _ => {}
        }
    }
}
