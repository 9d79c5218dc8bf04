//! `agent-run` as a process, started as the agent's container starts it, around a fake agent written in sh that
//! prints what the real one prints.

use std::io::{Read, Write};
use std::process::Stdio;

use crate::container::{self, Container, OPENCODE};

const ERROR: &str =
    r#"{"type":"error","sessionID":"ses_1","error":{"name":"APIError","data":{"message":"no such model"}}}"#;

#[test]
fn success_reads_like_a_conversation_and_leaves_summary_and_usage() {
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/opencode-tool.jsonl");
    let container = Container::new(OPENCODE, &format!("cat {data}; echo to stderr >&2"));
    let ended = container.run("");
    assert_eq!(ended.code, 0);
    let log: Vec<&str> = ended.stdout.lines().collect();
    assert_eq!((log[0], &log[2..]), ("I will look.", &["Hello from", "the stub."][..]));
    assert_eq!(ended.stderr, "to stderr\n");
    assert_eq!(
        ended.message,
        r#"{"outcome":"completed","usage":{"inputTokens":1134,"outputTokens":69,"reasoningTokens":7,"cacheReadTokens":200,"costUSD":"0.0004602"},"summary":"Hello from\nthe stub."}"#
    );
}

#[test]
fn an_error_event_fails_the_container_although_the_program_exits_0() {
    let ended = Container::new(OPENCODE, &format!("echo '{ERROR}'; exit 0")).run("");
    assert_eq!((ended.code, ended.stdout.as_str()), (1, "error: no such model\n"));
    assert_eq!(ended.message, r#"{"outcome":"agent-error","error":"no such model"}"#);
}

#[test]
fn the_programs_exit_code_is_the_containers() {
    let ended = Container::new(OPENCODE, "exit 3").run("");
    assert_eq!((ended.code, ended.message.as_str()), (3, r#"{"outcome":"failed"}"#));
    let ended = Container::new(OPENCODE, "kill -KILL $$").run("");
    assert_eq!((ended.code, ended.message.as_str()), (137, r#"{"outcome":"failed"}"#));
}

#[test]
fn a_program_that_is_not_there_is_named() {
    let container = Container::new(OPENCODE, "");
    let ended = container.finish(container.start_program("./nothing", Stdio::null()));
    assert_eq!(ended.code, 127);
    assert_eq!(ended.stderr, "agent-run: cannot run ./nothing: No such file or directory\n");
    assert_eq!(
        ended.message,
        r#"{"outcome":"failed","error":"cannot run ./nothing: No such file or directory"}"#
    );
}

#[test]
fn a_termination_signal_reaches_the_program_which_may_end_in_its_own_way() {
    let container =
        Container::new(OPENCODE, "trap 'echo saved; exit 7' TERM; echo ready; while :; do sleep 0.05; done");
    let mut process = container.start(Stdio::null());
    let (mut line, mut log) = container::first_line(process.stdout.take().unwrap());
    assert_eq!(line, "ready\n");
    container::terminate(&process);
    line.clear();
    log.read_to_string(&mut line).unwrap();
    let ended = container.finish(process);
    assert_eq!((line.as_str(), ended.code), ("saved\n", 7));
    assert_eq!(ended.message, r#"{"outcome":"failed","signal":15,"log":"ready\nsaved"}"#);
}

#[test]
fn a_second_start_is_refused_and_runs_nothing() {
    let container = Container::new(OPENCODE, "echo ran");
    assert_eq!(container.run("").stdout, "ran\n");
    let second = container.run("");
    assert_eq!((second.code, second.stdout.as_str()), (1, ""));
    assert!(second.stderr.contains("started a second time"), "{}", second.stderr);
    assert_eq!(second.message, r#"{"outcome":"restarted"}"#);
}

#[test]
fn a_huge_line_and_binary_output_pass_through_and_the_next_event_is_read() {
    let container = Container::new(
        OPENCODE,
        &format!(
            "head -c 3000000 /dev/zero | tr '\\0' x; echo; printf '\\377\\0\\376\\n'; echo '{ERROR}'; printf end"
        ),
    );
    let (ended, bytes) = container.run_bytes("");
    let expected = [&vec![b'x'; 3_000_000][..], b"\n\xff\0\xfe\nerror: no such model\nend"].concat();
    assert!(bytes == expected, "{} bytes", bytes.len());
    assert_eq!(ended.code, 1);
}

#[test]
fn the_prompt_reaches_the_program_whatever_it_holds() {
    let long = format!("--help\n-x {}\n", "é".repeat(500_000));
    let ended = Container::new(OPENCODE, "cat > received; wc -c < received; head -n 1 received").run(&long);
    assert_eq!((ended.code, ended.stdout), (0, format!("{}\n--help\n", long.len())));
}

#[test]
fn the_readers_arguments_are_appended() {
    let ended = Container::new(OPENCODE, "echo \"$@\"").run("");
    assert_eq!(ended.stdout, "run --format json\n");
}

#[test]
fn without_a_reader_output_is_untouched_and_the_exit_code_alone_counts() {
    let ended =
        Container::new(r#"{"reader":null,"summary":true}"#, &format!("echo '{ERROR}'; echo \"$@\"")).run("");
    assert_eq!((ended.code, ended.stdout), (0, format!("{ERROR}\nrun\n")));
    assert_eq!(ended.message, r#"{"outcome":"completed"}"#);
}

#[test]
fn a_failure_leaves_the_end_of_its_log() {
    let script = "echo on stdout; printf '\\033[31mConfiguration is invalid\\033[0m at x\\n' >&2; exit 1";
    for (settings, args) in [(OPENCODE, ""), (r#"{"reader":null,"summary":true}"#, "")] {
        let ended = Container::new(settings, script).run(args);
        assert_eq!(ended.message, r#"{"outcome":"failed","log":"Configuration is invalid at x"}"#);
        assert_eq!(
            ended.stderr, "\u{1b}[31mConfiguration is invalid\u{1b}[0m at x\n",
            "the log itself is untouched"
        );
    }
    let quiet = Container::new(r#"{"reader":null,"summary":false}"#, script).run("");
    assert_eq!(quiet.message, r#"{"outcome":"failed"}"#);
}

#[test]
fn without_a_reader_the_programs_own_message_stays() {
    let script = "printf 'no key' > \"$KUBEOPENCODE_TERMINATION_LOG\"; exit 3";
    let ended = Container::new(r#"{"reader":null,"summary":true}"#, script).run("");
    assert_eq!((ended.code, ended.message.as_str()), (3, "no key"));
}

#[test]
fn without_a_reader_a_second_start_is_refused_too() {
    let container = Container::new(r#"{"reader":null,"summary":true}"#, "echo ran");
    assert_eq!(container.run("").stdout, "ran\n");
    let second = container.run("");
    assert_eq!(
        (second.code, second.stdout.as_str(), second.message.as_str()),
        (1, "", r#"{"outcome":"restarted"}"#)
    );
}

#[test]
fn a_program_that_prints_nothing_for_so_long_is_ended() {
    for settings in [
        r#"{"reader":null,"summary":true,"idleSeconds":2}"#.to_owned(),
        OPENCODE.replace(r#""summary":true"#, r#""summary":true,"idleSeconds":2"#),
    ] {
        // what it prints on either stream keeps it alive
        let script = "for i in 1 2 3; do sleep 0.4; echo $i; sleep 0.4; echo $i >&2; done; exec sleep 1000";
        let ended = Container::new(&settings, script).run("");
        assert_eq!((ended.code, ended.stdout.as_str()), (1, "1\n2\n3\n"));
        assert!(
            ended.stderr.ends_with("printed nothing for 2s (idleTimeout), and was ended\n"),
            "{}",
            ended.stderr
        );
        let expected = r#"{"outcome":"idle-timeout","error":"it printed nothing for 2 s","log":"1\n2\n3"}"#;
        assert_eq!(ended.message, expected);
    }
}

#[test]
fn an_error_event_larger_than_a_line_is_an_error_and_the_log_stays_short() {
    let script = "printf '{\"type\":\"error\",\"error\":{\"name\":\"APIError\",\"body\":\"'; head -c 3000000 /dev/zero | tr '\\0' x; echo '\"}}'";
    let ended = Container::new(OPENCODE, script).run("");
    assert_eq!((ended.code, ended.stdout.as_str()), (1, "error: APIError\n"));
    assert_eq!(ended.message, r#"{"outcome":"agent-error","error":"APIError"}"#);
}

#[test]
fn a_child_that_keeps_the_output_open_is_not_waited_for() {
    let container = Container::new(OPENCODE, "sleep 1000 2>&- & echo $! > sleeper; echo last words");
    let ended = container.run("");
    container::kill(container.read("sleeper").trim());
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "last words\n"));
}

#[test]
fn a_child_that_never_stops_printing_is_not_waited_for() {
    // `yes` ends when nobody takes its output any more
    assert_eq!(Container::new(OPENCODE, "yes 2>&- & exit 4").run("").code, 4);
}

#[test]
fn all_output_before_the_end_is_kept_although_the_log_is_slow() {
    let container = Container::new(OPENCODE, "seq 1 200000");
    let mut process = container.start(Stdio::null());
    let mut log = process.stdout.take().unwrap();
    let mut first = [0; 1];
    log.read_exact(&mut first).unwrap();
    let mut rest = String::new();
    log.read_to_string(&mut rest).unwrap();
    assert_eq!(container.finish(process).code, 0);
    assert_eq!((first[0], rest.lines().last()), (b'1', Some("200000")));
}

#[test]
fn a_log_that_nobody_takes_stops_nothing() {
    let container = Container::new(OPENCODE, &format!("cat; seq 1 100000; echo '{ERROR}'; echo done > done"));
    let mut process = container.start(Stdio::piped());
    drop(process.stdout.take());
    process.stdin.take().unwrap().write_all(b"go").unwrap();
    let ended = container.finish(process);
    assert_eq!((ended.code, container.read("done").as_str()), (1, "done\n"));
    let begin = r#"{"outcome":"agent-error","error":"no such model","log":"#;
    assert!(ended.message.starts_with(begin), "{}", ended.message);
}

#[test]
fn as_the_first_process_it_reaps_orphans() {
    // each round leaves an orphan; the last one counts the dead that nobody reaped
    let container = Container::new(
        OPENCODE,
        "for i in 1 2 3 4 5; do (sh -c 'exit 0' & exec true); done; \
         until ! cat /proc/[0-9]*/stat 2>/dev/null | grep -q ') Z '; do :; done; echo none left",
    );
    let ended = container.finish(container.start_as_first_process());
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "none left\n"), "{}", ended.stderr);
}

#[test]
fn a_message_keeps_to_what_kubelet_leaves_uncut() {
    let settings = OPENCODE.replacen('{', r#"{"messageBytes":180,"#, 1);
    let text = "word ".repeat(300);
    let ended = Container::new(
        &settings,
        &format!(r#"echo '{{"type":"text","part":{{"type":"text","text":"{text}"}}}}'"#),
    )
    .run("");
    assert!(ended.message.len() <= 180 && ended.message.len() > 120, "{}", ended.message);
    assert!(ended.message.starts_with(r#"{"outcome":"completed","summary":"word word"#), "{}", ended.message);
}

#[test]
fn broken_settings_are_named_and_nothing_runs() {
    let ended = Container::new(r#"{"reader":{"format":"xml"},"summary":true}"#, "echo ran").run("");
    assert_eq!((ended.code, ended.stdout.as_str()), (1, ""));
    assert!(ended.stderr.contains("result-reader.json: unknown variant `xml`"), "{}", ended.stderr);
    assert!(ended.message.starts_with(r#"{"outcome":"failed","error":"#), "{}", ended.message);
}

#[test]
fn a_termination_log_that_cannot_be_written_changes_nothing_else() {
    let mut container = Container::new(OPENCODE, "echo ran");
    container.termination_log = "/nonexistent/log".into();
    let ended = container.run("");
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "ran\n"));
    assert_eq!(ended.stderr, "agent-run: cannot write /nonexistent/log: No such file or directory\n");
}
