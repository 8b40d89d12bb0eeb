//! Did you mean …?

/// The known name that a wrong one was probably meant to be.
pub fn nearest<'k>(name: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    const LONGEST: usize = 32; // comparing costs length times length, and the name is a stranger's
    const FARTHEST: usize = 3;
    if name.len() > LONGEST {
        return None;
    }
    known
        .map(|known| (strsim::damerau_levenshtein(name, known), known))
        .min()
        .filter(|(distance, _)| *distance <= FARTHEST)
        .map(|(_, known)| known)
}
