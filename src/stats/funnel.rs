//! Funnels: how many users got from step to step, in order and in time?
//!
//! Definitions. A user *enters* with an event of step 1. A *path* is an event of step 1, one of step 2, and so on, each
//! another event and none earlier than the one before it, the last at most the window after the first. A user *reaches* the
//! last step of their longest path; where they enter more than once, each entry is a try. Of the paths that are as long, the
//! one counts that is complete first, and in it each step is the last one before the next: times between steps are not
//! stretched by what was given up. Events of the same moment have no order: they are taken in the one that serves best.

use std::{collections::BTreeMap, ops::RangeInclusive};

use chrono::{DateTime, TimeDelta, Utc};
use roaring::RoaringBitmap;

use super::label::Label;

/// Steps of a funnel at most.
pub const MOST_STEPS: usize = 20;

/// An event of one or more steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepEvent {
    pub at: DateTime<Utc>,
    /// Bit *n* is set: an event of the step with index *n*.
    pub steps: u32,
    /// What the funnel is broken down by, on an event of step 1.
    pub value: Label,
}

/// How far a user got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The moments of the steps.
    pub times: Vec<DateTime<Utc>>,
    /// The value of the first event.
    pub value: Label,
}

/// Users who reached a step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StepReached {
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
    reached: BTreeMap<Label, Vec<StepReached>>,
}

impl Funnel {
    pub fn new(steps: usize, window: TimeDelta) -> Self {
        Self { steps, window, reached: BTreeMap::new() }
    }

    /// Counts a user, by all of their events of any step, in order of time.
    pub fn count(&mut self, user_no: u32, events: &mut [StepEvent]) {
        let Some(path) = furthest(events, self.steps, self.window) else { return };
        let steps =
            self.reached.entry(path.value).or_insert_with(|| vec![StepReached::default(); self.steps]);
        let mut before = None;
        for (reached, &time) in steps.iter_mut().zip(&path.times) {
            reached.users.insert(user_no);
            reached.times.extend(before.map(|before| time - before));
            before = Some(time);
        }
    }

    /// The steps over all values.
    pub fn overall(&self) -> Vec<StepReached> {
        let mut overall = vec![StepReached::default(); self.steps];
        for steps in self.reached.values() {
            for (all, reached) in overall.iter_mut().zip(steps) {
                all.merge(reached);
            }
        }
        overall
    }

    /// How many values there are by which users entered.
    pub fn values(&self) -> usize {
        self.reached.len()
    }

    /// By value, those first by which most users entered, then by name; all behind the first `limit` together.
    pub fn by_value(mut self, limit: usize) -> Vec<(Label, Vec<StepReached>)> {
        let never_told = self.reached.remove(&Label::Other);
        let mut values: Vec<_> = self.reached.into_iter().collect();
        values.sort_by_key(|(_, steps)| std::cmp::Reverse(steps[0].users.len()));
        let others = values.split_off(limit.min(values.len()));
        if !others.is_empty() || never_told.is_some() {
            let mut rest = vec![StepReached::default(); self.steps];
            for steps in others.into_iter().map(|(_, steps)| steps).chain(never_told) {
                for (rest, reached) in rest.iter_mut().zip(&steps) {
                    rest.merge(reached);
                }
            }
            values.push((Label::Other, rest));
        }
        values
    }
}

impl StepReached {
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
fn furthest(events: &mut [StepEvent], steps: usize, window: TimeDelta) -> Option<Progress> {
    events.sort_by(|a, b| (a.at, &a.value, a.steps).cmp(&(b.at, &b.value, b.steps)));
    // The latest path to each step. It has the latest beginning too, so no other has more time left.
    let mut paths: Vec<Option<Progress>> = vec![None; steps];
    let mut longest: Option<Progress> = None;
    for moment in events.chunk_by(|a, b| a.at == b.at) {
        let ends = ends(moment, steps);
        // From the last step: an event is one step of a path, not two, and paths are extended that ended before this moment.
        for step in (0..steps).rev() {
            // The more steps of this moment, the later is what remains of the path before.
            let extended = (0..=step)
                .filter(|&first| step < ends[first])
                .find_map(|first| extended(&paths, moment, first..=step, window));
            let Some(path) = extended else { continue };
            if longest.as_ref().is_none_or(|longest| longest.times.len() < path.times.len()) {
                longest = Some(path.clone());
            }
            paths[step] = Some(path);
        }
    }
    longest
}

/// For each step the end of the longest range of steps from it on that events of one moment can be, each another event.
fn ends(moment: &[StepEvent], steps: usize) -> Vec<usize> {
    let end = |first: usize| {
        let mut pairs = Pairs::new(moment);
        (first..steps).find(|&step| pairs.add(step).is_none()).unwrap_or(steps)
    };
    if let [event] = moment {
        return (0..steps).map(|step| step + usize::from(event.is_of(step))).collect();
    }
    (0..steps).map(end).collect()
}

/// The path to the step before `range`, and the steps of the range at one moment; nothing, if there is no time for them.
fn extended(
    paths: &[Option<Progress>],
    moment: &[StepEvent],
    range: RangeInclusive<usize>,
    window: TimeDelta,
) -> Option<Progress> {
    let at = moment.first()?.at;
    let mut path = match range.start().checked_sub(1) {
        Some(before) => paths[before].clone().filter(|path| at - path.times[0] <= window)?,
        None => Progress {
            times: Vec::with_capacity(range.end() + 1),
            value: entrance(moment, *range.end())?.value.clone(),
        },
    };
    path.times.extend(range.map(|_| at));
    Some(path)
}

/// The event of step 1 in a path whose steps up to `last` are all of one moment; of several that with the first value.
fn entrance(moment: &[StepEvent], last: usize) -> Option<&StepEvent> {
    let mut pairs = Pairs::new(moment);
    for step in 1..=last {
        pairs.add(step)?;
    }
    pairs.add(0).map(|index| &moment[index])
}

/// Events of one moment, each for one step at most.
struct Pairs<'a> {
    events: &'a [StepEvent],
    /// By event.
    steps: Vec<Option<usize>>,
}

impl<'a> Pairs<'a> {
    fn new(events: &'a [StepEvent]) -> Self {
        Self { events, steps: vec![None; events.len()] }
    }

    /// Finds an event for one more step: the first one that can be had, others may have to change. None: there is none.
    fn add(&mut self, step: usize) -> Option<usize> {
        self.find(step, &mut vec![false; self.events.len()])
    }

    fn find(&mut self, step: usize, tried: &mut [bool]) -> Option<usize> {
        for (index, event) in self.events.iter().enumerate() {
            if !event.is_of(step) || std::mem::replace(&mut tried[index], true) {
                continue;
            }
            if self.steps[index].is_none_or(|other| self.find(other, tried).is_some()) {
                self.steps[index] = Some(step);
                return Some(index);
            }
        }
        None
    }
}

impl StepEvent {
    fn is_of(&self, step: usize) -> bool {
        self.steps & (1 << step) != 0
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Reverse;

    use rand::{RngExt, SeedableRng};

    use super::*;

    fn second(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000 + second, 0).expect("a moment")
    }

    /// The moments of the longest path through steps a, b, c within ten seconds.
    fn path(events: &[(i64, u32)]) -> Vec<i64> {
        let mut events: Vec<_> = events
            .iter()
            .map(|&(at, steps)| StepEvent { at: second(at), steps, value: Label::NONE })
            .collect();
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
        assert_eq!(path(&[(0, C), (1, B), (1, C), (1, A)]), [1, 1, 1]);
        assert_eq!(path(&[(1, A | B), (2, C)]), [1]);
        assert_eq!(path(&[(1, A | B), (1, A | B), (2, C)]), [1, 1, 2]);
    }

    /// Every path: each step another event, none earlier than the one before it.
    fn all_paths(events: &[StepEvent], steps: usize, window: TimeDelta) -> Vec<Vec<usize>> {
        let mut paths = vec![Vec::new()];
        let mut next = 0;
        while let Some(path) = paths.get(next).cloned() {
            next += 1;
            let fits = |&index: &usize| {
                let event = &events[index];
                path.len() < steps
                    && event.is_of(path.len())
                    && !path.contains(&index)
                    && path.last().is_none_or(|&last: &usize| event.at >= events[last].at)
                    && path.first().is_none_or(|&first: &usize| event.at - events[first].at <= window)
            };
            let longer = (0..events.len()).filter(fits).map(|index| [&path[..], &[index]].concat());
            paths.extend(longer.collect::<Vec<_>>());
        }
        paths.split_off(1)
    }

    #[test]
    fn paths_are_those_of_all_paths_that_the_definition_chooses() {
        let mut random = rand::rngs::StdRng::seed_from_u64(1);
        for _ in 0..10_000 {
            let (steps, moments) = (random.random_range(2..=4), random.random_range(1..=6));
            let window = TimeDelta::seconds(random.random_range(0..=moments));
            let mut events: Vec<_> = (0..random.random_range(0..=7))
                .map(|_| StepEvent {
                    at: second(random.random_range(0..moments)),
                    steps: random.random_range(1..1 << steps),
                    value: Label::Value(
                        [None, Some("a".to_owned()), Some("b".to_owned())][random.random_range(0..3)].clone(),
                    )
                    .clone(),
                })
                .collect();
            let steps = usize::try_from(steps).expect("a few");
            let found = furthest(&mut events, steps, window);
            let paths = all_paths(&events, steps, window);
            // The longest, complete first, each step as late as can be from the last, and then the first value.
            let expected = paths.iter().map(Vec::len).max().map(|length| {
                let longest = paths.iter().filter(|path| path.len() == length);
                let times =
                    |path: &Vec<usize>| path.iter().map(|&index| events[index].at).collect::<Vec<_>>();
                let order = |path: &Vec<usize>| {
                    let times = times(path);
                    let late: Vec<_> = times.iter().rev().skip(1).copied().map(Reverse).collect();
                    (times.last().copied(), late, events[path[0]].value.clone())
                };
                let best = longest.min_by_key(|path| order(path)).expect("a path");
                Progress { times: times(best), value: events[best[0]].value.clone() }
            });
            assert_eq!(found, expected, "{steps} steps, {window}: {events:?}");
        }
    }

    #[test]
    fn users_stand_under_the_value_with_which_they_entered() {
        let event = |at, steps, value: &str| StepEvent {
            at: second(at),
            steps,
            value: Label::Value(Some(value.into())),
        };
        let mut funnel = Funnel::new(3, TimeDelta::seconds(10));
        funnel.count(1, &mut [event(0, A, "web"), event(2, B, "app"), event(5, C, "app")]);
        funnel.count(2, &mut [event(0, A, "web"), event(3, B, "web")]);
        funnel.count(3, &mut [event(0, A, "app")]);
        funnel.count(4, &mut [event(0, B, "app")]);
        let mut overall = funnel.overall();
        let users: Vec<Vec<u32>> = overall.iter().map(|step| step.users.iter().collect()).collect();
        assert_eq!(users, [vec![1, 2, 3], vec![1, 2], vec![1]]);
        let medians: Vec<_> = overall.iter_mut().map(StepReached::median_time).collect();
        assert_eq!(medians, [None, Some(TimeDelta::milliseconds(2_500)), Some(TimeDelta::seconds(3))]);
        funnel.count(5, &mut [StepEvent { at: second(0), steps: A, value: Label::Other }]);
        let counts = |values: Vec<(Label, Vec<StepReached>)>| -> Vec<(Label, Vec<u64>)> {
            let users = |steps: Vec<StepReached>| steps.iter().map(|step| step.users.len()).collect();
            values.into_iter().map(|(label, steps)| (label, users(steps))).collect()
        };
        let value = |text: &str| Label::Value(Some(text.into()));
        assert_eq!(
            counts(funnel.by_value(1)),
            [(value("web"), vec![2, 2, 1]), (Label::Other, vec![2, 0, 0])]
        );
    }
}
