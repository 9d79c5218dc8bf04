//! Prepares what `git` and `ssh` need to get in, outside the clone and off every command line.

use std::fs::{self, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::guard::Guard;
use super::settings::Settings;
use crate::error::io_reason;
use crate::{Error, ssh_dial};

const SSH_CONNECT_SECONDS: u32 = 30;
/// A silent connection ends after this many times 15 seconds.
const SSH_ALIVE_TIMES: u32 = 4;
/// Bytes in a second, below which a transfer counts as stuck, and for how many seconds: a server that packs a big
/// repository is silent for minutes, but for a byte now and then.
const STUCK: (u32, u32) = (1, 600);

/// What `git lfs install` writes: large files come as themselves and not as pointers.
const LFS: [(&str, &str); 4] = [
    ("filter.lfs.process", "git-lfs filter-process"),
    ("filter.lfs.smudge", "git-lfs smudge -- %f"),
    ("filter.lfs.clean", "git-lfs clean -- %f"),
    ("filter.lfs.required", "true"),
];

/// The environment for `git`, and the files it refers to, which go with it.
pub(super) struct Access {
    pub(super) environment: Vec<(String, String)>,
    /// Holds the key while git runs; removed with this value.
    _files: TempDir,
}

impl Access {
    pub(super) fn prepare(settings: &Settings, guard: Option<&Guard>) -> Result<Self, Error> {
        let dir = private_dir()?;
        let mut config = vec![
            ("http.lowSpeedLimit".to_owned(), STUCK.0.to_string()),
            ("http.lowSpeedTime".to_owned(), STUCK.1.to_string()),
            ("advice.detachedHead".to_owned(), "false".to_owned()),
            ("init.defaultBranch".to_owned(), "main".to_owned()),
        ];
        config.extend(guard.map(|guard| ("http.proxy".to_owned(), guard.proxy())));
        config.extend(LFS.map(|(key, value)| (key.to_owned(), value.to_owned())));
        let mut environment = vec![
            ("LC_ALL".to_owned(), "C".to_owned()),
            ("GIT_TERMINAL_PROMPT".to_owned(), "0".to_owned()),
            // submodules and redirects choose addresses too
            ("GIT_ALLOW_PROTOCOL".to_owned(), "https:http:ssh".to_owned()),
            ("GIT_SSH_COMMAND".to_owned(), ssh_command(settings, dir.path())?),
        ];
        if let (Some(login), Some(host)) = (&settings.login, &settings.repository.host) {
            // the empty value puts aside what the image has for this host: the Secret was named for it
            let helper = format!("credential.{host}.helper");
            config.push((helper.clone(), String::new()));
            config.push((
                helper,
                r#"!f() { test "$1" != get || printf 'username=%s\npassword=%s\n' "$LOGIN_NAME" "$LOGIN_PASSWORD"; }; f"#.into(),
            ));
            environment.push(("LOGIN_NAME".into(), login.username.clone()));
            environment.push(("LOGIN_PASSWORD".into(), login.password.clone()));
        }
        environment.push(("GIT_CONFIG_COUNT".into(), config.len().to_string()));
        for (i, (key, value)) in config.into_iter().enumerate() {
            environment.push((format!("GIT_CONFIG_KEY_{i}"), key));
            environment.push((format!("GIT_CONFIG_VALUE_{i}"), value));
        }
        Ok(Access { environment, _files: dir })
    }
}

/// In memory where the container has such a place.
fn private_dir() -> Result<TempDir, Error> {
    let mut private = tempfile::Builder::new();
    // whatever the umask
    private.permissions(Permissions::from_mode(0o700));
    private
        .tempdir_in("/dev/shm")
        .or_else(|_| private.tempdir())
        .map_err(|e| Error::write(std::env::temp_dir(), io_reason(&e)))
}

fn ssh_command(settings: &Settings, dir: &Path) -> Result<String, Error> {
    let known_hosts = dir.join("known_hosts");
    let strict = match &settings.known_hosts {
        Some(hosts) => {
            write_private(&known_hosts, hosts)?;
            "yes"
        }
        None => "accept-new",
    };
    let dial = std::env::current_exe()
        .map_err(|e| Error::Failed(format!("cannot find myself: {}", io_reason(&e))))?;
    // for the shell of ssh, which puts `exec` in front
    let dial = format!("ProxyCommand={} {} %h %p", quoted(&dial), ssh_dial::NAME);
    let mut command = format!(
        "ssh -o {} -o BatchMode=yes -o ConnectTimeout={SSH_CONNECT_SECONDS} -o ServerAliveInterval=15 \
         -o ServerAliveCountMax={SSH_ALIVE_TIMES} -o StrictHostKeyChecking={strict} -o UserKnownHostsFile={}",
        quoted(Path::new(&dial)),
        quoted(&known_hosts)
    );
    if let Some(key) = &settings.ssh_key {
        let path = dir.join("key");
        write_private(&path, &key.replace("\r\n", "\n"))?;
        command.push_str(&format!(" -o IdentitiesOnly=yes -i {}", quoted(&path)));
    }
    Ok(command)
}

/// ssh refuses keys that others may read, and keys without a newline at the end.
fn write_private(path: &PathBuf, content: &str) -> Result<(), Error> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| writeln!(file, "{content}")).map_err(|e| {
        fs::remove_file(path).ok();
        Error::write(path, io_reason(&e))
    })
}

/// For the shell that git starts ssh and helpers with.
pub(super) fn quoted(path: &Path) -> String {
    format!("'{}'", path.to_string_lossy().replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_lie_where_nobody_else_looks() {
        let dir = private_dir().unwrap();
        assert_eq!(fs::metadata(dir.path()).unwrap().permissions().mode() & 0o777, 0o700);
    }
}
