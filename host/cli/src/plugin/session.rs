//! One plugin on the operator's way, without a cluster: installed by a Plugin, asked for a Task, and all that it was asked.
//!
//! May touch: the plugin host, the operator's own evaluation. Must not touch: files, what is printed.

use std::sync::Arc;

use kubeopencode_api::agent::Agent;
use kubeopencode_api::condition::Reason;
use kubeopencode_api::literals::{DEFAULT_CLUSTER_DOMAIN, DEFAULT_OPERATOR_NAMESPACE};
use kubeopencode_api::plugin_object::{Plugin as PluginObject, PluginSpec};
use kubeopencode_api::task::Task;
use kubeopencode_evaluate::{Catalog, Snapshot};
use kubeopencode_operator::publication;
use kubeopencode_plan::Refusal;
use kubeopencode_plugin_host::{Inspection, Kind, Plugin, PluginHost};

use super::project::Project;
use super::seen::Seen;
use super::transcript::{Asked, Failure, Transcript};
use super::{refusal, said};
use crate::error::CliError;
use crate::plugin_host;
use crate::render::objects::Objects;
use crate::render::offline::Offline;

/// A loaded plugin, and those that come with the program.
pub(super) struct Session {
    built_in: Vec<Arc<Plugin>>,
    pub(super) plugin: Arc<Plugin>,
    /// What its Plugin is called.
    pub(super) name: String,
    // it stays for as long as its plugins are called
    _host: PluginHost,
}

/// What came of a Task, or of an Agent's server.
#[derive(Debug)]
pub(super) struct Ran {
    /// What plugins were asked, in this order.
    pub(super) asked: Vec<Asked>,
    pub(super) result: Result<Made, Refusal>,
}

/// What the operator would make.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) seen: Seen,
    /// What the user is told although all went well.
    pub(super) notices: Vec<(Reason, String)>,
}

/// A plugin by itself.
pub(super) struct Loaded {
    pub(super) host: PluginHost,
    pub(super) inspection: Inspection,
    pub(super) plugin: Arc<Plugin>,
}

impl Loaded {
    /// Loads the component of a project, which has these bytes.
    ///
    /// # Errors
    /// Why it does not load.
    pub(super) fn of(project: &Project, bytes: &[u8]) -> Result<Self, CliError> {
        let host = plugin_host::at(plugin_host::cache_dir()?)?;
        let place = project.component.display();
        let refuse = |problem: String| CliError::Object {
            place: place.to_string(),
            problem: format!("{problem}\n`kubeopencode plugin check` says all that is wrong with it"),
        };
        let inspection =
            host.inspect(bytes, project.class).map_err(|error| refuse(refusal::of_bytes(&error, bytes)))?;
        let kind = match (project.kind, inspection.kinds().as_slice()) {
            (Some(kind), _) => kind,
            (None, [only]) => *only,
            (None, []) => return Err(refuse("it exports no plugin".to_owned())),
            (None, _) => {
                let problem =
                    "it is context-type and command-builder: say which with --kind, or kind in plugin.toml";
                return Err(CliError::Usage(format!("{place}: {problem}")));
            }
        };
        let plugin = host.load(bytes, kind, project.class).map_err(|error| refuse(refusal::words(&error)))?;
        Ok(Self { host, inspection, plugin })
    }
}

/// What a plugin and its file are called where nobody says it.
pub(super) fn first_name(plugin: &Plugin) -> String {
    let first = plugin.types().first().map(|type_| type_.descriptor().name.as_str());
    super::pack::kebab(first.unwrap_or_default())
}

impl Session {
    /// Loads the component of a project.
    ///
    /// # Errors
    /// Why it does not load.
    pub(super) fn of(project: &Project) -> Result<Self, CliError> {
        said::listen();
        let Loaded { host, plugin, .. } = Loaded::of(project, &project.read()?)?;
        // of `describe`, in which nobody's item is evaluated
        said::take();
        let built_in = host.load_built_in().map_err(|error| CliError::Plugins(error.to_string()))?;
        let name = project.name.clone().unwrap_or_else(|| first_name(&plugin));
        Ok(Self { built_in, plugin, name, _host: host })
    }

    /// The command builder that it is, if it is one.
    pub(super) fn builder(&self) -> Option<&str> {
        let type_ = self.plugin.types().first().filter(|_| self.plugin.kind() == Kind::CommandBuilder);
        type_.map(|type_| type_.descriptor().name.as_str())
    }

    /// The digest of its bytes, as a Plugin writes it.
    pub(super) fn sha256(&self) -> &str {
        self.plugin.digest().trim_start_matches("sha256:")
    }

    /// The Plugin that installs these bytes without settings and grants.
    pub(super) fn object(&self) -> PluginObject {
        let sha256 = Some(self.sha256().to_owned());
        PluginObject::new(
            &self.name,
            PluginSpec { kind: self.plugin.kind(), sha256, ..PluginSpec::default() },
        )
    }

    /// All plugins, with this one as a Plugin installs it whose `sha256` is that of its bytes.
    ///
    /// # Errors
    /// Settings and names that do not fit, or a type whose name somebody else has, each by its reason in the Plugin's condition.
    pub(super) fn snapshot(&self, mut object: PluginObject) -> Result<Snapshot, Failure> {
        let refused = |reason: Reason, message| Failure { kind: reason.to_string(), field: None, message };
        object.spec.sha256 = Some(self.sha256().to_owned());
        let catalog = Catalog::new(self.built_in.iter().cloned());
        let publication = publication(&object, &self.plugin, None)
            .map_err(|problem| refused(Reason::SettingsInvalid, problem))?;
        catalog.publish(&publication).map_err(|taken| refused(Reason::NameTaken, taken.to_string()))?;
        Ok(catalog.snapshot())
    }

    /// Plans a Task as the operator does.
    pub(super) async fn run(&self, snapshot: &Snapshot, objects: &Objects, task: &Task) -> Ran {
        let transcript = Transcript::default();
        let planned = offline(snapshot, objects).plan(task, &transcript).await;
        let result = planned.map(|planned| {
            let plan = planned.plan;
            Made { seen: Seen::of(plan.pod.spec.as_ref(), &plan.config_maps), notices: plan.notices }
        });
        Ran { asked: transcript.into_asked(), result }
    }

    /// Plans the server of an Agent as the operator does.
    pub(super) async fn serve(&self, snapshot: &Snapshot, objects: &Objects, agent: &Agent) -> Ran {
        let transcript = Transcript::default();
        let planned = offline(snapshot, objects).server(agent, &transcript).await;
        let result = planned.map(|server| {
            let pod = server.deployment.spec.and_then(|spec| spec.template.spec);
            Made { seen: Seen::of(pod.as_ref(), &server.config_maps), notices: server.notices }
        });
        Ran { asked: transcript.into_asked(), result }
    }
}

/// The operator, for these objects.
fn offline<'a>(snapshot: &Snapshot, objects: &'a Objects) -> Offline<'a> {
    Offline {
        snapshot: snapshot.clone(),
        objects,
        operator_namespace: DEFAULT_OPERATOR_NAMESPACE,
        cluster_domain: DEFAULT_CLUSTER_DOMAIN,
    }
}
