//! The server of a server-mode Agent: Deployment, Service, NetworkPolicy and the ConfigMaps that its Pods mount.
//!
//! May touch: the layout. Must not touch: who else has an object of such a name, which the operator looks at.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment};
use k8s_openapi::api::core::v1::{
    ConfigMap, Container, ContainerPort, ExecAction, HTTPGetAction, Lifecycle, LifecycleHandler, PodSpec,
    PodTemplateSpec, Probe, Service, ServicePort, ServiceSpec, TCPSocketAction,
};
use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kubeopencode_api::condition::Reason;
use kubeopencode_api::literals::{AGENT_LABEL, APP_LABEL, POD_SPEC_ANNOTATION};

use super::layout::Layout;
use super::optional::leave_out;
use super::{Sorted, agent, annotate, config_map, digest, notices, owner, pod_spec, some_map, sorted};
use crate::Refusal;
use crate::evaluated::Evaluated;
use crate::run::{Run, Subject};
use crate::validate::ServerCommand;

/// The container that serves.
const CONTAINER: &str = "opencode-server";
/// Name of its port, of the container's and the Service's.
const PORT: &str = "http";
/// Seconds between two looks at a server that starts, and at one that runs.
const STARTUP_PERIOD: i32 = 2;
const PERIOD: i32 = 10;
/// Seconds that it may take to answer: a busy one is not a dead one.
const ANSWER: i32 = 5;
/// Seconds that it has to end: it keeps nothing that would be lost, and one that hears no signal must not outlive a change
/// for long.
const GRACE: i64 = 10;
/// Looks until a server that does not start is started again: ten minutes, as long as Tasks wait for it.
const STARTUP_LOOKS: i32 = 300;

/// What is to be made for a server-mode Agent. All of it is owned by the Agent.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerObjects {
    /// `<agent>-server`, one replica.
    pub deployment: Deployment,
    /// `<agent>`.
    pub service: Service,
    /// `<agent>-server`: only Pods of Tasks reach the port.
    pub network_policy: NetworkPolicy,
    /// What its Pods mount, immutable; another content has another name, so that a change rolls the Deployment.
    pub config_maps: Vec<ConfigMap>,
    /// `http://<agent>.<namespace>.svc.<cluster domain>:<port>`
    pub url: String,
    /// `sha256:` and the digest of all of them; they and the Pod template carry it as an annotation.
    pub digest: String,
    /// What the user should know although all went well.
    pub notices: Vec<(Reason, String)>,
}

impl ServerObjects {
    /// Labels and annotations of Pods are none that a server reads. Where nothing else changed, its Pods keep those that they
    /// have, so that no Task loses the server that it works in. Says whether there are others waiting for the next change.
    pub fn keep_pod_metadata(&mut self, there: &Deployment) -> bool {
        let digest = |deployment: &Deployment| {
            deployment.metadata.annotations.as_ref().and_then(|all| all.get(POD_SPEC_ANNOTATION).cloned())
        };
        if digest(there).is_none() || digest(there) != digest(&self.deployment) {
            return false;
        }
        let (Some(planned), Some(there)) = (self.deployment.spec.as_mut(), there.spec.as_ref()) else {
            return false;
        };
        let (new, old) = (&mut planned.template.metadata, &there.template.metadata);
        let parts = |of: &Option<ObjectMeta>| {
            let of = of.clone().unwrap_or_default();
            (of.labels.unwrap_or_default(), of.annotations.unwrap_or_default())
        };
        let (labels, annotations) = parts(old);
        let differs = parts(new) != (labels.clone(), annotations.clone());
        *new = Some(ObjectMeta {
            labels: Some(labels),
            annotations: some_map(annotations),
            ..ObjectMeta::default()
        });
        differs
    }
}

/// Makes the objects of an Agent's server.
///
/// # Errors
/// Contexts that cannot be there together or are too much, and variables that are set twice.
pub fn build_server(
    run: &Run,
    contexts: &[Evaluated],
    server: &ServerCommand,
) -> Result<ServerObjects, Refusal> {
    let Subject::Server(own) = &run.subject else {
        return Err(Refusal::invalid_config(format!("{} is no server", run.described())));
    };
    let fewer;
    let (layout, contexts) = match Layout::new(run, contexts, &server.command) {
        Ok(layout) => (layout, contexts),
        Err(obstacle) => {
            fewer = leave_out(run, contexts, &server.command, obstacle)?;
            (
                Layout::new(run, &fewer, &server.command).map_err(|obstacle| obstacle.refusal)?,
                fewer.as_slice(),
            )
        }
    };
    let agent = run.agent.key.name.as_str();
    let content_digest = digest(&layout.config_maps())?;
    let hash = content_digest.trim_start_matches("sha256:").get(..8).unwrap_or_default();
    let name_of_map = |i: usize| match i {
        0 => format!("{agent}-server-context-{hash}"),
        i => format!("{agent}-server-context-{hash}-{i}"),
    };
    let port = i32::from(own.port);
    let worker = worker(&layout, port, server.health_path.as_deref().filter(|_| own.password.is_none()));
    let spec = PodSpec {
        termination_grace_period_seconds: run.agent.pod.termination_grace_period_seconds.or(Some(GRACE)),
        ..pod_spec(&layout, &name_of_map, worker)
    };
    let maps = layout.into_config_maps().into_iter().enumerate();
    let mut config_maps: Vec<_> =
        maps.map(|(i, data)| config_map(data, metadata(run, name_of_map(i)))).collect();
    let pod_spec = digest(&Sorted(&spec))?;
    let mut deployment = deployment(run, spec);
    let mut service = service(run, port);
    let mut network_policy = network_policy(run, port);
    let objects = (Sorted(&deployment), Sorted(&service), Sorted(&network_policy), sorted(&config_maps));
    let digest = digest(&objects)?;
    let metadata = [&mut service.metadata, &mut network_policy.metadata, &mut deployment.metadata];
    for metadata in config_maps.iter_mut().map(|map| &mut map.metadata).chain(metadata) {
        annotate(metadata, &digest);
    }
    deployment.metadata.annotations.get_or_insert_default().insert(POD_SPEC_ANNOTATION.to_owned(), pod_spec);
    let notices = notices(run, contexts, &server.command);
    Ok(ServerObjects {
        deployment,
        service,
        network_policy,
        config_maps,
        url: own.url.clone(),
        digest,
        notices,
    })
}

/// A server with a password answers nobody who does not know it, kubelet included: then only its port is looked at.
fn worker(layout: &Layout<'_>, port: i32, health_path: Option<&str>) -> Container {
    let named = || IntOrString::String(PORT.to_owned());
    let tcp = Probe {
        tcp_socket: Some(TCPSocketAction { port: named(), host: None }),
        period_seconds: Some(PERIOD),
        timeout_seconds: Some(ANSWER),
        ..Probe::default()
    };
    let healthy = match health_path {
        Some(path) => Probe {
            http_get: Some(HTTPGetAction {
                path: Some(path.to_owned()),
                port: named(),
                ..HTTPGetAction::default()
            }),
            period_seconds: Some(PERIOD),
            timeout_seconds: Some(ANSWER),
            ..Probe::default()
        },
        None => tcp.clone(),
    };
    Container {
        name: CONTAINER.to_owned(),
        ports: Some(vec![ContainerPort {
            name: Some(PORT.to_owned()),
            container_port: port,
            protocol: Some("TCP".to_owned()),
            ..ContainerPort::default()
        }]),
        startup_probe: Some(Probe {
            period_seconds: Some(STARTUP_PERIOD),
            failure_threshold: Some(STARTUP_LOOKS),
            ..healthy.clone()
        }),
        readiness_probe: Some(healthy),
        liveness_probe: Some(tcp),
        lifecycle: passes_no_signal(&layout.command.command).then(end_all_processes),
        ..agent::container(layout)
    }
}

/// A shell that is a container's first process ignores SIGTERM and tells its children nothing of it: each change of the
/// Agent would cost the whole grace period.
fn passes_no_signal(command: &[String]) -> bool {
    command.first().is_some_and(|program| matches!(program.as_str(), "sh" | "bash" | "/bin/sh" | "/bin/bash"))
}

fn end_all_processes() -> Lifecycle {
    let command = ["sh", "-c", "kill -TERM -1"].map(str::to_owned);
    let pre_stop = LifecycleHandler {
        exec: Some(ExecAction { command: Some(command.into()) }),
        ..LifecycleHandler::default()
    };
    Lifecycle { pre_stop: Some(pre_stop), ..Lifecycle::default() }
}

/// What leaves the Agent (a credential, a permission) leaves its server at once, and no Task reaches the one before.
/// `Recreate` would also wait until the one before has ended, and cannot be applied over a Deployment that rolls.
fn one_after_the_other() -> DeploymentStrategy {
    let rolling_update = RollingUpdateDeployment {
        max_surge: Some(IntOrString::Int(0)),
        max_unavailable: Some(IntOrString::Int(1)),
    };
    DeploymentStrategy { type_: Some("RollingUpdate".to_owned()), rolling_update: Some(rolling_update) }
}

fn deployment(run: &Run, spec: PodSpec) -> Deployment {
    let pod = &run.agent.pod;
    let mut labels = pod.labels.clone();
    labels.extend(labels_of(run));
    // nobody loses work for good by a server that moves, so nothing keeps its node from being drained but the Agent's word
    let annotations = some_map(pod.annotations.clone());
    Deployment {
        metadata: metadata(run, format!("{}-server", run.agent.key.name)),
        spec: Some(DeploymentSpec {
            replicas: Some(1),
            strategy: Some(one_after_the_other()),
            selector: LabelSelector { match_labels: Some(selector(run)), ..LabelSelector::default() },
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta { labels: Some(labels), annotations, ..ObjectMeta::default() }),
                spec: Some(spec),
            },
            ..DeploymentSpec::default()
        }),
        status: None,
    }
}

fn service(run: &Run, port: i32) -> Service {
    Service {
        metadata: metadata(run, run.agent.key.name.clone()),
        spec: Some(ServiceSpec {
            type_: Some("ClusterIP".to_owned()),
            selector: Some(selector(run)),
            ports: Some(vec![ServicePort {
                name: Some(PORT.to_owned()),
                port,
                protocol: Some("TCP".to_owned()),
                target_port: Some(IntOrString::String(PORT.to_owned())),
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

/// Whoever reaches the server works with the Agent's credentials.
fn network_policy(run: &Run, port: i32) -> NetworkPolicy {
    let pods = |labels| LabelSelector { match_labels: Some(labels), ..LabelSelector::default() };
    let app = run.conventions.group.names().app;
    let tasks = BTreeMap::from([(APP_LABEL.to_owned(), app.to_owned())]);
    NetworkPolicy {
        metadata: metadata(run, format!("{}-server", run.agent.key.name)),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(pods(selector(run))),
            policy_types: Some(vec!["Ingress".to_owned()]),
            ingress: Some(vec![NetworkPolicyIngressRule {
                from: Some(vec![NetworkPolicyPeer {
                    pod_selector: Some(pods(tasks)),
                    ..NetworkPolicyPeer::default()
                }]),
                ports: Some(vec![NetworkPolicyPort {
                    port: Some(IntOrString::Int(port)),
                    protocol: Some("TCP".to_owned()),
                    end_port: None,
                }]),
            }]),
            egress: None,
        }),
    }
}

fn selector(run: &Run) -> BTreeMap<String, String> {
    BTreeMap::from([(AGENT_LABEL.to_owned(), run.agent.key.name.clone())])
}

fn labels_of(run: &Run) -> BTreeMap<String, String> {
    let recommended = [
        ("name", "kubeopencode-server"),
        ("instance", &run.agent.key.name),
        ("component", "server"),
        ("managed-by", "kubeopencode"),
    ];
    let recommended =
        recommended.into_iter().map(|(key, value)| (format!("app.kubernetes.io/{key}"), value.to_owned()));
    recommended.chain(selector(run)).collect()
}

fn metadata(run: &Run, name: String) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: Some(run.agent.key.namespace.clone()),
        labels: Some(labels_of(run)),
        owner_references: Some(vec![owner(run, "Agent", &run.agent.key.name, &run.agent.uid)]),
        ..ObjectMeta::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(pod_spec: &str, label: &str) -> ServerObjects {
        let map = |key: &str, value: &str| Some(BTreeMap::from([(key.to_owned(), value.to_owned())]));
        let template = PodTemplateSpec {
            metadata: Some(ObjectMeta { labels: map("team", label), ..ObjectMeta::default() }),
            spec: None,
        };
        let deployment = Deployment {
            metadata: ObjectMeta { annotations: map(POD_SPEC_ANNOTATION, pod_spec), ..ObjectMeta::default() },
            spec: Some(DeploymentSpec { template, ..DeploymentSpec::default() }),
            status: None,
        };
        ServerObjects {
            deployment,
            service: Service::default(),
            network_policy: NetworkPolicy::default(),
            config_maps: Vec::new(),
            url: String::new(),
            digest: String::new(),
            notices: Vec::new(),
        }
    }

    #[test]
    fn a_label_alone_replaces_no_server_and_comes_with_the_next_change() {
        let there = planned("a", "old").deployment;
        for (pod_spec, label, waits, becomes) in
            [("a", "new", true, "old"), ("a", "old", false, "old"), ("b", "new", false, "new")]
        {
            let mut planned = planned(pod_spec, label);
            assert_eq!(planned.keep_pod_metadata(&there), waits, "{pod_spec} {label}");
            let labels = planned.deployment.spec.unwrap().template.metadata.unwrap().labels.unwrap();
            assert_eq!(labels["team"], becomes, "{pod_spec} {label}");
        }
        let mut from_before = planned("a", "old").deployment;
        from_before.metadata.annotations = None;
        assert!(
            !planned("a", "new").keep_pod_metadata(&from_before),
            "nobody knows what its Pods were planned as"
        );
    }
}
