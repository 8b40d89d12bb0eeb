//! `weir doctor`: looks at every part and at what has become of the events, and says what is wrong and what to do.

mod events;
mod servers;
mod upkeep;

use std::time::Duration;

use anyhow::bail;
use chrono::TimeDelta;
use clap::Args;
use weir::{
    config,
    model::duration::{are, counted},
    store::{self, projects, users},
    telemetry,
};

/// A message that waits longer says that workers do not keep up, or that there are none.
const LAG: TimeDelta = TimeDelta::minutes(1);
/// How long a part may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Args)]
pub(super) struct Options {
    /// How many days to compare: the events of each project with what statistics count
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=4000))]
    days: u32,
    /// You know about the messages that are missing: from now on report only others
    #[arg(long)]
    acknowledge: bool,
    #[command(flatten)]
    database: config::Database,
    #[command(flatten)]
    nats: config::Nats,
    #[command(flatten)]
    redis: config::Redis,
}

/// What was found so far.
#[derive(Default)]
struct Findings {
    warnings: usize,
    wrong: usize,
}

impl Findings {
    fn good(what: &str, text: impl std::fmt::Display) {
        println!("ok       {what:<12} {text}");
    }

    fn warning(&mut self, what: &str, text: impl std::fmt::Display) {
        self.warnings += 1;
        println!("warning  {what:<12} {text}");
    }

    fn wrong(&mut self, what: &str, text: impl std::fmt::Display) {
        self.wrong += 1;
        println!("WRONG    {what:<12} {text}");
    }

    fn check(&mut self, what: &str, result: Result<String, String>) {
        match result {
            Ok(text) => Self::good(what, text),
            Err(text) => self.warning(what, text),
        }
    }
}

pub(super) async fn run(options: Options) -> anyhow::Result<()> {
    let mut findings = Findings::default();
    let pool = store::connect(&options.database)?;
    let has_database = servers::database(&pool, &options.database, &mut findings).await;
    servers::redis(&options, &mut findings).await?;
    let states = match tokio::time::timeout(PATIENCE, servers::stream_state(&options.nats)).await {
        Ok(Ok(states)) => Some(states),
        Ok(Err(error)) => {
            findings.wrong(
                "stream",
                format!("{}; the API answers events with 503", telemetry::chain(error.as_ref())),
            );
            None
        }
        Err(_) => {
            findings.wrong("stream", "NATS does not answer; the API answers events with 503");
            None
        }
    };
    let state = states.map(|(before, now)| {
        servers::stream(&now, now.settled_up_to > before.settled_up_to, &mut findings);
        now
    });
    if has_database {
        if let Some(state) = &state {
            events::accepted_and_stored(&pool, state, options.acknowledge, &mut findings).await?;
        }
        events::stored_and_counted(&pool, options.days, &mut findings).await?;
        upkeep::waiting(
            "deletions",
            ("user", "deleted"),
            users::deletions::waiting(&pool).await?,
            &mut findings,
        );
        upkeep::waiting(
            "deletions",
            ("project", "deleted"),
            projects::deletions::waiting(&pool).await?,
            &mut findings,
        );
        upkeep::time_zones(&pool, &mut findings).await?;
        upkeep::promotions(&pool, &mut findings).await?;
        upkeep::waiting("merges", ("user", "merged"), users::merges::waiting(&pool).await?, &mut findings);
    }
    match findings {
        Findings { wrong: 0, warnings: 0 } => println!("\nweir is well."),
        Findings { wrong: 0, warnings } => {
            println!("\nNothing is lost. Look at the {}.", counted(warnings as u64, "warning"));
        }
        Findings { wrong, .. } => bail!("{wrong} of these lines {} wrong", are(wrong as u64)),
    }
    Ok(())
}
