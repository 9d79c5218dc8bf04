//! `optional: true` where the contexts meet: an item that cannot be in one Pod with the others is left out, whatever the reason.
//!
//! May touch: which of the evaluated contexts stay. Must not touch: why they do not fit.

use super::layout::Layout;
use crate::evaluated::Evaluated;
use crate::{Command, Refusal, Run};

/// Why a Pod cannot be laid out, and without which contexts it could be.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Obstacle {
    pub(crate) refusal: Refusal,
    /// Places of the contexts that have a part in it.
    pub(crate) contexts: Vec<usize>,
}

impl From<Refusal> for Obstacle {
    /// Nothing that a context could change.
    fn from(refusal: Refusal) -> Self {
        Self { refusal, contexts: Vec::new() }
    }
}

/// The contexts without those optional ones that are in the way, each with a notice why. The later one goes first.
///
/// # Errors
/// What is still in the way when no optional context has a part in it.
pub(super) fn leave_out(
    run: &Run,
    contexts: &[Evaluated],
    command: &Command,
    mut obstacle: Obstacle,
) -> Result<Vec<Evaluated>, Refusal> {
    let mut left = contexts.to_vec();
    loop {
        let optional = obstacle.contexts.iter().copied().filter(|i| left[*i].item.optional);
        let Some(at) = optional.max() else { return Err(obstacle.refusal) };
        left[at] = Evaluated::skipped(&left[at].item, &obstacle.refusal);
        match Layout::new(run, &left, command) {
            Ok(_) => return Ok(left),
            Err(next) => obstacle = next,
        }
    }
}

/// Places of the contexts that bring any of what there is too much of.
pub(super) fn that_bring(contexts: &[Evaluated], any: impl Fn(&Evaluated) -> bool) -> Vec<usize> {
    contexts.iter().enumerate().filter(|(_, context)| any(context)).map(|(i, _)| i).collect()
}
