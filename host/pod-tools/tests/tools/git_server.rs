//! Repositories, and the real `git http-backend` behind the test's web server.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tempfile::TempDir;

use crate::program::program;
use crate::web::{Request, Response};

/// A directory of bare repositories.
pub(crate) struct Repositories {
    dir: TempDir,
}

impl Repositories {
    pub(crate) fn new() -> Self {
        Repositories { dir: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A bare repository with three commits on `main` that each write `README.md`, a tag `v1` on the first, a
    /// branch `feature/x` off the second, a reference `refs/pull/7/head`, a directory `docs` and a script.
    /// Gives the names of the commits on `main`, the oldest first.
    pub(crate) fn sample(&self, name: &str) -> Vec<String> {
        self.sample_with(name, "sha1")
    }

    /// The same with another format of its objects' names.
    pub(crate) fn sample_with(&self, name: &str, format: &str) -> Vec<String> {
        let work = self.create_with(name, format);
        let mut commits = Vec::new();
        for text in ["one", "two", "three"] {
            fs::write(work.join("README.md"), text).unwrap();
            if text == "one" {
                fs::create_dir(work.join("docs")).unwrap();
                fs::write(work.join("docs/guide.md"), "guide").unwrap();
                fs::write(work.join("run.sh"), "#!/bin/sh\n").unwrap();
                fs::set_permissions(work.join("run.sh"), PermissionsExt::from_mode(0o755)).unwrap();
                git(&work, &["add", "--all"]);
            }
            git(&work, &["commit", "--quiet", "--all", "--allow-empty", "-m", text]);
            match text {
                "one" => drop(git(&work, &["tag", "-a", "v1", "-m", "v1"])),
                "two" => drop(git(&work, &["branch", "feature/x"])),
                _ => drop(git(&work, &["update-ref", "refs/pull/7/head", "HEAD~2"])),
            }
            commits.push(git(&work, &["rev-parse", "HEAD"]).trim().to_owned());
        }
        self.publish(name);
        commits
    }

    /// A bare repository with one commit of this many MiB that no compression makes smaller, in files of 20 MiB.
    pub(crate) fn incompressible(&self, name: &str, mib: usize) {
        let work = self.create(name);
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        for i in 0..mib / 20 {
            let mut bytes = Vec::with_capacity(20 << 20);
            while bytes.len() < 20 << 20 {
                // xorshift64: no more random than needed
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                bytes.extend(state.to_le_bytes());
            }
            fs::write(work.join(format!("part-{i}")), bytes).unwrap();
        }
        git(&work, &["-c", "core.compression=0", "add", "--all"]);
        git(&work, &["commit", "--quiet", "-m", "big"]);
        // clones share the objects by hard links
        self.publish(name);
        // or the server looks for minutes for what files have in common
        git(&self.dir.path().join(format!("{name}.git")), &["config", "pack.window", "0"]);
        fs::remove_dir_all(work).unwrap();
    }

    /// An empty repository to commit to; `publish` makes it a bare one.
    pub(crate) fn create(&self, name: &str) -> PathBuf {
        self.create_with(name, "sha1")
    }

    fn create_with(&self, name: &str, format: &str) -> PathBuf {
        let work = self.dir.path().join(format!("{name}.work"));
        fs::create_dir(&work).unwrap();
        git(&work, &["init", "--quiet", "--initial-branch=main", &format!("--object-format={format}")]);
        work
    }

    pub(crate) fn publish(&self, name: &str) {
        let (work, bare) = (format!("{name}.work"), format!("{name}.git"));
        git(self.dir.path(), &["clone", "--quiet", "--mirror", &work, &bare]);
    }

    /// Answers as a git server, with the newest protocol that the client asks for or with the oldest.
    pub(crate) fn answer(root: &Path, request: &Request, newest: bool) -> Response {
        let header = |name: &str| request.headers.get(name).map_or("", String::as_str);
        let mut backend = program("git")
            .arg("http-backend")
            .env("GIT_PROJECT_ROOT", root)
            .env("GIT_HTTP_EXPORT_ALL", "1")
            .env("GIT_PROTOCOL", if newest { header("git-protocol") } else { "" })
            .env("REQUEST_METHOD", &request.method)
            .env("PATH_INFO", &request.path)
            .env("QUERY_STRING", &request.query)
            .env("CONTENT_TYPE", header("content-type"))
            .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
            .env("CONTENT_LENGTH", request.body.len().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdin = backend.stdin.take().unwrap();
        let body = request.body.clone();
        let writer = std::thread::spawn(move || stdin.write_all(&body).ok());
        let output = backend.wait_with_output().unwrap().stdout;
        writer.join().unwrap();
        let end = output.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        let mut response = Response::ok(&output[end + 4..]);
        for line in String::from_utf8_lossy(&output[..end]).lines() {
            match line.split_once(": ").unwrap() {
                ("Status", status) => response = Response::status(status[..3].parse().unwrap()),
                (name, value) => response = response.header(name, value),
            }
        }
        response
    }
}

/// Runs git as its own author, untouched by the machine's configuration.
pub(crate) fn git(dir: &Path, args: &[&str]) -> String {
    let output = program("git")
        .args(["-c", "user.name=T", "-c", "user.email=t@example.com", "-c", "protocol.file.allow=always"])
        .args(args)
        .current_dir(dir)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
