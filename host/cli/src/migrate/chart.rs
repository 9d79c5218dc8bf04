//! A Batch as a Helm chart: what its Tasks have in common, and what each has of its own, are values.
//!
//! May touch: the folder of the chart. Must not touch: a Batch.

use std::fs;
use std::path::Path;

use kubeopencode_api::context::ContextItem;
use kubeopencode_api::names::{ObjectKey, cut, label_value};
use serde_json::{Map, Value, json};

use super::batch::{LABEL, Variant};
use super::objects::{Object, Objects};
use crate::error::CliError;
use crate::render::objects::Problems;
use crate::yaml;

/// Longest name of a chart.
const MAX_CHART: usize = 250;

/// Joins the texts as `pieces::join` does; the values are joined already as far as they can be.
const TEMPLATE: &str = r#"{{- range .Values.tasks }}
{{- $description := .description | default "" }}
{{- with $.Values.description }}
{{- if $description }}
{{- $description = printf "%s\n\n---\n\n%s" (regexReplaceAll `(\r?\n)+$` . "") $description }}
{{- else }}
{{- $description = . }}
{{- end }}
{{- end }}
---
apiVersion: kubeopencode.io/v1alpha1
kind: Task
metadata:
  name: {{ $.Release.Name }}-{{ .name }}
  {{- with $.Values.namespace }}
  namespace: {{ toJson . }}
  {{- end }}
  labels: {{ mergeOverwrite (dict "LABEL" $.Release.Name) ($.Values.labels | default dict) | toJson }}
  {{- with $.Values.annotations }}
  annotations: {{ toJson . }}
  {{- end }}
spec:
  {{- with $.Values.agentRef }}
  agentRef: {{ toJson . }}
  {{- end }}
  {{- with $.Values.timeout }}
  timeout: {{ . }}
  {{- end }}
  {{- with $description }}
  description: {{ toJson . }}
  {{- end }}
  {{- with concat ($.Values.contexts | default list) (.contexts | default list) }}
  contexts: {{ toJson . }}
  {{- end }}
{{- end }}
"#;

/// A chart.
#[derive(Debug)]
pub(super) struct Chart {
    name: String,
    values: Value,
}

/// Whether there is one Batch, and a place for its chart.
///
/// # Errors
/// What stands in the way.
pub(super) fn check(folder: &Path, objects: &Objects) -> Result<(), CliError> {
    let batches: Vec<_> = objects
        .all
        .iter()
        .filter_map(|object| match object {
            Object::Batch(batch) => Some(batch.place.as_str()),
            _ => None,
        })
        .collect();
    match batches.as_slice() {
        [_] => {}
        [] => return Err(CliError::Usage("--helm: the files hold no Batch: leave --helm out".to_owned())),
        several => {
            let several = several.join(", ");
            return Err(CliError::Usage(format!(
                "--helm: a chart is one Batch: call it for each of {several}"
            )));
        }
    }
    match fs::read_dir(folder) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => {
                let folder = folder.display();
                Err(CliError::Usage(format!(
                    "--helm: {folder} is not empty: name a folder that is, or is not there"
                )))
            }
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(CliError::File { path: folder.to_owned(), error }),
    }
}

impl Chart {
    /// # Errors
    /// A defect of the types.
    pub(super) fn of(
        batch: &ObjectKey,
        description: Option<String>,
        variants: &[Variant],
    ) -> Result<Self, Problems> {
        let json =
            |object: &[ContextItem]| serde_json::to_value(object).map_err(|error| vec![error.to_string()]);
        let lists = || variants.iter().map(|variant| variant.task.spec.contexts.as_slice());
        let in_all = |item: &&ContextItem| lists().all(|list| list.contains(item));
        let common: Vec<_> = lists().next().unwrap_or_default().iter().filter(in_all).cloned().collect();
        let mut values = Map::new();
        values.insert("contexts".to_owned(), json(&common)?);
        values.insert("description".to_owned(), description.unwrap_or_default().into());
        if let Some(first) = variants.first() {
            let (metadata, spec) = (&first.task.metadata, &first.task.spec);
            let mut labels = metadata.labels.clone().unwrap_or_default();
            // the release's name takes the place of the Batch's
            labels.retain(|key, value| key != LABEL || *value != label_value(&batch.name));
            values.insert("agentRef".to_owned(), spec.agent_ref.clone().unwrap_or_else(|| "".into()));
            values.insert("timeout".to_owned(), spec.timeout.clone().unwrap_or_default().into());
            values.insert("namespace".to_owned(), metadata.namespace.clone().unwrap_or_default().into());
            values.insert("labels".to_owned(), json!(labels));
            values.insert("annotations".to_owned(), json!(metadata.annotations.clone().unwrap_or_default()));
        }
        let mut tasks = Vec::with_capacity(variants.len());
        for variant in variants {
            let own = variant.task.spec.contexts.iter().filter(|item| !common.contains(item));
            let own: Vec<_> = own.cloned().collect();
            let mut task = Map::new();
            task.insert("name".to_owned(), variant.ending.clone().into());
            if let Some(description) = &variant.own_description {
                task.insert("description".to_owned(), description.clone().into());
            }
            if !own.is_empty() {
                task.insert("contexts".to_owned(), json(&own)?);
            }
            tasks.push(Value::Object(task));
        }
        values.insert("tasks".to_owned(), tasks.into());
        Ok(Self { name: batch.name.clone(), values: Value::Object(values) })
    }

    /// Writes its files.
    ///
    /// # Errors
    /// What cannot be written.
    pub(super) fn write(&self, folder: &Path) -> Result<(), CliError> {
        let name = &self.name;
        let about = yaml::document(&json!({
            "apiVersion": "v2",
            "name": cut(name, MAX_CHART),
            "description": format!("The Tasks of Batch {name}"),
            "type": "application",
            "version": "0.1.0",
        }))?;
        let how = format!(
            "# The release's name is the beginning of each Task's name. A Task runs once: another release runs them all again.\n\
             #\n#   helm template {name} {} | kubectl apply --filename -\n",
            folder.display()
        );
        let values = yaml::document(&self.values)?;
        let what =
            "# description and contexts here are those of all tasks, and stand before each one's own\n";
        for (file, text) in [
            ("Chart.yaml", format!("{how}{about}\n")),
            ("values.yaml", format!("{what}{values}\n")),
            ("templates/tasks.yaml", TEMPLATE.replace("LABEL", LABEL)),
        ] {
            let path = folder.join(file);
            let parent = path.parent().unwrap_or(folder);
            let written = fs::create_dir_all(parent).and_then(|()| fs::write(&path, text));
            written.map_err(|error| CliError::File { path: path.clone(), error })?;
        }
        Ok(())
    }
}
