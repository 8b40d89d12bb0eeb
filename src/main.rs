//! The binary `weir`: the API server, and the command line that manages projects.

mod cli;

use std::process::ExitCode;

use mimalloc::MiMalloc;
use weir::config;

/// glibc keeps what large bodies took: LEARNED.md has the figures.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    cli::run(config::parse()).await
}
