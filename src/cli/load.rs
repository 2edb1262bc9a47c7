//! From a file to a plan, with every mistake on the way.

use std::net::SocketAddr;
use std::path::Path;

use super::CommandError;
use crate::accept::tls;
use crate::config::{self, Config, Mistakes};
use crate::plan::Plan;

/// Reads `file` and plans what it says, certificates included. Nothing is bound.
///
/// # Errors
/// Every mistake as `file:line:column: what, and how to mend it`.
pub(super) fn plan(file: &Path) -> Result<Plan, CommandError> {
    let (config, mistakes) = config::read(file).map_err(CommandError::usage)?;
    let folder = file.parent().unwrap_or(Path::new(""));
    build(&config, folder, mistakes)
}

/// Where the admin listener is that `file` asks for.
///
/// # Errors
/// Every mistake in it.
pub(super) fn admin(file: &Path) -> Result<Option<SocketAddr>, CommandError> {
    let (config, mut mistakes) = config::read(file).map_err(CommandError::usage)?;
    let plan = Plan::build(&config, file.parent().unwrap_or(Path::new("")), &mut mistakes);
    mistakes.into_result(plan.admin).map_err(CommandError::usage)
}

/// Plans `config`; files that it names are relative to `folder`.
pub(super) fn build(
    config: &Config,
    folder: &Path,
    mut mistakes: Mistakes,
) -> Result<Plan, CommandError> {
    let plan = Plan::build(config, folder, &mut mistakes);
    for tls in plan.listeners.iter().filter_map(|listener| listener.tls.as_ref()) {
        tls::load(tls, &mut mistakes);
    }
    mistakes.into_result(plan).map_err(CommandError::usage)
}
