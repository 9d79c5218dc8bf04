//! The layers of a Task's contexts, the lowest first: those of its WorkspaceConfig, of its Batch, its own. Of two that go to
//! one path, the higher one stays.
//!
//! May touch: contexts and the objects that hold them. Must not touch: conflicts within a layer, which the plan finds.

use std::collections::HashMap;

use kubeopencode_api::condition::Reason;
use kubeopencode_api::kubetask::context::Context;
use kubeopencode_api::kubetask::task::Task;
use kubeopencode_api::kubetask::workspace_config::WorkspaceConfig;
use kubeopencode_api::names::ObjectKey;
use kubeopencode_api::plugin::Origin;

use super::{BatchPart, item};
use crate::Refusal;
use crate::frontend::item::Place;
use crate::frontend::parts::MAX_ITEMS;
use crate::item::Item;
use crate::paths::AbsPath;
use crate::run::Run;

/// Contexts of one rank.
pub(super) struct Layer<'a> {
    origin: Origin,
    /// As in `spec.contexts`.
    field: String,
    /// The object that holds them.
    holder: String,
    contexts: &'a [Context],
}

impl<'a> Layer<'a> {
    /// All of a Task's, the lowest first.
    ///
    /// # Errors
    /// The Batch has no contexts for this Task.
    pub(super) fn all(
        task: &'a Task,
        batch: Option<BatchPart<'a>>,
        workspace: Option<&'a WorkspaceConfig>,
        run: &Run,
    ) -> Result<Vec<Self>, Refusal> {
        let mut layers = Vec::new();
        if let Some(workspace) = workspace {
            layers.push(Self {
                origin: Origin::Defaults,
                field: "spec.defaultContexts".to_owned(),
                holder: run.agent.described.clone(),
                contexts: &workspace.spec.default_contexts,
            });
        }
        if let Some(BatchPart { batch, index }) = batch {
            let holder = format!("Batch {}", ObjectKey::of(batch));
            let Some(own) = batch.spec.variable_contexts.get(index) else {
                return Err(Refusal::context(format!(
                    "{}: {holder} has no spec.variableContexts[{index}]",
                    run.described()
                )));
            };
            let (common, variable) =
                ("spec.commonContext".to_owned(), format!("spec.variableContexts[{index}]"));
            for (field, contexts) in [(common, &batch.spec.common_context), (variable, own)] {
                layers.push(Self { origin: Origin::Batch, field, holder: holder.clone(), contexts });
            }
        }
        layers.push(Self {
            origin: Origin::Task,
            field: "spec.contexts".to_owned(),
            holder: run.described(),
            contexts: &task.spec.contexts,
        });
        Ok(layers)
    }
}

/// Reads them all. What a higher layer takes the place of is left out, and told.
///
/// # Errors
/// The first context that makes no sense and is not optional, or that there are too many.
pub(super) fn read(run: &mut Run, layers: &[Layer<'_>]) -> Result<(), Refusal> {
    let number: usize = layers.iter().map(|layer| layer.contexts.len()).sum();
    if number > MAX_ITEMS {
        return Err(Refusal::context(format!(
            "{} has {number} contexts, those of all its layers included, at most {MAX_ITEMS} are allowed: join some",
            run.described()
        )));
    }
    let (mut read, mut skipped) = (Vec::with_capacity(layers.len()), Vec::new());
    for layer in layers {
        let mut items = Vec::with_capacity(layer.contexts.len());
        for (i, spec) in layer.contexts.iter().enumerate() {
            let place = Place {
                origin: layer.origin,
                namespace: run.pod_namespace(),
                holder: &layer.holder,
                workspace: &run.agent.workspace,
                conventions: run.conventions,
            };
            match item::read(spec, format!("{}[{i}]", layer.field), &place) {
                Ok(item) => items.push(item),
                Err(refusal) if spec.optional == Some(true) => {
                    skipped.push((Reason::OptionalSkipped, refusal.message));
                }
                Err(refusal) => return Err(refusal),
            }
        }
        read.push(items);
    }
    let (items, overridden) = highest(read);
    run.items = items;
    // what is told first is the condition's reason
    run.notices.extend(overridden.into_iter().map(|message| (Reason::MountOverridden, message)));
    run.notices.extend(skipped);
    Ok(())
}

/// The items without those whose path a higher layer takes, and what became of these. Whether the higher one comes to
/// anything does not matter: which of them counts can be read off the objects.
fn highest(layers: Vec<Vec<Item>>) -> (Vec<Item>, Vec<String>) {
    let (mut taken, mut overridden) = (HashMap::<AbsPath, String>::new(), Vec::new());
    let mut kept = Vec::with_capacity(layers.len());
    for mut layer in layers.into_iter().rev() {
        let mut of_layer = Vec::new();
        layer.retain(|item| {
            let by = item.mount_path().and_then(|path| Some((path, taken.get(path)?)));
            of_layer.extend(by.map(|(path, by)| format!("{path} of {item} is overridden by {by}")));
            by.is_none()
        });
        let paths = layer.iter().filter_map(|item| Some((item.mount_path()?.clone(), item.to_string())));
        taken.extend(paths);
        overridden.splice(0..0, of_layer);
        kept.push(layer);
    }
    (kept.into_iter().rev().flatten().collect(), overridden)
}

#[cfg(test)]
mod tests {
    use kubeopencode_api::kubetask::batch::Batch;
    use serde::de::DeserializeOwned;
    use serde_json::{Value, json};

    use super::*;
    use crate::Settings;
    use crate::settings::Layer as Config;

    fn object<T: DeserializeOwned>(kind: &str, name: &str, spec: Value) -> T {
        let metadata = json!({"namespace": "team", "name": name, "uid": "u"});
        let object =
            json!({"apiVersion": "kubetask.io/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec});
        serde_json::from_value(object).unwrap()
    }

    fn file(name: &str, path: &str) -> Value {
        json!({"type": "File", "file": {"name": name, "source": {"inline": name}, "mountPath": path}})
    }

    /// Fields of the items, and what is told.
    type Read = (Vec<String>, Vec<(Reason, String)>);

    /// Contexts of WorkspaceConfig, of all Tasks of the Batch, and of its third one.
    fn read(defaults: Value, common: Value, own: Value) -> Result<Read, String> {
        let workspace: WorkspaceConfig =
            object("WorkspaceConfig", "default", json!({"agentImage": "a", "defaultContexts": defaults}));
        let lists = json!([[], [], own]);
        let batch: Batch =
            object("Batch", "all", json!({"commonContext": common, "variableContexts": lists}));
        let task: Task = object("Task", "all-task-2", json!({}));
        let settings = Settings::resolve(Config::Absent, Config::Absent, Config::Absent);
        let part = Some(BatchPart { batch: &batch, index: 2 });
        let run = super::super::task(&task, part, Some(&workspace), &settings);
        let run = run.map_err(|refusal| refusal.message)?;
        Ok((run.items.iter().map(|item| item.field.clone()).collect(), run.notices))
    }

    #[test]
    fn higher_layers_come_later_and_take_paths() {
        let defaults =
            json!([file("a", ""), file("b", "/etc/one"), file("c", "/etc/two"), file("d", "/etc/three")]);
        let common = json!([file("e", "/etc//one/"), file("f", "")]);
        let own = json!([file("g", "/etc/one"), file("h", "/etc/./three"), file("i", "")]);
        let (items, notices) = read(defaults, common, own).unwrap();
        assert_eq!(
            items,
            [
                "spec.defaultContexts[0]",
                "spec.defaultContexts[2]",
                "spec.commonContext[1]",
                "spec.variableContexts[2][0]",
                "spec.variableContexts[2][1]",
                "spec.variableContexts[2][2]",
            ]
        );
        let told = |path: &str, lower: &str, higher: &str| {
            let (lower, higher) =
                (format!("spec.{lower}"), format!("spec.variableContexts[2]{higher} of Batch team/all"));
            (Reason::MountOverridden, format!("{path} of {lower} is overridden by {higher}"))
        };
        assert_eq!(
            notices,
            [
                told("/etc/one", "defaultContexts[1] \"b\" of WorkspaceConfig team/default", "[0] \"g\""),
                told("/etc/three", "defaultContexts[3] \"d\" of WorkspaceConfig team/default", "[1] \"h\""),
                told("/etc/one", "commonContext[0] \"e\" of Batch team/all", "[0] \"g\""),
            ]
        );
    }

    #[test]
    fn two_of_one_layer_are_left_to_the_plan() {
        let (items, notices) =
            read(json!([file("a", "/x")]), json!([]), json!([file("b", "/x"), file("c", "/x")])).unwrap();
        assert_eq!(items, ["spec.variableContexts[2][0]", "spec.variableContexts[2][1]"]);
        assert_eq!(notices.len(), 1);
    }

    #[test]
    fn all_layers_count() {
        let many = |n: usize| Value::from(vec![file("a", ""); n]);
        assert_eq!(read(many(30), many(30), many(4)).unwrap().0.len(), 64);
        let refused = read(many(30), many(30), many(5)).unwrap_err();
        assert!(
            refused.starts_with("Task team/all-task-2 has 65 contexts, those of all its layers"),
            "{refused}"
        );
    }

    #[test]
    fn an_optional_one_that_makes_no_sense_is_left_out_and_takes_no_path() {
        let broken = json!({"type": "Git", "mountPath": "/x", "optional": true});
        let (items, notices) = read(json!([file("a", "/x")]), json!([]), json!([broken])).unwrap();
        assert_eq!(items, ["spec.defaultContexts[0]"]);
        let words = "spec.variableContexts[2][0] of Batch team/all: type Git needs config: add it";
        assert_eq!(notices, [(Reason::OptionalSkipped, words.to_owned())]);
    }
}
