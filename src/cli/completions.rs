//! `bowline completions`.

use clap::Command;
use clap_complete::Shell;

use super::CommandError;

pub(super) fn print(shell: Shell, command: &mut Command) -> Result<(), CommandError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, command, "bowline", &mut script);
    super::print(&String::from_utf8_lossy(&script))
}
