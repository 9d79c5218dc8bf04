//! Where a payload names Secrets: the places that a plugin's schema marks with `x-kubeopencode-secret`.
//!
//! `wit/secret-names.json` says by example what the mark means; it is frozen with the interface.
//!
//! May touch: payloads. Must not touch: a Secret.

use std::fmt;

use serde_json::Value;

/// Says of a string in a schema, where it is `true`, that it names a Secret.
pub const SECRET_KEYWORD: &str = "x-kubeopencode-secret";

/// Places in payloads that name Secrets.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SecretField(pub Vec<SecretStep>);

/// One step on the way to such a place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum SecretStep {
    /// The property of this name.
    Property(String),
    /// Each element of an array but the first so many.
    Items(usize),
    /// Each property but these.
    OtherProperties(Vec<String>),
}

impl SecretField {
    /// The names that a payload has there. What is no string names nothing.
    pub fn names<'a>(&self, payload: &'a Value) -> Vec<&'a str> {
        let mut places = vec![payload];
        for step in &self.0 {
            places = places.into_iter().flat_map(|place| step.take(place)).collect();
        }
        places.into_iter().filter_map(Value::as_str).collect()
    }
}

impl SecretStep {
    fn take<'a>(&self, place: &'a Value) -> Vec<&'a Value> {
        match (self, place) {
            (Self::Property(name), Value::Object(members)) => members.get(name).into_iter().collect(),
            (Self::Items(first), Value::Array(items)) => items.iter().skip(*first).collect(),
            (Self::OtherProperties(named), Value::Object(members)) => {
                let others = members.iter().filter(|(key, _)| !named.contains(key));
                others.map(|(_, value)| value).collect()
            }
            _ => Vec::new(),
        }
    }
}

/// As an RFC 6901 pointer, with `*` for what is there more than once.
impl fmt::Display for SecretField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.0 {
            match step {
                SecretStep::Property(name) => write!(f, "/{}", name.replace('~', "~0").replace('/', "~1"))?,
                SecretStep::Items(_) | SecretStep::OtherProperties(_) => f.write_str("/*")?,
            }
        }
        Ok(())
    }
}
