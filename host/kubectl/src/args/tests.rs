//! The command line, and what else calls it.

use clap::CommandFactory;

use super::*;

#[test]
fn the_command_line_is_consistent() {
    Args::command().debug_assert();
}

#[test]
fn a_prompt_comes_from_one_place() {
    let parse = |words: &[&str]| {
        let words = ["kubectl-kubeopencode", "run"].iter().chain(words);
        Args::try_parse_from(words).map(drop).map_err(|error| error.exit_code())
    };
    for right in [&["-p", "-dash"][..], &["-f", "-"], &["-"], &["-p", "a", "--wait", "-o", "json"]] {
        assert_eq!(parse(right), Ok(()), "{right:?}");
    }
    for wrong in [
        &[][..],
        &["-p", "a", "-"],
        &["-p", "a", "-f", "b"],
        &["-p", "a", "--wait", "--follow"],
        &["-p", "a", "--follow", "-o", "json"],
        &["-p", "a", "--timeout", "5"],
        &["prompt"],
    ] {
        assert_eq!(parse(wrong), Err(2), "{wrong:?}");
    }
}

#[test]
fn a_task_is_named_as_it_was_printed() {
    let parse = |word: &str| match Args::try_parse_from(["kubectl-kubeopencode", "logs", word]) {
        Ok(Args { verb: Verb::Logs(flags), .. }) => Ok(flags.task),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error.to_string()),
    };
    for word in
        ["run-x7k2p", "task/run-x7k2p", "tasks/run-x7k2p", "tk/run-x7k2p", "task.kubeopencode.io/run-x7k2p"]
    {
        assert_eq!(parse(word).as_deref(), Ok("run-x7k2p"), "{word}");
    }
    for word in ["team/fix", "pod/fix", "task/fix/log"] {
        let words = parse(word).unwrap_err();
        let expected = format!("invalid value '{word}' for '<TASK>': ");
        assert!(words.contains(&expected), "{words}");
    }
    assert!(
        parse("team/fix").unwrap_err().contains("write it as NAME or task/NAME, and its namespace with -n")
    );
    for word in ["fix?watch=true", "fix%2f", "Fix"] {
        assert!(parse(word).unwrap_err().contains("a name has only lower case letters"), "{word}");
    }
    for word in ["..", ".", "fix-", "task/.."] {
        assert!(parse(word).unwrap_err().contains("a name begins and ends with"), "{word}");
    }
    for word in ["", "task/"] {
        assert!(parse(word).unwrap_err().contains("no object has an empty name"), "{word}");
    }
}

#[test]
fn a_flag_with_an_empty_value_is_none() {
    let words = ["kubectl-kubeopencode", "get", "-n", "", "--context", ""];
    let Place { namespace, context, .. } = Args::try_parse_from(words).unwrap().place.given();
    assert_eq!((namespace, context), (None, None));
    let words = ["kubectl-kubeopencode", "doctor", "--operator-namespace", ""];
    let Verb::Doctor(flags) = Args::try_parse_from(words).unwrap().verb else { panic!() };
    assert_eq!(flags.operators(), "kubeopencode-system");
    let wrong =
        Args::try_parse_from(["kubectl-kubeopencode", "get", "-n", "team/a"]).unwrap_err().to_string();
    assert!(wrong.contains("invalid value 'team/a' for '--namespace <NAMESPACE>'"), "{wrong}");
}

/// What k9s would call, with what it would put in.
#[test]
fn the_keys_for_k9s_call_what_there_is() {
    #[derive(serde::Deserialize)]
    struct Keys {
        plugins: std::collections::BTreeMap<String, Key>,
    }
    #[derive(serde::Deserialize)]
    struct Key {
        command: String,
        background: bool,
        args: Vec<String>,
    }
    let keys: Keys = serde_norway::from_str(include_str!("../../../../deploy/k9s/plugins.yaml")).unwrap();
    assert!(!keys.plugins.is_empty());
    for (name, Key { command, background, args }) in keys.plugins {
        let line = match command.as_str() {
            "sh" => {
                let call = args[1].split([';', '|']).next().unwrap().replace(" 2>&1", "");
                let values = args.iter().skip(3).enumerate();
                values.fold(call, |line, (i, value)| line.replace(&format!("\"${}\"", i + 1), value))
            }
            command => format!("{command} {}", args.join(" ")),
        };
        let words = line.replace("$NAMESPACE", "team").replace("$NAME", "fix");
        let Args { verb, .. } = Args::try_parse_from(words.split_whitespace())
            .unwrap_or_else(|error| panic!("{name}: {line}: {error}"));
        // what is not in the background has the screen until it ends: it has to wait for whoever reads it
        let waits = background || args[1].contains("| less ") || args[1].contains("; read ");
        assert!(waits, "{name}: {verb:?} is gone before it can be read");
        assert!(
            line.starts_with("kubectl-kubeopencode ") && line.contains("--context $CONTEXT"),
            "{name}: {line}"
        );
    }
}

#[test]
fn the_manifest_for_krew_names_this_program() {
    let manifest = include_str!("../../../../deploy/krew/kubeopencode.yaml");
    let manifest: serde_json::Value = serde_norway::from_str(manifest).unwrap();
    assert_eq!(manifest["metadata"]["name"], "kubeopencode");
    let platforms = manifest["spec"]["platforms"].as_array().unwrap();
    assert!(platforms.iter().all(|platform| platform["bin"] == "kubectl-kubeopencode"), "{platforms:?}");
}
