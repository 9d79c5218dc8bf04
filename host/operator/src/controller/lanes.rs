//! Who is reconciled at the same time: whatever ends, is stopped or goes at once in one namespace, another one finds a place.
//!
//! kube's `Controller` has places and one crowd of keys that wait for them, of which it takes any.

use std::collections::{HashMap, HashSet, VecDeque};

use kubeopencode_api::names::TaskKey;
use parking_lot::Mutex;

use super::CONCURRENCY;

/// Places that one namespace has: three quarters of the controller's. However many of its Tasks end at once or wait for an
/// answer, the last quarter is for those of others.
const MOST: usize = (CONCURRENCY - CONCURRENCY / 4) as usize;

/// The lane of each namespace in which something is reconciled.
#[derive(Debug, Default)]
pub(super) struct Lanes(Mutex<HashMap<String, Lane>>);

#[derive(Debug, Default)]
struct Lane {
    in_flight: usize,
    waiting: VecDeque<TaskKey>,
    known: HashSet<TaskKey>,
}

impl Lanes {
    /// Whether a Task's reconciliation may begin. If not, the Task waits until [`Self::leave`] names it.
    pub(super) fn enter(&self, key: &TaskKey) -> bool {
        let mut lanes = self.0.lock();
        let lane = lanes.entry(key.namespace.clone()).or_default();
        let has_place = lane.in_flight < MOST;
        if has_place {
            lane.in_flight += 1;
        } else if lane.known.insert(key.clone()) {
            lane.waiting.push_back(key.clone());
        }
        has_place
    }

    /// A reconciliation in this namespace has ended; says who may come again. Should one of them be gone, and never come, the
    /// next end names one more.
    pub(super) fn leave(&self, namespace: &str) -> Vec<TaskKey> {
        let mut lanes = self.0.lock();
        let Some(lane) = lanes.get_mut(namespace) else { return Vec::new() };
        lane.in_flight -= 1;
        let places = (MOST - lane.in_flight).min(lane.waiting.len());
        let next: Vec<_> = lane.waiting.drain(..places).collect();
        for key in &next {
            lane.known.remove(key);
        }
        if lane.in_flight == 0 && lane.waiting.is_empty() {
            lanes.remove(namespace);
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use kubeopencode_api::group::Group;

    use super::*;

    #[test]
    fn no_namespace_has_all_places_and_who_waits_comes_when_another_ends() {
        let (lanes, tasks) = (Lanes::default(), MOST + 10);
        let key = |namespace: &str, i: usize| TaskKey::new(Group::KubeOpenCode, namespace, i.to_string());
        assert_eq!((0..tasks).filter(|i| lanes.enter(&key("busy", *i))).count(), MOST);
        assert!(!lanes.enter(&key("busy", MOST)), "it waits already");
        assert!(lanes.enter(&key("calm", 0)));
        assert_eq!(lanes.leave("busy"), [key("busy", MOST)]);
        assert!(lanes.enter(&key("busy", MOST)));
        assert_eq!(lanes.leave("busy"), [key("busy", MOST + 1)]);
        // which is gone, and does not come
        assert_eq!(lanes.leave("busy"), [key("busy", MOST + 2), key("busy", MOST + 3)]);
        let others: usize = (2..MOST).map(|_| lanes.leave("busy").len()).sum();
        assert_eq!(others, tasks - MOST - 4);
        assert!(lanes.leave("calm").is_empty());
        assert!(lanes.0.lock().is_empty(), "nothing is kept");
    }
}
