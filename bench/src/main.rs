//! The binary `weir-bench`: what `scripts/bench` measures with. Each command prints one line of JSON, or serves.

#![allow(clippy::cast_precision_loss, reason = "what is measured has fewer digits than a double")]

mod bound;
mod copy;
mod event;
mod fill;
mod load;

use std::io::Write;

use clap::{Parser, Subcommand};
use mimalloc::MiMalloc;
use serde::Serialize;

/// That of `weir`, so that a bound differs by what it leaves out alone.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Load for weir, and the bounds to compare it with
#[derive(Parser)]
#[command(version, about, max_term_width = 110)]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Sends events, and prints what was answered and how fast
    Load(load::Options),
    /// Serves a bare handler of the same requests
    Bound(bound::Options),
    /// Copies events into a database by themselves
    Copy(copy::Options),
    /// Fills a new project with events, skewed like real use
    Fill(fill::Options),
}

fn main() -> anyhow::Result<()> {
    match weir::config::parse::<Options>().command {
        Command::Load(options) => print(&load::run(&options)?),
        Command::Bound(options) => bound::run(options),
        Command::Copy(options) => print(&copy::run(&options)?),
        Command::Fill(options) => print(&fill::run(&options)?),
    }
}

fn print(report: &impl Serialize) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{}", serde_json::to_string(report)?)?;
    Ok(())
}
