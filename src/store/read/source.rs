//! Where the events of a query are read from: the rows of activity that know the answer, or the events themselves.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::condition::Condition;
use crate::store::StoreError;
use crate::{
    model::project::{Project, ProjectId},
    stats::{
        filter::{Filter, Property},
        label::{Breakdown, Label},
    },
};

/// The event type of rows that are of all types together. No event has it.
pub(crate) const ALL_TYPES: &str = "";
/// The number of rows that are of all values together. No value has it.
pub(crate) const ALL_VALUES: i32 = 0;

/// What a part of a query must know of events.
#[derive(Clone, Copy, Debug)]
pub struct QueryPart<'a> {
    pub filter: &'a Filter,
    pub breakdown: Option<&'a Breakdown>,
}

/// Where a part is read from. True as long as the snapshot in which it was looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    Activity(ActivityRows),
    /// Activity does not know the answer.
    Events,
}

/// The rows of activity that count a part, and nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActivityRows {
    only: Option<Vec<String>>,
    except: Vec<String>,
    /// By number: how a breakdown shows the value.
    values: BTreeMap<i32, Label>,
}

/// The events that a reader is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Selection<'a> {
    pub project: &'a Project,
    pub filter: &'a Filter,
    pub source: &'a Source,
    /// Only those before; nothing: all that are stored.
    pub until: Option<DateTime<Utc>>,
}

/// What must be known of events, beside their time, to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Needed<'a> {
    Types,
    /// And one property, whose name may be promoted.
    Property(&'a Property),
    /// More than activity can know.
    Events,
}

impl<'a> QueryPart<'a> {
    /// All events that pass the filter together.
    pub const fn of(filter: &'a Filter) -> Self {
        Self { filter, breakdown: None }
    }

    /// Whether the events must be read, whatever is promoted.
    pub fn needs_events(self) -> bool {
        self.needed() == Needed::Events
    }

    fn needed(self) -> Needed<'a> {
        let mut properties: BTreeSet<&Property> =
            self.filter.properties.iter().map(|(name, _)| name).collect();
        properties.extend(self.breakdown.and_then(Breakdown::property));
        let mut properties = properties.into_iter();
        match (properties.next(), properties.next()) {
            (None, _) => Needed::Types,
            (Some(property), None) if !property.is_nested() => Needed::Property(property),
            _ => Needed::Events,
        }
    }

    fn rows(self, values: BTreeMap<i32, Label>) -> ActivityRows {
        let Condition { only, except, .. } = Condition::of(self.filter);
        ActivityRows { only, except, values }
    }
}

impl ActivityRows {
    /// Those of the same types whose values are not in `other`.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        let values = self.values.iter().filter(|(value_no, _)| !other.values.contains_key(value_no));
        Self { values: values.map(|(value_no, label)| (*value_no, label.clone())).collect(), ..self.clone() }
    }

    /// The fewest rows: whoever is in one of them did something that passes the filter.
    pub(crate) fn together(&self) -> Condition {
        if self.only.is_none() && self.except.is_empty() {
            return Condition { only: Some(vec![ALL_TYPES.into()]), ..Condition::default() };
        }
        self.of_each_type()
    }

    pub(crate) fn of_each_type(&self) -> Condition {
        let mut except = self.except.clone();
        except.push(ALL_TYPES.into());
        Condition { only: self.only.clone(), except, properties: None }
    }

    pub(crate) fn value_nos(&self) -> Vec<i32> {
        self.values.keys().copied().collect()
    }

    /// How a breakdown shows a value.
    pub(crate) fn label(&self, value_no: i32) -> Label {
        self.values.get(&value_no).cloned().unwrap_or(Label::NONE)
    }
}

/// Where parts are read from, in at most one statement.
///
/// Activity knows one property at a time, so all that a part must know is of the same one, which must be promoted and ready.
/// Which of its values pass is asked of the values themselves, by the jsonpath that events would be asked by.
pub async fn sources<const N: usize>(
    connection: &mut PgConnection,
    project_id: ProjectId,
    parts: [QueryPart<'_>; N],
) -> Result<[Source; N], StoreError> {
    let wanted = parts.map(|part| match part.needed() {
        Needed::Property(property) => {
            Some(WantedValues { property: property.name(), path: Condition::of(part.filter).properties })
        }
        Needed::Types | Needed::Events => None,
    });
    let mut unique: Vec<&WantedValues> = Vec::new();
    for wanted in wanted.iter().flatten() {
        if !unique.contains(&wanted) {
            unique.push(wanted);
        }
    }
    let known = passing_values(connection, project_id, &unique).await?;
    let mut wanted = wanted.iter();
    Ok(parts.map(|part| {
        let wanted = wanted.next().and_then(Option::as_ref);
        let values = match part.needed() {
            Needed::Types => Some([(ALL_VALUES, Label::NONE)].into()),
            Needed::Property(_) => {
                let index = unique.iter().position(|known| Some(*known) == wanted);
                index.and_then(|index| known.get(&index).cloned())
            }
            Needed::Events => None,
        };
        values.map_or(Source::Events, |values| Source::Activity(part.rows(values)))
    }))
}

/// The values of a property that pass a condition.
#[derive(Debug, PartialEq, Eq)]
struct WantedValues<'a> {
    property: &'a str,
    /// A jsonpath; nothing: all values.
    path: Option<String>,
}

#[derive(sqlx::FromRow)]
struct PassingValue {
    index: i64,
    /// Nothing: activity knows the property, and none of its values passes.
    value_no: Option<i32>,
    shown: Option<Vec<String>>,
}

/// By index of what is wanted, if activity knows it: the values that pass.
async fn passing_values(
    connection: &mut PgConnection,
    project_id: ProjectId,
    wanted: &[&WantedValues<'_>],
) -> Result<BTreeMap<usize, BTreeMap<i32, Label>>, StoreError> {
    if wanted.is_empty() {
        return Ok(BTreeMap::new());
    }
    let properties: Vec<&str> = wanted.iter().map(|wanted| wanted.property).collect();
    let paths: Vec<Option<&str>> = wanted.iter().map(|wanted| wanted.path.as_deref()).collect();
    let rows: Vec<PassingValue> = sqlx::query_as(
        "select index, value_no, told_value(properties -> wanted.property) as shown
         from unnest($2::text[], $3::text[]::jsonpath[]) with ordinality as wanted (property, path, index)
              join promoted_properties as promoted
                  on promoted.project_id = $1 and promoted.property = wanted.property and ready_at is not null
              left join lateral (
                  select value_no, properties
                  from property_values as known, jsonb_build_object(known.property, value::jsonb) as properties
                  where known.project_id = $1 and known.property = wanted.property
                    and (path is null or properties @@ path)
              ) as passing on true",
    )
    .persistent(false)
    .bind(project_id.get())
    .bind(properties)
    .bind(paths)
    .fetch_all(connection)
    .await?;
    let mut known: BTreeMap<usize, BTreeMap<i32, Label>> = BTreeMap::new();
    for PassingValue { index, value_no, shown } in rows {
        let values = known.entry(usize::try_from(index - 1).unwrap_or(0)).or_default();
        values.extend(value_no.map(|value_no| (value_no, label(shown))));
    }
    Ok(known)
}

/// From what `told_value` gives.
pub(crate) fn label(shown: Option<Vec<String>>) -> Label {
    match shown.map(|shown| shown.into_iter().next()) {
        None => Label::NONE,
        Some(Some(value)) => Label::Value(Some(value)),
        Some(None) => Label::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::filter::Segment;

    fn needed<'a>(filter: &'a Filter, breakdown: Option<&'a Breakdown>) -> Needed<'a> {
        QueryPart { filter, breakdown }.needed()
    }

    #[test]
    fn activity_may_know_one_property_at_a_time() {
        let filter = |segments: &[&str]| {
            Filter::of(segments.iter().map(|text| Segment::parse(text).expect("a segment")))
        };
        let property = |name: &str| Property::parse(name).expect("a property");
        let (x, y) = (property("properties.x"), property("properties.y"));
        let (by_x, by_y) = (Breakdown::Property(x.clone()), Breakdown::Property(y));
        let types = filter(&["event_type:a"]);
        assert_eq!(needed(&types, None), Needed::Types);
        assert_eq!(needed(&types, Some(&Breakdown::EventType)), Needed::Types);
        assert_eq!(needed(&types, Some(&by_x)), Needed::Property(&x));
        let range = filter(&["properties.x:>1", "properties.x:<5", "event_type:a"]);
        assert_eq!(needed(&range, Some(&Breakdown::EventType)), Needed::Property(&x));
        assert_eq!(needed(&range, Some(&by_x)), Needed::Property(&x));
        assert_eq!(needed(&range, Some(&by_y)), Needed::Events);
        for segments in [&["properties.x:1", "properties.y:1"][..], &["properties.x.z:1"]] {
            assert_eq!(needed(&filter(segments), None), Needed::Events, "{segments:?}");
        }
    }

    #[test]
    fn values_that_fail_are_those_that_do_not_pass() {
        let rows = |values: &[i32]| ActivityRows {
            only: None,
            except: vec!["a".into()],
            values: values.iter().map(|value_no| (*value_no, Label::NONE)).collect(),
        };
        assert_eq!(rows(&[1, 2, 3]).without(&rows(&[2, 4])), rows(&[1, 3]));
    }
}
