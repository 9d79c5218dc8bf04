//! The steps from a repository to a directory.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::access::Access;
use super::exclude;
use super::git::{Failure, Git};
use super::guard::Guard;
use super::hand_over::hand_over;
use super::settings::{Push, Revision, Settings};
use super::tree;
use crate::error::io_reason;
use crate::network::{Unreached, is_proxied};
use crate::redact::Redactor;
use crate::{Error, mount_parents};

/// A server may be restarting or busy; with the pauses between the tries, three reach over three seconds.
const TRIES: u32 = 3;
/// A commit's name may be cut short to this many digits.
const SHORT_COMMIT: std::ops::RangeInclusive<usize> = 7..=63;

/// How repositories name their objects.
const SHA1: &str = "sha1";
const SHA256: &str = "sha256";
/// Hexadecimal digits of a SHA-256.
const SHA256_DIGITS: usize = 64;

/// Clones, unless the clone is there.
pub(super) fn run(settings: &Settings) -> Result<(), Error> {
    let target = settings.root.join(&settings.link);
    if target.join(".git").exists() {
        eprintln!("git-init: {} is there already", target.display());
        return Ok(());
    }
    let draft = draft_of(&target);
    let failed = |reason: String| {
        let (repository, revision) = (&settings.repository, settings.revision.as_str());
        Error::Failed(format!("cannot clone {repository} at {revision:?}: {reason}"))
    };
    let done = fetch(settings, &draft).map_err(failed).and_then(|()| {
        if let Some(sub_path) = &settings.sub_path {
            check_sub_path(&draft, sub_path).map_err(failed)?;
        }
        let seen = draft.join(settings.sub_path.as_deref().unwrap_or(Path::new("")));
        if let Some((mount, link)) =
            settings.mounts.iter().find_map(|mount| Some((mount, tree::link_on_the_way(&seen, mount)?)))
        {
            let (mount, link) = (mount.display(), link.display());
            return Err(failed(format!(
                "{mount} is mounted in it, and {link} is a symbolic link of the repository: choose another mountPath"
            )));
        }
        make_directories(settings, &draft)?;
        tree::open_to_all(&draft)
            .and_then(|()| settings.file_mode.map_or(Ok(()), |mode| tree::set_mode(&draft, mode)))
            .map_err(|e| Error::write(&draft, io_reason(&e)))?;
        put(&draft, &target).map_err(|e| Error::write(&target, io_reason(&e)))
    });
    if done.is_err() {
        // the failure is what counts
        remove(&draft).ok();
    }
    done
}

/// Kubelet mounts nothing that leads out of the clone's volume, and tries again for ever.
fn check_sub_path(draft: &Path, sub_path: &Path) -> Result<(), String> {
    let (path, shown) = (draft.join(sub_path), sub_path.display().to_string());
    let leads_out = || {
        format!("the path {shown:?} leads out of the repository, by a link: name a directory inside of it")
    };
    let real = match path.canonicalize() {
        Ok(real) => real,
        Err(_) if has_link(draft, sub_path) => return Err(leads_out()),
        Err(_) => return Err(format!("the repository has no path {shown:?}")),
    };
    match draft.canonicalize() {
        Ok(root) if real.starts_with(&root) => Ok(()),
        Ok(_) => Err(leads_out()),
        Err(e) => Err(format!("cannot read {}: {}", draft.display(), io_reason(&e))),
    }
}

/// Whether a part of the path is a link.
fn has_link(draft: &Path, sub_path: &Path) -> bool {
    let parts = sub_path.ancestors().filter(|part| !part.as_os_str().is_empty());
    parts.into_iter().any(|part| draft.join(part).is_symlink())
}

/// An empty directory in the place of a clone that is not needed.
pub(super) fn leave_empty(settings: &Settings) -> Result<(), Error> {
    let target = settings.root.join(&settings.link);
    let dir = target.join(settings.sub_path.as_deref().unwrap_or(Path::new("")));
    fs::create_dir_all(&dir).map_err(|e| Error::write(&dir, io_reason(&e)))?;
    make_directories(settings, &target)?;
    tree::open_to_all(&target).map_err(|e| Error::write(dir, io_reason(&e)))
}

/// In what is mounted of the clone.
fn make_directories(settings: &Settings, clone: &Path) -> Result<(), Error> {
    let mounted = clone.join(settings.sub_path.as_deref().unwrap_or(Path::new("")));
    mount_parents::below("GIT_DIRECTORIES", &mounted, &settings.directories)
}

fn draft_of(target: &Path) -> PathBuf {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    target.with_file_name(format!(".{name}.partial"))
}

fn put(draft: &Path, target: &Path) -> io::Result<()> {
    // at most what `leave_empty` of an earlier run left
    remove(target)?;
    fs::rename(draft, target)
}

fn fetch(settings: &Settings, draft: &Path) -> Result<(), String> {
    let push = settings.push.as_ref().map_err(String::clone)?.as_ref();
    let guard = guard(settings)?;
    let access = Access::prepare(settings, guard.as_ref()).map_err(|e| e.to_string())?;
    let secrets = settings.login.iter().map(|login| login.password.as_str());
    let redactor = Redactor::new(secrets);
    let git = Git { access: &access, redactor: &redactor, guard: guard.as_ref() };
    let clone = Clone { settings, draft, git, push };
    let mut pause = Duration::from_secs(1);
    for left in (0..TRIES).rev() {
        clear(draft).map_err(|e| format!("cannot empty {}: {}", draft.display(), io_reason(&e)))?;
        match clone.attempt().and_then(|()| clone.finish()) {
            Ok(()) => return Ok(()),
            Err(failure) if left == 0 || !failure.is_transient() => {
                return Err(failure.reason_with(settings.unused_secret()));
            }
            Err(failure) => eprintln!("git-init: {}; trying again in {pause:?}", failure.reason()),
        }
        thread::sleep(pause);
        pause *= 2;
    }
    Err("no try was made".into())
}

/// What git connects through; none where a proxy does that, as a variable says.
fn guard(settings: &Settings) -> Result<Option<Guard>, String> {
    let repository = &settings.repository;
    settings.network.check_host(&repository.name).map_err(Unreached::into_reason)?;
    let scheme = if repository.plain_http { "http" } else { "https" };
    if is_proxied(&format!("{scheme}://{}", repository.name)) {
        return Ok(None);
    }
    let started = Guard::start(settings.network.clone());
    started.map(Some).map_err(|e| format!("cannot listen on the loopback interface: {}", io_reason(&e)))
}

fn clear(draft: &Path) -> io::Result<()> {
    remove(draft)?;
    fs::create_dir_all(draft)
}

fn remove(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

struct Clone<'a> {
    settings: &'a Settings,
    /// Empty.
    draft: &'a Path,
    git: Git<'a>,
    push: Option<&'a Push>,
}

impl Clone<'_> {
    fn attempt(&self) -> Result<(), Failure> {
        match &self.settings.revision {
            Revision::Head => self.default_branch()?,
            Revision::Name(name) => self.by_name(name)?,
            Revision::Reference(reference) => self.by_reference(reference)?,
            Revision::Commit(commit) => self.by_commit(commit)?,
        }
        if self.settings.file_mode.is_some() {
            // a mode that was asked for is no change of the agent's
            self.git(&["config", "core.fileMode", "false"])?;
        }
        if self.settings.submodules {
            let depth = self.depth();
            let mut args = vec!["submodule", "--quiet", "update", "--init", "--recursive"];
            args.extend(depth.as_deref());
            self.git(&args)?;
        }
        Ok(())
    }

    fn finish(&self) -> Result<(), Failure> {
        exclude::hide(&self.git, self.draft, &self.settings.not_ours)?;
        hand_over(&self.git, self.draft, self.settings, self.push)?;
        self.settle_large_files().map_err(|e| Failure::permanent(io_reason(&e)))
    }

    /// An agent's image may lack git-lfs. Its git then goes by sizes and times, but not for files as young as the index:
    /// those it reads, and they are no pointers. So the index becomes a second older than they are.
    fn settle_large_files(&self) -> io::Result<()> {
        let git = self.draft.join(".git");
        if !git.join("lfs").join("objects").exists() {
            return Ok(());
        }
        let index = fs::File::options().write(true).open(git.join("index"))?;
        let second = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let written = second(index.metadata()?.modified()?);
        while second(SystemTime::now()) <= written {
            thread::sleep(Duration::from_millis(20));
        }
        index.set_modified(SystemTime::now())
    }

    fn git(&self, args: &[&str]) -> Result<(), Failure> {
        self.git.run(self.draft, args).map(drop)
    }

    fn depth(&self) -> Option<String> {
        (self.settings.depth > 0).then(|| format!("--depth={}", self.settings.depth))
    }

    fn clone(&self, how: &[&str]) -> Result<(), Failure> {
        let depth = self.depth();
        let mut args = vec!["clone", "--quiet"];
        args.extend(depth.as_deref());
        args.extend(how);
        args.extend(["--", &self.settings.repository.address, "."]);
        self.git(&args)
    }

    /// git clones a repository without any commit, or without the branch that its HEAD names, and is content with it.
    fn default_branch(&self) -> Result<(), Failure> {
        self.clone(&[])?;
        let head = ["rev-parse", "--verify", "--quiet", "HEAD^{commit}"];
        if self.git.run(self.draft, &head).is_ok() {
            return Ok(());
        }
        let references = self.git.run(self.draft, &["ls-remote", "--quiet", "origin"])?;
        Err(Failure::permanent(match references.is_empty() {
            true => "the repository is empty: push a first commit",
            false => {
                "the repository has no default branch, its HEAD names one that is not there: name a branch in ref"
            }
        }))
    }

    /// A branch is checked out as such, so that the agent can commit to it.
    fn by_name(&self, name: &str) -> Result<(), Failure> {
        let branch = format!("--branch={name}");
        match self.clone(&[&branch]) {
            Err(failure) if is_short_commit(name) && failure.said.contains("Remote branch") => {
                self.out_of_all(name).map_err(|_| failure)
            }
            done => done,
        }
    }

    fn by_reference(&self, reference: &str) -> Result<(), Failure> {
        // a tag keeps its name
        let refspec = match reference.starts_with("refs/tags/") {
            true => format!("+{reference}:{reference}"),
            false => reference.to_owned(),
        };
        if self.settings.depth == 0 {
            // with all branches, as any other clone of the full history: it can be compared with its base
            self.git(&["clone", "--quiet", "--no-checkout", "--", &self.settings.repository.address, "."])?;
            self.git(&["fetch", "--quiet", "origin", &refspec])?;
        } else {
            match self.fetch(&refspec, SHA1) {
                Err(failure) if failure.said.contains("mismatched algorithms") => {
                    clear(self.draft).map_err(|e| Failure::of(io_reason(&e)))?;
                    self.fetch(&refspec, SHA256)?;
                }
                fetched => fetched?,
            }
        }
        self.git(&["checkout", "--quiet", "--detach", "FETCH_HEAD"])
    }

    /// Most servers give out a commit by its name; from others everything is fetched to find it.
    fn by_commit(&self, commit: &str) -> Result<(), Failure> {
        let format = if commit.len() == SHA256_DIGITS { SHA256 } else { SHA1 };
        if self.settings.depth > 0 && self.fetch(commit, format).is_ok() {
            return self.git(&["checkout", "--quiet", "--detach", commit]);
        }
        self.out_of_all(commit)
    }

    /// `format`: how the repository names its objects, which only a clone finds out by itself.
    fn fetch(&self, what: &str, format: &str) -> Result<(), Failure> {
        let depth = self.depth();
        self.git(&["init", "--quiet", &format!("--object-format={format}")])?;
        // a failed fetch of a commit may have left its own
        if self.git(&["remote", "get-url", "origin"]).is_err() {
            self.git(&["remote", "add", "origin", &self.settings.repository.address])?;
        }
        let mut args = vec!["fetch", "--quiet"];
        args.extend(depth.as_deref());
        args.extend(["origin", what]);
        self.git(&args)
    }

    fn out_of_all(&self, commit: &str) -> Result<(), Failure> {
        clear(self.draft).map_err(|e| Failure::of(io_reason(&e)))?;
        self.git(&["clone", "--quiet", "--no-checkout", "--", &self.settings.repository.address, "."])?;
        let name = format!("{commit}^{{commit}}");
        let found =
            self.git.run(self.draft, &["rev-parse", "--verify", "--quiet", "--end-of-options", &name]);
        let found = found.map_err(|_| {
            Failure::permanent(format!("no branch or tag of the repository holds the commit {commit}"))
        })?;
        self.git(&["checkout", "--quiet", "--detach", found.trim()])
    }
}

fn is_short_commit(name: &str) -> bool {
    SHORT_COMMIT.contains(&name.len()) && name.bytes().all(|b| b.is_ascii_hexdigit())
}
