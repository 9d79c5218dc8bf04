//! A plugin's JSON Schema and the payloads that users write against it.
//!
//! Schemas are checked in the operator, outside fuel and clock, so a schema may only contain what is checked in
//! time linear in the payload: no references (29 levels that double take 11 s), no keywords that look at parts of
//! the payload again and again, bounded size, patterns without backtracking, and no more text for them than they can be
//! matched with in seconds. Who asks chooses the thread by [`Schema::is_quick`].
//!
//! May touch: JSON. Must not touch: what a payload means.

mod told;

use jsonschema::error::ValidationErrorKind;
use jsonschema::{Draft, PatternOptions, ValidationError, Validator};
use kubeopencode_api::plugin::{SECRET_KEYWORD, SecretField, SecretStep};
use serde_json::{Value, json};

use crate::error::{PayloadError, quote};
use crate::limits::PAYLOAD;
use told::told;

const BYTES: usize = 64 << 10;
const NODES: usize = 2000;
const DEPTH: usize = 32;
/// Patterns and patternProperties, each of which may take [`PATTERN_BYTES`].
const PATTERNS: usize = 64;
const PATTERN_BYTES: usize = 256 << 10;
/// Sizes of a pattern's program, one of which is told for it: the engine's worst case is each of its states for each letter.
const PROGRAMS: [usize; 5] = [1 << 10, 4 << 10, 16 << 10, 64 << 10, PATTERN_BYTES];
/// Nodes of the schema times nodes of the payload.
const WORK: usize = 20_000_000;
/// Bytes of all patterns' programs times bytes of the payload's strings: some seconds, where each state is looked at for each.
const PATTERN_WORK: usize = 8 << 30;
/// As much of both is checked in a few milliseconds.
const QUICK_WORK: usize = 100_000;
const QUICK_PATTERN_WORK: usize = 4 << 20;
/// Bytes that the validator may keep while it says what is wrong with a value that may be one of several: of each of them every error,
/// each with a copy of the value and of what the schema asks for.
const TOLD: usize = 32 << 20;
/// An error as it is in memory, or a small value: estimated from what they hold.
const ERROR_BYTES: usize = 400;
/// What `type` may say.
const TYPES: [&str; 7] = ["array", "boolean", "integer", "null", "number", "object", "string"];
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// A schema that keeps the rules, ready to check payloads.
pub(crate) struct Schema {
    validator: Validator,
    nodes: usize,
    alternatives: Alternatives,
    /// Bytes of the programs of its patterns.
    programs: usize,
    secret_fields: Vec<SecretField>,
}

/// What stands below `anyOf` and `oneOf`.
#[derive(Default)]
struct Alternatives {
    nodes: usize,
    /// Bytes of its strings.
    letters: usize,
}

impl Schema {
    /// Reads and checks the JSON text of a schema.
    ///
    /// # Errors
    /// What breaks which rule, where.
    pub(crate) fn parse(text: &str) -> Result<(Self, Value), String> {
        if text.len() > BYTES {
            return Err(format!("it has {} bytes, more than {BYTES}", text.len()));
        }
        let value: Value = serde_json::from_str(text).map_err(|error| format!("it is not JSON: {error}"))?;
        let mut scan = Scan::default();
        scan.visit(&value, &mut Vec::new())?;
        let mut secret_fields = Vec::new();
        let marked = mark_secrets(&value, &mut Vec::new(), &mut secret_fields);
        if marked < scan.secret_marks {
            return Err(format!(
                "{SECRET_KEYWORD:?} stands where it means nothing: it marks a string that is reached by way of \
                 properties, items and additionalProperties (not beside patternProperties) alone"
            ));
        }
        secret_fields.sort_unstable();
        let validator = validator(&value, PATTERN_BYTES).map_err(|error| {
            let place = error.instance_path().as_str();
            // told by the meta-schema as what fits none of two schemas, which only types have
            let is_type =
                place.ends_with("/type") && matches!(error.kind(), ValidationErrorKind::AnyOf { .. });
            match value.pointer(place).filter(|_| is_type) {
                Some(word) => format!(
                    "at {place:?}: {} is no type; there are {}",
                    quote(&word.to_string()),
                    TYPES.join(", ")
                ),
                None => format!("at {place:?}: {}", quote(&error.to_string())),
            }
        })?;
        let programs = scan.written.iter().map(|pattern| program(pattern)).sum();
        Ok((
            Self { validator, nodes: scan.nodes, alternatives: scan.alternatives, programs, secret_fields },
            value,
        ))
    }

    /// Whether a payload is checked so soon that nobody who waits for the same thread notices.
    pub(crate) fn is_quick(&self, payload: &Value) -> bool {
        count(payload).saturating_mul(self.nodes) <= QUICK_WORK
            && letters(payload).saturating_mul(self.programs) <= QUICK_PATTERN_WORK
    }

    /// Where a payload names Secrets.
    pub(crate) fn secret_fields(&self) -> &[SecretField] {
        &self.secret_fields
    }

    /// Checks a payload and gives it as plugins get it: compact, keys sorted.
    ///
    /// # Errors
    /// The first place that the schema does not take.
    pub(crate) fn check(&self, payload: &Value) -> Result<String, PayloadError> {
        let whole = |message| PayloadError { field: String::new(), message };
        let text = compact(payload);
        if text.len() > PAYLOAD {
            return Err(whole(format!("it has {} bytes, more than the {PAYLOAD} allowed", text.len())));
        }
        let nodes = count(payload);
        if nodes.saturating_mul(self.nodes) > WORK {
            return Err(whole(format!(
                "it has {nodes} values, more than the {} that a schema of {} values may be checked against",
                WORK / self.nodes,
                self.nodes
            )));
        }
        let letters = letters(payload);
        if letters.saturating_mul(self.programs) > PATTERN_WORK {
            return Err(whole(format!(
                "its strings have {letters} bytes, more than the {} that may be matched with the patterns of its schema",
                PATTERN_WORK / self.programs
            )));
        }
        if self.alternatives.kept(nodes, letters) > TOLD {
            return match self.validator.is_valid(payload) {
                true => Ok(text),
                false => Err(whole(
                    "it does not match its schema; where is not told of so many values, which may be one of several (anyOf, oneOf)"
                        .to_owned(),
                )),
            };
        }
        self.validator.validate(payload).map_err(|error| {
            let (field, words) = told(&error, payload);
            let words = quote(&words);
            let message = if field.is_empty() { words } else { format!("{}: {words}", quote(&field)) };
            PayloadError { field, message }
        })?;
        Ok(text)
    }
}

impl Alternatives {
    /// How many bytes the validator keeps at most of a payload with so many values and letters: each node is asked about each value
    /// once, and a value is copied with all that it holds.
    fn kept(&self, nodes: usize, letters: usize) -> usize {
        let of_pairs = self.nodes.saturating_mul(nodes).saturating_mul(ERROR_BYTES);
        let of_letters =
            self.nodes.saturating_mul(letters).saturating_add(nodes.saturating_mul(self.letters));
        of_pairs.saturating_add(of_letters)
    }
}

/// What checks against a schema, with patterns whose programs have so many bytes at most.
fn validator(schema: &Value, pattern_bytes: usize) -> Result<Validator, ValidationError<'static>> {
    let patterns = PatternOptions::regex().size_limit(pattern_bytes).dfa_size_limit(pattern_bytes);
    let options = jsonschema::options().with_draft(Draft::Draft202012).should_validate_formats(false);
    options.with_pattern_options(patterns).build(schema)
}

/// How many bytes the program of a pattern has, rounded up.
fn program(pattern: &str) -> usize {
    let schema = json!({ "pattern": pattern });
    let fits = |bytes: &usize| validator(&schema, *bytes).is_ok();
    PROGRAMS.into_iter().find(fits).unwrap_or(PATTERN_BYTES)
}

/// Walks a schema and holds it to the rules.
#[derive(Default)]
struct Scan {
    nodes: usize,
    alternatives: Alternatives,
    patterns: usize,
    /// them
    written: Vec<String>,
    /// how often [`SECRET_KEYWORD`] is there
    secret_marks: usize,
}

impl Scan {
    fn visit<'a>(&mut self, value: &'a Value, path: &mut Vec<&'a str>) -> Result<(), String> {
        self.nodes += 1;
        if self.nodes > NODES {
            return Err(format!("it has more than {NODES} values"));
        }
        if path.len() > DEPTH {
            return Err(format!("it is nested more than {DEPTH} levels deep, at {}", place(path)));
        }
        if path.iter().any(|key| ["anyOf", "oneOf"].contains(key)) {
            self.alternatives.nodes += 1;
            self.alternatives.letters +=
                path.last().map_or(0, |key| key.len()) + value.as_str().map_or(0, str::len);
        }
        match value {
            Value::Array(items) => {
                path.push("-");
                items.iter().try_for_each(|item| self.visit(item, path))?;
                path.pop();
            }
            Value::Object(members) => {
                for (key, member) in members {
                    path.push(key);
                    self.keyword(key, member, path)?;
                    self.visit(member, path)?;
                    path.pop();
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn keyword(&mut self, key: &str, value: &Value, path: &[&str]) -> Result<(), String> {
        let refuse = |why: &str| Err(format!("{:?} at {} is not allowed: {why}", quote(key), place(path)));
        match key {
            "$schema" if value.is_string() && value != DIALECT => refuse(&format!("write {DIALECT:?}")),
            "$schema" | "$comment" => Ok(()),
            _ if key.starts_with('$') => refuse("references and definitions are not; write the schema out"),
            "unevaluatedProperties" | "unevaluatedItems" => {
                refuse("it takes too long to check; use additionalProperties or items")
            }
            // a property of this name is no mark
            SECRET_KEYWORD
                if value == &Value::Bool(true)
                    && path.iter().rev().nth(1).is_none_or(|in_| *in_ != "properties") =>
            {
                self.secret_marks += 1;
                Ok(())
            }
            SECRET_KEYWORD if !value.is_object() && value != &Value::Bool(false) => refuse("write true"),
            "pattern" | "patternProperties" => {
                self.patterns += value.as_object().map_or(1, |members| members.len());
                if self.patterns > PATTERNS {
                    return refuse(&format!("a schema may have {PATTERNS} patterns"));
                }
                match value {
                    Value::Object(members) if key == "patternProperties" => {
                        self.written.extend(members.keys().cloned());
                    }
                    Value::String(pattern) => self.written.push(pattern.clone()),
                    _ => {}
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// Finds the marked places of a schema, and says how many marks they have.
fn mark_secrets(schema: &Value, way: &mut Vec<SecretStep>, found: &mut Vec<SecretField>) -> usize {
    let Some(schema) = schema.as_object() else { return 0 };
    let mut marks = 0;
    if schema.get(SECRET_KEYWORD) == Some(&Value::Bool(true)) {
        marks += 1;
        found.push(SecretField(way.clone()));
    }
    let properties = schema.get("properties").and_then(Value::as_object);
    let mut follow = |step: SecretStep, schema: &Value| {
        way.push(step);
        marks += mark_secrets(schema, way, found);
        way.pop();
    };
    for (name, property) in properties.into_iter().flatten() {
        follow(SecretStep::Property(name.clone()), property);
    }
    if let Some(items) = schema.get("items") {
        let first = schema.get("prefixItems").and_then(Value::as_array).map_or(0, Vec::len);
        follow(SecretStep::Items(first), items);
    }
    // which properties are others is not known here when patterns decide it
    if let Some(others) =
        schema.get("additionalProperties").filter(|_| !schema.contains_key("patternProperties"))
    {
        let named = properties.map(|properties| properties.keys().cloned().collect()).unwrap_or_default();
        follow(SecretStep::OtherProperties(named), others);
    }
    marks
}

/// Where something stands in a schema, short enough to be shown: keys may be as long as their author likes.
fn place(path: &[&str]) -> String {
    format!("/{}", quote(&path.join("/")))
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(members) => members.values().map(count).sum(),
        _ => 0,
    }
}

/// Bytes of the strings in a value, names of properties included.
fn letters(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(letters).sum(),
        Value::Object(members) => members.iter().map(|(name, member)| name.len() + letters(member)).sum(),
        _ => 0,
    }
}

/// JSON text without spaces, keys sorted, whatever order the map type keeps.
fn compact(value: &Value) -> String {
    let mut text = String::new();
    write(value, &mut text);
    text
}

fn write(value: &Value, text: &mut String) {
    match value {
        Value::Array(items) => {
            text.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    text.push(',');
                }
                write(item, text);
            }
            text.push(']');
        }
        Value::Object(members) => {
            let mut sorted: Vec<_> = members.iter().collect();
            sorted.sort_unstable_by_key(|(key, _)| *key);
            text.push('{');
            for (i, (key, member)) in sorted.into_iter().enumerate() {
                if i > 0 {
                    text.push(',');
                }
                text.push_str(&Value::from(key.as_str()).to_string());
                text.push(':');
                write(member, text);
            }
            text.push('}');
        }
        scalar => text.push_str(&scalar.to_string()),
    }
}

#[cfg(test)]
mod tests;
