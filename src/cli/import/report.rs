//! What became of a file, for people.

use std::collections::BTreeMap;

use indicatif::ProgressBar;
use weir::ingest::validate::{Reason, Rejection};

use super::table::NoRow;

/// Lines that are told of each kind of fault.
const TOLD: usize = 3;

/// What became of the lines of a file so far.
#[derive(Default)]
pub(super) struct Report {
    pub(super) new: usize,
    pub(super) known: usize,
    refused: usize,
    too_old: usize,
    faults: BTreeMap<String, usize>,
}

impl Report {
    pub(super) fn no_row(&mut self, progress: &ProgressBar, NoRow { line, why }: &NoRow) {
        self.refuse(progress, *line, "row", why);
    }

    pub(super) fn rejection(&mut self, progress: &ProgressBar, line: u64, rejection: &Rejection) {
        let Rejection { field, reason, message } = rejection;
        self.too_old += usize::from(*reason == Reason::TooOld);
        let field = field.as_deref().unwrap_or("event");
        let kind = format!("{field}: {}", reason.code());
        self.refuse(progress, line, &kind, &format!("{field}: {message}"));
    }

    fn refuse(&mut self, progress: &ProgressBar, line: u64, kind: &str, why: &str) {
        self.refused += 1;
        let of_kind = self.faults.entry(kind.to_owned()).or_default();
        *of_kind += 1;
        if *of_kind <= TOLD {
            progress.suspend(|| eprintln!("line {line}: {why}"));
        }
    }

    /// What is to be said in the end: an error, if lines were refused.
    pub(super) fn conclude(&self, file: &str, project: &str, is_dry: bool) -> anyhow::Result<()> {
        for (kind, lines) in self.faults.iter().filter(|(_, lines)| **lines > TOLD) {
            eprintln!("{} more lines like these ({kind})", lines - TOLD);
        }
        let Self { new, known, refused, .. } = *self;
        let read = new + known + refused;
        let done = if is_dry { "would be " } else { "" };
        println!(
            "{file}: {read} lines read for project '{project}': {new} {done}new, {known} already stored, {refused} refused."
        );
        if known > 0 {
            println!("An event that is stored stays as it is: importing its id again changes nothing.");
        }
        if self.too_old > 0 {
            eprintln!("Older events are taken with a longer WEIR_MAX_EVENT_AGE, or --max-event-age.");
        }
        anyhow::ensure!(
            refused == 0,
            "{refused} of {read} lines were refused, for the reasons above{}",
            if new + known == 0 {
                "; nothing is imported"
            } else if is_dry {
                ""
            } else {
                "; the other lines are imported"
            }
        );
        Ok(())
    }
}
