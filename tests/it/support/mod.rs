//! A weir of its own for each test.

pub mod browser;
pub mod front;
mod process;
pub mod tls;
mod way;

use std::{fmt::Debug, future::Future, path::PathBuf, time::Duration};

use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool, postgres::PgPoolOptions};
use uuid::Uuid;

pub use self::{
    process::{Finished, Process},
    way::Way,
};

/// Longer than anything takes on a slow machine: it bounds a test that would wait for ever, and decides nothing else.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// Waits until `probe` yields a value for which `is_it` holds.
pub async fn eventually<T: Debug, F: Future<Output = T>>(
    what: &str,
    mut probe: impl FnMut() -> F,
    is_it: impl Fn(&T) -> bool,
) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let value = probe().await;
        if is_it(&value) {
            return value;
        }
        assert!(tokio::time::Instant::now() < deadline, "waited in vain for: {what}; last seen: {value:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A database, a namespace in NATS and Redis, and the processes on them.
pub struct Weir {
    variables: Vec<(String, String)>,
    database: String,
    pub api: Process,
    pub worker: Process,
    pub pool: PgPool,
    pub http: Client,
}

/// A project and its keys.
pub struct Project {
    pub name: String,
    pub write: String,
    pub read: String,
    pub admin: String,
}

impl Weir {
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts with further environment variables.
    pub async fn start_with(variables: &[(&str, &str)]) -> Self {
        Self::start_on(new_database().await, variables).await
    }

    /// Starts on a database that is there.
    pub async fn start_on(database: String, variables: &[(&str, &str)]) -> Self {
        let id = &Uuid::new_v4().simple().to_string()[..12];
        let mut all = vec![
            ("DATABASE_URL".to_owned(), database.clone()),
            ("REDIS_URL".to_owned(), server("REDIS_URL")),
            ("NATS_URL".to_owned(), server("NATS_URL")),
            ("WEIR_NAMESPACE".to_owned(), format!("test-{id}")),
            ("WEIR_HTTP_ADDR".to_owned(), "127.0.0.1:0".to_owned()),
            ("WEIR_WORKER_HTTP_ADDR".to_owned(), "127.0.0.1:0".to_owned()),
            ("WEIR_STREAM_MAX_BYTES".to_owned(), "256MiB".to_owned()),
            ("WEIR_DATABASE_CONNECTIONS".to_owned(), "5".to_owned()),
        ];
        all.extend(variables.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())));
        Process::run("weir", &["migrate"], &all).await.succeeded();
        let api = Process::start("weir", &["serve"], &all).await;
        let worker = Process::start("weir-worker", &[], &all).await;
        let pool = PgPoolOptions::new().max_connections(2).connect(&database).await.unwrap();
        let weir = Self { variables: all, database, api, worker, pool, http: Client::new() };
        weir.wait_until_ready(&weir.api).await;
        weir
    }

    async fn wait_until_ready(&self, api: &Process) {
        let ready = || async {
            let answer = self.http.get(format!("http://{}/ready", api.address)).send().await;
            answer.is_ok_and(|answer| answer.status() == 200)
        };
        eventually("weir is ready", ready, |ready| *ready).await;
    }

    /// Runs a command of `weir` to its end.
    pub async fn run(&self, arguments: &[&str]) -> Finished {
        Process::run("weir", arguments, &self.variables).await
    }

    /// A command of `weir` that is not started yet.
    pub fn command(&self, arguments: &[&str]) -> tokio::process::Command {
        process::command("weir", arguments, &self.variables)
    }

    /// Runs a command of `weir` until something has happened, and then presses Ctrl-C.
    pub async fn interrupt(&self, arguments: &[&str], when: impl Future) -> Finished {
        Process::interrupt("weir", arguments, &self.variables, when).await
    }

    /// Sets a variable for the processes that are started from now on.
    pub fn set(&mut self, variable: &str, value: &str) {
        self.variables.push((variable.into(), value.into()));
    }

    pub async fn start_worker(&mut self) {
        self.worker = Process::start("weir-worker", &[], &self.variables).await;
    }

    /// A statement on the test's database.
    pub async fn execute(&self, statement: &str) {
        sqlx::query(AssertSqlSafe(statement)).execute(&self.pool).await.unwrap();
    }

    /// Where the test's database is.
    pub fn database_url(&self) -> String {
        self.database.clone()
    }

    /// The name of the test's database.
    pub fn database_name(&self) -> &str {
        self.database.rsplit_once('/').unwrap().1
    }

    pub async fn start_api(&mut self) {
        self.api = Process::start("weir", &["serve"], &self.variables).await;
        self.wait_until_ready(&self.api).await;
    }

    /// One more instance of the API, on the same servers.
    pub async fn another_api(&self) -> Process {
        let api = Process::start("weir", &["serve"], &self.variables).await;
        self.wait_until_ready(&api).await;
        api
    }

    pub async fn project(&self, name: &str, timezone: &str) -> Project {
        self.project_with(name, &["--timezone", timezone]).await
    }

    /// A project with these options of `weir project create`.
    pub async fn project_with(&self, name: &str, options: &[&str]) -> Project {
        self.run(&[&["project", "create", name], options].concat()).await.succeeded();
        let key = async |kind| {
            let made = self.run(&["key", "create", "--project", name, "--kind", kind]).await.succeeded();
            made.stdout.trim().to_owned()
        };
        Project {
            name: name.into(),
            write: key("write").await,
            read: key("read").await,
            admin: key("admin").await,
        }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.api.address)
    }

    /// `GET` with the project's read key.
    pub fn get(&self, project: &Project, path: &str) -> RequestBuilder {
        self.http.get(self.url(path)).header("X-API-Key", &project.read)
    }

    /// The JSON of a question that must be answered with 200.
    pub async fn ask(&self, project: &Project, path: &str) -> Value {
        let (status, answer) = json(self.get(project, path).send().await.unwrap()).await;
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    /// `POST /events` with the project's write key.
    pub fn post(&self, project: &Project, body: &Value) -> RequestBuilder {
        self.http.post(self.url("/events")).header("X-API-Key", &project.write).json(body)
    }

    /// Status and JSON of `POST /events` with a body of this type.
    pub async fn send_as(
        &self,
        project: &Project,
        content_type: &str,
        body: impl Into<Vec<u8>>,
    ) -> (StatusCode, Value) {
        let request = self.http.post(self.url("/events")).header("X-API-Key", &project.write);
        json(request.header("Content-Type", content_type).body(body.into()).send().await.unwrap()).await
    }

    /// `DELETE /users/…` with the project's admin key.
    pub async fn delete_user(&self, project: &Project, user_id: &str) -> (StatusCode, Value) {
        let mut url: reqwest::Url = self.url("/users").parse().unwrap();
        url.path_segments_mut().unwrap().push(user_id);
        json(self.http.delete(url).header("X-API-Key", &project.admin).send().await.unwrap()).await
    }

    /// `POST /merges` with the project's admin key.
    pub async fn merge_users(&self, project: &Project, from: &str, into: &str) -> (StatusCode, Value) {
        let request = self.http.post(self.url("/merges")).header("X-API-Key", &project.admin);
        json(request.json(&serde_json::json!({"from": from, "into": into})).send().await.unwrap()).await
    }

    /// Status and JSON of `POST /events`.
    pub async fn send(&self, project: &Project, body: &Value) -> (StatusCode, Value) {
        json(self.post(project, body).send().await.unwrap()).await
    }

    /// Rows in `events`, and the events that activity counts in the hours of all types and in the days of each.
    pub async fn counts(&self) -> (i64, i64, i64) {
        sqlx::query_as(
            "select (select count(*) from events),
                    (select coalesce(sum(events), 0)::bigint from activity_hourly
                     where event_type = '' and value_no = 0),
                    (select coalesce(sum(events), 0)::bigint from activity_daily
                     where event_type <> '' and value_no = 0)",
        )
        .fetch_one(&self.pool)
        .await
        .unwrap()
    }

    /// The number that a statement on the test's database gives.
    pub async fn number(&self, statement: &'static str) -> i64 {
        sqlx::query_scalar(statement).fetch_one(&self.pool).await.unwrap()
    }

    /// Waits until so many events are stored and counted.
    pub async fn wait_for_events(&self, events: i64) {
        let all_there =
            |counts: &(i64, i64, i64)| [counts.0, counts.1, counts.2].iter().all(|sum| *sum >= events);
        let counts = eventually("events are stored and counted", || self.counts(), all_there).await;
        assert_eq!(counts, (events, events, events), "rows in events, sums of activity by hour and by day");
    }

    /// Waits until the workers have acked everything that the stream held.
    pub async fn wait_until_drained(&self) {
        let nats = async_nats::connect(server("NATS_URL")).await.unwrap();
        let name = format!("{}-events", self.namespace());
        let stream = async_nats::jetstream::new(nats).get_stream(name).await.unwrap();
        let waiting = || async { stream.get_info().await.unwrap().state.messages };
        eventually("the stream is empty", waiting, |messages| *messages == 0).await;
    }

    /// A metric of one of the processes, summed over its labels.
    pub async fn metric(&self, process: &Process, name: &str) -> f64 {
        let text = self.http.get(format!("http://{}/metrics", process.address)).send().await.unwrap();
        let text = text.text().await.unwrap();
        let lines = text.lines().filter(|line| line.split(['{', ' ']).next() == Some(name));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// Waits until activity is rolled up: until a roll-up has begun and ended, which is the second to end from now on.
    pub async fn wait_for_roll_up(&self) {
        let ended = || self.metric(&self.worker, "roll_up_duration_seconds_count");
        let before = ended().await;
        eventually("activity is rolled up", ended, |ended| *ended > before + 1.5).await;
    }

    /// Ends the processes in order and removes what they leave on the servers.
    pub async fn stop(self) {
        let Self { variables, database, mut api, mut worker, pool, .. } = self;
        pool.close().await;
        for process in [&mut api, &mut worker] {
            process.signal_termination().await;
            process.ended().await;
        }
        let namespace = value(&variables, "WEIR_NAMESPACE");
        let nats = async_nats::connect(server("NATS_URL")).await.unwrap();
        let jetstream = async_nats::jetstream::new(nats);
        for stream in ["events", "dead"] {
            jetstream.delete_stream(format!("{namespace}-{stream}")).await.unwrap();
        }
        drop_database(&database).await;
    }

    pub fn namespace(&self) -> &str {
        value(&self.variables, "WEIR_NAMESPACE")
    }
}

fn value<'a>(variables: &'a [(String, String)], name: &str) -> &'a str {
    let (_, value) = variables.iter().rev().find(|(known, _)| known == name).unwrap();
    value
}

/// A test cannot run, because a program is not installed. Where all must run it fails; otherwise it says so and passes.
#[allow(clippy::print_stdout, reason = "a test that does not run must say so")]
pub fn missing_tool(name: &str, remedy: &str) {
    let required = std::env::var_os("WEIR_TEST_REQUIRE_ALL").is_some_and(|value| !value.is_empty());
    assert!(!required, "{name} is not there: {remedy}");
    println!("skipped: {name} is not there ({remedy})");
}

/// The first of these programs that is installed. Without one the test ends here, and says so.
pub fn find(programs: &[&str], package: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories: Vec<_> = std::env::split_paths(&path).collect();
    let found = programs.iter().find_map(|program| {
        directories.iter().map(|directory| directory.join(program)).find(|path| path.is_file())
    });
    if found.is_none() {
        missing_tool(&programs.join(" or "), &format!("apt-get install {package}"));
    }
    found
}

pub async fn json(response: Response) -> (StatusCode, Value) {
    let status = response.status();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

/// The address of a server, as `./scripts/test` has set it.
pub fn server(variable: &str) -> String {
    std::env::var(variable)
        .unwrap_or_else(|_| panic!("{variable} is not set: run the tests by ./scripts/test"))
}

/// A new database with a name of its own; its URL.
pub async fn new_database() -> String {
    create_database(&format!("weir_test_{}", Uuid::new_v4().simple())).await
}

/// A new database on the server; its URL.
pub async fn create_database(name: &str) -> String {
    let server = server("DATABASE_URL");
    let mut connection = PgConnection::connect(&server).await.unwrap();
    sqlx::query(AssertSqlSafe(format!("create database {name}"))).execute(&mut connection).await.unwrap();
    let (before, _) = server.rsplit_once('/').unwrap();
    format!("{before}/{name}")
}

pub async fn drop_database(url: &str) {
    let (_, name) = url.rsplit_once('/').unwrap();
    let mut connection = PgConnection::connect(&server("DATABASE_URL")).await.unwrap();
    let statement = AssertSqlSafe(format!("drop database {name} with (force)"));
    sqlx::query(statement).execute(&mut connection).await.unwrap();
}
