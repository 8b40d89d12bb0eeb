//! A table of retention.

use chrono::NaiveDate;
use poem_openapi::Object;

use crate::{
    http::{
        respond::{
            instant::Instant,
            table::{Tabular, field},
        },
        routes::stats::{
            choices::{Choice, Mean},
            rate, rounded, timezone,
        },
    },
    model::project::Project,
    stats::retention::{Retention, RetentionColumn},
};

use super::parameters::ValidRetention;

#[derive(Object)]
pub(crate) struct RetentionTable {
    timezone: String,
    window_type: String,
    /// The moment for which periods are complete or not.
    as_of: Instant,
    /// Returns before this moment are counted.
    data_through: Instant,
    #[oai(validator(max_items = 2000))]
    cohorts: Vec<CohortRow>,
    /// Each period over the cohorts for which it is complete.
    #[oai(validator(max_items = 367))]
    overall: Vec<OverallCell>,
}

#[derive(Object)]
struct CohortRow {
    /// The first day of the period in which these users began.
    cohort: NaiveDate,
    /// Users in the cohort.
    size: u64,
    #[oai(validator(max_items = 367))]
    periods: Vec<CohortCell>,
}

#[derive(Object)]
struct CohortCell {
    /// Periods after the cohort's own; of a bracket the first one.
    period: u32,
    /// The last period of a bracket.
    #[oai(skip_serializing_if_is_none)]
    last_period: Option<u32>,
    /// Users of the cohort who came back in this period.
    users: u64,
    /// `users` of `size`, rounded to three decimals; null if the cohort is empty.
    rate: Option<f64>,
    /// False: the period is not over, and the number may still grow.
    complete: bool,
}

#[derive(Object)]
struct OverallCell {
    period: u32,
    #[oai(skip_serializing_if_is_none)]
    last_period: Option<u32>,
    users: u64,
    size: u64,
    /// Null if no cell of this period is complete.
    rate: Option<f64>,
}

impl RetentionTable {
    pub(crate) fn new(project: &Project, asked: &ValidRetention, answer: Retention) -> Self {
        let columns = &asked.query.question.columns;
        let cohorts = answer.cohorts.into_iter().map(|cohort| CohortRow {
            cohort: cohort.cohort,
            size: cohort.size,
            periods: (columns.iter().zip(&cohort.cells))
                .map(|(column, cell)| CohortCell {
                    period: column.first,
                    last_period: last_period(asked, column),
                    users: cell.users,
                    rate: rate(cell.users, cohort.size),
                    complete: cell.complete,
                })
                .collect(),
        });
        let overall = columns.iter().zip(&answer.overall).map(|(column, total)| OverallCell {
            period: column.first,
            last_period: last_period(asked, column),
            users: total.users,
            size: total.size,
            rate: match asked.mean {
                Mean::Pooled => rate(total.users, total.size),
                Mean::Simple => total.mean_rate.map(rounded),
            },
        });
        Self {
            timezone: timezone(project),
            window_type: asked.window_type.word().into(),
            as_of: Instant(asked.query.as_of),
            data_through: Instant(asked.query.as_of),
            cohorts: cohorts.collect(),
            overall: overall.collect(),
        }
    }
}

fn last_period(asked: &ValidRetention, column: &RetentionColumn) -> Option<u32> {
    column.last.filter(|_| asked.brackets)
}

impl Tabular for RetentionTable {
    fn header(&self) -> Vec<String> {
        ["cohort", "size", "period", "last_period", "users", "rate", "complete"].map(Into::into).into()
    }

    /// The overall row is the cohort `overall`, whose sizes differ from period to period.
    fn len(&self) -> usize {
        self.cohorts.iter().map(|cohort| cohort.periods.len()).sum()
    }

    fn rows(&self) -> Vec<Vec<String>> {
        let of_cohort = |row: &CohortRow| {
            let (cohort, size) = (row.cohort.to_string(), row.size.to_string());
            let fields = move |cell: &CohortCell| {
                vec![
                    cohort.clone(),
                    size.clone(),
                    cell.period.to_string(),
                    field(cell.last_period),
                    cell.users.to_string(),
                    field(cell.rate),
                    cell.complete.to_string(),
                ]
            };
            row.periods.iter().map(fields).collect::<Vec<_>>()
        };
        let of_all = |cell: &OverallCell| {
            vec![
                "overall".into(),
                cell.size.to_string(),
                cell.period.to_string(),
                field(cell.last_period),
                cell.users.to_string(),
                field(cell.rate),
                "true".into(),
            ]
        };
        self.cohorts.iter().flat_map(of_cohort).chain(self.overall.iter().map(of_all)).collect()
    }
}
