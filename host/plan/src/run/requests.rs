//! What plugins are asked: one question for each context item, one for the process.
//!
//! May touch: what has been read and checked. Must not touch: the answers.

use jiff::Timestamp;
use kubeopencode_api::literals::{DEFAULT_SERVER_PORT, TOOLS_DIR};
use kubeopencode_api::plugin::{AgentView, BuildRequest, EvaluateRequest, Input, ServeRequest, TaskView};
use serde_json::Value;

use super::{Run, Subject, TaskPart};
use crate::conventions::Program;
use crate::evaluated::Evaluated;
use crate::item::Item;
use crate::{Command, Refusal};

impl Run {
    /// The question for the item's plugin, with what it asked for so far. `type_name` is what the plugin itself calls the
    /// item's type, `settings` what its installer wrote.
    pub fn evaluate_request(
        &self,
        item: &Item,
        type_name: &str,
        settings: Value,
        inputs: Vec<Input>,
    ) -> EvaluateRequest {
        EvaluateRequest {
            type_name: type_name.to_owned(),
            task: self.task_view(),
            agent: self.agent_view(),
            origin: item.origin,
            namespace: item.namespace.clone(),
            item_name: item.name.clone(),
            mount_path: item.mount_path.as_ref().map(|mount| mount.written.clone()),
            file_mode: item.file_mode,
            payload: item.payload.clone(),
            settings,
            inputs,
            extensions: Vec::new(),
        }
    }

    /// The question for the command builder: the process of a Task.
    pub fn build_request(&self, contexts: &[Evaluated], settings: Value) -> BuildRequest {
        let prompt_path = self.prompt_path();
        // whether nothing is to be done is the builder's word: other agents may need no prompt. With a command of the
        // Agent's own the builder's argv is dropped, and a missing prompt is no business of anybody.
        let has_prompt = !self.agent.argv.is_empty() || self.has_prompt(contexts);
        let nobody = || TaskView {
            name: String::new(),
            namespace: self.namespace().to_owned(),
            uid: String::new(),
            created: Timestamp::UNIX_EPOCH,
            labels: Vec::new(),
            annotations: Vec::new(),
        };
        BuildRequest {
            task: self.task_view().unwrap_or_else(nobody),
            agent: self.agent_view(),
            tools_dir: TOOLS_DIR.to_owned(),
            prompt_path: has_prompt.then(|| prompt_path.as_str().to_owned()),
            context_path: self.context_file_path(contexts),
            attach_to: self.attaches_to().map(|server| server.url.clone()),
            config: self.agent.config.clone(),
            config_path: self.agent.config.is_some().then(|| self.config_path()),
            settings,
            extensions: Vec::new(),
        }
    }

    /// The command that no command builder is asked for: the image's own entrypoint. `None`: the builder is to be asked.
    ///
    /// # Errors
    /// The contexts alone say what is to be done, and they say nothing.
    pub fn own_command(&self, contexts: &[Evaluated]) -> Result<Option<Command>, Refusal> {
        match self.conventions.program {
            Program::Image => Ok(Some(Command::of_image())),
            Program::Builder if self.conventions.context_text.is_prompt && !self.has_prompt(contexts) => {
                Err(Refusal::invalid_config(format!(
                    "{} has nothing to do: add a File without mountPath to spec.contexts, or mount one at {}",
                    self.described(),
                    self.prompt_path()
                )))
            }
            Program::Builder => Ok(None),
        }
    }

    /// Whether anything says what is to be done, as far as it is known here.
    fn has_prompt(&self, contexts: &[Evaluated]) -> bool {
        let path = self.prompt_path();
        self.prompt.is_some()
            || (self.conventions.context_text.is_prompt && contexts.iter().any(Evaluated::has_words))
            || contexts.iter().any(|context| context.may_hold(&path, &self.agent.workspace))
    }

    /// The question for the command builder: the process of the Agent's server.
    pub fn serve_request(&self, contexts: &[Evaluated], settings: Value) -> ServeRequest {
        ServeRequest {
            agent: self.agent_view(),
            tools_dir: TOOLS_DIR.to_owned(),
            context_path: self.context_file_path(contexts),
            port: self.server().map_or(DEFAULT_SERVER_PORT, |server| server.port),
            config: self.agent.config.clone(),
            config_path: self.agent.config.is_some().then(|| self.config_path()),
            settings,
            extensions: Vec::new(),
        }
    }

    /// A server has no Task.
    fn task_view(&self) -> Option<TaskView> {
        let Subject::Task(TaskPart { key, uid, created, labels, annotations, .. }) = &self.subject else {
            return None;
        };
        Some(TaskView {
            name: key.name.clone(),
            namespace: key.namespace.clone(),
            uid: uid.0.clone(),
            created: *created,
            labels: labels.clone(),
            annotations: annotations.clone(),
        })
    }

    fn agent_view(&self) -> AgentView {
        AgentView {
            name: self.agent.key.name.clone(),
            namespace: self.agent.key.namespace.clone(),
            workspace_dir: self.agent.workspace.as_str().to_owned(),
        }
    }

    /// Where the contexts without mountPath go; `None` where there are none, or they have no file of their own.
    fn context_file_path(&self, contexts: &[Evaluated]) -> Option<String> {
        let any = contexts.iter().any(Evaluated::has_context_text);
        self.context_path().filter(|_| any).map(|path| path.as_str().to_owned())
    }
}
