//! The init containers, in the order of docs/contract.md, section 4.
//!
//! May touch: the layout. Must not touch: what the programs in them do.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, EnvVar, VolumeMount};
use kubeopencode_api::literals::{SERVER_PASSWORD, SERVER_USERNAME, TOOLS_DIR};
use kubeopencode_api::network::NetworkRules;
use kubeopencode_api::plugin::RunInit;
use serde::Serialize;

use super::agent::pull_policy;
use super::env::{base_env, env_var, secret_var, var};
use super::layout::{Layout, dir_path, secret_dir};
use super::mounts::{CONTEXT_FILES, TOOLS, mount, read_only};
use super::nested_mounts::NestedMounts;
use super::network;
use super::reader;
use super::shared_mounts::{GIT_LINK, clones, downloads, git_volume, push_dir, url_volume};
use super::some;
use super::volumes::{URL_FILE, agent_mounts, dir_volume, git_secret, secret_volume, url_secret};
use crate::evaluated::{Download, Evaluated, GitClone};
use crate::paths::AbsPath;
use crate::run::Server;
use crate::validate::ToolsImage;

const PROGRAM: &str = "/kubeopencode";
const GIT_ROOT: &str = "/git";
const CONFIG_MAP_PATH: &str = "/configmap-files";
/// Where the Secret of a clone or a download is mounted. Nobody reads it there.
const SECRET_PATH: &str = "/secret";
/// Where `url-fetch` puts a file that is mounted elsewhere in the agent's container.
const URL_ROOT: &str = "/url-content";
/// Seconds until a server that does not answer fails the Task.
const SERVER_TIMEOUT: &str = "600";

/// All of them.
pub(super) fn containers(layout: &Layout<'_>) -> Vec<Container> {
    let contexts = layout.contexts;
    let tools = layout.command.tools.as_ref().map(|image| opencode_init(layout, image));
    let nested = NestedMounts::new(layout);
    let clones = clones(contexts)
        .enumerate()
        .map(|(i, (context, clone))| git_init(layout, &nested, i, context, clone));
    let downloads = downloads(contexts).enumerate();
    let downloads = downloads.map(|(i, (context, download))| url_fetch(layout, i, context, download));
    let inits = contexts.iter().flat_map(|context| &context.inits).enumerate();
    let inits = inits.map(|(i, init)| plugin_init(layout, i, init));
    let parents = nested.for_context_init();
    let files = (layout.needs_context_init() || parents.is_some()).then(|| context_init(layout, parents));
    let waits = layout.run.waits_for().map(|server| server_wait(layout, server));
    let all = tools.into_iter().chain(clones).chain(downloads).chain(inits).chain(files).chain(waits);
    all.map(|container| network::reach_as_agent(layout.run, container)).collect()
}

/// Brings the agent's program; the image knows how.
fn opencode_init(layout: &Layout<'_>, image: &ToolsImage) -> Container {
    let image = match image {
        ToolsImage::Agents => {
            let agent = &layout.run.agent;
            agent.tools_image.as_deref().unwrap_or(&agent.default_tools_image)
        }
        ToolsImage::Builders(image) => image,
    };
    Container {
        name: "opencode-init".to_owned(),
        image: Some(image.to_owned()),
        image_pull_policy: pull_policy(layout.run),
        env: Some(vec![var("TOOLS_DIR", TOOLS_DIR)]),
        volume_mounts: Some(vec![mount(TOOLS, TOOLS_DIR)]),
        ..base(layout)
    }
}

fn git_init(
    layout: &Layout<'_>,
    nested: &NestedMounts<'_>,
    i: usize,
    context: &Evaluated,
    clone: &GitClone,
) -> Container {
    let mut env = vec![
        var("GIT_REPO", &clone.repository),
        var("GIT_REF", &clone.reference),
        var("GIT_DEPTH", &clone.depth.to_string()),
        var("GIT_ROOT", GIT_ROOT),
        var("GIT_LINK", GIT_LINK),
        flag("GIT_OPTIONAL", context.item.optional),
    ];
    if clone.submodules {
        env.push(flag("GIT_SUBMODULES", true));
    }
    if !clone.sub_path.is_empty() {
        // kubelet would make an empty directory of a path that is not there
        env.push(var("GIT_PATH", &clone.sub_path));
    }
    if let Some(mode) = clone.mode {
        env.push(var("GIT_FILE_MODE", &mode.to_string()));
    }
    if let Some(identity) = &clone.identity {
        env.extend([var("GIT_USER_NAME", &identity.name), var("GIT_USER_EMAIL", &identity.email)]);
    }
    if clone.push {
        env.push(var("GIT_PUSH", &push_dir(i)));
    }
    env.extend(network("GIT_NETWORK", &clone.network));
    let within = mounts_within(layout, &clone.path);
    if !within.is_empty() {
        // texts can always be written
        env.push(var("GIT_MOUNTS", &serde_json::to_string(&within).unwrap_or_default()));
    }
    env.extend(nested.in_clone(i));
    if let Some(others) = layout.excluded.get(i).filter(|others| !others.is_empty()) {
        // texts can always be written
        env.push(var("GIT_EXCLUDE", &serde_json::to_string(others).unwrap_or_default()));
    }
    let mut mounts = vec![mount(git_volume(i), GIT_ROOT)];
    if let Some((variable, volumes)) = nested.for_git_init().filter(|_| i == 0) {
        env.push(variable);
        mounts.extend(volumes);
    }
    if let Some(secret) = &clone.credentials {
        env.push(var("GIT_SECRET", secret));
        mounts.extend(required_secret(context, git_secret(i)));
        for (name, key) in [
            ("GIT_USERNAME", "username"),
            ("GIT_PASSWORD", "password"),
            ("GIT_SSH_KEY", "ssh-privatekey"),
            ("GIT_SSH_KNOWN_HOSTS", "ssh-known-hosts"),
        ] {
            env.push(secret_var(name, secret, key, true));
        }
    }
    system(layout, format!("git-init-{i}"), "git-init", env, mounts)
}

fn url_fetch(layout: &Layout<'_>, i: usize, context: &Evaluated, download: &Download) -> Container {
    let within = layout.shared.holds(&download.path);
    let target = match within {
        true => download.path.as_str().to_owned(),
        false => format!("{URL_ROOT}/{URL_FILE}"),
    };
    let headers: BTreeMap<_, _> = download.headers.iter().cloned().collect();
    let mut env = vec![
        var("URL_SOURCE", &download.url),
        var("URL_TARGET", &target),
        // texts can always be written
        var("URL_HEADERS", &serde_json::to_string(&headers).unwrap_or_default()),
        var("URL_TIMEOUT", &download.timeout_seconds.to_string()),
        flag("URL_INSECURE", download.insecure),
        flag("URL_OPTIONAL", context.item.optional),
    ];
    if let Some(body) = &download.body {
        env.extend([flag("URL_POST", true), var("URL_BODY", body)]);
    }
    if !download.secret_headers.is_empty() {
        let told = download.secret_headers.iter().enumerate().map(|(i, header)| ToldHeader {
            name: &header.name,
            before: &header.before,
            after: &header.after,
            variable: secret_header(i),
        });
        // texts can always be written
        let told = serde_json::to_string(&told.collect::<Vec<_>>()).unwrap_or_default();
        env.push(var("URL_SECRET_HEADERS", &told));
        env.extend(download.secret_headers.iter().enumerate().map(|(i, header)| {
            let key = &header.secret;
            secret_var(&secret_header(i), &key.name, &key.key, key.optional)
        }));
    }
    if let Some(digest) = &download.sha256 {
        env.push(var("URL_SHA256", digest));
    }
    if download.unpack {
        env.push(flag("URL_UNPACK", true));
    }
    if let Some(mode) = download.mode {
        env.push(var("URL_FILE_MODE", &mode.to_string()));
    }
    env.extend(network("URL_NETWORK", &download.network));
    if !within && !download.unpack && context.item.optional {
        // kubelet would make a directory of a mounted file that is not there
        env.push(flag("URL_PLACEHOLDER", true));
    }
    let mut mounts: Vec<VolumeMount> = layout.shared.mounts().collect();
    if !within {
        mounts.push(mount(url_volume(i), URL_ROOT));
    }
    if let Some(secret) = &download.credentials {
        env.push(var("URL_SECRET", secret));
        mounts.extend(required_secret(context, url_secret(i)));
        for (name, key) in [
            ("URL_AUTH_TOKEN", "token"),
            ("URL_AUTH_USERNAME", "username"),
            ("URL_AUTH_PASSWORD", "password"),
        ] {
            env.push(secret_var(name, secret, key, true));
        }
    }
    system(layout, format!("url-fetch-{i}"), "url-fetch", env, mounts)
}

/// What `url-fetch` is told of a header whose value is partly in a variable.
#[derive(Serialize)]
struct ToldHeader<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    before: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    after: &'a str,
    variable: String,
}

/// The variable with the Secret of the `i`-th of these headers.
fn secret_header(i: usize) -> String {
    format!("URL_SECRET_HEADER_{i}")
}

/// Variables from keys that may be missing say nothing of a Secret that is not there: it is mounted too, so that kubelet
/// waits for it. What is optional is tried without.
fn required_secret(context: &Evaluated, volume: String) -> Option<VolumeMount> {
    (!context.item.optional).then(|| read_only(volume, SECRET_PATH))
}

fn plugin_init(layout: &Layout<'_>, i: usize, init: &RunInit) -> Container {
    let mut env = base_env(layout.run);
    env.retain(|variable| init.env.iter().all(|own| own.name != variable.name));
    env.extend(init.env.iter().map(env_var));
    Container {
        name: format!("plugin-init-{i}"),
        image: Some(init.image.clone()),
        image_pull_policy: pull_policy(layout.run),
        command: some(init.command.clone()),
        args: some(init.args.clone()),
        env: Some(env),
        working_dir: layout.run.working_dir(),
        volume_mounts: Some(layout.shared.mounts().collect()),
        ..base(layout)
    }
}

fn context_init(layout: &Layout<'_>, parents: Option<EnvVar>) -> Container {
    let run = layout.run;
    let workspace = run.conventions.workspace.as_ref().map(|_| run.agent.workspace.as_str());
    let mut env: Vec<_> = workspace.map(|path| var("WORKSPACE_DIR", path)).into_iter().collect();
    env.extend([
        var("CONFIGMAP_PATH", CONFIG_MAP_PATH),
        var("FILE_MAPPINGS", &layout.file_mappings),
        var("DIR_MAPPINGS", &layout.dir_mappings),
    ]);
    if reader::is_needed(run, layout.command) {
        env.push(var("TOOLS_DIR", TOOLS_DIR));
    }
    env.extend(parents);
    let mut mounts = Vec::new();
    if !layout.file_maps().is_empty() {
        mounts.push(read_only(CONTEXT_FILES, CONFIG_MAP_PATH));
    }
    for (i, _) in layout.directories.iter().enumerate().filter(|(_, placed)| placed.written) {
        mounts.push(read_only(dir_volume(i), dir_path(i)));
    }
    for (i, _) in layout.secrets.iter().enumerate() {
        mounts.push(read_only(secret_volume(i), secret_dir(i)));
    }
    mounts.extend(layout.shared.mounts());
    if layout.writes_tools() {
        mounts.push(mount(TOOLS, TOOLS_DIR));
    }
    system(layout, "context-init".to_owned(), "context-init", env, mounts)
}

/// Holds the agent back until the server answers.
fn server_wait(layout: &Layout<'_>, server: &Server) -> Container {
    let mut env = vec![var("SERVER_URL", &server.url), var("SERVER_TIMEOUT", SERVER_TIMEOUT)];
    // it logs in as the agent does, whoever sets that up
    let login = |variable: &&EnvVar| [SERVER_USERNAME, SERVER_PASSWORD].contains(&variable.name.as_str());
    env.extend(layout.env.iter().filter(login).cloned());
    system(layout, "server-wait".to_owned(), "server-wait", env, Vec::new())
}

/// A container of the system image.
fn system(
    layout: &Layout<'_>,
    name: String,
    subcommand: &str,
    env: Vec<EnvVar>,
    mounts: Vec<VolumeMount>,
) -> Container {
    Container {
        name,
        image: Some(layout.run.agent.system_image.clone()),
        image_pull_policy: Some(layout.run.agent.system_image_pull_policy.as_str().to_owned()),
        command: Some(vec![PROGRAM.to_owned(), subcommand.to_owned()]),
        env: Some(env),
        volume_mounts: some(mounts),
        ..base(layout)
    }
}

/// What all of them have. A failed one tells its exit code and last lines without anybody reading logs. They have the agent's
/// resources: they run one by one and before it, so the Pod needs no more for that, and a ResourceQuota wants them on each.
fn base(layout: &Layout<'_>) -> Container {
    Container {
        resources: layout.run.agent.pod.resources.clone(),
        security_context: Some(layout.run.agent.pod.security_context()),
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        ..Container::default()
    }
}

/// The agent's mounts below this directory, relative to it. A container runtime follows links on its way to a mount: one of
/// the repository would lead it out, over the image's own files.
fn mounts_within(layout: &Layout<'_>, dir: &AbsPath) -> Vec<String> {
    let below = |mount: VolumeMount| {
        let below = mount.mount_path.strip_prefix(dir.as_str())?.strip_prefix('/')?;
        Some(below.trim_end_matches('/').to_owned()).filter(|below| !below.is_empty())
    };
    agent_mounts(layout).into_iter().filter_map(below).collect()
}

/// Where it may be fetched from, where anything was said about it.
fn network(name: &str, rules: &NetworkRules) -> Option<EnvVar> {
    // texts can always be written
    (!rules.is_default()).then(|| var(name, &serde_json::to_string(rules).unwrap_or_default()))
}

fn flag(name: &str, value: bool) -> EnvVar {
    var(name, if value { "true" } else { "false" })
}
