//! What is promoted, and by which rules time zones are, as writers remember it between transactions.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use moka::sync::Cache;
use sqlx::PgConnection;

use super::values;
use crate::{
    model::{
        project::{Project, ProjectId},
        zone::Zone,
    },
    store::{
        StoreError,
        incarnation::{self, Incarnation},
        projects::zones,
    },
};

/// The value of an event without the property, as JSON.
pub(in crate::store) const MISSING: &str = "null";

/// Values remembered between transactions, each at most [`LONGEST_REMEMBERED`] bytes long. As they were written: a value that is
/// written in several ways is remembered several times.
const REMEMBERED: u64 = 50_000;
const LONGEST_REMEMBERED: usize = 400;

/// The promoted properties of all projects, remembered, with the numbers of their values.
#[derive(Clone)]
pub struct Promotions {
    current: Arc<RwLock<Arc<Promoted>>>,
}

/// What is promoted until something else is.
pub(in crate::store) struct Promoted {
    pub number: incarnation::Generation,
    properties: HashMap<ProjectId, Vec<Box<str>>>,
    zones: HashMap<Box<str>, Zone>,
    numbers: Cache<(ProjectId, Box<str>, Box<str>), i32>,
}

impl Default for Promotions {
    /// Nothing is known yet.
    fn default() -> Self {
        Self {
            current: Arc::new(RwLock::new(Arc::new(Promoted::new(
                (None, 0),
                HashMap::new(),
                HashMap::new(),
            )))),
        }
    }
}

impl Promotions {
    /// Whoever uses what it says must make sure, in the transaction in which it is used, that this is still the generation
    /// of the database.
    pub(in crate::store) fn current(&self) -> Arc<Promoted> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks up what is promoted now, in the incarnation with which the connection talks.
    pub(in crate::store) async fn look_up(
        &self,
        connection: &mut PgConnection,
        incarnation: Incarnation,
    ) -> Result<(), StoreError> {
        let rows: Vec<(i64, Option<i32>, Option<String>)> = sqlx::query_as(
            "select promotions_generation, project_id, property
             from upkeep left join promoted_properties on stopped is null",
        )
        .fetch_all(&mut *connection)
        .await?;
        // Afterwards: if they are newer, so is the generation, and whoever uses this sees that.
        let zones = zones::all(connection).await?;
        let number = rows.first().map_or(0, |row| row.0);
        let mut properties: HashMap<_, Vec<_>> = HashMap::new();
        for (_, project_id, property) in rows {
            if let Some((project_id, property)) = project_id.zip(property) {
                properties.entry(ProjectId::from_stored(project_id)).or_default().push(property.into());
            }
        }
        let generation = Arc::new(Promoted::new((Some(incarnation), number), properties, zones));
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = generation;
        Ok(())
    }
}

impl Promoted {
    fn new(
        number: incarnation::Generation,
        properties: HashMap<ProjectId, Vec<Box<str>>>,
        zones: HashMap<Box<str>, Zone>,
    ) -> Self {
        Self { number, properties, zones, numbers: Cache::new(REMEMBERED) }
    }

    /// By which rules the days of a project are counted.
    pub fn zone<'a>(&'a self, project: &'a Project) -> &'a Zone {
        self.zones.get(project.timezone.name()).unwrap_or(&project.timezone)
    }

    /// The promoted properties of a project.
    pub fn of(&self, project_id: ProjectId) -> &[Box<str>] {
        self.properties.get(&project_id).map_or(&[], Vec::as_slice)
    }

    /// The numbers of values, given as JSON; values that are new get numbers. A value without one: there is a new generation,
    /// in which the property is not promoted.
    pub async fn find_or_add<'a>(
        &self,
        connection: &mut PgConnection,
        project_id: ProjectId,
        property: &str,
        values: impl Iterator<Item = &'a str>,
    ) -> Result<HashMap<&'a str, i32>, StoreError> {
        let mut numbers = HashMap::with_capacity(values.size_hint().0);
        let mut unknown = Vec::new();
        for value in values {
            match self.numbers.get(&(project_id, property.into(), value.into())) {
                Some(number) => drop(numbers.insert(value, number)),
                None => unknown.push(value),
            }
        }
        if unknown.is_empty() {
            return Ok(numbers);
        }
        let found = values::find_or_add(connection, project_id, property, &unknown).await?;
        for (value, number) in unknown.into_iter().zip(found) {
            let Some(number) = number else { continue };
            if value.len() <= LONGEST_REMEMBERED {
                self.numbers.insert((project_id, property.into(), value.into()), number);
            }
            numbers.insert(value, number);
        }
        Ok(numbers)
    }
}
