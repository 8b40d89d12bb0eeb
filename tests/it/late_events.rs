//! Events that arrive days after they happened.

use chrono::{Days, SecondsFormat, Utc};
use serde_json::json;

use super::support::{Weir, eventually};

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
