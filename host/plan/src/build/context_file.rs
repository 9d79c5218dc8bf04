//! `.kubeopencode/context.md`: every context without mountPath, between delimiters that their text cannot forge. With a
//! server, the same blocks in front of the prompt.
//!
//! May touch: text. Only the host writes delimiters, so only this file escapes (see `kubeopencode_api::plugin`); what
//! comes from a Secret is escaped where it is joined, inside the Pod.

use kubeopencode_api::plugin::{escape_attribute, escape_content, file_block};

use super::layout::{Content, Part, PartGroup, Secrets};
use crate::evaluated::{Evaluated, Piece};

/// Between two blocks.
const BLANK_LINE: &str = "\n\n";

/// The file's content, with the prompt at its end where there is one; `None` where nothing adds to it.
pub(super) fn context_file<'a>(
    contexts: &[Evaluated],
    prompt: Option<&str>,
    secrets: &mut Secrets,
) -> Option<Content<'a>> {
    let contexts = contexts.iter().filter(|context| context.has_context_text());
    let mut parts: Vec<Part> = contexts.map(|context| block(context, secrets)).collect();
    parts.extend(prompt.map(|prompt| Part::Text(prompt.to_owned())));
    (!parts.is_empty()).then(|| PartGroup { parts, separator: BLANK_LINE, ..PartGroup::default() }.into())
}

fn block(context: &Evaluated, secrets: &mut Secrets) -> Part {
    let item = &context.item;
    let name = escape_attribute(item.tag_name());
    let (namespace, type_) = (escape_attribute(&item.namespace), escape_attribute(&item.type_));
    let before = format!("<context name=\"{name}\" namespace=\"{namespace}\" type=\"{type_}\">\n");
    let pieces = context.pieces.iter().map(|piece| match piece {
        Piece::Text(text) => Part::Text(escape_content(text).into_owned()),
        Piece::File { name, text } => Part::Text(file_block(name, text)),
        Piece::Secret(secret) => secrets.part(secret, true),
    });
    Part::Group(PartGroup { parts: pieces.collect(), separator: "\n", before, after: "\n</context>" })
}
