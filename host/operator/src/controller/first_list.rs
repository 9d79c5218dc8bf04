//! The Tasks that were there before the operator: those that are queued keep their place, and those that were never
//! reconciled are waited for, since they may have come first.

use kube::runtime::watcher::Event;
use kubeopencode_api::names::{ObjectKey, TaskUid};
use kubeopencode_api::task::Phase;
use kubeopencode_plan::agent_key;

use crate::admission::ledger::QueuedTask;
use crate::cache::{GuardedTask, task_uid};
use crate::task::reconcile::{Context, queued_task};

/// What a list of Tasks has shown so far.
#[derive(Default)]
pub(super) struct FirstList {
    queued: Vec<(ObjectKey, QueuedTask)>,
    unreconciled: Vec<(ObjectKey, TaskUid)>,
    is_up: bool,
}

impl FirstList {
    /// Takes in an event of the Task watch.
    pub(super) fn apply(&mut self, context: &Context, event: &Event<GuardedTask>) {
        match event {
            Event::Init => {
                self.queued.clear();
                self.unreconciled.clear();
            }
            Event::InitApply(guarded) => self.listed(guarded),
            Event::InitDone => {
                self.is_up = true;
                context.writer.tasks.forget_all();
                for (agent, task) in self.queued.drain(..) {
                    context.admission.remember(&agent, task);
                }
                for (agent, uid) in self.unreconciled.drain(..) {
                    if context.caches.agent(&agent).is_some_and(|agent| agent.spec.is_limited()) {
                        context.admission.expect(&agent, uid);
                    }
                }
            }
            Event::Apply(_) | Event::Delete(_) => {}
        }
    }

    fn listed(&mut self, guarded: &GuardedTask) {
        let Ok(task) = &guarded.0 else { return };
        let Ok(agent) = agent_key(task) else { return };
        match task.phase() {
            Phase::Queued => self.queued.push((agent, queued_task(task))),
            Phase::Pending if !self.is_up && task.metadata.deletion_timestamp.is_none() => {
                self.unreconciled.push((agent, task_uid(guarded)));
            }
            _ => {}
        }
    }
}
