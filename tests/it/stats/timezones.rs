//! Days are those of the project's wall clock.

use serde_json::{Value, json};

use crate::support::{Weir, eventually};

/// Sends one event per instant, each of a user of its own, and returns the users of each day.
async fn days(weir: &Weir, name: &str, timezone: &str, instants: &[&str], range: &str) -> Vec<u64> {
    let project = weir.project(name, timezone).await;
    let before = weir.counts().await.0;
    let event = |(user, instant): (usize, &&str)| json!({"event_type": "e", "user_id": user.to_string(), "occurred_at": instant});
    let events: Vec<_> = instants.iter().enumerate().map(event).collect();
    let (status, answer) = weir.send(&project, &json!(events)).await;
    assert_eq!(status, 202, "{answer}");
    weir.wait_for_events(before + i64::try_from(instants.len()).unwrap()).await;
    let answer = weir.ask(&project, &format!("/stats/dau?{range}")).await;
    active_users(&answer)
}

fn active_users(answer: &Value) -> Vec<u64> {
    answer["data"].as_array().unwrap().iter().map(|day| day["active_users"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn a_day_ends_at_local_midnight_also_when_clocks_change() {
    let weir = Weir::start().await;
    // India is five and a half hours ahead: its 10th of March begins at 18:30 UTC of the 9th.
    let kolkata =
        ["2024-03-09T18:29:59Z", "2024-03-09T18:30:00Z", "2024-03-10T18:29:59Z", "2024-03-10T18:30:00Z"];
    let range = "from=2024-03-09&to=2024-03-11";
    assert_eq!(days(&weir, "kolkata", "Asia/Kolkata", &kolkata, range).await, [1, 2, 1]);
    // New York's 10th of March 2024 had 23 hours: 05:00 UTC to 04:00 UTC.
    let spring =
        ["2024-03-10T04:59:59Z", "2024-03-10T05:00:00Z", "2024-03-11T03:59:59Z", "2024-03-11T04:00:00Z"];
    assert_eq!(days(&weir, "spring", "America/New_York", &spring, range).await, [1, 2, 1]);
    // Its 3rd of November had 25: 04:00 UTC to 05:00 UTC.
    let autumn =
        ["2024-11-03T03:59:59Z", "2024-11-03T04:00:00Z", "2024-11-04T04:59:59Z", "2024-11-04T05:00:00Z"];
    let range = "from=2024-11-02&to=2024-11-04";
    assert_eq!(days(&weir, "autumn", "America/New_York", &autumn, range).await, [1, 2, 1]);
    weir.stop().await;
}

#[tokio::test]
async fn days_are_counted_anew_when_the_rules_of_their_zone_change() {
    let mut weir = Weir::start().await;
    // Los Angeles has the rules that Vancouver had until 2026, when it stopped to set its clocks.
    let pacific = weir.project("pacific", "America/Los_Angeles").await;
    let project = weir.project("vancouver", "America/Vancouver").await;
    weir.run(&["project", "promote", "vancouver", "properties.plan"]).await.succeeded();
    // A release that this weir does not have: it counts by what stands in the database.
    weir.execute(
        "update time_zones set version = '2999z', rules =
             (select rules from time_zones where name = 'America/Los_Angeles')
         where name = 'America/Vancouver'",
    )
    .await;
    weir.execute("update upkeep set promotions_generation = promotions_generation + 1").await;
    let instants =
        ["2026-11-23T07:30:00Z", "2026-11-24T07:30:00Z", "2026-11-24T12:00:00Z", "2026-03-20T07:30:00Z"];
    let event = |at: &&str| json!({"event_type": "e", "user_id": at, "occurred_at": at, "properties": {"plan": "pro"}});
    for of in [&project, &pacific] {
        assert_eq!(weir.send(of, &instants.iter().map(event).collect()).await.0, 202);
    }
    weir.wait_for_events(8).await;
    let range = "/stats/dau?from=2026-11-22&to=2026-11-24";
    assert_eq!(active_users(&weir.ask(&project, range).await), [1, 1, 1]);

    weir.worker.kill().await;
    weir.execute("update time_zones set version = '2025b' where name = 'America/Vancouver'").await;
    let doctor = weir.run(&["doctor"]).await.stdout;
    assert!(doctor.contains("days in America/Vancouver are counted by rules older"), "{doctor}");
    weir.start_worker().await;
    let counted = || async {
        let doctor = weir.run(&["doctor"]).await;
        doctor.stdout.contains("rules of release")
    };
    eventually("days are counted anew", counted, |counted| *counted).await;
    for segment in ["", "&segment=properties.plan:pro"] {
        let range = format!("{range}{segment}");
        assert_eq!(active_users(&weir.ask(&project, &range).await), [0, 1, 2], "{segment}");
        assert_eq!(active_users(&weir.ask(&pacific, &range).await), [1, 1, 1], "{segment}");
    }
    weir.wait_for_events(8).await;
    weir.stop().await;
}
