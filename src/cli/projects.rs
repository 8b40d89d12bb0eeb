//! `weir project`.

use chrono::Weekday;
use chrono_tz::Tz;
use clap::{Args, Subcommand};
use weir::{config::Database, project::Project, store};

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
        timezone: Tz,
        /// The first day of a week
        #[arg(long, default_value = "monday", value_parser = weekday)]
        week_start: Weekday,
    },
    /// List the projects
    List,
    /// Show a project
    Show { name: String },
}

fn timezone(text: &str) -> Result<Tz, String> {
    Tz::from_str_insensitive(text)
        .map_err(|_| "expected an IANA time zone such as UTC, Europe/Kyiv or Asia/Kolkata".into())
}

fn weekday(text: &str) -> Result<Weekday, String> {
    text.parse().map_err(|_| "expected a day such as monday".into())
}

pub(super) async fn run(options: Options) -> anyhow::Result<()> {
    let pool = store::connect(&options.database)?;
    let projects = match options.command {
        Command::Create { name, timezone, week_start } => {
            let project = store::projects::create(&pool, &name, timezone, week_start).await?;
            println!("Created. Its keys: `weir key create --project {name} --kind write` (or read, admin).");
            vec![project]
        }
        Command::List => store::projects::list(&pool).await?,
        Command::Show { name } => vec![super::project_named(&pool, &name).await?],
    };
    println!("{:<6} {:<24} {:<24} week from", "id", "name", "timezone");
    for Project { id, name, timezone, week_start } in projects {
        println!("{:<6} {name:<24} {:<24} {week_start}", id.get(), timezone.name());
    }
    Ok(())
}
