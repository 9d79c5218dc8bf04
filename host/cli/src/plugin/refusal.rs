//! Why a component does not load, in words for its author, with what helps. Pure.

use kubeopencode_plugin_host::{CallError, LimitClass, LoadError};

use super::network;

/// Begins the name of what a module has to export, in the words of the runtime of JavaScript.
const INTERFACE: &str = "interface 'kubeopencode:plugin/";

/// What that runtime says where the export is there and is no type.
const NO_DESCRIBE: &str = "function 'describe' not found: ";

/// Ends what the SDK in Go says where a struct is unlike its schema, before it ends itself.
const UNLIKE: &str = ": mend the tags `json:";

/// What the host says of a component that serves nothing.
const NO_TYPE: &str = "it describes no type";

/// The host's words, and what to do where they do not say it themselves.
pub(super) fn words(error: &LoadError) -> String {
    if let LoadError::Describe(error) = error
        && let Some(unlike) = unlike_schema(error)
    {
        return unlike.to_owned();
    }
    let remedy = match error {
        LoadError::Empty => "; build it anew",
        LoadError::NotWasm => "; name the file that the build for wasm32-wasip2 made",
        LoadError::TooLarge { class, .. } if *class == LimitClass::Default.as_str() => {
            "; make it smaller (release build, size optimisation), or check it with --class large"
        }
        LoadError::Describe(error) => match missing_export(error) {
            Some(name) => {
                return format!(
                    "the module exports no {name}: write `export const {name} = ...` in it, as `kubeopencode plugin new` does"
                );
            }
            None if last_words(error).is_some_and(|words| words.contains(NO_DESCRIBE)) => {
                return "what the module exports has no function describe: write `export const contextType = defineContextTypes({ ... })` in it, as `kubeopencode plugin new` does"
                    .to_owned();
            }
            None => "; describe answers without settings, Task and inputs: try it in a test of yours",
        },
        LoadError::Descriptor(why) if why == NO_TYPE => {
            "; say what it serves: in defineContextTypes of JavaScript, with @context_type of Python, with plugin.Register of Go"
        }
        _ => "",
    };
    format!("{error}{remedy}")
}

/// The same of a component that has these bytes: one that is too large for what no plugin has is no better in another class.
pub(super) fn of_bytes(error: &LoadError, bytes: &[u8]) -> String {
    match network::of_go(bytes).filter(|_| matches!(error, LoadError::TooLarge { .. })) {
        Some(package) => format!("{error}; leave out {package}: a plugin has no network"),
        None => words(error),
    }
}

/// What a plugin wrote before it crashed.
fn last_words(error: &CallError) -> Option<&str> {
    let CallError::Trap { words, .. } = error else { return None };
    words.as_deref()
}

/// Where a struct in Go is unlike its schema: all that there is to say, whichever call it was found in.
pub(super) fn unlike_schema(error: &CallError) -> Option<&str> {
    last_words(error).filter(|words| words.contains(UNLIKE))
}

/// What a module in JavaScript does not export, though its component does.
fn missing_export(error: &CallError) -> Option<String> {
    let (_, name) = last_words(error)?.split_once(INTERFACE)?;
    let (name, after) = name.split_once('\'')?;
    if !after.starts_with(" not found") {
        return None;
    }
    let mut parts = name.split('@').next().unwrap_or_default().split('-');
    let mut camel = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let mut letters = part.chars();
        camel.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        camel.push_str(letters.as_str());
    }
    Some(camel)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_runtime_said_last_is_told_as_it_is_meant() {
        let crashed = |words: &str| {
            LoadError::Describe(CallError::Trap {
                reason: "it aborted".to_owned(),
                words: Some(words.to_owned()),
            })
        };
        let said = "interface 'kubeopencode:plugin/context-type@1.0.0' not found: FromJs { from: \"undefined\", to: \"object\", message: None }";
        assert_eq!(
            words(&crashed(said)),
            "the module exports no contextType: write `export const contextType = ...` in it, as `kubeopencode plugin new` does"
        );
        let said =
            "function 'describe' not found: FromJs { from: \"undefined\", to: \"function\", message: None }";
        assert_eq!(
            words(&crashed(said)),
            "what the module exports has no function describe: write `export const contextType = defineContextTypes({ ... })` in it, as `kubeopencode plugin new` does"
        );
        let said = "InGo: the schema has \"to\", and main.Config no field with the tag json:\"to\": mend the tags `json:\"…\"` or the schema";
        assert_eq!(words(&crashed(said)), said);
        let other = words(&crashed("interface of mine"));
        assert!(other.contains("its last words: interface of mine; describe answers"), "{other}");
    }
}
