//! Who is merged is one person: in events, in every bitmap, under every name, whenever their events arrive.

use chrono::{Days, Utc};
use serde_json::{Value, json};

use super::deletions::differences;
use crate::support::{Project, Weir, eventually, json as json_of};

fn event(user_id: &str, event_type: &str, at: &str) -> Value {
    json!({"user_id": user_id, "event_type": event_type, "occurred_at": format!("2024-03-{at}:00Z")})
}

async fn send(weir: &Weir, project: &Project, events: &[Value]) {
    let (status, answer) = weir.send(project, &json!(events)).await;
    assert_eq!((status.as_u16(), &answer["accepted"]), (202, &json!(events.len())), "{answer}");
}

pub async fn merge(weir: &Weir, project: &Project, from: &str, into: &str) {
    let (status, answer) = weir.merge_users(project, from, into).await;
    let expected = json!({"status": "accepted", "from": from, "into": into});
    assert_eq!((status.as_u16(), &answer), (202, &expected));
}

/// Waits until nothing is to be moved or removed any more, and statistics show it.
pub async fn settled(weir: &Weir) {
    let waiting =
        || weir.number("select (select count(*) from user_merges) + (select count(*) from user_deletions)");
    eventually("no user waits", waiting, |waiting| *waiting == 0).await;
    eventually("activity equals a recount", || differences(weir), Vec::is_empty).await;
}

fn names(answer: &Value) -> Vec<&str> {
    let mut names: Vec<&str> =
        answer["users"].as_array().unwrap().iter().map(|user| user["user_id"].as_str().unwrap()).collect();
    names.sort_unstable();
    names
}

/// Sizes of daily cohorts, and who came back on the days after.
async fn cohorts(weir: &Weir, project: &Project) -> Vec<(u64, Vec<u64>)> {
    let answer = weir.ask(project, "/stats/retention?from=2024-03-04&to=2024-03-05&windows=2").await;
    let cohorts = answer["cohorts"].as_array().unwrap().iter().map(|cohort| {
        let periods = cohort["periods"].as_array().unwrap().iter();
        (cohort["size"].as_u64().unwrap(), periods.map(|cell| cell["users"].as_u64().unwrap()).collect())
    });
    cohorts.collect()
}

#[tokio::test]
async fn a_merged_user_is_one_person_in_every_answer() {
    let weir = Weir::start().await;
    let (project, other) = (weir.project("p", "UTC").await, weir.project("q", "UTC").await);
    let story = [
        event("anonymous-17", "page_view", "04T23:00"),
        event("anonymous-17", "add_to_cart", "05T09:00"),
        event("alice", "signup", "05T10:00"),
        event("alice", "buy", "06T10:00"),
        event("ben", "page_view", "05T11:00"),
        event("ben", "buy", "06T11:00"),
    ];
    send(&weir, &project, &story).await;
    send(&weir, &other, &story).await;
    weir.wait_for_events(12).await;
    weir.wait_for_roll_up().await;
    let dau = "/stats/dau?from=2024-03-04&to=2024-03-06";
    let lifecycle = "/stats/lifecycle?from=2024-03-05&to=2024-03-05";
    let stickiness = "/stats/stickiness?from=2024-03-04&to=2024-03-06";
    let steps = ["page_view", "buy"].map(|event_type| json!({"event_type": event_type}));
    let funnel = json!({"from": "2024-03-04", "to": "2024-03-05", "steps": steps});
    let ask_funnel = async || {
        let request = weir.http.post(weir.url("/stats/funnel")).header("X-API-Key", &project.read);
        let (status, answer) = json_of(request.json(&funnel).send().await.unwrap()).await;
        assert_eq!(status, 200, "{answer}");
        [0, 1].map(|step| answer["steps"][step]["users"].as_u64().unwrap())
    };
    let active = async |project: &Project| {
        let answer = weir.ask(project, dau).await;
        [0, 1, 2].map(|day| answer["data"][day]["active_users"].as_u64().unwrap())
    };
    assert_eq!(cohorts(&weir, &project).await, [(1, vec![1, 1, 0]), (2, vec![2, 2, 0])]);
    assert_eq!(active(&project).await, [1, 3, 2]);
    assert_eq!(ask_funnel().await, [2, 1]);

    merge(&weir, &project, "anonymous-17", "alice").await;
    settled(&weir).await;
    assert_eq!(
        cohorts(&weir, &project).await,
        [(1, vec![1, 1, 1]), (1, vec![1, 1, 0])],
        "alice began a day earlier"
    );
    assert_eq!(active(&project).await, [1, 2, 2]);
    assert_eq!(ask_funnel().await, [2, 2], "seen under one name, bought under the other");
    let of_day = &weir.ask(&project, lifecycle).await["data"][0];
    assert_eq!((&of_day["new"], &of_day["returning"]), (&json!(1), &json!(1)), "{of_day}");
    let by_days = &weir.ask(&project, stickiness).await["data"];
    assert_eq!([0, 1, 2].map(|n| by_days[n]["users"].as_u64().unwrap()), [0, 1, 1]);
    let types = weir.ask(&project, "/stats/top-events?from=2024-03-04&to=2024-03-06").await;
    assert_eq!(types["data"][0], json!({"event_type": "buy", "events": 2, "users": 2}));
    for (path, expected) in [
        ("active-users/users?from=2024-03-05&to=2024-03-05", &["alice", "ben"][..]),
        ("active-users/users?from=2024-03-04&to=2024-03-04", &["alice"]),
        ("lifecycle/users?period=2024-03-05&state=returning", &["alice"]),
        ("stickiness/users?from=2024-03-04&to=2024-03-06&days=3", &["alice"]),
        (
            "retention/users?from=2024-03-04&to=2024-03-05&windows=2&cohort_date=2024-03-04&period=2",
            &["alice"],
        ),
    ] {
        let answer = weir.ask(&project, &format!("/stats/{path}")).await;
        assert_eq!((names(&answer), &answer["total"]), (expected.into(), &json!(expected.len())), "{path}");
    }

    for name in ["alice", "anonymous-17"] {
        let user = weir.ask(&project, &format!("/users/{name}")).await;
        assert_eq!((&user["user_id"], &user["aliases"]), (&json!("alice"), &json!(["anonymous-17"])));
        assert_eq!((&user["events"], &user["first_seen"]), (&json!(4), &json!("2024-03-04T23:00:00Z")));
        assert_eq!(user["timeline"]["count"], 4);
        let page = weir.ask(&project, &format!("/events?user_id={name}&limit=3")).await;
        let rest = format!("/events?user_id={name}&limit=3&cursor={}", page["next"].as_str().unwrap());
        let rest = weir.ask(&project, &rest).await;
        let events =
            [page["events"].as_array().unwrap().clone(), rest["events"].as_array().unwrap().clone()].concat();
        let types: Vec<&str> = events.iter().map(|event| event["event_type"].as_str().unwrap()).collect();
        assert_eq!(types, ["buy", "signup", "add_to_cart", "page_view"]);
        assert!(events.iter().all(|event| event["user_id"] == "alice"), "{events:?}");
        let earlier = weir.ask(&project, &format!("/api/v1/events?user_id={name}")).await;
        assert_eq!((&earlier["count"], &earlier["events"][3]["user_id"]), (&json!(4), &json!("alice")));
    }
    weir.wait_for_events(12).await;
    assert_eq!(active(&other).await, [1, 3, 2], "of another project");
    let of_other = weir.ask(&other, "/users/anonymous-17").await;
    assert_eq!((&of_other["user_id"], &of_other["aliases"]), (&json!("anonymous-17"), &json!([])));
    assert!((weir.metric(&weir.worker, "users_merged_total").await - 1.0).abs() < 0.5);
    let logs = [weir.api.log(), weir.worker.log()].concat();
    assert!(!logs.iter().any(|line| line.to_string().contains("anonymous-17")), "no name is in a log");
    weir.stop().await;
}

#[tokio::test]
async fn a_merge_says_what_it_did_or_what_to_do() {
    let weir = Weir::start().await;
    let project = weir.project("p", "UTC").await;
    let answer = async |from: &str, into: &str| {
        let (status, answer) = weir.merge_users(&project, from, into).await;
        (status.as_u16(), answer)
    };
    merge(&weir, &project, "a", "b").await; // neither has been seen
    let known = json!({"status": "known", "from": "a", "into": "b"});
    assert_eq!(answer("a", "b").await, (200, known));
    let (status, conflict) = answer("a", "c").await;
    assert_eq!((status, &conflict["code"]), (409, &json!("already_merged")));
    assert!(conflict["detail"].as_str().unwrap().contains("merge 'b' into 'c'"), "{conflict}");
    for (from, into) in [("a", "a"), ("b", "a"), ("b", "b"), ("new", "new")] {
        let (status, problem) = answer(from, into).await;
        assert_eq!(
            (status, &problem["code"]),
            (400, &json!("validation_failed")),
            "{from} {into}: {problem}"
        );
        let error = &problem["errors"][0];
        assert_eq!((&error["field"], &error["code"]), (&json!("into"), &json!("same_user")), "{problem}");
    }
    let resolved = json!({"status": "accepted", "from": "c", "into": "b"});
    assert_eq!(answer("c", "a").await, (202, resolved), "into an alias is into its user");
    merge(&weir, &project, "b", "d").await;
    let known = json!({"status": "known", "from": "a", "into": "d"});
    assert_eq!(answer("a", "c").await, (200, known), "both are d's by now");

    weir.execute(
        "insert into user_aliases (project_id, user_id, user_no)
         select project_id, 'alias-' || n, user_no from users, generate_series(1, 997) as n where user_id = 'd'",
    )
    .await;
    let (status, problem) = answer("e", "d").await;
    assert_eq!((status, &problem["code"]), (409, &json!("too_many_aliases")), "{problem}");
    assert_eq!(answer("d", "f").await.1["code"], "too_many_aliases", "their own name becomes one more");

    for (body, field) in [
        (json!({"from": "", "into": "b"}), "from"),
        (json!({"from": "b", "into": "x".repeat(201)}), "into"),
        (json!({"from": "b\0", "into": "b"}), "from"),
        (json!({"from": "b"}), "into"),
        (json!({}), "from"),
        (json!({"from": "a", "into": 1}), "into"),
        (json!({"from": "a", "into": "b", "x": 1}), "x"),
    ] {
        let request = weir.http.post(weir.url("/merges")).header("X-API-Key", &project.admin);
        let (status, problem) = json_of(request.json(&body).send().await.unwrap()).await;
        assert_eq!((status.as_u16(), &problem["errors"][0]["field"]), (400, &json!(field)), "{problem}");
    }
    weir.stop().await;
}

/// Some events of today and of long ago.
fn events_of(user_id: &str, range: std::ops::Range<u32>) -> Vec<Value> {
    let event = |n: u32| {
        let at = Utc::now() - Days::new(u64::from(n % 40) * 3);
        json!({"event_id": format!("{user_id}-{n}"), "event_type": format!("e{}", n % 3), "user_id": user_id,
               "occurred_at": at.to_rfc3339()})
    };
    range.map(event).collect()
}

async fn number_of_users(weir: &Weir) -> i64 {
    weir.number("select count(distinct user_no) from events").await
}

#[tokio::test]
async fn what_waits_in_the_stream_and_what_comes_later_is_the_persons_too() {
    let mut weir = Weir::start().await;
    let project = weir.project("p", "UTC").await;
    send(&weir, &project, &events_of("a", 0..10)).await;
    weir.wait_for_events(10).await;
    weir.worker.kill().await;
    send(&weir, &project, &events_of("a", 10..20)).await;
    send(&weir, &project, &events_of("unknown", 0..10)).await;
    merge(&weir, &project, "a", "person").await;
    merge(&weir, &project, "unknown", "person").await;
    merge(&weir, &project, "never-seen", "person").await;
    send(&weir, &project, &events_of("person", 0..10)).await;
    send(&weir, &project, &events_of("a", 20..30)).await;
    weir.start_worker().await;
    weir.wait_for_events(50).await;
    send(&weir, &project, &events_of("never-seen", 0..10)).await;
    weir.wait_for_events(60).await;
    settled(&weir).await;
    let user = weir.ask(&project, "/users/never-seen").await;
    assert_eq!((&user["user_id"], &user["events"]), (&json!("person"), &json!(60)));
    assert_eq!(user["aliases"], json!(["a", "never-seen", "unknown"]));
    assert_eq!(number_of_users(&weir).await, 1);
    weir.stop().await;
}

#[tokio::test]
async fn chains_of_merges_while_events_arrive_end_at_one_person() {
    let weir = Weir::start().await;
    let project = weir.project("p", "UTC").await;
    let people = 6;
    // Names of each person, merged one after the other in another order for each, while all of them send.
    let sending = async {
        for round in 0..15 {
            let mut batch = Vec::new();
            for person in 0..people {
                for name in ["a", "b", "c", "d"] {
                    batch.extend(events_of(&format!("{name}-{person}"), round * 2..round * 2 + 2));
                }
            }
            send(&weir, &project, &batch).await;
        }
    };
    let merging = async {
        for order in [[("a", "b"), ("b", "c"), ("c", "d")], [("c", "d"), ("a", "b"), ("b", "d")]] {
            for (from, into) in order {
                for person in (0..people).filter(|person| (person % 2 == 0) == (order[0].0 == "a")) {
                    merge(&weir, &project, &format!("{from}-{person}"), &format!("{into}-{person}")).await;
                }
                // At least one pass lies between the links of a chain.
                if order[0].0 == "a" {
                    let waiting = || weir.number("select count(*) from user_merges");
                    eventually("merges are carried out", waiting, |waiting| *waiting == 0).await;
                }
            }
        }
    };
    tokio::join!(sending, merging);
    let sent = 15 * 2 * 4 * people;
    weir.wait_for_events(i64::from(sent)).await;
    settled(&weir).await;
    assert_eq!(number_of_users(&weir).await, i64::from(people));
    for person in 0..people {
        let user = weir.ask(&project, &format!("/users/a-{person}")).await;
        assert_eq!((&user["user_id"], &user["events"]), (&json!(format!("d-{person}")), &json!(120)));
    }
    weir.stop().await;
}

#[tokio::test]
async fn a_crash_in_the_middle_loses_nothing_and_what_is_not_kept_any_more_moves_too() {
    let mut weir = Weir::start().await;
    let project = weir.project("p", "UTC").await;
    for begin in [0, 4_000, 8_000] {
        send(&weir, &project, &events_of("a", begin..begin + 4_000)).await;
    }
    send(&weir, &project, &events_of("b", 0..10)).await;
    send(&weir, &project, &[event("a", "long_ago", "04T12:00")]).await;
    weir.wait_for_events(12_011).await;
    weir.wait_for_roll_up().await;
    // As the retention of events does: only the bitmaps know of it.
    weir.execute("delete from events where event_type = 'long_ago'").await;

    let refusing =
        "create function refuse() returns trigger language plpgsql as $$ begin raise 'not now'; end $$";
    weir.execute(refusing).await;
    weir.execute("create trigger refuse before delete on user_merges for each row execute function refuse()")
        .await;
    merge(&weir, &project, "a", "b").await;
    let of_b = "select count(*) from events join users using (user_no) where user_id = 'b'";
    eventually("some events are moved", || weir.number(of_b), |events| *events > 10).await;
    assert_eq!(weir.number(of_b).await, 10_010, "the last step is refused as a whole");
    weir.worker.kill().await;
    let report = weir.run(&["doctor"]).await.stdout;
    assert!(
        report.lines().any(|line| line.contains("merges") && line.contains("1 user is waiting to be merged")),
        "{report}"
    );
    weir.execute("drop trigger refuse on user_merges").await;
    weir.start_worker().await;
    let waiting = || weir.number("select count(*) from user_merges");
    eventually("the merge is carried out", waiting, |waiting| *waiting == 0).await;
    assert_eq!(weir.number(of_b).await, 12_010);
    assert_eq!(weir.counts().await, (12_010, 12_011, 12_011), "counts are as before");
    let old = "/stats/active-users/users?from=2024-03-04&to=2024-03-04";
    let names_of_old = || async { names(&weir.ask(&project, old).await).join(" ") };
    eventually("bits without events are moved", names_of_old, |names| names == "b").await;
    weir.stop().await;
}

#[tokio::test]
async fn a_deletion_takes_all_names_of_a_person_also_those_not_merged_yet() {
    let mut weir = Weir::start().await;
    let project = weir.project("p", "UTC").await;
    for name in ["a", "b", "c", "other"] {
        send(&weir, &project, &events_of(name, 0..20)).await;
    }
    weir.wait_for_events(80).await;
    merge(&weir, &project, "a", "b").await;
    settled(&weir).await;
    weir.worker.kill().await;
    send(&weir, &project, &events_of("a", 20..30)).await;
    merge(&weir, &project, "b", "c").await; // is not carried out before the deletion
    send(&weir, &project, &events_of("b", 20..30)).await;
    assert_eq!(weir.delete_user(&project, "a").await.0, 202);
    for name in ["a", "b", "c"] {
        let page = weir.ask(&project, &format!("/events?user_id={name}")).await;
        assert_eq!(page["count"], json!(0), "nothing of {name} can be read at once");
    }
    // The names are free: new people's, who are merged with others.
    send(&weir, &project, &events_of("a", 30..35)).await;
    send(&weir, &project, &events_of("b", 30..35)).await;
    merge(&weir, &project, "a", "other").await;
    weir.start_worker().await;
    weir.wait_until_drained().await;
    settled(&weir).await;
    weir.wait_for_events(30).await;
    let other = weir.ask(&project, "/users/other").await;
    assert_eq!((&other["events"], &other["aliases"]), (&json!(25), &json!(["a"])));
    assert_eq!(weir.ask(&project, "/users/b").await["events"], 5);
    assert_eq!(number_of_users(&weir).await, 2);

    // Deleted and merged at once, while everything runs: what comes back is new.
    let (status, answer) = weir.merge_users(&project, "b", "a").await;
    assert_eq!((status.as_u16(), &answer["into"]), (202, &json!("other")));
    assert_eq!(weir.delete_user(&project, "b").await.0, 202);
    merge(&weir, &project, "b", "a").await;
    send(&weir, &project, &events_of("a", 40..43)).await;
    settled(&weir).await;
    weir.wait_for_events(3).await;
    let user = weir.ask(&project, "/users/b").await;
    assert_eq!((&user["user_id"], &user["events"]), (&json!("a"), &json!(3)));
    weir.stop().await;
}
