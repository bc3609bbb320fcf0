//! The commands: a run from its scenario to its reports, and the comparison of two runs.

mod compare;
mod model;
mod outputs;
mod progress;
mod run;

use crate::cli::{Cli, Task};
use crate::error::LoadtestError;

/// Does what the command line says, and gives whether all is good: answers were whole and limits held.
///
/// # Errors
/// What kept it from being done.
pub fn run(cli: &Cli) -> Result<bool, LoadtestError> {
    match &cli.task {
        Some(Task::Compare(flags)) => compare::compare(flags),
        None => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(|source| LoadtestError::Start { source })?;
            runtime.block_on(run::run(&cli.run))
        }
    }
}
