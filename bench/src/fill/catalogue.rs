//! What happens in a product, and what an SDK sends along.

use rand::{
    distr::{Distribution, weighted::WeightedIndex},
    rngs::ChaCha8Rng,
};

/// Types of events, and how many in ten thousand they are, but for those of [`EventType`].
const EVENT_TYPES: [(&str, u32); 18] = [
    ("page_view", 4_200),
    ("click", 2_300),
    ("search", 900),
    ("item_viewed", 800),
    ("item_added", 400),
    ("scroll", 350),
    ("video_played", 250),
    ("item_removed", 150),
    ("message_sent", 140),
    ("share", 120),
    ("purchase", 100),
    ("file_uploaded", 80),
    ("settings_changed", 60),
    ("comment", 50),
    ("export", 40),
    ("invite_sent", 30),
    ("error", 20),
    ("subscription_started", 10),
];
const SIGN_UP: &str = "sign_up";
const SESSION_START: &str = "session_start";
const JOB_FINISHED: &str = "job_finished";

const PLATFORMS: [(&str, u32); 4] = [("web", 55), ("android", 25), ("ios", 17), ("desktop", 3)];
const COUNTRIES: [&str; 40] = [
    "US", "IN", "DE", "GB", "BR", "FR", "UA", "CA", "JP", "PL", "ES", "IT", "NL", "AU", "MX", "TR", "ID",
    "KR", "SE", "AR", "PH", "VN", "RO", "CZ", "PT", "ZA", "CO", "CH", "AT", "BE", "GR", "DK", "NO", "FI",
    "IE", "IL", "CL", "NZ", "HU", "EE",
];
const PATHS: u16 = 300;

/// The types of events that have a part of their own.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum EventType {
    /// The first of a user.
    SignUp,
    /// The first of a user's day.
    SessionStart,
    /// Of no user.
    JobFinished,
    /// By its index.
    Other(u8),
}

/// What stays the same in all events of a user.
#[derive(Clone, Copy)]
pub(super) struct Trait {
    country: u8,
    platform: u8,
}

pub(super) struct Catalogue {
    event_types: WeightedIndex<u32>,
    platforms: WeightedIndex<u32>,
    countries: WeightedIndex<f64>,
    paths: WeightedIndex<f64>,
    /// JSON by country, platform and path.
    properties: Vec<String>,
}

impl Catalogue {
    pub fn new() -> Self {
        let mut properties = Vec::new();
        for country in COUNTRIES {
            for (platform, _) in PLATFORMS {
                properties.extend((0..PATHS).map(|path| {
                    format!(r#"{{"path":"/p/{path}","country":"{country}","platform":"{platform}"}}"#)
                }));
            }
        }
        Self {
            event_types: weighted(EVENT_TYPES.iter().map(|(_, weight)| *weight)),
            platforms: weighted(PLATFORMS.iter().map(|(_, weight)| *weight)),
            countries: zipf(COUNTRIES.len().try_into().expect("a few")),
            paths: zipf(PATHS),
            properties,
        }
    }

    /// The names of all types.
    pub fn names() -> impl Iterator<Item = &'static str> {
        EVENT_TYPES.iter().map(|(name, _)| *name).chain([SIGN_UP, SESSION_START, JOB_FINISHED])
    }

    pub fn traits(&self, random: &mut ChaCha8Rng) -> Trait {
        Trait { country: index(&self.countries, random), platform: index(&self.platforms, random) }
    }

    pub fn event_type(&self, random: &mut ChaCha8Rng) -> EventType {
        EventType::Other(index(&self.event_types, random))
    }

    /// A page, by its number.
    pub fn path(&self, random: &mut ChaCha8Rng) -> u16 {
        index(&self.paths, random)
    }

    pub fn properties(&self, traits: Trait, path: u16) -> &str {
        let place = usize::from(traits.country) * PLATFORMS.len() + usize::from(traits.platform);
        &self.properties[place * usize::from(PATHS) + usize::from(path)]
    }
}

impl EventType {
    pub fn name(self) -> &'static str {
        match self {
            Self::SignUp => SIGN_UP,
            Self::SessionStart => SESSION_START,
            Self::JobFinished => JOB_FINISHED,
            Self::Other(index) => EVENT_TYPES[usize::from(index)].0,
        }
    }
}

fn weighted<W>(weights: impl Iterator<Item = W>) -> WeightedIndex<W>
where
    W: rand::distr::uniform::SampleUniform + rand::distr::weighted::Weight + PartialOrd,
{
    WeightedIndex::new(weights).expect("some weights, of which none is negative")
}

/// The n-th is n times less frequent than the first.
fn zipf(count: u16) -> WeightedIndex<f64> {
    weighted((1..=count).map(|rank| 1.0 / f64::from(rank)))
}

fn index<N, W>(of: &WeightedIndex<W>, random: &mut ChaCha8Rng) -> N
where
    N: TryFrom<usize, Error: std::fmt::Debug>,
    W: rand::distr::uniform::SampleUniform + PartialOrd,
{
    of.sample(random).try_into().expect("fits by the lengths of the lists")
}
