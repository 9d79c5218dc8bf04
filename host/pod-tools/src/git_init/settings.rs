//! What `git-init` is told. Pure.

use std::path::{Component, Path, PathBuf};

use super::repository::Repository;
use crate::Error;
use crate::environment::Environment;
use crate::network::Network;

/// Everything one clone needs.
pub(super) struct Settings {
    pub(super) repository: Repository,
    pub(super) revision: Revision,
    /// Number of commits; 0 for all.
    pub(super) depth: u32,
    pub(super) submodules: bool,
    /// The volume.
    pub(super) root: PathBuf,
    /// The clone's directory in it.
    pub(super) link: PathBuf,
    /// Must exist in the clone, since kubelet would make an empty directory of what is not there.
    pub(super) sub_path: Option<PathBuf>,
    /// Directories to be made in what is mounted of the clone: something else is mounted in them.
    pub(super) directories: Vec<PathBuf>,
    /// What others put into the clone, files and, with a slash at the end, directories: no part of any commit.
    pub(super) not_ours: Vec<String>,
    /// Name of the Secret that holds what follows, for messages.
    pub(super) secret: Option<String>,
    pub(super) login: Option<Login>,
    pub(super) ssh_key: Option<String>,
    pub(super) known_hosts: Option<String>,
    /// Of the files in the work tree; none: as the repository has them, writable for every user.
    pub(super) file_mode: Option<u32>,
    /// What is mounted in the agent's container below the directory that is seen there.
    pub(super) mounts: Vec<PathBuf>,
    /// Name and address of whoever commits, where somebody said so.
    pub(super) identity: Option<(String, String)>,
    /// With what the agent pushes, or why it could not.
    pub(super) push: Result<Option<Push>, String>,
    /// Where it may be fetched from, submodules and redirects included.
    pub(super) network: Network,
}

/// For http(s).
pub(super) struct Login {
    pub(super) username: String,
    pub(super) password: String,
}

/// With which keys of the Secret the agent pushes; in its container they are files of this directory.
pub(super) enum Push {
    /// `username` and `password`.
    Login(PathBuf),
    /// `ssh-privatekey` and `ssh-known-hosts`.
    Key(PathBuf),
}

/// What to check out.
#[derive(Debug, PartialEq)]
pub(super) enum Revision {
    /// The repository's default branch.
    Head,
    /// A branch or tag, or a commit's name cut short.
    Name(String),
    /// `refs/…`, but no branch. A tag's full name is one: a branch may have the short one.
    Reference(String),
    /// A commit's full name.
    Commit(String),
}

impl Settings {
    pub(super) fn of(environment: &Environment) -> Result<Self, Error> {
        let repository = Repository::parse(&environment.required("GIT_REPO")?)?;
        let (username, password) = (environment.secret("GIT_USERNAME")?, environment.secret("GIT_PASSWORD")?);
        let secret = environment.text("GIT_SECRET")?;
        let (has_login, key) = (username.is_some() || password.is_some(), environment.text("GIT_SSH_KEY")?);
        let push = environment.path("GIT_PUSH").map(|dir| {
            let push = Push::with(dir, &repository, has_login, key.as_deref());
            push.map_err(|problem| {
                format!("push: Secret {:?} {problem}", secret.as_deref().unwrap_or_default())
            })
        });
        let login = match (username, password) {
            (None, None) => {
                repository.userinfo.clone().map(|(username, password)| Login { username, password })
            }
            // tokens come without a user, and servers take any
            (username, password) => Some(Login {
                username: username.unwrap_or_else(|| "git".into()),
                password: password.unwrap_or_default(),
            }),
        };
        if let Some(login) = &login
            && (login.username.contains('\n') || login.password.contains(['\n', '\0']))
        {
            let reason = "username and password have one line each".to_owned();
            return Err(Error::Env { name: "GIT_PASSWORD", reason });
        }
        Ok(Settings {
            repository,
            revision: Revision::parse(&environment.text("GIT_REF")?.unwrap_or_default())?,
            depth: environment.number("GIT_DEPTH", 1)?,
            submodules: environment.flag("GIT_SUBMODULES")?,
            root: environment.path("GIT_ROOT").ok_or(Error::EnvMissing("GIT_ROOT"))?,
            link: inside("GIT_LINK", &environment.required("GIT_LINK")?)?,
            sub_path: environment.text("GIT_PATH")?.map(|path| inside("GIT_PATH", &path)).transpose()?,
            directories: environment.json("GIT_DIRECTORIES")?,
            not_ours: environment.json("GIT_EXCLUDE")?,
            secret,
            login,
            ssh_key: environment.secret("GIT_SSH_KEY")?,
            known_hosts: environment.secret("GIT_SSH_KNOWN_HOSTS")?,
            file_mode: environment.mode("GIT_FILE_MODE")?,
            mounts: mounts(environment.json("GIT_MOUNTS")?)?,
            identity: environment.text("GIT_USER_NAME")?.zip(environment.text("GIT_USER_EMAIL")?),
            push: push.transpose(),
            network: Network::of(environment, "GIT_NETWORK")?,
        })
    }
}

impl Settings {
    /// The Secret that was named and holds nothing of use.
    pub(super) fn unused_secret(&self) -> Option<&str> {
        let secret = self.secret.as_deref()?;
        (self.login.is_none() && self.ssh_key.is_none()).then_some(secret)
    }
}

impl Push {
    /// What will not do is told now, and not to an agent that has done its work. Unlike git-init the agent's git works with the
    /// Secret as it is.
    fn with(dir: PathBuf, to: &Repository, has_login: bool, key: Option<&str>) -> Result<Self, &'static str> {
        match key {
            _ if to.host.is_some() && has_login => Ok(Self::Login(dir)),
            _ if to.host.is_some() => {
                Err("has neither username nor password: a push over https needs a password or a token")
            }
            None => Err("has no ssh-privatekey: a push over ssh needs one"),
            Some(key) if !key.ends_with('\n') || key.contains('\r') => Err(
                "has an ssh-privatekey without a newline at its end, or with those of Windows, which ssh refuses: make it with \
                 kubectl create secret generic --from-file",
            ),
            Some(_) => Ok(Self::Key(dir)),
        }
    }
}

impl Revision {
    fn parse(text: &str) -> Result<Self, Error> {
        if text.starts_with('-')
            || text.contains(|c: char| c.is_control() || " ~^:?*[\\".contains(c))
            || text.contains("..")
        {
            let reason = format!("{text:?} is no branch, tag or commit");
            return Err(Error::Env { name: "GIT_REF", reason });
        }
        let hex = text.bytes().all(|b| b.is_ascii_hexdigit());
        Ok(match text {
            "" | "HEAD" => Revision::Head,
            _ if hex && (text.len() == 40 || text.len() == 64) => Revision::Commit(text.to_ascii_lowercase()),
            _ => match text.strip_prefix("refs/heads/") {
                Some(name) => Revision::Name(name.into()),
                None if text.starts_with("refs/") => Revision::Reference(text.into()),
                None => Revision::Name(text.into()),
            },
        })
    }

    /// As the user wrote it, more or less.
    pub(super) fn as_str(&self) -> &str {
        match self {
            Revision::Head => "HEAD",
            Revision::Name(name) | Revision::Reference(name) | Revision::Commit(name) => name,
        }
    }
}

fn mounts(below: Vec<String>) -> Result<Vec<PathBuf>, Error> {
    below.iter().map(|path| inside("GIT_MOUNTS", path)).collect()
}

/// A relative path that stays where it starts.
fn inside(name: &'static str, text: &str) -> Result<PathBuf, Error> {
    let path: PathBuf = Path::new(text).components().filter(|part| *part != Component::CurDir).collect();
    let fine =
        !path.as_os_str().is_empty() && path.components().all(|part| matches!(part, Component::Normal(_)));
    fine.then_some(path).ok_or_else(|| {
        let reason = format!("{text:?} must be a relative path without \"..\"");
        Error::Env { name, reason }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHERE: [(&str, &str); 3] =
        [("GIT_REPO", "https://h/x"), ("GIT_ROOT", "/git"), ("GIT_LINK", "repo")];

    fn with(more: &[(&str, &str)]) -> Result<Settings, Error> {
        Settings::of(&Environment::of(&[&WHERE, more].concat()))
    }

    #[test]
    fn the_defaults_are_the_contracts() {
        let settings = with(&[]).unwrap();
        assert_eq!(settings.revision, Revision::Head);
        assert_eq!((settings.depth, settings.submodules), (1, false));
        assert!(settings.login.is_none() && settings.sub_path.is_none());
    }

    #[test]
    fn a_revision_is_a_branch_a_tag_a_commit_or_any_reference() {
        let sha = "AB".repeat(20);
        for (text, expected) in [
            ("HEAD", Revision::Head),
            ("feature/x", Revision::Name("feature/x".into())),
            ("refs/heads/feature/x", Revision::Name("feature/x".into())),
            ("refs/tags/v1", Revision::Reference("refs/tags/v1".into())),
            ("refs/pull/7/head", Revision::Reference("refs/pull/7/head".into())),
            ("abc1234", Revision::Name("abc1234".into())),
            (&sha, Revision::Commit("ab".repeat(20))),
        ] {
            assert_eq!(with(&[("GIT_REF", text)]).unwrap().revision, expected);
        }
    }

    #[test]
    fn a_token_alone_is_a_password() {
        let login = with(&[("GIT_PASSWORD", "token\n")]).unwrap().login.unwrap();
        assert_eq!((login.username.as_str(), login.password.as_str()), ("git", "token"));
    }

    #[test]
    fn a_push_needs_what_the_address_asks_for() {
        let of = |more: &[(&str, &str)]| {
            with(&[&[("GIT_PUSH", "/git/push-0"), ("GIT_SECRET", "s")], more].concat())
        };
        let ssh = ("GIT_REPO", "git@h:x");
        for fine in [&[("GIT_PASSWORD", "token")][..], &[ssh, ("GIT_SSH_KEY", "key\n")]] {
            assert!(matches!(of(fine).unwrap().push, Ok(Some(_))), "{fine:?}");
        }
        for (wrong, words) in [
            (&[][..], "push: Secret \"s\" has neither username nor password"),
            (&[("GIT_REPO", "https://u:p@h/x")], "has neither username nor password"),
            (&[("GIT_SSH_KEY", "key\n")], "has neither username nor password"),
            (&[ssh, ("GIT_PASSWORD", "token")], "push: Secret \"s\" has no ssh-privatekey"),
            (&[ssh, ("GIT_SSH_KEY", "key")], "without a newline at its end"),
            (&[ssh, ("GIT_SSH_KEY", "k\r\ney\r\n")], "those of Windows"),
        ] {
            let message = of(wrong).unwrap().push.err().unwrap();
            assert!(message.contains(words), "{message}");
        }
    }

    #[test]
    fn the_secret_comes_before_the_address() {
        let of = |more: &[(&str, &str)]| {
            with(&[&[("GIT_REPO", "https://u:p@h/x")], more].concat()).unwrap().login.unwrap()
        };
        assert_eq!(of(&[]).password, "p");
        assert_eq!(of(&[("GIT_PASSWORD", "token")]).password, "token");
    }

    #[test]
    fn what_could_be_taken_for_something_else_is_refused() {
        for (name, value, words) in [
            ("GIT_REF", "--upload-pack=x", "GIT_REF: \"--upload-pack=x\" is no branch, tag or commit"),
            ("GIT_REF", "a b", "is no branch, tag or commit"),
            ("GIT_REF", "a..b", "is no branch, tag or commit"),
            ("GIT_LINK", "../repo", "GIT_LINK: \"../repo\" must be a relative path"),
            ("GIT_PATH", "/etc", "GIT_PATH: \"/etc\" must be a relative path"),
            ("GIT_PASSWORD", "a\nhost=evil", "GIT_PASSWORD: username and password have one line each"),
        ] {
            let message = with(&[(name, value)]).err().unwrap().to_string();
            assert!(message.contains(words), "{message}");
        }
    }
}
