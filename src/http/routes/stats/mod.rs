//! The questions of product teams over HTTP, one module for each: parameters in, answered by [`crate::query`], and shown as JSON
//! or as a table.

pub mod active_users;
pub mod breakdown;
pub mod choices;
pub mod count;
pub mod funnel;
pub mod lifecycle;
pub mod narrow;
pub mod pages;
pub mod parameters;
pub mod retention;
pub mod stickiness;
pub mod timeseries;
pub mod top_events;
pub mod users;

use chrono::NaiveDate;

use self::{
    active_users::ActiveUsersApi, count::CountApi, funnel::FunnelApi, lifecycle::LifecycleApi,
    pages::PagesApi, retention::RetentionApi, stickiness::StickinessApi, timeseries::TimeseriesApi,
    top_events::TopEventsApi,
};
use crate::http::extract::parameters::Param;
use crate::model::project::Project;
use crate::store::read::snapshot::Reader;

/// All of them, in the order of the document. Nested, because poem-openapi takes tuples of a bounded length.
pub type StatisticsApis = (
    (ActiveUsersApi, TopEventsApi, TimeseriesApi, RetentionApi, FunnelApi, StickinessApi, LifecycleApi),
    (CountApi, PagesApi),
);

pub fn apis(reader: &Reader) -> StatisticsApis {
    let reader = || reader.clone();
    (
        (
            ActiveUsersApi { reader: reader() },
            TopEventsApi { reader: reader() },
            TimeseriesApi { reader: reader() },
            RetentionApi { reader: reader() },
            FunnelApi { reader: reader() },
            StickinessApi { reader: reader() },
            LifecycleApi { reader: reader() },
        ),
        (CountApi { reader: reader() }, PagesApi { reader: reader() }),
    )
}

fn example_day() -> Param<NaiveDate, true> {
    Param::example("2024-03-01")
}

fn timezone(project: &Project) -> String {
    project.timezone.name().into()
}

/// The share in thousandths, half rounded up, by whole numbers: so it is the same everywhere.
fn rate(users: u64, size: u64) -> Option<f64> {
    let thousandths = (users * 2_000 + size).checked_div(size * 2)?;
    #[allow(clippy::cast_precision_loss, reason = "a share is at most 1,000 thousandths")]
    Some(thousandths as f64 / 1_000.0)
}

/// A mean of shares in thousandths, half rounded up. Sums of doubles are off by less than what is added.
fn rounded(rate: f64) -> f64 {
    (rate * 1_000.0 + 0.5 + 1e-9).floor() / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_rounded_half_up_and_of_nobody_there_is_none() {
        assert_eq!(rate(2, 3), Some(0.667));
        assert_eq!(rate(1, 16), Some(0.063)); // 0.0625
        assert_eq!(rate(5, 5), Some(1.0));
        assert_eq!(rate(0, 5), Some(0.0));
        assert_eq!(rate(0, 0), None);
    }

    #[test]
    fn means_of_rates_are_rounded_as_rates_are() {
        let mean = [0.2, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0].iter().sum::<f64>() / 16.0;
        assert!((rounded(mean) - 0.013).abs() < 1e-12); // 0.0125
        assert!((rounded(1.0) - 1.0).abs() < 1e-12);
    }
}
