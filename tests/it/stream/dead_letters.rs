//! What cannot be stored is set aside with its reason, and its neighbours get through.

use serde_json::json;

use crate::support::{Weir, eventually, server};

#[tokio::test]
async fn what_cannot_be_read_is_set_aside_and_its_neighbours_are_stored() {
    let weir = Weir::start().await;
    let project = weir.project("p", "UTC").await;
    let nats = async_nats::connect(server("NATS_URL")).await.unwrap();
    let jetstream = async_nats::jetstream::new(nats);
    for n in 0..5 {
        assert_eq!(weir.send(&project, &json!({"event_type": "e", "event_id": n.to_string()})).await.0, 202);
        let junk = jetstream.publish(format!("{}.events.1.1", weir.namespace()), vec![0xff, n].into());
        junk.await.unwrap().await.unwrap();
    }
    weir.wait_for_events(5).await;

    let stream = jetstream.get_stream(format!("{}-dead", weir.namespace())).await.unwrap();
    let letters = || async { stream.get_info().await.unwrap().state.messages };
    eventually("all junk is set aside", letters, |letters| *letters == 5).await;
    let letter = stream.get_raw_message(1).await.unwrap();
    assert_eq!(letter.subject.as_str(), format!("{}.dead.unreadable", weir.namespace()));
    assert_eq!(letter.headers.get("Weir-Reason").unwrap().as_str(), "unreadable");
    assert!(letter.headers.get("Weir-Error").unwrap().as_str().contains("cannot be decoded"));
    assert_eq!(letter.payload[0], 0xff, "as it was");
    weir.wait_until_drained().await;
    assert!((weir.metric(&weir.worker, "events_dead_lettered_total").await - 5.0).abs() < 0.5);
    weir.stop().await;
}

#[tokio::test]
async fn an_event_that_the_store_refuses_is_alone_set_aside() {
    let weir = Weir::start().await;
    let project = weir.project("p", "UTC").await;
    // A rule that validation does not know: as if it had let something pass.
    weir.execute("alter table events add check (event_type <> 'poison')").await;
    let event =
        |n: u32| json!({"event_id": n.to_string(), "event_type": if n % 10 == 7 { "poison" } else { "e" }});
    let events: Vec<_> = (0..40).map(event).collect();
    let (status, answer) = weir.send(&project, &json!(events)).await;
    assert_eq!((status.as_u16(), &answer["accepted"]), (202, &json!(40)));
    let dead = || weir.metric(&weir.worker, "events_dead_lettered_total");
    eventually("the poison is set aside", dead, |dead| *dead >= 4.0).await;
    weir.wait_for_events(36).await;
    weir.stop().await;
}

#[tokio::test]
async fn a_database_that_takes_no_writes_costs_no_event() {
    let mut weir = Weir::start().await;
    let project = weir.project("p", "UTC").await;
    let read_only = |state| {
        format!("alter database {} set default_transaction_read_only = {state}", weir.database_name())
    };
    let (on, off) = (read_only("on"), read_only("off"));
    weir.worker.kill().await;
    weir.execute(&on).await;
    weir.start_worker().await;
    let events: Vec<_> =
        (0..20).map(|n| json!({"event_id": n.to_string(), "event_type": "e", "user_id": "u"})).collect();
    assert_eq!(weir.send(&project, &json!(events)).await.0, 202);
    let retries = || weir.metric(&weir.worker, "write_retries_total");
    eventually("the worker tries again", retries, |retries| *retries >= 2.0).await;

    weir.execute(&off).await;
    weir.wait_for_events(20).await;
    assert!(weir.metric(&weir.worker, "events_dead_lettered_total").await < 0.5, "nothing was given up");
    weir.stop().await;
}
