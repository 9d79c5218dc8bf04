//! From a YAML file with Task, Agent, configs and ConfigMaps to a plan.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use kubeopencode_api::agent::Agent;
use kubeopencode_api::config::KubeOpenCodeConfig;
use kubeopencode_api::plugin::{BuildRequest, CommandPlan, Entry, Plan};
use kubeopencode_api::task::Task;
use kubeopencode_plan::frontend::kubeopencode;
use kubeopencode_plan::{
    Evaluated, ExecutionPlan, Granted, Item, Layer, Refusal, Run, Settings, build, validate, validate_command,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::guests;

/// What a file holds, and the stand-ins that act on it.
pub(crate) struct Given {
    pub(crate) task: Task,
    pub(crate) agent: Agent,
    pub(crate) configs: BTreeMap<String, KubeOpenCodeConfig>,
    pub(crate) config_maps: BTreeMap<(String, String), Vec<Entry>>,
    pub(crate) builder: fn(&BuildRequest) -> CommandPlan,
    pub(crate) builder_granted: Granted,
    pub(crate) plugin: Option<Plugin>,
}

/// A custom plugin: its answer and what it may do.
pub(crate) type Plugin = (fn(&Item) -> Plan, Granted);

impl Given {
    pub(crate) fn yaml(text: &str) -> Self {
        let documents: Vec<Value> = serde_norway::Deserializer::from_str(text)
            .map(|document| Value::deserialize(document).unwrap())
            .filter(|document| !document.is_null())
            .collect();
        let of = |kind: &'static str| documents.iter().filter(move |d| d["kind"] == kind).cloned();
        let configs = of("KubeOpenCodeConfig").map(typed::<KubeOpenCodeConfig>);
        let config_maps = of("ConfigMap").map(typed::<ConfigMap>);
        Self {
            task: of("Task").map(typed).next().unwrap(),
            agent: of("Agent").map(typed).next().unwrap(),
            configs: configs.map(|config| (config.metadata.namespace.clone().unwrap(), config)).collect(),
            config_maps: config_maps.map(entries).collect(),
            builder: guests::opencode,
            builder_granted: Granted::none(),
            plugin: None,
        }
    }

    pub(crate) fn run(&self) -> Result<Run, Refusal> {
        let agent = kubeopencode::spec_agent(&self.task)?;
        let config = |namespace: &str| Layer::from(self.configs.get(namespace).map(|config| &config.spec));
        let settings = Settings::resolve(
            config(self.task.metadata.namespace.as_deref().unwrap()),
            config(&agent.namespace),
            config("kubeopencode-system"),
        );
        kubeopencode::task(&self.task, &self.agent, &settings)
    }

    /// As the operator does it.
    pub(crate) fn plan(&self) -> Result<ExecutionPlan, Refusal> {
        let run = self.run()?;
        let mut contexts = Vec::new();
        for item in run.items() {
            contexts.push(match self.evaluate(&run, item) {
                Err(refusal) if item.optional => Evaluated::skipped(item, &refusal),
                evaluated => evaluated?,
            });
        }
        let command = (self.builder)(&run.build_request(&contexts, json!({})));
        let command = validate_command(&run, &self.builder_granted, command)?;
        build(&run, &contexts, &command)
    }

    fn evaluate(&self, run: &Run, item: &Item) -> Result<Evaluated, Refusal> {
        let type_ = guests::descriptor(&item.type_);
        let item = &run.typed(item, &type_)?;
        let map = |name: &str| self.config_maps.get(&(item.namespace.clone(), name.to_owned()));
        let (plan, granted) = match &self.plugin {
            Some((plugin, granted)) if !item.is_built_in() => (plugin(item), granted.clone()),
            _ => {
                let request = run.evaluate_request(item, &type_.name, json!({}), Vec::new());
                let entries = item.payload["name"].as_str().and_then(map).map(Vec::as_slice);
                let plan = guests::plan(item, request.mount_path.as_deref(), request.file_mode, entries);
                (plan, guests::granted(item))
            }
        };
        let mut evaluated = validate(run, item, &granted, plan)?;
        for embed in evaluated.embeds(run) {
            evaluated.embed(&embed, map(&embed.name).cloned().unwrap_or_default())?;
        }
        Ok(evaluated)
    }
}

fn typed<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn entries(map: ConfigMap) -> ((String, String), Vec<Entry>) {
    let key = (map.metadata.namespace.unwrap(), map.metadata.name.unwrap());
    let data = map.data.unwrap_or_default().into_iter();
    (key, data.map(|(key, value)| Entry { key, value: value.into_bytes() }).collect())
}
