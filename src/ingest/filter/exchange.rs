//! One round trip to Redis for many requests: their marks first, so that a check finds what was marked before it.

use std::{collections::HashMap, time::Duration};

use redis::{FromRedisValue, ParsingError, Pipeline, Value};
use uuid::Uuid;

use super::{Ask, Check, Checked, Link, Mark};
use crate::{
    ingest::rate::{Rate, shared},
    project::ProjectId,
};

/// What is asked of Redis, and under which names.
pub(super) struct Exchange {
    namespace: String,
    /// A set is forgotten after so many seconds.
    kept: i64,
}

/// Marks that share a command: of one project and time bucket.
type Marks = HashMap<(ProjectId, i64), Vec<Uuid>>;
/// Checks that share their commands: of one project under one rate, in one time bucket.
type Checks = HashMap<(ProjectId, Rate, i64), Vec<Check>>;

impl Exchange {
    pub(super) fn new(namespace: &str, bucket: Duration) -> Self {
        Self { namespace: namespace.to_owned(), kept: (2 * bucket).as_secs().cast_signed() }
    }

    /// Marks, and answers the checks if Redis does.
    pub(super) async fn run(&self, link: &Link, asks: Vec<Ask>) {
        let (marks, checks) = sorted(asks);
        let mut pipeline = redis::pipe();
        for ((project_id, bucket), ids) in marks {
            let key = self.seen(project_id, bucket);
            with_ids(&mut pipeline, "SADD", &key, &ids);
            pipeline.ignore().expire(&key, self.kept).ignore();
        }
        for (&(project_id, rate, bucket), checks) in &checks {
            let key = format!("{}:rate:{project_id}", self.namespace);
            shared::ask(&mut pipeline, &key, rate, checks.iter().map(|check| check.charge.events));
            if has_ids(checks) {
                for bucket in [bucket, bucket - 1] {
                    let ids = checks.iter().flat_map(|check| &check.ids);
                    with_ids(&mut pipeline, "SMISMEMBER", &self.seen(project_id, bucket), ids);
                }
            }
        }
        let Some(values) = link.run::<Vec<Value>>(&pipeline).await else { return };
        let mut values = values.into_iter();
        for ((_, rate, _), checks) in checks {
            // What Redis answers otherwise is no answer: who asks sees that.
            if answer(rate, checks, &mut values).is_err() {
                return;
            }
        }
    }

    fn seen(&self, project_id: ProjectId, bucket: i64) -> String {
        format!("{}:seen:{project_id}:{bucket}", self.namespace)
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

fn has_ids(checks: &[Check]) -> bool {
    checks.iter().any(|check| !check.ids.is_empty())
}

fn with_ids<'i>(pipeline: &mut Pipeline, command: &str, key: &str, ids: impl IntoIterator<Item = &'i Uuid>) {
    let command = pipeline.cmd(command).arg(key);
    for id in ids {
        command.arg(id.as_bytes());
    }
}

/// Hands out what Redis has answered to checks that share their commands.
fn answer(
    rate: Rate,
    checks: Vec<Check>,
    values: &mut impl Iterator<Item = Value>,
) -> Result<(), ParsingError> {
    let buckets: Vec<shared::Answer> = next(values)?;
    let (current, previous): (Vec<bool>, Vec<bool>) =
        if has_ids(&checks) { (next(values)?, next(values)?) } else { Default::default() };
    let mut known = current.into_iter().zip(previous).map(|(current, previous)| current || previous);
    let mut buckets = buckets.into_iter();
    for Check { ids, answer, .. } in checks {
        let known = known.by_ref().take(ids.len()).collect();
        let verdict = buckets.next().map(|bucket| shared::verdict(rate, bucket));
        answer.send(Checked { verdict, known }).ok(); // whoever is gone needs no answer
    }
    Ok(())
}

fn next<T: FromRedisValue>(values: &mut impl Iterator<Item = Value>) -> Result<T, ParsingError> {
    redis::from_redis_value(values.next().unwrap_or(Value::Nil))
}
