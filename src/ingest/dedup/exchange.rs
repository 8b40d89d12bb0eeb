//! One round trip to Redis for many requests: their marks first, so that a check finds what was marked before it.

use std::{collections::HashMap, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use redis::{ParsingError, Pipeline, Value};
use uuid::Uuid;

use super::{
    Ask, Check, CheckReply, Mark, RedisLink, Verdict,
    memory::{self, Found, RedisMemory},
    reply::next,
    reservations::{self, Fate, Instance, OwnRequests, Release, Reserved},
};
use crate::{
    limits::rate::{Rate, shared},
    model::{event::Copies, project::ProjectId},
};

/// What is asked of Redis, and under which names.
pub(crate) struct Exchange {
    namespace: String,
    /// A set is forgotten after so many seconds.
    kept: i64,
    window: TimeDelta,
    instance: Instance,
    own: OwnRequests,
    /// Requests that ended, nobody knows how, and of which Redis must still hear: their ids are in doubt from then on.
    orphans: Vec<Release>,
    /// Under whose names ids are remembered, as far as is known.
    memory: Option<RedisMemory>,
}

/// Ids that share a command: of one project and time bucket.
type Ids = HashMap<(ProjectId, i64), Vec<Uuid>>;
/// Checks that share their commands: of one project under one rate, in one time bucket.
type GroupedChecks = HashMap<(ProjectId, Rate, i64), Vec<Check>>;

/// What went to Redis.
pub(crate) struct InFlight {
    /// Under whose names; nothing: only the memory was asked for.
    memory: Option<RedisMemory>,
    asked_at: DateTime<Utc>,
    releases: Vec<Release>,
    checks: GroupedChecks,
}

impl Exchange {
    pub(crate) fn new(namespace: &str, bucket: Duration, instance: Instance) -> Self {
        Self {
            namespace: namespace.to_owned(),
            kept: (2 * bucket).as_secs().cast_signed(),
            window: TimeDelta::from_std(bucket).unwrap_or(TimeDelta::MAX),
            instance,
            own: OwnRequests::default(),
            orphans: Vec::new(),
            memory: None,
        }
    }

    /// What goes to Redis for some asks. The answer is for [`Exchange::finish`].
    pub(crate) fn begin(&mut self, asks: Vec<Ask>) -> (Pipeline, InFlight) {
        let (marks, mut releases, checks) = sorted(asks);
        releases.append(&mut self.orphans);
        self.pipeline(&marks, releases, checks)
    }

    fn pipeline(
        &mut self,
        marks: &Ids,
        releases: Vec<Release>,
        mut checks: GroupedChecks,
    ) -> (Pipeline, InFlight) {
        forget_gone(&mut checks);
        let mut pipeline = redis::pipe();
        // A Redis that is full would refuse to note an id in its new place, and yet forget it in the old one.
        pipeline.atomic();
        memory::ask(&mut pipeline, &memory::key(&self.namespace));
        let memory = self.memory.clone();
        if let Some(memory) = &memory {
            self.add_ends(&mut pipeline, memory, marks, &releases);
            self.add_checks(&mut pipeline, memory, &checks);
        }
        (pipeline, InFlight { memory, asked_at: Utc::now(), releases, checks })
    }

    /// Answers the checks by what Redis has answered; or says what must be sent again, because Redis had another memory than was
    /// known. Those who ask see that there is no answer when theirs is dropped.
    pub(crate) async fn finish(
        &mut self,
        link: &RedisLink,
        in_flight: InFlight,
        values: Option<Vec<Value>>,
    ) -> Option<(Pipeline, InFlight)> {
        let InFlight { memory, asked_at, releases, checks } = in_flight;
        let answer = values.map(Vec::into_iter).and_then(|mut values| {
            let found = memory::read(&mut values).ok()?;
            Some((found, values))
        });
        let Some((found, mut values)) = answer else {
            // Redis may have heard of them, or not.
            self.orphans.extend(releases.into_iter().map(Release::again));
            return None;
        };
        match memory {
            Some(memory) if found.memory.as_ref().is_some_and(|found| found.name == memory.name) => {
                self.memory = found.memory;
                for release in &releases {
                    self.own.end(release);
                }
                self.answer(&memory, checks, asked_at, &mut values).ok()?;
                None
            }
            // It is another one, whose sets have other names.
            _ => {
                self.memory = match found.memory {
                    Some(memory) => Some(memory),
                    None => begin(link, &memory::key(&self.namespace), &found, asked_at).await,
                };
                // Marks are not for it: what they say may be what is lost.
                let releases = releases.into_iter().map(Release::again).collect();
                if self.memory.is_none() {
                    self.orphans = releases;
                    return None;
                }
                Some(self.pipeline(&Ids::new(), releases, checks))
            }
        }
    }

    /// Adds what became of requests.
    fn add_ends(&self, pipeline: &mut Pipeline, memory: &RedisMemory, marks: &Ids, releases: &[Release]) {
        for (&(project_id, bucket), ids) in marks {
            let key = self.seen(memory, project_id, bucket);
            with_ids(pipeline, "SADD", &key, ids);
            pipeline.ignore().expire(&key, self.kept).ignore();
        }
        // Only now, and only when they are in doubt: at each moment an id is somewhere.
        let mut ended: HashMap<(ProjectId, Instance), Vec<&Uuid>> = HashMap::new();
        for Release { project_id, bucket, number, prints, fate, .. } in releases {
            let in_doubt = || self.in_doubt(memory, *project_id, *bucket);
            match fate {
                Fate::Durable if self.own.is_contested(*number) => {
                    prints.command(pipeline, "SREM", &in_doubt());
                    prints.command(pipeline, "SREM", &self.in_doubt(memory, *project_id, bucket - 1));
                }
                Fate::Durable | Fate::Unused => {}
                Fate::Unknown => {
                    prints.command(pipeline, "SADD", &in_doubt());
                    pipeline.expire(in_doubt(), self.kept).ignore();
                }
            }
            ended.entry((*project_id, Instance::of(*number))).or_default().push(number);
        }
        for ((project_id, instance), numbers) in ended {
            with_ids(pipeline, "HDEL", &self.reservations(memory, project_id, instance), numbers);
            pipeline.ignore();
        }
    }

    /// Adds checks.
    fn add_checks(&self, pipeline: &mut Pipeline, memory: &RedisMemory, checks: &GroupedChecks) {
        for (&(project_id, rate, bucket), checks) in checks {
            let key = format!("{}:rate:{project_id}", self.namespace);
            shared::ask(pipeline, &key, rate, checks.iter().map(|check| check.charge.events));
            if all_ids(checks).next().is_none() {
                continue;
            }
            // In this order, against that of the ends: an id that is not reserved any more is in doubt or durable.
            let key = self.reservations(memory, project_id, self.instance);
            let command = pipeline.cmd("HSET").arg(&key);
            for check in checks.iter().filter(|check| !check.ids.is_empty()) {
                command.arg(check.number.as_bytes()).arg(check.prints.entry(Utc::now()));
            }
            command.ignore();
            let in_doubt = |bucket| self.in_doubt(memory, project_id, bucket);
            let keys = [self.instances(memory, project_id), in_doubt(bucket), in_doubt(bucket - 1)];
            let prints = checks.iter().map(|check| &check.prints);
            reservations::ask_beside(pipeline, &keys, self.instance, self.kept, prints);
            for bucket in [bucket, bucket - 1] {
                let seen = self.seen(memory, project_id, bucket);
                with_ids(pipeline, "SMISMEMBER", &seen, all_ids(checks));
            }
        }
    }

    /// Hands out what Redis has answered.
    fn answer(
        &mut self,
        memory: &RedisMemory,
        checks: GroupedChecks,
        now: DateTime<Utc>,
        values: &mut impl Iterator<Item = Value>,
    ) -> Result<(), ParsingError> {
        let first = if memory.reaches(self.window, now) { Copies::None } else { Copies::Before };
        for ((project_id, rate, bucket), checks) in checks {
            let Answered { verdicts, in_doubt, others, known } = read(rate, &checks, values)?;
            let mut contested = reservations::prints(&others);
            contested.extend(in_doubt);
            self.orphans.extend(
                reservations::orphans(others, now).map(|entry| entry.ends_unknown(project_id, bucket)),
            );
            let mut known = known.into_iter();
            for (check, verdict) in checks.into_iter().zip(verdicts) {
                let known: Vec<bool> = known.by_ref().take(check.ids.len()).collect();
                let is_contested = check.prints.any_of(&contested);
                // Of a request that has nothing new nothing is published.
                let is_contested = known.contains(&false) && self.own.take(&check, is_contested);
                let checked = CheckReply {
                    verdict,
                    known: if known.contains(&true) { known } else { Vec::new() },
                    copies: if is_contested { Copies::Beside } else { first },
                };
                check.answer.send(checked).ok(); // whoever is gone needs no answer
            }
        }
        Ok(())
    }

    /// The ids of events that are durable.
    fn seen(&self, memory: &RedisMemory, project_id: ProjectId, bucket: i64) -> String {
        format!("{}:seen:{}:{project_id}:{bucket}", self.namespace, memory.name)
    }

    /// The instances that have reservations of a project.
    fn instances(&self, memory: &RedisMemory, project_id: ProjectId) -> String {
        format!("{}:taken:{}:{project_id}", self.namespace, memory.name)
    }

    /// The reservations of a project that an instance has.
    fn reservations(&self, memory: &RedisMemory, project_id: ProjectId, instance: Instance) -> String {
        format!("{}:{instance}", self.instances(memory, project_id))
    }

    /// The prints of ids that a request has had of which it is not known what became of them.
    fn in_doubt(&self, memory: &RedisMemory, project_id: ProjectId, bucket: i64) -> String {
        format!("{}:in-doubt:{}:{project_id}:{bucket}", self.namespace, memory.name)
    }
}

/// Begins a memory, or learns which another instance has begun.
async fn begin(link: &RedisLink, key: &str, found: &Found, now: DateTime<Utc>) -> Option<RedisMemory> {
    let mut pipeline = redis::pipe();
    memory::begin(&mut pipeline, key, found, now);
    let (text,): (String,) = link.run(&pipeline).await?;
    memory::replaced(&text)
}

fn sorted(asks: Vec<Ask>) -> (Ids, Vec<Release>, GroupedChecks) {
    let (mut marks, mut releases, mut checks) = (Ids::new(), Vec::new(), GroupedChecks::new());
    for ask in asks {
        match ask {
            Ask::Mark(Mark { project_id, ids, bucket }) => {
                marks.entry((project_id, bucket)).or_default().extend(ids);
            }
            Ask::Release(mut release) => {
                if !release.durable.is_empty() {
                    let of = (release.project_id, release.bucket);
                    marks.entry(of).or_default().append(&mut release.durable);
                }
                releases.push(release);
            }
            Ask::Check(check) => {
                let of = (check.charge.project_id, check.charge.rate, check.bucket);
                checks.entry(of).or_default().push(check);
            }
        }
    }
    (marks, releases, checks)
}

/// Who is gone takes nothing: what it says at its end may be here already, and would come first.
fn forget_gone(checks: &mut GroupedChecks) {
    checks.retain(|_, checks| {
        checks.retain(|check| !check.answer.is_closed());
        !checks.is_empty()
    });
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
    /// The prints of those of their ids that are in doubt.
    in_doubt: Vec<u64>,
    /// The reservations of other instances.
    others: Vec<Reserved>,
    /// Of each id of all checks, whether it is durable.
    known: Vec<bool>,
}

fn read(
    rate: Rate,
    checks: &[Check],
    values: &mut impl Iterator<Item = Value>,
) -> Result<Answered, ParsingError> {
    let mut buckets = next::<Vec<shared::BucketReply>>(values)?.into_iter();
    let verdicts =
        checks.iter().map(|_| buckets.next().map(|bucket| shared::verdict(rate, bucket))).collect();
    if all_ids(checks).next().is_none() {
        return Ok(Answered { verdicts, in_doubt: Vec::new(), others: Vec::new(), known: Vec::new() });
    }
    let (in_doubt, others): (Vec<u8>, _) = next(values)?;
    let (in_doubt, others) = (reservations::numbers(&in_doubt).collect(), reservations::read(others));
    let (mut known, before): (Vec<bool>, Vec<bool>) = (next(values)?, next(values)?);
    for (known, before) in known.iter_mut().zip(before) {
        *known |= before;
    }
    Ok(Answered { verdicts, in_doubt, others, known })
}

fn all_ids(checks: &[Check]) -> impl Iterator<Item = &Uuid> {
    checks.iter().flat_map(|check| &check.ids)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use tokio::sync::oneshot;

    use super::*;
    use crate::ingest::dedup::{Charge, Prints};

    #[test]
    fn who_is_gone_takes_nothing() {
        let rate = Rate { limit: NonZeroU32::MIN, burst: NonZeroU32::MIN };
        let charge = Charge { project_id: ProjectId::from_stored(1), rate, events: NonZeroU32::MIN };
        let ids = vec![Uuid::from_u128(1)];
        let check = |number, answer| {
            let (ids, prints) = (ids.clone(), Prints::of(&ids));
            Ask::Check(Check { charge, ids, prints, number: Uuid::from_u128(number), bucket: 0, answer })
        };
        let ((waits, _answer), (is_gone, _)) = (oneshot::channel(), oneshot::channel());
        let (_, _, mut checks) = sorted(vec![check(1, waits), check(2, is_gone)]);
        forget_gone(&mut checks);
        let numbers: Vec<Uuid> = checks.into_values().flatten().map(|check| check.number).collect();
        assert_eq!(numbers, [Uuid::from_u128(1)]);
    }
}
