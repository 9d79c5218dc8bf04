//! `timeout` and `idleTimeout` of an Agent.
//!
//! May touch: those fields. Must not touch: when a Task ends, which the operator decides.

use kubeopencode_api::task::timeout_of;

use crate::{Refusal, Settings};

/// Refuses what is no duration: the API server does so too, `render` has none.
pub(super) fn check(text: Option<&str>, field: &str, holder: &str) -> Result<Option<u32>, Refusal> {
    let Some(text) = text else { return Ok(None) };
    match timeout_of(text) {
        Some(duration) => Ok(Some(u32::try_from(duration.as_secs()).unwrap_or(u32::MAX).max(1))),
        None => Err(Refusal::invalid_config(format!(
            "{holder}: spec.{field} \"{text}\" is no duration: write it as 90s or 2h30m, at least 1s"
        ))),
    }
}

/// The Agent's own, else the one of the settings.
pub(super) fn idle_seconds(
    own: Option<&str>,
    settings: &Settings,
    holder: &str,
) -> Result<Option<u32>, Refusal> {
    let own = check(own, "idleTimeout", holder)?;
    Ok(own.or_else(|| timeout_of(settings.defaults().idle_timeout.as_deref()?)?.as_secs().try_into().ok()))
}
