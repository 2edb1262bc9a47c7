//! From a file to a plan, with every mistake on the way.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use super::CommandError;
use crate::accept::tls::{self, Vault};
use crate::config::{self, Config, Mistakes};
use crate::plan::Plan;

/// Reads `file` and plans what it says, certificates included. Nothing is bound.
///
/// # Errors
/// Every mistake as `file:line:column: what, and how to mend it`.
pub(super) fn plan(file: &Path) -> Result<Plan, CommandError> {
    Ok(doubted(file)?.0)
}

/// Like [`plan`], with what is no mistake and yet hardly meant.
///
/// # Errors
/// As [`plan`].
pub(super) fn doubted(file: &Path) -> Result<(Plan, Vec<String>), CommandError> {
    let (config, mistakes) = config::read(file).map_err(CommandError::usage)?;
    let folder = file.parent().unwrap_or(Path::new(""));
    build_doubted(&config, folder, mistakes)
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
    mistakes: Mistakes,
) -> Result<Plan, CommandError> {
    Ok(build_doubted(config, folder, mistakes)?.0)
}

fn build_doubted(
    config: &Config,
    folder: &Path,
    mut mistakes: Mistakes,
) -> Result<(Plan, Vec<String>), CommandError> {
    let plan = Plan::build(config, folder, &mut mistakes);
    let loaded = tls::load(&plan, &Arc::new(Vault::default()), &mut mistakes);
    let plan = mistakes.into_result(plan).map_err(CommandError::usage)?;
    let doubts = tls::warnings(&plan, &loaded);
    Ok((plan, doubts))
}
