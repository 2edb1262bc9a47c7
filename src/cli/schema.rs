//! `bowline schema`.

use super::CommandError;
use crate::config;

pub(super) fn print(markdown: bool) -> Result<(), CommandError> {
    if markdown {
        return super::print(&config::reference());
    }
    super::print(&format!("{:#}\n", config::schema()))
}
