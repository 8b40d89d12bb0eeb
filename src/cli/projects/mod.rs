//! `weir project`.

mod promotions;

use std::{fmt::Display, num::NonZeroU32, str::FromStr};

use anyhow::ensure;
use chrono::Weekday;
use clap::{Args, Subcommand};
use weir::{
    config::Database,
    model::{
        origin::Origins,
        project::{Overrides, Project},
        zone::{Zone, rules},
    },
    store,
};

#[derive(Args)]
pub(super) struct Options {
    #[command(flatten)]
    database: Database,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Create a project
    Create {
        /// 1 to 63 of a-z, 0-9, _ and -
        name: String,
        /// An IANA name such as Europe/Kyiv; the project's days are those of this zone
        #[arg(long, default_value = "UTC", value_parser = timezone)]
        timezone: Zone,
        /// The first day of a week
        #[arg(long, default_value = "monday", value_parser = weekday)]
        week_start: Weekday,
        #[command(flatten)]
        changes: ProjectChanges,
    },
    /// Change a project's name or limits, within seconds and on every instance
    Set {
        /// The project's name
        name: String,
        /// Its new name
        #[arg(long = "name")]
        new_name: Option<String>,
        /// Cannot be changed
        #[arg(long, hide = true)]
        timezone: Option<String>,
        /// Cannot be changed
        #[arg(long, hide = true)]
        week_start: Option<String>,
        #[command(flatten)]
        changes: ProjectChanges,
    },
    /// Delete a project for good: within seconds its keys, soon after its events and users
    Delete {
        /// The project's name
        name: String,
        /// Needed, since there is no way back
        #[arg(long)]
        yes: bool,
    },
    /// List the projects
    List,
    /// Show a project and its promoted properties
    Show { name: String },
    /// Let questions about a property be answered from bitmaps, as those about event types are
    Promote(promotions::Options),
    /// Let questions about a property read the events again
    Demote(promotions::Options),
}

/// What can be set for one project; `default` means what the configuration says.
#[derive(Args)]
struct ProjectChanges {
    /// Events a second, in the long run; or `default`
    #[arg(long)]
    rate_limit: Option<Own<Positive>>,
    /// Events at once, after a rest; or `default`. Unset beside a rate limit: twice that
    #[arg(long)]
    rate_burst: Option<Own<Positive>>,
    /// How many different event types; or `default`
    #[arg(long)]
    max_event_types: Option<Own<Positive>>,
    /// Origins of the web pages that may use the project's keys, separated by commas: `https://shop.example`,
    /// `https://*.shop.example`, `*` for any, an empty text for none; or `default`
    #[arg(long)]
    origins: Option<Own<Origins>>,
}

/// A value for this project, or that of the configuration.
#[derive(Clone)]
struct Own<T>(Option<T>);

impl<T: FromStr> FromStr for Own<T> {
    type Err = T::Err;

    fn from_str(text: &str) -> Result<Self, T::Err> {
        if text == "default" { Ok(Self(None)) } else { text.parse().map(|value| Self(Some(value))) }
    }
}

/// What the database's columns hold.
#[derive(Clone, Copy)]
struct Positive(NonZeroU32);

impl FromStr for Positive {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.parse::<i32>().ok().and_then(|number| u32::try_from(number).ok());
        let expected = || format!("expected a number from 1 to {}, or default", i32::MAX);
        number.and_then(NonZeroU32::new).map(Self).ok_or_else(expected)
    }
}

impl ProjectChanges {
    fn are_none(&self) -> bool {
        let Self { rate_limit, rate_burst, max_event_types, origins } = self;
        rate_limit.is_none() && rate_burst.is_none() && max_event_types.is_none() && origins.is_none()
    }

    fn apply(self, overrides: &mut Overrides) {
        let Self { rate_limit, rate_burst, max_event_types, origins } = self;
        let number = |own: Own<Positive>| own.0.map(|positive| positive.0);
        if let Some(own) = rate_limit {
            overrides.rate_limit = number(own);
        }
        if let Some(own) = rate_burst {
            overrides.rate_burst = number(own);
        }
        if let Some(own) = max_event_types {
            overrides.max_event_types = number(own);
        }
        if let Some(own) = origins {
            overrides.allowed_origins = own.0;
        }
    }
}

pub(super) fn timezone(text: &str) -> Result<Zone, String> {
    rules::zone(text)
        .ok_or_else(|| "expected an IANA time zone such as UTC, Europe/Kyiv or Asia/Kolkata".into())
}

fn weekday(text: &str) -> Result<Weekday, String> {
    text.parse().map_err(|_| "expected a day such as monday".into())
}

pub(super) async fn run(options: Options) -> anyhow::Result<()> {
    let pool = store::open(&options.database).await?;
    let projects = match options.command {
        Command::Create { name, timezone, week_start, changes } => {
            let mut overrides = Overrides::default();
            changes.apply(&mut overrides);
            let project = store::projects::create(&pool, &name, &timezone, week_start, &overrides).await?;
            println!("Created. Its keys: `weir key create --project {name} --kind write` (or read, admin).");
            vec![project]
        }
        Command::Set { name, new_name, timezone, week_start, changes } => {
            ensure!(
                timezone.is_none() && week_start.is_none(),
                "a project's time zone and the first day of its weeks are fixed, since its days are counted by them: \
                 create another project"
            );
            ensure!(
                new_name.is_some() || !changes.are_none(),
                "say what to change, such as --rate-limit 1000 or --name other; `weir project set --help` lists all options"
            );
            let mut project = super::project_named(&pool, &name).await?;
            project.name = new_name.unwrap_or(project.name);
            changes.apply(&mut project.overrides);
            store::projects::save(&pool, &project).await?;
            println!("Changed. Every instance follows within seconds.");
            vec![project]
        }
        Command::Delete { name, yes } => {
            let project = super::project_named(&pool, &name).await?;
            let events = store::upkeep::inspection::events_of(&pool, project.id).await?;
            ensure!(
                yes,
                "this would delete the project '{name}' with its keys and {events} events for good; add --yes if you mean that"
            );
            store::projects::deletions::request(&pool, project.id).await?;
            println!(
                "Deleted. Within seconds its keys are refused. weir-worker removes its {events} events; `weir doctor` shows when that is done."
            );
            return Ok(());
        }
        Command::List => {
            let (known, unknown): (Vec<_>, Vec<_>) =
                store::projects::list(&pool).await?.into_iter().partition(Result::is_ok);
            for error in unknown.into_iter().filter_map(Result::err) {
                eprintln!("{error}: run a newer weir");
            }
            known.into_iter().flatten().collect()
        }
        Command::Show { name } => {
            let project = super::project_named(&pool, &name).await?;
            let id = project.id;
            let promoted = promotions::lines(&pool, id).await?;
            let recounts = store::upkeep::recounts::waiting(&pool).await?;
            show(vec![project]);
            for line in promoted {
                println!("{line}");
            }
            for (_, recount) in recounts.iter().filter(|(project_id, _)| *project_id == id) {
                let (first, last, left) = (recount.first_day, recount.last_day, recount.days_left());
                println!(
                    "The rules of its time zone have changed: weir-worker still has to count {left} of the days from {first} to {last} again."
                );
            }
            return Ok(());
        }
        Command::Promote(options) => return promotions::promote(&pool, &options).await,
        Command::Demote(options) => return promotions::demote(&pool, &options).await,
    };
    show(projects);
    Ok(())
}

fn show(projects: Vec<Project>) {
    println!(
        "{:<6} {:<24} {:<24} {:<9} {:<10} {:<10} {:<11} origins",
        "id", "name", "timezone", "week from", "rate limit", "rate burst", "event types"
    );
    for Project { id, name, timezone, week_start, overrides } in projects {
        println!(
            "{:<6} {name:<24} {:<24} {week_start:<9} {:<10} {:<10} {:<11} {}",
            id.get(),
            timezone.name(),
            own(overrides.rate_limit),
            own(overrides.rate_burst),
            own(overrides.max_event_types),
            own(overrides.allowed_origins.map(|origins| match origins.texts().join(",") {
                none if none.is_empty() => "none".to_owned(),
                texts => texts,
            })),
        );
    }
}

fn own(value: Option<impl Display>) -> String {
    value.map_or("default".into(), |value| value.to_string())
}
