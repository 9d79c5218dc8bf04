//! Why a launched Pod does not start: from its conditions, its containers, and its Events. Pure.

use std::collections::HashMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Event};
use kubeopencode_api::condition::Reason;
use kubeopencode_api::literals::AGENT_CONTAINER;
use kubeopencode_api::report::cut;

use super::pod_outcome::{MAX_EXCERPT, condition};
use crate::cache::pod_view::PodView;

/// Why a Pod does not start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StartProblem {
    /// Reason of the condition `Started`.
    pub(crate) reason: Reason,
    /// Its message.
    pub(crate) message: String,
}

/// Longest UID of a Pod, in bytes; the API server's have 36.
const MAX_UID: usize = 64;
/// What kubelet says of an image that no pull brings, and a registry of one that it does not have.
const NO_IMAGE: [&str; 6] = [
    ": InvalidImageName: ",
    ": ErrImageNeverPull: ",
    ": not found",
    "manifest unknown",
    "name unknown",
    "does not exist",
];

/// Whether nothing but another Pod mends a problem, told with this reason and message.
pub(crate) fn is_final(reason: &str, message: &str) -> bool {
    reason == Reason::ImagePullFailed.as_str() && NO_IMAGE.iter().any(|no| message.contains(no))
}

/// The image that the agent's container waits for in vain.
pub(crate) fn missing_image(pod: &PodView) -> Option<&str> {
    let agent = pod.status.container_statuses.iter().find(|status| status.name == AGENT_CONTAINER)?;
    waiting_problem(agent).filter(|problem| problem.reason == Reason::ImagePullFailed)?;
    Some(agent.image.as_str()).filter(|image| !image.is_empty())
}

/// What its conditions and containers say.
pub(crate) fn of_pod(pod: &PodView) -> Option<StartProblem> {
    let gates: Vec<_> = pod.foreign_gates().collect();
    if !gates.is_empty() {
        let message = format!("the Pod is held back by scheduling gates: {}", gates.join(", "));
        return Some(StartProblem { reason: Reason::Unschedulable, message });
    }
    let unscheduled = condition(pod, "PodScheduled").filter(|c| c.status == "False");
    if let Some(condition) = unscheduled.filter(|c| c.reason.as_deref() == Some("Unschedulable")) {
        let words = condition.message.as_deref().unwrap_or("no node takes the Pod");
        return Some(StartProblem { reason: Reason::Unschedulable, message: words.to_owned() });
    }
    let statuses = pod.status.init_container_statuses.iter().chain(&pod.status.container_statuses);
    statuses.filter_map(waiting_problem).next()
}

fn waiting_problem(status: &ContainerStatus) -> Option<StartProblem> {
    let waiting = status.state.as_ref()?.waiting.as_ref()?;
    let word = waiting.reason.as_deref()?;
    let reason = match word {
        "ErrImagePull"
        | "ImagePullBackOff"
        | "InvalidImageName"
        | "ErrImageNeverPull"
        | "ImageInspectError"
        | "RegistryUnavailable" => Reason::ImagePullFailed,
        "CreateContainerConfigError"
        | "CreateContainerError"
        | "RunContainerError"
        | "PreCreateHookError"
        | "PostStartHookError" => Reason::ContainerConfigError,
        _ => return None,
    };
    let words = waiting.message.as_deref().unwrap_or_default();
    let message = format!("container \"{}\": {word}: {}", status.name, cut(words, MAX_EXCERPT));
    Some(StartProblem { reason, message })
}

/// Why Pods that have a node do not begin, by their UIDs, from their Events: a volume that cannot be mounted, a sandbox that
/// cannot be made. Nothing else shows these. The newest one of a Pod counts, and nothing else is kept: whoever may make Events
/// makes as many as he likes, and large ones.
#[derive(Debug, Default)]
pub(crate) struct ToldByEvents(HashMap<String, (Option<Timestamp>, StartProblem)>);

impl ToldByEvents {
    /// Takes in an Event of a Pod.
    pub(crate) fn hear(&mut self, event: &Event) {
        let Some(pod) = event.involved_object.uid.as_ref().filter(|uid| uid.len() <= MAX_UID) else { return };
        let reason = match event.reason.as_deref() {
            Some("FailedMount" | "FailedAttachVolume" | "FailedMapVolume") => Reason::VolumeNotReady,
            Some("FailedCreatePodSandBox") => Reason::ContainerConfigError,
            _ => return,
        };
        let at = event.last_timestamp.as_ref().map(|t| t.0);
        let at = at.or_else(|| event.event_time.as_ref().map(|t| t.0));
        if self.0.get(pod).is_some_and(|(known, _)| *known > at) {
            return;
        }
        let words = event.message.as_deref().unwrap_or_default();
        let problem = StartProblem { reason, message: cut(words, MAX_EXCERPT).to_owned() };
        self.0.insert(pod.clone(), (at, problem));
    }

    /// All of them.
    pub(crate) fn problems(self) -> HashMap<String, StartProblem> {
        self.0.into_iter().map(|(pod, (_, problem))| (pod, problem)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(status: Value) -> PodView {
        serde_json::from_value(json!({"metadata": {"name": "fix-pod"}, "status": status})).unwrap()
    }

    fn status(name: &str, state: Value) -> Value {
        json!({"name": name, "state": state, "image": "", "imageID": "", "ready": false, "restartCount": 0})
    }

    #[test]
    fn the_problem_is_named_while_the_pod_waits() {
        for (given, reason, words) in [
            (
                json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}]}),
                Reason::Unschedulable,
                "0/1 nodes",
            ),
            (
                json!({"phase": "Pending", "initContainerStatuses": [status("opencode-init", json!({"waiting": {"reason": "ImagePullBackOff", "message": "Back-off"}}))]}),
                Reason::ImagePullFailed,
                "container \"opencode-init\": ImagePullBackOff: Back-off",
            ),
            (
                json!({"phase": "Pending", "containerStatuses": [status("agent", json!({"waiting": {"reason": "CreateContainerConfigError", "message": "secret \"x\" not found"}}))]}),
                Reason::ContainerConfigError,
                "secret \"x\" not found",
            ),
        ] {
            let problem = of_pod(&pod(given)).unwrap();
            assert_eq!(problem.reason, reason);
            assert!(problem.message.contains(words), "{}", problem.message);
        }
        let running =
            json!({"phase": "Running", "containerStatuses": [status("agent", json!({"running": {}}))]});
        assert_eq!(of_pod(&pod(running)), None);
    }

    #[test]
    fn the_image_that_the_agent_waits_for_is_known() {
        let with = |word: &str| {
            let mut agent = status("agent", json!({"waiting": {"reason": word}}));
            agent["image"] = json!("r.example/typo:1");
            let mut pod = pod(json!({"phase": "Pending", "containerStatuses": [agent]}));
            pod.slim();
            pod
        };
        assert_eq!(missing_image(&with("ImagePullBackOff")), Some("r.example/typo:1"));
        assert_eq!(missing_image(&with("PodInitializing")), None);
    }

    #[test]
    fn what_no_pull_mends_is_final() {
        for (word, words, is_final) in [
            (
                "InvalidImageName",
                "Failed to apply default image tag: couldn't parse image name \"Team/Box\"",
                true,
            ),
            ("ErrImageNeverPull", "image is not present with pull policy of Never", true),
            ("ErrImagePull", "failed to resolve reference \"r.example/a:1\": r.example/a:1: not found", true),
            ("ImagePullBackOff", "Back-off pulling image: ErrImagePull: manifest unknown", true),
            ("ErrImagePull", "dial tcp: lookup r.example: no such host", false),
            ("ErrImagePull", "401 Unauthorized", false),
            ("CreateContainerConfigError", "secret \"x\": not found", false),
        ] {
            let waiting = json!({"waiting": {"reason": word, "message": words}});
            let pod = pod(json!({"phase": "Pending", "containerStatuses": [status("agent", waiting)]}));
            let StartProblem { reason, message } = of_pod(&pod).unwrap();
            assert_eq!(self::is_final(reason.as_str(), &message), is_final, "{message}");
        }
    }

    #[test]
    fn the_newest_event_that_explains_the_silence_counts() {
        let event = |reason: &str, second: &str, message: &str| -> Event {
            serde_json::from_value(
                json!({"metadata": {}, "involvedObject": {"uid": "p"}, "reason": reason, "message": message,
                "lastTimestamp": format!("2026-01-01T00:00:{second}Z")}),
            )
            .unwrap()
        };
        let told = |events: &[Event]| {
            let mut told = ToldByEvents::default();
            events.iter().for_each(|event| told.hear(event));
            told.problems()
        };
        let mut events = [
            event("FailedCreatePodSandBox", "01", "no runtime for \"gvisor\""),
            event("FailedMount", "05", "secret \"ssh-keys\" not found"),
            event("Scheduled", "09", "assigned"),
        ];
        for _ in 0..2 {
            let problem = &told(&events)["p"];
            assert_eq!(
                (problem.reason, problem.message.as_str()),
                (Reason::VolumeNotReady, "secret \"ssh-keys\" not found")
            );
            // in whichever order they are listed
            events.reverse();
        }
        assert_eq!(told(&events[..1])["p"].reason, Reason::ContainerConfigError);
        assert!(told(&events[2..]).is_empty());
        let mut foreign = event("FailedMount", "07", &"x".repeat(100_000));
        foreign.involved_object.uid = Some("other".to_owned());
        let both = told(&[events[1].clone(), foreign.clone()]);
        assert_eq!(both["p"].reason, Reason::VolumeNotReady, "of each Pod its own");
        assert!(both["other"].message.len() <= MAX_EXCERPT, "{}", both["other"].message.len());
        foreign.involved_object.uid = Some("u".repeat(100_000));
        assert!(told(&[foreign]).is_empty(), "no Pod has such a UID");
    }
}
