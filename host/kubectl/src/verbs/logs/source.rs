//! Which container of a Pod has what one wants to read now, and which lines of its log were read before.
//!
//! May touch: a Pod as it was seen, lines. Must not touch: a client.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerState, Pod};
use kubeopencode_api::literals::AGENT_CONTAINER;

/// What is next for whoever follows a Pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// This container's log.
    Read(String),
    /// Nothing yet; what is waited for.
    Wait(String),
    /// Nothing more comes.
    Over,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Waiting(String),
    Running,
    Ended(i32),
}

/// The containers that run before the agent, each to its end, and the agent.
fn order(pod: &Pod) -> Vec<&str> {
    let init = pod.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten());
    let to_their_end = init.filter(|container| container.restart_policy.as_deref() != Some("Always"));
    to_their_end.map(|container| container.name.as_str()).chain([AGENT_CONTAINER]).collect()
}

/// The names of all containers.
pub(crate) fn names(pod: &Pod) -> Vec<&str> {
    let spec = pod.spec.iter();
    spec.flat_map(|spec| spec.init_containers.iter().flatten().chain(&spec.containers))
        .map(|container| container.name.as_str())
        .collect()
}

fn state(pod: &Pod, container: &str) -> State {
    let of = pod.status.as_ref();
    let statuses = of.into_iter().flat_map(|status| {
        status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten())
    });
    let found = statuses.into_iter().find(|status| status.name == container);
    match found.and_then(|status| status.state.as_ref()) {
        Some(ContainerState { running: Some(_), .. }) => State::Running,
        Some(ContainerState { terminated: Some(ended), .. }) => State::Ended(ended.exit_code),
        Some(ContainerState { waiting: Some(waiting), .. }) => {
            let words = [waiting.reason.as_deref(), waiting.message.as_deref()];
            State::Waiting(words.into_iter().flatten().collect::<Vec<_>>().join(": "))
        }
        _ => State::Waiting(String::new()),
    }
}

/// Whether no container of the Pod runs any more.
pub(crate) fn is_over(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// Whether a container will write nothing more.
pub(crate) fn has_ended(pod: &Pod, container: &str) -> bool {
    is_over(pod) || matches!(state(pod, container), State::Ended(_))
}

/// The containers that whoever begins to follow now has missed: what ended well before the agent.
pub(crate) fn missed(pod: &Pod) -> Vec<String> {
    let well = |name: &&&str| **name != AGENT_CONTAINER && state(pod, name) == State::Ended(0);
    order(pod).iter().filter(well).map(|name| (*name).to_owned()).collect()
}

/// What is next, after these containers.
pub(crate) fn next(pod: &Pod, only: Option<&str>, done: &[String]) -> Step {
    let order = only.map_or_else(|| order(pod), |only| vec![only]);
    for container in order.into_iter().filter(|name| done.iter().all(|done| done != name)) {
        match state(pod, container) {
            State::Running | State::Ended(_) => return Step::Read(container.to_owned()),
            State::Waiting(_) if is_over(pod) => {}
            State::Waiting(why) => return Step::Wait(waits(container, &why)),
        }
    }
    Step::Over
}

fn waits(container: &str, why: &str) -> String {
    match why {
        "" => format!("container {container} has not started"),
        why => format!("container {container} has not started: {why}"),
    }
}

/// The container that the phase of a Pod means: the agent once it has started, before that the init container that
/// runs or has failed, else the last one that ran.
///
/// # Errors
/// What is waited for, where none has started.
pub(crate) fn now(pod: &Pod) -> Result<String, String> {
    let order = order(pod);
    let started = order.iter().rev().find(|name| !matches!(state(pod, name), State::Waiting(_)));
    let failed = order.iter().find(|name| matches!(state(pod, name), State::Ended(code) if code != 0));
    let agent_started = started == Some(&AGENT_CONTAINER);
    match (started, failed) {
        (Some(_), Some(failed)) if !agent_started => Ok((*failed).to_owned()),
        (Some(started), _) => Ok((*started).to_owned()),
        (None, _) => {
            let first = order.first().copied().unwrap_or(AGENT_CONTAINER);
            let State::Waiting(why) = state(pod, first) else { return Ok(first.to_owned()) };
            Err(waits(first, &why))
        }
    }
}

/// Seconds that lines of stdout and stderr may stand out of the order of their times: so much before its last line a log that broke
/// off is asked for again.
const DISORDER: i64 = 5;

/// Lines as they came, by their times.
type ByTime = BTreeMap<Timestamp, Vec<Vec<u8>>>;

/// The lines of one container, which are asked for again where the connection broke.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    /// Time of the newest line that was read.
    pub(crate) last: Option<Timestamp>,
    /// Time of the oldest one.
    first: Option<Timestamp>,
    /// Those that were read and may come again.
    seen: ByTime,
    /// Those of them that this answer has not repeated yet.
    repeated: ByTime,
    /// What this answer has from before that time was not wanted.
    unwanted_before: Option<Timestamp>,
    /// A line that was read without its end.
    cut: Vec<u8>,
    with_times: bool,
    is_tail: bool,
}

impl Lines {
    /// From the beginning, or the last lines alone.
    pub(crate) fn new(with_times: bool, is_tail: bool) -> Self {
        Self { with_times, is_tail, ..Self::default() }
    }

    /// Since when the next answer has to have lines: some seconds before the last one, and whole seconds, since the API server knows
    /// no others and kube would round up.
    pub(crate) fn again(&mut self) -> Option<Timestamp> {
        self.repeated.clone_from(&self.seen);
        self.unwanted_before = self.first.filter(|_| self.is_tail);
        self.last.and_then(since)
    }

    /// What is printed of a line that begins with its time; `None`: it was printed before. A line may be older than one that was
    /// read before it, so that its time alone does not tell.
    pub(crate) fn read<'a>(&mut self, line: &'a [u8]) -> Option<&'a [u8]> {
        let space = line.iter().position(|byte| *byte == b' ');
        let time = space.and_then(|at| str::from_utf8(line.get(..at)?).ok()?.parse::<Timestamp>().ok());
        let Some((at, time)) = space.zip(time) else { return Some(line) };
        let is_unwanted = self.unwanted_before.is_some_and(|first| time < first);
        if is_unwanted || self.is_repeated(time, line) {
            return None;
        }
        let mut printed = if self.with_times { 0 } else { at + 1 };
        if !self.cut.is_empty() && line.starts_with(&self.cut) {
            printed = self.cut.len();
            self.cut.clear();
        }
        if !line.ends_with(b"\n") {
            self.cut = line.to_vec();
        }
        self.remember(time, line);
        line.get(printed..)
    }

    fn is_repeated(&mut self, time: Timestamp, line: &[u8]) -> bool {
        let Some(lines) = self.repeated.get_mut(&time) else { return false };
        let Some(at) = lines.iter().position(|known| known == line) else { return false };
        lines.swap_remove(at);
        true
    }

    /// What no answer will have again is forgotten.
    fn remember(&mut self, time: Timestamp, line: &[u8]) {
        self.seen.entry(time).or_default().push(line.to_vec());
        self.first = Some(self.first.map_or(time, |first| first.min(time)));
        self.last = self.last.max(Some(time));
        let since = self.last.and_then(since);
        while let Some(oldest) = self.seen.first_entry().filter(|oldest| Some(*oldest.key()) < since) {
            oldest.remove();
        }
    }
}

/// Since when a log is asked for again whose last line has this time.
fn since(last: Timestamp) -> Option<Timestamp> {
    Timestamp::from_second(last.as_second().saturating_sub(DISORDER)).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A Pod with a clone, `context-init`, a sidecar and the agent.
    fn pod(phase: &str, init: [Value; 2], agent: Value) -> Pod {
        let of = |name: &str, state: Value| json!({"name": name, "state": state, "image": "", "imageID": "", "ready": false, "restartCount": 0});
        let [clone, context] = init;
        serde_json::from_value(json!({
            "metadata": {"name": "fix-pod"},
            "spec": {
                "initContainers": [{"name": "git-init-0"}, {"name": "mesh", "restartPolicy": "Always"}, {"name": "context-init"}],
                "containers": [{"name": "agent"}],
            },
            "status": {
                "phase": phase,
                "initContainerStatuses": [
                    of("git-init-0", clone), of("mesh", json!({"running": {}})), of("context-init", context)],
                "containerStatuses": [of("agent", agent)],
            },
        }))
        .unwrap()
    }

    fn waiting() -> Value {
        json!({"waiting": {"reason": "PodInitializing"}})
    }

    fn running() -> Value {
        json!({"running": {}})
    }

    fn ended(code: i32) -> Value {
        json!({"terminated": {"exitCode": code}})
    }

    fn read(name: &str) -> Step {
        Step::Read(name.to_owned())
    }

    #[test]
    fn the_phase_means_one_container() {
        for (given, expected) in [
            (
                pod("Pending", [waiting(), waiting()], waiting()),
                Err("container git-init-0 has not started: PodInitializing"),
            ),
            (pod("Pending", [running(), waiting()], waiting()), Ok("git-init-0")),
            (pod("Pending", [ended(0), waiting()], waiting()), Ok("git-init-0")),
            (pod("Pending", [ended(0), running()], waiting()), Ok("context-init")),
            (pod("Failed", [ended(1), waiting()], waiting()), Ok("git-init-0")),
            (pod("Running", [ended(0), ended(0)], running()), Ok("agent")),
            (pod("Failed", [ended(0), ended(0)], ended(3)), Ok("agent")),
        ] {
            let expected = expected.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(now(&given), expected, "{given:?}");
        }
        assert_eq!(now(&Pod::default()), Err("container agent has not started".to_owned()));
    }

    #[test]
    fn who_follows_reads_each_in_its_turn() {
        let first = pod("Pending", [running(), waiting()], waiting());
        assert_eq!(missed(&first), Vec::<String>::new());
        assert_eq!(next(&first, None, &[]), read("git-init-0"));
        let done = ["git-init-0".to_owned()];
        let wait = Step::Wait("container context-init has not started: PodInitializing".to_owned());
        assert_eq!(next(&first, None, &done), wait);
        let late = pod("Running", [ended(0), ended(0)], running());
        assert_eq!(missed(&late), ["git-init-0", "context-init"]);
        assert_eq!(next(&late, None, &missed(&late)), read("agent"));
        assert_eq!(next(&late, Some("git-init-0"), &[]), read("git-init-0"));
        assert_eq!(next(&late, Some("git-init-0"), &done), Step::Over);
        let failed = pod("Failed", [ended(1), waiting()], waiting());
        assert_eq!(next(&failed, None, &missed(&failed)), read("git-init-0"));
        assert_eq!(next(&failed, None, &done), Step::Over);
        assert!(has_ended(&failed, "agent") && has_ended(&late, "git-init-0") && !has_ended(&late, "agent"));
        assert_eq!(names(&late), ["git-init-0", "mesh", "context-init", "agent"]);
    }

    fn line(time: &str, text: &str) -> Vec<u8> {
        format!("2026-11-27T10:00:0{time}Z {text}\n").into_bytes()
    }

    #[test]
    fn a_line_is_printed_once_whatever_the_connection_does() {
        let mut lines = Lines::new(false, false);
        assert_eq!(lines.read(&line("1.5", "one")), Some(&b"one\n"[..]));
        assert_eq!(lines.read(&line("2.5", "two words")), Some(&b"two words\n"[..]));
        lines.again();
        assert_eq!(lines.read(&line("1.5", "one")), None);
        assert_eq!(lines.read(&line("2.5", "two words")), None);
        assert_eq!(lines.read(&line("3.5", "")), Some(&b"\n"[..]));
        assert_eq!(lines.read(b"without a time\n"), Some(&b"without a time\n"[..]));
        assert_eq!(lines.read(b"\xff\xff"), Some(&b"\xff\xff"[..]));
        let mut with_times = Lines::new(true, false);
        assert_eq!(with_times.read(&line("1.5", "one")), Some(&line("1.5", "one")[..]));
    }

    #[test]
    fn no_line_is_lost_that_is_older_than_the_one_before_it() {
        let mut lines = Lines::new(false, false);
        for (time, text) in
            [("2.5", "of stderr"), ("2.4", "of stdout"), ("2.4", "at the same time"), ("1.0", "set back")]
        {
            assert_eq!(lines.read(&line(time, text)), Some(format!("{text}\n").as_bytes()), "{text}");
        }
        lines.again();
        // also where it is the first that comes after the connection broke
        assert_eq!(lines.read(&line("2.3", "new of stdout")), Some(&b"new of stdout\n"[..]));
        assert_eq!(lines.read(&line("2.5", "of stderr")), None);
        assert_eq!(lines.read(&line("2.5", "new at the same time")), Some(&b"new at the same time\n"[..]));
        assert_eq!(lines.read(&line("2.4", "of stdout")), None);
        assert_eq!(lines.read(&line("2.4", "of stdout")), Some(&b"of stdout\n"[..]), "twice the same");
        assert_eq!(lines.read(&line("2.6", "new")), Some(&b"new\n"[..]));
        lines.again();
        for (time, text) in [("2.3", "new of stdout"), ("2.4", "of stdout"), ("2.4", "of stdout")] {
            assert_eq!(lines.read(&line(time, text)), None, "{text}");
        }
        assert_eq!(lines.read(&line("2.4", "of stdout")), Some(&b"of stdout\n"[..]), "a third time");
    }

    #[test]
    fn who_wants_the_last_lines_alone_gets_no_older_ones_later() {
        let mut tail = Lines::new(false, true);
        assert_eq!(tail.again(), None);
        assert_eq!(tail.read(&line("2.5", "of stderr")), Some(&b"of stderr\n"[..]));
        assert_eq!(tail.read(&line("2.4", "of stdout")), Some(&b"of stdout\n"[..]));
        tail.again();
        assert_eq!(tail.read(&line("2.3", "before the last lines")), None);
        assert_eq!(tail.read(&line("2.4", "of stdout")), None);
        assert_eq!(tail.read(&line("2.5", "of stderr")), None);
        assert_eq!(tail.read(&line("2.6", "new")), Some(&b"new\n"[..]));
    }

    #[test]
    fn of_a_line_that_was_cut_off_the_rest_is_printed() {
        let whole = line("2.5", "one two");
        let mut lines = Lines::new(false, false);
        assert_eq!(lines.read(b"2026-11-27T10:00:02.5Z one"), Some(&b"one"[..]));
        lines.again();
        assert_eq!(lines.read(&whole), Some(&b" two\n"[..]));
        lines.again();
        assert_eq!(lines.read(&whole), None);
        assert_eq!(lines.read(&line("2.5", "one two three")), Some(&b"one two three\n"[..]));
    }

    #[test]
    fn what_may_be_older_than_the_last_line_is_asked_for() {
        let mut lines = Lines::new(false, false);
        assert_eq!(lines.again(), None);
        lines.read(&line("7.7", "one"));
        assert_eq!(lines.again(), Some("2026-11-27T10:00:02Z".parse().unwrap()));
        lines.read(&line("1.5", "will not come again"));
        lines.read(&line("2.5", "may come again"));
        let times: Vec<_> = lines.seen.keys().map(Timestamp::to_string).collect();
        assert_eq!(times, ["2026-11-27T10:00:02.5Z", "2026-11-27T10:00:07.7Z"]);
    }
}
