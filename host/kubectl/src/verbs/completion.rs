//! `completion`: of shells, and of kubectl, which asks `kubectl_complete-kubeopencode` on the PATH about its plugin.
//!
//! May touch: the command line's own description, names of Tasks, stdout.

use clap::{Command, CommandFactory};
use kube::api::ListParams;
use kube::core::PartialObjectMeta;
use kube::{Api, ResourceExt};
use kubeopencode_api::task::Task;

use crate::args::{Args, Complete, Completed, Completion, Place};
use crate::cluster::Cluster;
use crate::error::Failure;
use crate::output::print;

const PROGRAM: &str = "kubectl-kubeopencode";

const OF_KUBECTL: &str = "#!/bin/sh
# kubectl runs this for the completions of `kubectl kubeopencode`: put it on the PATH as kubectl_complete-kubeopencode.
exec kubectl-kubeopencode __complete -- \"$@\"
";

/// Ends the list for kubectl: nothing else, as file names, is completed.
const NO_FILES: &str = ":4\n";

/// Prints the completions of a shell.
///
/// # Errors
/// When nobody reads them.
pub(crate) fn main(flags: Completion) -> Result<(), Failure> {
    let shell = match flags.shell {
        Completed::Kubectl => return print(OF_KUBECTL),
        Completed::Bash => clap_complete::Shell::Bash,
        Completed::Elvish => clap_complete::Shell::Elvish,
        Completed::Fish => clap_complete::Shell::Fish,
        Completed::PowerShell => clap_complete::Shell::PowerShell,
        Completed::Zsh => clap_complete::Shell::Zsh,
    };
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut for_people(&Args::command()), PROGRAM, &mut text);
    print(text)
}

/// The command line without what kubectl alone calls, which bash would offer as well.
fn for_people(program: &Command) -> Command {
    let verbs = program.get_subcommands().filter(|verb| !verb.is_hide_set()).cloned();
    let shown = Command::new(PROGRAM).args(program.get_arguments().cloned()).subcommands(verbs);
    shown.disable_help_subcommand(true)
}

/// Prints what the last word may become, as kubectl reads it. What cannot be asked is not completed.
///
/// # Errors
/// When nobody reads it.
pub(crate) async fn words(flags: Complete, place: &Place) -> Result<(), Failure> {
    let mut found = match known(&Args::command(), &flags.words) {
        Known::Words(words) => words,
        Known::Tasks => tasks(&flags.words, place).await.unwrap_or_default(),
    };
    let begin = flags.words.last().map_or("", String::as_str);
    found.retain(|word| word.starts_with(begin));
    print(found.join("\n") + if found.is_empty() { "" } else { "\n" } + NO_FILES)
}

async fn tasks(words: &[String], place: &Place) -> Option<Vec<String>> {
    let namespace = words.iter().position(|word| word == "-n" || word == "--namespace");
    let namespace = namespace.and_then(|at| words.get(at + 1)).cloned();
    let place = Place { namespace: namespace.or_else(|| place.namespace.clone()), ..place.clone() };
    let cluster = Cluster::connect(&place).await.ok()?;
    let tasks: Api<Task> = cluster.tasks();
    let list = tasks.list_metadata(&ListParams::default()).await.ok()?;
    Some(list.items.iter().map(PartialObjectMeta::name_any).collect())
}

/// What may stand in place of the last word.
#[derive(Debug, PartialEq, Eq)]
enum Known {
    Words(Vec<String>),
    Tasks,
}

fn known(program: &Command, words: &[String]) -> Known {
    let (last, before) = words.split_last().map_or(("", words), |(last, before)| (last.as_str(), before));
    let verb = before.iter().find_map(|word| program.find_subcommand(word));
    let Some(verb) = verb else {
        let verbs = program.get_subcommands().filter(|verb| !verb.is_hide_set());
        return Known::Words(verbs.map(|verb| verb.get_name().to_owned()).collect());
    };
    if last.starts_with('-') {
        let flags = verb.get_arguments().chain(program.get_arguments());
        return Known::Words(flags.filter_map(|flag| Some(format!("--{}", flag.get_long()?))).collect());
    }
    if verb.get_positionals().any(|value| matches!(value.get_id().as_str(), "task" | "tasks")) {
        return Known::Tasks;
    }
    let values = verb.get_positionals().flat_map(clap::Arg::get_possible_values);
    Known::Words(values.map(|value| value.get_name().to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(words: &[&str]) -> Known {
        known(&Args::command(), &words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn kubectl_is_told_verbs_flags_and_where_tasks_belong() {
        let verbs =
            ["run", "logs", "get", "describe", "result", "stop", "rerun", "top", "doctor", "completion"];
        assert_eq!(after(&[""]), Known::Words(verbs.map(str::to_owned).to_vec()));
        let Known::Words(flags) = after(&["run", "--"]) else { panic!() };
        assert!(
            flags.contains(&"--follow".to_owned()) && flags.contains(&"--namespace".to_owned()),
            "{flags:?}"
        );
        for verb in ["logs", "get", "describe", "result", "stop", "rerun"] {
            assert_eq!(after(&[verb, ""]), Known::Tasks, "{verb}");
        }
        let Known::Words(shells) = after(&["completion", ""]) else { panic!() };
        assert!(shells.contains(&"zsh".to_owned()), "{shells:?}");
    }
}
