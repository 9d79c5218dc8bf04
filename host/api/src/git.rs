//! What is said of Git in the agent's container: who commits.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Longest name and longest address, in characters; that of an address is SMTP's (RFC 5321: a path of 256 with its brackets).
const MAX_NAME: usize = 256;
const MAX_EMAIL: usize = 254;

/// Name and address that commits have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GitIdentity {
    /// Name of author and committer, for example `Build Bot`; with a letter or a digit, without `<` and `>`.
    #[schemars(length(min = 1, max = MAX_NAME))]
    pub name: String,
    /// Their address, for example `bot@example.com`.
    #[schemars(length(max = MAX_EMAIL), regex(pattern = r"^[^@\s<>]+@[^@\s<>]+$"))]
    pub email: String,
}

/// What holds for Git in the agent's container, where a Git context does not say it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AgentGit {
    /// Whose commits those of the agent are, in every repository. Default: what the image and `~/.gitconfig` say, else
    /// `KubeOpenCode <noreply@kubeopencode.io>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<GitIdentity>,
}

impl GitIdentity {
    /// Whether Git takes it: what it refuses is seen here, and not by an agent when it commits. Signs such as a full stop at
    /// the ends of a name Git leaves out.
    ///
    /// # Errors
    /// The field, and what is wrong with it.
    pub fn check(&self) -> Result<(), String> {
        let Self { name, email } = self;
        // no option of a program's either
        let is_plain = |text: &str, max: usize| {
            let odd = |c: char| c.is_control() || matches!(c, '<' | '>');
            !text.starts_with('-') && !text.contains(odd) && text.chars().count() <= max
        };
        if !is_plain(name, MAX_NAME) || !name.contains(char::is_alphanumeric) {
            return Err(format!(
                "name {name:?} is none that Git takes: at most {MAX_NAME} characters, among them a letter or a digit and none of \
                 \"<\" and \">\", with no \"-\" in front"
            ));
        }
        let is_address = email
            .split_once('@')
            .is_some_and(|(user, host)| !user.is_empty() && !host.is_empty() && !host.contains('@'));
        if !is_plain(email, MAX_EMAIL) || email.contains(char::is_whitespace) || !is_address {
            return Err(format!(
                "email {email:?} is no address: write it as ada@example.com, in at most {MAX_EMAIL} characters"
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(name: &str, email: &str) -> Result<(), String> {
        GitIdentity { name: name.into(), email: email.into() }.check()
    }

    #[test]
    fn what_git_would_drop_or_refuse_is_refused() {
        for (name, email) in [
            ("Ada Lovelace", "ada@example.com"),
            ("build[bot]", "41898282+build[bot]@users.noreply.example"),
            ("李", "a@b"),
        ] {
            assert_eq!(identity(name, email), Ok(()));
        }
        for name in ["", ".,;", "a\nb", "Ada <ada>", "-Ada", &"a".repeat(257)] {
            assert!(identity(name, "a@b").is_err_and(|why| why.starts_with("name ")), "{name:?}");
        }
        for email in [
            "",
            "ada",
            "@b",
            "a@",
            "a@b@c",
            "a b@c",
            "<a@b>",
            "-a@b",
            "a@b\n",
            &format!("{}@b", "a".repeat(253)),
        ] {
            assert!(identity("Ada", email).is_err_and(|why| why.starts_with("email ")), "{email:?}");
        }
    }
}
