//! One round trip to Redis for many requests: their marks first, so that a check finds what was marked before it.

use std::{collections::HashMap, time::Duration};

use chrono::{TimeDelta, Utc};
use redis::{FromRedisValue, ParsingError, Pipeline, Value};
use uuid::Uuid;

use super::{Ask, Check, Checked, Link, Mark, memory};
use crate::{
    event::Copies,
    ingest::rate::{Rate, shared},
    project::ProjectId,
};

/// What is asked of Redis, and under which names.
pub(super) struct Exchange {
    namespace: String,
    /// A set is forgotten after so many seconds.
    kept: i64,
    window: TimeDelta,
    /// Ids that a check has taken although they were durable already.
    taken_again: Ids,
}

/// Ids that share a command: of one project and time bucket.
type Ids = HashMap<(ProjectId, i64), Vec<Uuid>>;
/// Checks that share their commands: of one project under one rate, in one time bucket.
type Checks = HashMap<(ProjectId, Rate, i64), Vec<Check>>;

impl Exchange {
    pub(super) fn new(namespace: &str, bucket: Duration) -> Self {
        Self {
            namespace: namespace.to_owned(),
            kept: (2 * bucket).as_secs().cast_signed(),
            window: TimeDelta::from_std(bucket).unwrap_or(TimeDelta::MAX),
            taken_again: Ids::new(),
        }
    }

    /// Marks, and answers the checks if Redis does.
    pub(super) async fn run(&mut self, link: &Link, asks: Vec<Ask>) {
        let (marks, checks) = sorted(asks);
        let now = Utc::now();
        let memory = memory::key(&self.namespace);
        let mut pipeline = redis::pipe();
        memory::ask(&mut pipeline, &memory);
        for ((project_id, bucket), ids) in marks {
            let key = self.seen(project_id, bucket);
            with_ids(&mut pipeline, "SADD", &key, &ids);
            pipeline.ignore().expire(&key, self.kept).ignore();
            // Only now: at each moment an id is in one of the two sets.
            with_ids(&mut pipeline, "SREM", &self.taken(project_id, bucket), &ids);
            pipeline.ignore();
        }
        for ((project_id, bucket), ids) in std::mem::take(&mut self.taken_again) {
            with_ids(&mut pipeline, "SREM", &self.taken(project_id, bucket), &ids);
            pipeline.ignore();
        }
        for (&(project_id, rate, bucket), checks) in &checks {
            let key = format!("{}:rate:{project_id}", self.namespace);
            shared::ask(&mut pipeline, &key, rate, checks.iter().map(|check| check.charge.events));
            let having_ids = || checks.iter().filter(|check| !check.ids.is_empty());
            if having_ids().next().is_none() {
                continue;
            }
            // First: what is durable by then has left this set only when it was in the other.
            let taken = self.taken(project_id, bucket);
            for check in having_ids() {
                with_ids(&mut pipeline, "SADD", &taken, &check.ids);
            }
            pipeline.expire(&taken, self.kept).ignore();
            let earlier = bucket - 1;
            let [taken, seen, seen_earlier] = [
                self.taken(project_id, earlier),
                self.seen(project_id, bucket),
                self.seen(project_id, earlier),
            ];
            for key in [taken, seen, seen_earlier] {
                let ids = having_ids().flat_map(|check| &check.ids);
                with_ids(&mut pipeline, "SMISMEMBER", &key, ids);
            }
        }
        let Some(values) = link.run::<Vec<Value>>(&pipeline).await else { return };
        let mut values = values.into_iter();
        // What Redis answers otherwise is no answer: who asks sees that.
        let Ok(since) = memory::read(&mut values) else { return };
        if since.is_none() {
            let mut pipeline = redis::pipe();
            memory::begin(&mut pipeline, &memory, now);
            link.run::<()>(&pipeline).await;
        }
        let first = if memory::reaches(since, self.window, now) { Copies::None } else { Copies::Before };
        for (of, checks) in checks {
            let Ok(answers) = read(of.1, first, &checks, &mut values) else { return };
            for (check, checked) in checks.into_iter().zip(answers) {
                let again = check.ids.into_iter().zip(&checked.known).filter(|(_, known)| **known);
                self.taken_again.entry((of.0, of.2)).or_default().extend(again.map(|(id, _)| id));
                check.answer.send(checked).ok(); // whoever is gone needs no answer
            }
        }
        self.taken_again.retain(|_, ids| !ids.is_empty());
    }

    /// The ids of events that are durable.
    fn seen(&self, project_id: ProjectId, bucket: i64) -> String {
        format!("{}:seen:{project_id}:{bucket}", self.namespace)
    }

    /// The ids that a request has had of which it is not known that they are durable.
    fn taken(&self, project_id: ProjectId, bucket: i64) -> String {
        format!("{}:taken:{project_id}:{bucket}", self.namespace)
    }
}

fn sorted(asks: Vec<Ask>) -> (Ids, Checks) {
    let (mut marks, mut checks) = (Ids::new(), Checks::new());
    for ask in asks {
        match ask {
            Ask::Mark(Mark { project_id, ids, bucket }) => {
                marks.entry((project_id, bucket)).or_default().extend(ids);
            }
            Ask::Check(check) => {
                let of = (check.charge.project_id, check.charge.rate, check.bucket);
                checks.entry(of).or_default().push(check);
            }
        }
    }
    (marks, checks)
}

fn with_ids<'i>(pipeline: &mut Pipeline, command: &str, key: &str, ids: impl IntoIterator<Item = &'i Uuid>) {
    let command = pipeline.cmd(command).arg(key);
    for id in ids {
        command.arg(id.as_bytes());
    }
}

/// What Redis has answered to checks that share their commands. A request is the `first` that has its ids if nobody had
/// taken one of them.
fn read(
    rate: Rate,
    first: Copies,
    checks: &[Check],
    values: &mut impl Iterator<Item = Value>,
) -> Result<Vec<Checked>, ParsingError> {
    let mut buckets = next::<Vec<shared::Answer>>(values)?.into_iter();
    let newly_taken: Vec<usize> = checks
        .iter()
        .map(|check| if check.ids.is_empty() { Ok(0) } else { next(values) })
        .collect::<Result<_, _>>()?;
    let (taken, seen, seen_earlier): (Vec<bool>, Vec<bool>, Vec<bool>) =
        if checks.iter().all(|check| check.ids.is_empty()) {
            Default::default()
        } else {
            (next(values)?, next(values)?, next(values)?)
        };
    let mut at = 0;
    let checked = checks.iter().zip(newly_taken).map(|(check, newly_taken)| {
        let here = at..at + check.ids.len();
        at = here.end;
        let is_first = newly_taken == here.len() && !taken[here.clone()].contains(&true);
        let known: Vec<bool> = seen[here.clone()]
            .iter()
            .zip(&seen_earlier[here])
            .map(|(now, earlier)| *now || *earlier)
            .collect();
        Checked {
            verdict: buckets.next().map(|bucket| shared::verdict(rate, bucket)),
            known: if known.contains(&true) { known } else { Vec::new() },
            copies: if is_first { first } else { Copies::Beside },
        }
    });
    Ok(checked.collect())
}

pub(super) fn next<T: FromRedisValue>(values: &mut impl Iterator<Item = Value>) -> Result<T, ParsingError> {
    redis::from_redis_value(values.next().unwrap_or(Value::Nil))
}
