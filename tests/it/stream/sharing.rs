//! Requests that arrive together may share a message, and nothing else.

use chrono::Utc;
use futures::future::join_all;
use serde_json::json;
use uuid::Uuid;
use weir::{
    model::event::{Batch, Copies, Event},
    store::projects,
    stream::message,
};

use crate::support::{Project, Weir, eventually, server};

/// More than there are lanes, so that some of them share one.
const PROJECTS: usize = 9;
const EVENTS: usize = 40;

#[tokio::test]
async fn events_that_are_sent_at_once_are_each_stored_once_in_their_project() {
    let weir = Weir::start().await;
    let mut projects = Vec::new();
    for n in 0..PROJECTS {
        projects.push(weir.project(&format!("p{n}"), "UTC").await);
    }
    let send_all = async || {
        let requests = projects.iter().flat_map(|project| {
            // The same ids in every project.
            (0..EVENTS).map(move |n| {
                (project, json!({"event_id": format!("e{n}"), "event_type": "e", "user_id": "u"}))
            })
        });
        let sent = requests.map(|(project, event)| {
            let request = weir.post(project, &event);
            async move { request.send().await.unwrap().status().as_u16() }
        });
        join_all(sent).await
    };
    assert_eq!(send_all().await, [202; PROJECTS * EVENTS]);
    assert_eq!(send_all().await, [200; PROJECTS * EVENTS], "the filter knows all of them");
    weir.wait_for_events((PROJECTS * EVENTS).try_into().unwrap()).await;
    for project in &projects {
        assert_eq!(events_of(&weir, project).await, EVENTS);
    }
    weir.stop().await;
}

async fn events_of(weir: &Weir, project: &Project) -> usize {
    let timeline = weir.ask(project, "/events?user_id=u&limit=1000").await;
    timeline["events"].as_array().unwrap().len()
}

#[tokio::test]
async fn of_a_shared_message_only_what_is_refused_is_set_aside() {
    let weir = Weir::start().await;
    let (one, two) = (weir.project("one", "UTC").await, weir.project("two", "UTC").await);
    weir.execute("alter table events add constraint poison check (event_type <> 'poison')").await;
    let mut messages = Vec::new();
    for (project, event_types) in [(&one, ["e", "poison"]), (&two, ["e", "e"])] {
        let project_id = projects::by_name(&weir.pool, &project.name).await.unwrap().unwrap().id;
        let event = |event_type: &'static str| Event {
            event_id: Uuid::new_v4(),
            user_id: Some("u".into()),
            event_type: event_type.into(),
            occurred_at: Some(Utc::now()),
            properties: "{}".into(),
            is_anonymous: false,
            about_user: None,
        };
        let events = event_types.map(event).to_vec();
        let batch = Batch {
            project_id,
            request_id: "r".into(),
            received_at: Utc::now(),
            copies: Copies::Unknown,
            events,
        };
        messages.push(message::encode(&batch).into());
    }
    let jetstream = async_nats::jetstream::new(async_nats::connect(server("NATS_URL")).await.unwrap());
    let subject = format!("{}.events.1.shared", weir.namespace());
    jetstream.publish(subject, message::join(messages)).await.unwrap().await.unwrap();

    weir.wait_for_events(3).await;
    assert_eq!((events_of(&weir, &one).await, events_of(&weir, &two).await), (1, 2));
    let list = async || weir.run(&["dlq", "list", "--json"]).await.succeeded().stdout;
    eventually("the poison is set aside", list, |letters| letters.contains("\"refused\"")).await;
    weir.wait_until_drained().await;

    weir.execute("alter table events drop constraint poison").await;
    weir.run(&["dlq", "replay", "--all"]).await.succeeded();
    weir.wait_for_events(4).await;
    assert_eq!((events_of(&weir, &one).await, events_of(&weir, &two).await), (2, 2));
    weir.stop().await;
}
