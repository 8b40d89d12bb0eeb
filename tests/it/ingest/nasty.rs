//! Whatever `POST /events` accepts can be stored: shown with input that was made to hurt, on the real database.

use std::fmt::Write;

use proptest::{
    collection::vec,
    prelude::*,
    strategy::{BoxedStrategy, ValueTree},
    test_runner::{Config, RngSeed, TestRunner},
};
use serde_json::json;

use crate::support::Weir;

const BATCHES: usize = 30;
const EVENTS: usize = 100;

/// Pieces of texts that databases, bitmaps and JSON parsers stumble over, as they stand inside a JSON string.
const NASTY: [&str; 28] = [
    "\\u0000",
    "\\ud83d",
    "\\ude00",
    "\\ud83d\\ude00",
    "\\ud83d\\u0041",
    "\\udbff\\udfff",
    "\\uffff",
    "\\ufeff",
    "e\u{301}",
    "\u{e9}",
    "\u{212b}",
    "A\u{30a}",
    "\u{202e}",
    "\u{200d}",
    "\u{1f469}\u{200d}\u{1f52c}",
    "\\\\",
    "\\\"",
    "\\n\\r\\t",
    "\\b\\f",
    "\u{7f}",
    "\\u001b",
    "' or 1=1 --",
    "$1",
    "%s%n",
    "null",
    "\\\\u0000",
    "\u{10ffff}",
    " ",
];

/// A JSON string of nasty pieces; now and then a long one.
fn text() -> BoxedStrategy<String> {
    let piece =
        prop_oneof![3 => prop::sample::select(&NASTY[..]).prop_map(str::to_owned), 2 => "[a-zа-я0-9]{1,8}"];
    let length = prop_oneof![8 => 0..4_usize, 1 => 180..230_usize];
    length
        .prop_flat_map(move |length| vec(piece.clone(), length))
        .prop_map(|pieces| format!("\"{}\"", pieces.concat()))
        .boxed()
}

fn number() -> BoxedStrategy<String> {
    prop_oneof![
        any::<f64>().prop_map(|number| json!(number).to_string()),
        any::<i64>().prop_map(|number| number.to_string()),
        "-?[1-9][0-9]{0,420}",
        "-?[0-9]\\.[0-9]{1,300}[eE][+-]?[0-9]{1,4}",
        prop::sample::select(
            &["-0", "1e308", "1.7976931348623157e308", "1e309", "-1e-400", "5e-324", "1E+0400"][..]
        )
        .prop_map(str::to_owned),
    ]
    .boxed()
}

/// Any JSON, not too deep by itself.
fn value() -> BoxedStrategy<String> {
    let leaf = prop_oneof![
        text(),
        number(),
        prop::sample::select(&["null", "true", "false"][..]).prop_map(str::to_owned)
    ];
    leaf.prop_recursive(6, 40, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(|items| format!("[{}]", items.join(", "))),
            // Names repeat, on purpose.
            vec((prop_oneof![text(), Just("\"k\"".to_owned())], inner), 0..6).prop_map(object),
        ]
    })
    .boxed()
}

fn object(members: Vec<(String, String)>) -> String {
    let members: Vec<String> = members.into_iter().map(|(name, value)| format!("{name}:{value}")).collect();
    format!("{{{}}}", members.join(","))
}

/// Objects as deep as is allowed, one less and one more.
fn deep() -> BoxedStrategy<String> {
    (30..35_usize).prop_map(|depth| format!("{}1{}", "{\"k\":".repeat(depth), "}".repeat(depth))).boxed()
}

fn time() -> BoxedStrategy<String> {
    let field = |range: std::ops::Range<u32>| range.prop_map(|number| format!("{number:02}"));
    let zone = prop_oneof![
        Just("Z".to_owned()),
        Just("z".to_owned()),
        Just(String::new()),
        (prop::sample::select(&["+", "-"][..]), field(0..26), field(0..62))
            .prop_map(|(sign, h, m)| format!("{sign}{h}:{m}")),
    ];
    (
        1900..2110_u32,
        field(0..14),
        field(0..33),
        prop::sample::select(&["T", "t", " ", "_"][..]),
        field(0..26),
        field(0..62),
        field(0..62),
        "(\\.[0-9]{1,12})?",
        zone,
    )
        .prop_map(|(year, month, day, t, hour, minute, second, fraction, zone)| {
            format!("\"{year}-{month}-{day}{t}{hour}:{minute}:{second}{fraction}{zone}\"")
        })
        .boxed()
}

/// An event that is mostly valid: what is refused at once teaches nothing about the store.
fn event() -> BoxedStrategy<String> {
    let recent = (2023..2026_u32, 1..13_u32, 1..29_u32, 0..60_u32).prop_map(|(year, month, day, second)| {
        format!("\"{year}-{month:02}-{day:02}T23:59:{second:02}.{second}+05:30\"")
    });
    let or_null = |strategy: BoxedStrategy<String>| prop_oneof![6 => strategy, 1 => Just("null".to_owned())];
    (
        prop::option::of(or_null(text())),
        prop::option::of(or_null(text())),
        prop_oneof![3 => prop::sample::select(&["\"view\"", "\"e\u{301}\"", "\"\u{e9}\""][..]).prop_map(str::to_owned), 2 => text()],
        prop::option::of(prop_oneof![3 => recent, 1 => time(), 1 => value()]),
        prop::option::of(prop_oneof![4 => vec((text(), value()), 0..5).prop_map(object), 1 => deep(), 1 => value()]),
    )
        .prop_map(|(event_id, user_id, event_type, occurred_at, properties)| {
            let mut event = format!("{{\"event_type\":{event_type}");
            for (name, value) in
                [("event_id", event_id), ("user_id", user_id), ("occurred_at", occurred_at), ("properties", properties)]
            {
                if let Some(value) = value {
                    write!(event, ",\"{name}\":{value}").unwrap();
                }
            }
            event + "}"
        })
        .boxed()
}

#[tokio::test]
async fn what_is_accepted_can_be_stored_and_read_again() {
    let seed =
        std::env::var("WEIR_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand_seed);
    println!("WEIR_TEST_SEED={seed}");
    let weir = Weir::start_with(&[("WEIR_MAX_EVENT_TYPES", "100000")]).await;
    let project = weir.project("p", "UTC").await;
    let mut runner = TestRunner::new(Config { rng_seed: RngSeed::Fixed(seed), ..Config::default() });
    let lines = vec(event(), EVENTS);
    let (mut accepted, mut rejected, mut users) = (0, 0, std::collections::BTreeSet::new());
    for _ in 0..BATCHES {
        let lines = lines.new_tree(&mut runner).unwrap().current();
        // As lines, so that one that is no JSON at all costs only itself.
        let (status, answer) = weir.send_as(&project, "application/x-ndjson", lines.join("\n")).await;
        assert!([200, 202, 400].contains(&status.as_u16()), "seed {seed}: {status} {answer}");
        accepted += answer["accepted"].as_i64().unwrap_or(0);
        let refused = answer["rejected"].as_array().or(answer["errors"].as_array()).unwrap();
        rejected += refused.len();
        users.extend(lines.iter().filter_map(|line| user_of(line)));
    }
    assert!(accepted > 300 && rejected > 300, "seed {seed}: {accepted} accepted, {rejected} rejected");
    weir.wait_until_drained().await;
    let dead = weir.metric(&weir.worker, "events_dead_lettered_total").await;
    assert!(dead < 0.5, "seed {seed}: the store has refused {dead} events that were accepted");
    let (stored, ..) = weir.counts().await;
    assert!(stored <= accepted, "seed {seed}");
    weir.wait_for_events(stored).await; // activity counts what is stored
    // Texts of one id at several times are several events; without a time of their own they are one.
    let duplicates = weir.metric(&weir.worker, "events_duplicate_total").await;
    #[allow(clippy::cast_precision_loss, reason = "a few thousand")]
    let lost = accepted as f64 - stored as f64 - duplicates;
    assert!(lost.abs() < 0.5, "seed {seed}: {accepted} accepted, {stored} stored, {duplicates} duplicates");

    // What is stored can be given back, whoever's it is.
    let mut read = 0;
    for user in users {
        let response =
            weir.get(&project, "/events").query(&[("user_id", &user), ("limit", &"1000".to_owned())]);
        let response = response.send().await.unwrap();
        let valid = (1..=200).contains(&user.chars().count()) && !user.contains('\0');
        assert_eq!(response.status().as_u16(), if valid { 200 } else { 400 }, "seed {seed}: {user:?}");
        if valid {
            let page = response.text().await.unwrap();
            read +=
                serde_json::from_str::<Page>(&page).unwrap_or_else(|error| panic!("{error}: {page}")).count;
        }
    }
    let of_users: i64 = sqlx::query_scalar("select count(*) from events where user_no is not null")
        .fetch_one(&weir.pool)
        .await
        .unwrap();
    assert_eq!(read, of_users, "seed {seed}: every event of a user is in that user's timeline");
    weir.stop().await;
}

// serde_json's tree of values fails at the largest numbers, when all their digits are written: only what is needed is read.

#[derive(serde::Deserialize)]
struct Page {
    count: i64,
}

#[derive(serde::Deserialize)]
struct User {
    user_id: Option<String>,
}

fn user_of(line: &str) -> Option<String> {
    // Blanks around it mean nothing.
    Some(serde_json::from_str::<User>(line).ok()?.user_id?.trim().to_owned())
}

fn rand_seed() -> u64 {
    uuid::Uuid::new_v4().as_u64_pair().0
}
