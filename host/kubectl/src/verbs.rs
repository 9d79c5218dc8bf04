//! The verbs, one module each.

pub(crate) mod completion;
pub(crate) mod describe;
pub(crate) mod doctor;
pub(crate) mod get;
pub(crate) mod logs;
pub(crate) mod rerun;
pub(crate) mod result;
pub(crate) mod run;
pub(crate) mod stop;
pub(crate) mod then;
pub(crate) mod top;

use crate::error::Failure;
use crate::output::remark;

/// Of several objects each is tried: the first failure ends the command, each further one is told.
fn keep(first: &mut Result<(), Failure>, failure: Failure) {
    if first.is_ok() {
        *first = Err(failure);
    } else {
        remark(&format!("error: {failure}"));
    }
}
