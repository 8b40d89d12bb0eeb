//! Which events a request carries: new ones, and ones that were accepted before.

use chrono::{DateTime, Utc};

use crate::event::{BenchEvent, mix};

/// Accepted events that are remembered, of all projects together, and of one at least.
const REMEMBERED: usize = 1 << 20;
const REMEMBERED_OF_PROJECT: usize = 1_000;

pub(super) struct EventSource {
    /// The number of the next new event.
    next: u64,
    draws: u64,
    /// Of a hundred events, how many were accepted before.
    duplicates: usize,
    /// Of each project.
    accepted: Vec<Ring>,
    capacity: usize,
}

/// The latest events of a project.
#[derive(Default)]
struct Ring {
    events: Vec<BenchEvent>,
    /// Where the next one goes, once it is full.
    next: usize,
}

impl EventSource {
    pub fn new(projects: usize, duplicates: u8) -> Self {
        let now = Utc::now().timestamp_micros().cast_unsigned();
        Self {
            next: mix(now),
            draws: 0,
            duplicates: duplicates.into(),
            accepted: std::iter::repeat_with(Ring::default).take(projects).collect(),
            capacity: (REMEMBERED / projects).max(REMEMBERED_OF_PROJECT),
        }
    }

    /// Chooses an event for each place, a millisecond apart, the last one now. If some may be repeated, the first ones, whose
    /// number is returned, were accepted before.
    pub fn choose(
        &mut self,
        project: usize,
        now: DateTime<Utc>,
        may_repeat: bool,
        events: &mut [BenchEvent],
    ) -> usize {
        let repeated = if may_repeat { self.repeated(project, events.len()) } else { 0 };
        let (again, new) = events.split_at_mut(repeated);
        if repeated > 0 {
            let from = self.draw(self.accepted[project].events.len());
            let before = self.accepted[project].events.iter().cycle().skip(from);
            again.iter_mut().zip(before).for_each(|(place, event)| *place = *event);
        }
        let now = now.timestamp_millis();
        for (ago, event) in (0..).zip(new.iter_mut().rev()) {
            *event = BenchEvent { number: self.next, occurred_at: now - ago };
            self.next = self.next.wrapping_add(1);
        }
        repeated
    }

    /// Events that were accepted.
    pub fn remember(&mut self, project: usize, events: &[BenchEvent]) {
        if self.duplicates == 0 {
            return;
        }
        let ring = &mut self.accepted[project];
        for event in events {
            if ring.events.len() < self.capacity {
                ring.events.push(*event);
            } else {
                ring.events[ring.next] = *event;
                ring.next = (ring.next + 1) % self.capacity;
            }
        }
    }

    /// How many of so many events are sent again: the share, rounded up or down at random so that it holds on average.
    fn repeated(&mut self, project: usize, events: usize) -> usize {
        let hundredths = events * self.duplicates;
        let rounded = (hundredths + self.draw(100)) / 100;
        rounded.min(self.accepted[project].events.len())
    }

    /// A number below `bound`.
    fn draw(&mut self, bound: usize) -> usize {
        self.draws += 1;
        usize::try_from(mix(self.draws) % bound as u64).expect("below a usize")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_share_of_repeated_events_holds_on_average_and_none_repeats_within_a_request() {
        for (share, size) in [(0, 100), (1, 1), (1, 100), (1, 50), (100, 100)] {
            let mut source = EventSource::new(2, share);
            let mut events = vec![BenchEvent::default(); size];
            let (mut repeated, mut accepted) = (0, HashSet::new());
            for request in 0..2_000 {
                let again = source.choose(1, Utc::now(), request >= 1_000, &mut events);
                assert!(events[..again].iter().all(|event| accepted.contains(&event.number)));
                assert!(events[again..].iter().all(|event| accepted.insert(event.number)));
                let different: HashSet<u64> = events.iter().map(|event| event.number).collect();
                assert_eq!(different.len(), size);
                source.remember(1, &events[again..]);
                repeated += again;
            }
            let expected = usize::from(share) * 1_000 * size / 100;
            assert!(repeated.abs_diff(expected) <= expected / 2, "{repeated} of {expected}");
        }
    }
}
