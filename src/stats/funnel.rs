//! Funnels: how many users got from step to step, in order and in time?
//!
//! Definitions. A user *enters* with an event of step 1. A *path* is an event of step 1, one of step 2, and so on, each
//! another event and none earlier than the one before it, the last at most the window after the first. A user *reaches* the
//! last step of their longest path; where they enter more than once, each entry is a try. Of the paths that are as long, the
//! one counts that is complete first, and in it each step is the last one before the next: times between steps are not
//! stretched by what was given up. Events of the same moment are taken in the order of the first step that they are of.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use roaring::RoaringBitmap;

/// Steps of a funnel at most.
pub const MOST_STEPS: usize = 20;

/// An event of one or more steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepEvent {
    pub at: DateTime<Utc>,
    /// Bit *n* is set: an event of the step with index *n*.
    pub steps: u32,
    /// What the funnel is broken down by, on an event of step 1.
    pub value: Option<String>,
}

/// How far a user got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// The moments of the steps.
    pub times: Vec<DateTime<Utc>>,
    /// The value of the first event.
    pub value: Option<String>,
}

/// Users who reached a step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reached {
    pub users: RoaringBitmap,
    /// Of each of these users the time from the step before.
    times: Vec<TimeDelta>,
}

/// A funnel that is being counted.
#[derive(Debug)]
pub struct Funnel {
    steps: usize,
    window: TimeDelta,
    /// By value, then by step.
    reached: BTreeMap<Option<String>, Vec<Reached>>,
}

impl Funnel {
    pub fn new(steps: usize, window: TimeDelta) -> Self {
        Self { steps, window, reached: BTreeMap::new() }
    }

    /// Counts a user, by all of their events of any step, in order of time.
    pub fn count(&mut self, user_no: u32, events: &mut [StepEvent]) {
        let Some(path) = furthest(events, self.steps, self.window) else { return };
        let steps = self.reached.entry(path.value).or_insert_with(|| vec![Reached::default(); self.steps]);
        let mut before = None;
        for (reached, &time) in steps.iter_mut().zip(&path.times) {
            reached.users.insert(user_no);
            reached.times.extend(before.map(|before| time - before));
            before = Some(time);
        }
    }

    /// The steps over all values.
    pub fn overall(&self) -> Vec<Reached> {
        let mut overall = vec![Reached::default(); self.steps];
        for steps in self.reached.values() {
            for (all, reached) in overall.iter_mut().zip(steps) {
                all.merge(reached);
            }
        }
        overall
    }

    /// By value, those first by which most users entered, then by name.
    pub fn by_value(self) -> Vec<(Option<String>, Vec<Reached>)> {
        let mut values: Vec<_> = self.reached.into_iter().collect();
        values.sort_by_key(|(_, steps)| std::cmp::Reverse(steps[0].users.len()));
        values
    }
}

impl Reached {
    pub fn merge(&mut self, other: &Self) {
        self.users |= &other.users;
        self.times.extend(&other.times);
    }

    /// The median time from the step before; of an even number the mean of the two in the middle.
    pub fn median_time(&mut self) -> Option<TimeDelta> {
        let middle = self.times.len() / 2;
        let odd = self.times.len() % 2 == 1;
        if self.times.is_empty() {
            return None;
        }
        let (below, &mut upper, _) = self.times.select_nth_unstable(middle);
        match below.iter().max() {
            Some(&lower) if !odd => Some((lower + upper) / 2),
            _ => Some(upper),
        }
    }
}

/// A user's longest path.
fn furthest(events: &mut [StepEvent], steps: usize, window: TimeDelta) -> Option<Path> {
    // What comes after the step only makes the order the same each time.
    events.sort_by(|a, b| {
        let order = |event: &StepEvent| (event.at, event.steps.trailing_zeros(), event.steps);
        order(a).cmp(&order(b)).then_with(|| a.value.cmp(&b.value))
    });
    // The latest path to each step. It has the latest beginning too, so no other has more time left.
    let mut paths: Vec<Option<Path>> = vec![None; steps];
    let mut longest: Option<Path> = None;
    for event in events {
        // From the last step: an event is one step of a path, not two.
        for step in (0..steps).rev().filter(|step| event.steps & (1 << step) != 0) {
            let path = match step.checked_sub(1) {
                None => Path { times: vec![event.at], value: event.value.clone() },
                Some(before) => match &paths[before] {
                    Some(path) if event.at - path.times[0] <= window => {
                        let times = path.times.iter().copied().chain([event.at]).collect();
                        Path { times, value: path.value.clone() }
                    }
                    _ => continue,
                },
            };
            if longest.as_ref().is_none_or(|longest| longest.times.len() < path.times.len()) {
                longest = Some(path.clone());
            }
            paths[step] = Some(path);
        }
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000 + second, 0).expect("a moment")
    }

    /// The moments of the longest path through steps a, b, c within ten seconds.
    fn path(events: &[(i64, u32)]) -> Vec<i64> {
        let mut events: Vec<_> =
            events.iter().map(|&(at, steps)| StepEvent { at: second(at), steps, value: None }).collect();
        let path = furthest(&mut events, 3, TimeDelta::seconds(10));
        path.map_or_else(Vec::new, |path| {
            path.times.iter().map(|time| (*time - second(0)).num_seconds()).collect()
        })
    }

    const A: u32 = 1;
    const B: u32 = 2;
    const C: u32 = 4;

    #[test]
    fn steps_count_in_order_only() {
        assert_eq!(path(&[(1, A), (2, B), (3, C)]), [1, 2, 3]);
        assert_eq!(path(&[(1, B), (2, A), (3, C)]), [2]);
        assert_eq!(path(&[(1, A), (2, C), (3, B)]), [1, 3]);
        assert_eq!(path(&[(1, B), (2, C)]), [] as [i64; 0]);
    }

    #[test]
    fn the_last_step_is_at_most_a_window_after_the_first() {
        assert_eq!(path(&[(0, A), (5, B), (10, C)]), [0, 5, 10]);
        assert_eq!(path(&[(0, A), (5, B), (11, C)]), [0, 5]);
    }

    #[test]
    fn whoever_enters_again_has_another_try() {
        assert_eq!(path(&[(0, A), (5, B), (20, A), (21, B), (30, C)]), [20, 21, 30]);
        // The second try gets no further: the first that got as far counts.
        assert_eq!(path(&[(0, A), (5, B), (20, A), (21, B)]), [0, 5]);
    }

    #[test]
    fn times_are_from_the_last_step_before() {
        assert_eq!(path(&[(0, A), (4, A), (5, B), (6, B), (9, C)]), [4, 6, 9]);
    }

    #[test]
    fn a_moment_has_no_order_and_an_event_is_one_step() {
        assert_eq!(path(&[(1, C), (1, B), (1, A)]), [1, 1, 1]);
        assert_eq!(path(&[(1, A | B), (2, C)]), [1]);
        assert_eq!(path(&[(1, A | B), (1, A | B), (2, C)]), [1, 1, 2]);
    }

    #[test]
    fn users_stand_under_the_value_with_which_they_entered() {
        let event = |at, steps, value: &str| StepEvent { at: second(at), steps, value: Some(value.into()) };
        let mut funnel = Funnel::new(3, TimeDelta::seconds(10));
        funnel.count(1, &mut [event(0, A, "web"), event(2, B, "app"), event(5, C, "app")]);
        funnel.count(2, &mut [event(0, A, "web"), event(3, B, "web")]);
        funnel.count(3, &mut [event(0, A, "app")]);
        funnel.count(4, &mut [event(0, B, "app")]);
        let mut overall = funnel.overall();
        let users: Vec<Vec<u32>> = overall.iter().map(|step| step.users.iter().collect()).collect();
        assert_eq!(users, [vec![1, 2, 3], vec![1, 2], vec![1]]);
        let medians: Vec<_> = overall.iter_mut().map(Reached::median_time).collect();
        assert_eq!(medians, [None, Some(TimeDelta::milliseconds(2_500)), Some(TimeDelta::seconds(3))]);
        let values = funnel.by_value();
        let counts = values.iter().map(|(value, steps)| {
            (value.as_deref(), steps.iter().map(|step| step.users.len()).collect::<Vec<_>>())
        });
        assert_eq!(counts.collect::<Vec<_>>(), [(Some("web"), vec![2, 2, 1]), (Some("app"), vec![1, 0, 0])]);
    }
}
