//! What of activity answers a question, if activity knows the answer: of which event types, and of which values of a
//! promoted property.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::PgConnection;

use super::{condition::Condition, occurrences::label};
use crate::store::StoreError;
use crate::{
    model::project::ProjectId,
    stats::{
        filter::{Filter, Property},
        label::Label,
    },
};

/// The event type of rows that are of all types together. No event has it.
pub(crate) const ALL_TYPES: &str = "";
/// The number of rows that are of all values together. No value has it.
pub(crate) const ALL_VALUES: i32 = 0;

/// By what an answer tells events apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Apart<'a> {
    Nothing,
    EventTypes,
    Values(&'a Property),
}

/// The rows of activity that a question needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Series {
    only: Option<Vec<String>>,
    except: Vec<String>,
    /// By number: how a breakdown tells the value.
    values: BTreeMap<i32, Label>,
}

/// Event types as a statement takes them.
pub(crate) struct Types {
    /// Of these; nothing: of any.
    pub only: Option<Vec<String>>,
    /// Of none of these.
    pub except: Vec<String>,
}

impl Series {
    /// The series of events that pass a filter. Nothing: activity does not know them, the events themselves do. True as long
    /// as the snapshot in which it was asked.
    ///
    /// Activity knows one property at a time, so all conditions must be on the same one, which must be promoted and ready.
    /// Which of its values pass is asked of the values themselves, by the jsonpath that events would be asked by.
    pub async fn of(
        connection: &mut PgConnection,
        project_id: ProjectId,
        filter: &Filter,
        apart: Apart<'_>,
    ) -> Result<Option<Self>, StoreError> {
        let values = match Needed::by(filter, apart) {
            Needed::Types => Some([(ALL_VALUES, Label::NONE)].into()),
            Needed::Property(property) => values(connection, project_id, property, filter).await?,
            Needed::Events => None,
        };
        let Condition { only, except, .. } = Condition::of(filter);
        Ok(values.map(|values| Self { only, except, values }))
    }

    /// The series of events that pass a filter, and of those of its types that do not. Nothing: events must be read, or the
    /// filter is of types alone, so that none of these fails.
    pub async fn parted(
        connection: &mut PgConnection,
        project_id: ProjectId,
        filter: &Filter,
    ) -> Result<Option<(Self, Self)>, StoreError> {
        let Needed::Property(property) = Needed::by(filter, Apart::Nothing) else { return Ok(None) };
        let types = Filter { properties: Vec::new(), ..filter.clone() };
        let passing = Self::of(connection, project_id, filter, Apart::Nothing).await?;
        let all = Self::of(connection, project_id, &types, Apart::Values(property)).await?;
        Ok(passing.zip(all).map(|(passing, all)| {
            let mut failing = all;
            failing.values.retain(|value_no, _| !passing.values.contains_key(value_no));
            (passing, failing)
        }))
    }

    /// The fewest rows: whoever is in one of them did something that passes the filter.
    pub(crate) fn together(&self) -> Types {
        if self.only.is_none() && self.except.is_empty() {
            return Types { only: Some(vec![ALL_TYPES.into()]), except: Vec::new() };
        }
        self.of_each_type()
    }

    pub(crate) fn of_each_type(&self) -> Types {
        let mut except = self.except.clone();
        except.push(ALL_TYPES.into());
        Types { only: self.only.clone(), except }
    }

    pub(crate) fn value_nos(&self) -> Vec<i32> {
        self.values.keys().copied().collect()
    }

    /// How a breakdown tells a value.
    pub(crate) fn label(&self, value_no: i32) -> Label {
        self.values.get(&value_no).cloned().unwrap_or(Label::NONE)
    }
}

/// What must be known of events, beside their time, to answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Needed<'a> {
    Types,
    /// And one property, whose name may be promoted.
    Property(&'a Property),
    /// More than activity can know.
    Events,
}

impl<'a> Needed<'a> {
    pub fn by(filter: &'a Filter, apart: Apart<'a>) -> Self {
        let mut properties: BTreeSet<&Property> =
            filter.properties.iter().map(|(property, _)| property).collect();
        if let Apart::Values(property) = apart {
            properties.insert(property);
        }
        let mut properties = properties.into_iter();
        match (properties.next(), properties.next()) {
            (None, _) => Self::Types,
            (Some(property), None) if !property.is_nested() => Self::Property(property),
            _ => Self::Events,
        }
    }
}

/// The values of a property for which the conditions hold; nothing if activity does not know them.
async fn values(
    connection: &mut PgConnection,
    project_id: ProjectId,
    property: &Property,
    filter: &Filter,
) -> Result<Option<BTreeMap<i32, Label>>, StoreError> {
    // One row without a number: it is ready, and no value passes.
    let rows: Vec<(Option<i32>, Option<Vec<String>>)> = sqlx::query_as(
        "select value_no, told_value(properties -> $2)
         from promoted_properties left join lateral (
             select value_no, properties
             from property_values as known, jsonb_build_object(property, value::jsonb) as properties
             where known.project_id = $1 and known.property = $2
               and ($3::text is null or properties @@ $3::text::jsonpath)
         ) as passing on true
         where project_id = $1 and property = $2 and ready_at is not null",
    )
    .persistent(false)
    .bind(project_id.get())
    .bind(property.name())
    .bind(Condition::of(filter).properties)
    .fetch_all(connection)
    .await?;
    let is_ready = !rows.is_empty();
    let values = rows.into_iter().filter_map(|(value_no, told)| Some((value_no?, label(told)))).collect();
    Ok(is_ready.then_some(values))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::filter::Segment;

    #[test]
    fn activity_may_know_one_property_at_a_time() {
        let filter = |segments: &[&str]| {
            Filter::of(segments.iter().map(|text| Segment::parse(text).expect("a segment")))
        };
        let property = |name: &str| Property::parse(name).expect("a property");
        let (x, y) = (property("properties.x"), property("properties.y"));
        let types = filter(&["event_type:a"]);
        assert_eq!(Needed::by(&types, Apart::Nothing), Needed::Types);
        assert_eq!(Needed::by(&types, Apart::EventTypes), Needed::Types);
        assert_eq!(Needed::by(&types, Apart::Values(&x)), Needed::Property(&x));
        let range = filter(&["properties.x:>1", "properties.x:<5", "event_type:a"]);
        assert_eq!(Needed::by(&range, Apart::EventTypes), Needed::Property(&x));
        assert_eq!(Needed::by(&range, Apart::Values(&x)), Needed::Property(&x));
        assert_eq!(Needed::by(&range, Apart::Values(&y)), Needed::Events);
        assert_eq!(
            Needed::by(&filter(&["properties.x:1", "properties.y:1"]), Apart::Nothing),
            Needed::Events
        );
        assert_eq!(Needed::by(&filter(&["properties.x.z:1"]), Apart::Nothing), Needed::Events);
    }
}
