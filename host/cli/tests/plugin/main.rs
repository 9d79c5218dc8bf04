//! `kubeopencode plugin`, as an author calls it: these components, these words.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

#[path = "../common/built.rs"]
mod built;
mod check;
#[path = "../common/mod.rs"]
mod common;
mod eval;
mod examples;
mod fresh;
mod golden;
#[path = "../../../plugin-host/build/guests.rs"]
mod guests;
#[path = "../../../plugin-host/tests/common/harmless.rs"]
mod harmless;
mod hostile;
mod install;
mod list;
mod new;
mod pack;
mod registry;
mod server;

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::path::{Path, PathBuf};
use std::thread;

use common::Said;
use harmless::harmless;
use serde_json::{Value, json};

/// `kubeopencode`.
const PROGRAM: &str = env!("CARGO_BIN_EXE_kubeopencode");
/// What surrounds the module of a context type in its component, and a context type `Greeting`: those of the plugin host's own
/// tests.
const FRAME: &str = include_str!("../../../plugin-host/tests/common/context-type.wat");
const MODULE: &str = include_str!("../../../plugin-host/tests/common/greeting.wat");

/// `kubeopencode plugin` with these arguments, in the folder of the committed components.
fn plugin(args: &[&str], env: &[(&str, &str)]) -> Said {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugin-host/tests/fixtures");
    common::call("plugin", args, &folder, "", env)
}

/// A component as text: the type `Greeting`, with further items of its module.
fn greeting(items: &str) -> String {
    let module = MODULE.replace("(global $free", &format!("{items} (global $free"));
    harmless(FRAME.replace("(;MODULE;)", &module))
}

/// `Greeting` that logs its word with each call, as a warning.
fn logging() -> String {
    let evaluate = "#evaluate\") (param i32) (result i32)";
    let call = "(call 0 (i32.const 2) (i32.const 2048) (i32.const 5))";
    let text = greeting("");
    assert!(text.contains(evaluate));
    text.replace(evaluate, &format!("{evaluate} {call}"))
}

/// Items of the module that make `Greeting` ask for `url` and `secret`, and take this schema and these settings.
fn asking(schema: &str, settings: &str) -> String {
    let word = |n: usize| n.to_le_bytes()[..4].iter().map(|b| format!("\\{b:02x}")).collect::<String>();
    let text = |text: &str| text.bytes().map(|b| format!("\\{b:02x}")).collect::<String>();
    let data = |at: usize, words: &[usize]| {
        let words: String = words.iter().map(|n| word(*n)).collect();
        format!("(data (i32.const {at}) \"{words}\")")
    };
    [
        data(152, &[3000, schema.len()]),
        data(160, &[usize::from(!settings.is_empty()), 3600, settings.len()]),
        data(172, &[640, 2]),
        data(640, &[704, 3, 720, 6]),
        "(data (i32.const 704) \"url\") (data (i32.const 720) \"secret\")".to_owned(),
        format!(
            "(data (i32.const 3000) \"{}\") (data (i32.const 3600) \"{}\")",
            text(schema),
            text(settings)
        ),
    ]
    .join("\n")
}

/// The folder of a project, which calls run in, so that messages show no path of this machine.
fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("projects").join(name)
}

/// A project anew: a component that is written as text, and golden cases.
fn project(name: &str, component: &str, cases: &str) -> PathBuf {
    project_of(name, &wat::parse_str(component).unwrap(), cases)
}

fn project_of(name: &str, component: &[u8], cases: &str) -> PathBuf {
    let folder = folder(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(folder.join("tests")).unwrap();
    let toml = "name = \"greeting\"\nbuild = \"true\"\ncomponent = \"greeting.wasm\"\n";
    fs::write(folder.join("plugin.toml"), toml).unwrap();
    fs::write(folder.join("greeting.wasm"), component).unwrap();
    fs::write(folder.join("tests/cases.yaml"), cases).unwrap();
    folder
}

/// `kubeopencode plugin` with these arguments, in this folder.
fn in_folder(folder: &Path, args: &[&str]) -> Said {
    let path = std::env::var("PATH").unwrap();
    common::call("plugin", args, folder, "", &[("PATH", &path)])
}

/// `kubeopencode plugin build` in this folder.
fn built_in(folder: &Path) {
    built::build_in(Path::new(PROGRAM), folder);
}

/// What was printed, without the numbers that another compiler or another machine changes.
fn masked(text: &str) -> String {
    let line = |line: &str| {
        if !line.contains(" fuel") && !line.contains(" ms") {
            return format!("{line}\n");
        }
        let indent = &line[..line.len() - line.trim_start().len()];
        let words: Vec<_> = line.split_whitespace().collect();
        let units = ["fuel", "ms", "MiB", "MiB,", "ms,", "M", "of"];
        let is_number = |word: &str| word.starts_with(|c: char| c.is_ascii_digit());
        let words = words.iter().enumerate().filter_map(|(i, word)| {
            let is_counted = words.get(i + 1).is_some_and(|unit| units.contains(unit));
            match *word {
                "M" => None,
                word if is_number(word) && is_counted => Some("N"),
                word => Some(word),
            }
        });
        format!("{indent}{}\n", words.collect::<Vec<_>>().join(" "))
    };
    text.lines().map(line).collect()
}

/// Writes a file for a call.
fn file(name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("plugin");
    fs::create_dir_all(&dir).unwrap();
    let path = dir.join(name);
    fs::write(&path, bytes).unwrap();
    path
}

/// The file of a component that is written as text.
fn component(name: &str, text: &str) -> PathBuf {
    file(name, wat::parse_str(text).unwrap())
}

/// A kubeconfig whose cluster gives one answer to everybody.
fn kubeconfig(name: &str, status: &str, answer: &Value) -> String {
    let (status, answer) = (status.to_owned(), answer.clone());
    answering(name, move |_| Some((status.clone(), answer.clone())))
}

/// A kubeconfig whose cluster answers by the first line of a request; where it says nothing, the request waits.
fn answering(name: &str, answer: impl Fn(&str) -> Option<(String, Value)> + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let mut waiting = Vec::new();
        for stream in listener.incoming() {
            let (mut stream, mut request) = (stream.unwrap(), [0; 4096]);
            let read = stream.read(&mut request).unwrap_or_default();
            let request = String::from_utf8_lossy(&request[..read]).into_owned();
            let Some((status, answer)) = answer(request.lines().next().unwrap_or_default()) else {
                waiting.push(stream);
                continue;
            };
            let body = answer.to_string();
            let response = format!(
                "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            let _ = stream.write_all(response.as_bytes());
            // to its end: closed with something unread, the answer might not arrive
            let _ = stream.shutdown(Shutdown::Write);
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
        }
    });
    kubeconfig_of(name, &format!("http://{address}"))
}

/// A kubeconfig that names this server.
fn kubeconfig_of(name: &str, server: &str) -> String {
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {}}],
    });
    file(name, config.to_string()).to_str().unwrap().to_owned()
}

/// An answer of an API server that says no.
fn refusal(code: u16, reason: &str, message: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message})
}
