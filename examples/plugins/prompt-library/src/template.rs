//! `{{ name }}` in a text.

/// Puts its value in the place of each `{{ name }}`. Braces around anything that is no name stay as they are, and what a
/// value holds is not looked at again.
///
/// # Errors
/// The first one of `value_of`.
pub(crate) fn fill<E>(text: &str, value_of: impl Fn(&str) -> Result<String, E>) -> Result<String, E> {
    let (mut filled, mut rest) = (String::with_capacity(text.len()), text);
    while let Some((before, behind)) = rest.split_once("{{") {
        filled.push_str(before);
        rest = match name(behind) {
            Some((name, behind)) => {
                filled.push_str(&value_of(name)?);
                behind
            }
            None => {
                filled.push_str("{{");
                behind
            }
        };
    }
    filled.push_str(rest);
    Ok(filled)
}

/// The name that a text begins with, up to its `}}`, and what comes after.
fn name(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start_matches(' ');
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))?;
    let (name, behind) = text.split_at(end);
    let behind = behind.trim_start_matches(' ').strip_prefix("}}")?;
    name.starts_with(|c: char| c.is_ascii_alphabetic()).then_some((name, behind))
}

#[cfg(test)]
mod tests {
    use super::fill;

    fn filled(text: &str) -> Result<String, String> {
        fill(text, |name| match name {
            "a" => Ok("1".to_owned()),
            "b_2" => Ok("{{ a }}".to_owned()),
            other => Err(other.to_owned()),
        })
    }

    #[test]
    fn names_are_filled_in_and_other_braces_stay() {
        for (text, expected) in [
            ("", ""),
            ("{{a}}{{  a }}, {{ b_2 }}", "11, {{ a }}"),
            ("{{{a}}}", "{{{a}}}"),
            ("{{ a", "{{ a"),
            ("{{ a.b }} {{ 1a }} {{}} {{ }} {{ a } }", "{{ a.b }} {{ 1a }} {{}} {{ }} {{ a } }"),
            ("{{ {{ a }}", "{{ 1"),
            ("é{{a}}é", "é1é"),
        ] {
            assert_eq!(filled(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_name_that_nobody_knows_is_an_error() {
        assert_eq!(filled("{{ a }} {{ c }} {{ d }}"), Err("c".to_owned()));
    }
}
