//! The binary `weir`: the API server, and the command line that manages projects.

mod cli;

use std::process::ExitCode;

use weir::config;

#[tokio::main]
async fn main() -> ExitCode {
    cli::run(config::parse()).await
}
