//! What the agent's own git finds in a clone: who commits, and with what it pushes. All of it is configuration of this one
//! repository, so that no other is told of it.

use std::path::Path;

use super::access::quoted;
use super::git::{Failure, Git};
use super::settings::{Push, Settings};

/// Answers git with the Secret as it is when git asks: line by line, since what was made from a file has a newline at its end,
/// or that of Windows. A token comes without a user, and servers take any.
const HELPER: &str = r#"!f() { test "$1" = get && cd DIR || return 0; u= p=; { IFS= read -r u <username; IFS= read -r p <password; } 2>/dev/null; r=$(printf '\r'); u=${u%"$r"}; printf 'username=%s\npassword=%s\n' "${u:-git}" "${p%"$r"}"; }; f"#;

/// Writes it into the clone's configuration.
pub(super) fn hand_over(
    git: &Git<'_>,
    clone: &Path,
    settings: &Settings,
    push: Option<&Push>,
) -> Result<(), Failure> {
    if let Some((name, email)) = &settings.identity {
        for (key, value) in [("user.name", name), ("user.email", email)] {
            git.run(clone, &["config", key, value])?;
            if settings.submodules {
                git.run(
                    clone,
                    &["submodule", "--quiet", "foreach", "--recursive", "git", "config", key, value],
                )?;
            }
        }
    }
    let address = &settings.repository.address;
    match push {
        None => {}
        Some(Push::Login(dir)) => {
            let key = |name: &str| format!("credential.{address}.{name}");
            // git-lfs tells git the path only then
            git.run(clone, &["config", &key("useHttpPath"), "true"])?;
            // the empty value puts aside what the image has for this address
            for helper in ["", &HELPER.replace("DIR", &quoted(dir))] {
                git.run(clone, &["config", "--add", &key("helper"), helper])?;
            }
        }
        Some(Push::Key(dir)) => {
            let path = |name: &str| quoted(&dir.join(name));
            let hosts = match settings.known_hosts {
                Some(_) => format!("yes -o UserKnownHostsFile={}", path("ssh-known-hosts")),
                None => "accept-new".to_owned(),
            };
            let ssh = format!(
                "ssh -o BatchMode=yes -o IdentitiesOnly=yes -i {} -o StrictHostKeyChecking={hosts}",
                path("ssh-privatekey")
            );
            git.run(clone, &["config", "core.sshCommand", &ssh])?;
        }
    }
    Ok(())
}
