//! Did you mean …? A wrong guess is worse than none, so a name must be nearly the known one, or its beginning.

/// A name that is longer is not compared: that costs length times length, and the name is a stranger's.
const LONGEST: usize = 32;
/// Letters that may differ, and of how many one may.
const FARTHEST: usize = 3;
const LETTERS_FOR_EACH: usize = 3;
/// A beginning that is shorter says nothing.
const SHORTEST_BEGINNING: usize = 3;

use std::{cell::RefCell, collections::HashMap};

/// Names that are guessed at, of one request.
const MOST_NAMES: usize = 50;

/// The known name that a wrong one was probably meant to be.
pub fn nearest<'k>(name: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    if name.len() > LONGEST {
        return None;
    }
    let name = name.to_lowercase();
    let known: Vec<&str> = known.collect();
    let by_distance = known
        .iter()
        .map(|known| (strsim::damerau_levenshtein(&name, &known.to_lowercase()), *known))
        .filter(|(distance, known)| {
            let letters = name.chars().count().max(known.chars().count());
            *distance <= FARTHEST.min(letters / LETTERS_FOR_EACH)
        })
        .min();
    by_distance.map(|(_, known)| known).or_else(|| begun(&name, &known))
}

/// The only known name that begins so.
fn begun<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    let mut begun = known.iter().filter(|known| known.to_lowercase().starts_with(name));
    match (begun.next(), begun.next()) {
        (Some(one), None) if name.chars().count() >= SHORTEST_BEGINNING => Some(one),
        _ => None,
    }
}

/// Guesses at the names of one request: one for each name, however often it comes, and for the first names only. A guess costs
/// as much as the rest of a small event.
#[derive(Debug, Default)]
pub struct Guesses(RefCell<HashMap<Box<str>, Option<&'static str>>>);

impl Guesses {
    /// The same as [`nearest`]; nothing for a name after too many others.
    pub fn nearest(&self, name: &str, known: impl Iterator<Item = &'static str>) -> Option<&'static str> {
        let mut guesses = self.0.borrow_mut();
        if let Some(guess) = guesses.get(name) {
            return *guess;
        }
        if guesses.len() >= MOST_NAMES {
            return None;
        }
        *guesses.entry(name.into()).or_insert_with(|| nearest(name, known))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guess_is_nearly_what_was_sent_or_none() {
        let known = ["from", "to", "segment", "event_type", "user_id", "cursor", "windows", "window_type"];
        for (name, meant) in [
            ("form", Some("from")),
            ("too", Some("to")),
            ("segmnet", Some("segment")),
            ("EVENT_TYPE", Some("event_type")),
            ("EventTyp", Some("event_type")),
            ("user", Some("user_id")),
            ("seg", Some("segment")),
            ("window", Some("windows")),
            ("wind", None), // two begin so
            ("key", None),
            ("x", None),
            ("t", None),
            ("tz", None),
            (";", None),
            ("", None),
            ("curse", Some("cursor")),
        ] {
            assert_eq!(nearest(name, known.into_iter()), meant, "{name}");
        }
    }

    #[test]
    fn a_name_is_guessed_at_once_and_only_so_many_are() {
        let (guesses, mut searches) = (Guesses::default(), 0);
        let mut nearest = |name: &str| {
            let known = ["user_id", "event_id"].into_iter().inspect(|_| searches += 1);
            guesses.nearest(name, known)
        };
        for _ in 0..1_000 {
            assert_eq!(nearest("userid"), Some("user_id"));
        }
        let with_guess = (0..5_000).filter(|number| nearest(&format!("user_{number}")).is_some()).count();
        assert_eq!(with_guess, MOST_NAMES - 1);
        assert_eq!(searches, 2 * MOST_NAMES);
    }
}
