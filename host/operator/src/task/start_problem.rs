//! Why a launched Pod does not start: from its conditions, its containers, and its Events. Pure.

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

/// Why a Pod that has a node does not begin, from its Events: a volume that cannot be mounted, a sandbox that cannot
/// be made. Nothing else shows these. The newest one counts.
pub(crate) fn in_events(events: &[Event]) -> Option<StartProblem> {
    let problems = events.iter().filter_map(|event| {
        let reason = match event.reason.as_deref()? {
            "FailedMount" | "FailedAttachVolume" | "FailedMapVolume" => Reason::VolumeNotReady,
            "FailedCreatePodSandBox" => Reason::ContainerConfigError,
            _ => return None,
        };
        let at = event.last_timestamp.as_ref().map(|t| t.0);
        let at = at.or_else(|| event.event_time.as_ref().map(|t| t.0));
        let words = event.message.as_deref().unwrap_or_default();
        Some((at, StartProblem { reason, message: cut(words, MAX_EXCERPT).to_owned() }))
    });
    problems.max_by_key(|(at, _)| *at).map(|(_, problem)| problem)
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
                json!({"metadata": {}, "involvedObject": {}, "reason": reason, "message": message,
                "lastTimestamp": format!("2026-01-01T00:00:{second}Z")}),
            )
            .unwrap()
        };
        let events = [
            event("FailedCreatePodSandBox", "01", "no runtime for \"gvisor\""),
            event("FailedMount", "05", "secret \"ssh-keys\" not found"),
            event("Scheduled", "09", "assigned"),
        ];
        let problem = in_events(&events).unwrap();
        assert_eq!(
            (problem.reason, problem.message.as_str()),
            (Reason::VolumeNotReady, "secret \"ssh-keys\" not found")
        );
        assert_eq!(in_events(&events[..1]).unwrap().reason, Reason::ContainerConfigError);
        assert_eq!(in_events(&events[2..]), None);
    }
}
