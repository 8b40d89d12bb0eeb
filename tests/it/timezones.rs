//! Days are those of the project's wall clock.

use serde_json::json;

use super::support::Weir;

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
