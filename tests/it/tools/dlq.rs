//! Dead letters are looked at, given back after a fix, and dropped.

use serde_json::{Value, json};
use weir::stream::message;

use crate::support::{Weir, eventually, server};

/// A line of JSON for each letter.
async fn letters(weir: &Weir) -> Vec<Value> {
    let listed = weir.run(&["dlq", "list", "--json"]).await.succeeded().stdout;
    listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

async fn wait_for_letters(weir: &Weir, number: usize) -> Vec<Value> {
    eventually("letters", || letters(weir), |letters| letters.len() == number).await
}

fn reasons(letters: &[Value]) -> Vec<&str> {
    let mut reasons: Vec<_> = letters.iter().map(|letter| letter["reason"].as_str().unwrap()).collect();
    reasons.sort_unstable();
    reasons
}

#[tokio::test]
async fn letters_are_listed_with_their_reasons_and_replayed_after_a_fix() {
    let weir = Weir::start().await;
    let project = weir.project("p", "UTC").await;
    weir.execute("alter table events add constraint poison check (event_type <> 'poison')").await;
    let event = |id: &str, event_type: &str| json!({"event_id": id, "event_type": event_type, "user_id": "u", "properties": {"n": 1}});
    let batch = json!([event("a", "e"), event("b", "poison"), event("c", "e"), event("d", "poison")]);
    assert_eq!(weir.send(&project, &batch).await.0, 202);
    let nats = async_nats::connect(server("NATS_URL")).await.unwrap();
    let jetstream = async_nats::jetstream::new(nats);
    let junk = jetstream.publish(format!("{}.events.1.1", weir.namespace()), vec![0xff, 7].into());
    junk.await.unwrap().await.unwrap();
    let found = wait_for_letters(&weir, 3).await;
    assert_eq!(reasons(&found), ["refused", "refused", "unreadable"]);
    weir.wait_for_events(2).await;

    let table = weir.run(&["dlq", "list", "--reason", "refused", "--project", "p"]).await.succeeded().stdout;
    assert!(
        table.contains("the database failed") && table.contains("3 letters in all: 2 refused, 1 unreadable"),
        "{table}"
    );
    let line = table.lines().find(|line| line.contains("refused")).unwrap();
    assert_eq!(line.split_whitespace().nth(1).unwrap().len(), "2024-01-15T10:30:00Z".len(), "{line}");
    let refused = found.iter().find(|letter| letter["reason"] == "refused").unwrap();
    let error = refused["error"].as_str().unwrap();
    assert_eq!(error.matches("violates check constraint").count(), 1, "PostgreSQL says it once: {error}");
    let number =
        |reason: &str| found.iter().find(|letter| letter["reason"] == reason).unwrap()["number"].to_string();
    let shown = weir.run(&["dlq", "show", &number("refused")]).await.succeeded().stdout;
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(
        (&shown["requests"][0]["events"][0]["event_type"], &shown["project_ids"]),
        (&json!("poison"), &json!([1])),
        "{shown}"
    );
    assert!(shown["source_time"].as_str().unwrap() <= shown["at"].as_str().unwrap(), "{shown}");
    let shown = weir.run(&["dlq", "show", &number("unreadable")]).await.succeeded().stdout;
    assert!(shown.contains("\"bytes\": \"ff07\""), "{shown}");
    let none = weir.run(&["dlq", "show", "4711"]).await;
    assert!(!none.status.success() && none.stderr.contains("there is no letter 4711"), "{none:?}");

    // Without a fix they come back; what cannot be read is not even tried.
    let replayed = weir.run(&["dlq", "replay", "--all"]).await;
    assert!(
        !replayed.status.success() && replayed.stdout.contains("2 letters with 2 events"),
        "{replayed:?}"
    );
    assert!(replayed.stderr.contains("it cannot be read by this weir, and would come back"), "{replayed:?}");
    let is_new = |letter: &Value| letter["reason"] == "unreadable" || letter["number"].as_u64() > Some(3);
    let again = eventually(
        "they come back with new numbers",
        || letters(&weir),
        |letters| letters.len() == 3 && letters.iter().all(is_new),
    )
    .await;
    assert_eq!(reasons(&again), ["refused", "refused", "unreadable"]);

    // After a fix what can be stored is stored, once, however often it is replayed.
    weir.execute("alter table events drop constraint poison").await;
    let refused = ["dlq", "replay", "--all", "--reason", "refused"];
    assert!(weir.run(&refused).await.succeeded().stdout.contains("2 letters with 2 events"));
    weir.wait_for_events(4).await;
    assert!(weir.run(&refused).await.succeeded().stdout.contains("0 letters"));
    weir.wait_until_drained().await;
    weir.wait_for_events(4).await;

    // What nobody needs is dropped, not by accident.
    let careless = weir.run(&["dlq", "drop", "--all"]).await;
    assert!(!careless.status.success() && careless.stderr.contains("--yes"), "{careless:?}");
    let dropped = weir.run(&["dlq", "drop", "--all", "--yes"]).await.succeeded().stdout;
    assert!(dropped.contains("1 letter with 0 events is dropped: 1 unreadable"), "{dropped}");
    assert_eq!(letters(&weir).await.len(), 0);
    weir.stop().await;
}

#[tokio::test]
async fn a_replay_of_what_is_stored_already_changes_nothing() {
    let weir = Weir::start().await;
    let project = weir.project("p", "UTC").await;
    weir.execute("alter table events add constraint poison check (event_type <> 'poison')").await;
    let poison = json!([{"event_id": "a", "event_type": "poison"}]);
    assert_eq!(weir.send(&project, &poison).await.0, 202);
    wait_for_letters(&weir, 1).await;
    weir.execute("alter table events drop constraint poison").await;
    // As if a replay had been interrupted after it was taken and before the letter was removed.
    let nats = async_nats::connect(server("NATS_URL")).await.unwrap();
    let jetstream = async_nats::jetstream::new(nats);
    let dead = jetstream.get_stream(format!("{}-dead", weir.namespace())).await.unwrap();
    let letter = dead.get_raw_message(1).await.unwrap();
    let subject = letter.headers.get("Weir-Source-Subject").unwrap().to_string();
    jetstream.publish(subject, letter.payload).await.unwrap().await.unwrap();
    weir.wait_for_events(1).await;

    weir.run(&["dlq", "replay", "1"]).await.succeeded();
    weir.wait_until_drained().await;
    weir.wait_for_events(1).await;
    assert_eq!(letters(&weir).await.len(), 0);
    weir.stop().await;
}

#[tokio::test]
async fn letters_of_a_project_that_is_missing_are_stored_when_it_is_there() {
    let weir = Weir::start().await;
    weir.project("one", "UTC").await;
    weir.execute("alter table events add constraint poison check (event_type <> 'poison')").await;
    let two = weir.project("two", "UTC").await;
    assert_eq!(weir.send(&two, &json!([{"event_id": "a", "event_type": "poison"}])).await.0, 202);
    let found = wait_for_letters(&weir, 1).await;
    assert_eq!((&found[0]["reason"], &found[0]["project_ids"]), (&json!("refused"), &json!([2])));
    // The number is in the list by name, and both find it.
    for project in ["two", "2"] {
        let table = weir.run(&["dlq", "list", "--project", project]).await.succeeded().stdout;
        assert!(table.lines().any(|line| line.starts_with("1 ") && line.contains(" two ")), "{table}");
    }
    // A database without the project, such as an older copy.
    weir.execute("alter table events drop constraint poison").await;
    weir.execute("create table kept as select * from projects where project_id = 2").await;
    for table in ["event_types", "api_keys", "projects"] {
        weir.execute(&format!("delete from {table} where project_id = 2")).await;
    }
    weir.run(&["dlq", "replay", "1", "1"]).await.succeeded();
    let is_again = |found: &Vec<Value>| found.len() == 1 && found[0]["number"] == 2;
    let found = eventually("it comes back", || letters(&weir), is_again).await;
    assert_eq!((&found[0]["reason"], &found[0]["project_ids"]), (&json!("no_project"), &json!([2])));
    let listed = weir.run(&["dlq", "list", "--project", "2"]).await.succeeded().stdout;
    assert!(listed.contains("there is no project 2"), "{listed}");

    weir.execute("insert into projects overriding system value select * from kept").await;
    let replayed = weir.run(&["dlq", "replay", "--all", "--project", "two"]).await.succeeded().stdout;
    assert!(replayed.contains("1 letter with 1 event is back"), "{replayed}");
    weir.wait_for_events(1).await;
    assert_eq!(letters(&weir).await.len(), 0);
    weir.stop().await;
}

#[tokio::test]
async fn a_letter_that_says_not_where_it_came_from_holds_up_no_other() {
    let weir = Weir::start().await;
    let project = weir.project("p", "UTC").await;
    weir.execute("alter table events add constraint poison check (event_type <> 'poison')").await;
    // As older weirs wrote them: with fewer headers.
    let nats = async_nats::connect(server("NATS_URL")).await.unwrap();
    let jetstream = async_nats::jetstream::new(nats);
    let junk = jetstream.publish(format!("{}.dead.unreadable", weir.namespace()), vec![0xff].into());
    junk.await.unwrap().await.unwrap();
    assert_eq!(weir.send(&project, &json!([{"event_id": "a", "event_type": "poison"}])).await.0, 202);
    wait_for_letters(&weir, 2).await;
    let dead = jetstream.get_stream(format!("{}-dead", weir.namespace())).await.unwrap();
    let payload = dead.get_raw_message(2).await.unwrap().payload;
    assert_eq!(message::decode(&payload).unwrap()[0].events.len(), 1);
    let subject = format!("{}.dead.refused", weir.namespace());
    jetstream.publish(subject, payload).await.unwrap().await.unwrap();
    weir.run(&["dlq", "drop", "2"]).await.succeeded();
    weir.execute("alter table events drop constraint poison").await;

    let replayed = weir.run(&["dlq", "replay", "--all"]).await;
    assert!(!replayed.status.success(), "scripts see that something is left");
    assert!(replayed.stdout.contains("1 letter with 1 event is back"), "{replayed:?}");
    assert!(replayed.stderr.contains("letter 1: it cannot be read"), "{replayed:?}");
    weir.wait_for_events(1).await;
    assert_eq!(letters(&weir).await.len(), 1);
    weir.stop().await;
}
