//! What an Agent says of itself and its server. Pure.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt;
use kubeopencode_api::agent::{Agent, AgentStatus, ServerStatus};
use kubeopencode_api::condition::{AgentCondition, ConditionStatus, Conditions, Reason};
use kubeopencode_api::literals::PLAN_ANNOTATION;
use kubeopencode_api::names::AgentKey;
use kubeopencode_plan::Refusal;
use serde_json::{Value, json};

/// What a server that runs does not read.
const WAITING: &str =
    "; what changed in podSpec.labels and podSpec.annotations comes with its next replacement";

/// Whether a Task of an Agent could be launched, and what its owner should know although it could.
pub(crate) type Accepted = Result<Option<(Reason, String)>, Refusal>;

/// How a server stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerState {
    /// Names and address, as soon as the objects are there; `None` while they are not.
    server: Option<ServerStatus>,
    /// What the conditions say. Whatever else stands there is taken away.
    conditions: Vec<(AgentCondition, ConditionStatus, Reason, String)>,
}

impl ServerState {
    /// The Agent has no server (any more).
    pub(crate) fn none() -> Self {
        Self { server: None, conditions: Vec::new() }
    }

    /// And whether a Task of the Agent could be launched, and what is to be said of it then.
    pub(crate) fn accepted(mut self, accepted: &Accepted) -> Self {
        let (is, reason, message) = match accepted {
            Ok(Some((reason, message))) => (ConditionStatus::True, *reason, message.as_str()),
            Ok(None) => (
                ConditionStatus::True,
                Reason::Resolved,
                "Contexts, command builder and configuration are resolved",
            ),
            Err(refusal) => (ConditionStatus::False, refusal.reason, refusal.message.as_str()),
        };
        self.conditions.insert(0, (AgentCondition::Accepted, is, reason, message.to_owned()));
        self
    }

    /// Both objects are there, brought to the plan of this digest; the Deployment as the watch shows it, which may still
    /// be the one before. `waiting`: other labels of its Pods come with its next change.
    pub(crate) fn of(
        agent: &AgentKey,
        url: String,
        digest: &str,
        deployment: Option<&Deployment>,
        waiting: bool,
    ) -> Self {
        let name = super::deployment_name(&agent.name);
        let status = deployment.and_then(|deployment| deployment.status.as_ref());
        let ready = deployment.map_or(0, ready_replicas);
        let server = ServerStatus {
            url,
            deployment_name: name.clone(),
            service_name: agent.name.clone(),
            ready_replicas: ready,
        };
        let planned =
            deployment.is_some_and(|d| d.annotations().get(PLAN_ANNOTATION).is_some_and(|d| d == digest));
        let observed = status.and_then(|status| status.observed_generation);
        let current =
            planned && observed.is_some() && observed == deployment.and_then(|d| d.metadata.generation);
        // none of an older plan is left
        let updated = status.is_some_and(|status| status.updated_replicas == status.replicas);
        let failing = why_not(deployment);
        let ready_condition = if current && updated && ready > 0 {
            (
                AgentCondition::ServerReady,
                ConditionStatus::True,
                Reason::DeploymentReady,
                format!("Deployment \"{name}\" is ready{}", if waiting { WAITING } else { "" }),
            )
        } else {
            let message = match &failing {
                Some(why) => format!("Deployment \"{name}\" is not ready: {why}"),
                None => format!("Deployment \"{name}\" is not ready yet"),
            };
            (AgentCondition::ServerReady, ConditionStatus::False, Reason::DeploymentNotReady, message)
        };
        Self { server: Some(server), conditions: vec![ready_condition, healthy(deployment)] }
    }

    /// It cannot be brought to what the Agent says. What there is of it goes on as it was.
    pub(crate) fn held_up(
        agent: &Agent,
        deployment: Option<&Deployment>,
        reason: Reason,
        message: String,
    ) -> Self {
        let (server, message, healthy) = match deployment {
            None => {
                let words = "There is no server".to_owned();
                let unhealthy = (
                    AgentCondition::ServerHealthy,
                    ConditionStatus::False,
                    Reason::DeploymentUnhealthy,
                    words,
                );
                (None, message, unhealthy)
            }
            Some(deployment) => {
                let before = agent.status.as_ref().and_then(|status| status.server_status.clone());
                let server = before
                    .map(|before| ServerStatus { ready_replicas: ready_replicas(deployment), ..before });
                let message = format!("{message}; the server is still what it was before");
                (server, message, healthy(Some(deployment)))
            }
        };
        Self {
            server,
            conditions: vec![(AgentCondition::ServerReady, ConditionStatus::False, reason, message), healthy],
        }
    }

    /// The merge patch of `status` that says so, or `None` where it says so already.
    pub(crate) fn patch(
        &self,
        status: &AgentStatus,
        generation: Option<i64>,
        now: Timestamp,
    ) -> Option<Value> {
        let mut conditions = status.conditions.clone();
        conditions.retain(|known| self.conditions.iter().any(|(type_, ..)| type_.as_str() == known.type_));
        let mut builder = Conditions::new(&mut conditions, generation, now);
        for (type_, status, reason, message) in &self.conditions {
            builder.set(*type_, *status, *reason, message);
        }
        if conditions == status.conditions && self.server == status.server_status {
            return None;
        }
        let conditions = if conditions.is_empty() { Value::Null } else { json!(conditions) };
        Some(json!({"serverStatus": self.server, "conditions": conditions}))
    }
}

fn ready_replicas(deployment: &Deployment) -> i32 {
    deployment.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0)
}

/// The condition ServerHealthy: while a server starts nobody knows yet.
fn healthy(deployment: Option<&Deployment>) -> (AgentCondition, ConditionStatus, Reason, String) {
    let (is, reason, message) = match deployment {
        Some(deployment) if ready_replicas(deployment) > 0 => {
            (ConditionStatus::True, Reason::DeploymentHealthy, "The server answers its probes")
        }
        _ => {
            let is = if starts(deployment) { ConditionStatus::Unknown } else { ConditionStatus::False };
            (is, Reason::DeploymentUnhealthy, "No server answers its probes")
        }
    };
    (AgentCondition::ServerHealthy, is, reason, message.to_owned())
}

/// Whether the newest Pod is on its way, for the first time.
fn starts(deployment: Option<&Deployment>) -> bool {
    let conditions = deployment.and_then(|d| d.status.as_ref()?.conditions.as_deref()).unwrap_or_default();
    let progress = conditions.iter().find(|c| c.type_ == "Progressing");
    let on_its_way =
        progress.is_none_or(|c| c.status == "True" && c.reason.as_deref() != Some("NewReplicaSetAvailable"));
    on_its_way && why_not(deployment).is_none()
}

/// What the Deployment's own conditions say.
fn why_not(deployment: Option<&Deployment>) -> Option<String> {
    let conditions = deployment?.status.as_ref()?.conditions.as_ref()?;
    let failing = conditions.iter().find(|c| {
        (c.type_ == "ReplicaFailure" && c.status == "True")
            || (c.type_ == "Progressing" && c.status == "False")
    });
    failing.and_then(|c| c.message.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "http://slack-agent.platform.svc.cluster.local:4096";

    fn agent() -> AgentKey {
        AgentKey::new("platform", "slack-agent")
    }

    /// The Deployment of plan `new`, unless it says otherwise.
    fn state(generation: i64, status: Value) -> ServerState {
        state_of("new", generation, status)
    }

    fn state_of(plan: &str, generation: i64, status: Value) -> ServerState {
        let metadata = json!({"generation": generation, "annotations": {PLAN_ANNOTATION: plan}});
        let deployment: Deployment =
            serde_json::from_value(json!({"metadata": metadata, "status": status})).unwrap();
        ServerState::of(&agent(), URL.to_owned(), "new", Some(&deployment), false)
    }

    fn said(state: &ServerState) -> Vec<String> {
        let text = |(type_, is, reason, message): &(AgentCondition, ConditionStatus, Reason, String)| {
            format!("{type_}={is:?} {reason}: {message}")
        };
        state.conditions.iter().map(text).collect()
    }

    #[test]
    fn a_new_deployment_has_an_address_before_it_is_ready() {
        let state = ServerState::of(&agent(), URL.to_owned(), "new", None, false);
        let server = state.server.clone().unwrap();
        assert_eq!(server.url, URL);
        assert_eq!(
            (server.deployment_name.as_str(), server.service_name.as_str()),
            ("slack-agent-server", "slack-agent")
        );
        assert_eq!(
            said(&state),
            [
                "ServerReady=False DeploymentNotReady: Deployment \"slack-agent-server\" is not ready yet",
                "ServerHealthy=Unknown DeploymentUnhealthy: No server answers its probes"
            ]
        );
    }

    #[test]
    fn it_is_ready_when_the_newest_plan_is_and_healthy_while_an_older_one_answers() {
        let one = json!({"observedGeneration": 2, "replicas": 1, "readyReplicas": 1, "updatedReplicas": 1});
        assert!(said(&state(2, one.clone()))[0].starts_with("ServerReady=True DeploymentReady"));
        let older_is_left =
            json!({"observedGeneration": 2, "replicas": 2, "readyReplicas": 1, "updatedReplicas": 1});
        for (case, state) in [
            ("nobody has looked at the new plan yet", state(3, one.clone())),
            ("the watch still shows the Deployment before", state_of("old", 2, one)),
            ("the Pod that answers may be an older one", state(2, older_is_left)),
        ] {
            let said = said(&state);
            assert!(said[0].starts_with("ServerReady=False"), "{case}: {said:?}");
            assert!(said[1].starts_with("ServerHealthy=True"), "{case}: {said:?}");
        }
    }

    #[test]
    fn while_it_starts_nobody_knows_and_one_that_fell_silent_is_not_healthy() {
        let pod_made = |progress: &str| {
            let progressing = json!({"type": "Progressing", "status": "True", "reason": progress});
            json!({"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "conditions": [progressing]})
        };
        let starts = said(&state(1, pod_made("ReplicaSetUpdated")));
        assert!(starts[0].starts_with("ServerReady=False") && starts[1].starts_with("ServerHealthy=Unknown"));
        assert!(said(&state(1, pod_made("NewReplicaSetAvailable")))[1].starts_with("ServerHealthy=False"));
    }

    #[test]
    fn what_cannot_be_changed_goes_on_as_it_was() {
        let before = state(
            1,
            json!({"observedGeneration": 1, "replicas": 1, "readyReplicas": 1, "updatedReplicas": 1}),
        );
        let patch = before.patch(&AgentStatus::default(), Some(1), Timestamp::UNIX_EPOCH).unwrap();
        let agent = Agent { status: Some(serde_json::from_value(patch).unwrap()), ..Agent::default() };
        let runs: Deployment =
            serde_json::from_value(json!({"metadata": {}, "status": {"readyReplicas": 1}})).unwrap();
        let words = || "ConfigMap c not found".to_owned();
        let held_up = ServerState::held_up(&agent, Some(&runs), Reason::ContextError, words());
        assert_eq!(held_up.server, before.server, "whoever reads its URL keeps it");
        let expected = [
            "ServerReady=False ContextError: ConfigMap c not found; the server is still what it was before",
            "ServerHealthy=True DeploymentHealthy: The server answers its probes",
        ];
        assert_eq!(said(&held_up), expected);
        let silent = Deployment::default();
        let silent = ServerState::held_up(&agent, Some(&silent), Reason::ContextError, words());
        assert_eq!(
            silent.server.map(|server| server.ready_replicas),
            Some(0),
            "its URL, and that nobody answers"
        );
        let never_made = ServerState::held_up(&agent, None, Reason::ContextError, words());
        assert_eq!(never_made.server, None);
        assert!(said(&never_made)[1].ends_with("There is no server"));
    }

    #[test]
    fn the_deployments_own_words_are_told() {
        let refused = json!({"conditions": [
            {"type": "ReplicaFailure", "status": "True", "message": "pods is forbidden: exceeded quota"}]});
        let refused = said(&state(1, refused));
        assert!(refused[0].ends_with("is not ready: pods is forbidden: exceeded quota"), "{refused:?}");
        assert!(refused[1].starts_with("ServerHealthy=False"), "it is not on its way: {refused:?}");
        for (is, words) in [("False", "is not ready: it has timed out"), ("True", "is not ready yet")] {
            let progress = json!({"type": "Progressing", "status": is, "message": "it has timed out"});
            let said = said(&state(1, json!({"conditions": [progress]})));
            assert!(said[0].ends_with(words), "{said:?}");
        }
    }

    #[test]
    fn what_is_said_already_is_not_written_again_and_what_is_gone_is_cleared() {
        let state = ServerState::of(&agent(), URL.to_owned(), "new", None, false);
        let now = Timestamp::from_second(0).unwrap();
        let patch = state.patch(&AgentStatus::default(), Some(1), now).unwrap();
        let written: AgentStatus = serde_json::from_value(patch).unwrap();
        assert_eq!(state.patch(&written, Some(1), Timestamp::from_second(9).unwrap()), None);
        let moved = ServerState::of(&agent(), "http://elsewhere:4096".to_owned(), "new", None, false);
        assert!(
            moved.patch(&written, Some(1), now).is_some(),
            "the conditions are the same, the address is not"
        );
        let cleared = ServerState::none().patch(&written, Some(2), now).unwrap();
        assert_eq!(cleared, json!({"serverStatus": null, "conditions": null}));
        assert_eq!(ServerState::none().patch(&AgentStatus::default(), Some(2), now), None);
    }

    #[test]
    fn whether_an_agent_is_accepted_outlives_its_server() {
        let refusal = || Refusal::invalid_config("Agent platform/slack-agent: spec.config: why");
        let state = ServerState::of(&agent(), URL.to_owned(), "new", None, false).accepted(&Err(refusal()));
        assert_eq!(
            said(&state)[0],
            "Accepted=False InvalidConfig: Agent platform/slack-agent: spec.config: why"
        );
        assert_eq!(state.conditions.len(), 3);
        let now = Timestamp::from_second(0).unwrap();
        let patch = state.patch(&AgentStatus::default(), Some(1), now).unwrap();
        let written: AgentStatus = serde_json::from_value(patch).unwrap();
        let without = ServerState::none().accepted(&Ok(None));
        let patch = without.patch(&written, Some(2), now).unwrap();
        let written: AgentStatus = serde_json::from_value(patch).unwrap();
        let left: Vec<_> = written.conditions.iter().map(|c| (c.type_.as_str(), c.status.as_str())).collect();
        assert_eq!(left, [("Accepted", "True")]);
        assert_eq!(without.patch(&written, Some(2), now), None);
    }
}
