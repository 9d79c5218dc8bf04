//! What a command builder may ask for: held to the same limits as a context type, and the tools volume.
//!
//! May touch: the builder's answer. Must not touch: the contexts.

use kubeopencode_api::condition::Reason;
use kubeopencode_api::literals::TOOLS_DIR;
use kubeopencode_api::plugin::{CommandPlan, EnvSource, EnvVar, Extension, ServerPlan, Severity, Tools};
use kubeopencode_api::report::ResultReader;

use crate::evaluated::{FileContent, TargetFile};
use crate::paths::AbsPath;
use crate::{Granted, Refusal, Run};
use kubeopencode_api::globs::matches;

/// How the agent is run, checked. What a builder says of it, only [`validate_command`] and [`validate_server`] make one of.
#[derive(Clone, Debug)]
pub struct Command {
    /// image of the init container that brings the program; the Agent's own comes first
    pub(crate) tools: Option<ToolsImage>,
    pub(crate) command: Vec<String>,
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<EnvVar>,
    pub(crate) files: Vec<TargetFile>,
    /// how its output is read; none where the Agent's own command runs in its place
    pub(crate) reader: Option<ResultReader>,
    pub(crate) warnings: Vec<String>,
    /// what the Agent says of itself, although it is accepted
    pub(crate) agent_notice: Option<(Reason, String)>,
}

impl Command {
    /// The image's own entrypoint.
    pub(crate) fn of_image() -> Self {
        Self {
            tools: None,
            command: Vec::new(),
            args: Vec::new(),
            env: Vec::new(),
            files: Vec::new(),
            reader: None,
            warnings: Vec::new(),
            agent_notice: None,
        }
    }

    /// Bytes of its files.
    pub fn bytes(&self) -> usize {
        self.files.iter().map(|file| file.content.len()).sum()
    }
}

/// Where the program's image comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ToolsImage {
    /// the Agent's `agentImage`, else the default
    Agents,
    /// the builder's choice
    Builders(String),
}

/// How the Agent's server is run, checked.
#[derive(Clone, Debug)]
pub struct ServerCommand {
    pub(crate) command: Command,
    pub(crate) health_path: Option<String>,
}

impl ServerCommand {
    /// The process.
    pub fn command(&self) -> &Command {
        &self.command
    }
}

/// Checks what a command builder made of a Task.
///
/// # Errors
/// The first thing that it must not ask for, as `PluginError`.
pub fn validate_command(run: &Run, granted: &Granted, plan: CommandPlan) -> Result<Command, Refusal> {
    let refuse = |problem: String| Refusal::builder(&run.agent.builder, problem);
    if let Some(extension) = plan.extensions.first() {
        return Err(unknown(run, extension));
    }
    for variable in &plan.env {
        match &variable.source {
            EnvSource::Value(_) => {}
            EnvSource::Secret(secret) => {
                let problem =
                    format!("it asks for Secret {}: list it in spec.credentials of the Agent", secret.name);
                return Err(refuse(problem));
            }
            EnvSource::Extended(extension) => return Err(unknown(run, extension)),
        }
    }
    let files = plan.files.into_iter().map(|file| {
        let path = path(run, &file.path)?;
        Ok(TargetFile {
            path,
            content: FileContent::Bytes(file.content),
            mode: file.mode.map(|mode| run.agent.pod.for_the_agent(mode & 0o777)),
        })
    });
    let reader = plan.result_reader.as_deref().filter(|_| run.agent.argv.is_empty());
    let reader = reader.map(|text| result_reader(run, text)).transpose().map_err(refuse)?;
    let (of_agent, remarks): (Vec<_>, Vec<_>) =
        plan.diagnostics.into_iter().partition(|remark| remark.code == Reason::ModelNotSet.as_str());
    // which model a command of the Agent's own works with, the builder cannot know
    let of_agent = of_agent.into_iter().filter(|_| run.agent.argv.is_empty());
    Ok(Command {
        tools: tools(run, granted, plan.tools)?,
        command: plan.command,
        args: plan.args,
        env: plan.env,
        files: files.collect::<Result<_, String>>().map_err(refuse)?,
        reader,
        warnings: remarks
            .into_iter()
            .filter(|remark| remark.severity == Severity::Warning)
            .map(|remark| remark.message)
            .collect(),
        agent_notice: of_agent.map(|remark| (Reason::ModelNotSet, remark.message)).next(),
    })
}

/// Checks what a command builder made of an Agent's server.
///
/// # Errors
/// The first thing that it must not ask for, as `PluginError`.
pub fn validate_server(run: &Run, granted: &Granted, plan: ServerPlan) -> Result<ServerCommand, Refusal> {
    // nobody waits for a server's result
    let command = CommandPlan { result_reader: None, ..plan.command };
    let command = validate_command(run, granted, command)?;
    let path = plan.health_path.filter(|path| !path.is_empty());
    if let Some(path) = path.as_ref().filter(|path| !path.starts_with('/')) {
        let problem = format!("health path \"{path}\" does not begin with \"/\"");
        return Err(Refusal::builder(&run.agent.builder, problem));
    }
    Ok(ServerCommand { command, health_path: path })
}

/// The image must be granted, like every image that a plugin brings, unless the Agent names one in its place.
fn tools(run: &Run, granted: &Granted, tools: Tools) -> Result<Option<ToolsImage>, Refusal> {
    let image = match tools {
        Tools::None => return Ok(None),
        Tools::Extended(extension) => return Err(unknown(run, &extension)),
        Tools::InitContainer(Some(image)) if run.agent.tools_image.is_none() => image,
        Tools::InitContainer(_) => return Ok(Some(ToolsImage::Agents)),
    };
    if granted.images.iter().any(|glob| matches(glob, &image) == Ok(true)) {
        return Ok(Some(ToolsImage::Builders(image)));
    }
    let problem = format!(
        "it brings its program with image \"{image}\", which no grant allows: {}, or name an image in spec.agentImage and \
         spec.executorImage of {}",
        granted.remedy("images"),
        run.agent.described
    );
    Err(Refusal::builder(&run.agent.builder, problem))
}

fn unknown(run: &Run, extension: &Extension) -> Refusal {
    let kind = &extension.kind;
    let problem = format!("it asks for \"{kind}\", which this version does not know: upgrade KubeOpenCode");
    Refusal::builder(&run.agent.builder, problem)
}

fn path(run: &Run, written: &str) -> Result<AbsPath, String> {
    let refuse = |problem: &str| format!("path \"{written}\" {problem}");
    let workspace = &run.agent.workspace;
    let path = AbsPath::parse(written, Some(workspace)).map_err(refuse)?;
    let in_tools = path.ancestors().any(|dir| dir == TOOLS_DIR);
    if !in_tools && !path.is_within(workspace) {
        return Err(refuse(&format!("lies neither in the workspace nor in {TOOLS_DIR}")));
    }
    Ok(path)
}

fn result_reader(run: &Run, text: &str) -> Result<ResultReader, String> {
    let reader = ResultReader::parse(text).map_err(|e| e.to_string())?;
    if reader.session.is_some() && run.attaches_to().is_none() {
        return Err(
            "result-reader: /session: this program attaches to no server: leave it out where mode is run"
                .into(),
        );
    }
    Ok(reader)
}
