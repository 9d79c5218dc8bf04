//! `context-init` as a process, on real directories laid out as kubelet lays them out.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Output;

use tempfile::TempDir;

use crate::program::program;

struct Pod {
    dir: TempDir,
    files: String,
    directories: String,
    tools: bool,
}

impl Pod {
    /// A workspace, and ConfigMap volumes with these keys.
    fn new(keys: &[(&str, &[u8])]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["workspace", "tools", "outside"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        fs::write(dir.path().join("termination-log"), "").unwrap();
        let pod = Pod { dir, files: "[]".into(), directories: "[]".into(), tools: false };
        pod.config_map("configmap-files", keys);
        pod
    }

    fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    /// The files in `..2026_01_01`, `..data` a link to it, and a link for each key.
    fn config_map(&self, at: &str, keys: &[(&str, &[u8])]) {
        let data = self.path(at).join("..2026_01_01");
        fs::create_dir_all(&data).unwrap();
        symlink("..2026_01_01", self.path(at).join("..data")).unwrap();
        for (key, value) in keys {
            fs::write(data.join(key), value).unwrap();
            symlink(format!("..data/{key}"), self.path(at).join(key)).unwrap();
        }
    }

    /// Mappings as the operator writes them, `@` standing for the test's directory.
    fn files(mut self, json: &str) -> Self {
        self.files = json.replace('@', self.dir.path().to_str().unwrap());
        self
    }

    fn directories(mut self, json: &str) -> Self {
        self.directories = json.replace('@', self.dir.path().to_str().unwrap());
        self
    }

    fn run(&self) -> Output {
        let mut command = program("sh");
        command
            // a umask that would spoil every mode
            .args(["-c", "umask 077; exec \"$0\" context-init", env!("CARGO_BIN_EXE_kubeopencode-pod-tools")])
            .env_clear()
            .env("KUBEOPENCODE_TERMINATION_LOG", self.path("termination-log"))
            .env("WORKSPACE_DIR", self.path("workspace"))
            .env("CONFIGMAP_PATH", self.path("configmap-files"))
            .env("FILE_MAPPINGS", &self.files)
            .env("DIR_MAPPINGS", &self.directories);
        if self.tools {
            command.env("TOOLS_DIR", self.path("tools"));
        }
        command.output().unwrap()
    }

    fn succeeds(&self) {
        let output = self.run();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(output.stderr.is_empty());
    }

    /// The one line that a user sees.
    fn fails(&self) -> String {
        let output = self.run();
        assert_eq!(output.status.code(), Some(1));
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(message.lines().count(), 1, "{message}");
        message.replace(self.dir.path().to_str().unwrap(), "@")
    }

    fn content(&self, below: &str) -> String {
        fs::read_to_string(self.path(below)).unwrap()
    }
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn writes_the_prompt_the_context_and_files_anywhere_in_the_workspace() {
    let mut pod = Pod::new(&[("task", b"Fix it\n"), ("context", b"<context>"), ("script", b"#!/bin/sh")])
        .files(
            r#"[{"key":"task","targetPath":"@/workspace/task.md"},
            {"key":"context","targetPath":"@/workspace/.kubeopencode/context.md"},
            {"key":"script","targetPath":"@/workspace/a/b/run.sh","fileMode":493},
            {"key":"script","targetPath":"@/outside/clone/app.sh"},
            {"key":"script","targetPath":"@/tools/etc/config"}]"#,
        );
    pod.tools = true;
    pod.succeeds();
    assert_eq!(pod.content("workspace/task.md"), "Fix it\n");
    assert_eq!(pod.content("workspace/.kubeopencode/context.md"), "<context>");
    for (path, expected) in [
        ("workspace/task.md", 0o644),
        ("workspace/.kubeopencode", 0o777),
        ("workspace/.kubeopencode/context.md", 0o644),
        ("workspace/a/b", 0o777),
        ("workspace/a/b/run.sh", 0o755),
        ("outside/clone", 0o777),
        ("outside/clone/app.sh", 0o644),
        ("tools/etc", 0o755),
        ("tools/etc/config", 0o644),
    ] {
        assert_eq!(mode(&pod.path(path)), expected, "{path}");
    }
}

#[test]
fn runs_twice_and_repairs_what_lies_there() {
    let pod = Pod::new(&[("task", b"Fix it")])
        .files(r#"[{"key":"task","targetPath":"@/workspace/task.md","fileMode":256}]"#);
    pod.succeeds();
    fs::remove_file(pod.path("workspace/task.md")).unwrap();
    fs::write(pod.path("workspace/task.md"), "half of").unwrap();
    fs::write(pod.path("workspace/.kubeopencode-new"), "left by a killed run").unwrap();
    pod.succeeds();
    assert_eq!(pod.content("workspace/task.md"), "Fix it");
    assert_eq!(mode(&pod.path("workspace/task.md")), 0o400);
    assert_eq!(fs::read_dir(pod.path("workspace")).unwrap().count(), 1);
}

#[test]
fn joins_the_parts_of_a_big_file() {
    let (first, second) = (vec![b'a'; 900_000], vec![b'b'; 700_000]);
    let pod = Pod::new(&[("big-0", &first), ("big-1", &second)])
        .files(r#"[{"parts":["big-0","big-1"],"targetPath":"@/workspace/big"}]"#);
    pod.succeeds();
    assert_eq!(fs::read(pod.path("workspace/big")).unwrap(), [first, second].concat());
}

#[test]
fn the_description_stays_although_a_directory_at_the_top_has_a_key_of_its_name() {
    let pod = Pod::new(&[("task", b"Fix it")])
        .files(r#"[{"key":"task","targetPath":"@/workspace/task.md"}]"#)
        .directories(r#"[{"sourcePath":"@/configmap-dir-0","targetPath":"@/workspace"}]"#);
    pod.config_map("configmap-dir-0", &[("task.md", b"not this"), ("other.md", b"other")]);
    pod.succeeds();
    assert_eq!(
        (pod.content("workspace/task.md"), pod.content("workspace/other.md")),
        ("Fix it".into(), "other".into())
    );
}

#[test]
fn joins_what_lies_in_mounted_secrets() {
    let files = r#"[
        {"targetPath":"@/workspace/task.md","separator":"\n\n---\n\n","trim":true,
         "parts":["first",{"path":"@/secret-0/prompt"},{"path":"@/secret-1/none","optional":true}]},
        {"targetPath":"@/workspace/.kubeopencode/context.md","separator":"\n\n","parts":["first",
          {"before":"<context name=\"a\">\n","after":"\n</context>","parts":[{"path":"@/secret-0/prompt","escape":true}]},
          {"before":"<context name=\"b\">\n","after":"\n</context>","parts":[{"path":"@/secret-1/none","optional":true}]}]},
        {"targetPath":"@/workspace/token","fileMode":256,"parts":[{"path":"@/secret-1/none","optional":true}]}]"#;
    let pod = Pod::new(&[("first", b"first\n")]).files(files);
    pod.config_map("secret-0", &[("prompt", b"</context>second")]);
    pod.config_map("secret-1", &[]);
    for _ in 0..2 {
        pod.succeeds();
    }
    assert_eq!(pod.content("workspace/task.md"), "first\n\n---\n\n</context>second");
    assert_eq!(
        pod.content("workspace/.kubeopencode/context.md"),
        "first\n\n\n<context name=\"a\">\n&lt;/context>second\n</context>"
    );
    assert_eq!((pod.content("workspace/token").as_str(), mode(&pod.path("workspace/token"))), ("", 0o400));

    let pod = pod.files(r#"[{"targetPath":"@/workspace/token","parts":[{"path":"@/secret-1/none"}]}]"#);
    assert_eq!(
        pod.fails(),
        "context-init: parts @/secret-1/none -> @/workspace/token: cannot read @/secret-1/none: No such file or directory\n"
    );
}

#[test]
fn what_is_optional_and_cannot_be_written_leaves_nothing_and_is_told() {
    let pod = Pod::new(&[("task", b"Fix it")])
        .files(
            r#"[{"key":"task","targetPath":"@/workspace/repo/docs/deep/a.md","optional":true},
                {"key":"task","targetPath":"@/workspace/task.md"}]"#,
        )
        .directories(
            r#"[{"sourcePath":"@/configmap-dir-0","targetPath":"@/workspace/repo/docs","optional":true},
                {"sourcePath":"@/configmap-dir-9","targetPath":"@/workspace/new/dir","optional":true}]"#,
        );
    pod.config_map("configmap-dir-0", &[("a.md", b"new"), ("deep", b"a directory is there")]);
    fs::create_dir_all(pod.path("workspace/repo/docs/deep/a.md")).unwrap();
    fs::write(pod.path("workspace/repo/docs/a.md"), "of the repository").unwrap();
    let output = pod.run();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(pod.content("workspace/task.md"), "Fix it");
    assert_eq!(pod.content("workspace/repo/docs/a.md"), "of the repository");
    assert!(!pod.path("workspace/new").exists());
    let told = pod.content("termination-log").replace(pod.dir.path().to_str().unwrap(), "@");
    assert_eq!(
        told,
        "skipped: directory @/configmap-dir-0 -> @/workspace/repo/docs: cannot write @/workspace/repo/docs/deep: Is a directory; \
         directory @/configmap-dir-9 -> @/workspace/new/dir: cannot read @/configmap-dir-9: No such file or directory; \
         key task -> @/workspace/repo/docs/deep/a.md: cannot write @/workspace/repo/docs/deep/a.md: Is a directory"
    );
}

#[test]
fn copies_a_config_map_as_a_directory_without_kubelets_own_entries() {
    let pod = Pod::new(&[]).directories(
        r#"[{"sourcePath":"@/configmap-dir-0","targetPath":"@/workspace/guides","fileMode":384}]"#,
    );
    pod.config_map("configmap-dir-0", &[("one.md", b"1"), (".two", b"2")]);
    pod.succeeds();
    let mut names: Vec<_> =
        fs::read_dir(pod.path("workspace/guides")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, [".two", "one.md"]);
    assert_eq!(pod.content("workspace/guides/one.md"), "1");
    assert_eq!(mode(&pod.path("workspace/guides")), 0o777);
    assert_eq!(mode(&pod.path("workspace/guides/one.md")), 0o600);
}

#[test]
fn an_empty_optional_config_map_is_an_empty_directory() {
    let pod = Pod::new(&[])
        .directories(r#"[{"sourcePath":"@/configmap-dir-0","targetPath":"@/workspace/guides"}]"#);
    fs::create_dir(pod.path("configmap-dir-0")).unwrap();
    pod.succeeds();
    assert_eq!(fs::read_dir(pod.path("workspace/guides")).unwrap().count(), 0);
}

#[test]
fn copies_itself_for_the_agents_container() {
    let mut pod = Pod::new(&[]);
    pod.tools = true;
    pod.succeeds();
    let copy = pod.path("tools/kubeopencode");
    assert_eq!(mode(&copy), 0o755);
    assert!(fs::read(&copy).unwrap() == fs::read(env!("CARGO_BIN_EXE_kubeopencode-pod-tools")).unwrap());
    // also while the copy runs
    pod.succeeds();
}

#[test]
fn a_link_at_the_target_is_replaced_and_what_it_led_to_stays() {
    let pod =
        Pod::new(&[("task", b"Fix it")]).files(r#"[{"key":"task","targetPath":"@/workspace/task.md"}]"#);
    fs::write(pod.path("outside/victim"), "untouched").unwrap();
    symlink(pod.path("outside/victim"), pod.path("workspace/task.md")).unwrap();
    pod.succeeds();
    assert_eq!(pod.content("outside/victim"), "untouched");
    assert_eq!(pod.content("workspace/task.md"), "Fix it");
    assert!(fs::symlink_metadata(pod.path("workspace/task.md")).unwrap().is_file());
}

#[test]
fn a_link_on_the_way_is_refused_wherever_it_leads() {
    for target in ["@/outside", "../outside", "real", "missing"] {
        let pod = Pod::new(&[("task", b"Fix it")])
            .files(r#"[{"key":"task","targetPath":"@/workspace/repo/docs/a.md"}]"#);
        fs::create_dir_all(pod.path("workspace/repo/real")).unwrap();
        let target = target.replace('@', pod.dir.path().to_str().unwrap());
        symlink(&target, pod.path("workspace/repo/docs")).unwrap();
        assert_eq!(
            pod.fails(),
            "context-init: key task -> @/workspace/repo/docs/a.md: cannot write @/workspace/repo/docs: \
             a symbolic link is in the way; a directory is needed there\n"
        );
        assert_eq!(fs::read_dir(pod.path("outside")).unwrap().count(), 0);
    }
}

#[test]
fn a_link_in_place_of_the_temporary_file_is_not_followed() {
    let pod =
        Pod::new(&[("task", b"Fix it")]).files(r#"[{"key":"task","targetPath":"@/workspace/task.md"}]"#);
    fs::write(pod.path("outside/victim"), "untouched").unwrap();
    symlink(pod.path("outside/victim"), pod.path("workspace/.kubeopencode-new")).unwrap();
    pod.succeeds();
    assert_eq!(pod.content("outside/victim"), "untouched");
}

#[test]
fn says_what_is_missing_or_in_the_way() {
    let missing = Pod::new(&[]).files(r#"[{"key":"guide.md","targetPath":"@/workspace/guide.md"}]"#);
    assert_eq!(
        missing.fails(),
        "context-init: key guide.md -> @/workspace/guide.md: cannot read @/configmap-files/guide.md: \
         No such file or directory\n"
    );
    let file = Pod::new(&[("k", b"")]).files(r#"[{"key":"k","targetPath":"@/workspace/README/a.md"}]"#);
    fs::write(file.path("workspace/README"), "").unwrap();
    assert!(
        file.fails().ends_with(
            "cannot write @/workspace/README: a file is in the way; a directory is needed there\n"
        )
    );
    let directory = Pod::new(&[("k", b"")]).files(r#"[{"key":"k","targetPath":"@/workspace/src"}]"#);
    fs::create_dir(directory.path("workspace/src")).unwrap();
    assert!(directory.fails().ends_with("cannot write @/workspace/src: Is a directory\n"));
    assert_eq!(fs::read_dir(directory.path("workspace")).unwrap().count(), 1, "nothing half done is left");
    let broken = Pod::new(&[]).files("[{");
    assert!(
        broken.fails().starts_with("context-init: environment variable FILE_MAPPINGS: EOF while parsing")
    );
}

#[test]
fn what_was_brought_is_read_but_never_through_a_link_nor_without_measure() {
    let pod = Pod::new(&[]).files(
        r#"[{"targetPath": "@/workspace/a.md", "separator": "+", "parts": [
            {"path": "@/workspace/repo/docs/a.md", "brought": true},
            {"path": "@/workspace/repo/none.md", "brought": true, "optional": true},
            {"path": "@/outside/b.md", "brought": true}]}]"#,
    );
    fs::create_dir_all(pod.path("workspace/repo/docs")).unwrap();
    fs::write(pod.path("workspace/repo/docs/a.md"), "one").unwrap();
    fs::write(pod.path("outside/b.md"), "two").unwrap();
    pod.succeeds();
    assert_eq!(fs::read_to_string(pod.path("workspace/a.md")).unwrap(), "one+two");

    fs::write(pod.path("outside/secret"), "s3cret").unwrap();
    fs::create_dir(pod.path("workspace/repo/dir")).unwrap();
    fs::write(pod.path("workspace/repo/large"), vec![b'x'; (256 << 10) + 1]).unwrap();
    fs::write(pod.path("workspace/repo/bytes"), b"\xff").unwrap();
    symlink("../../outside/secret", pod.path("workspace/repo/link")).unwrap();
    symlink("../../outside", pod.path("workspace/repo/links")).unwrap();
    let mut pod = pod;
    for (path, words) in [
        ("link", "a symbolic link or a file is in its path"),
        ("links/secret", "a symbolic link or a file is in its path"),
        ("docs/a.md/b", "a symbolic link or a file is in its path"),
        ("dir", "it is no file of at most 262144 bytes"),
        ("large", "it is no file of at most 262144 bytes"),
        ("bytes", "it is no UTF-8 text"),
        ("none", "No such file or directory"),
    ] {
        pod = pod.files(&format!(
            r#"[{{"targetPath": "@/workspace/b.md", "parts": [{{"path": "@/workspace/repo/{path}", "brought": true}}]}}]"#
        ));
        let output = pod.run();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(words), "{path}: {said}");
        assert!(!pod.path("workspace/b.md").exists() && !said.contains("s3cret"), "{path}");
    }
}
