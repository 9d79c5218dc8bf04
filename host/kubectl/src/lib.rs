//! `kubectl kubeopencode`: Tasks and Agents with the rights of the user's own kubeconfig.
//!
//! Each verb is a thin way to the API server around functions from objects to text, which decide all that is said.
//!
//! May touch: what its user may. Must not touch: anything on its user's behalf that he did not ask for.

mod args;
mod cluster;
mod error;
mod output;
mod proxy;
mod table;
mod task;
mod units;
mod verbs;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Args, Verb};
use crate::error::Failure;
use crate::output::remark;

/// The program.
pub fn main() -> ExitCode {
    let done = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::Output)
        .and_then(|runtime| runtime.block_on(run(Args::parse())));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !matches!(failure, Failure::BrokenPipe) {
                remark(&format!("error: {failure}"));
            }
            failure.code()
        }
    }
}

async fn run(args: Args) -> Result<(), Failure> {
    let place = &args.place;
    match args.verb {
        Verb::Run(flags) => verbs::run::main(flags, place).await,
        Verb::Logs(flags) => verbs::logs::main(flags, place).await,
        Verb::Get(flags) => verbs::get::main(flags, place).await,
        Verb::Describe(flags) => verbs::describe::main(flags, place).await,
        Verb::Result(flags) => verbs::result::main(flags, place).await,
        Verb::Stop(flags) => verbs::stop::main(flags, place).await,
        Verb::Rerun(flags) => verbs::rerun::main(flags, place).await,
        Verb::Top(flags) => verbs::top::main(flags, place).await,
        Verb::Doctor(flags) => verbs::doctor::main(flags, place).await,
        Verb::Completion(flags) => verbs::completion::main(flags),
        Verb::Complete(flags) => verbs::completion::words(flags, place).await,
    }
}
