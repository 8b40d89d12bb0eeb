//! What somebody meant who sent a parameter that an endpoint does not take.

use crate::model::did_you_mean::nearest;

/// What others call a parameter. The first one that the endpoint takes is meant.
const FOREIGN_NAMES: [(&str, &[&str]); 12] = [
    ("start", &["from"]),
    ("since", &["from"]),
    ("after", &["from", "cursor"]),
    ("begin", &["from"]),
    ("start_time", &["from"]),
    ("end", &["to"]),
    ("until", &["to"]),
    ("before", &["to"]),
    ("end_date", &["to"]),
    ("event", &["event_type", "start_event"]),
    ("filter", &["segment"]),
    ("group_by", &["breakdown"]),
];
const KEYS: [&str; 7] = ["key", "api_key", "apikey", "x-api-key", "token", "access_token", "auth"];
const ZONES: [&str; 4] = ["timezone", "time_zone", "tz", "zone"];
const BREAKDOWNS: [&str; 3] = ["breakdown", "group_by", "groupby"];

/// A sentence that says what to do, if that can be known.
pub(super) fn meant(path: &str, name: &str, known: &[String]) -> Option<String> {
    let takes = |wanted: &str| known.iter().any(|known| known == wanted);
    let lower = name.to_lowercase();
    let is_one_of = |names: &[&str]| names.contains(&lower.as_str());
    if is_one_of(&KEYS) && !takes("key") {
        return Some("Send the key in the header X-API-Key.".into());
    }
    if is_one_of(&ZONES) {
        return Some(
            "The time zone of a project is fixed, and its days are counted in it. Leave this out.".into(),
        );
    }
    if is_one_of(&BREAKDOWNS) && !takes("breakdown") && takes("segment") {
        return Some(by_value(path).into());
    }
    let foreign = FOREIGN_NAMES.iter().find(|(foreign, _)| *foreign == lower);
    let foreign = foreign.and_then(|(_, ours)| ours.iter().copied().find(|ours| takes(ours)));
    let meant = foreign.or_else(|| nearest(name, known.iter().map(String::as_str)))?;
    Some(format!("Did you mean '{meant}'?"))
}

/// How to ask for each value of a property where there is no breakdown.
fn by_value(path: &str) -> &'static str {
    match path {
        "/stats/dau" | "/stats/active-users" => {
            "Users by value are at /stats/timeseries, with measure=users and breakdown."
        }
        "/stats/count" | "/stats/top-events" => "Events by value are at /stats/timeseries, with breakdown.",
        _ => "Ask once for each value, with segment, such as segment=properties.country:UA.",
    }
}

/// `a, b and c`.
pub(super) fn listed(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [others @ .., last] => format!("{} and {last}", others.join(", ")),
    }
}
