//! `completion`: of shells, and of kubectl, which asks `kubectl_complete-kubeopencode` on the PATH about its plugin.
//!
//! May touch: the command line's own description, the kubeconfig's contexts, names of objects, stdout.

use std::fmt::Debug;

use clap::{Arg, Command, CommandFactory};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, ListParams};
use kubeopencode_api::agent::Agent;
use serde::de::DeserializeOwned;

use crate::args::{Args, Complete, Completed, Completion, Place};
use crate::cluster::{Cluster, contexts};
use crate::error::Failure;
use crate::output::print;

const PROGRAM: &str = "kubectl-kubeopencode";

const OF_KUBECTL: &str = "#!/bin/sh
# kubectl runs this for the completions of `kubectl kubeopencode`: put it on the PATH as kubectl_complete-kubeopencode.
exec kubectl-kubeopencode __complete -- \"$@\"
";

/// Ends the list for kubectl: nothing else, as file names, is completed.
const NO_FILES: &str = ":4\n";

/// Ends it where the shell itself completes names of files.
const FILES: &str = ":0\n";

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
    match shell {
        clap_complete::Shell::Bash => print(mended(&String::from_utf8_lossy(&text))),
        _ => print(text),
    }
}

/// The script for bash, in which a verb of a program with a hyphen in its name is called in two ways, so that none is found. And to
/// bash `--output=wi` is three words: before the value stands the flag, and not the `=`.
fn mended(script: &str) -> String {
    let prev = "    prev=\"$3\"\n";
    let flag =
        "    if [[ \"${prev}\" == \"=\" ]]; then\n        prev=\"${COMP_WORDS[COMP_CWORD-2]}\"\n    fi\n";
    let script = script.replace("kubectl__subcmd__kubeopencode", "kubectl__kubeopencode");
    script.replacen(prev, &format!("{prev}{flag}"), 1)
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
    let program = Args::command();
    let words = flags.words.as_slice();
    let (last, before) = words.split_last().map_or(("", words), |(last, rest)| (last.as_str(), rest));
    let mut before = Before::read(&program, before, place.clone());
    let begin = before.begin(&program, last);
    let known = known(&program, &before, begin);
    let end = if known == Known::Files { FILES } else { NO_FILES };
    let mut found = names(known, &before.place).await.unwrap_or_default();
    found.retain(|word| word.starts_with(begin));
    print(found.join("\n") + if found.is_empty() { "" } else { "\n" } + end)
}

/// What it comes to, asked where the words say; `None`: it cannot be asked.
async fn names(known: Known, place: &Place) -> Option<Vec<String>> {
    match known {
        Known::Words(words) => Some(words),
        Known::Files => None,
        Known::Contexts => Some(contexts(place)),
        Known::Tasks => listed(Cluster::connect(place).await.ok()?.tasks()).await,
        Known::Agents => {
            let cluster = Cluster::connect(place).await.ok()?;
            listed(cluster.of::<Agent>(&cluster.namespace)).await
        }
        Known::Namespaces => listed(Api::<Namespace>::all(Cluster::connect(place).await.ok()?.client)).await,
    }
}

async fn listed<K: Clone + Debug + DeserializeOwned>(api: Api<K>) -> Option<Vec<String>> {
    let list = api.list_metadata(&ListParams::default()).await.ok()?;
    list.items.into_iter().map(|object| object.metadata.name).collect()
}

/// What stands before the word that is written.
#[derive(Default)]
struct Before<'a> {
    verb: Option<&'a Command>,
    /// The flag whose value comes next.
    flag: Option<&'a Arg>,
    /// The cluster and namespace that these words name.
    place: Place,
}

impl<'a> Before<'a> {
    fn read(program: &'a Command, words: &[String], place: Place) -> Self {
        let mut before = Self { place, ..Self::default() };
        for word in words {
            before.add(program, word);
        }
        before
    }

    /// What of the last word is completed. Of `--flag=value` that is the value alone: kubectl's scripts leave what stands before
    /// it as it is.
    fn begin<'w>(&mut self, program: &'a Command, last: &'w str) -> &'w str {
        if self.flag.is_some() || !last.starts_with('-') {
            return last;
        }
        let Some((flag, value)) = last.split_once('=') else { return last };
        self.add(program, flag);
        if self.flag.is_some() { value } else { last }
    }

    fn add(&mut self, program: &'a Command, word: &str) {
        if let Some(flag) = self.flag.take() {
            self.set(flag, word);
        } else if let Some(long) = word.strip_prefix("--") {
            let (name, value) =
                long.split_once('=').map_or((long, None), |(name, value)| (name, Some(value)));
            let found = flags(self.verb, program).find(|flag| flag.get_long() == Some(name));
            if let Some(flag) = found.filter(|flag| flag.get_action().takes_values()) {
                self.meet(flag, value);
            }
        } else if let Some(short) = word.strip_prefix('-') {
            // those without a value may stand before one with a value, as in -An team
            let with_value = short.char_indices().find_map(|(at, letter)| {
                let flag = flags(self.verb, program).find(|flag| flag.get_short() == Some(letter))?;
                let rest = short.get(at + letter.len_utf8()..).unwrap_or_default();
                flag.get_action().takes_values().then_some((flag, rest.strip_prefix('=').unwrap_or(rest)))
            });
            if let Some((flag, value)) = with_value {
                self.meet(flag, Some(value).filter(|value| !value.is_empty()));
            }
        } else if self.verb.is_none() {
            self.verb = program.find_subcommand(word);
        }
    }

    fn meet(&mut self, flag: &'a Arg, value: Option<&str>) {
        match value {
            Some(value) => self.set(flag, value),
            None => self.flag = Some(flag),
        }
    }

    fn set(&mut self, flag: &Arg, value: &str) {
        match flag.get_id().as_str() {
            "namespace" => self.place.namespace = Some(value.to_owned()),
            "context" => self.place.context = Some(value.to_owned()),
            "kubeconfig" => self.place.kubeconfig = Some(value.into()),
            _ => {}
        }
    }
}

fn flags<'a>(verb: Option<&'a Command>, program: &'a Command) -> impl Iterator<Item = &'a Arg> {
    verb.into_iter().flat_map(Command::get_arguments).chain(program.get_arguments())
}

/// What may stand in place of the last word.
#[derive(Debug, PartialEq, Eq)]
enum Known {
    Words(Vec<String>),
    Tasks,
    Agents,
    Namespaces,
    Contexts,
    Files,
}

fn known(program: &Command, before: &Before<'_>, begin: &str) -> Known {
    if let Some(flag) = before.flag {
        return value_of(flag);
    }
    if begin.starts_with('-') {
        let flags = flags(before.verb, program);
        return Known::Words(flags.filter_map(|flag| Some(format!("--{}", flag.get_long()?))).collect());
    }
    let Some(verb) = before.verb else {
        let verbs = program.get_subcommands().filter(|verb| !verb.is_hide_set());
        return Known::Words(verbs.map(|verb| verb.get_name().to_owned()).collect());
    };
    if verb.get_positionals().any(|value| matches!(value.get_id().as_str(), "task" | "tasks")) {
        return Known::Tasks;
    }
    Known::Words(verb.get_positionals().flat_map(possible).collect())
}

fn value_of(flag: &Arg) -> Known {
    match flag.get_id().as_str() {
        "agent" => Known::Agents,
        "namespace" | "operator_namespace" => Known::Namespaces,
        "context" => Known::Contexts,
        "kubeconfig" | "filename" | "file" => Known::Files,
        _ => Known::Words(possible(flag)),
    }
}

fn possible(value: &Arg) -> Vec<String> {
    value.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What may come in place of the last word, and what of it is completed.
    fn last<'w>(words: &[&'w str]) -> (Known, &'w str) {
        let program = Args::command();
        let (&last, before) = words.split_last().unwrap();
        let before: Vec<_> = before.iter().map(|word| (*word).to_owned()).collect();
        let mut before = Before::read(&program, &before, Place::default());
        let begin = before.begin(&program, last);
        (known(&program, &before, begin), begin)
    }

    fn after(words: &[&str]) -> Known {
        last(words).0
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
        let Known::Words(flags) = after(&["-"]) else { panic!() };
        assert!(flags.contains(&"--context".to_owned()), "{flags:?}");
    }

    #[test]
    fn each_flag_has_values_of_its_own() {
        let wide_or_name = ["wide", "name"].map(str::to_owned).to_vec();
        assert_eq!(after(&["get", "-o", ""]), Known::Words(wide_or_name.clone()));
        assert_eq!(after(&["get", "-Ao", ""]), Known::Words(wide_or_name));
        assert_eq!(after(&["logs", "--tail", ""]), Known::Words(Vec::new()));
        assert_eq!(after(&["run", "--agent", ""]), Known::Agents);
        assert_eq!(after(&["logs", "-n", ""]), Known::Namespaces);
        assert_eq!(after(&["doctor", "--operator-namespace", ""]), Known::Namespaces);
        assert_eq!(after(&["--context", ""]), Known::Contexts);
        for flag in ["-f", "--file", "--kubeconfig"] {
            assert_eq!(after(&["run", flag, ""]), Known::Files, "{flag}");
        }
        for (words, begin) in [
            (&["get", "-n=te"][..], "te"),
            (&["get", "--namespace="], ""),
            (&["get", "-An=te"], "te"),
            (&["get", "-n", "te=am"], "te=am"),
        ] {
            assert_eq!(last(words), (Known::Namespaces, begin), "{words:?}");
        }
        assert_eq!(after(&["--context=st"]), Known::Contexts);
        assert_eq!(after(&["run", "--agent="]), Known::Agents);
        assert_eq!(after(&["run", "--file=no"]), Known::Files);
        // a flag without a value has none behind = either
        assert_eq!(last(&["run", "--wait=t"]).1, "--wait=t");
        // -f of logs has no value
        for before in
            [&["logs", "-f"][..], &["logs", "--tail=5"], &["-n", "run", "logs"], &["logs", "-nteam"]]
        {
            assert_eq!(after(&[before, &[""]].concat()), Known::Tasks, "{before:?}");
        }
    }

    #[test]
    fn names_are_asked_where_the_words_say() {
        for words in [
            "--context staging --kubeconfig there -n team logs",
            "logs --context=staging --kubeconfig=there --namespace=team",
            "get -wn team --context staging --kubeconfig there",
            "get -n=team --context staging --kubeconfig there",
            "get -nteam --context staging --kubeconfig there",
        ] {
            let program = Args::command();
            let words: Vec<_> = words.split(' ').map(str::to_owned).collect();
            let Place { namespace, context, kubeconfig } =
                Before::read(&program, &words, Place::default()).place;
            assert_eq!(namespace.as_deref(), Some("team"), "{words:?}");
            assert_eq!(context.as_deref(), Some("staging"), "{words:?}");
            assert_eq!(kubeconfig, Some("there".into()), "{words:?}");
        }
    }
}
