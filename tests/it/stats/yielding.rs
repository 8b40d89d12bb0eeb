//! A question with many events leaves the thread to others while it works through them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use roaring::RoaringBitmap;
use weir::{
    stats::filter::Filter,
    store::{
        projects,
        read::{
            funnel::{Span, each_user},
            retention,
            source::{Selection, Source},
        },
    },
};

use crate::support::Weir;

const USERS: u32 = 30;
const EVENTS: usize = 40;

/// A task beside others, and how often it had its turn.
fn beside() -> Arc<AtomicUsize> {
    let turns = Arc::new(AtomicUsize::new(0));
    let counted = turns.clone();
    tokio::spawn(async move {
        loop {
            counted.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
    });
    turns
}

/// Work for longer than a task may work on its own.
fn work() {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(2) {}
}

#[tokio::test]
async fn others_have_their_turn_while_the_events_of_a_question_are_worked_through() {
    let weir = Weir::start().await;
    weir.project("p", "UTC").await;
    let project = projects::by_name(&weir.pool, "p").await.unwrap().unwrap();
    weir.execute(&format!(
        "insert into events (occurred_at, received_at, project_id, user_no, event_id, event_type, properties)
         select '2024-03-01 12:00Z', now(), {}, user_no, gen_random_uuid(), 'a', '{{}}'
         from generate_series(1, {USERS}) as user_no, generate_series(1, {EVENTS})",
        project.id.get()
    ))
    .await;
    let moment = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
    let (begin, end) = (moment("2024-03-01T00:00:00Z"), moment("2024-03-02T00:00:00Z"));
    let mut connection = weir.pool.acquire().await.unwrap();
    // One thread has all tasks.
    let turns = beside();

    let mut seen = Vec::new();
    let steps = ["a", "b"].map(|event_type| Filter::default().of_type(event_type));
    let span = Span { begin, enter_before: end, end };
    each_user(&mut connection, project.id, &steps, None, span, |_, events| {
        assert_eq!(events.len(), EVENTS);
        work();
        seen.push(turns.load(Ordering::Relaxed));
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(seen.len(), USERS as usize);
    assert!(seen.windows(2).all(|turns| turns[0] < turns[1]), "between users: {seen:?}");

    let mut seen = Vec::new();
    let filter = Filter::default();
    let asked = Selection { project: &project, filter: &filter, source: &Source::Events, until: None };
    let users = (1..=3).collect::<RoaringBitmap>();
    retention::each(&mut connection, &asked, &users, (begin, Some(end)), |_, _| {
        work();
        seen.push(turns.load(Ordering::Relaxed));
    })
    .await
    .unwrap();
    assert_eq!(seen.len(), 3 * EVENTS);
    assert!(seen.windows(EVENTS).all(|turns| turns[0] < turns[EVENTS - 1]), "within 40 events: {seen:?}");
    drop(connection);
    weir.stop().await;
}
