//! `bowline diff`: what one configuration would change where another one is in force.

use std::path::Path;

use super::{CommandError, load, print};
use crate::plan::Difference;

pub(super) fn diff(old: &Path, new: &Path) -> Result<(), CommandError> {
    let difference = Difference::between(&load::plan(old)?, &load::plan(new)?);
    print(&difference.to_string())?;
    if difference.is_empty() { Ok(()) } else { Err(CommandError::differs()) }
}
