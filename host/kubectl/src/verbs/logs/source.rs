//! Which container of a Pod has what one wants to read now, and which lines of its log were read before.
//!
//! May touch: a Pod as it was seen, lines. Must not touch: a client.

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

/// The lines of one container, which are asked for again where the connection broke.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lines {
    /// Time of the newest line that was read.
    pub(crate) last: Option<Timestamp>,
    /// An answer begins with lines up to this time that were printed before.
    repeated: Option<Timestamp>,
    with_times: bool,
}

impl Lines {
    /// From the beginning.
    pub(crate) fn new(with_times: bool) -> Self {
        Self { with_times, ..Self::default() }
    }

    /// Since when the next answer has to have lines: the second of the last one, since the API server knows whole seconds, and
    /// kube would round up to one that begins after lines that nobody has read.
    pub(crate) fn again(&mut self) -> Option<Timestamp> {
        self.repeated = self.last;
        self.last.and_then(|last| Timestamp::from_second(last.as_second()).ok())
    }

    /// What is printed of a line that begins with its time; `None`: it was printed before. Lines of stdout and stderr may
    /// stand in another order than that of their times, and clocks are set back: only what is repeated is left out.
    pub(crate) fn read<'a>(&mut self, line: &'a [u8]) -> Option<&'a [u8]> {
        let space = line.iter().position(|byte| *byte == b' ');
        let time = space.and_then(|at| str::from_utf8(line.get(..at)?).ok()?.parse::<Timestamp>().ok());
        let Some((at, time)) = space.zip(time) else { return Some(line) };
        if self.repeated.is_some_and(|repeated| time <= repeated) {
            return None;
        }
        self.repeated = None;
        self.last = self.last.max(Some(time));
        if self.with_times { Some(line) } else { line.get(at + 1..) }
    }
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
        let mut lines = Lines::new(false);
        assert_eq!(lines.read(&line("1.5", "one")), Some(&b"one\n"[..]));
        assert_eq!(lines.read(&line("2.5", "two words")), Some(&b"two words\n"[..]));
        lines.again();
        assert_eq!(lines.read(&line("2.4", "one")), None);
        assert_eq!(lines.read(&line("2.5", "two words")), None);
        assert_eq!(lines.read(&line("3.5", "")), Some(&b"\n"[..]));
        assert_eq!(lines.read(b"without a time\n"), Some(&b"without a time\n"[..]));
        assert_eq!(lines.read(b"\xff\xff"), Some(&b"\xff\xff"[..]));
        let mut with_times = Lines::new(true);
        assert_eq!(with_times.read(&line("1.5", "one")), Some(&line("1.5", "one")[..]));
    }

    #[test]
    fn no_line_is_lost_that_is_older_than_the_one_before_it() {
        let mut lines = Lines::new(false);
        for (time, text) in
            [("2.5", "of stderr"), ("2.4", "of stdout"), ("2.4", "at the same time"), ("1.0", "set back")]
        {
            assert_eq!(lines.read(&line(time, text)), Some(format!("{text}\n").as_bytes()), "{text}");
        }
        lines.again();
        assert_eq!(lines.read(&line("2.5", "of stderr")), None);
        assert_eq!(lines.read(&line("2.4", "of stdout")), None);
        assert_eq!(lines.read(&line("2.6", "new")), Some(&b"new\n"[..]));
        assert_eq!(lines.read(&line("2.4", "new of stdout")), Some(&b"new of stdout\n"[..]));
    }

    #[test]
    fn what_was_written_after_the_last_line_in_its_second_is_asked_for() {
        let mut lines = Lines::new(false);
        assert_eq!(lines.again(), None);
        lines.read(&line("2.7", "one"));
        assert_eq!(lines.again(), Some("2026-11-27T10:00:02Z".parse().unwrap()));
    }
}
