//! docs/reference.md as a page for each kind, where each field has an anchor.
//!
//! May touch: text. Must not touch: files, what a field means.

use std::fmt::Write;

/// The page that is split.
pub(crate) const PAGE: &str = "reference.md";

/// The reference in parts.
#[derive(Debug, Default)]
pub(crate) struct Reference {
    /// What stands above the first kind.
    head: String,
    pub(crate) kinds: Vec<KindPage>,
}

/// The page of a kind.
#[derive(Debug)]
pub(crate) struct KindPage {
    /// As in `Task (kubeopencode.io/v1alpha1)`.
    pub(crate) title: String,
    /// From docs/, as if it were there.
    pub(crate) path: String,
    /// What it is.
    pub(crate) line: String,
    body: String,
}

impl Reference {
    /// Splits it at the headings of the kinds.
    pub(crate) fn split(markdown: &str) -> Self {
        let mut parts = markdown.split("\n## ");
        let head = parts.next().unwrap_or_default();
        // who reads the site changes nothing
        let head = head.lines().filter(|line| !line.starts_with("<!--"));
        let head = head.collect::<Vec<_>>().join("\n").replace("\n\n\n", "\n\n").trim_end().to_owned();
        Self { head, kinds: parts.filter_map(KindPage::read).collect() }
    }

    /// The kind whose heading has this anchor.
    pub(crate) fn kind_of(&self, anchor: &str) -> Option<&KindPage> {
        self.kinds.iter().find(|kind| heading_anchor(&kind.title) == anchor)
    }

    /// The page that names the kinds.
    pub(crate) fn index(&self) -> String {
        let mut text = format!("{}\n\n| kind | |\n|---|---|\n", self.head);
        for kind in &self.kinds {
            let _ = writeln!(text, "| [{}]({}) | {} |", kind.title, kind.path, kind.line);
        }
        text
    }

    /// The page of a kind.
    pub(crate) fn page(&self, kind: &KindPage) -> String {
        // what the signs mean, which stands behind the first sentence
        let paragraph = self.head.rsplit("\n\n").next().unwrap_or_default();
        let signs = paragraph.split_once(". ").map_or("", |(_, signs)| signs);
        let mut part = String::new();
        let lines = kind.body.lines().map(|line| {
            let line = self.with_links(line);
            if let Some(name) = line.strip_prefix("| `").and_then(|rest| rest.strip_suffix("` | type | |")) {
                name.clone_into(&mut part);
                return format!("| <span id=\"{name}\"><code>{name}</code></span> | type | |");
            }
            with_anchor(&line, &part).unwrap_or(line)
        });
        let body = lines.collect::<Vec<_>>().join("\n");
        format!("# {}\n\n{signs}\n\n{}\n", kind.title, body.trim())
    }

    /// `As in Agent (…), `spec.contexts[]`` becomes a link.
    fn with_links(&self, line: &str) -> String {
        let mut line = line.to_owned();
        for kind in &self.kinds {
            let words = format!("s in {}, `", kind.title);
            let Some((before, behind)) = line.split_once(&words) else { continue };
            let Some((field, behind)) = behind.split_once('`') else { continue };
            line = format!(
                "{before}s in [{}, `{field}`](../../{}#{}){behind}",
                kind.title,
                kind.path,
                field_anchor(field)
            );
        }
        line
    }
}

impl KindPage {
    fn read(section: &str) -> Option<Self> {
        let (title, body) = section.split_once('\n')?;
        let (kind, version) = title.split_once(" (")?;
        let (group, _) = version.split_once('/')?;
        Some(Self {
            title: title.to_owned(),
            path: format!("reference/{group}/{}.md", kind.to_lowercase()),
            line: body.lines().find(|line| !line.is_empty()).unwrap_or_default().to_owned(),
            body: body.to_owned(),
        })
    }
}

/// A field's row, with its anchor; `None`: it is none.
fn with_anchor(line: &str, part: &str) -> Option<String> {
    let (cell, rest) = line.strip_prefix("| ")?.split_once(" | ")?;
    let field = cell.trim_matches('*').strip_prefix('`')?.strip_suffix('`')?;
    let anchor = field_anchor(&format!("{part}.{field}"));
    // a long path may part at its dots
    let shown = field.replace('.', ".<wbr>");
    let link = format!("<a class=\"field\" id=\"{anchor}\" href=\"#{anchor}\"><code>{shown}</code></a>");
    let link = if cell.starts_with("**") { format!("<strong>{link}</strong>") } else { link };
    Some(format!("| {link} | {rest}"))
}

/// `spec.contexts[].git` as `spec.contexts.git`.
fn field_anchor(field: &str) -> String {
    field.replace("[]", "").replace("{}", "")
}

/// As code hosts make it of a heading.
fn heading_anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '_' | '-'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect::<String>().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# Reference\n\n<!-- Made. -->\n\nEvery field. Fields in **bold** must be set.\n\n\
        ## Agent (a.io/v1)\n\nHow.\n\n* a rule\n\n| `spec` | type | |\n|---|---|---|\n| `env` | list of object | Variables. |\n\
        | **`env[].name`** | string like `^a\\|b$` | Its name. |\n\n| `status` | type | |\n|---|---|---|\n| `phase` | `A`, `B` | \
        As in Task (b.io/v2), `spec.env{}`. |\n\n## Task (b.io/v2)\n\nOne run.\n\n`status` as in Agent (a.io/v1), `status`.\n";

    #[test]
    fn each_kind_is_a_page_where_each_field_has_an_anchor() {
        let reference = Reference::split(PAGE);
        assert_eq!(
            reference.index(),
            "# Reference\n\nEvery field. Fields in **bold** must be set.\n\n| kind | |\n|---|---|\n\
             | [Agent (a.io/v1)](reference/a.io/agent.md) | How. |\n| [Task (b.io/v2)](reference/b.io/task.md) | One run. |\n"
        );
        assert_eq!(
            reference.page(&reference.kinds[0]),
            "# Agent (a.io/v1)\n\nFields in **bold** must be set.\n\nHow.\n\n* a rule\n\n\
             | <span id=\"spec\"><code>spec</code></span> | type | |\n|---|---|---|\n\
             | <a class=\"field\" id=\"spec.env\" href=\"#spec.env\"><code>env</code></a> | list of object | Variables. |\n\
             | <strong><a class=\"field\" id=\"spec.env.name\" href=\"#spec.env.name\"><code>env[].<wbr>name</code></a></strong> \
             | string like `^a\\|b$` | Its name. |\n\n\
             | <span id=\"status\"><code>status</code></span> | type | |\n|---|---|---|\n\
             | <a class=\"field\" id=\"status.phase\" href=\"#status.phase\"><code>phase</code></a> | `A`, `B` | \
             As in [Task (b.io/v2), `spec.env{}`](../../reference/b.io/task.md#spec.env). |\n"
        );
        assert!(reference.page(&reference.kinds[1]).ends_with(
            "One run.\n\n`status` as in [Agent (a.io/v1), `status`](../../reference/a.io/agent.md#status).\n"
        ));
    }

    #[test]
    fn a_kind_is_found_by_the_anchor_of_its_heading() {
        let reference = Reference::split(PAGE);
        assert_eq!(
            reference.kind_of("task-biov2").map(|kind| kind.path.as_str()),
            Some("reference/b.io/task.md")
        );
        assert!(reference.kind_of("").is_none());
    }
}
