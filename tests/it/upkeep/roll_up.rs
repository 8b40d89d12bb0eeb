//! Rolling activity up, where one sees it in the tables alone: what is counted stays the same.

use chrono::Utc;
use serde_json::json;

use crate::support::{Weir, eventually};

#[tokio::test]
async fn the_deltas_of_an_hour_become_one_when_it_is_quiet() {
    let weir = Weir::start().await;
    let project = weir.project("quiet", "UTC").await;
    let now = Utc::now();
    for (count, user) in (1..).zip(["anna", "boris", "anna"]) {
        let event = json!({"event_type": "e", "user_id": user, "occurred_at": now.to_rfc3339()});
        assert_eq!(weir.send(&project, &event).await.0, 202);
        weir.wait_for_events(count).await; // each in a transaction of its own
    }
    weir.execute("update activity set written_at = written_at - interval '2 minutes'").await;
    let most = || async {
        let query = "select max(deltas) from (
                         select count(*) as deltas from activity group by project_id, event_type, local_hour
                     ) as hours";
        sqlx::query_scalar::<_, Option<i64>>(query).fetch_one(&weir.pool).await.unwrap()
    };
    eventually("one delta per hour and type", most, |most| *most == Some(1)).await;
    assert_eq!(weir.counts().await, (3, 3, 3));
    let day = now.date_naive();
    let answer = weir.ask(&project, &format!("/stats/dau?from={day}&to={day}")).await;
    assert_eq!(answer["data"], json!([{"date": day, "active_users": 2}]));
    weir.stop().await;
}
