//! What plugins are asked: one question for each context item, one for the process.
//!
//! May touch: what has been read and checked. Must not touch: the answers.

use kubeopencode_api::literals::{DEFAULT_SERVER_PORT, TOOLS_DIR};
use kubeopencode_api::plugin::{BuildRequest, EvaluateRequest, Input, Mode, ServeRequest, TaskView};

use super::{Run, Subject, TaskPart};
use crate::evaluated::Evaluated;
use crate::item::Item;

impl Run {
    /// The question for the item's plugin, with what it asked for so far.
    pub fn evaluate_request(&self, item: &Item, inputs: Vec<Input>) -> EvaluateRequest {
        // a server has no Task
        let (name, uid, labels) = match &self.subject {
            Subject::Task(TaskPart { key, uid, labels, .. }) => {
                (key.name.clone(), uid.0.clone(), labels.clone())
            }
            Subject::Server(_) => Default::default(),
        };
        EvaluateRequest {
            task: TaskView {
                name,
                namespace: self.namespace().to_owned(),
                uid,
                labels,
                agent_name: self.agent.key.name.clone(),
                agent_namespace: self.agent.key.namespace.clone(),
                workspace_dir: self.agent.workspace.as_str().to_owned(),
            },
            origin: item.origin,
            item_name: item.name.clone(),
            mount_path: item.mount_path.as_ref().map(|mount| mount.written.clone()),
            file_mode: item.file_mode,
            payload: item.payload.clone(),
            inputs,
            extensions: Vec::new(),
        }
    }

    /// The question for the command builder: the process of a Task.
    pub fn build_request(&self, contexts: &[Evaluated]) -> BuildRequest {
        let prompt_path = self.prompt_path();
        // whether nothing is to be done is the builder's word: other agents may need no prompt. With a command of the
        // Agent's own the builder's argv is dropped, and a missing prompt is no business of anybody.
        let has_prompt = self.prompt.is_some()
            || !self.agent.argv.is_empty()
            || contexts.iter().any(|context| context.may_hold(&prompt_path, &self.agent.workspace));
        let (name, uid) = match &self.subject {
            Subject::Task(task) => (task.key.name.clone(), task.uid.0.clone()),
            Subject::Server(_) => Default::default(),
        };
        BuildRequest {
            task_name: name,
            task_namespace: self.namespace().to_owned(),
            task_uid: uid,
            agent_name: self.agent.key.name.clone(),
            agent_namespace: self.agent.key.namespace.clone(),
            workspace_dir: self.agent.workspace.as_str().to_owned(),
            tools_dir: TOOLS_DIR.to_owned(),
            prompt_path: has_prompt.then(|| prompt_path.as_str().to_owned()),
            context_path: self.context_file_path(contexts),
            mode: self.attaches_to().map_or(Mode::Run, |server| Mode::Attach(server.url.clone())),
            config: self.agent.config.clone(),
            config_path: self.agent.config.is_some().then(|| self.config_path()),
            extensions: Vec::new(),
        }
    }

    /// The question for the command builder: the process of the Agent's server.
    pub fn serve_request(&self, contexts: &[Evaluated]) -> ServeRequest {
        ServeRequest {
            agent_name: self.agent.key.name.clone(),
            agent_namespace: self.agent.key.namespace.clone(),
            workspace_dir: self.agent.workspace.as_str().to_owned(),
            tools_dir: TOOLS_DIR.to_owned(),
            context_path: self.context_file_path(contexts),
            port: self.server().map_or(DEFAULT_SERVER_PORT, |server| server.port),
            config: self.agent.config.clone(),
            config_path: self.agent.config.is_some().then(|| self.config_path()),
            extensions: Vec::new(),
        }
    }

    /// Where the contexts without mountPath go; `None` where there are none, or they have no file of their own.
    fn context_file_path(&self, contexts: &[Evaluated]) -> Option<String> {
        let any = contexts.iter().any(Evaluated::has_context_text);
        self.context_path().filter(|_| any).map(|path| path.as_str().to_owned())
    }
}
