//! What an event of one namespace means for the list of all. Pure.

use kube::runtime::watcher::Event;

/// How far a namespace is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Namespace {
    /// The list waits for it, and may have objects of it already.
    Listing { has_shown: bool },
    /// All of it is in the list.
    Listed,
    /// The API server refused it: the list goes on without it.
    LeftOut,
}

/// What follows from an event.
#[derive(Debug)]
pub(super) enum Then<K> {
    /// Everybody hears of this.
    Tell(Event<K>),
    /// Nothing.
    Nothing,
    /// All namespaces are listed anew, which everybody hears of as of an `Init`.
    Anew,
}

/// The last list of all namespaces, and whether it is complete.
#[derive(Debug)]
pub(super) struct Round {
    namespaces: Vec<Namespace>,
    is_complete: bool,
}

impl Round {
    /// The first list of so many namespaces.
    pub(super) fn new(count: usize) -> Self {
        Self { namespaces: vec![Namespace::Listing { has_shown: false }; count], is_complete: false }
    }

    /// Whether what comes from a namespace has to wait until the list is complete.
    pub(super) fn holds_back(&self, namespace: usize) -> bool {
        !self.is_complete && self.namespaces.get(namespace) == Some(&Namespace::Listed)
    }

    /// Takes in an event of one namespace.
    pub(super) fn event<K>(&mut self, namespace: usize, event: Event<K>) -> Then<K> {
        let Some(state) = self.namespaces.get_mut(namespace) else { return Then::Nothing };
        match (event, *state) {
            // what the list has of it may be gone
            (Event::Init, Namespace::Listing { has_shown: true } | Namespace::Listed) => self.anew(),
            (Event::Init, _) => Then::Nothing,
            (Event::InitApply(object), _) if !self.is_complete => {
                *state = Namespace::Listing { has_shown: true };
                Then::Tell(Event::InitApply(object))
            }
            (Event::InitDone, _) if !self.is_complete => {
                *state = Namespace::Listed;
                self.complete()
            }
            // one that was left out: the next list has it
            (Event::InitApply(_), _) => Then::Nothing,
            (Event::InitDone, _) => {
                *state = Namespace::Listed;
                self.anew()
            }
            (event @ (Event::Apply(_) | Event::Delete(_)), _) => Then::Tell(event),
        }
    }

    /// The API server refuses a namespace to the operator.
    pub(super) fn refused<K>(&mut self, namespace: usize) -> Then<K> {
        let Some(state) = self.namespaces.get_mut(namespace) else { return Then::Nothing };
        match *state {
            Namespace::Listing { has_shown } => {
                *state = Namespace::LeftOut;
                if has_shown { self.anew() } else { self.complete() }
            }
            // what was listed stays, as with one watch that is refused
            Namespace::Listed | Namespace::LeftOut => Then::Nothing,
        }
    }

    /// A list of nothing but refusals is none.
    fn complete<K>(&mut self) -> Then<K> {
        let waits = self.namespaces.iter().any(|state| matches!(state, Namespace::Listing { .. }));
        if waits || !self.namespaces.contains(&Namespace::Listed) {
            return Then::Nothing;
        }
        self.is_complete = true;
        Then::Tell(Event::InitDone)
    }

    fn anew<K>(&mut self) -> Then<K> {
        for state in self.namespaces.iter_mut().filter(|state| **state != Namespace::LeftOut) {
            *state = Namespace::Listing { has_shown: false };
        }
        self.is_complete = false;
        Then::Anew
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: usize = 0;
    const B: usize = 1;

    /// What is told of each step, in short; a step is an event of a namespace, or its refusal.
    fn told(round: &mut Round, steps: &[(usize, Option<Event<&'static str>>)]) -> Vec<String> {
        let told = |then: Then<&str>| match then {
            Then::Tell(Event::Init) => "Init".to_owned(),
            Then::Tell(Event::InitApply(object)) => format!("has {object}"),
            Then::Tell(Event::InitDone) => "InitDone".to_owned(),
            Then::Tell(Event::Apply(object)) => format!("+{object}"),
            Then::Tell(Event::Delete(object)) => format!("-{object}"),
            Then::Nothing => String::new(),
            Then::Anew => "anew".to_owned(),
        };
        let each = steps.iter().cloned().map(|(namespace, event)| match event {
            Some(event) => {
                assert!(!round.holds_back(namespace), "nothing comes from who is held back");
                round.event(namespace, event)
            }
            None => round.refused(namespace),
        });
        each.map(told).collect()
    }

    const INIT: Option<Event<&str>> = Some(Event::Init);
    const DONE: Option<Event<&str>> = Some(Event::InitDone);
    const REFUSED: Option<Event<&str>> = None;

    fn has(object: &'static str) -> Option<Event<&'static str>> {
        Some(Event::InitApply(object))
    }

    /// Both namespaces are listed.
    fn complete() -> Round {
        let mut round = Round::new(2);
        assert_eq!(told(&mut round, &[(A, INIT), (A, DONE), (B, INIT), (B, DONE)]), ["", "", "", "InitDone"]);
        round
    }

    #[test]
    fn the_list_is_one_and_ends_with_the_last_namespace() {
        let mut round = Round::new(2);
        let steps = [(A, INIT), (B, INIT), (B, has("b1")), (A, has("a1")), (B, has("b2")), (B, DONE)];
        assert_eq!(told(&mut round, &steps), ["", "", "has b1", "has a1", "has b2", ""]);
        assert!(round.holds_back(B), "what changed since in one namespace is told behind the list");
        assert!(!round.holds_back(A));
        assert_eq!(told(&mut round, &[(A, has("a2")), (A, DONE)]), ["has a2", "InitDone"]);
        assert!(!round.holds_back(B));
        let steps = [(B, Some(Event::Apply("b3"))), (A, Some(Event::Delete("a1")))];
        assert_eq!(told(&mut round, &steps), ["+b3", "-a1"]);
    }

    #[test]
    fn a_namespace_that_is_listed_anew_takes_the_others_with_it() {
        let mut round = complete();
        let steps = [(B, INIT), (B, INIT), (A, INIT), (A, has("a1")), (A, DONE), (B, has("b1")), (B, DONE)];
        assert_eq!(told(&mut round, &steps), ["anew", "", "", "has a1", "", "has b1", "InitDone"]);
    }

    #[test]
    fn a_list_that_broke_off_leaves_nothing_in_the_whole() {
        let mut round = Round::new(2);
        let steps = [(A, INIT), (A, has("gone meanwhile")), (A, INIT)];
        assert_eq!(told(&mut round, &steps), ["", "has gone meanwhile", "anew"]);
        // before an object was shown there is nothing to take back
        assert_eq!(told(&mut round, &[(A, INIT), (A, INIT), (B, DONE), (A, DONE)]), ["", "", "", "InitDone"]);
    }

    #[test]
    fn a_namespace_that_is_refused_holds_nobody_up() {
        let mut round = Round::new(2);
        assert_eq!(told(&mut round, &[(B, REFUSED), (A, INIT), (A, DONE)]), ["", "", "InitDone"]);
        let mut round = Round::new(2);
        assert_eq!(told(&mut round, &[(A, INIT), (A, DONE), (B, REFUSED)]), ["", "", "InitDone"]);
        // once it works the list has it
        let steps = [(B, INIT), (B, has("b1")), (B, DONE)];
        assert_eq!(told(&mut round, &steps), ["", "", "anew"]);
        let steps = [(A, DONE), (B, has("b1")), (B, DONE)];
        assert_eq!(told(&mut round, &steps), ["", "has b1", "InitDone"]);
    }

    #[test]
    fn a_namespace_that_works_before_the_list_is_complete_is_waited_for() {
        let mut round = Round::new(2);
        let steps = [(B, REFUSED), (B, INIT), (B, has("b1")), (A, DONE), (B, has("b2")), (B, DONE)];
        assert_eq!(told(&mut round, &steps), ["", "", "has b1", "", "has b2", "InitDone"]);
    }

    #[test]
    fn one_that_is_refused_in_the_middle_of_its_list_leaves_nothing_of_it() {
        let mut round = Round::new(2);
        let steps = [(A, INIT), (B, INIT), (B, has("b1")), (B, REFUSED), (A, INIT), (A, DONE)];
        assert_eq!(told(&mut round, &steps), ["", "", "has b1", "anew", "", "InitDone"]);
    }

    #[test]
    fn what_was_listed_stays_where_the_watch_is_refused_later() {
        let mut round = complete();
        assert_eq!(told(&mut round, &[(B, REFUSED), (A, Some(Event::Apply("a1")))]), ["", "+a1"]);
        // the next list cannot have it
        assert_eq!(told(&mut round, &[(A, INIT), (A, DONE), (B, REFUSED)]), ["anew", "", "InitDone"]);
    }

    #[test]
    fn a_list_of_nothing_but_refusals_is_not_complete() {
        let mut round = Round::new(2);
        let steps = [(A, REFUSED), (B, REFUSED), (A, INIT), (A, DONE)];
        assert_eq!(told(&mut round, &steps), ["", "", "", "InitDone"]);
    }
}
