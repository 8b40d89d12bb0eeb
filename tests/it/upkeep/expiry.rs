//! Events that are not kept any more: their chunks go, what was counted of them stays, and they do not come back.

use chrono::{DateTime, Days, Utc};
use serde_json::json;

use crate::support::{Weir, eventually};

#[tokio::test]
async fn old_events_are_dropped_their_counts_stay_and_they_are_not_taken_again() {
    let mut weir = Weir::start().await;
    let project = weir.project("p", "UTC").await;
    let at = |days| Utc::now() - Days::new(days);
    let event = |id: &str, at: DateTime<Utc>| {
        json!({"event_id": id, "event_type": "e", "user_id": id, "occurred_at": at,
               "properties": {"plan": "free", "country": "UA"}})
    };
    let old = json!([event("old", at(60))]);
    assert_eq!(weir.send(&project, &old).await.0, 202);
    assert_eq!(weir.send(&project, &json!([event("new", at(1))])).await.0, 202);
    weir.wait_for_events(2).await;
    weir.run(&["project", "promote", "p", "properties.plan"]).await.succeeded();

    // What waits in the stream when its time is over is dropped and counted.
    weir.worker.kill().await;
    assert_eq!(weir.send(&project, &json!([event("waiting", at(60))])).await.0, 202);
    weir.set("WEIR_EVENT_RETENTION", "30days");
    weir.execute("update upkeep set events_from = now() - interval '30 days'").await;
    weir.start_worker().await;
    weir.wait_until_drained().await;
    let dropped = || weir.metric(&weir.worker, "events_dropped_total");
    eventually("what is too old is dropped", dropped, |dropped| (*dropped - 1.0).abs() < 0.5).await;
    let kept = || async {
        sqlx::query_scalar::<_, i64>("select count(*) from events").fetch_one(&weir.pool).await.unwrap()
    };
    eventually("the old chunk is dropped", kept, |kept| *kept == 1).await;
    let (_, by_hour, by_day) = weir.counts().await;
    assert_eq!((by_hour, by_day), (2, 2), "what was counted stays");
    let day = at(60).date_naive();
    let dau = weir.ask(&project, &format!("/stats/dau?from={day}&to={day}")).await;
    assert_eq!(dau["data"][0]["active_users"], json!(1));

    // Of a promoted property too. Of one that is promoted now, what the events that are kept tell.
    weir.run(&["project", "promote", "p", "properties.country"]).await.succeeded();
    let of = async |segment: &str, day| {
        let path = format!("/stats/dau?from={day}&to={day}&segment={segment}");
        weir.ask(&project, &path).await["data"][0]["active_users"].clone()
    };
    assert_eq!(of("properties.plan:free", day).await, json!(1));
    assert_eq!(of("properties.country:UA", day).await, json!(0));
    for segment in ["properties.plan:free", "properties.country:UA"] {
        assert_eq!(of(segment, at(1).date_naive()).await, json!(1), "{segment}");
    }

    weir.start_api().await;
    let (status, problem) = weir.send(&project, &old).await;
    assert_eq!((status.as_u16(), &problem["errors"][0]["code"]), (400, &json!("too_old")), "{problem}");

    // Deleting a user reaches counts whose events are gone.
    assert_eq!(weir.delete_user(&project, "old").await.0, 202);
    let active = || async {
        weir.ask(&project, &format!("/stats/dau?from={day}&to={day}")).await["data"][0]["active_users"]
            .clone()
    };
    eventually("the bit goes", active, |users| *users == json!(0)).await;
    let path = format!("/stats/dau?from={day}&to={day}&segment=properties.plan:free");
    let active = || async { weir.ask(&project, &path).await["data"][0]["active_users"].clone() };
    eventually("of the property too", active, |users| *users == json!(0)).await;
    weir.stop().await;
}
