//! The `bowline` program; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    bowline::cli::main()
}
