//! Runs `git` and makes of what it says a reason that a user can act on.

use std::io::{self, Read};
use std::path::Path;
use std::process::{Command, Stdio};

use kubeopencode_api::network::REFUSED;

use super::access::Access;
use super::guard::Guard;
use crate::error::io_reason;
use crate::network::Unreached;
use crate::redact::Redactor;

/// A hostile server may talk for ever.
const MAX_OUTPUT: u64 = 64 << 10;
const MAX_REASON: usize = 600;

/// What git says where there are no credentials, and ssh where there is no key or a wrong one.
const ASKS_FOR_LOGIN: &str = "could not read Username";
const ASKS_FOR_KEY: &str = "Permission denied (";

/// Failures that another try does not mend, and what to do about them. The first that git's words hold counts.
const PERMANENT: [(&str, &str); 14] = [
    (
        "smudge filter lfs failed",
        "a file of Git LFS cannot be had from the server: push it with git lfs push --all",
    ),
    ("git-lfs: not found", "the repository has files of Git LFS, and the system image no git-lfs"),
    (
        ASKS_FOR_LOGIN,
        "the server asks for credentials: name a Secret with the keys username and password in secretRef",
    ),
    ("Authentication failed", "the server refuses the Secret's username and password"),
    ("error: 403", "the Secret's user may not read this repository"),
    ("Load key", "the Secret's ssh-privatekey is no private key without a passphrase"),
    (ASKS_FOR_KEY, "the server refuses the key: secretRef needs a Secret with the key ssh-privatekey"),
    ("Host key verification failed", "the server's key is not among the Secret's ssh-known-hosts"),
    (
        "No user exists for uid",
        "ssh needs a user in /etc/passwd: run the Pod as a user that the system image has",
    ),
    ("not allowed", "submodules and redirects must have https, http or ssh addresses, as the repository"),
    (
        "certificate",
        "the server's authority is not trusted: add it to the bundle of spec.caBundle of KubeOpenCodeConfig, or name one in \
         GIT_SSL_CAINFO of the Agent's podSpec.env",
    ),
    ("Remote branch", "the repository has no branch or tag of this name"),
    ("couldn't find remote ref", "the repository has no such reference"),
    ("not found", "no such repository, or it is private: then secretRef is needed"),
];

/// `git` with its environment.
pub(super) struct Git<'a> {
    pub(super) access: &'a Access,
    pub(super) redactor: &'a Redactor,
    pub(super) guard: Option<&'a Guard>,
}

/// Why a step failed.
#[derive(Debug)]
pub(super) struct Failure {
    /// In git's words, without credentials.
    pub(super) said: String,
    /// In ours, where no other try mends it and git itself is content.
    permanent: Option<String>,
}

impl Git<'_> {
    /// Runs to the end; gives what it printed.
    pub(super) fn run(&self, dir: &Path, args: &[&str]) -> Result<String, Failure> {
        let done = self.spawn(dir, args);
        let problem = self.guard.and_then(Guard::take_problem);
        done.map_err(|said| match problem {
            Some(Unreached::Refused(why)) => Failure::permanent(why),
            Some(Unreached::Failed(why)) => Failure::of(format!("fatal: {why}")),
            None => Failure::of(self.redactor.clean(&said)),
        })
    }

    fn spawn(&self, dir: &Path, args: &[&str]) -> Result<String, String> {
        let no_git = |e: io::Error| format!("cannot run git: {}", io_reason(&e));
        let mut git = Command::new("git");
        if self.guard.is_some() {
            // they would lead past it
            git.env_remove("no_proxy").env_remove("NO_PROXY");
        }
        let mut child = git
            .args(args)
            .current_dir(dir)
            .envs(self.access.environment.iter().map(|(name, value)| (name, value)))
            // these hold the Secret; the helper has its own copy
            .env_remove("GIT_PASSWORD")
            .env_remove("GIT_SSH_KEY")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(no_git)?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let (printed, said) = std::thread::scope(|scope| {
            let printed = scope.spawn(|| bounded(stdout));
            let said = bounded(stderr);
            (printed.join().unwrap_or_default(), said)
        });
        if child.wait().map_err(no_git)?.success() { Ok(printed) } else { Err(said) }
    }
}

impl Failure {
    pub(super) fn of(said: String) -> Self {
        // what was looked at under ssh
        let refused =
            said.lines().find_map(|line| line.strip_prefix("ssh: ")).filter(|why| why.contains(REFUSED));
        let permanent = refused.map(str::to_owned);
        Failure { said, permanent }
    }

    pub(super) fn permanent(reason: impl Into<String>) -> Self {
        Failure { said: String::new(), permanent: Some(reason.into()) }
    }

    /// Whether another try may do better.
    pub(super) fn is_transient(&self) -> bool {
        self.permanent.is_none() && self.remedy().is_none()
    }

    fn remedy(&self) -> Option<&'static str> {
        PERMANENT.iter().find(|(words, _)| self.said.contains(words)).map(|(_, remedy)| *remedy)
    }

    /// The same where a Secret is named that has nothing of use: then it is the Secret that is to be mended.
    pub(super) fn reason_with(&self, unused_secret: Option<&str>) -> String {
        let asks = [ASKS_FOR_LOGIN, ASKS_FOR_KEY].iter().any(|words| self.said.contains(words));
        match unused_secret.filter(|_| asks) {
            Some(secret) => format!(
                "Secret \"{secret}\" is not there or has none of the keys username, password and ssh-privatekey ({})",
                self.said_briefly()
            ),
            None => self.reason(),
        }
    }

    /// One line: git's own reasons, and the remedy where it is known.
    pub(super) fn reason(&self) -> String {
        if let Some(reason) = &self.permanent {
            return reason.clone();
        }
        let said = self.said_briefly();
        match self.remedy() {
            Some(remedy) => format!("{remedy} ({said})"),
            None if said.is_empty() => "git failed without a word".into(),
            None => said,
        }
    }

    fn said_briefly(&self) -> String {
        let is_reason = |line: &&str| {
            ["fatal: ", "error: ", "remote: ", "ssh: ", "ERROR: ", "Error downloading object: "]
                .iter()
                .any(|p| line.starts_with(p))
        };
        let lines: Vec<&str> = self.said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let mut reasons: Vec<&str> = lines.iter().copied().filter(is_reason).collect();
        if reasons.is_empty() {
            reasons = lines;
        }
        let said = reasons.join("; ");
        kubeopencode_api::report::cut(&said, MAX_REASON).to_owned()
    }
}

/// The beginning of a stream, read to its end so that its writer does not hang.
fn bounded(stream: Option<impl Read>) -> String {
    let Some(mut stream) = stream else { return String::new() };
    let mut kept = Vec::new();
    // what cannot be read is not said
    stream.by_ref().take(MAX_OUTPUT).read_to_end(&mut kept).ok();
    io::copy(&mut stream, &mut io::sink()).ok();
    String::from_utf8_lossy(&kept).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(said: &str) -> String {
        Failure::of(said.into()).reason()
    }

    #[test]
    fn a_reason_is_one_line_with_a_remedy() {
        assert_eq!(
            reason(
                "Cloning into 'x'...\nfatal: could not read Username for 'https://h': terminal prompts disabled\n"
            ),
            "the server asks for credentials: name a Secret with the keys username and password in secretRef \
             (fatal: could not read Username for 'https://h': terminal prompts disabled)"
        );
        assert_eq!(
            reason(
                "ssh: connect to host h port 22: Connection refused\nfatal: Could not read from remote repository.\n\nPlease make sure\n"
            ),
            "ssh: connect to host h port 22: Connection refused; fatal: Could not read from remote repository."
        );
        assert_eq!(reason("odd words\n"), "odd words");
        assert_eq!(reason(""), "git failed without a word");
    }
}
