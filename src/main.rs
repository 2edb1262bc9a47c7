//! The `bowline` program; everything is in the library.

use std::process::ExitCode;

/// Connections come and go in the same few sizes all day; see Cargo.toml.
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    bowline::cli::main()
}
