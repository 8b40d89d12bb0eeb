//! Who is deleted is gone: from events, from every bitmap and count, and from what waits in the stream.

use chrono::{Days, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::support::{Project, Weir, eventually};

/// Events of today and of long ago, some without a time of their own.
fn events_of(user_id: &str, range: std::ops::Range<u32>) -> Vec<Value> {
    let event = |n: u32| {
        let mut event = json!({"event_id": format!("{user_id}-{n}"), "event_type": format!("e{}", n % 3), "user_id": user_id});
        if !n.is_multiple_of(4) {
            let at = Utc::now() - Days::new(u64::from(n % 40) * 3);
            event["occurred_at"] = at.to_rfc3339().into();
        }
        event
    };
    range.map(event).collect()
}

async fn send(weir: &Weir, project: &Project, user_id: &str, range: std::ops::Range<u32>) {
    let events = events_of(user_id, range);
    let (status, answer) = weir.send(project, &json!(events)).await;
    assert_eq!((status.as_u16(), &answer["accepted"]), (202, &json!(events.len())), "{answer}");
}

/// What differs between activity and a recount from the events, of all values and of each promoted one: must be nothing.
pub async fn differences(weir: &Weir) -> Vec<(String, i64, i64)> {
    sqlx::query_as(
        "with stored as (
             select project_id, event_type, value_no, user_no,
                    time_bucket('1 day', occurred_at at time zone timezone) as local_day
             from events join projects using (project_id), lateral (
                 select 0 as value_no
                 union all
                 select value_no from property_values as known
                 where known.project_id = events.project_id
                   and known.value = coalesce((properties -> known.property)::text, 'null')
             ) as of_value
         ), recounted as (
             select project_id, coalesce(event_type, '') as event_type, value_no, local_day,
                    coalesce(rb_build_agg(user_no), '{}') as users, count(*) as events
             from stored
             group by grouping sets (
                 (project_id, event_type, value_no, local_day), (project_id, value_no, local_day)
             )
         ), counted as (
             select project_id, event_type, value_no, local_day, rb_or_agg(users) as users,
                    sum(events)::bigint as events
             from activity_daily
             group by 1, 2, 3, 4
             having sum(events) <> 0 or rb_cardinality(rb_or_agg(users)) > 0
         )
         select event_type, coalesce(counted.events, 0), coalesce(recounted.events, 0)
         from counted full join recounted using (project_id, event_type, value_no, local_day)
         where counted.events is distinct from recounted.events
            or not coalesce(counted.users = recounted.users, false)",
    )
    .fetch_all(&weir.pool)
    .await
    .unwrap()
}

/// Waits until all deletions are complete, in statistics too.
pub async fn wait_until_gone(weir: &Weir) {
    let waiting = || async {
        let query = sqlx::query_scalar::<_, i64>("select count(*) from user_deletions");
        query.fetch_one(&weir.pool).await.unwrap()
    };
    eventually("no deletion waits", waiting, |waiting| *waiting == 0).await;
    eventually("activity equals a recount", || differences(weir), Vec::is_empty).await;
}

#[tokio::test]
async fn a_deleted_user_is_gone_from_events_and_statistics_and_comes_back_as_a_new_one() {
    let weir = Weir::start().await;
    let (project, other) = (weir.project("p", "UTC").await, weir.project("q", "UTC").await);
    for user in ["anna", "boris", "c/d e?ї"] {
        send(&weir, &project, user, 0..60).await;
    }
    send(&weir, &other, "anna", 0..60).await;
    weir.wait_for_events(240).await;
    weir.wait_for_roll_up().await;

    for user in ["anna", "c/d e?ї", "nobody"] {
        let (status, answer) = weir.delete_user(&project, user).await;
        assert_eq!((status.as_u16(), &answer["status"]), (202, &json!("accepted")), "{answer}");
    }
    let timeline = weir.ask(&project, "/events?user_id=anna").await;
    assert_eq!(timeline["count"], json!(0), "they can be read no more at once");
    wait_until_gone(&weir).await;
    weir.wait_for_events(120).await;
    let today = Utc::now().date_naive();
    let dau = weir.ask(&project, &format!("/stats/dau?from={today}&to={today}")).await;
    assert_eq!(dau["data"][0]["active_users"], json!(1), "boris alone");
    assert_eq!(
        weir.ask(&other, "/events?user_id=anna&limit=100").await["count"],
        json!(60),
        "of another project"
    );

    send(&weir, &project, "anna", 100..110).await;
    weir.wait_for_events(130).await;
    assert_eq!(weir.ask(&project, "/events?user_id=anna").await["count"], json!(10), "the new one's");
    let numbers: i64 = sqlx::query_scalar("select count(distinct user_no) from events where project_id = 1")
        .fetch_one(&weir.pool)
        .await
        .unwrap();
    assert_eq!(numbers, 2);
    let again = events_of("anna", 0..60);
    let (status, answer) = weir.send(&project, &json!(again)).await;
    assert_eq!(
        (status.as_u16(), &answer["duplicates"]),
        (200, &json!(60)),
        "a late retry brings nothing back"
    );
    wait_until_gone(&weir).await;

    let logs = [weir.api.log(), weir.worker.log()].concat();
    assert!(!logs.iter().any(|line| line.to_string().contains("anna")), "who was deleted is in no log");
    weir.stop().await;
}

#[tokio::test]
async fn what_waits_in_the_stream_goes_too_and_a_crash_in_the_middle_loses_nothing() {
    let mut weir = Weir::start().await;
    let project = weir.project("p", "UTC").await;
    send(&weir, &project, "anna", 0..50).await;
    send(&weir, &project, "boris", 0..50).await;
    weir.wait_for_events(100).await;
    weir.worker.kill().await;

    // Some of anna's wait in the stream when she is deleted, and some come after.
    send(&weir, &project, "anna", 50..80).await;
    assert_eq!(weir.delete_user(&project, "anna").await.0, 202);
    send(&weir, &project, "anna", 80..90).await;
    // The removal stops in the middle: its last step is refused.
    let refusing =
        "create function refuse() returns trigger language plpgsql as $$ begin raise 'not now'; end $$";
    weir.execute(refusing).await;
    let trigger =
        "create trigger refuse before delete on user_deletions for each row execute function refuse()";
    weir.execute(trigger).await;
    weir.start_worker().await;
    let events = || async {
        sqlx::query_scalar::<_, i64>("select count(*) from events").fetch_one(&weir.pool).await.unwrap()
    };
    eventually("her events are removed", events, |events| *events == 60).await;
    weir.worker.kill().await;
    weir.execute("drop trigger refuse on user_deletions").await;
    weir.start_worker().await;
    wait_until_gone(&weir).await;
    weir.wait_until_drained().await;
    weir.wait_for_events(60).await;
    assert_eq!(weir.ask(&project, "/events?user_id=anna").await["count"], json!(10));
    weir.stop().await;
}

#[tokio::test]
async fn a_user_with_many_events_goes_in_steps_and_takes_promoted_values_along() {
    let weir = Weir::start().await;
    let project = weir.project("p", "UTC").await;
    let channels = ["email", "ads", "search"];
    let begin = Utc::now() - TimeDelta::days(40);
    let event = |user_id: &str, n: usize| {
        // A step ends among events of the same moment.
        let at = begin + TimeDelta::minutes(i64::try_from(n / 3).unwrap());
        json!({"user_id": user_id, "event_type": format!("e{}", n % 2), "properties": {"channel": channels[n % 3]},
               "occurred_at": at})
    };
    for first in [0, 4_000, 8_000] {
        let events: Vec<Value> = (first..first + 4_000).map(|n| event("anna", n)).collect();
        assert_eq!(weir.send(&project, &json!(events)).await.0, 202);
    }
    let of_boris: Vec<Value> = (0..300).map(|n| event("boris", n)).collect();
    assert_eq!(weir.send(&project, &json!(of_boris)).await.0, 202);
    weir.wait_for_events(12_300).await;
    weir.run(&["project", "promote", "p", "properties.channel"]).await.succeeded();
    weir.wait_for_roll_up().await;

    assert_eq!(weir.delete_user(&project, "anna").await.0, 202);
    wait_until_gone(&weir).await;
    weir.wait_for_events(300).await;
    let counted = "select sum(events)::bigint from activity_daily where value_no <> 0 and event_type = ''";
    assert_eq!(weir.number(counted).await, 300, "the values of boris's events, and of no others");
    weir.stop().await;
}
