//! Poison of every kind among many messages: it is set aside, each with its reason, and all others are stored.

use std::{collections::BTreeMap, time::Instant};

use async_nats::jetstream::{self, consumer::DeliverPolicy};
use chrono::{DateTime, Utc};
use futures::{StreamExt, stream};
use uuid::Uuid;
use weir::{
    model::{
        event::{Batch, Copies, Event},
        project::ProjectId,
    },
    store::projects,
    stream::message,
};

use crate::support::{Weir, eventually, server};

const MESSAGES: usize = 10_000;
const KINDS: [(&str, &str); 6] = [
    ("unreadable", "unreadable"),
    ("unknown project", "no_project"),
    ("check constraint", "refused"),
    ("U+0000", "refused"),
    ("exception of a trigger", "refused"),
    ("a time beyond all calendars", "refused"),
];

/// A message as the API would publish it, if validation had let it pass.
fn message_with(project_id: ProjectId, change: impl FnOnce(&mut Event<'_>)) -> Vec<u8> {
    let mut event = Event {
        event_id: Uuid::new_v4(),
        user_id: Some("u".into()),
        event_type: "e".into(),
        occurred_at: Some(Utc::now()),
        properties: "{}".into(),
        is_anonymous: false,
        about_user: None,
    };
    change(&mut event);
    message::encode(&Batch {
        project_id,
        request_id: "r".into(),
        received_at: Utc::now(),
        copies: Copies::Unknown,
        events: vec![event],
    })
}

fn poison(project_id: ProjectId, kind: &str) -> Vec<u8> {
    match kind {
        "unreadable" => Uuid::new_v4().as_bytes().map(|byte| byte | 0x80).to_vec(),
        "unknown project" => {
            let mut message = message_with(project_id, |_| {});
            message[2] = 126; // project 63
            message
        }
        "check constraint" => message_with(project_id, |event| event.event_type = "poison".into()),
        "U+0000" => message_with(project_id, |event| event.properties = r#"{"a": "\u0000"}"#.into()),
        "exception of a trigger" => message_with(project_id, |event| event.event_type = "raise".into()),
        "a time beyond all calendars" => {
            message_with(project_id, |event| event.occurred_at = Some(DateTime::<Utc>::MAX_UTC))
        }
        other => panic!("{other}"),
    }
}

#[allow(clippy::print_stdout, reason = "how long it took is worth knowing")]
/// Publishes messages while no worker runs, starts one, and waits until it has dealt with all.
async fn run(weir: &mut Weir, poisoned: usize) {
    weir.worker.kill().await;
    let project_id = projects::by_name(&weir.pool, "p").await.unwrap().unwrap().id;
    let nats = async_nats::connect(server("NATS_URL")).await.unwrap();
    let jetstream = jetstream::new(nats);
    let subject = format!("{}.events.1.1", weir.namespace());
    let every = MESSAGES / poisoned.max(1);
    stream::iter(0..MESSAGES)
        .for_each_concurrent(256, |n| {
            let is_poison = poisoned > 0 && n % every == every / 2 && n / every < poisoned;
            let payload = if is_poison {
                poison(project_id, KINDS[n / every % KINDS.len()].0)
            } else {
                message_with(project_id, |_| {})
            };
            let (jetstream, subject) = (jetstream.clone(), subject.clone());
            async move { drop(jetstream.publish(subject, payload.into()).await.unwrap().await.unwrap()) }
        })
        .await;
    let begun = Instant::now();
    weir.start_worker().await;
    weir.wait_until_drained().await;
    println!("{MESSAGES} messages, {poisoned} of them poison: {:.2} s", begun.elapsed().as_secs_f64());
}

#[tokio::test]
async fn of_ten_thousand_messages_only_the_37_that_are_poison_are_set_aside() {
    let mut weir = Weir::start().await;
    weir.project("p", "Asia/Kolkata").await;
    weir.execute("alter table events add constraint poison check (event_type <> 'poison')").await;
    let raise = "create function refuse() returns trigger language plpgsql as $$
                 begin if new.event_type = 'raise' then raise 'not this'; end if; return new; end $$";
    weir.execute(raise).await;
    weir.execute("create trigger refuse before insert on events for each row execute function refuse()")
        .await;

    run(&mut weir, 0).await;
    weir.wait_for_events(10_000).await;
    run(&mut weir, 37).await;
    weir.wait_for_events(19_963).await;

    let nats = async_nats::connect(server("NATS_URL")).await.unwrap();
    let dead = jetstream::new(nats).get_stream(format!("{}-dead", weir.namespace())).await.unwrap();
    let letters = dead.get_info().await.unwrap().state.messages;
    assert_eq!(letters, 37);
    let reader =
        jetstream::consumer::pull::Config { deliver_policy: DeliverPolicy::All, ..Default::default() };
    let reader = dead.create_consumer(reader).await.unwrap();
    let mut batch = reader.batch().max_messages(37).messages().await.unwrap();
    let mut reasons = BTreeMap::new();
    while let Some(letter) = batch.next().await {
        let letter = letter.unwrap();
        let reason = letter.headers.as_ref().unwrap().get("Weir-Reason").unwrap().to_string();
        *reasons.entry(reason).or_insert(0) += 1;
    }
    let mut expected = BTreeMap::new();
    for n in 0..37 {
        *expected.entry(KINDS[n % KINDS.len()].1.to_owned()).or_insert(0) += 1;
    }
    assert_eq!(reasons, expected);
    let settled = || async {
        let query = "select range_agg(sequences)::text from settled_messages";
        sqlx::query_scalar::<_, String>(query).fetch_one(&weir.pool).await.unwrap()
    };
    eventually("every message is settled", settled, |ranges| ranges == "{[1,20001)}").await;
    weir.stop().await;
}
