//! One round trip to Redis for many requests: their marks first, so that a check finds what was marked before it.

use std::{collections::HashMap, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use redis::{FromRedisValue, ParsingError, Pipeline, Value};
use uuid::Uuid;

use super::{
    Ask, Check, Checked, Link, Mark, Verdict,
    memory::{self, Found, Memory},
};
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
    /// Under whose names ids are remembered, as far as is known.
    memory: Option<Memory>,
}

/// Ids that share a command: of one project and time bucket.
type Ids = HashMap<(ProjectId, i64), Vec<Uuid>>;
/// Checks that share their commands: of one project under one rate, in one time bucket.
type Checks = HashMap<(ProjectId, Rate, i64), Vec<Check>>;

/// What went to Redis.
pub(super) struct Sent {
    /// Under whose names; nothing: only the memory was asked for.
    memory: Option<Memory>,
    asked_at: DateTime<Utc>,
    checks: Checks,
}

impl Exchange {
    pub(super) fn new(namespace: &str, bucket: Duration) -> Self {
        Self {
            namespace: namespace.to_owned(),
            kept: (2 * bucket).as_secs().cast_signed(),
            window: TimeDelta::from_std(bucket).unwrap_or(TimeDelta::MAX),
            taken_again: Ids::new(),
            memory: None,
        }
    }

    /// What goes to Redis for some asks. The answer is for [`Exchange::finish`].
    pub(super) fn begin(&mut self, asks: Vec<Ask>) -> (Pipeline, Sent) {
        let (marks, checks) = sorted(asks);
        self.pipeline(&marks, checks)
    }

    fn pipeline(&mut self, marks: &Ids, checks: Checks) -> (Pipeline, Sent) {
        let mut pipeline = redis::pipe();
        memory::ask(&mut pipeline, &memory::key(&self.namespace));
        let memory = self.memory.clone();
        if let Some(memory) = &memory {
            self.ask(&mut pipeline, memory, marks, &checks);
            self.taken_again.clear();
        }
        (pipeline, Sent { memory, asked_at: Utc::now(), checks })
    }

    /// Answers the checks by what Redis has answered; or says what must be sent again, because Redis had another memory than was
    /// known. Those who ask see that there is no answer when theirs is dropped.
    pub(super) async fn finish(
        &mut self,
        link: &Link,
        sent: Sent,
        values: Option<Vec<Value>>,
    ) -> Option<(Pipeline, Sent)> {
        let Sent { memory, asked_at, checks } = sent;
        let mut values = values?.into_iter();
        let found = memory::read(&mut values).ok()?;
        match memory {
            Some(memory) if found.memory.as_ref().is_some_and(|found| found.name == memory.name) => {
                self.memory = found.memory;
                self.answer(link, &memory, checks, asked_at, &mut values).await.ok()?;
                None
            }
            // It is another one, whose sets have other names.
            _ => {
                self.memory = match found.memory {
                    Some(memory) => Some(memory),
                    None => begin(link, &memory::key(&self.namespace), &found, asked_at).await,
                };
                // Marks are not for it: what they say may be what is lost.
                self.memory.is_some().then(|| self.pipeline(&Ids::new(), checks))
            }
        }
    }

    /// Adds marks and checks to a pipeline.
    fn ask(&self, pipeline: &mut Pipeline, memory: &Memory, marks: &Ids, checks: &Checks) {
        for (&(project_id, bucket), ids) in marks {
            let key = self.seen(memory, project_id, bucket);
            with_ids(pipeline, "SADD", &key, ids);
            pipeline.ignore().expire(&key, self.kept).ignore();
            // Only now: at each moment an id is in one of the two sets.
            with_ids(pipeline, "SREM", &self.taken(memory, project_id, bucket), ids);
            pipeline.ignore();
        }
        for (&(project_id, bucket), ids) in &self.taken_again {
            with_ids(pipeline, "SREM", &self.taken(memory, project_id, bucket), ids);
            pipeline.ignore();
        }
        for (&(project_id, rate, bucket), checks) in checks {
            let key = format!("{}:rate:{project_id}", self.namespace);
            shared::ask(pipeline, &key, rate, checks.iter().map(|check| check.charge.events));
            if all_ids(checks).next().is_none() {
                continue;
            }
            // First: what is durable by then has left this set only when it was in the other.
            let taken = self.taken(memory, project_id, bucket);
            for check in checks.iter().filter(|check| !check.ids.is_empty()) {
                with_ids(pipeline, "SADD", &taken, &check.ids);
            }
            pipeline.expire(&taken, self.kept).ignore();
            // There is hardly ever anything in it.
            pipeline.scard(self.taken(memory, project_id, bucket - 1));
            for bucket in [bucket, bucket - 1] {
                let seen = self.seen(memory, project_id, bucket);
                with_ids(pipeline, "SMISMEMBER", &seen, all_ids(checks));
            }
        }
    }

    /// Hands out what Redis has answered.
    async fn answer(
        &mut self,
        link: &Link,
        memory: &Memory,
        checks: Checks,
        now: DateTime<Utc>,
        values: &mut impl Iterator<Item = Value>,
    ) -> Result<(), ParsingError> {
        let first = if memory.reaches(self.window, now) { Copies::None } else { Copies::Before };
        for ((project_id, rate, bucket), checks) in checks {
            let Answered { verdicts, newly_taken, taken_earlier, known } = read(rate, &checks, values)?;
            let mut taken = Vec::new();
            if taken_earlier > 0 {
                let mut pipeline = redis::pipe();
                let key = self.taken(memory, project_id, bucket - 1);
                with_ids(&mut pipeline, "SMISMEMBER", &key, all_ids(&checks));
                match link.run::<(Vec<bool>,)>(&pipeline).await {
                    Some((earlier,)) => taken = earlier,
                    None => return Ok(()),
                }
            }
            let (mut taken, mut known) = (taken.into_iter(), known.into_iter());
            for ((check, verdict), newly_taken) in checks.into_iter().zip(verdicts).zip(newly_taken) {
                let count = check.ids.len();
                let was_taken =
                    newly_taken < count || taken.by_ref().take(count).filter(|taken| *taken).count() > 0;
                let known: Vec<bool> = known.by_ref().take(count).collect();
                let again: Vec<Uuid> = check
                    .ids
                    .into_iter()
                    .zip(&known)
                    .filter(|(_, known)| **known)
                    .map(|(id, _)| id)
                    .collect();
                let checked = Checked {
                    verdict,
                    known: if again.is_empty() { Vec::new() } else { known },
                    copies: if was_taken { Copies::Beside } else { first },
                };
                if !again.is_empty() {
                    self.taken_again.entry((project_id, bucket)).or_default().extend(again);
                }
                check.answer.send(checked).ok(); // whoever is gone needs no answer
            }
        }
        Ok(())
    }

    /// The ids of events that are durable.
    fn seen(&self, memory: &Memory, project_id: ProjectId, bucket: i64) -> String {
        format!("{}:seen:{}:{project_id}:{bucket}", self.namespace, memory.name)
    }

    /// The ids that a request has had of which it is not known that they are durable.
    fn taken(&self, memory: &Memory, project_id: ProjectId, bucket: i64) -> String {
        format!("{}:taken:{}:{project_id}:{bucket}", self.namespace, memory.name)
    }
}

/// Begins a memory, or learns which another instance has begun.
async fn begin(link: &Link, key: &str, found: &Found, now: DateTime<Utc>) -> Option<Memory> {
    let mut pipeline = redis::pipe();
    memory::begin(&mut pipeline, key, found, now);
    let (text,): (String,) = link.run(&pipeline).await?;
    memory::replaced(&text)
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

/// What Redis has answered to checks that share their commands.
struct Answered {
    /// Of each check; nothing if Redis takes no writes.
    verdicts: Vec<Option<Verdict>>,
    /// Of each check, how many of its ids nobody had taken.
    newly_taken: Vec<usize>,
    /// Ids that were taken in the bucket before and are not durable, of whatever request.
    taken_earlier: usize,
    /// Of each id of all checks, whether it is durable.
    known: Vec<bool>,
}

fn read(
    rate: Rate,
    checks: &[Check],
    values: &mut impl Iterator<Item = Value>,
) -> Result<Answered, ParsingError> {
    let mut buckets = next::<Vec<shared::Answer>>(values)?.into_iter();
    let verdicts =
        checks.iter().map(|_| buckets.next().map(|bucket| shared::verdict(rate, bucket))).collect();
    if all_ids(checks).next().is_none() {
        let newly_taken = vec![0; checks.len()];
        return Ok(Answered { verdicts, newly_taken, taken_earlier: 0, known: Vec::new() });
    }
    let newly_taken = checks
        .iter()
        .map(|check| if check.ids.is_empty() { Ok(0) } else { next(values) })
        .collect::<Result<_, _>>()?;
    let taken_earlier = next(values)?;
    let mut known: Vec<bool> = next(values)?;
    for (known, earlier) in known.iter_mut().zip(next::<Vec<bool>>(values)?) {
        *known |= earlier;
    }
    Ok(Answered { verdicts, newly_taken, taken_earlier, known })
}

fn all_ids(checks: &[Check]) -> impl Iterator<Item = &Uuid> {
    checks.iter().flat_map(|check| &check.ids)
}

pub(super) fn next<T: FromRedisValue>(values: &mut impl Iterator<Item = Value>) -> Result<T, ParsingError> {
    redis::from_redis_value(values.next().unwrap_or(Value::Nil))
}
