//! Which letters a command means.

use std::collections::BTreeSet;

use anyhow::{Context, ensure};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use sqlx::PgPool;
use weir::{
    store,
    stream::dead_letters::{Letter, Letters},
};

#[derive(Args)]
pub(super) struct LetterFilter {
    /// Only with this reason
    #[arg(long)]
    reason: Option<String>,
    /// Only of this project: its name, or the number of one that is not there
    #[arg(long)]
    project: Option<String>,
}

#[derive(Args)]
pub(super) struct LetterSelection {
    /// The letters' numbers, as the list shows them
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    numbers: Vec<u64>,
    /// All letters that there are now
    #[arg(long)]
    pub(super) all: bool,
    #[command(flatten)]
    filter: LetterFilter,
}

impl LetterSelection {
    /// Does something with each letter, one after the other. What is set aside meanwhile is not among them.
    pub(super) async fn each(
        &self,
        letters: &Letters,
        pool: &PgPool,
        mut act: impl AsyncFnMut(&Letter, &ProgressBar) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let filter = Matching::of(&self.filter, pool).await?;
        if self.all {
            let progress = progress(letters.by_reason().await?.values().sum());
            let mut number = 1;
            while let Some(letter) = letters.from(number).await? {
                number = letter.number + 1;
                if filter.holds(&letter) {
                    act(&letter, &progress).await?;
                }
                progress.inc(1);
            }
            progress.finish_and_clear();
            return Ok(());
        }
        let numbers: BTreeSet<u64> = self.numbers.iter().copied().collect();
        // All must be there before anything is done.
        for &number in &numbers {
            let letter = numbered(letters, number).await?;
            ensure!(filter.holds(&letter), "letter {number} is not one that --reason and --project ask for");
        }
        let progress = progress(numbers.len());
        for &number in &numbers {
            act(&numbered(letters, number).await?, &progress).await?;
            progress.inc(1);
        }
        progress.finish_and_clear();
        Ok(())
    }
}

pub(super) async fn numbered(letters: &Letters, number: u64) -> anyhow::Result<Letter> {
    let found = letters.from(number).await?.filter(|letter| letter.number == number);
    found.with_context(|| format!("there is no letter {number}; `weir dlq list` lists all"))
}

/// The first letters for which a filter holds.
pub(super) async fn matching(
    letters: &Letters,
    pool: &PgPool,
    filter: &LetterFilter,
    limit: usize,
) -> anyhow::Result<Vec<Letter>> {
    let filter = Matching::of(filter, pool).await?;
    let (mut found, mut number) = (Vec::new(), 1);
    while found.len() < limit
        && let Some(letter) = letters.from(number).await?
    {
        number = letter.number + 1;
        if filter.holds(&letter) {
            found.push(letter);
        }
    }
    Ok(found)
}

/// A filter whose project is known.
struct Matching<'f> {
    reason: Option<&'f str>,
    project_id: Option<i32>,
}

impl<'f> Matching<'f> {
    async fn of(filter: &'f LetterFilter, pool: &PgPool) -> anyhow::Result<Self> {
        let project_id = match &filter.project {
            Some(project) => Some(project_id(pool, project).await?),
            None => None,
        };
        Ok(Self { reason: filter.reason.as_deref(), project_id })
    }

    fn holds(&self, letter: &Letter) -> bool {
        let of_project = |project_id| letter.project_ids().iter().any(|id| id.get() == project_id);
        self.reason.is_none_or(|reason| reason == letter.reason) && self.project_id.is_none_or(of_project)
    }
}

/// A project may be missing, and its letters are there because of that.
async fn project_id(pool: &PgPool, project: &str) -> anyhow::Result<i32> {
    match store::projects::by_name(pool, project).await? {
        Some(project) => Ok(project.id.get()),
        None => project
            .parse()
            .ok()
            .with_context(|| format!("there is no project '{project}'; `weir project list` lists all")),
    }
}

fn progress(letters: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} letters").expect("a valid template");
    ProgressBar::new(letters as u64).with_style(style)
}
