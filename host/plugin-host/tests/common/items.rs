//! Context items on their way from a Task through a plugin to the PlanValidator, as the operator leads them.

use kubeopencode_api::agent::Agent;
use kubeopencode_api::plugin::{
    Entry, Input, MAX_ROUNDS, Outcome, Requirement, Resolved as Answer, grow_needs,
};
use kubeopencode_api::task::Task;
use kubeopencode_plan::frontend::kubeopencode;
use kubeopencode_plan::{Evaluated, Granted, Layer, Run, Settings, validate};
use kubeopencode_plugin_host::Plugin;
use serde_json::{Value, json};

/// The contexts of Task `team/task`. There is a ConfigMap of every name, with the key `a.md`.
pub(crate) struct Items(Run);

impl Items {
    pub(crate) fn of(contexts: Value) -> Self {
        let agent = json!({"metadata": {"namespace": "team", "name": "default"}, "spec": {"serviceAccountName": "a"}});
        let task = json!({
            "metadata": {"namespace": "team", "name": "task", "uid": "6e0bfa7c-1111-4222-8333-944455556666"},
            "spec": {"description": "Work.", "contexts": contexts},
        });
        let agent: Agent = serde_json::from_value(agent).unwrap();
        let task: Task = serde_json::from_value(task).unwrap();
        Self(
            kubeopencode::task(
                &task,
                &agent,
                &Settings::resolve(Layer::Absent, Layer::Absent, Layer::Absent),
            )
            .unwrap(),
        )
    }

    pub(crate) fn len(&self) -> usize {
        self.0.items().len()
    }

    pub(crate) fn type_of(&self, i: usize) -> &str {
        &self.0.items()[i].type_
    }

    /// What becomes of an item that this plugin evaluates with this grant.
    pub(crate) fn plan(&self, i: usize, plugin: &Plugin, granted: &Granted) -> Result<Evaluated, String> {
        let type_ = &plugin.types()[0];
        let item =
            &self.0.typed(&self.0.items()[i], type_.descriptor()).map_err(|refusal| refusal.to_string())?;
        let granted = &granted.of_type(type_.descriptor(), type_.secret_fields());
        let (mut needs, mut inputs) = (Vec::new(), Vec::new());
        for _ in 0..=MAX_ROUNDS {
            let request = self.0.evaluate_request(item, &type_.descriptor().name, json!({}), inputs);
            match plugin.evaluate(request).map_err(|error| error.to_string())? {
                Outcome::Ready(plan) => {
                    return validate(&self.0, item, granted, plan).map_err(|refusal| refusal.to_string());
                }
                Outcome::Needs(now) => {
                    grow_needs(&needs, &now).map_err(|error| error.to_string())?;
                    inputs = now
                        .iter()
                        .map(|required| Input { id: required.id.clone(), value: read(&required.what) })
                        .collect();
                    needs = now;
                }
                Outcome::Extended(extension) => return Err(format!("answers with {}", extension.kind)),
            }
        }
        Err(format!("asks for more after {MAX_ROUNDS} rounds"))
    }
}

fn read(what: &Requirement) -> Answer {
    match what {
        Requirement::ConfigMap(_) => {
            Answer::ConfigMap(vec![Entry { key: "a.md".into(), value: b"one".into() }])
        }
        Requirement::Prompt => Answer::Prompt("Work.".into()),
        Requirement::Fetch(_) | Requirement::Extended(_) => Answer::Missing,
    }
}
