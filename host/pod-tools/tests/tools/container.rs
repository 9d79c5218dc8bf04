//! A directory that looks like the agent's container to `agent-run`: the program in its tools directory beside its
//! settings, an agent, a termination log.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;

use tempfile::TempDir;

use crate::program::program;

/// The settings for the real OpenCode.
pub(crate) const OPENCODE: &str = r#"{"reader":{"format":"json-lines","args":["--format","json"],"rules":[
    {"when":{"/part/type":"step-start"}},
    {"when":{"/part/type":"text"},"print":"/part/text","summary":"/part/text"},
    {"when":{"/type":"error"},"error":["/error/data/message","/error/name"]},
    {"when":{"/part/type":"step-finish"},"usage":{"inputTokens":"/part/tokens/input","outputTokens":"/part/tokens/output",
     "reasoningTokens":"/part/tokens/reasoning","cacheReadTokens":"/part/tokens/cache/read","costUSD":"/part/cost"}}
    ]},"summary":true}"#;

/// Its session, where it attaches to a server.
pub(crate) const OPENCODE_SESSION: &str = r#"{"open":"/session","body":{"title":"team-a/fix"},"id":"/id",
    "args":["--session","{id}"],"records":"/session/{id}/message","when":{"/info/role":"assistant"},
    "events":{"error":"/info/error","part":"/parts"},"identity":["/part/id","/error"],"abort":"/session/{id}/abort",
    "idle":{"status":"/session/status","busy":"/{id}","seconds":1}}"#;

pub(crate) struct Container {
    dir: TempDir,
    env: Vec<(&'static str, &'static str)>,
    pub(crate) termination_log: PathBuf,
}

/// What is left of a container.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) message: String,
}

impl Container {
    /// `agent` is a shell script, the body of the program.
    pub(crate) fn new(settings: &str, agent: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::write(path("result-reader.json"), settings).unwrap();
        // Programs are written by a process of their own: a test that starts a process at the same moment would hand it
        // this one's open file, and a file that is open for writing cannot be run.
        let written = program("sh")
            .args([
                "-c",
                "cp \"$0\" kubeopencode && printf '#!/bin/sh\\n%s\\n' \"$1\" > agent && chmod 755 agent",
            ])
            .args([env!("CARGO_BIN_EXE_kubeopencode-pod-tools"), agent])
            .current_dir(dir.path())
            .status();
        assert!(written.unwrap().success());
        let termination_log = path("termination-log");
        fs::write(&termination_log, "").unwrap();
        Container { dir, env: Vec::new(), termination_log }
    }

    /// With a variable in its environment.
    pub(crate) fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.env.push((name, value));
        self
    }

    fn command(&self, agent: &str, first_process: bool) -> Command {
        let mut command = program(if first_process { "unshare" } else { "sh" });
        if first_process {
            command.args(["--pid", "--fork", "--mount-proc", "sh"]);
        }
        // as the operator's default command
        command.args(["-c", &format!("exec ./kubeopencode agent-run -- {agent} run")]);
        command
            .current_dir(self.dir.path())
            .envs(self.env.iter().copied())
            .env("KUBEOPENCODE_TERMINATION_LOG", &self.termination_log)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub(crate) fn start(&self, stdin: Stdio) -> Child {
        self.start_program("./agent", stdin)
    }

    pub(crate) fn start_program(&self, program: &str, stdin: Stdio) -> Child {
        self.command(program, false).stdin(stdin).spawn().unwrap()
    }

    /// In a PID namespace of its own.
    pub(crate) fn start_as_first_process(&self) -> Child {
        self.command("./agent", true).stdin(Stdio::null()).spawn().unwrap()
    }

    pub(crate) fn finish(&self, process: Child) -> Ended {
        self.finish_bytes(process).0
    }

    fn finish_bytes(&self, process: Child) -> (Ended, Vec<u8>) {
        let output = process.wait_with_output().unwrap();
        let ended = Ended {
            code: output.status.code().expect("agent-run itself is not killed"),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            message: fs::read_to_string(&self.termination_log).unwrap_or_default(),
        };
        (ended, output.stdout)
    }

    pub(crate) fn run(&self, prompt: &str) -> Ended {
        self.run_bytes(prompt).0
    }

    pub(crate) fn run_bytes(&self, prompt: &str) -> (Ended, Vec<u8>) {
        let mut process = self.start(Stdio::piped());
        let mut stdin = process.stdin.take().unwrap();
        thread::scope(|scope| {
            // an agent that does not read its prompt is none of our concern
            scope.spawn(move || stdin.write_all(prompt.as_bytes()).ok());
            self.finish_bytes(process)
        })
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.dir.path().join(name)).unwrap()
    }
}

/// The first line that a process prints there, and what comes after it.
pub(crate) fn first_line<R: Read>(output: R) -> (String, BufReader<R>) {
    let (mut line, mut rest) = (String::new(), BufReader::new(output));
    rest.read_line(&mut line).unwrap();
    (line, rest)
}

/// What kubelet does to end a container.
pub(crate) fn terminate(process: &Child) {
    send("-TERM", &process.id().to_string());
}

/// Ends what an agent left behind.
pub(crate) fn kill(pid: &str) {
    send("-KILL", pid);
}

fn send(signal: &str, pid: &str) {
    assert!(program("kill").args([signal, pid]).status().unwrap().success());
}
