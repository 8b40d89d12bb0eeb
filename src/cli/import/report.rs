//! What became of a file, for people.

use std::collections::BTreeMap;

use indicatif::ProgressBar;
use weir::{
    ingest::validate::{Reason, Rejection},
    model::duration::counted,
};

use super::table::NoRow;

/// Lines that are shown of each kind of fault.
const SHOWN: usize = 3;
/// Kinds that are told apart; the rest is one more.
const KINDS: usize = 50;

/// What became of the lines of a file so far.
#[derive(Default)]
pub(super) struct Report {
    pub(super) new: usize,
    pub(super) known: usize,
    refused: usize,
    too_old: usize,
    faults: BTreeMap<String, LineFault>,
}

/// A kind of fault: its first line, and how many have it.
struct LineFault {
    first: u64,
    lines: usize,
}

/// Why a line is not imported.
pub(super) enum Refused {
    NoRow(NoRow),
    Rejected(u64, Rejection),
}

impl Refused {
    pub(super) fn line(&self) -> u64 {
        match self {
            Self::NoRow(NoRow { line, .. }) | Self::Rejected(line, _) => *line,
        }
    }

    fn why(&self) -> String {
        match self {
            Self::NoRow(NoRow { why, .. }) => why.clone(),
            Self::Rejected(_, Rejection { field, message, .. }) => {
                format!("{}: {message}", field.as_deref().unwrap_or("event"))
            }
        }
    }
}

impl Report {
    /// Shows why a line is refused, unless there were enough of its kind.
    pub(super) fn refuse(&mut self, progress: &ProgressBar, refused: &Refused) {
        let (line, why) = (refused.line(), refused.why());
        self.refused += 1;
        if let Refused::Rejected(_, rejection) = refused {
            self.too_old += usize::from(rejection.reason == Reason::TooOld);
        }
        let mut kind = kind(&why);
        if self.faults.len() >= KINDS && !self.faults.contains_key(&kind) {
            kind = String::new();
        }
        let fault = self.faults.entry(kind).or_insert(LineFault { first: line, lines: 0 });
        fault.lines += 1;
        if fault.lines <= SHOWN {
            progress.suspend(|| eprintln!("line {line}: {why}"));
        }
    }

    /// What is to be said in the end: an error, if lines were refused.
    pub(super) fn conclude(&self, file: &str, project: &str, is_dry: bool) -> anyhow::Result<()> {
        let mut faults: Vec<&LineFault> = self.faults.values().collect();
        faults.sort_by_key(|fault| fault.first);
        for LineFault { first, lines } in faults.into_iter().filter(|fault| fault.lines > SHOWN) {
            eprintln!("{} like line {first}", counted((lines - SHOWN) as u64, "more line"));
        }
        let Self { new, known, refused, .. } = *self;
        let read = new + known + refused;
        let done = if is_dry { "would be " } else { "" };
        println!(
            "{file}: {} read for project '{project}': {new} {done}new, {known} already stored, {refused} refused.",
            counted(read as u64, "line")
        );
        if known > 0 {
            println!("An event that is stored stays as it is: importing its id again changes nothing.");
        }
        if self.too_old > 0 {
            eprintln!("To import older events, add --max-event-age, such as --max-event-age 3650days.");
        }
        anyhow::ensure!(
            refused == 0,
            "{refused} of {} {} refused, for the reasons above{}",
            counted(read as u64, "line"),
            if refused == 1 { "was" } else { "were" },
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

/// A reason without what differs from line to line: what the line itself says, and numbers.
fn kind(why: &str) -> String {
    let said =
        why.split_once("; got ").or_else(|| why.split_once(", got ")).map_or(why, |(reason, _)| reason);
    let mut kind = String::new();
    for (place, part) in said.split('\'').enumerate() {
        if place % 2 == 0 {
            kind.extend(part.chars().filter(|character| !character.is_ascii_digit()));
        }
    }
    kind
}

#[cfg(test)]
mod tests {
    use super::kind;

    #[test]
    fn kinds_differ_by_their_reason_and_not_by_what_a_line_says() {
        assert_eq!(
            kind("occurred_at: the zone of '2024-01-01' is missing"),
            kind("occurred_at: the zone of 'x' is missing")
        );
        assert_eq!(kind("expected a time; got 'soon'"), kind("expected a time; got 'later'"));
        assert_ne!(kind("occurred_at: the field is empty"), kind("occurred_at: expected a time; got 'x'"));
    }
}
