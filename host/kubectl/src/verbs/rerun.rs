//! `rerun`: a copy of a Task.
//!
//! May touch: one Task, which it reads, and a new one.

mod copy;

use crate::args::{Place, Rerun};
use crate::cluster::Cluster;
use crate::error::Failure;
use crate::verbs::then;

/// Makes the copy, and waits for its end where that is wanted.
///
/// # Errors
/// When the agent may have done its work, when the copy is refused, or did not do its work.
pub(crate) async fn main(flags: Rerun, place: &Place) -> Result<(), Failure> {
    let cluster = Cluster::connect(place).await?;
    let task = cluster.task(&flags.task).await.map_err(Failure::before_the_start)?;
    let copy = copy::copy(&task, flags.force).map_err(Failure::Refused)?;
    let made = cluster.make(&copy).await?;
    then::main(&cluster, made, flags.then).await
}
