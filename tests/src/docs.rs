//! The documents as tests: what docs/ shows is what happens.
//!
//! A document is read from top to bottom. Its fenced blocks:
//!
//! | block | what it is for |
//! |---|---|
//! | `yaml title="a.yaml"` (any language) | saved under that name, for the commands that follow |
//! | `yaml` | one or more whole objects: the API server takes them, in a dry run |
//! | `yaml fragment=Agent` | the same for a part of an object, from `spec:` on |
//! | `console` | `$ ` lines are run, with kubectl, helm, kubeopencode, deploy/, examples/ and plugins/ at hand; what follows is what they print. `...` in a line stands for anything, as a line for any lines; how many spaces does not matter. A command may only fail where its error is shown |
//! | `text dry-run` | commands that would change the whole cluster: each is run with `--dry-run`, and has to be taken |
//! | `text` | for the reader alone; `docs_check` looks at what `--set` names there, too |
//!
//! `<!-- namespaces: a b -->` names the namespaces that a document plays in, the first being the one that kubectl uses;
//! without it there is one, `docs-<name>`.
//!
//! May touch: text. Must not touch: files, a cluster. The suites `docs_check` and `docs_run` do.

use std::collections::{BTreeSet, HashMap};

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

/// A Markdown text, taken apart.
#[derive(Debug, Default)]
pub struct Document {
    /// Its fenced blocks, in their order.
    pub blocks: Vec<Block>,
    /// Where its links and images lead, each with its line.
    pub links: Vec<(usize, String)>,
    /// Its headings.
    pub headings: Vec<Heading>,
    /// What `<!-- namespaces: … -->` names.
    pub namespaces: Vec<String>,
}

/// A fenced block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The line of its fence, from 1.
    pub line: usize,
    /// What stands behind the fence.
    pub info: String,
    /// What it holds.
    pub text: String,
    /// Whether its fence is closed.
    pub ends: bool,
}

/// What a block is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use<'a> {
    /// Saved under this name.
    File(&'a str),
    /// Whole objects.
    Objects,
    /// A part of an object of this kind.
    Fragment(&'a str),
    /// Commands and what they print.
    Commands,
    /// Commands that are tried without an effect.
    DryRun,
    /// For the reader alone.
    Words,
}

/// A heading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heading {
    /// Its words.
    pub text: String,
    /// Whether it is one piece of code and nothing else, as the name of a reason is.
    pub is_code: bool,
}

impl Document {
    /// Takes a text apart.
    pub fn parse(markdown: &str) -> Self {
        let line_of = {
            let starts: Vec<usize> =
                std::iter::once(0).chain(markdown.match_indices('\n').map(|(at, _)| at + 1)).collect();
            move |at: usize| starts.partition_point(|start| *start <= at)
        };
        let mut document = Self::default();
        let (mut block, mut heading) = (None::<Block>, None::<(String, Vec<bool>)>);
        for (event, range) in Parser::new_ext(markdown, Options::ENABLE_TABLES).into_offset_iter() {
            match event {
                Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(info))) => {
                    let source = markdown.get(range.clone()).unwrap_or_default().trim_end();
                    let ends = source.lines().count() > 1
                        && source.lines().last().is_some_and(|line| line.trim() == "```");
                    block = Some(Block {
                        line: line_of(range.start),
                        info: info.to_string(),
                        text: String::new(),
                        ends,
                    });
                }
                Event::End(TagEnd::CodeBlock) => document.blocks.extend(block.take()),
                Event::Start(Tag::Heading { .. }) => heading = Some((String::new(), Vec::new())),
                Event::End(TagEnd::Heading(_)) => {
                    let (text, parts) = heading.take().unwrap_or_default();
                    document.headings.push(Heading { text, is_code: parts == [true] });
                }
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    document.links.push((line_of(range.start), dest_url.to_string()));
                }
                Event::Text(text) | Event::Code(text) if heading.is_some() => {
                    let is_code = markdown.get(range).is_some_and(|source| source.starts_with('`'));
                    if let Some((words, parts)) = &mut heading {
                        words.push_str(&text);
                        parts.push(is_code);
                    }
                }
                Event::Text(text) => {
                    if let Some(block) = &mut block {
                        block.text.push_str(&text);
                    }
                }
                Event::Html(html) => {
                    let named = html
                        .trim()
                        .strip_prefix("<!-- namespaces:")
                        .and_then(|rest| rest.strip_suffix("-->"));
                    document
                        .namespaces
                        .extend(named.into_iter().flat_map(str::split_whitespace).map(str::to_owned));
                }
                _ => {}
            }
        }
        document
    }

    /// What leads to a heading behind `#`, as GitHub makes it.
    pub fn anchors(&self) -> BTreeSet<String> {
        let mut seen = HashMap::<String, usize>::new();
        let anchors = self.headings.iter().map(|heading| {
            let kept = heading.text.to_lowercase();
            let kept = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '_' | '-'));
            let anchor: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
            let before = seen.entry(anchor.clone()).or_default();
            *before += 1;
            if *before == 1 { anchor } else { format!("{anchor}-{}", *before - 1) }
        });
        anchors.collect()
    }
}

impl Block {
    /// What it is for; `None`: it would run in no test.
    pub fn used_as(&self) -> Option<Use<'_>> {
        let title = self.info.split_once(" title=\"").and_then(|(_, rest)| rest.strip_suffix('"'));
        if let Some(title) = title.filter(|title| !title.is_empty()) {
            return Some(Use::File(title));
        }
        match self.info.as_str() {
            "yaml" => Some(Use::Objects),
            "console" => Some(Use::Commands),
            "text dry-run" => Some(Use::DryRun),
            "text" => Some(Use::Words),
            other => other.strip_prefix("yaml fragment=").map(Use::Fragment),
        }
    }

    /// The commands of a console, with their lines in the document.
    pub fn commands(&self) -> Vec<Command> {
        let mut commands: Vec<Command> = Vec::new();
        for (line, text) in (self.line + 1..).zip(self.text.lines()) {
            match commands.last_mut() {
                Some(Command { command, .. }) if command.ends_with('\\') => {
                    command.push('\n');
                    command.push_str(text);
                }
                last => match (text.strip_prefix("$ "), last) {
                    (Some(command), _) => {
                        commands.push(Command { line, command: command.to_owned(), shown: String::new() });
                    }
                    (None, Some(last)) => last.shown += &format!("{text}\n"),
                    (None, None) => {
                        commands.push(Command { line, command: String::new(), shown: text.to_owned() })
                    }
                },
            }
        }
        commands
    }

    /// The commands of a block that is tried, so that they change nothing.
    ///
    /// # Errors
    /// The line of one that nobody can try so.
    pub fn dry_runs(&self) -> Result<Vec<Command>, (usize, String)> {
        let mut commands = Vec::<Command>::new();
        for (line, text) in (self.line + 1..).zip(self.text.lines()) {
            match commands.last_mut() {
                Some(Command { command, .. }) if command.ends_with('\\') => {
                    command.push('\n');
                    command.push_str(text);
                }
                _ => commands.push(Command { line, command: text.to_owned(), shown: String::new() }),
            }
        }
        let tried = commands.into_iter().map(|command| match dry_run(&command.command) {
            Some(tried) => Ok(Command { command: tried, ..command }),
            None => Err((command.line, command.command)),
        });
        tried.collect()
    }
}

/// A command, or several behind each other with ` | `, that change nothing; `None`: that is not known of one of them.
fn dry_run(command: &str) -> Option<String> {
    if command.contains([';', '&', '>', '`']) || command.contains("$(") {
        return None;
    }
    let parts = command.split(" | ").map(|part| without_effect(part).map(|flag| format!("{part}{flag}")));
    Some(parts.collect::<Option<Vec<_>>>()?.join(" | "))
}

/// The flag with which a command changes nothing; empty: it never does.
fn without_effect(command: &str) -> Option<&'static str> {
    let mut words = command.split_whitespace().skip_while(|word| *word == "xargs");
    match words.next()? {
        "grep" => Some(""),
        program => words.find_map(|verb| match (program, verb) {
            ("kubectl", "get") | ("helm", "template") => Some(""),
            ("kubectl", "apply" | "create" | "delete" | "patch") | ("helm", "install" | "upgrade") => {
                Some(" --dry-run=server")
            }
            ("helm", "uninstall") => Some(" --dry-run"),
            _ => None,
        }),
    }
}

/// A command and what the document shows that it prints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Its line, from 1.
    pub line: usize,
    /// As the shell gets it; empty: the block begins with something else.
    pub command: String,
    /// What it prints.
    pub shown: String,
}

impl Command {
    /// Whether it shows an error, and so may fail.
    pub fn may_fail(&self) -> bool {
        let shown = self.shown.to_lowercase();
        ["error", "is invalid", "denied"].iter().any(|word| shown.contains(word))
    }

    /// Whether it looks at something that may need a moment, as a log or an Event.
    pub fn may_need_a_moment(&self) -> bool {
        self.command.starts_with("kubectl")
            && [" get ", " logs "].iter().any(|verb| self.command.contains(verb))
    }

    /// Whether it printed what the document shows.
    ///
    /// # Errors
    /// What differs.
    pub fn compare(&self, printed: &str) -> Result<(), String> {
        let printed = squeezed(printed);
        let (mut at, mut skip) = (0, false);
        for shown in squeezed(&self.shown) {
            if shown == "..." {
                skip = true;
                continue;
            }
            let rest = printed.get(at..).unwrap_or_default();
            let found = if skip {
                rest.iter().position(|line| matches(&shown, line))
            } else {
                rest.first().is_some_and(|line| matches(&shown, line)).then_some(0)
            };
            let Some(found) = found else {
                return Err(format!("the document shows \"{shown}\", which is not there"));
            };
            (at, skip) = (at + found + 1, false);
        }
        if at > 0 && !skip && at < printed.len() {
            return Err("more is printed than the document shows".to_owned());
        }
        Ok(())
    }
}

/// Lines without what does not matter.
fn squeezed(text: &str) -> Vec<String> {
    let lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    lines.filter(|line| !line.is_empty()).collect()
}

/// Whether a line is what is shown, in which `...` stands for anything.
fn matches(shown: &str, line: &str) -> bool {
    let parts: Vec<&str> = shown.split("...").collect();
    let [first, middle @ .., last] = parts.as_slice() else { return shown == line };
    let Some(mut rest) = line.strip_prefix(first) else { return false };
    for part in middle {
        let Some((_, behind)) = rest.split_once(part) else { return false };
        rest = behind;
    }
    rest.ends_with(last)
}

/// A whole object around a part of one, from `spec:` on.
pub fn whole(kind: &str, fragment: &str) -> String {
    let account = kind == "Agent" && !fragment.lines().any(|line| line.starts_with("  serviceAccountName:"));
    let account = if account { "  serviceAccountName: kubeopencode-agent\n" } else { "" };
    // the only name that a config may have
    let name = if kind == "KubeOpenCodeConfig" { "default" } else { "fragment" };
    format!(
        "apiVersion: kubeopencode.io/v1alpha1\nkind: {kind}\nmetadata:\n  name: {name}\n{fragment}{account}"
    )
}

/// A promise of a document and its tests: a row of `tests/document.md`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promise {
    /// The section that makes it.
    pub section: String,
    /// What it promises.
    pub promise: String,
    /// The tests that show it, as `file::name`, or `file` for one that runs as a whole.
    pub tests: Vec<String>,
    /// What has no test, in words.
    pub missing: Option<String>,
}

/// The rows of the table of promises.
pub fn promises(markdown: &str) -> Vec<Promise> {
    let (mut rows, mut cells, mut tests) = (Vec::new(), Vec::<String>::new(), Vec::new());
    let mut in_head = false;
    for event in Parser::new_ext(markdown, Options::ENABLE_TABLES) {
        match event {
            Event::Start(Tag::TableHead) => in_head = true,
            Event::End(TagEnd::TableHead) => (in_head, cells) = (false, Vec::new()),
            Event::Start(Tag::TableCell) => {
                cells.push(String::new());
                tests.clear();
            }
            Event::Code(text) if !in_head => {
                tests.push(text.to_string());
                cells.last_mut().into_iter().for_each(|cell| cell.push_str(&text));
            }
            Event::Text(text) => cells.last_mut().into_iter().for_each(|cell| cell.push_str(&text)),
            Event::End(TagEnd::TableRow) => {
                let missing = cells.last().and_then(|tests| tests.split_once("missing:"));
                let missing = missing.map(|(_, words)| words.trim().to_owned());
                let mut texts = std::mem::take(&mut cells).into_iter();
                let (section, promise) = (texts.next().unwrap_or_default(), texts.next().unwrap_or_default());
                rows.push(Promise { section, promise, tests: std::mem::take(&mut tests), missing });
            }
            _ => {}
        }
    }
    rows
}

/// The names of the tests in a Rust source: functions with an attribute `test`, and what a macro of the file is given
/// by name.
///
/// # Errors
/// When it is no Rust.
pub fn tests_in(source: &str) -> syn::Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    collect_tests(&syn::parse_file(source)?.items, &mut names);
    Ok(names)
}

fn collect_tests(items: &[syn::Item], names: &mut BTreeSet<String>) {
    for item in items {
        match item {
            syn::Item::Fn(function) => {
                let is_test = |attribute: &syn::Attribute| {
                    attribute.path().segments.last().is_some_and(|last| last.ident == "test")
                };
                if function.attrs.iter().any(is_test) {
                    names.insert(function.sig.ident.to_string());
                }
            }
            syn::Item::Mod(module) => {
                collect_tests(
                    module.content.as_ref().map(|(_, items)| items.as_slice()).unwrap_or_default(),
                    names,
                );
            }
            syn::Item::Macro(makes_tests) => collect_idents(&makes_tests.mac.tokens.to_string(), names),
            _ => {}
        }
    }
}

/// Names in the tokens of a macro: `proptest!` has functions in them, others a list.
fn collect_idents(tokens: &str, names: &mut BTreeSet<String>) {
    let words = tokens.split(|c: char| !(c.is_alphanumeric() || c == '_'));
    names.extend(words.filter(|word| word.starts_with(|c: char| c.is_lowercase())).map(str::to_owned));
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = "\
<!-- namespaces: dev platform -->
# A `Task` runs

See [there](other.md#a-b) and ![a picture](x.png), not `[this](code)`.

```yaml title=\"a.yaml\"
kind: Task
```

```console
$ kubectl get tasks \\
  --watch
NAME   PHASE
...
$ kubectl logs x
```

## `Completed`

```yaml fragment=Agent
spec: {}
```
## A Task runs
```sh
[no](link)
";

    #[test]
    fn a_document_is_taken_apart() {
        let document = Document::parse(DOCUMENT);
        assert_eq!(document.namespaces, ["dev", "platform"]);
        assert_eq!(document.links, [(4, "other.md#a-b".to_owned()), (4, "x.png".to_owned())]);
        let blocks: Vec<_> =
            document.blocks.iter().map(|block| (block.line, block.used_as(), block.ends)).collect();
        assert_eq!(
            blocks,
            [
                (6, Some(Use::File("a.yaml")), true),
                (10, Some(Use::Commands), true),
                (20, Some(Use::Fragment("Agent")), true),
                (24, None, false),
            ]
        );
        let code: Vec<_> = document.headings.iter().filter(|heading| heading.is_code).collect();
        assert_eq!(code, [&Heading { text: "Completed".to_owned(), is_code: true }]);
        assert_eq!(
            document.anchors(),
            ["a-task-runs", "a-task-runs-1", "completed"].map(str::to_owned).into()
        );
    }

    #[test]
    fn a_console_has_commands_and_what_they_print() {
        let document = Document::parse(DOCUMENT);
        let command = |line, command: &str, shown: &str| Command {
            line,
            command: command.to_owned(),
            shown: shown.to_owned(),
        };
        assert_eq!(
            document.blocks[1].commands(),
            [
                command(11, "kubectl get tasks \\\n  --watch", "NAME   PHASE\n...\n"),
                command(15, "kubectl logs x", "")
            ]
        );
    }

    #[test]
    fn a_command_is_tried_without_an_effect() {
        let block = |text: &str| Block {
            line: 4,
            info: "text dry-run".to_owned(),
            text: text.to_owned(),
            ends: true,
        };
        let tried = block(
            "helm upgrade --install k deploy/chart \\\n  --wait\nhelm uninstall k\nkubectl get crds -o name | grep -E '(a|b)$' | xargs kubectl delete\n",
        );
        assert_eq!(tried.used_as(), Some(Use::DryRun));
        let tried = tried.dry_runs().unwrap();
        let tried: Vec<_> = tried.iter().map(|command| (command.line, command.command.as_str())).collect();
        assert_eq!(
            tried,
            [
                (5, "helm upgrade --install k deploy/chart \\\n  --wait --dry-run=server"),
                (7, "helm uninstall k --dry-run"),
                (8, "kubectl get crds -o name | grep -E '(a|b)$' | xargs kubectl delete --dry-run=server"),
            ]
        );
        for unknown in [
            "rm -r x",
            "kubectl get a; kubectl delete a",
            "kubectl delete a & kubectl get a",
            "kubectl get a > b",
            "kubectl get $(kubectl delete a)",
            "kubectl delete a | rm b",
            "kubectl exec a -- b",
            "",
        ] {
            let refused = block(&format!("kubectl get a\n{unknown}\n")).dry_runs();
            assert_eq!(refused, Err((6, unknown.to_owned())), "{unknown}");
        }
    }

    #[test]
    fn what_is_printed_is_what_is_shown() {
        let shows = |shown: &str, printed: &str| {
            Command { line: 1, command: "c".to_owned(), shown: shown.to_owned() }.compare(printed).is_ok()
        };
        assert!(shows("NAME  PHASE\nfix Running\n", "NAME PHASE\n\nfix   Running  \n"));
        assert!(!shows("fix Running\n", "fix Completed\n"));
        assert!(!shows("fix Running\n", "fix Running\nnext Queued\n"), "more is printed");
        assert!(shows("fix Running\n...\n", "fix Running\nnext Queued\n"));
        assert!(shows("", "what nobody shows does not matter"));
        assert!(shows("a\n...\nd\n", "a\nb\nc\nd\n") && !shows("a\n...\ne\n", "a\nb\nc\nd\n"));
        assert!(shows("uid: ...-...!\n", "uid: 12-34!\n") && !shows("uid: ...-...!\n", "uid: 1234!\n"));
        assert!(
            shows("[a] * ?\n", "[a] * ?\n") && !shows("[a] *\n", "a anything\n"),
            "nothing else stands for anything"
        );
        assert!(!shows("aXa...aXa\n", "aXa\n"), "no part counts twice");
        assert!(!shows("a\n", ""));
    }

    #[test]
    fn a_command_may_fail_only_where_an_error_is_shown() {
        let command = |command: &str, shown: &str| Command {
            line: 1,
            command: command.to_owned(),
            shown: shown.to_owned(),
        };
        assert!(
            command("c", "Error from server (Forbidden): ...").may_fail()
                && !command("c", "fix Failed").may_fail()
        );
        assert!(command("kubectl -n a get tasks", "").may_need_a_moment());
        assert!(!command("kubectl apply -f get.yaml", "").may_need_a_moment());
    }

    #[test]
    fn a_fragment_becomes_whole() {
        assert!(
            whole("Agent", "spec:\n  timeout: 1s\n")
                .ends_with("  timeout: 1s\n  serviceAccountName: kubeopencode-agent\n")
        );
        assert!(!whole("Agent", "spec:\n  serviceAccountName: mine\n").contains("kubeopencode-agent"));
        assert!(!whole("Task", "spec:\n  timeout: 1s\n").contains("serviceAccountName"));
    }

    #[test]
    fn a_promise_has_its_tests_or_says_what_is_missing() {
        let table = "text `no::test`\n\n| section | promise | tests |\n|---|---|---|\n| A | does `x` | `a/b::c` `d` |\n| B | more | `e::f` missing: the rest |\n";
        let promise = |section: &str, promise: &str, tests: &[&str], missing: Option<&str>| Promise {
            section: section.to_owned(),
            promise: promise.to_owned(),
            tests: tests.iter().map(|test| (*test).to_owned()).collect(),
            missing: missing.map(str::to_owned),
        };
        assert_eq!(
            promises(table),
            [
                promise("A", "does x", &["a/b::c", "d"], None),
                promise("B", "more", &["e::f"], Some("the rest"))
            ]
        );
    }

    #[test]
    fn tests_are_found_by_their_attribute_and_in_macros() {
        let source = "
            fn helper() {}
            #[tokio::test(flavor = \"multi_thread\")] async fn one() {}
            mod tests { #[test] fn two() {} fn no() {} }
            many! { three: Fault, four: Other, }
        ";
        assert_eq!(tests_in(source).unwrap(), ["four", "one", "three", "two"].map(str::to_owned).into());
    }
}
