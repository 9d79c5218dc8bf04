//! The program as a person or a script calls it, without a cluster.

#![allow(clippy::unwrap_used, reason = "all of this is tests: a failure is a panic")]

use std::io::Write;
use std::process::{Command, Stdio};

/// Exit code, stdout, stderr.
fn call(args: &[&str], stdin: &str) -> (i32, String, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_kubectl-kubeopencode"))
        .args(args)
        .env_clear()
        .env("KUBECONFIG", "there-is-none")
        .current_dir(env!("CARGO_TARGET_TMPDIR"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // one that refuses its flags reads nothing
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn the_help_of_each_verb_has_examples() {
    let (code, help, _) = call(&["--help"], "");
    assert_eq!(code, 0);
    let mut all = help.clone();
    let verbs =
        help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let verbs: Vec<_> = verbs.filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(verbs.len(), 10, "{help}");
    for verb in verbs {
        let (_, help, _) = call(&[verb, "--help"], "");
        assert!(help.contains("Examples:\n"), "{help}");
        all += &format!("----\n{help}");
    }
    insta::assert_snapshot!(all);
}

#[test]
fn what_cannot_be_done_is_refused_before_a_cluster_is_asked() {
    let mut said = String::new();
    for (args, stdin) in [
        (&["run"][..], ""),
        (&["run", "-p", "a", "--timeout", "5"], ""),
        (&["run", "-"], "  \n"),
        (&["run", "-f", "no-such-file"], ""),
        (&["run", "-p", "a", "--file", "notes.md"], ""),
        (&["run", "-p", "a", "--git", "service"], ""),
        (&["get", "-w", "a", "b"], ""),
        (&["stop"], ""),
    ] {
        let (code, stdout, stderr) = call(args, stdin);
        assert_eq!((code, stdout.as_str()), (2, ""), "{args:?}: {stderr}");
        said += &format!("$ {}\n{stderr}", args.join(" "));
    }
    insta::assert_snapshot!(said);
}

#[test]
fn without_a_cluster_it_says_how_to_name_one() {
    let (code, _, stderr) = call(&["get", "--context", "there-is-none"], "");
    assert_eq!(code, 2);
    assert!(stderr.starts_with("error: no cluster: "), "{stderr}");
    assert!(stderr.contains("set KUBECONFIG, or name a file with --kubeconfig"), "{stderr}");
}

#[test]
fn an_api_server_that_does_not_answer_is_lost_contact() {
    // a port that somebody had a moment ago
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let file = format!("{}/kubeconfig", env!("CARGO_TARGET_TMPDIR"));
    let kubeconfig = format!(
        "{{apiVersion: v1, kind: Config, current-context: a, contexts: [{{name: a, context: {{cluster: a, user: a}}}}],
          clusters: [{{name: a, cluster: {{server: 'http://{address}'}}}}], users: [{{name: a, user: {{}}}}]}}"
    );
    std::fs::write(&file, kubeconfig).unwrap();
    for args in [&["get"][..], &["run", "-p", "a"], &["doctor"], &["logs", "fix"]] {
        let (code, stdout, stderr) = call(&[&["--kubeconfig", &file][..], args].concat(), "");
        assert_eq!((code, stdout.as_str()), (3, ""), "{args:?}: {stderr}");
        assert!(stderr.contains("the API server does not answer"), "{args:?}: {stderr}");
        assert!(stderr.to_lowercase().contains("connection refused"), "{args:?}: {stderr}");
    }
}

#[test]
fn completions_are_there_for_shells_and_for_kubectl() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (code, script, _) = call(&["completion", shell], "");
        assert!(code == 0 && script.contains("kubectl-kubeopencode"), "{shell}: {script}");
        assert!(!script.contains("__complete"), "{shell} shows what nobody types");
    }
    let (_, script, _) = call(&["completion", "kubectl"], "");
    assert!(script.contains("exec kubectl-kubeopencode __complete"), "{script}");
    assert_eq!(call(&["__complete", "--", "re"], "").1, "result\nrerun\n:4\n");
    assert_eq!(call(&["__complete", "--", "run", "--tim"], "").1, "--timeout\n:4\n");
    assert_eq!(call(&["__complete", "--", "logs", ""], "").1, ":4\n", "no cluster, no names");
    assert_eq!(call(&["__complete", "--", "get", "-o", ""], "").1, "wide\nname\n:4\n");
    assert_eq!(call(&["__complete", "--", "run", "-f", ""], "").1, ":0\n", "the shell knows its files");
    let file = format!("{}/contexts", env!("CARGO_TARGET_TMPDIR"));
    std::fs::write(&file, "{contexts: [{name: here}, {name: there}, {name: home}]}").unwrap();
    let named = call(&["__complete", "--", "--kubeconfig", &file, "get", "--context", "h"], "").1;
    assert_eq!(named, "here\nhome\n:4\n");
    // as cobra answers it: the shell keeps what stands before the value
    let named = call(&["__complete", "--", "--kubeconfig", &file, "get", "--context=h"], "").1;
    assert_eq!(named, "here\nhome\n:4\n");
    for (last, answer) in [
        ("-o=", "wide\nname\n:4\n"),
        ("-Ao=w", "wide\n:4\n"),
        ("--output=n", "name\n:4\n"),
        ("--watch=", ":4\n"),
        ("--namespace=", ":4\n"),
        ("--kubeconfig=a", ":0\n"),
    ] {
        assert_eq!(call(&["__complete", "--", "get", last], "").1, answer, "{last}");
    }
}

/// What bash calls when somebody presses Tab. It takes a word apart at its `=`.
#[test]
fn bash_completes_flags_of_a_verb_and_their_values() {
    let (_, script, _) = call(&["completion", "bash"], "");
    for (words, completed) in [
        (&["re"][..], "result rerun"),
        (&["get", "--out"], "--output"),
        (&["get", "--output", "wi"], "wide"),
        (&["get", "--output", "=", "wi"], "wide"),
        (&["get", "-o", "=", "n"], "name"),
    ] {
        let [before @ .., last] = words else { panic!() };
        let previous = before.last().unwrap_or(&"kubectl-kubeopencode");
        let typed = format!(
            "COMP_WORDS=(kubectl-kubeopencode {}) COMP_CWORD={}
            _kubectl__kubeopencode kubectl-kubeopencode '{last}' '{previous}'
            echo \"${{COMPREPLY[*]}}\"",
            words.join(" "),
            words.len()
        );
        let output = Command::new("bash").arg("-c").arg(format!("{script}\n{typed}")).output().unwrap();
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            format!("{completed}\n"),
            "{words:?}: {output:?}"
        );
    }
}

/// As with `| head -n 1`; the end that reads is closed before the program starts.
#[test]
fn who_reads_no_further_ends_it_quietly() {
    let (reads, writes) = std::io::pipe().unwrap();
    drop(reads);
    let output = Command::new(env!("CARGO_BIN_EXE_kubectl-kubeopencode"))
        .args(["completion", "bash"])
        .stdin(Stdio::null())
        .stdout(writes)
        .output()
        .unwrap();
    assert_eq!((output.status.code(), String::from_utf8(output.stderr).unwrap()), (Some(141), String::new()));
}
