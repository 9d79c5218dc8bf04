//! The real program `kubeopencode`, as a process of its own: for measuring what only a process has, and for its commands.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::process::Process;

/// A running `kubeopencode controller`. Killed when it is dropped.
#[derive(Debug)]
pub struct Program {
    /// What is measured.
    pub process: Process,
    probes: u16,
    log: PathBuf,
}

/// The program under test: the one of `KUBEOPENCODE`, or else built in this profile, `dev`, as images have it, or `release`.
/// `caller` is what calls this, as cargo's options name it (`--bench launch`): with other features everything would be
/// compiled anew.
///
/// # Panics
/// When it cannot be built.
pub fn under_test(profile: &str, caller: [&str; 2]) -> PathBuf {
    std::env::var_os("KUBEOPENCODE").map_or_else(|| build(profile, caller), PathBuf::from)
}

fn build(profile: &str, caller: [&str; 2]) -> PathBuf {
    let mut cargo = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()));
    cargo.args(["build", "--locked", "--workspace", "--profile", profile, "--bin", "kubeopencode"]);
    cargo.args(caller).args(["--message-format", "json"]).stderr(Stdio::inherit());
    // What cargo says to the program that it runs. Some build scripts, as that of ring, ask to run again when it
    // differs, and all that depends on them would be compiled anew, by this cargo and again by the next.
    for (name, _) in std::env::vars_os() {
        let of_the_caller = name.to_str().is_some_and(|name| {
            name == "OUT_DIR"
                || ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"].iter().any(|start| name.starts_with(start))
        });
        if of_the_caller {
            cargo.env_remove(name);
        }
    }
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "kubeopencode could not be built");
    let messages = String::from_utf8(output.stdout).unwrap();
    let executable = |line: &str| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        (message["target"]["name"] == "kubeopencode")
            .then(|| message["executable"].as_str().map(PathBuf::from))?
    };
    messages.lines().find_map(executable).expect("cargo names the executable")
}

impl Program {
    /// Starts it with the rights of this kubeconfig; beside `plugin_cache` are its log, with the extension `log`, and the folder with
    /// volumes of plugins, `volumes`.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(executable: &Path, kubeconfig: &Path, plugin_cache: &Path, probes: u16) -> Self {
        let log = plugin_cache.with_extension("log");
        let into_log = std::fs::File::options().create(true).append(true).open(&log).unwrap();
        let mut command = Command::new(executable);
        command
            .args(["controller", "--metrics-bind-address", "0", "--health-probe-bind-address"])
            .arg(format!("127.0.0.1:{probes}"))
            .arg("--plugin-cache-dir")
            .arg(plugin_cache)
            .arg("--plugin-volumes-dir")
            .arg(plugin_cache.with_extension("volumes"))
            .env("KUBECONFIG", kubeconfig)
            .env("RUST_LOG", "warn")
            .env("POD_NAMESPACE", "kubeopencode-system")
            .stdout(Stdio::null())
            .stderr(into_log);
        Self { process: Process::start(&mut command), probes, log }
    }

    /// Waits until it says that it is ready.
    ///
    /// # Panics
    /// When it is not, after a minute, or has ended.
    pub async fn is_ready(&self) {
        let asked = Instant::now();
        while !self.answers().await {
            let log = self.log.display();
            assert!(self.process.runs(), "the operator has ended: {log} says why");
            assert!(
                asked.elapsed() < Duration::from_secs(60),
                "the operator is not ready after a minute: see {log}"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn answers(&self) -> bool {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let Ok(mut stream) = tokio::net::TcpStream::connect(("127.0.0.1", self.probes)).await else {
            return false;
        };
        let request = b"GET /readyz HTTP/1.1\r\nHost: operator\r\nConnection: close\r\n\r\n";
        let mut answer = String::new();
        stream.write_all(request).await.is_ok()
            && stream.read_to_string(&mut answer).await.is_ok()
            && answer.starts_with("HTTP/1.1 200")
    }
}
