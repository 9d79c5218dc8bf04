//! The extension `git-write`: what the agent may do in a clone of its plan. `wit/git-write.schema.json` is its body's schema.
//!
//! May touch: that type. Must not touch: whether a plugin may ask for it, which the PlanValidator decides.

use serde::{Deserialize, Deserializer};

use crate::git::GitIdentity;

/// Says of a clone that stands before it in the plan whose commits are made there, and who may push them. An action.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GitWrite {
    /// The clone's path.
    pub path: String,
    /// Whose commits they are; `None`: as everywhere in the agent's container.
    #[serde(default, deserialize_with = "whole")]
    pub identity: Option<GitIdentity>,
    /// The agent may use the clone's Secret, which its item names.
    #[serde(default)]
    pub push: bool,
}

/// An identity of which no field is passed over, as it would be in an object of the API.
fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<GitIdentity>, D::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Whole {
        name: String,
        email: String,
    }
    let identity = Option::<Whole>::deserialize(deserializer)?;
    Ok(identity.map(|Whole { name, email }| GitIdentity { name, email }))
}
