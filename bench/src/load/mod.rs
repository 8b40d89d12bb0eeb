//! A generator of load that takes as little as it can of the machine that it shares with what it measures: one thread, kept
//! connections, requests of fixed length in which only ids, users, times and keys are replaced.

mod connection;
mod pace;
mod request;
mod source;
mod tally;

use std::{
    cell::RefCell,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, ensure};
use chrono::Utc;
use clap::Args;

use self::{
    connection::ClientConnection,
    pace::Pace,
    request::RequestTemplate,
    source::EventSource,
    tally::{LoadReport, SentRequest, Tally},
};
use crate::event::BenchEvent;

#[derive(Args)]
pub(crate) struct Options {
    /// Where to send: an address, or several, which the connections take in turns
    #[arg(long, required = true)]
    target: Vec<SocketAddr>,
    /// A file with a key in each line, all equally long; requests take them in turns
    #[arg(long)]
    keys: PathBuf,
    /// Connections, each with one request at a time
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    connections: u16,
    /// Events in a request; one is sent by itself, more as {"events": […]}
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=5000))]
    events: u16,
    /// How long to send
    #[arg(long, default_value = "3s", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// How long to send before that, unmeasured; all events are new then
    #[arg(long, default_value = "0s", value_parser = humantime::parse_duration)]
    warm_up: Duration,
    /// Ends after so many measured requests, if that is earlier
    #[arg(long)]
    requests: Option<u64>,
    /// Requests a second, at random times that do not wait for answers (default: each connection sends when it has its answer)
    #[arg(long)]
    rate: Option<f64>,
    /// Of a hundred events, how many were accepted before
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=100))]
    duplicates: u8,
    /// Different users of each project
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    users: u32,
}

/// What the connections share; all of them are on one thread.
struct Shared<'o> {
    options: &'o Options,
    keys: Vec<String>,
    pace: Pace,
    source: RefCell<EventSource>,
    tally: RefCell<Tally>,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<LoadReport> {
    ensure!(options.rate.is_none_or(|rate| rate > 0.0), "--rate: expected more than 0");
    let keys = keys(&options.keys)?;
    let pace = Pace::start(options.warm_up, options.duration, options.requests, options.rate);
    let shared = Shared {
        options,
        source: RefCell::new(EventSource::new(keys.len(), options.duplicates)),
        tally: RefCell::new(Tally::new(pace.measured_from())),
        pace,
        keys,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let connections = (0..options.connections).map(|number| shared.send(number.into()));
    runtime.block_on(futures::future::try_join_all(connections))?;
    Ok(shared.tally.into_inner().report())
}

impl Shared<'_> {
    /// Sends over one connection for as long as it is time to.
    async fn send(&self, number: usize) -> anyhow::Result<()> {
        let options = self.options;
        let target = options.target[number % options.target.len()];
        let open = async || {
            ClientConnection::open(target).await.with_context(|| format!("nobody listens at {target}"))
        };
        let mut connection = open().await?;
        let mut request = RequestTemplate::new(self.keys[0].len(), options.events.into(), number);
        let mut events = vec![BenchEvent::default(); options.events.into()];
        while let Some(due_request) = self.pace.next().await {
            let project = due_request.number % self.keys.len();
            let repeated =
                self.source.borrow_mut().choose(project, Utc::now(), due_request.measured, &mut events);
            let bytes = request.fill(&self.keys[project], &events, options.users);
            let sent = SentRequest::now(due_request, events.len(), repeated);
            let answer = connection.exchange(bytes).await;
            if answer.as_ref().is_ok_and(connection::ServerAnswer::is_success) {
                self.source.borrow_mut().remember(project, &events[repeated..]);
            }
            self.tally.borrow_mut().add(&sent, answer.as_ref().ok());
            if answer.is_err() {
                connection = open().await?;
            }
        }
        Ok(())
    }
}

fn keys(path: &Path) -> anyhow::Result<Vec<String>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let keys: Vec<String> = text.lines().map(str::to_owned).collect();
    let length = keys.first().context("--keys: the file has no key")?.len();
    ensure!(keys.iter().all(|key| key.len() == length), "--keys: expected keys of one length");
    Ok(keys)
}
