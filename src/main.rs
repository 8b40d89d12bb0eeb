//! The binary `weir`: the API server, and the command line that manages projects.

mod cli;

use std::process::ExitCode;

use mimalloc::MiMalloc;
use weir::config;

/// glibc keeps what large bodies took: after bombs, 370 MB instead of 60.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    cli::run(config::parse()).await
}
