//! The `bowline` program; everything is in the library.

#[cfg(feature = "mimalloc")]
mod allocator;

use std::process::ExitCode;

/// Connections come and go in the same few sizes all day; see Cargo.toml.
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: allocator::Mimalloc = allocator::Mimalloc;

fn main() -> ExitCode {
    bowline::cli::main()
}
