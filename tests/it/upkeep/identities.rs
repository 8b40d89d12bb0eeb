//! What events say of who is who: from a link on both names are one user, for what is stored already too, in any order.

use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};
use serde_json::{Value, json};

use super::merges::settled;
use crate::support::{Project, Weir, eventually, json as json_of};

/// An event as a browser sends it before and after a login.
fn event(n: usize, user_id: Option<&str>, anonymous_id: Option<&str>, event_type: &str, at: &str) -> Value {
    json!({"event_id": format!("e-{n}"), "user_id": user_id, "anonymous_id": anonymous_id,
           "event_type": event_type, "occurred_at": format!("2024-03-{at}:00Z")})
}

pub async fn send(weir: &Weir, project: &Project, events: &[Value]) {
    let (status, answer) = weir.send(project, &json!(events)).await;
    assert!(status.is_success() && answer["rejected"] == json!([]), "{answer}");
}

/// A visitor who browses on two devices, and then logs in on both.
fn story() -> Vec<Value> {
    vec![
        event(0, None, Some("phone"), "page_view", "04T09:00"),
        event(1, None, Some("laptop"), "page_view", "04T22:00"),
        event(2, None, Some("laptop"), "add_to_cart", "05T08:00"),
        event(3, None, Some("phone"), "page_view", "05T09:00"),
        event(4, Some("alice"), Some("laptop"), "login", "06T10:00"),
        event(5, Some("alice"), Some("laptop"), "buy", "06T10:05"),
        event(6, Some("alice"), Some("phone"), "login", "06T20:00"),
        event(7, None, Some("phone"), "page_view", "07T09:00"),
    ]
}

async fn assert_is_one_person(weir: &Weir, project: &Project, said: &str) {
    let answer = weir.ask(project, "/stats/dau?from=2024-03-04&to=2024-03-07").await;
    let daily = [0, 1, 2, 3].map(|day| answer["data"][day]["active_users"].as_u64().unwrap());
    assert_eq!(daily, [1, 1, 1, 1], "{said}");
    let answer = weir.ask(project, "/stats/retention?from=2024-03-04&to=2024-03-07&windows=3").await;
    let sizes: Vec<u64> =
        answer["cohorts"].as_array().unwrap().iter().map(|cohort| cohort["size"].as_u64().unwrap()).collect();
    let first = &answer["cohorts"][0]["periods"];
    let came_back = [0, 1, 2, 3].map(|column| first[column]["users"].as_u64().unwrap());
    assert_eq!((sizes, came_back), (vec![1, 0, 0, 0], [1, 1, 1, 1]), "{said}");
    let steps = ["page_view", "login", "buy"].map(|event_type| json!({"event_type": event_type}));
    let funnel = json!({"from": "2024-03-04", "to": "2024-03-04", "steps": steps});
    let request = weir.http.post(weir.url("/stats/funnel")).header("X-API-Key", &project.read);
    let (status, answer) = json_of(request.json(&funnel).send().await.unwrap()).await;
    assert_eq!(status, 200, "{answer}");
    let reached = [0, 1, 2].map(|step| answer["steps"][step]["users"].as_u64().unwrap());
    assert_eq!(reached, [1, 1, 1], "{said}");
    let list = weir.ask(project, "/stats/active-users/users?from=2024-03-04&to=2024-03-07").await;
    assert_eq!((&list["users"], &list["total"]), (&json!([{"user_id": "alice"}]), &json!(1)), "{said}");
    for name in ["alice", "phone", "laptop"] {
        let user = weir.ask(project, &format!("/users/{name}")).await;
        let expected = (json!("alice"), json!(["laptop", "phone"]), json!(8));
        assert_eq!(
            (user["user_id"].clone(), user["aliases"].clone(), user["events"].clone()),
            expected,
            "{said}"
        );
    }
}

#[tokio::test]
async fn a_visitor_on_two_devices_is_one_person_in_whatever_order_it_is_told() {
    let weir = Weir::start().await;
    let mut rng = StdRng::seed_from_u64(5);
    let mut told = Vec::new();
    for n in 0..8 {
        let project = weir.project(&format!("p{n}"), "UTC").await;
        let mut events = story();
        if n == 1 {
            events.reverse();
        } else if n > 1 {
            events.shuffle(&mut rng);
        }
        told.push((project, events));
    }
    // As many messages as events, some of them twice; and once for all in one.
    for (n, (project, events)) in told.iter().enumerate() {
        if n == 2 {
            send(&weir, project, events).await;
            continue;
        }
        for one in events {
            send(&weir, project, std::slice::from_ref(one)).await;
            if n == 3 {
                send(&weir, project, std::slice::from_ref(one)).await;
            }
        }
    }
    weir.wait_for_events(8 * 8).await;
    settled(&weir).await;
    for (n, (project, events)) in told.iter().enumerate() {
        assert_is_one_person(&weir, project, &format!("{n}: {events:?}")).await;
    }
    assert_eq!(weir.number("select count(distinct (project_id, user_no)) from events").await, 8);
    let logs = [weir.api.log(), weir.worker.log()].concat();
    assert!(!logs.iter().any(|line| line.to_string().contains("laptop")), "no name is in a log");
    weir.stop().await;
}

#[tokio::test]
async fn two_known_users_never_become_one_by_an_event() {
    let weir = Weir::start().await;
    let project = weir.project("p", "UTC").await;
    let messages = [
        event(0, Some("ben"), None, "e", "04T09:00"),
        event(1, Some("alice"), Some("ben"), "e", "04T10:00"), // ben is known
        event(2, None, Some("tablet"), "e", "04T11:00"),
        event(3, Some("alice"), Some("tablet"), "e", "04T12:00"),
        event(4, Some("ben"), Some("tablet"), "e", "04T13:00"), // the tablet is alice's
        event(5, Some("ben"), Some("alice"), "e", "04T14:00"),  // alice is known
        event(6, Some("tablet"), Some("watch"), "e", "04T15:00"), // by an alias of alice's, so this is hers
        event(7, None, Some("ben"), "e", "04T16:00"),
        event(8, Some("carl"), Some("carl"), "e", "04T17:00"), // nothing is linked
    ];
    for (n, message) in (1..).zip(&messages) {
        send(&weir, &project, std::slice::from_ref(message)).await;
        weir.wait_for_events(n).await;
    }
    // Told again, it comes to the same.
    send(
        &weir,
        &project,
        &messages.clone().map(|mut event| {
            event["event_id"] = Value::Null;
            event["event_type"] = json!("again");
            event
        }),
    )
    .await;
    weir.wait_for_events(18).await;
    settled(&weir).await;
    for (name, events, aliases) in
        [("alice", 8, json!(["tablet", "watch"])), ("ben", 8, json!([])), ("carl", 2, json!([]))]
    {
        let user = weir.ask(&project, &format!("/users/{name}")).await;
        assert_eq!(
            (&user["user_id"], &user["events"], &user["aliases"]),
            (&json!(name), &json!(events), &aliases)
        );
    }
    let refused = |reason: &str| format!("links_refused_total{{reason=\"{reason}\"}}");
    let metrics = weir.http.get(format!("http://{}/metrics", weir.worker.address)).send().await.unwrap();
    let metrics = metrics.text().await.unwrap();
    for (reason, times) in [("known_user", 4), ("alias_of_another", 2)] {
        assert!(metrics.contains(&format!("{} {times}\n", refused(reason))), "{reason}: {metrics}");
    }

    // A person whom an admin has named is no visitor.
    send(&weir, &project, &[event(20, None, Some("kiosk"), "e", "05T09:00")]).await;
    weir.wait_for_events(19).await;
    assert_eq!(weir.merge_users(&project, "ben", "kiosk").await.0, 202);
    send(&weir, &project, &[event(21, Some("alice"), Some("kiosk"), "e", "05T10:00")]).await;
    weir.wait_for_events(20).await;
    settled(&weir).await;
    assert_eq!(weir.ask(&project, "/users/ben").await["user_id"], "kiosk");
    assert_eq!(weir.ask(&project, "/users/alice").await["events"], 9);

    let many = "insert into user_aliases (project_id, user_id, user_no)
                select project_id, 'alias-' || n, user_no from users, generate_series(1, 998) as n
                where user_id = 'alice'";
    weir.execute(many).await;
    send(&weir, &project, &[event(22, Some("alice"), Some("one-more"), "e", "05T11:00")]).await;
    weir.wait_for_events(21).await;
    assert_eq!(weir.number("select count(*) from user_aliases where user_id = 'one-more'").await, 0);
    weir.stop().await;
}

#[tokio::test]
async fn a_worker_that_dies_between_a_link_and_its_event_leaves_nothing_wrong() {
    let mut weir = Weir::start().await;
    let project = weir.project("p", "UTC").await;
    let story = story();
    send(&weir, &project, &story[..4]).await;
    weir.wait_for_events(4).await;
    for round in 0..2 {
        let mut holder = weir.pool.begin().await.unwrap();
        sqlx::query("lock table events in exclusive mode").execute(&mut *holder).await.unwrap();
        let (told, aliases) = if round == 0 { (&story[4..6], 1) } else { (&story[6..], 2) };
        send(&weir, &project, told).await;
        let linked = || weir.number("select count(*) from user_aliases");
        eventually("the link is there before the event", linked, |linked| *linked == aliases).await;
        weir.worker.kill().await;
        holder.rollback().await.unwrap();
        weir.start_worker().await;
        weir.wait_for_events(if round == 0 { 6 } else { 8 }).await;
    }
    settled(&weir).await;
    assert_is_one_person(&weir, &project, "after two crashes").await;
    weir.stop().await;
}

#[tokio::test]
async fn while_a_link_is_carried_out_nobody_is_forgotten() {
    let weir = Weir::start().await;
    let project = weir.project("p", "UTC").await;
    let story = story();
    send(&weir, &project, &story[..4]).await;
    weir.wait_for_events(4).await;
    weir.wait_for_roll_up().await;
    weir.execute(
        "create function refuse() returns trigger language plpgsql as $$ begin raise 'not now'; end $$",
    )
    .await;
    weir.execute("create trigger refuse before delete on user_merges for each row execute function refuse()")
        .await;
    send(&weir, &project, &story[4..]).await;
    weir.wait_for_events(8).await;
    for waits in [true, false] {
        if !waits {
            weir.execute("drop trigger refuse on user_merges").await;
            let waiting = || weir.number("select count(*) from user_merges");
            eventually("the merges are carried out", waiting, |waiting| *waiting == 0).await;
        }
        for path in [
            "active-users/users?from=2024-03-04&to=2024-03-04",
            "stickiness/users?from=2024-03-04&to=2024-03-05&days=2",
            "retention/users?from=2024-03-04&to=2024-03-05&windows=2&cohort_date=2024-03-04&period=1",
        ] {
            let list = weir.ask(&project, &format!("/stats/{path}")).await;
            assert_eq!(
                (&list["users"], &list["total"]),
                (&json!([{"user_id": "alice"}]), &json!(1)),
                "{path}"
            );
        }
        let user = weir.ask(&project, "/users/phone").await;
        assert_eq!((&user["user_id"], &user["events"]), (&json!("alice"), &json!(8)));
        assert_eq!(user["first_seen"], "2024-03-04T09:00:00Z");
        let mut path = "/events?user_id=alice&limit=3".to_owned();
        let mut listed = Vec::new();
        loop {
            let page = weir.ask(&project, &path).await;
            listed.extend(page["events"].as_array().unwrap().iter().map(|event| event["event_type"].clone()));
            let Some(next) = page["next"].as_str() else { break };
            path = format!("/events?user_id=alice&limit=3&cursor={next}");
        }
        let types =
            ["page_view", "login", "buy", "login", "page_view", "add_to_cart", "page_view", "page_view"];
        assert_eq!(listed, types);
    }
    settled(&weir).await;
    assert_is_one_person(&weir, &project, "in the end").await;
    weir.stop().await;
}

#[tokio::test]
async fn who_is_deleted_is_not_linked_by_what_was_said_before() {
    let mut weir = Weir::start().await;
    let project = weir.project("p", "UTC").await;
    let story = story();
    send(&weir, &project, &story[..6]).await;
    weir.wait_for_events(6).await;
    settled(&weir).await;
    weir.worker.kill().await;
    send(&weir, &project, &story[6..]).await; // links the phone, and waits
    assert_eq!(weir.delete_user(&project, "laptop").await.0, 202, "alice, by an alias");
    // New people with the same names.
    send(&weir, &project, &[event(10, None, Some("laptop"), "e", "08T09:00")]).await;
    send(&weir, &project, &[event(11, Some("bea"), Some("laptop"), "e", "08T10:00")]).await;
    send(&weir, &project, &[event(12, Some("alice"), None, "e", "08T11:00")]).await;
    weir.start_worker().await;
    weir.wait_until_drained().await;
    settled(&weir).await;
    // The phone was nobody's when alice was deleted: it is not hers.
    for (name, user_id, aliases, events) in [
        ("laptop", "bea", json!(["laptop"]), 2),
        ("alice", "alice", json!([]), 1),
        ("phone", "phone", json!([]), 3),
    ] {
        let user = weir.ask(&project, &format!("/users/{name}")).await;
        let expected = (&json!(user_id), &aliases, &json!(events));
        assert_eq!((&user["user_id"], &user["aliases"], &user["events"]), expected);
    }
    weir.stop().await;
}

/// An event that says something of its user.
fn told(n: usize, user: (&str, &str), at: &str, traits: &Value, initial_traits: &Value) -> Value {
    let mut event = event(n, None, None, "e", at);
    for (field, value) in
        [(user.0, json!(user.1)), ("traits", traits.clone()), ("initial_traits", initial_traits.clone())]
    {
        event[field] = value;
    }
    event
}

#[tokio::test]
async fn traits_are_the_same_in_whatever_order_they_are_told_and_go_with_the_user() {
    let mut weir = Weir::start().await;
    let mut rng = StdRng::seed_from_u64(7);
    let (phone, alice) = (("anonymous_id", "phone"), ("user_id", "alice"));
    let nothing = json!({});
    let mut link = told(4, alice, "06T10:00", &json!({"plan": "pro", "seats": 5}), &nothing);
    link["anonymous_id"] = json!("phone");
    let events = [
        told(
            0,
            phone,
            "04T09:00",
            &json!({"plan": "free", "theme": "dark"}),
            &json!({"source": "ad", "seats": 1}),
        ),
        told(1, phone, "05T09:00", &json!({"theme": null}), &json!({"source": "mail", "campaign": "b"})),
        told(
            2,
            alice,
            "05T10:00",
            &json!({"tags": ["a", {"b": 1.50}], "plan": "team"}),
            &json!({"campaign": "c"}),
        ),
        told(3, alice, "05T10:00", &json!({"plan": "free"}), &json!({"campaign": null})),
        link,
        told(5, alice, "06T09:00", &json!({"seats": 4, "long": "x".repeat(1_023), "": true}), &nothing),
    ];
    let mut projects = Vec::new();
    for n in 0..6 {
        let project = weir.project(&format!("p{n}"), "UTC").await;
        let mut events = events.clone();
        events.shuffle(&mut rng);
        for event in &events {
            send(&weir, &project, std::slice::from_ref(event)).await;
        }
        projects.push(project);
    }
    weir.wait_for_events(36).await;
    let expected = json!({"": true, "campaign": "b", "plan": "pro", "seats": 5, "source": "ad",
                          "tags": ["a", {"b": 1.50}]});
    for project in &projects {
        assert_eq!(weir.ask(project, "/users/phone").await["traits"], expected, "before all is moved");
    }
    settled(&weir).await;
    for project in &projects {
        assert_eq!(weir.ask(project, "/users/alice").await["traits"], expected);
    }
    let refused = weir.metric(&weir.worker, "traits_refused_total").await;
    assert!((refused - 6.0).abs() < 0.5, "{refused} are too long");

    // Of more than a hundred the first ones stay, and these may change.
    let many: serde_json::Map<String, Value> = (0..120).map(|n| (format!("n{n:03}"), json!(n))).collect();
    let many = told(10, ("user_id", "ben"), "07T09:00", &json!(many), &nothing);
    send(&weir, &projects[0], &[many]).await;
    weir.wait_for_events(37).await;
    let change = told(11, ("user_id", "ben"), "07T10:00", &json!({"n007": "new", "other": 1}), &nothing);
    send(&weir, &projects[0], &[change]).await;
    weir.wait_for_events(38).await;
    let traits = weir.ask(&projects[0], "/users/ben").await["traits"].clone();
    assert_eq!((traits.as_object().unwrap().len(), &traits["n007"]), (100, &json!("new")));

    weir.worker.kill().await;
    send(&weir, &projects[0], &[told(12, alice, "08T09:00", &json!({"waits": true}), &nothing)]).await;
    assert_eq!(weir.delete_user(&projects[0], "alice").await.0, 202);
    weir.start_worker().await;
    settled(&weir).await;
    weir.wait_until_drained().await;
    assert_eq!(
        weir.number("select count(*) from user_traits where project_id = 1").await,
        100,
        "nothing is left of alice"
    );
    weir.run(&["project", "delete", "p1", "--yes"]).await.succeeded();
    let left = || weir.number("select count(*) from user_traits where project_id = 2");
    eventually("the project's are gone", left, |left| *left == 0).await;
    weir.stop().await;
}
