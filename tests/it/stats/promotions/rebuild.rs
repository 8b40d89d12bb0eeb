//! History of promoted properties is rebuilt, whatever happens meanwhile.

use chrono::NaiveDate;
use serde_json::json;

use super::{
    answers, assert_same, assert_twins, empty_events, of_activity, promote, questions_about_x, send, show,
};
use crate::{
    support::{Weir, eventually},
    upkeep::deletions::wait_until_gone,
};

#[tokio::test]
async fn history_is_rebuilt_while_events_come_and_go_and_a_worker_dies() {
    let mut weir = Weir::start().await;
    let (promoted, plain) = (
        weir.project("promoted", "Australia/Lord_Howe").await,
        weir.project("plain", "Australia/Lord_Howe").await,
    );
    let twins = [&promoted, &plain];
    send(&weir, &twins, 0..300).await;
    weir.wait_for_events(600).await;

    // The rebuild stops in the middle: a day of it is refused.
    weir.execute(
        "create function refuse() returns trigger language plpgsql as
         $$ begin if new.rebuilt_to > '2024-04-06' then raise 'not now'; end if; return new; end $$",
    )
    .await;
    weir.execute(
        "create trigger refuse before update on promoted_properties for each row execute function refuse()",
    )
    .await;
    let rebuilt_to = || async {
        let query = "select max(rebuilt_to) from promoted_properties";
        sqlx::query_scalar::<_, Option<NaiveDate>>(query).fetch_one(&weir.pool).await.unwrap()
    };
    let day = NaiveDate::from_ymd_opt(2024, 4, 6);
    let some_days = eventually("some days are rebuilt", rebuilt_to, |rebuilt_to| *rebuilt_to == day);
    let interrupted =
        weir.interrupt(&["project", "promote", "promoted", "properties.x"], some_days).await.succeeded();
    assert!(interrupted.stdout.contains("weir-worker goes on with it in the background"), "{interrupted:?}");
    let shown = show(&weir, &promoted).await;
    assert!(shown.contains("promoted properties.x: being rebuilt, "), "{shown}");

    // Meanwhile events come for days before and behind, a user goes, and the worker dies.
    send(&weir, &twins, 300..600).await;
    weir.wait_for_events(1_200).await;
    assert_twins(&weir, &twins, "in the middle").await;
    for project in twins {
        assert_eq!(weir.delete_user(project, "user-4").await.0, 202);
    }
    let waiting = || async {
        let query = sqlx::query_scalar::<_, i64>("select count(*) from user_deletions");
        query.fetch_one(&weir.pool).await.unwrap()
    };
    eventually("no deletion waits", waiting, |waiting| *waiting == 0).await;
    weir.worker.kill().await;
    send(&weir, &twins, 600..700).await;
    weir.execute("drop trigger refuse on promoted_properties").await;
    weir.start_worker().await;
    promote(&weir, &promoted, "properties.x").await;
    weir.wait_until_drained().await;
    wait_until_gone(&weir).await;
    assert_twins(&weir, &twins, "when it is ready").await;

    // What comes afterwards, and goes.
    send(&weir, &twins, 700..900).await;
    weir.wait_until_drained().await;
    for project in twins {
        assert_eq!(weir.delete_user(project, "user-9").await.0, 202);
    }
    wait_until_gone(&weir).await;
    assert_twins(&weir, &twins, "afterwards").await;
    // The rebuild of another property, with writers beside it all the time.
    let sending = async {
        for first in (900..1_300).step_by(10) {
            send(&weir, &twins, first..first + 10).await;
        }
    };
    tokio::join!(promote(&weir, &promoted, "properties.y"), sending);
    weir.wait_until_drained().await;
    wait_until_gone(&weir).await;
    let of_y = of_activity("from=2024-03-29&to=2024-04-16", "properties.y:>1", "properties.y");
    let expected = answers(&weir, &plain, &of_y).await;
    assert_same(&of_y, &answers(&weir, &promoted, &of_y).await, &expected, "with writers beside it");

    let questions = questions_about_x();
    let before = answers(&weir, &promoted, &questions).await;
    empty_events(&weir).await;
    assert_same(&questions, &answers(&weir, &promoted, &questions).await, &before, "without events");
    assert_ne!(answers(&weir, &plain, &questions).await, before);
    weir.stop().await;
}

#[tokio::test]
async fn a_property_that_cannot_be_rebuilt_holds_up_none_behind_it() {
    let weir = Weir::start().await;
    let (project, other) = (weir.project("p", "UTC").await, weir.project("q", "UTC").await);
    let twins = [&project, &other];
    send(&weir, &twins, 0..100).await;
    weir.wait_for_events(200).await;
    // A day of x is refused, after longer than a run lasts. Sequences keep what is rolled back.
    weir.execute("create sequence refused").await;
    weir.execute(
        "create function refuse() returns trigger language plpgsql as $$
         begin
             if new.rebuilt_to > '2024-04-06' then
                 perform nextval('refused'), pg_sleep(1.2);
                 raise 'not now';
             end if;
             return new;
         end $$",
    )
    .await;
    weir.execute(
        "create trigger refuse before update on promoted_properties
         for each row when (new.property = 'x') execute function refuse()",
    )
    .await;
    let refused = || weir.number("select coalesce(pg_sequence_last_value('refused'::regclass), 0)");
    let tried = eventually("it was tried", refused, |refused| *refused > 0);
    weir.interrupt(&["project", "promote", "p", "properties.x"], tried).await.succeeded();

    for project in twins {
        promote(&weir, project, "properties.y").await;
    }
    let shown = show(&weir, &project).await;
    assert!(shown.contains("promoted properties.x: being rebuilt, "), "{shown}");
    let before = refused().await;
    eventually("it is tried again", refused, |refused| *refused > before).await;
    let log = weir.worker.log();
    let warning = log.iter().find(|line| line["property"] == "x").expect("a line about it");
    assert_eq!((&warning["project_id"], &warning["level"]), (&json!(1), &json!("WARN")), "{warning}");
    assert!(warning["error"].as_str().unwrap().contains("not now"), "{warning}");

    weir.execute("drop trigger refuse on promoted_properties").await;
    promote(&weir, &project, "properties.x").await;
    weir.stop().await;
}
