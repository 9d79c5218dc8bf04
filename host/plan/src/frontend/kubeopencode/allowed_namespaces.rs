//! `Agent.spec.allowedNamespaces`: whose Tasks may use an Agent.
//!
//! May touch: the globs and a namespace's name.

use kubeopencode_api::names::AgentKey;

use crate::Refusal;
use kubeopencode_api::globs::matches;

/// Refuses a Task of a namespace that the Agent does not allow. The Agent's own is always allowed.
pub(super) fn check(allowed: &[String], agent: &AgentKey, task_namespace: &str) -> Result<(), Refusal> {
    if allowed.is_empty() || task_namespace == agent.namespace {
        return Ok(());
    }
    for (i, pattern) in allowed.iter().enumerate() {
        let matches = matches(pattern, task_namespace).map_err(|problem| {
            Refusal::invalid_config(format!(
                "Agent {agent}: spec.allowedNamespaces[{i}] \"{pattern}\" is no pattern: {problem}"
            ))
        })?;
        if matches {
            return Ok(());
        }
    }
    Err(Refusal::agent(format!(
        "namespace \"{task_namespace}\" is not allowed to use Agent \"{}\" (allowed: [{}])",
        agent.name,
        allowed.join(", ")
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(patterns: &[&str], namespace: &str) -> Result<(), String> {
        let patterns: Vec<String> = patterns.iter().map(|p| (*p).to_owned()).collect();
        check(&patterns, &AgentKey::new("platform", "helper"), namespace).map_err(|r| r.message)
    }

    #[test]
    fn globs_decide_and_the_own_namespace_is_always_allowed() {
        assert_eq!(allowed(&[], "anyone"), Ok(()));
        assert_eq!(allowed(&["dev-*", "staging"], "dev-a"), Ok(()));
        assert_eq!(allowed(&["dev-?"], "dev-a"), Ok(()));
        assert_eq!(allowed(&["dev-[a-c]"], "dev-b"), Ok(()));
        assert_eq!(allowed(&["nobody"], "platform"), Ok(()));
        assert_eq!(
            allowed(&["dev-*", "staging"], "prod"),
            Err("namespace \"prod\" is not allowed to use Agent \"helper\" (allowed: [dev-*, staging])"
                .into())
        );
        for (pattern, namespace) in [("dev", "dev-a"), ("dev-?", "dev-ab"), ("{dev,prod}", "prod")] {
            assert!(allowed(&[pattern], namespace).is_err(), "{pattern}");
        }
    }

    #[test]
    fn a_broken_pattern_is_named() {
        let message = allowed(&["dev-[a"], "dev-a").unwrap_err();
        assert!(
            message.starts_with("Agent platform/helper: spec.allowedNamespaces[0] \"dev-[a\""),
            "{message}"
        );
    }
}
