//! From the objects of the files to those that the operator would make.
//!
//! May touch: the operator's own evaluation and the plan. Must not touch: how an object is read or printed.

use k8s_openapi::api::core::v1::ConfigMap;
use kubeopencode_api::agent::Agent;
use kubeopencode_api::condition::Reason;
use kubeopencode_api::names::ObjectKey;
use kubeopencode_api::task::Task;
use kubeopencode_evaluate::{
    CallObserver, ConfigMapReader, EvaluateError, Planned, Snapshot, evaluate, evaluate_server,
};
use kubeopencode_plan::frontend::{self, kubeopencode};
use kubeopencode_plan::{ExecutionPlan, Refusal, ServerObjects, Settings};

use super::kubetask::{self, Found};
use super::objects::Objects;
use crate::error::CliError;
use crate::yaml::document;

/// What is printed.
#[derive(Debug, Default)]
pub(super) struct Rendered {
    pub(super) documents: Vec<String>,
    pub(super) warnings: Vec<String>,
}

/// The operator without a cluster.
pub(crate) struct Offline<'a> {
    pub(crate) snapshot: Snapshot,
    pub(crate) objects: &'a Objects,
    pub(crate) operator_namespace: &'a str,
    pub(crate) cluster_domain: &'a str,
}

impl ConfigMapReader for Objects {
    /// Why the cluster's could not be read.
    type Error = String;

    async fn get(&self, key: &ObjectKey) -> Result<Option<ConfigMap>, String> {
        match (self.config_maps.get(key), &self.cluster) {
            (Some(map), _) => Ok(Some(map.clone())),
            (None, None) => Ok(None),
            (None, Some(cluster)) => cluster.config_map(key).await,
        }
    }
}

impl Offline<'_> {
    /// The servers of the Agents, then ConfigMaps and Pod of each Task.
    ///
    /// # Errors
    /// Everything that cannot run, in the words of its condition.
    pub(super) async fn render(&self) -> Result<Rendered, CliError> {
        let (mut rendered, mut refused) = (Rendered::default(), Vec::new());
        for (place, agent) in &self.objects.agents {
            if agent.spec.server_config.is_none() {
                continue;
            }
            match self.server(agent, &()).await {
                Ok(server) => {
                    for map in &server.config_maps {
                        rendered.documents.push(document(map)?);
                    }
                    rendered.documents.push(document(&server.deployment)?);
                    rendered.documents.push(document(&server.service)?);
                    rendered.documents.push(document(&server.network_policy)?);
                    rendered.warn(place, &server.notices);
                }
                Err(refusal) => refused.push(format!("{place}: {}: {refusal}", refusal.reason)),
            }
        }
        for (place, task) in &self.objects.tasks {
            match self.plan(task, &()).await {
                Ok(planned) => rendered.add(place, &planned.plan)?,
                Err(refusal) => refused.push(format!("{place}: {}: {refusal}", refusal.reason)),
            }
        }
        for found in kubetask::tasks(self.objects) {
            let found = match found {
                Ok(found) => found,
                Err(problem) => {
                    refused.push(problem);
                    continue;
                }
            };
            match self.plan_kubetask(&found).await {
                Ok(planned) => rendered.add(&found.place, &planned.plan)?,
                Err(refusal) => refused.push(format!("{}: {}: {refusal}", found.place, refusal.reason)),
            }
        }
        if refused.is_empty() { Ok(rendered) } else { Err(CliError::Refused(refused)) }
    }

    /// What the operator would make for a Task; the observer hears of all that plugins are asked.
    ///
    /// # Errors
    /// Why it cannot run, in the words of its condition.
    pub(crate) async fn plan(&self, task: &Task, observer: &impl CallObserver) -> Result<Planned, Refusal> {
        let key = kubeopencode::spec_agent(task)?;
        let agent = self.objects.agent(&key).ok_or_else(|| Refusal::agent_not_found(&key))?;
        let settings = self.settings(task.metadata.namespace.as_deref().unwrap_or_default(), &key.namespace);
        let run = kubeopencode::task(task, agent, &settings)?;
        evaluate(&self.snapshot, self.objects, observer, run, None).await.map_err(|error| self.refusal(error))
    }

    async fn plan_kubetask(&self, found: &Found<'_>) -> Result<Planned, Refusal> {
        let task = &*found.task;
        let namespace = task.metadata.namespace.as_deref().unwrap_or_default();
        let workspace = self.objects.workspace(namespace, frontend::kubetask::workspace_name(task));
        if workspace.is_none() && frontend::kubetask::is_explicit(task) {
            return Err(frontend::kubetask::workspace_not_found(task));
        }
        let settings = self.settings(namespace, namespace);
        let run = frontend::kubetask::task(task, found.batch, workspace, &settings)?;
        evaluate(&self.snapshot, self.objects, &(), run, None).await.map_err(|error| self.refusal(error))
    }

    /// What the operator would make for a Task of this Agent that has nothing but a prompt.
    ///
    /// # Errors
    /// Why it has none, in the words of the Agent's condition.
    pub(crate) async fn agent(&self, agent: &Agent) -> Result<Planned, Refusal> {
        let namespace = agent.metadata.namespace.as_deref().unwrap_or_default();
        let run = kubeopencode::agent_alone(agent, &self.settings(namespace, namespace))?;
        evaluate(&self.snapshot, self.objects, &(), run, None).await.map_err(|error| self.refusal(error))
    }

    /// The objects of an Agent's server.
    ///
    /// # Errors
    /// Why it has none, in the words of its condition.
    pub(crate) async fn server(
        &self,
        agent: &Agent,
        observer: &impl CallObserver,
    ) -> Result<ServerObjects, Refusal> {
        let namespace = agent.metadata.namespace.as_deref().unwrap_or_default();
        let run = kubeopencode::server(agent, &self.settings(namespace, namespace))?;
        let server = evaluate_server(&self.snapshot, self.objects, observer, run, None).await;
        server.map(|server| server.objects).map_err(|error| self.refusal(error))
    }

    /// Nothing comes later here: what is missing is refused.
    fn refusal(&self, error: EvaluateError<String>) -> Refusal {
        match error {
            EvaluateError::Read(why) => Refusal::context(why),
            EvaluateError::NoPlugin { mut refusal, .. } => {
                let custom = self.snapshot.custom_types();
                if !custom.is_empty() {
                    refusal.message += &format!("; of plugins there is {}", custom.join(", "));
                }
                refusal
            }
            EvaluateError::Refused(refusal)
            | EvaluateError::Missing(refusal)
            | EvaluateError::NotYet(refusal) => refusal,
            EvaluateError::Busy(_) | EvaluateError::NoMemory => Refusal::plugin(error.to_string()),
        }
    }

    fn settings(&self, task_namespace: &str, pod_namespace: &str) -> Settings {
        let [task, pod, operator] = [task_namespace, pod_namespace, self.operator_namespace]
            .map(|namespace| self.objects.config(namespace).into());
        Settings::resolve(task, pod, operator).in_cluster_of(self.cluster_domain)
    }
}

impl Rendered {
    fn add(&mut self, place: &str, plan: &ExecutionPlan) -> Result<(), CliError> {
        for map in &plan.config_maps {
            self.documents.push(document(map)?);
        }
        self.documents.push(document(&plan.pod)?);
        self.warn(place, &plan.notices);
        Ok(())
    }

    fn warn(&mut self, place: &str, notices: &[(Reason, String)]) {
        self.warnings.extend(notices.iter().map(|(reason, message)| format!("{place}: {reason}: {message}")));
    }
}
