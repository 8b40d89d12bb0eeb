//! What happens on a day.

use chrono::{DateTime, TimeDelta, Utc};
use rand::{
    RngExt,
    distr::{Distribution, weighted::WeightedIndex},
    rngs::ChaCha8Rng,
};

use super::{
    catalogue::{Catalogue, EventType},
    population::Population,
};

pub(super) const HOUR: u32 = 3_600_000; // milliseconds, as all times below
pub(super) const WHOLE: u32 = 24 * HOUR;

/// How much is done in each hour of a day.
const HOURS: [u32; 24] =
    [30, 20, 14, 12, 12, 16, 26, 44, 66, 84, 92, 94, 90, 92, 94, 92, 90, 88, 90, 96, 98, 88, 66, 46];

/// One event in so many is of no user.
const OF_NO_USER: u32 = 100;

#[derive(Clone, Copy)]
pub(super) struct FilledEvent {
    /// From midnight on.
    pub time: u32,
    /// The user's index; absent: an event of no user.
    pub user: Option<u32>,
    pub event_type: EventType,
    /// The page on which it happened, by its number.
    pub path: u16,
}

impl FilledEvent {
    pub fn occurred_at(&self, midnight: DateTime<Utc>) -> DateTime<Utc> {
        midnight + TimeDelta::milliseconds(self.time.into())
    }
}

/// The events of a day, about in the number that is asked for: everybody who is there has one at least. In the order of
/// their times.
pub(super) fn events(
    population: &Population,
    catalogue: &Catalogue,
    day: usize,
    count: usize,
    random: &mut ChaCha8Rng,
) -> Vec<FilledEvent> {
    let hours = WeightedIndex::new(HOURS).expect("weights");
    let time = |random: &mut ChaCha8Rng| {
        u32::try_from(hours.sample(random)).expect("an hour") * HOUR + random.random_range(0..HOUR)
    };
    let mut events = Vec::with_capacity(count);
    let mut begin = |users: &mut dyn Iterator<Item = usize>, event_type, random: &mut ChaCha8Rng| {
        for user in users {
            let user = Some(u32::try_from(user).expect("user numbers are 32 bits"));
            events.push(FilledEvent { time: time(random), user, event_type, path: catalogue.path(random) });
        }
    };
    let returning = population.returning(day, random);
    begin(&mut returning.into_iter(), EventType::SessionStart, random);
    begin(&mut population.newcomers(day), EventType::SignUp, random);
    let sessions = events.len();
    while events.len() < count {
        let path = catalogue.path(random);
        if sessions == 0 || random.random_ratio(1, OF_NO_USER) {
            let event_type = EventType::JobFinished;
            events.push(FilledEvent { time: time(random), user: None, event_type, path });
            continue;
        }
        // The third power: who is most loyal does most.
        let place = random.random::<f32>().powi(3);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let session = events[((place * sessions as f32) as usize).min(sessions - 1)];
        let later = session.time + random.random_range(0..HOUR);
        let event_type = catalogue.event_type(random);
        events.push(FilledEvent { time: later.min(WHOLE - 1), user: session.user, event_type, path });
    }
    events.sort_unstable_by_key(|event| event.time);
    events
}
