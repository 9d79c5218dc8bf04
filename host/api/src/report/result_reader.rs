//! How the output of an agent's program is read: what a command builder writes in its `result-reader`.
//!
//! Frozen with the plugin interface: a field that comes later is a feature of the host (`result-reader/2`), which a plugin that
//! writes it names in its `requires`. `wit/result-reader.schema.json` is [`ResultReader::schema`].
//!
//! May touch: these types and pure checks of them. Must not touch: a program's output.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

const MAX_RULES: usize = 64;
const MAX_CONDITIONS: usize = 8;
const MAX_POINTER_BYTES: usize = 256;
const MAX_ARGS: usize = 64;
const MAX_ARG_BYTES: usize = 4096;

/// How the output of an agent's program is read. A command builder's `result-reader` is the JSON of this type.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct ResultReader {
    /// The form of the output.
    pub format: Format,
    /// Appended to the program's arguments, so that it prints in that form.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "args")]
    pub args: Vec<String>,
    /// Every rule that holds for a line is applied to it, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub rules: Vec<Rule>,
    /// The session of a server that the program works in. Only for a program that attaches to one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionReader>,
}

/// A program that attaches to a server is a window on what runs there: it may print less than was said, and its end
/// ends nothing. So the reader opens the session itself, reads from the server what the program left out, and aborts
/// the session when the program did not end well.
///
/// Paths are those of the server that the Task attaches to; `{id}` stands for the session's id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct SessionReader {
    /// `POST` here opens a session.
    #[schemars(schema_with = "path")]
    pub open: String,
    /// The JSON body of that request.
    pub body: Value,
    /// Where the answer has the session's id.
    #[schemars(schema_with = "pointer")]
    pub id: String,
    /// Appended to the program's arguments, so that it works in this session.
    #[schemars(schema_with = "args")]
    pub args: Vec<String>,
    /// `GET` here answers a JSON array of records: all that was said so far.
    #[schemars(schema_with = "path")]
    pub records: String,
    /// A record counts when each of these pointers has this value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "conditions")]
    pub when: BTreeMap<String, Value>,
    /// What of a record becomes an event `{"type": NAME, NAME: VALUE}` for the rules: the value at the pointer, or
    /// each element where it is an array.
    #[schemars(schema_with = "events")]
    pub events: BTreeMap<String, String>,
    /// The first of these that an event has tells it from others: one that the program printed is not read twice.
    #[schemars(schema_with = "some_pointers")]
    pub identity: Vec<String>,
    /// `POST` here ends what goes on in the session.
    #[schemars(schema_with = "path")]
    pub abort: String,
    /// How to see that nothing goes on in the session although the program does not end. Without it, that is waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle: Option<SessionIdle>,
}

/// A session in which nothing goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct SessionIdle {
    /// `GET` here answers a JSON object.
    #[schemars(schema_with = "path")]
    pub status: String,
    /// Where that object has something while the session is at work; `{id}` stands for the session's id.
    #[schemars(schema_with = "pointer")]
    pub busy: String,
    /// Seconds without work, 1 to 3600, after which a program whose session has records that count is taken for done, and
    /// ended. One whose session has none after twice as long is started again, twice, and has then failed.
    #[schemars(range(min = 1, max = 3600))]
    pub seconds: u16,
}

/// The form of a program's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// One JSON object a line; lines that are none are passed on as they are.
    JsonLines,
}

/// What to take out of a line. Every value that points into a line is an RFC 6901 JSON pointer.
/// A line for which a rule holds is printed only as its rules say: a rule with `when` alone hides its lines.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct Rule {
    /// The rule holds when each of these pointers has this value (a string, number or boolean).
    #[schemars(schema_with = "some_conditions")]
    pub when: BTreeMap<String, Value>,
    /// Printed to the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "pointer")]
    pub print: Option<String>,
    /// The last of these becomes the report's summary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "pointer")]
    pub summary: Option<String>,
    /// The line is an error of the agent; the first of these that the line has becomes its message.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "pointers")]
    pub error: Vec<String>,
    /// Added to the usage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<UsagePointers>,
}

/// Where a line has the numbers that are summed up as usage.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct UsagePointers {
    /// Tokens read by the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "pointer")]
    pub input_tokens: Option<String>,
    /// Tokens written by the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "pointer")]
    pub output_tokens: Option<String>,
    /// Tokens the model spent on reasoning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "pointer")]
    pub reasoning_tokens: Option<String>,
    /// Tokens served from the provider's cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "pointer")]
    pub cache_read_tokens: Option<String>,
    /// Cost in US dollars.
    #[serde(default, rename = "costUSD", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "pointer")]
    pub cost_usd: Option<String>,
}

/// A `ResultReader` that makes no sense; the text names the place inside it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("result-reader: {place}: {problem}")]
pub struct ReaderError {
    /// RFC 6901 pointer into the result reader's own JSON.
    pub place: String,
    /// What is wrong there, and what would be right.
    pub problem: String,
}

impl ResultReader {
    /// Reads what a command builder wrote. What this version does not know is refused here: passed over, the program's
    /// output would be read by half of its rules.
    ///
    /// # Errors
    /// The first place that is not known or cannot mean anything.
    pub fn parse(text: &str) -> Result<Self, ReaderError> {
        let mut unknown = None;
        let note = |path: serde_ignored::Path<'_>| {
            unknown
                .get_or_insert_with(|| format!("/{}", path.to_string().replace(".?", "").replace('.', "/")));
        };
        let reader: Self = serde_ignored::deserialize(&mut serde_json::Deserializer::from_str(text), note)
            .map_err(|error| ReaderError { place: "/".to_owned(), problem: error.to_string() })?;
        if let Some(place) = unknown {
            return err(
                place,
                "this version does not know the field: leave it out, or upgrade KubeOpenCode".to_owned(),
            );
        }
        reader.check()?;
        Ok(reader)
    }

    /// The JSON Schema of it, as `wit/result-reader.schema.json` publishes it.
    pub fn schema() -> Schema {
        schemars::schema_for!(Self)
    }

    /// Refuses what cannot mean anything: malformed pointers, rules without a condition, conditions that are no
    /// scalar, arguments the kernel does not take.
    pub fn check(&self) -> Result<(), ReaderError> {
        check_args("/args", &self.args)?;
        if self.rules.len() > MAX_RULES {
            return err("/rules", format!("{} rules, at most {MAX_RULES} are allowed", self.rules.len()));
        }
        self.rules.iter().enumerate().try_for_each(|(i, rule)| rule.check(&format!("/rules/{i}")))?;
        self.session.as_ref().map_or(Ok(()), SessionReader::check)
    }
}

impl SessionReader {
    fn check(&self) -> Result<(), ReaderError> {
        let idle = self.idle.as_ref().map(|idle| ("idle/status", &idle.status));
        let paths = [("open", &self.open), ("records", &self.records), ("abort", &self.abort)];
        for (field, path) in paths.into_iter().chain(idle) {
            // "//host" and "/\\host" would leave the server, and readers of addresses drop control characters
            let leaves = path.strip_prefix('/').is_none_or(|rest| rest.starts_with(['/', '\\']));
            if leaves || path.contains(char::is_control) {
                let problem = format!("{path:?} is no path on the server: it must start with one \"/\"");
                return err(format!("/session/{field}"), problem);
            }
        }
        check_args("/session/args", &self.args)?;
        check_pointer("/session/id", &self.id)?;
        if let Some(idle) = &self.idle {
            check_pointer("/session/idle/busy", &idle.busy)?;
            if !(1..=3600).contains(&idle.seconds) {
                return err("/session/idle/seconds", "1 to 3600 seconds are allowed".to_owned());
            }
        }
        check_conditions("/session/when", &self.when)?;
        if self.events.is_empty() || self.events.len() > MAX_CONDITIONS {
            return err("/session/events", format!("1 to {MAX_CONDITIONS} kinds of event are allowed"));
        }
        for (name, pointer) in &self.events {
            check_pointer(&format!("/session/events/{name}"), pointer)?;
        }
        if self.identity.is_empty() || self.identity.len() > MAX_CONDITIONS {
            return err("/session/identity", format!("1 to {MAX_CONDITIONS} pointers are allowed"));
        }
        let mut identity = self.identity.iter().enumerate();
        identity.try_for_each(|(i, pointer)| check_pointer(&format!("/session/identity/{i}"), pointer))
    }
}

impl Rule {
    fn check(&self, at: &str) -> Result<(), ReaderError> {
        if self.when.is_empty() || self.when.len() > MAX_CONDITIONS {
            return err(format!("{at}/when"), format!("a rule has 1 to {MAX_CONDITIONS} conditions"));
        }
        check_conditions(&format!("{at}/when"), &self.when)?;
        if self.error.len() > MAX_CONDITIONS {
            return err(format!("{at}/error"), format!("at most {MAX_CONDITIONS} pointers are allowed"));
        }
        for (field, pointer) in self.pointers() {
            check_pointer(&format!("{at}/{field}"), pointer)?;
        }
        Ok(())
    }

    fn pointers(&self) -> impl Iterator<Item = (String, &String)> {
        let errors = self.error.iter().enumerate().map(|(i, p)| (format!("error/{i}"), p));
        let usage = self.usage.iter().flat_map(|usage| {
            [
                ("inputTokens", &usage.input_tokens),
                ("outputTokens", &usage.output_tokens),
                ("reasoningTokens", &usage.reasoning_tokens),
                ("cacheReadTokens", &usage.cache_read_tokens),
                ("costUSD", &usage.cost_usd),
            ]
        });
        [("print", &self.print), ("summary", &self.summary)]
            .into_iter()
            .filter_map(|(field, pointer)| Some((field.to_owned(), pointer.as_ref()?)))
            .chain(errors)
            .chain(usage.filter_map(|(field, pointer)| Some((format!("usage/{field}"), pointer.as_ref()?))))
    }
}

fn check_args(at: &str, args: &[String]) -> Result<(), ReaderError> {
    if args.len() > MAX_ARGS {
        return err(at, format!("{} arguments, at most {MAX_ARGS} are allowed", args.len()));
    }
    for (i, arg) in args.iter().enumerate() {
        if arg.contains('\0') || arg.len() > MAX_ARG_BYTES {
            let problem = format!("an argument has at most {MAX_ARG_BYTES} bytes and none of them is 0");
            return err(format!("{at}/{i}"), problem);
        }
    }
    Ok(())
}

fn check_conditions(at: &str, conditions: &BTreeMap<String, Value>) -> Result<(), ReaderError> {
    for (pointer, value) in conditions {
        check_pointer(at, pointer)?;
        if value.is_null() || value.is_array() || value.is_object() {
            return err(at, format!("the value of {pointer} must be a string, a number or a boolean"));
        }
    }
    Ok(())
}

fn check_pointer(at: &str, pointer: &str) -> Result<(), ReaderError> {
    if !pointer.starts_with('/') {
        return err(at, format!("{pointer:?} is no JSON pointer: it must start with \"/\""));
    }
    if pointer.len() > MAX_POINTER_BYTES {
        return err(at, format!("a JSON pointer may have at most {MAX_POINTER_BYTES} bytes"));
    }
    let escapes_hold = pointer.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    if !escapes_hold {
        return err(
            at,
            format!("{pointer:?} is no JSON pointer: \"~\" is written \"~0\" and \"/\" in a key \"~1\""),
        );
    }
    Ok(())
}

fn err<T>(place: impl Into<String>, problem: String) -> Result<T, ReaderError> {
    Err(ReaderError { place: place.into(), problem })
}

/// RFC 6901, not the whole document.
const POINTER: &str = "^(/([^/~]|~[01])*)+$";

fn pointer(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "pattern": POINTER, "maxLength": MAX_POINTER_BYTES})
}

fn pointers(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "array", "items": pointer(generator), "maxItems": MAX_CONDITIONS})
}

fn some_pointers(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "array", "items": pointer(generator), "minItems": 1, "maxItems": MAX_CONDITIONS})
}

fn conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "propertyNames": {"pattern": POINTER, "maxLength": MAX_POINTER_BYTES},
        "additionalProperties": {"type": ["string", "number", "boolean"]},
        "maxProperties": MAX_CONDITIONS,
    })
}

fn some_conditions(generator: &mut SchemaGenerator) -> Schema {
    let mut some = conditions(generator);
    some.insert("minProperties".to_owned(), 1.into());
    some
}

fn events(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "additionalProperties": pointer(generator),
        "minProperties": 1,
        "maxProperties": MAX_CONDITIONS,
    })
}

fn args(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "items": {"type": "string", "maxLength": MAX_ARG_BYTES, "pattern": "^[^\u{0}]*$"},
        "maxItems": MAX_ARGS,
    })
}

/// A path on the server, and nothing that leads away from it.
fn path(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "pattern": r"^/([^/\\\x00-\x1f\x7f][^\x00-\x1f\x7f]*)?$"})
}

#[cfg(test)]
mod tests;
