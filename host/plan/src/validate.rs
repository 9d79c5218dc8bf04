//! The PlanValidator: the one place that decides whether a plugin's plan may become part of a Pod, for built-in and
//! custom types alike.
//!
//! May touch: plan, item and grant. Must not touch: the Pod.

mod address;
mod brought;
mod command;
mod env;
#[cfg(any(test, debug_assertions))]
pub mod fuzzing;
mod git_write;
mod network;
mod places;
mod request;
mod secrets;

use std::collections::BTreeSet;

use kubeopencode_api::condition::Reason;
use kubeopencode_api::plugin::{
    Action, Capability, ConfigMapMount, Diagnostic, GIT_WRITE, GitFetch, Plan, RunInit, SecretFile,
    SecretKey, Severity,
};

use crate::evaluated::{Directory, Evaluated, FileContent, GitClone, Piece, SecretTarget, TargetFile};
use crate::item::Item;
use crate::object_name::is_object_name;
use crate::paths::AbsPath;
use crate::{Granted, Refusal, Run};
pub(crate) use command::ToolsImage;
pub use command::{Command, ServerCommand, validate_command, validate_server};
use kubeopencode_api::globs::matches;

/// Code of the remark that a plugin makes when it leaves an optional thing out.
const SKIPPED: &str = "OptionalSkipped";

/// Most volumes and containers that one item may ask for.
const MAX_VOLUMES: usize = 16;

/// Most environment variables that one item may ask for.
const MAX_ENV: usize = 64;

/// Checks a plugin's plan and lays it out by kind.
///
/// # Errors
/// The first action that the plugin must not ask for, as `PluginError`, or as `ContextError` for a built-in type,
/// whose plugin only repeats what the user wrote.
pub fn validate(run: &Run, item: &Item, granted: &Granted, plan: Plan) -> Result<Evaluated, Refusal> {
    if let Some(extension) = plan.extensions.first() {
        return Err(unknown(item, &extension.kind));
    }
    check_number(item, &plan.actions)?;
    if let Some(path) = item.mount_path() {
        places::check(run, item, path)?;
    }
    let mut validator = Validator { run, item, granted, out: Evaluated::empty(item), taken: BTreeSet::new() };
    for action in plan.actions {
        validator.action(action)?;
    }
    validator.check_brought()?;
    if run.attaches_to().is_some() && !validator.out.is_text() {
        let agent = &run.agent.key.name;
        let problem =
            format!("its plan is more than text, which server-mode Agent \"{agent}\" does not support");
        return Err(item.plan_refused(problem));
    }
    validator.out.notices.extend(plan.diagnostics.into_iter().filter_map(|remark| notice(item, remark)));
    Ok(validator.out)
}

struct Validator<'a> {
    run: &'a Run,
    item: &'a Item,
    granted: &'a Granted,
    out: Evaluated,
    /// where something goes already
    taken: BTreeSet<AbsPath>,
}

impl Validator<'_> {
    fn action(&mut self, action: Action) -> Result<(), Refusal> {
        match action {
            Action::Inline(text) => match self.item.mount_path().cloned() {
                Some(path) => self.file(path, FileContent::Bytes(text.into_bytes()), self.item.file_mode)?,
                None => self.out.pieces.push(Piece::Text(text)),
            },
            Action::InlineFile { name, text } => {
                if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']) {
                    return Err(self.refuse(format!("\"{name}\" cannot be the name of a file")));
                }
                match self.item.mount_path().map(|dir| dir.join(&name)) {
                    Some(path) => {
                        self.file(path, FileContent::Bytes(text.into_bytes()), self.item.file_mode)?;
                    }
                    None => self.out.pieces.push(Piece::File { name, text }),
                }
            }
            Action::InlineSecret(secret) => {
                let mode = self.item.file_mode;
                match self.item.mount_path().map(|path| path.as_str().to_owned()) {
                    Some(path) => self.secret_file(SecretFile { secret, path, mode })?,
                    None => {
                        let secret = self.secret(secret)?;
                        self.out.pieces.push(Piece::Secret(secret));
                    }
                }
            }
            Action::InlineBrought(file) => {
                let brought = self.brought(&file)?;
                match self.item.mount_path().cloned() {
                    Some(path) => self.file(path, FileContent::Brought(brought), self.item.file_mode)?,
                    None => self.out.pieces.push(Piece::Brought(brought)),
                }
            }
            Action::WriteFile(file) => {
                let path = self.path(&file.path)?;
                self.file(path, FileContent::Bytes(file.content), file.mode)?;
            }
            Action::MountConfigMap(mount) => self.config_map(mount)?,
            Action::MountSecret(secret) => self.secret_file(secret)?,
            Action::FetchGit(git) => self.git(git)?,
            Action::FetchUrl(url) => self.url(url)?,
            Action::RunInit(init) => self.init(init)?,
            Action::SetEnv(variable) => {
                self.need(Capability::Env, "set-env")?;
                self.check_env(&variable)?;
                self.out.env.push(variable);
            }
            Action::Extended(extension) if extension.kind == GIT_WRITE => self.git_write(&extension.body)?,
            Action::Extended(extension) => return Err(unknown(self.item, &extension.kind)),
        }
        Ok(())
    }

    fn file(&mut self, path: AbsPath, content: FileContent, mode: Option<u32>) -> Result<(), Refusal> {
        self.take(&path)?;
        self.out.files.push(TargetFile { path, content, mode: self.mode(mode) });
        Ok(())
    }

    fn config_map(&mut self, mount: ConfigMapMount) -> Result<(), Refusal> {
        let path = self.path(&mount.path)?;
        if !is_object_name(&mount.name) {
            return Err(self.refuse(format!("\"{}\" cannot be the name of a ConfigMap", mount.name)));
        }
        self.take(&path)?;
        let mode = self.mode(mount.mode);
        let directory =
            Directory { path, mode, config_map: mount.name, optional: mount.optional, embedded: None };
        self.out.directories.push(directory);
        Ok(())
    }

    fn secret_file(&mut self, file: SecretFile) -> Result<(), Refusal> {
        let secret = self.secret(file.secret)?;
        let path = self.path(&file.path)?;
        self.take(&path)?;
        self.out.secret_files.push(SecretTarget { secret, path, mode: self.mode(file.mode) });
        Ok(())
    }

    /// A Secret that becomes a file or a part of one. Nobody here can see whether it exists, so that an optional item
    /// goes on without it.
    fn secret(&self, secret: SecretKey) -> Result<SecretKey, Refusal> {
        self.need(Capability::Secret, "a Secret")?;
        self.check_secret_key(&secret)?;
        Ok(SecretKey { optional: secret.optional || self.item.optional, ..secret })
    }

    fn git(&mut self, git: GitFetch) -> Result<(), Refusal> {
        self.need(Capability::Git, "fetch-git")?;
        let address = address::repository(&git.repository).map_err(|e| self.refuse(e))?;
        let network = self.network(&address.host)?;
        address::reference(&git.r#ref).map_err(|e| self.refuse(e))?;
        let sub_path = address::sub_path(&git.sub_path).map_err(|e| self.refuse(e))?;
        if let Some(secret) = &git.credentials {
            self.check_credentials(secret, &address.host)?;
        }
        self.warn(address.warning);
        let path = self.path(&git.path)?;
        self.take(&path)?;
        self.out.clones.push(GitClone {
            repository: git.repository,
            reference: git.r#ref,
            sub_path,
            depth: git.depth,
            submodules: git.submodules,
            credentials: git.credentials,
            path,
            mode: self.mode(git.mode),
            network,
            identity: None,
            push: false,
        });
        Ok(())
    }

    /// What the user should know of an item that is taken.
    fn warn(&mut self, warning: Option<String>) {
        let notice = warning.map(|text| (Reason::Resolved, format!("{}: {text}", self.item)));
        self.out.notices.extend(notice);
    }

    fn init(&mut self, init: RunInit) -> Result<(), Refusal> {
        self.need(Capability::InitContainer, "run-init")?;
        let granted = self.granted.images.iter().any(|glob| matches(glob, &init.image) == Ok(true));
        if !granted {
            let (image, remedy) = (&init.image, self.granted.remedy("images"));
            return Err(
                self.refuse(format!("run-init of image \"{image}\", which no grant allows: {remedy}"))
            );
        }
        for variable in &init.env {
            self.check_env_source(variable)?;
        }
        self.out.inits.push(init);
        Ok(())
    }

    /// A path that the plan may write to: in the workspace, or where the item's own mountPath leads.
    fn path(&self, written: &str) -> Result<AbsPath, Refusal> {
        let workspace = &self.run.agent.workspace;
        let path = AbsPath::parse(written, Some(workspace))
            .map_err(|problem| self.refuse(format!("path \"{written}\" {problem}")))?;
        if let Some(reserved) = path.touches(self.run.conventions.reserved_paths) {
            return Err(self.refuse(format!("path \"{written}\" reaches into {reserved}, which is reserved")));
        }
        let own = self.item.mount_path().is_some_and(|own| path.is_within(own));
        if !own && !path.is_within(workspace) {
            return Err(self.refuse(format!(
                "path \"{written}\" lies neither in the workspace {workspace} nor under the item's mountPath"
            )));
        }
        places::check(self.run, self.item, &path)?;
        Ok(path)
    }

    fn mode(&self, stated: Option<u32>) -> Option<u32> {
        stated.map(|mode| self.run.agent.pod.for_the_agent(mode & 0o777))
    }

    fn take(&mut self, path: &AbsPath) -> Result<(), Refusal> {
        if !self.taken.insert(path.clone()) {
            return Err(self.refuse(format!("two parts of the plan go to {path}")));
        }
        Ok(())
    }

    fn need(&self, capability: Capability, what: &str) -> Result<(), Refusal> {
        if self.granted.has(capability) {
            return Ok(());
        }
        Err(self.refuse(format!(
            "it asks for {what}, which needs the capability \"{}\": {}",
            capability.as_str(),
            self.granted.remedy_of(capability)
        )))
    }

    fn refuse(&self, problem: impl std::fmt::Display) -> Refusal {
        self.item.plan_refused(problem)
    }
}

fn check_number(item: &Item, actions: &[Action]) -> Result<(), Refusal> {
    let (mut volumes, mut env) = (0, 0);
    for action in actions {
        match action {
            Action::Inline(_)
            | Action::InlineFile { .. }
            | Action::InlineBrought(_)
            | Action::WriteFile(_) => {}
            Action::SetEnv(_) => env += 1,
            _ => volumes += 1,
        }
    }
    if volumes > MAX_VOLUMES || env > MAX_ENV {
        return Err(item.plan_refused(format!(
            "it asks for {volumes} volumes and containers and {env} environment variables, at most {MAX_VOLUMES} and \
             {MAX_ENV} are allowed"
        )));
    }
    Ok(())
}

fn unknown(item: &Item, kind: &str) -> Refusal {
    item.plan_refused(format!(
        "it asks for \"{kind}\", which this version does not know: upgrade KubeOpenCode"
    ))
}

fn notice(item: &Item, remark: Diagnostic) -> Option<(Reason, String)> {
    let reason = match (remark.code.as_str(), remark.severity) {
        (SKIPPED, _) => Reason::OptionalSkipped,
        (_, Severity::Warning) => Reason::Resolved,
        (_, Severity::Info) => return None,
    };
    Some((reason, format!("{item}: {}", remark.message)))
}
