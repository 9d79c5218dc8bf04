//! `plugin push` and `plugin pull`: a component goes into a registry, and comes out of one.
//!
//! May touch: the component's file, stderr, variables that say where the Docker configuration is. Must not touch: how a
//! registry is asked, which the operator knows.

use std::env;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use kubeopencode_api::names::hex;
use kubeopencode_operator::{PulledComponent, PushedComponent, RegistryAccess};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::project::Project;
use super::report::{Bytes, json};
use super::session::{Loaded, first_name};
use crate::args::{Output, PullPlugin, PushPlugin, Registry};
use crate::error::CliError;

/// A component in a registry. Its JSON is read by scripts: fields are added, never renamed.
#[derive(Debug, Serialize)]
struct Stored {
    /// The artifact with its digest, as `spec.source.oci.image` of a Plugin has it.
    image: String,
    /// The digest alone.
    digest: String,
    /// That of the component, in hex, as `spec.sha256` has it.
    sha256: String,
    /// Of the component.
    bytes: usize,
}

impl Stored {
    fn of(image: String, component: &[u8]) -> Self {
        let digest = image.rsplit_once('@').map(|(_, digest)| digest.to_owned()).unwrap_or_default();
        let sha256 = hex(&Sha256::digest(component));
        Self { image, digest, sha256, bytes: component.len() }
    }

    /// What stands in `spec.source` of a Plugin.
    fn source(&self) -> String {
        format!("oci: {{image: \"{}\"}}\n", self.image)
    }
}

/// Pushes a component that the operator would load; what is to be printed.
///
/// # Errors
/// It does not load, or the registry does not take it.
pub(super) fn push(flags: &PushPlugin) -> Result<String, CliError> {
    let project = Project::of(&flags.component)?;
    let bytes = project.read()?;
    let Loaded { inspection, plugin, .. } = Loaded::of(&project, &bytes)?;
    let descriptor = plugin.types().first().map(|type_| type_.descriptor());
    let imports: Vec<_> = inspection.imports.iter().map(|import| import.name.clone()).collect();
    let component = PushedComponent {
        bytes: &bytes,
        file: &format!("{}.wasm", first_name(&plugin)),
        version: descriptor.map_or("", |descriptor| &descriptor.version),
        description: descriptor.map_or("", |descriptor| &descriptor.description),
        imports: &imports,
        exports: &inspection.interfaces(),
    };
    let image = crate::runtime()?.block_on(access(&flags.registry).push(&flags.image, &component))?;
    let stored = Stored::of(image, &bytes);
    if flags.output == Output::Json {
        return Ok(json(&stored)?);
    }
    let (file, size) = (project.component.display(), Bytes(bytes.len()));
    let named = flags.component.file.as_ref().map(|file| format!(" {}", file.display())).unwrap_or_default();
    eprintln!("{file} ({size}) pushed to {}", flags.image);
    eprintln!("install it with: kubeopencode plugin install{named} --image {}", stored.image);
    eprintln!("or with this in spec.source of a Plugin:");
    Ok(stored.source())
}

/// Pulls a component into a file that is not there yet; what is to be printed.
///
/// # Errors
/// The registry does not have it, or the file cannot be written.
pub(super) fn pull(flags: &PullPlugin) -> Result<String, CliError> {
    let access = access(&flags.registry);
    let PulledComponent { image, bytes } = crate::runtime()?.block_on(access.pull(&flags.image))?;
    let path = flags.file.clone().unwrap_or_else(|| file_of(&image));
    write(&path, &bytes)?;
    let stored = Stored::of(image, &bytes);
    if flags.output == Output::Json {
        return Ok(json(&stored)?);
    }
    eprintln!("{} ({}) written", path.display(), Bytes(bytes.len()));
    Ok(format!("{}sha256: {}\n", stored.source(), stored.sha256))
}

/// How the flags say that the registry is reached.
fn access(flags: &Registry) -> RegistryAccess {
    let Registry { registry_config, ca, plain_http } = flags;
    RegistryAccess {
        config: registry_config.clone().or_else(docker_config),
        authorities: ca.clone(),
        plain_http: *plain_http,
    }
}

/// What `docker login` writes, if it ever did.
fn docker_config() -> Option<PathBuf> {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = set("DOCKER_CONFIG").or_else(|| set("HOME").map(|home| home.join(".docker")));
    folder.map(|folder| folder.join("config.json")).filter(|file| file.is_file())
}

/// `jira.wasm` of `ghcr.io/acme/jira@sha256:…`.
fn file_of(image: &str) -> PathBuf {
    let name = image.split('@').next().unwrap_or_default();
    PathBuf::from(format!("{}.wasm", name.rsplit('/').next().unwrap_or_default()))
}

/// Writes a new file, all of it or nothing.
fn write(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    let failed = |error: io::Error| CliError::File { path: path.to_owned(), error };
    let mut file = File::create_new(path).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            let words = format!("{}: it is there already: name another file, or remove it", path.display());
            CliError::Usage(words)
        }
        _ => failed(error),
    })?;
    file.write_all(bytes).map_err(|error| {
        let _ = fs::remove_file(path);
        failed(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_named_by_the_last_part_of_the_repository() {
        for (image, file) in [
            ("ghcr.io/acme/jira@sha256:0a", "jira.wasm"),
            ("localhost:5000/jira@sha256:0a", "jira.wasm"),
            ("jira@sha256:0a", "jira.wasm"),
        ] {
            assert_eq!(file_of(image), Path::new(file), "{image}");
        }
    }
}
