//! A document, run from top to bottom.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command as Process, Stdio};
use std::time::{Duration, Instant};

use kubeopencode_tests::docs::{Block, Command, Document, Use, whole};
use kubeopencode_tests::pages::BUILT;
use kubeopencode_tests::program::under_test;

use crate::cluster::Cluster;
use crate::repository;

/// `kubectl-kubeopencode`.
const KUBECTL: &str = env!("CARGO_BIN_EXE_kubectl-under-test");
/// The stand-ins for a model and for servers of Git and files.
const STAND_INS: [&str; 2] = ["model-stub", "sources"];
/// Where docs/ and examples/ write that they are.
const THEIR_NAMESPACE: &str = "kubeopencode-quickstart";
/// How long a command may take, in seconds.
const PATIENCE: &str = "180";
/// What `timeout` ends with when a command took longer.
const TOOK_TOO_LONG: i32 = 124;
/// How long something that is looked at may take to show, as a log or an Event.
const A_MOMENT: Duration = Duration::from_secs(20);

type Failed = String;

/// A directory and namespaces for one document; both go when it is dropped.
struct Place<'a> {
    cluster: &'a Cluster,
    directory: tempfile::TempDir,
    namespaces: Vec<String>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        for namespace in &self.namespaces {
            let _ = self.cluster.kubectl(&["delete", "namespace", namespace, "--wait=false"]);
        }
        for namespace in &self.namespaces {
            let delete = ["delete", "namespace", namespace, "--ignore-not-found", "--timeout=120s"];
            if let Err(words) = self.cluster.kubectl(&delete) {
                eprintln!(
                    "namespace {namespace} does not go; see: kubectl describe namespace {namespace}\n{words}"
                );
            }
        }
    }
}

impl Cluster {
    /// Runs a document.
    ///
    /// # Errors
    /// The first place where it does not tell what happens.
    pub(crate) fn run(&self, path: &Path, document: &Document) -> Result<(), Failed> {
        let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
        let place = Place::make(self, name, document)?;
        for block in &document.blocks {
            let text = self.with_its_stand_ins(&block.text);
            place.block(block, &text).map_err(|wrong| {
                let path = path.strip_prefix(repository()).unwrap_or(path).display();
                format!("{path}:{wrong}\n{}", indented(&place.what_is_there(), "    "))
            })?;
        }
        Ok(())
    }

    /// A text that names the stand-ins where they are.
    fn with_its_stand_ins(&self, text: &str) -> String {
        STAND_INS.iter().fold(text.to_owned(), |text, name| {
            text.replace(
                &format!("{name}.{THEIR_NAMESPACE}.svc"),
                &format!("{name}.{}.svc", self.model_namespace),
            )
        })
    }
}

impl<'a> Place<'a> {
    fn make(cluster: &'a Cluster, name: &str, document: &Document) -> Result<Self, Failed> {
        let io = |error: std::io::Error| format!("{name}: its directory could not be made: {error}");
        let mut place = Self { cluster, directory: tempfile::tempdir().map_err(io)?, namespaces: Vec::new() };
        let mut wanted = document.namespaces.clone();
        if wanted.is_empty() {
            wanted.push(format!("docs-{name}"));
        }
        for namespace in wanted {
            cluster.kubectl(&["create", "namespace", &namespace]).map_err(|words| {
                format!("{name}: its namespace {namespace} cannot be made: delete it if it is yours and of no use\n{words}")
            })?;
            place.namespaces.push(namespace);
        }
        let (repository, directory) = (repository(), place.home());
        fs::create_dir_all(&directory).map_err(io)?;
        fs::create_dir(place.programs()).map_err(io)?;
        for folder in ["deploy", "plugins"] {
            symlink(repository.join(folder), directory.join(folder)).map_err(io)?;
        }
        copy(&repository.join("examples"), &directory.join("examples"), &|text| {
            cluster.with_its_stand_ins(&text)
        })
        .map_err(io)?;
        fs::write(place.kubeconfig(), &cluster.kubeconfig).map_err(io)?;
        let calls = |program: &str| {
            let words = format!("$ {program} ");
            document.blocks.iter().any(|block| block.info == "console" && block.text.contains(&words))
        };
        if calls("kubeopencode") {
            symlink(under_test("dev", ["--test", "docs_run"]), place.programs().join("kubeopencode"))
                .map_err(io)?;
        }
        if calls("kubectl kubeopencode") {
            symlink(KUBECTL, place.programs().join("kubectl-kubeopencode")).map_err(io)?;
        }
        let first = place.namespaces[0].clone();
        place
            .bash(&format!("kubectl config set-context --current --namespace {first}"), "")
            .map_err(|(_, words)| words)?;
        Ok(place)
    }

    /// Where its commands run.
    fn home(&self) -> PathBuf {
        self.directory.path().join("home")
    }

    fn programs(&self) -> PathBuf {
        self.directory.path().join("bin")
    }

    fn kubeconfig(&self) -> PathBuf {
        self.directory.path().join("kubeconfig")
    }

    fn block(&self, block: &Block, text: &str) -> Result<(), Failed> {
        let line = block.line;
        match block.used_as() {
            Some(Use::File(title)) => {
                fs::write(self.home().join(title), text).map_err(|error| format!("{line}: {error}"))
            }
            Some(Use::Objects) => self.is_taken(line, text),
            Some(Use::Fragment(kind)) => self.is_taken(line, &whole(kind, text)),
            Some(Use::Commands) => {
                let block = Block { text: text.to_owned(), ..block.clone() };
                block.commands().iter().try_for_each(|command| self.command(command))
            }
            Some(Use::DryRun) => {
                let block = Block { text: text.to_owned(), ..block.clone() };
                let tried = block.dry_runs();
                let tried =
                    tried.map_err(|(line, words)| format!("{line}: no dry run is known of: {words}"))?;
                tried.iter().try_for_each(|command| self.command(command))
            }
            Some(Use::Words) | None => Ok(()),
        }
    }

    fn is_taken(&self, line: usize, objects: &str) -> Result<(), Failed> {
        let taken = self.bash("kubectl apply --dry-run=server -f -", objects);
        taken.map(drop).map_err(|(_, words)| {
            format!("{line}: the API server does not take this YAML\n{}", indented(&words, "    | "))
        })
    }

    fn command(&self, command: &Command) -> Result<(), Failed> {
        let asked = Instant::now();
        loop {
            let (code, output) = match self.bash(&command.command, "") {
                Ok(output) => (0, output),
                Err((code, output)) => (code, output),
            };
            let words = &command.command;
            let wrong = if code == TOOK_TOO_LONG {
                format!("the command was not done in {PATIENCE} s: {words}")
            } else if code != 0 && !command.may_fail() {
                format!("the command failed (exit code {code}): {words}")
            } else {
                match command.compare(&output) {
                    Ok(()) => return Ok(()),
                    Err(differs) => format!("{differs}, after: {words}"),
                }
            };
            if code == TOOK_TOO_LONG || !command.may_need_a_moment() || asked.elapsed() > A_MOMENT {
                return Err(format!("{}: {wrong}\n{}", command.line, indented(&output, "    | ")));
            }
            // nobody tells when a log or a column of kubectl has changed
            std::thread::sleep(Duration::from_secs(1));
        }
    }

    /// What a command prints. What kubectl remarks by the way is not shown, what it fails with is.
    fn bash(&self, command: &str, input: &str) -> Result<String, (i32, String)> {
        let path = std::env::var("PATH").unwrap_or_default();
        let path = format!("{}:{}:{path}", self.programs().display(), self.cluster.tools.display());
        let mut process = Process::new("timeout");
        process.args([PATIENCE, "bash", "-euo", "pipefail", "-c", command]).current_dir(self.home());
        process.env("PATH", path).env("KUBECONFIG", self.kubeconfig());
        process.env("XDG_CACHE_HOME", self.directory.path().join("cache"));
        // what was said to the cargo that runs this is not meant for one of a document
        for name in ["CARGO_TARGET_DIR", "CARGO_BUILD_TARGET", "RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS"] {
            process.env_remove(name);
        }
        process.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut running = process.spawn().map_err(|error| (-1, format!("{command}: {error}")))?;
        if let Some(mut stdin) = running.stdin.take() {
            // a command that reads nothing may be gone already
            let _ = stdin.write_all(input.as_bytes());
        }
        let output = running.wait_with_output().map_err(|error| (-1, format!("{command}: {error}")))?;
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            return Ok(text);
        }
        text.push_str(&String::from_utf8_lossy(&output.stderr));
        Err((output.status.code().unwrap_or(-1), text))
    }

    /// What explains a failure.
    fn what_is_there(&self) -> String {
        let mut text = "Tasks and Pods of the document's namespace:\n".to_owned();
        let reasons = "kubectl get tasks -o jsonpath='{range .items[*]}{.metadata.name}{\": \"}{.status.reason}{\": \"}{.status.message}{\"\\n\"}{end}'";
        for command in [
            "kubectl get tasks,pods -o wide",
            reasons,
            "kubectl get events --sort-by=.metadata.creationTimestamp | tail -n 10",
        ] {
            let said = self.bash(command, "").unwrap_or_else(|(_, words)| words);
            let _ = writeln!(text, "{said}");
        }
        text
    }
}

fn indented(text: &str, by: &str) -> String {
    text.lines().map(|line| format!("{by}{line}\n")).collect()
}

/// A folder with all that is in it, each text changed.
fn copy(from: &Path, to: &Path, change: &dyn Fn(String) -> String) -> std::io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        // what was made of them is no part of the examples
        let name = entry.file_name();
        let is_component = Path::new(&name).extension().is_some_and(|ending| ending == "wasm");
        if is_component || BUILT.iter().any(|built| name == *built) {
            continue;
        }
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target, change)?;
        } else {
            fs::write(&target, change(fs::read_to_string(entry.path())?))?;
            fs::set_permissions(&target, entry.metadata()?.permissions())?;
        }
    }
    Ok(())
}
