//! Events that arrive days after they happened.

use std::cell::Cell;

use chrono::{Days, SecondsFormat, Utc};
use serde_json::json;

use crate::support::{Weir, eventually};

#[tokio::test]
async fn an_event_of_three_days_ago_counts_on_its_day_also_after_that_day_was_rolled_up() {
    let weir = Weir::start().await;
    let project = weir.project("late", "UTC").await;
    let then = Utc::now() - Days::new(3);
    let (day, time) = (then.date_naive(), then.to_rfc3339_opts(SecondsFormat::Secs, true));
    for (count, user) in ["first", "second", "third"].into_iter().enumerate() {
        let rolled_up = weir.metric(&weir.worker, "roll_up_duration_seconds_count").await;
        let (status, _) =
            weir.send(&project, &json!({"event_type": "e", "user_id": user, "occurred_at": time})).await;
        assert_eq!(status, 202);
        let path = format!("/stats/dau?from={day}&to={day}");
        let users = || async { weir.ask(&project, &path).await["data"][0]["active_users"].as_u64() };
        eventually("the late event counts", users, |users| *users == Some(count as u64 + 1)).await;
        // The next one arrives when this one is rolled up.
        let rounds = || weir.metric(&weir.worker, "roll_up_duration_seconds_count");
        eventually("a roll-up", rounds, |rounds| *rounds >= rolled_up + 2.0).await;
    }
    weir.stop().await;
}

/// What arrives during a roll-up may have to wait for the next one; what was there before must not be hidden by it.
#[tokio::test]
async fn while_history_is_rolled_up_nothing_vanishes_from_the_statistics() {
    let mut weir = Weir::start_with(&[("WEIR_ROLL_UP_INTERVAL", "1h")]).await;
    let project = weir.project("history", "UTC").await;
    let event = |n: u32| {
        let (month, day, hour) = (n % 12 + 1, n / 12 % 28 + 1, n % 24);
        json!({"event_type": format!("type-{}", n % 7), "user_id": (n % 100).to_string(),
               "occurred_at": format!("2024-{month:02}-{day:02}T{hour:02}:00:00Z")})
    };
    for begin in (0..12_000).step_by(1_000) {
        let events: Vec<_> = (begin..begin + 1_000).map(event).collect();
        assert_eq!(weir.send(&project, &json!(events)).await.0, 202);
    }
    weir.wait_for_events(12_000).await;

    let counted = Cell::new(12_000);
    weir.worker.kill().await;
    weir.set("WEIR_ROLL_UP_INTERVAL", "100ms");
    weir.start_worker().await;
    let rolled_up = || weir.metric(&weir.worker, "roll_up_duration_seconds_count");
    let watch = || async {
        let (_, _, by_day) = weir.counts().await;
        let before = counted.replace(by_day);
        assert!(by_day >= before, "{before} events were counted, now {by_day} are");
        (by_day, rolled_up().await)
    };
    eventually("history is rolled up", watch, |(_, rounds)| *rounds >= 3.0).await;
    weir.stop().await;
}

#[tokio::test]
async fn a_period_that_is_not_over_is_marked_and_left_out_of_the_overall_row() {
    let weir = Weir::start().await;
    let project = weir.project("open", "UTC").await;
    let now = Utc::now();
    let time = now.to_rfc3339_opts(SecondsFormat::Secs, true);
    let event = json!({"event_type": "e", "user_id": "anna", "occurred_at": time});
    assert_eq!(weir.send(&project, &event).await.0, 202);
    weir.wait_for_events(1).await;
    let day = now.date_naive();
    let table = weir.ask(&project, &format!("/stats/retention?start_date={day}&windows=1")).await;
    let cohort = &table["cohorts"][0];
    assert_eq!((&cohort["cohort"], &cohort["size"]), (&json!(day.to_string()), &json!(1)), "{table}");
    // Tomorrow is not over, whenever this is asked.
    assert_eq!(cohort["periods"][1], json!({"period": 1, "users": 0, "rate": 0.0, "complete": false}));
    assert_eq!(table["overall"][1], json!({"period": 1, "users": 0, "size": 0, "rate": null}));
    weir.stop().await;
}
