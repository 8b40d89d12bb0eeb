//! Users as a product has them: they arrive day by day, most never come back, and a few come nearly every day.

use chrono::{Datelike, Days, NaiveDate, Weekday};
use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};

use super::catalogue::{Catalogue, Trait};

/// Streams of random numbers: that of the users, and from here on one for each day.
const OF_USERS: u64 = 0;
const OF_DAYS: u64 = 1;

pub(super) struct Population {
    seed: u64,
    first_day: NaiveDate,
    users: Vec<FilledUser>,
    /// How many users have arrived by the end of each day; the numbers of users count up in this order.
    arrived: Vec<usize>,
    /// Share of all events that each day has.
    shares: Vec<f64>,
}

pub(super) struct FilledUser {
    /// The probability of coming back on the day after the first.
    loyalty: f32,
    pub traits: Trait,
}

/// Days of a week, of which the first is a Monday, and how much is done on them.
const RHYTHM: [f64; 7] = [1.0, 1.03, 1.04, 1.02, 0.95, 0.72, 0.68];

impl Population {
    /// `count` users of `days` days.
    pub fn new(seed: u64, catalogue: &Catalogue, count: usize, first_day: NaiveDate, days: usize) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(OF_USERS);
        let user = |_| {
            // The sixth power: more than half of the users never come back, and one in a hundred comes almost daily.
            let loyalty = random.random::<f32>().powi(6);
            FilledUser { loyalty, traits: catalogue.traits(&mut random) }
        };
        let users: Vec<FilledUser> = (0..count).map(user).collect();
        let mut population = Self { seed, first_day, users, arrived: Vec::new(), shares: Vec::new() };

        // A project begins with users whom it had before, and grows.
        let growth = |day: usize| 1.0 + as_f64(day) / as_f64(days);
        let arriving: Vec<f64> = (0..days)
            .map(|day| population.rhythm(day) * growth(day) * if day == 0 { 5.0 } else { 1.0 })
            .collect();
        let all: f64 = arriving.iter().sum();
        let mut sum = 0.0;
        population.arrived = arriving
            .iter()
            .map(|share| {
                sum += share;
                portion(count, sum / all)
            })
            .collect();

        let loyalty =
            population.users.iter().map(|user| f64::from(user.loyalty)).sum::<f64>() / as_f64(count);
        let active = |day: usize| {
            let back = |age| arriving[day - age] * loyalty * f64::from(decay(age));
            arriving[day] + population.rhythm(day) * (1..=day).map(back).sum::<f64>()
        };
        let active: Vec<f64> = (0..days).map(active).collect();
        let all: f64 = active.iter().sum();
        population.shares = active.into_iter().map(|active| active / all).collect();
        population
    }

    pub fn date(&self, day: usize) -> NaiveDate {
        self.first_day + Days::new(day as u64)
    }

    /// How many of `events` lie before this day.
    pub fn events_before(&self, day: usize, events: usize) -> usize {
        portion(events, self.shares[..day].iter().sum())
    }

    /// The random numbers of a day.
    pub fn random(&self, day: usize) -> ChaCha8Rng {
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        random.set_stream(OF_DAYS + day as u64);
        random
    }

    /// Users who arrive on this day, by their indices.
    pub fn newcomers(&self, day: usize) -> std::ops::Range<usize> {
        let before = day.checked_sub(1).map_or(0, |before| self.arrived[before]);
        before..self.arrived[day]
    }

    /// Users who arrived earlier and come back on this day, the most loyal first.
    pub fn returning(&self, day: usize, random: &mut ChaCha8Rng) -> Vec<usize> {
        #[expect(clippy::cast_possible_truncation, reason = "a probability")]
        let rhythm = self.rhythm(day) as f32;
        let mut returning = Vec::new();
        for arrival in 0..day {
            let likely = rhythm * decay(day - arrival);
            returning.extend(
                self.newcomers(arrival)
                    .filter(|&user| random.random::<f32>() < likely * self.users[user].loyalty),
            );
        }
        returning.sort_by(|&a, &b| self.users[b].loyalty.total_cmp(&self.users[a].loyalty));
        returning
    }

    pub fn user(&self, index: usize) -> &FilledUser {
        &self.users[index]
    }

    fn rhythm(&self, day: usize) -> f64 {
        RHYTHM[self.date(day).weekday().days_since(Weekday::Mon) as usize]
    }
}

/// How much less likely users come back so many days after their first.
fn decay(age: usize) -> f32 {
    #[expect(clippy::cast_precision_loss, reason = "days")]
    (age as f32).powf(-0.3)
}

fn as_f64(count: usize) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    (count as f64)
}

fn portion(of: usize, share: f64) -> usize {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share is 0 to 1")]
    ((as_f64(of) * share).round() as usize)
}
