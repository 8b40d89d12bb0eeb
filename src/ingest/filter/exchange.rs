//! One round trip to Redis for many requests: their marks first, so that a check finds what was marked before it.

use std::{collections::HashMap, time::Duration};

use chrono::{TimeDelta, Utc};
use redis::{FromRedisValue, ParsingError, Pipeline, Value};
use uuid::Uuid;

use super::{Ask, Check, Checked, Link, Mark, Verdict, memory};
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
}

/// Marks that share a command: of one project and time bucket.
type Marks = HashMap<(ProjectId, i64), Vec<Uuid>>;
/// Checks that share their commands: of one project under one rate, in one time bucket.
type Checks = HashMap<(ProjectId, Rate, i64), Vec<Check>>;

/// A request some of whose ids were taken before, with what its rate says.
type Doubtful = (Check, Option<Verdict>);

impl Exchange {
    pub(super) fn new(namespace: &str, bucket: Duration) -> Self {
        Self {
            namespace: namespace.to_owned(),
            kept: (2 * bucket).as_secs().cast_signed(),
            window: TimeDelta::from_std(bucket).unwrap_or(TimeDelta::MAX),
        }
    }

    /// Marks, and answers the checks if Redis does.
    pub(super) async fn run(&self, link: &Link, asks: Vec<Ask>) {
        let (marks, checks) = sorted(asks);
        let now = Utc::now();
        let memory = memory::key(&self.namespace);
        let mut pipeline = redis::pipe();
        memory::ask(&mut pipeline, &memory);
        for ((project_id, bucket), ids) in marks {
            let key = self.seen(project_id, bucket);
            add_ids(&mut pipeline, "SADD", &key, &ids);
            pipeline.ignore().expire(&key, self.kept).ignore();
        }
        for (&(project_id, rate, bucket), checks) in &checks {
            let key = format!("{}:rate:{project_id}", self.namespace);
            shared::ask(&mut pipeline, &key, rate, checks.iter().map(|check| check.charge.events));
            let with_ids = || checks.iter().filter(|check| !check.ids.is_empty());
            let key = self.taken(project_id, bucket);
            for check in with_ids() {
                add_ids(&mut pipeline, "SADD", &key, &check.ids);
            }
            if with_ids().next().is_some() {
                pipeline.expire(&key, self.kept).ignore();
                let ids = with_ids().flat_map(|check| &check.ids);
                add_ids(&mut pipeline, "SMISMEMBER", &self.taken(project_id, bucket - 1), ids);
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
        let mut doubtful = Vec::new();
        for ((_, rate, _), checks) in checks {
            match answer(rate, first, checks, &mut values) {
                Ok(others) => doubtful.extend(others),
                Err(_) => return,
            }
        }
        self.resolve(link, doubtful).await;
    }

    /// Answers those some of whose ids were taken before: which of them are durable?
    async fn resolve(&self, link: &Link, doubtful: Vec<Doubtful>) {
        if doubtful.is_empty() {
            return;
        }
        let mut pipeline = redis::pipe();
        for (Check { charge, ids, bucket, .. }, _) in &doubtful {
            for bucket in [*bucket, bucket - 1] {
                add_ids(&mut pipeline, "SMISMEMBER", &self.seen(charge.project_id, bucket), ids);
            }
        }
        let Some(values) = link.run::<Vec<Vec<bool>>>(&pipeline).await else { return };
        for ((check, verdict), seen) in doubtful.into_iter().zip(values.chunks_exact(2)) {
            let known = seen[0].iter().zip(&seen[1]).map(|(current, previous)| *current || *previous);
            let checked = Checked { verdict, known: known.collect(), copies: Copies::Beside };
            check.answer.send(checked).ok(); // whoever is gone needs no answer
        }
    }

    /// The ids of events that are durable.
    fn seen(&self, project_id: ProjectId, bucket: i64) -> String {
        format!("{}:seen:{project_id}:{bucket}", self.namespace)
    }

    /// The ids that a request has had, whatever became of it.
    fn taken(&self, project_id: ProjectId, bucket: i64) -> String {
        format!("{}:taken:{project_id}:{bucket}", self.namespace)
    }
}

fn sorted(asks: Vec<Ask>) -> (Marks, Checks) {
    let (mut marks, mut checks) = (Marks::new(), Checks::new());
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

fn add_ids<'i>(pipeline: &mut Pipeline, command: &str, key: &str, ids: impl IntoIterator<Item = &'i Uuid>) {
    let command = pipeline.cmd(command).arg(key);
    for id in ids {
        command.arg(id.as_bytes());
    }
}

/// Hands out what Redis has answered to checks that share their commands; what it has not settled. A request is the `first`
/// that has its ids if all of them were new.
fn answer(
    rate: Rate,
    first: Copies,
    checks: Vec<Check>,
    values: &mut impl Iterator<Item = Value>,
) -> Result<Vec<Doubtful>, ParsingError> {
    let mut buckets = next::<Vec<shared::Answer>>(values)?.into_iter();
    let new: Vec<usize> = checks
        .iter()
        .map(|check| if check.ids.is_empty() { Ok(0) } else { next(values) })
        .collect::<Result<_, _>>()?;
    let has_ids = checks.iter().any(|check| !check.ids.is_empty());
    let mut earlier = if has_ids { next::<Vec<bool>>(values)? } else { Vec::new() }.into_iter();
    let mut doubtful = Vec::new();
    for (check, new) in checks.into_iter().zip(new) {
        let verdict = buckets.next().map(|bucket| shared::verdict(rate, bucket));
        // All of them: the next check's come behind.
        let taken_earlier = earlier.by_ref().take(check.ids.len()).filter(|taken| *taken).count();
        if new == check.ids.len() && taken_earlier == 0 {
            let checked = Checked { verdict, known: Vec::new(), copies: first };
            check.answer.send(checked).ok(); // whoever is gone needs no answer
        } else {
            doubtful.push((check, verdict));
        }
    }
    Ok(doubtful)
}

pub(super) fn next<T: FromRedisValue>(values: &mut impl Iterator<Item = Value>) -> Result<T, ParsingError> {
    redis::from_redis_value(values.next().unwrap_or(Value::Nil))
}
