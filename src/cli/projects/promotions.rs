//! `weir project promote` and `demote`.

use std::time::Duration;

use anyhow::{bail, ensure};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use sqlx::PgPool;
use tokio::signal::unix::{SignalKind, signal};
use weir::{
    model::project::{Project, ProjectId},
    stats::filter::Property,
    store::promotions::{self, PromotionState},
};

/// How often the database is asked how far it is.
const PAUSE: Duration = Duration::from_millis(200);

#[derive(Args)]
pub(super) struct Options {
    /// The project's name
    name: String,
    /// Such as `properties.country`
    #[arg(value_parser = property)]
    property: Property,
}

fn property(text: &str) -> Result<Property, String> {
    Property::parse(text).ok_or_else(|| "expected properties.NAME, such as properties.country".into())
}

/// Promotes, and shows the progress until activity knows all of history.
pub(super) async fn promote(pool: &PgPool, Options { name, property }: &Options) -> anyhow::Result<()> {
    let project = super::super::project_named(pool, name).await?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    promotions::promote(pool, project.id, property).await?;
    tokio::select! {
        ready = wait_until_ready(pool, &project, property) => ready,
        _ = interrupted.recv() => {
            println!("weir-worker goes on with it in the background; `weir project show {name}` says how far it is.");
            Ok(())
        }
    }
}

async fn wait_until_ready(pool: &PgPool, project: &Project, property: &Property) -> anyhow::Result<()> {
    let style = "{bar:40} {percent} % {msg}";
    let progress = ProgressBar::new(100)
        .with_style(ProgressStyle::with_template(style).expect("a valid template"))
        .with_message("of history is rebuilt by weir-worker; Ctrl-C is safe, it goes on");
    loop {
        let all = promotions::of(&mut *pool.acquire().await?, project.id).await?;
        match all.into_iter().find(|promotion| promotion.property == *property).map(|found| found.state) {
            Some(PromotionState::Rebuilding(percent)) => progress.set_position(percent.unsigned_abs()),
            Some(PromotionState::Ready) => break,
            Some(PromotionState::Stopped(reason)) => bail!("{property} was not promoted: {reason}; {REMEDY}"),
            None => bail!("{property} was demoted meanwhile"),
        }
        tokio::time::sleep(PAUSE).await;
    }
    progress.finish_and_clear();
    println!("Questions about {property} are answered from bitmaps now.");
    if !promotions::has_values(pool, project.id, property).await? {
        println!(
            "No event has {property} so far: if you expected some, look at how it is spelled in your events."
        );
    }
    Ok(())
}

const REMEDY: &str =
    "questions about it read events as before. Promote a property with fewer and shorter values";

/// Takes a promotion back.
pub(super) async fn demote(pool: &PgPool, Options { name, property }: &Options) -> anyhow::Result<()> {
    let project = super::super::project_named(pool, name).await?;
    let demoted = promotions::demote(pool, project.id, property).await?;
    ensure!(demoted, "{property} is not promoted; `weir project show {name}` shows the properties that are");
    println!("Questions about {property} read events from now on.");
    Ok(())
}

/// What to say of the promoted properties of a project.
pub(super) async fn lines(pool: &PgPool, project_id: ProjectId) -> anyhow::Result<Vec<String>> {
    let promoted = promotions::of(&mut *pool.acquire().await?, project_id).await?;
    let line = |promotion: &promotions::Promotion| {
        let state = match &promotion.state {
            PromotionState::Rebuilding(percent) => format!("being rebuilt, {percent} %"),
            PromotionState::Ready => "ready".into(),
            PromotionState::Stopped(reason) => format!("stopped: {reason}; {REMEDY}, and demote this one"),
        };
        format!("promoted {}: {state}", promotion.property)
    };
    Ok(promoted.iter().map(line).collect())
}
