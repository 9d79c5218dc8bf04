//! `.kubeopencode/context.md`: every context without mountPath, between delimiters that their text cannot forge.
//!
//! May touch: text. Only the host writes delimiters, so only this file escapes (see `kubeopencode_api::plugin`).

use kubeopencode_api::plugin::{escape_attribute, escape_content, file_block};

use crate::evaluated::{Evaluated, Piece};
use crate::item::Item;

/// The file's text; `None` where no context adds to it.
pub(super) fn context_file(contexts: &[Evaluated]) -> Option<String> {
    let blocks: Vec<String> =
        contexts.iter().filter(|context| context.has_context_text()).map(block).collect();
    (!blocks.is_empty()).then(|| blocks.join("\n\n"))
}

fn block(context: &Evaluated) -> String {
    let Item { namespace, type_, name, .. } = &context.item;
    let default = if type_ == "Runtime" { "runtime" } else { "context" };
    let name = escape_attribute(name.as_deref().unwrap_or(default));
    let (namespace, type_) = (escape_attribute(namespace), escape_attribute(type_));
    let content: Vec<String> = context
        .pieces
        .iter()
        .map(|piece| match piece {
            Piece::Text(text) => escape_content(text).into_owned(),
            Piece::File { name, text } => file_block(name, text),
        })
        .collect();
    let content = content.join("\n");
    format!("<context name=\"{name}\" namespace=\"{namespace}\" type=\"{type_}\">\n{content}\n</context>")
}
