//! What is wrong with a payload, where, and in which words. Of what may be one of several, the one that is meant says it; where none
//! is, all of them are named: the validator says neither.
//!
//! May touch: the validator's errors. Must not touch: schemas.

use std::collections::HashSet;

use jsonschema::ValidationError;
use jsonschema::error::{TypeKind, ValidationErrorKind};
use serde_json::Value;

/// What one of several has against a value.
type Branch = [ValidationError<'static>];

/// The place of what is wrong, as a JSON pointer, and the words.
pub(super) fn told(error: &ValidationError<'_>, payload: &Value) -> (String, String) {
    if let ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context } =
        error.kind()
        && let Some(told) = of_several(error, context, payload)
    {
        return told;
    }
    let words = unknown_property(error, payload).unwrap_or_else(|| error.to_string());
    (place(error).to_owned(), words)
}

/// What is said of a property where there may be none: the validator gives its value, and not its name.
fn unknown_property(error: &ValidationError<'_>, payload: &Value) -> Option<String> {
    let is_it = matches!(error.kind(), ValidationErrorKind::FalseSchema)
        && error.schema_path().as_str().ends_with("/additionalProperties");
    let object = payload.pointer(place(error)).filter(|_| is_it)?;
    let name = object.as_object()?.keys().next()?;
    Some(format!("Additional properties are not allowed ('{name}' was unexpected)"))
}

fn of_several(
    error: &ValidationError<'_>,
    context: &[Vec<ValidationError<'static>>],
    payload: &Value,
) -> Option<(String, String)> {
    let here = place(error);
    let all: Vec<&Branch> = context.iter().map(Vec::as_slice).collect();
    // of the same kind, with its tag, and with what it requires
    let fitting =
        without(&all, |inner| place(inner) == here && (type_of(inner).is_some() || values(inner).is_some()));
    let tagged = without(&fitting, |inner| is_tag(inner, here));
    let whole = without(&tagged, |inner| lacking(inner, here).is_some());
    for some in [&fitting, &tagged, &whole] {
        if let [meant] = some.as_slice() {
            return Some(told(meant.first()?, payload));
        }
    }
    wrong_tag(&fitting, here)
        .or_else(|| Some(told(lacking_everywhere(&fitting, here)?, payload)))
        .or_else(|| named(error, &all, payload))
}

/// Those that have no such error.
fn without<'e>(
    branches: &[&'e Branch],
    is_such: impl Fn(&ValidationError<'static>) -> bool,
) -> Vec<&'e Branch> {
    branches.iter().copied().filter(|branch| !branch.iter().any(&is_such)).collect()
}

/// The tag is none of theirs.
fn wrong_tag(branches: &[&Branch], here: &str) -> Option<(String, String)> {
    let tags: Vec<_> =
        branches.iter().filter_map(|branch| branch.iter().find(|inner| is_tag(inner, here))).collect();
    let first = tags.first().filter(|_| tags.len() == branches.len())?;
    if tags.iter().any(|tag| place(tag) != place(first)) {
        return None;
    }
    let known: Vec<_> = tags.iter().filter_map(|tag| values(tag)).collect();
    Some((
        place(first).to_owned(),
        format!("{} is not one of {}", shown(first.instance()), known.join(" or ")),
    ))
}

/// What lacks in whichever it is meant to be.
fn lacking_everywhere<'e>(branches: &[&'e Branch], here: &str) -> Option<&'e ValidationError<'static>> {
    let (first, others) = branches.split_first()?;
    // read once: a schema may require hundreds, and a payload may have many thousands of errors
    let names = |branch: &'e Branch| -> HashSet<&'e str> {
        branch.iter().filter_map(|inner| lacking(inner, here)?.as_str()).collect()
    };
    let others: Vec<_> = others.iter().copied().map(names).collect();
    first.iter().find(|inner| {
        let name = lacking(inner, here).and_then(Value::as_str);
        name.is_some_and(|name| others.iter().all(|names| names.contains(name)))
    })
}

/// All that there are; nothing where one of them says too little of itself.
fn named(error: &ValidationError<'_>, branches: &[&Branch], payload: &Value) -> Option<(String, String)> {
    let here = place(error);
    let label = |branch: &&Branch| {
        let of_it: Vec<_> = branch.iter().filter(|inner| place(inner) == here).collect();
        let lacks: Vec<_> =
            of_it.iter().filter_map(|inner| lacking(inner, here)?.as_str()).map(str::to_owned).collect();
        let of_values = of_it.iter().find_map(|inner| values(inner));
        let of_required = || (!lacks.is_empty()).then(|| form(&lacks));
        of_values.or_else(of_required).or_else(|| of_it.iter().find_map(|inner| type_of(inner)))
    };
    let labels: Option<Vec<_>> = branches.iter().map(label).collect();
    let mut labels = labels?;
    labels.dedup();
    if let [_] = labels.as_slice() {
        return Some(told(branches.first()?.first()?, payload));
    }
    let words = format!("{} is not one of {}", shown(error.instance()), labels.join(" or "));
    Some((here.to_owned(), words))
}

fn place<'e>(error: &'e ValidationError<'_>) -> &'e str {
    error.instance_path().as_str()
}

/// The values of which it is to be one, as in `"all" or "released"`.
fn values(error: &ValidationError<'static>) -> Option<String> {
    match error.kind() {
        ValidationErrorKind::Constant { expected_value } => Some(expected_value.to_string()),
        ValidationErrorKind::Enum { options } => {
            let options: Vec<_> = options.as_array()?.iter().map(Value::to_string).collect();
            Some(options.join(" or "))
        }
        _ => None,
    }
}

/// The type that it is to be of, as in `an object`.
fn type_of(error: &ValidationError<'static>) -> Option<String> {
    let ValidationErrorKind::Type { kind } = error.kind() else { return None };
    let one = |name: String| match name.chars().next() {
        Some('n') if name == "null" => name,
        Some('a' | 'i' | 'o') => format!("an {name}"),
        _ => format!("a {name}"),
    };
    Some(match kind {
        TypeKind::Single(name) => one(name.to_string()),
        TypeKind::Multiple(names) => {
            names.iter().map(|name| one(name.to_string())).collect::<Vec<_>>().join(" or ")
        }
    })
}

/// Whether a property of the value here has not the only value that it may have: it says which of several objects it is.
fn is_tag(error: &ValidationError<'static>, here: &str) -> bool {
    let below = place(error).strip_prefix(here).and_then(|below| below.strip_prefix('/'));
    let has_one_value = match error.kind() {
        ValidationErrorKind::Constant { .. } => true,
        ValidationErrorKind::Enum { options } => options.as_array().is_some_and(|all| all.len() == 1),
        _ => false,
    };
    has_one_value && below.is_some_and(|name| !name.contains('/'))
}

/// The property that the value here lacks.
fn lacking<'e>(error: &'e ValidationError<'static>, here: &str) -> Option<&'e Value> {
    match error.kind() {
        ValidationErrorKind::Required { property } if place(error) == here => Some(property),
        _ => None,
    }
}

/// A value in short: what an object holds may be long.
fn shown(value: &Value) -> String {
    match value {
        Value::Object(members) => form(&members.keys().cloned().collect::<Vec<_>>()),
        Value::Array(_) => "a list".to_owned(),
        scalar => scalar.to_string(),
    }
}

/// An object with these properties.
fn form(names: &[String]) -> String {
    let names: Vec<_> = names.iter().map(|name| format!("{name}: …")).collect();
    format!("{{{}}}", names.join(", "))
}
