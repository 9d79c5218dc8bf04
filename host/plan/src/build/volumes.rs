//! The Pod's volumes, and where the agent's container sees them.
//!
//! May touch: the layout. Must not touch: what lies in a volume.

use k8s_openapi::api::core::v1::{
    ConfigMapProjection, ConfigMapVolumeSource, EmptyDirVolumeSource, KeyToPath, ProjectedVolumeSource,
    SecretVolumeSource, Volume, VolumeMount, VolumeProjection,
};
use kubeopencode_api::literals::{DIRECTORY_VOLUMES, TOOLS_DIR};

use super::config_map_packing::Data;
use super::layout::{Delivery, DirectorySource, Layout, joined_at};
use super::mounts::{CONTEXT_FILES, TOOLS, mount, part, read_only};
use super::network;
use super::shared_mounts::{clones, downloads, git_push, git_volume, push_dir, url_volume};
use super::{ContextNames, some};
use crate::evaluated::SecretTarget;

/// The keys of a Secret that Git pushes with, which are those that it clones with. What else the Secret has, the agent does
/// not get.
const PUSH_KEYS: [&str; 4] = ["username", "password", "ssh-privatekey", "ssh-known-hosts"];

/// Name of a single file in the volume of a download.
pub(super) const URL_FILE: &str = "content";

/// The volumes, in the order of docs/contract.md, section 4.
pub(super) fn volumes(layout: &Layout<'_>, names: ContextNames<'_>) -> Vec<Volume> {
    let has_tools = layout.run.has_tools() || layout.writes_tools();
    let mut volumes: Vec<_> = has_tools.then(|| empty(TOOLS)).into_iter().collect();
    let workspace = layout.run.conventions.workspace.as_ref();
    let workspace = workspace.filter(|own| layout.shared.uses_volume(own.volume));
    volumes.extend(workspace.map(|own| empty(own.volume)));
    for (i, credential) in layout.run.agent.credentials.iter().enumerate() {
        if let Some(mount) = &credential.mount {
            volumes.push(secret(
                credential_volume(i),
                &credential.secret,
                mount.key.as_deref().as_slice(),
                Some(mount.mode.unwrap_or(layout.run.agent.pod.credential_mode())),
                None,
            ));
        }
    }
    volumes.extend(context_files(layout, names));
    for (i, placed) in layout.directories.iter().enumerate() {
        let (name, mode) = (dir_volume(i), placed.directory.mode);
        // the mode of what is copied is context-init's business
        let mode = mode.filter(|_| !placed.written).map(bits);
        let (config_map, optional) = match &placed.source {
            DirectorySource::Named(config_map) => (config_map.clone(), placed.optional.then_some(true)),
            DirectorySource::Own(i) => (names(*i), None),
            DirectorySource::Empty => {
                volumes.push(empty(name));
                continue;
            }
        };
        let source = ConfigMapVolumeSource { name: config_map, default_mode: mode, optional, items: None };
        volumes.push(Volume { name, config_map: Some(source), ..Volume::default() });
    }
    volumes.extend((0..clones(layout.contexts).count()).map(|i| empty(git_volume(i))));
    for (i, (_, download)) in downloads(layout.contexts).enumerate() {
        if !layout.shared.holds(&download.path) || layout.shared.uses_volume(&url_volume(i)) {
            volumes.push(empty(url_volume(i)));
        }
    }
    let of_clones = clones(layout.contexts)
        .enumerate()
        .map(|(i, (context, clone))| (git_secret(i), context, &clone.credentials));
    let of_downloads = downloads(layout.contexts)
        .enumerate()
        .map(|(i, (context, download))| (url_secret(i), context, &download.credentials));
    for (name, context, credentials) in of_clones.chain(of_downloads) {
        if let Some(credentials) = credentials.as_ref().filter(|_| !context.item.optional) {
            volumes.push(secret(name, credentials, &[], None, None));
        }
    }
    for (i, credentials) in pushes(layout) {
        // each key may be missing, which the kubelet knows of the whole volume alone
        let mode = Some(layout.run.agent.pod.credential_mode());
        volumes.push(secret(git_push(i), credentials, &PUSH_KEYS, mode, Some(true)));
    }
    for (i, file) in mounted_secrets(layout).enumerate() {
        volumes.push(secret(secret_file(i), &file.secret.name, &[&file.secret.key], file.mode, None));
    }
    for (i, part) in layout.secrets.iter().enumerate() {
        let optional = part.optional.then_some(true);
        volumes.push(secret(secret_volume(i), &part.name, &[&part.key], None, optional));
    }
    volumes.extend(network::volume(layout.run));
    volumes.extend(layout.run.agent.pod.volumes.iter().cloned());
    volumes
}

/// What the agent's container mounts.
pub(super) fn agent_mounts(layout: &Layout<'_>) -> Vec<VolumeMount> {
    let mut mounts: Vec<_> = layout.run.has_tools().then(|| mount(TOOLS, TOOLS_DIR)).into_iter().collect();
    mounts.extend(layout.shared.mounts());
    for (i, credential) in layout.run.agent.credentials.iter().enumerate() {
        if let Some(target) = &credential.mount {
            let mount = read_only(credential_volume(i), target.path.as_str());
            mounts.push(match &target.key {
                Some(key) => part(key, mount),
                None => mount,
            });
        }
    }
    for (i, file) in layout.files.iter().enumerate() {
        let path = file.path.as_str();
        if let Some(key) = file.mounted_key() {
            mounts.push(part(key, read_only(CONTEXT_FILES, path)));
        } else if file.delivery == Delivery::Joined {
            mounts.push(part(joined_at(i), read_only(TOOLS, path)));
        }
    }
    for (i, placed) in layout.directories.iter().enumerate().filter(|(_, placed)| !placed.written) {
        mounts.push(read_only(dir_volume(i), placed.directory.path.as_str()));
    }
    for (i, (_, download)) in downloads(layout.contexts).enumerate() {
        if !layout.shared.holds(&download.path) {
            mounts.push(part(URL_FILE, read_only(url_volume(i), download.path.as_str())));
        }
    }
    for (i, file) in mounted_secrets(layout).enumerate() {
        mounts.push(part(&file.secret.key, read_only(secret_file(i), file.path.as_str())));
    }
    mounts.extend(pushes(layout).map(|(i, _)| read_only(git_push(i), push_dir(i))));
    mounts.extend(network::mount(layout.run));
    mounts.extend(layout.run.agent.pod.volume_mounts.iter().cloned());
    mounts
}

/// Volume of the `i`-th directory.
pub(super) fn dir_volume(i: usize) -> String {
    format!("{DIRECTORY_VOLUMES}{i}")
}

fn credential_volume(i: usize) -> String {
    format!("credential-{i}")
}

/// Volume of the Secret of the `i`-th clone.
pub(super) fn git_secret(i: usize) -> String {
    format!("git-secret-{i}")
}

/// Volume of the Secret of the `i`-th download.
pub(super) fn url_secret(i: usize) -> String {
    format!("url-secret-{i}")
}

fn secret_file(i: usize) -> String {
    format!("secret-file-{i}")
}

/// Volume of the `i`-th Secret that `context-init` reads.
pub(super) fn secret_volume(i: usize) -> String {
    format!("secret-{i}")
}

/// The clones that the agent pushes, by their numbers, and the Secret of each.
fn pushes<'a>(layout: &Layout<'a>) -> impl Iterator<Item = (usize, &'a str)> {
    let clones = clones(layout.contexts).enumerate().filter(|(_, (_, clone))| clone.push);
    clones.filter_map(|(i, (_, clone))| Some((i, clone.credentials.as_deref()?)))
}

/// The Secrets that are files as they are; optional ones are written by `context-init`.
fn mounted_secrets<'a>(layout: &Layout<'a>) -> impl Iterator<Item = &'a SecretTarget> {
    let files = layout.contexts.iter().flat_map(|context| &context.secret_files);
    files.filter(|file| !file.secret.optional)
}

/// The volume of the plan's files: one ConfigMap as it is, several projected into one directory.
fn context_files(layout: &Layout<'_>, names: ContextNames<'_>) -> Option<Volume> {
    let maps = layout.file_maps();
    // keys are listed only where a mode must be given: a list shows nothing but what is in it
    let modes = layout.files.iter().any(|file| file.delivery == Delivery::Mounted && file.mode.is_some());
    let items = |map: &Data| modes.then(|| map.keys().map(|key| item(layout, key)).collect::<Vec<_>>());
    let mut volume = Volume { name: CONTEXT_FILES.to_owned(), ..Volume::default() };
    match maps {
        [] => return None,
        [map] => {
            volume.config_map = Some(ConfigMapVolumeSource {
                name: names(0),
                items: items(map),
                ..ConfigMapVolumeSource::default()
            });
        }
        maps => {
            let sources = maps.iter().enumerate().map(|(i, map)| VolumeProjection {
                config_map: Some(ConfigMapProjection { name: names(i), items: items(map), optional: None }),
                ..VolumeProjection::default()
            });
            volume.projected =
                Some(ProjectedVolumeSource { sources: Some(sources.collect()), default_mode: None });
        }
    }
    Some(volume)
}

fn item(layout: &Layout<'_>, key: &str) -> KeyToPath {
    let file = layout.files.iter().find(|file| file.mounted_key() == Some(key));
    KeyToPath { key: key.to_owned(), path: key.to_owned(), mode: file.and_then(|file| file.mode).map(bits) }
}

/// With these keys; none: all of them.
fn secret(name: String, secret: &str, keys: &[&str], mode: Option<u32>, optional: Option<bool>) -> Volume {
    let item = |key: &&str| KeyToPath { key: (*key).to_owned(), path: (*key).to_owned(), mode: None };
    let items = some(keys.iter().map(item).collect());
    let secret_name = Some(secret.to_owned());
    let source = SecretVolumeSource { secret_name, items, default_mode: mode.map(bits), optional };
    Volume { name, secret: Some(source), ..Volume::default() }
}

fn empty(name: impl Into<String>) -> Volume {
    let empty_dir = Some(EmptyDirVolumeSource::default());
    Volume { name: name.into(), empty_dir, ..Volume::default() }
}

/// Permission bits are at most 0777.
fn bits(mode: u32) -> i32 {
    i32::try_from(mode & 0o777).unwrap_or_default()
}
