//! Did you mean …? A wrong guess is worse than none, so a name must be nearly the known one, or its beginning.

/// A name that is longer is not compared: that costs length times length, and the name is a stranger's.
const LONGEST: usize = 32;
/// Letters that may differ, and of how many one may.
const FARTHEST: usize = 3;
const LETTERS_FOR_EACH: usize = 3;
/// A beginning that is shorter says nothing.
const SHORTEST_BEGINNING: usize = 3;

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

#[cfg(test)]
mod tests {
    use super::nearest;

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
}
