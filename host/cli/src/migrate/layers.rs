//! The contexts of a Task as a prompt and items: all layers of it, of its WorkspaceConfig at most the texts.
//!
//! May touch: parts. Must not touch: the objects that they are from.

use kubeopencode_api::context::ContextItem;
use kubeopencode_api::literals::DEFAULT_WORKSPACE_DIR;
use kubeopencode_api::pieces::{self, SEPARATOR};

use super::contexts::{Becomes, Part, normal};

/// Where the prompt was, and is.
pub(super) const PROMPT: &str = "task.md";

/// Where the text of a context goes that is no part of the prompt any more; it follows the reason.
pub(super) const MOVED: &str = "so its text moves from /workspace/task.md to /workspace/.kubeopencode/context.md, between \
                                tags: OpenCode reads both, another program has to be told";

/// Where the text that all Tasks shared is, where their program looks for it in the prompt.
pub(super) const COPIED: &str = "it is for all Tasks: those of these files begin with its text in spec.description, as it stood \
                                 in /workspace/task.md; later ones have it in /workspace/.kubeopencode/context.md alone, \
                                 between tags, and the image's program has to be told";

/// A prompt and items, and what differs.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) description: Option<String>,
    pub(super) contexts: Vec<ContextItem>,
    pub(super) warnings: Vec<String>,
}

impl Contents {
    /// What the Task does: a prompt, or a file in its place.
    pub(super) fn has_prompt(&self) -> bool {
        self.description.as_deref().is_some_and(|text| !text.trim().is_empty())
            || self.contexts.iter().any(|item| item.mount_path.as_deref().map(normal) == Some(prompt_path()))
    }

    /// Joins the parts of a Task. Where no text is known here, the first file without a path becomes the prompt's file,
    /// which is what it was.
    pub(super) fn of<'a>(parts: impl Iterator<Item = &'a Part> + Clone) -> Self {
        let description = description(parts.clone());
        let is_taken = parts.clone().any(|part| part.path() == Some(prompt_path()));
        let mut is_open = description.is_none() && !is_taken;
        let mut contents = Self { description, ..Self::default() };
        for Part { field, becomes } in parts {
            let (mut item, unknown) = match becomes {
                Becomes::Text(_) => continue,
                Becomes::Nothing(why) => {
                    contents.warnings.push(format!("{field}: {why}: it is optional, and left out"));
                    continue;
                }
                Becomes::Item(item, unknown) => (item.as_ref().clone(), unknown),
            };
            if let Some(why) = unknown {
                if is_open && item.file.is_some() {
                    item.mount_path = Some(prompt_path());
                    is_open = false;
                } else {
                    contents.warnings.push(format!("{field}: {why}, {MOVED}"));
                }
            }
            contents.contexts.push(item);
        }
        contents
    }
}

/// The texts of these parts, as they stood in the prompt.
pub(super) fn description<'a>(parts: impl Iterator<Item = &'a Part>) -> Option<String> {
    let texts = parts.filter_map(|part| match &part.becomes {
        Becomes::Text(text) => Some(text.as_str()),
        _ => None,
    });
    pieces::join(texts, SEPARATOR)
}

fn prompt_path() -> String {
    format!("{DEFAULT_WORKSPACE_DIR}/{PROMPT}")
}

#[cfg(test)]
mod tests {
    use kubeopencode_api::context::{FileContext, FileSource};

    use super::*;

    fn text(text: &str) -> Part {
        Part { field: "spec.contexts[0]".into(), becomes: Becomes::Text(text.into()) }
    }

    fn file(name: &str, path: Option<&str>) -> Part {
        let item = ContextItem {
            mount_path: path.map(Into::into),
            file: Some(FileContext { name: name.into(), source: FileSource::default() }),
            ..ContextItem::default()
        };
        let unknown = path.is_none().then(|| "nobody knows".to_owned());
        Part { field: "spec.contexts[1]".into(), becomes: Becomes::Item(Box::new(item), unknown) }
    }

    fn of(parts: &[Part]) -> (Option<String>, Vec<Option<String>>, usize) {
        let contents = Contents::of(parts.iter());
        let paths = contents.contexts.into_iter().map(|item| item.mount_path).collect();
        (contents.description, paths, contents.warnings.len())
    }

    #[test]
    fn known_text_is_the_prompt_and_what_is_unknown_moves() {
        assert_eq!(of(&[text("a\n"), text("b\n")]), (Some("a\n\n---\n\nb\n".into()), vec![], 0));
        let parts = [text("a\n"), file("b", None), file("c", Some("/c"))];
        assert_eq!(of(&parts), (Some("a\n".into()), vec![None, Some("/c".into())], 1));
    }

    #[test]
    fn one_unknown_text_alone_is_the_prompts_file_as_it_was() {
        let prompt = || Some("/workspace/task.md".to_owned());
        assert_eq!(of(&[file("a", None)]), (None, vec![prompt()], 0));
        assert_eq!(of(&[file("a", None), text("\n"), file("b", None)]), (None, vec![prompt(), None], 1));
        let taken = [file("a", None), file("b", Some("/workspace/task.md"))];
        assert_eq!(of(&taken), (None, vec![None, prompt()], 1), "a conflict before, and not made one here");
    }
}
