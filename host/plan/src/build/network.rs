//! How containers reach beyond the cluster: the settings' proxies and authorities, for all of them; and the same variables of
//! the Agent's podSpec, which its init containers need as much as the agent.
//!
//! May touch: environment and mounts of those two sources. Must not touch: what a context or a plugin sets, which is for the
//! agent alone: a Task must not choose where the Agent's credentials go through.

use k8s_openapi::api::core::v1::{ConfigMapVolumeSource, Container, EnvVar, KeyToPath, Volume, VolumeMount};

use super::env::{var, verbatim};
use super::mounts::read_only;
use crate::paths::AbsPath;
use crate::run::Run;

const VOLUME: &str = "ca-bundle";
/// Where the settings' bundle is, in every container.
const DIR: &str = "/etc/kubeopencode";
const FILE: &str = "ca.crt";

/// What proxies are called. Programs read them in either spelling: curl, and so git, takes `http_proxy` only so.
const PROXIES: [&str; 4] = ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"];
/// What names a file of authorities: OpenSSL, Go, rustls; git; Node and Bun; curl; Python.
const BUNDLES: [&str; 5] =
    ["SSL_CERT_FILE", "GIT_SSL_CAINFO", "NODE_EXTRA_CA_CERTS", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE"];
/// What names a directory of them.
const DIRECTORIES: [&str; 2] = ["SSL_CERT_DIR", "GIT_SSL_CAPATH"];

/// The variables with those of the settings in front that nobody sets, in neither spelling.
pub(super) fn with_defaults(run: &Run, env: Vec<EnvVar>) -> Vec<EnvVar> {
    let mut all = defaults(run);
    all.retain(|default| env.iter().all(|own| !means(&own.name, &default.name)));
    all.extend(env);
    all
}

/// An init container that reaches what the agent reaches.
pub(super) fn reach_as_agent(run: &Run, container: Container) -> Container {
    let (mut env, mut mounts) =
        (container.env.unwrap_or_default(), container.volume_mounts.unwrap_or_default());
    let (given, needed) = of_pod_spec(run);
    let given: Vec<_> =
        given.into_iter().filter(|new| env.iter().all(|own| !means(&own.name, &new.name))).collect();
    env.extend(given);
    mounts.extend(mount(run));
    mounts.extend(needed);
    let env = with_defaults(run, env);
    Container {
        env: (!env.is_empty()).then_some(env),
        volume_mounts: (!mounts.is_empty()).then_some(mounts),
        ..container
    }
}

/// The settings' bundle.
pub(super) fn volume(run: &Run) -> Option<Volume> {
    let bundle = &run.agent.ca_bundle.as_ref()?.config_map;
    let items = vec![KeyToPath { key: bundle.key.clone(), path: FILE.to_owned(), mode: None }];
    let source = ConfigMapVolumeSource {
        name: bundle.name.clone(),
        items: Some(items),
        ..ConfigMapVolumeSource::default()
    };
    Some(Volume { name: VOLUME.to_owned(), config_map: Some(source), ..Volume::default() })
}

/// Where it is seen.
pub(super) fn mount(run: &Run) -> Option<VolumeMount> {
    run.agent.ca_bundle.as_ref().map(|_| read_only(VOLUME, DIR))
}

fn defaults(run: &Run) -> Vec<EnvVar> {
    let proxy = &run.agent.proxy;
    let mut env = Vec::new();
    let mut both = |name: &str, value: &str| {
        for name in [name.to_owned(), name.to_lowercase()] {
            env.push(EnvVar { name, value: Some(value.to_owned()), value_from: None });
        }
    };
    for (name, address) in [("HTTP_PROXY", &proxy.http), ("HTTPS_PROXY", &proxy.https)] {
        if let Some(address) = address {
            both(name, &verbatim(address));
        }
    }
    if proxy.http.is_some() || proxy.https.is_some() {
        // kubelet knows the API server's address, and puts it in
        let own =
            format!("localhost,127.0.0.1,::1,.svc,.{},$(KUBERNETES_SERVICE_HOST)", run.agent.cluster_domain);
        let all = proxy.no.iter().map(|no| verbatim(no.trim_end_matches(','))).chain([own]);
        both("NO_PROXY", &all.collect::<Vec<_>>().join(","));
    }
    if run.agent.ca_bundle.is_some() {
        env.extend(BUNDLES.map(|name| var(name, &format!("{DIR}/{FILE}"))));
    }
    env
}

/// What of the Agent's own variables an init container needs, proxies in both spellings, and the mounts that they refer to. A
/// file of authorities that is in no mount is in the agent's image alone.
fn of_pod_spec(run: &Run) -> (Vec<EnvVar>, Vec<VolumeMount>) {
    let pod = &run.agent.pod;
    let (mut env, mut mounts) = (Vec::new(), Vec::<VolumeMount>::new());
    for variable in &pod.env {
        if is_proxy(&variable.name) {
            let spellings = [variable.name.to_uppercase(), variable.name.to_lowercase()];
            let other = spellings.into_iter().find(|name| *name != variable.name);
            let other = other.filter(|other| pod.env.iter().all(|own| own.name != *other));
            env.push(variable.clone());
            env.extend(other.map(|name| EnvVar { name, ..variable.clone() }));
        } else if let Some(holds) = mount_of(run, variable) {
            env.push(variable.clone());
            if mounts.iter().all(|known| known.mount_path != holds.mount_path) {
                mounts.push(VolumeMount { read_only: Some(true), ..holds.clone() });
            }
        }
    }
    (env, mounts)
}

/// The mount in which the variable's file or directory of authorities is.
fn mount_of<'a>(run: &'a Run, variable: &EnvVar) -> Option<&'a VolumeMount> {
    let names = || BUNDLES.iter().chain(&DIRECTORIES);
    let path = variable.value.as_ref().filter(|_| names().any(|name| *name == variable.name))?;
    let path = AbsPath::parse(path, None).ok()?;
    let pod = &run.agent.pod;
    // the innermost one shows it
    let mounts = pod.volume_mounts.iter().zip(&pod.mount_paths).filter(|(_, (at, _))| path.is_within(at));
    mounts.max_by_key(|(_, (at, _))| at.as_str().len()).map(|(mount, _)| mount)
}

/// Whether init containers may get this variable of the Agent's, too.
pub(crate) fn is_for_all(name: &str) -> bool {
    is_proxy(name) || BUNDLES.iter().chain(&DIRECTORIES).any(|known| *known == name)
}

fn is_proxy(name: &str) -> bool {
    PROXIES.iter().any(|proxy| proxy.eq_ignore_ascii_case(name))
}

/// Whether both are the same variable to a program.
fn means(one: &str, other: &str) -> bool {
    one == other || (is_proxy(one) && one.eq_ignore_ascii_case(other))
}
