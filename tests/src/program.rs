//! The real program `kubeopencode`, as a process of its own: for measuring what only a process has.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A clock tick of `/proc/<pid>/stat`, in seconds: the same on every Linux that Rust runs on.
const TICK: f64 = 0.01;

/// A running `kubeopencode controller`. Killed when it is dropped.
#[derive(Debug)]
pub struct Program {
    child: Child,
    probes: u16,
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Builds the program as images have it and says where it is.
///
/// # Panics
/// When it cannot be built.
pub fn build() -> PathBuf {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let build = ["build", "--locked", "--workspace", "--bin", "kubeopencode", "--message-format", "json"];
    let output = Command::new(cargo).args(build).stderr(Stdio::inherit()).output().unwrap();
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
    /// Starts it with the rights of this kubeconfig; its log goes to a file beside `plugin_cache`.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(executable: &Path, kubeconfig: &Path, plugin_cache: &Path, probes: u16) -> Self {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(plugin_cache.with_extension("log"))
            .unwrap();
        let child = Command::new(executable)
            .args(["controller", "--metrics-bind-address", "0", "--health-probe-bind-address"])
            .arg(format!("127.0.0.1:{probes}"))
            .arg("--plugin-cache-dir")
            .arg(plugin_cache)
            .env("KUBECONFIG", kubeconfig)
            .env("RUST_LOG", "warn")
            .env("POD_NAMESPACE", "kubeopencode-system")
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { child, probes }
    }

    /// Waits until it says that it is ready.
    ///
    /// # Panics
    /// When it is not, after a minute.
    pub async fn is_ready(&self) {
        let asked = Instant::now();
        while !self.answers().await {
            assert!(asked.elapsed() < Duration::from_secs(60), "the operator is not ready after a minute");
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

    /// Resident memory, in MiB.
    pub fn memory(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
    }

    /// Processor time so far, in seconds, children excluded.
    pub fn processor(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        // after the name in parentheses: state is field 3, utime 14, stime 15
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        fields[11..=12].iter().map(|ticks| ticks.parse::<f64>().unwrap()).sum::<f64>() * TICK
    }
}
