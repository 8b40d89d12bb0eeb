//! Sends events to weir: `cargo run --example send_events`.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that tells what it does")]

use std::{env, process::ExitCode, time::Duration};

use chrono::Utc;
use reqwest::Client;
use serde_json::{Value, json};
use tokio::{sync::mpsc, task::JoinHandle, time};
use uuid::Uuid;

const BATCH: usize = 100; // events at once: however large they are, weir takes them
const WAIT: Duration = Duration::from_secs(1); // of an event for others to go with
const TRIES: u32 = 10;
const BUFFER: usize = 10_000; // events; when it is full, `track` waits

/// Buffers events and sends them in the background.
struct Weir {
    events: mpsc::Sender<Value>,
    sender: JoinHandle<Outcome>,
}

#[derive(Debug, Default)]
struct Outcome {
    accepted: u64,
    duplicates: u64,
    failed: usize,
}

impl Weir {
    fn new(url: &str, key: String) -> Self {
        let (events, buffered) = mpsc::channel(BUFFER);
        let http = Client::builder().timeout(Duration::from_secs(30)).build().expect("an HTTP client");
        let sender = Sender {
            http,
            url: format!("{}/events", url.trim_end_matches('/')),
            key,
            outcome: Outcome::default(),
        };
        Self { events, sender: tokio::spawn(sender.run(buffered)) }
    }

    async fn track(&self, user_id: &str, event_type: &str, properties: Value) {
        let event = json!({
            "event_id": Uuid::now_v7(),
            "user_id": user_id,
            "event_type": event_type,
            "occurred_at": Utc::now(),
            "properties": properties,
        });
        self.events.send(event).await.expect("the sender ends after this channel");
    }

    /// Sends what is buffered. Call it before the program ends.
    async fn close(self) -> Outcome {
        drop(self.events);
        self.sender.await.expect("the sender does not panic")
    }
}

struct Sender {
    http: Client,
    url: String,
    key: String,
    outcome: Outcome,
}

impl Sender {
    async fn run(mut self, mut events: mpsc::Receiver<Value>) -> Outcome {
        while let Some(first) = events.recv().await {
            let mut batch = vec![first];
            let fill = async {
                while batch.len() < BATCH
                    && let Some(event) = events.recv().await
                {
                    batch.push(event);
                }
            };
            time::timeout(WAIT, fill).await.ok();
            self.send(&batch).await;
        }
        self.outcome
    }

    async fn send(&mut self, batch: &[Value]) {
        let mut pause = 0.5;
        for attempt in 1.. {
            let (status, retry_after, answer) = self.post(batch).await;
            if [200, 202].contains(&status) && answer.is_object() {
                self.outcome.accepted += answer["accepted"].as_u64().unwrap_or(0);
                self.outcome.duplicates += answer["duplicates"].as_u64().unwrap_or(0);
                for rejected in answer["rejected"].as_array().into_iter().flatten() {
                    eprintln!("weir rejects an event: {rejected}");
                    self.outcome.failed += 1;
                }
                return;
            }
            if status == 413 && batch.len() > 1 {
                let (one, other) = batch.split_at(batch.len() / 2);
                Box::pin(self.send(one)).await;
                return Box::pin(self.send(other)).await;
            }
            eprintln!("weir does not take {} events: {status} {answer}", batch.len());
            let hopeless = (400..500).contains(&status) && ![408, 429].contains(&status);
            if hopeless || attempt == TRIES {
                self.outcome.failed += batch.len();
                return;
            }
            time::sleep(retry_after + Duration::from_secs_f64(rand::random_range(0.0..pause))).await;
            pause = f64::min(2.0 * pause, 30.0);
        }
    }

    /// Status, `Retry-After` and JSON of the answer; status 0: none came.
    async fn post(&self, batch: &[Value]) -> (u16, Duration, Value) {
        let request = self.http.post(&self.url).header("X-API-Key", &self.key);
        let response = match request.json(&json!({"events": batch})).send().await {
            Ok(response) => response,
            Err(error) => return (0, Duration::ZERO, json!(format!("{error:?}"))),
        };
        let status = response.status().as_u16();
        let retry_after =
            response.headers().get("Retry-After").and_then(|value| value.to_str().ok()?.parse().ok());
        let answer = response.json().await.unwrap_or_default();
        (status, Duration::from_secs(retry_after.unwrap_or(0)), answer)
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let url = env::var("WEIR_URL").unwrap_or_else(|_| "http://127.0.0.1:8000".into());
    let key = env::var("WEIR_KEY").unwrap_or_else(|_| "weir_wk_dev".into());

    let weir = Weir::new(&url, key);
    weir.track("anna", "page_view", json!({"path": "/pricing"})).await;
    weir.track("anna", "page_view", json!({"path": "/checkout"})).await;
    weir.track("anna", "purchase", json!({"amount": 49.9, "currency": "EUR"})).await;
    let Outcome { accepted, duplicates, failed } = weir.close().await;

    println!("{accepted} accepted, {duplicates} duplicates, {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
