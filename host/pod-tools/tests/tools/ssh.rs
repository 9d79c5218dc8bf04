//! `git-init` over ssh, against a real sshd.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use tempfile::TempDir;

use crate::git_server::{Repositories, git};
use crate::program::program;
use crate::tool::Pod;

pub(crate) struct Sshd {
    process: Child,
    dir: TempDir,
    port: u16,
    repositories: Repositories,
}

impl Sshd {
    pub(crate) fn start() -> Self {
        // sshd's own demand, when root runs it
        fs::create_dir_all("/run/sshd").ok();
        let dir = tempfile::tempdir().unwrap();
        for name in ["host", "user", "stranger"] {
            keygen(&dir.path().join(name));
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let path = |name: &str| dir.path().join(name).display().to_string();
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nStrictModes no\n\
             UsePAM no\nPermitRootLogin prohibit-password\nPasswordAuthentication no\n",
            path("host"),
            path("user.pub"),
        );
        fs::write(path("config"), config).unwrap();
        let log = fs::File::create(path("log")).unwrap();
        let process = program("/usr/sbin/sshd")
            .args(["-D", "-e", "-f", &path("config")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let repositories = Repositories::new();
        repositories.sample("a");
        let mut sshd = Sshd { process, dir, port, repositories };
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(sshd.process.try_wait().unwrap().is_none(), "sshd ended: {}", sshd.read("log"));
            std::thread::yield_now();
        }
        sshd
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.dir.path().join(name)).unwrap()
    }

    pub(crate) fn known_hosts(&self, key: &str) -> String {
        format!("[127.0.0.1]:{} {}", self.port, self.read(&format!("{key}.pub")))
    }

    /// The one that there is.
    pub(crate) fn repository(&self) -> PathBuf {
        self.repositories.path().join("a.git")
    }

    pub(crate) fn pod(&self, environment: &[(&str, &str)]) -> Pod {
        let user = String::from_utf8(program("id").arg("-un").output().unwrap().stdout).unwrap();
        let address = format!("ssh://{}@127.0.0.1:{}{}", user.trim(), self.port, self.repository().display());
        Pod::new().with(&[("GIT_REPO", &address)]).with(environment)
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

fn keygen(path: &Path) {
    let made =
        program("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path).status().unwrap();
    assert!(made.success());
}

#[test]
fn clones_over_ssh_with_key_and_known_hosts() {
    let sshd = Sshd::start();
    let key = sshd.read("user");

    let known = sshd.known_hosts("host");
    let pod = sshd.pod(&[("GIT_SSH_KEY", &key), ("GIT_SSH_KNOWN_HOSTS", &known), ("GIT_REF", "feature/x")]);
    assert_eq!(pod.succeeds("git-init"), "", "{}", sshd.read("log"));
    assert_eq!(pod.read("git/repo/README.md"), "two");
    assert_eq!(git(&pod.path("git/repo"), &["log", "-1", "--format=%s"]), "two\n");
    assert_eq!(pod.list("home"), [""; 0], "neither key nor known hosts are left");

    // as Secrets are made: another newline at the end, or none, or those of Windows
    for key in [format!("{key}\n"), key.trim_end().to_owned(), key.replace('\n', "\r\n")] {
        sshd.pod(&[("GIT_SSH_KEY", &key), ("GIT_SSH_KNOWN_HOSTS", &known)]).succeeds("git-init");
    }

    // known hosts are optional
    sshd.pod(&[("GIT_SSH_KEY", &key)]).succeeds("git-init");

    let message = sshd
        .pod(&[("GIT_SSH_KEY", &key), ("GIT_SSH_KNOWN_HOSTS", &sshd.known_hosts("stranger"))])
        .fails("git-init");
    assert!(message.contains("the server's key is not among the Secret's ssh-known-hosts"), "{message}");

    for (environment, words) in [
        (vec![], "the server refuses the key: secretRef needs a Secret with the key ssh-privatekey"),
        (vec![("GIT_SSH_KEY", sshd.read("stranger"))], "the server refuses the key"),
        (vec![("GIT_SSH_KEY", "no key".to_owned())], "the Secret's ssh-privatekey is no private key"),
    ] {
        let mut pod = sshd.pod(&[("GIT_SSH_KNOWN_HOSTS", &known)]);
        environment.iter().for_each(|(name, value)| pod.set(name, value));
        let message = pod.fails("git-init");
        assert!(message.contains(words), "{message}");
    }
}
