//! The rules of the rounds in which a context type asks for more reads.
//!
//! May touch: pure checks of answers. Must not touch: the reads themselves, nor the counting of rounds.

use super::Required;

/// Rounds of `needs` that a plugin may ask for before the host gives up.
pub const MAX_ROUNDS: usize = 4;

/// Reads that one item may ask for, over all rounds.
pub const MAX_READS: usize = 16;

/// Bytes of input that one item may be given, over all reads.
pub const MAX_INPUT_BYTES: usize = 1 << 20;

/// How an answer breaks the rules of [`Outcome::Needs`](super::Outcome::Needs).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NeedsError {
    /// The same id twice in one answer.
    #[error("asks for id {0:?} twice in one answer")]
    Twice(String),
    /// An id of an earlier round is missing or means something else now.
    #[error("no longer asks for id {0:?} as it did in an earlier round: ids only grow")]
    Shrunk(String),
    /// Nothing was added: the next round would be this one again.
    #[error("asks for nothing that it was not given already")]
    Nothing,
    /// More than [`MAX_READS`].
    #[error("asks for {0} reads, more than the {MAX_READS} that an item may have")]
    TooMany(usize),
}

/// Checks an answer against what was asked for in the rounds before it: every earlier id is repeated unchanged and at
/// least one is new. The caller counts the rounds ([`MAX_ROUNDS`]).
///
/// # Errors
/// The first rule that the answer breaks.
pub fn grow_needs(before: &[Required], now: &[Required]) -> Result<(), NeedsError> {
    if now.len() > MAX_READS {
        return Err(NeedsError::TooMany(now.len()));
    }
    for (i, required) in now.iter().enumerate() {
        if now[..i].iter().any(|earlier| earlier.id == required.id) {
            return Err(NeedsError::Twice(required.id.clone()));
        }
    }
    if let Some(lost) = before.iter().find(|&required| !now.contains(required)) {
        return Err(NeedsError::Shrunk(lost.id.clone()));
    }
    if now.len() == before.len() {
        return Err(NeedsError::Nothing);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::{ConfigMapRead, Requirement};

    fn need(id: &str, config_map: &str) -> Required {
        Required { id: id.into(), what: Requirement::ConfigMap(ConfigMapRead::all(config_map)) }
    }

    #[test]
    fn needs_only_grow() {
        let first = [need("a", "x")];
        assert_eq!(grow_needs(&[], &first), Ok(()));
        assert_eq!(grow_needs(&first, &[need("b", "y"), need("a", "x")]), Ok(()));
        assert_eq!(grow_needs(&first, &first), Err(NeedsError::Nothing));
        assert_eq!(grow_needs(&[], &[]), Err(NeedsError::Nothing));
        assert_eq!(grow_needs(&first, &[need("b", "y")]), Err(NeedsError::Shrunk("a".into())));
        assert_eq!(
            grow_needs(&first, &[need("a", "z"), need("b", "y")]),
            Err(NeedsError::Shrunk("a".into()))
        );
        assert_eq!(grow_needs(&[], &[need("a", "x"), need("a", "y")]), Err(NeedsError::Twice("a".into())));
        let many: Vec<_> = (0..17).map(|i| need(&i.to_string(), "x")).collect();
        assert_eq!(grow_needs(&[], &many), Err(NeedsError::TooMany(17)));
    }
}
