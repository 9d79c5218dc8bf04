//! Namespaces whose ResourceQuota is full: who waits there, and whose turn it is to try.

use kubeopencode_api::condition::Reason;
use kubeopencode_api::names::TaskUid;
use tokio::time::Instant;

use super::Admission;
use super::ledger::{Blocked, QueuedTask};
use super::namespace_gate::{NamespaceGate, Next};
use crate::frontend::Runner;
use crate::runtime::keyed_queue::enqueue_after;

impl Admission {
    /// What the Task waits for, unless the namespace of its Pod has room, or it is its turn to try.
    pub(crate) fn ask_namespace(&self, runner: &Runner, task: &QueuedTask) -> Option<Blocked> {
        let mut gates = self.gates.lock();
        let gate = gates.get_mut(runner.namespace())?;
        // one that vanished has left a line in which it did not stand yet
        if self.may_start(task) && gate.ask(&runner.line(), task, Instant::now()) {
            return None;
        }
        Some(waits_for_room(runner.namespace(), gate.words()))
    }

    /// The API server refused the Task's Pod or ConfigMaps for the namespace's ResourceQuota; says what it waits for.
    pub(crate) fn namespace_is_full(&self, runner: &Runner, task: QueuedTask, words: &str) -> Blocked {
        // the words before these name the Pod
        let words = words.find("exceeded quota").and_then(|at| words.get(at..)).unwrap_or(words);
        let mut gates = self.gates.lock();
        let (namespace, line) = (runner.namespace(), runner.line());
        let gate =
            gates.entry(namespace.to_owned()).or_insert_with(|| NamespaceGate::new(&line, task.clone()));
        self.go_on(gate.refused(&line, task, words.to_owned(), Instant::now()));
        waits_for_room(namespace, words)
    }

    /// A Task was launched.
    pub(crate) fn namespace_took(&self, runner: &Runner, uid: &TaskUid) {
        self.at_gate(runner.namespace(), |gate| gate.launched(&runner.line(), uid, Instant::now()));
    }

    /// The Task's try to start is over, whatever became of it.
    pub(crate) fn tried(&self, runner: &Runner, uid: &TaskUid) {
        self.at_gate(runner.namespace(), |gate| gate.tried(uid));
    }

    /// The Task waits for no room in the namespace (any more).
    pub(crate) fn leave_namespace(&self, namespace: &str, uid: &TaskUid) {
        self.at_gate(namespace, |gate| gate.leave(uid));
    }

    /// A Pod of the namespace is over or gone.
    pub(crate) fn namespace_has_room(&self, namespace: &str) {
        self.at_gate(namespace, |gate| gate.made_room(Instant::now()));
    }

    /// The watch listed all Pods anew: any may have ended meanwhile.
    pub(crate) fn pods_were_listed(&self) {
        let namespaces: Vec<_> = self.gates.lock().keys().cloned().collect();
        for namespace in namespaces {
            self.namespace_has_room(&namespace);
        }
    }

    /// Those who wait in a namespace and are no more.
    pub(crate) fn leave_namespaces(&self) {
        let gone: Vec<_> = {
            let gates = self.gates.lock();
            let waiting =
                gates.iter().flat_map(|(namespace, gate)| gate.waiting().map(move |task| (namespace, task)));
            let gone = waiting.filter(|(_, task)| !self.may_start(task));
            gone.map(|(namespace, task)| (namespace.clone(), task.uid.clone())).collect()
        };
        for (namespace, uid) in gone {
            self.leave_namespace(&namespace, &uid);
        }
    }

    fn at_gate(&self, namespace: &str, act: impl FnOnce(&mut NamespaceGate) -> Option<Next>) {
        let mut gates = self.gates.lock();
        let Some(gate) = gates.get_mut(namespace) else { return };
        self.go_on(act(gate));
        if gate.is_empty() {
            gates.remove(namespace);
        }
    }

    fn go_on(&self, next: Option<Next>) {
        let Some(Next { task, at }) = next else { return };
        let pause = at.saturating_duration_since(Instant::now());
        if pause.is_zero() {
            let _ = self.task_queue.send(task);
        } else {
            enqueue_after(&self.task_queue, task, pause);
        }
    }
}

fn waits_for_room(namespace: &str, words: &str) -> Blocked {
    let message = format!("Waiting for room in namespace \"{namespace}\": {words}");
    Blocked { reason: Reason::NamespaceQuotaExceeded, message }
}
