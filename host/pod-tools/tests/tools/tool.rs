//! A tool as kubelet starts it: nothing but its own environment.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::program::program;
use crate::web::Web;

/// A container's file system, as far as the tools see it.
pub(crate) struct Pod {
    dir: TempDir,
    environment: Vec<(String, String)>,
    resolv_conf: Option<PathBuf>,
    _web: Option<Web>,
}

/// What is left of a container.
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stderr: String,
    /// What the operator reads of a container that exited 0.
    pub(crate) message: String,
}

impl Pod {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["git", "workspace", "home"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        fs::write(dir.path().join("termination-log"), "").unwrap();
        let mut pod = Pod { dir, environment: Vec::new(), resolv_conf: None, _web: None };
        pod.set("PATH", &std::env::var("PATH").unwrap());
        for (name, file) in [
            ("HOME", "home"),
            ("GIT_ROOT", "git"),
            ("WORKSPACE_DIR", "workspace"),
            ("KUBEOPENCODE_TERMINATION_LOG", "termination-log"),
        ] {
            let path = pod.path(file);
            pod.set(name, path.to_str().unwrap());
        }
        pod.set("GIT_LINK", "repo");
        // where the tests' servers are
        for name in ["GIT_NETWORK", "URL_NETWORK"] {
            pod.set(name, r#"{"open": ["127.0.0.0/8", "::1"]}"#);
        }
        pod
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.environment.push((name.into(), value.into()));
    }

    pub(crate) fn with(mut self, environment: &[(&str, &str)]) -> Self {
        environment.iter().for_each(|(name, value)| self.set(name, value));
        self
    }

    /// Keeps this server for as long as the Pod.
    pub(crate) fn served_by(mut self, web: Web) -> Self {
        self._web = Some(web);
        self
    }

    /// The image's own trust, in git's way and in everybody's.
    pub(crate) fn trusting(mut self, authority: &Path) -> Self {
        let authority = authority.to_str().unwrap();
        fs::write(self.path("home/.gitconfig"), format!("[http]\n\tsslCAInfo = {authority}\n")).unwrap();
        self.set("SSL_CERT_FILE", authority);
        self
    }

    /// With this text in `/etc/resolv.conf`.
    pub(crate) fn resolving(mut self, text: &str) -> Self {
        let path = self.path("resolv.conf");
        fs::write(&path, text).unwrap();
        self.resolv_conf = Some(path);
        self
    }

    fn command(&self, tool: &str) -> Command {
        let tools = env!("CARGO_BIN_EXE_kubeopencode-pod-tools");
        let mut command = match &self.resolv_conf {
            None => Command::new(tools),
            Some(text) => {
                // in a mount namespace of its own
                let mut command = program("unshare");
                let script = "mount --bind \"$0\" /etc/resolv.conf && exec \"$@\"";
                command.args(["--mount", "sh", "-c", script]).arg(text).arg(tools);
                command
            }
        };
        command
            .arg(tool)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(self.dir.path());
        command
    }

    /// With a process group of its own, which ends as a container does: all at once.
    pub(crate) fn start(&self, tool: &str) -> Child {
        self.command(tool).stderr(Stdio::null()).process_group(0).spawn().unwrap()
    }

    pub(crate) fn kill(&self, mut process: Child) {
        let group = format!("-{}", process.id());
        assert!(program("kill").args(["-KILL", "--", &group]).status().unwrap().success());
        process.wait().unwrap();
    }

    pub(crate) fn run(&self, tool: &str) -> Ended {
        let output = self.command(tool).output().unwrap();
        Ended {
            code: output.status.code().unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
            message: self.read("termination-log"),
        }
    }

    pub(crate) fn succeeds(&self, tool: &str) -> String {
        let ended = self.run(tool);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        ended.stderr
    }

    /// The last line, which is what a user sees first.
    pub(crate) fn fails(&self, tool: &str) -> String {
        let ended = self.run(tool);
        assert_eq!(ended.code, 1, "{}", ended.stderr);
        ended.stderr.lines().last().unwrap().replace(self.dir.path().to_str().unwrap(), "@")
    }

    pub(crate) fn read(&self, below: &str) -> String {
        fs::read_to_string(self.path(below)).unwrap()
    }

    pub(crate) fn mode(&self, below: &str) -> u32 {
        use std::os::unix::fs::PermissionsExt;
        fs::symlink_metadata(self.path(below)).unwrap().permissions().mode() & 0o7777
    }

    /// Names in a directory, sorted.
    pub(crate) fn list(&self, below: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(below)).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}
