//! `kubeopencode plugin`: what the author of a component and whoever installs it want to know and to have, without a cluster
//! as far as there is none.
//!
//! May touch: files, stdout, stderr; `list` a cluster, of which it reads Plugins; `build` a shell; `push` and `pull` a registry.
//! Must not touch: what is right about a component, which the plugin host says, and what the operator makes of one, which the
//! operator says.

mod again;
mod bench;
mod build;
mod cases;
mod eval;
mod examine;
mod explain;
mod freshness;
mod golden;
mod grants;
mod install;
mod lint;
mod list;
mod logs;
mod network;
mod new;
mod pack;
mod project;
mod readable;
mod refusal;
mod registry;
mod report;
mod said;
mod seen;
mod session;
mod transcript;
mod uninstall;
mod versions;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use kube::api::{Api, ListParams};
use kubeopencode_api::plugin_object::Plugin;
use kubeopencode_operator::PackedPlugin;
use kubeopencode_plugin_host::PluginHost;

use crate::args::{CheckPlugin, Component, InstallPlugin, ListPlugins, Output, PackPlugin, PluginCommand};
use crate::cluster::{ANSWER, client, words};
use crate::error::CliError;
use crate::plugin_host;
use crate::yaml;
use examine::{Examined, examine};
pub(crate) use grants::Grant;
use project::Project;
use report::{Bytes, json};
pub(crate) use versions::Version;

/// Runs one of the commands.
///
/// # Errors
/// What is wrong with the call, or with this machine. What is wrong with a component is an exit code.
pub(crate) fn main(command: &PluginCommand) -> Result<ExitCode, CliError> {
    match command {
        PluginCommand::New(flags) => new::new(flags).and_then(|text| said((text, true))),
        PluginCommand::Bench(flags) => bench::bench(flags).and_then(|text| said((text, true))),
        PluginCommand::Build(flags) => build::build(flags),
        PluginCommand::Test(flags) => cases::test(flags).and_then(said),
        PluginCommand::Eval(flags) => eval::eval(flags).and_then(said),
        PluginCommand::Explain(flags) => explain::explain(flags).and_then(|text| said((text, true))),
        PluginCommand::Check(flags) => check(flags),
        PluginCommand::Pack(flags) => pack(flags),
        PluginCommand::Push(flags) => registry::push(flags).and_then(|text| said((text, true))),
        PluginCommand::Pull(flags) => registry::pull(flags).and_then(|text| said((text, true))),
        PluginCommand::Install(flags) => install(flags),
        PluginCommand::Uninstall(flags) => uninstall::uninstall(flags).and_then(|text| said((text, true))),
        PluginCommand::Logs(flags) => logs::logs(flags).map(|()| ExitCode::SUCCESS),
        PluginCommand::List(flags) => list(flags).map(|()| ExitCode::SUCCESS),
    }
}

/// Prints a text, and says by the exit code whether all is well.
fn said((text, ok): (String, bool)) -> Result<ExitCode, CliError> {
    std::io::stdout().lock().write_all(text.as_bytes())?;
    Ok(if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn check(flags: &CheckPlugin) -> Result<ExitCode, CliError> {
    let (project, Examined { mut report, .. }) = examined(&flags.component)?;
    if let Some(host) = flags.host {
        report.of_host(host);
    }
    if report.ok {
        again::twice(&project, &mut report)?;
    }
    report.ok = report.problems.is_empty();
    let text = match flags.output {
        Output::Text => format!("{report}\n"),
        Output::Json => json(&report)?,
    };
    said((text, report.ok))
}

fn pack(flags: &PackPlugin) -> Result<ExitCode, CliError> {
    let Some(objects) = packed(flags, "packed")? else { return Ok(ExitCode::FAILURE) };
    let mut out = std::io::stdout().lock();
    match flags.output {
        Output::Text => {
            for object in objects.each()? {
                writeln!(out, "---\n{}", yaml::document(&object)?)?;
            }
        }
        Output::Json => out.write_all(json(&objects.list()?)?.as_bytes())?,
    }
    eprintln!("{}", objects.summary);
    eprintln!("apply it with: kubectl apply --server-side -n {} -f FILE", flags.namespace);
    Ok(ExitCode::SUCCESS)
}

fn install(flags: &InstallPlugin) -> Result<ExitCode, CliError> {
    let file = flags.pack.component.file.as_deref();
    let is_packed = |path: &&Path| {
        let endings = ["yaml", "yml", "json"];
        path.extension().is_some_and(|extension| endings.iter().any(|ending| extension == *ending))
    };
    let objects = match file.filter(is_packed) {
        Some(path) if flags.pack.says_what_to_pack() => {
            let problem = format!("{}: it is packed already; pack it anew with these flags", path.display());
            return Err(CliError::Usage(problem));
        }
        Some(path) => install::read(path)?,
        None => match packed(&flags.pack, "installed")? {
            Some(objects) => {
                eprintln!("{}", objects.summary);
                objects
            }
            None => return Ok(ExitCode::FAILURE),
        },
    };
    let (text, ok) = install::install(flags, objects)?;
    let done = said((text, ok))?;
    if ok && matches!(flags.pack.output, Output::Text) {
        eprintln!("{}", install::next(&flags.pack.namespace));
    }
    Ok(done)
}

/// The objects that install a component; none where something keeps it from being installed, which is said on stderr.
///
/// `done` is as in "nothing is packed".
fn packed(flags: &PackPlugin, done: &str) -> Result<Option<pack::Objects>, CliError> {
    let (project, Examined { report, packed }) = examined(&flags.component)?;
    let Some(kind) = report.kind.filter(|_| report.ok) else {
        eprintln!("{report}; nothing is {done}");
        return Ok(None);
    };
    let file = project.component.display();
    let usage = |problem: String| CliError::Usage(format!("{file}: {problem}"));
    let asked = report.capabilities();
    if flags.image.is_none() && report.size.config_maps.is_none() {
        let (has, limit) = (Bytes(report.size.zstd_bytes), Bytes(PackedPlugin::MAX));
        eprintln!(
            "kubeopencode: {file}: {has} as zstd are more than the {limit} that the ConfigMaps of one component hold; nothing is \
             {done}: put it into a registry with `kubeopencode plugin push`, and say with --image where it is; or on a web server or \
             into a directory, and name that in spec.source of a Plugin"
        );
        return Ok(None);
    }
    let grants = grants::grants(&flags.grant, &asked).map_err(usage)?;
    let granted = grants.as_ref().map(|grants| grants.capabilities.clone()).unwrap_or_default();
    let (name, namespace) = (flags.name.as_deref().or(project.name.as_deref()), flags.namespace.as_str());
    let (versioned, image) = (flags.versioned, flags.image.as_deref());
    let wanted = pack::Wanted { name, namespace, grants, versioned, image };
    let mut objects = pack::objects(&report, kind, &packed, wanted).map_err(usage)?;
    let missing: Vec<_> =
        asked.iter().filter(|asked| !granted.contains(asked)).map(|asked| asked.as_str()).collect();
    if !missing.is_empty() {
        let words = missing.join(" or ");
        objects.summary += &format!("\nit asks for more than is granted: a Task that needs {words} fails");
    }
    Ok(Some(objects))
}

/// Looks at a component with a host of its own, which compiles it anew.
fn examined(component: &Component) -> Result<(Project, Examined), CliError> {
    let project = Project::of(component)?;
    let bytes = project.read()?;
    let cache = tempfile::tempdir()?;
    let host = plugin_host::at(cache.path().to_owned())?;
    let file = project.component.display().to_string();
    let examined = examine(&host, file, &bytes, project.kind, project.class)?;
    Ok((project, examined))
}

fn list(flags: &ListPlugins) -> Result<(), CliError> {
    let host: PluginHost = plugin_host::at(plugin_host::cache_dir()?)?;
    let built_in = host.load_built_in().map_err(|error| CliError::Plugins(error.to_string()))?;
    let mut rows: Vec<_> = built_in.iter().flat_map(|plugin| list::built_in(plugin)).collect();
    match crate::runtime()?.block_on(plugins(flags.cluster.kubeconfig.as_deref())) {
        Ok(plugins) => rows.extend(plugins.iter().flat_map(list::of_cluster)),
        Err(why) => eprintln!("only those that come with KubeOpenCode: {why}"),
    }
    let text = match flags.output {
        Output::Text => list::table(&rows),
        Output::Json => json(&rows)?,
    };
    Ok(std::io::stdout().lock().write_all(text.as_bytes())?)
}

/// The Plugins of the cluster, by their names.
///
/// # Errors
/// Why they are not known, in one line.
async fn plugins(kubeconfig: Option<&Path>) -> Result<Vec<Plugin>, String> {
    let client = client(kubeconfig).await.map_err(|error| error.to_string())?;
    let plugins = Api::<Plugin>::all(client);
    let params = ListParams::default();
    match tokio::time::timeout(ANSWER, plugins.list(&params)).await {
        Ok(Ok(list)) => Ok(list.items),
        Ok(Err(kube::Error::Api(error))) if error.code == 404 => {
            Err("the cluster has no Plugins: KubeOpenCode is not installed there, or without them".to_owned())
        }
        Ok(Err(error)) => Err(format!("the cluster's Plugins cannot be read: {}", words(&error))),
        Err(_) => Err(format!("the cluster did not answer in {} s", ANSWER.as_secs())),
    }
}
