//! Databases that become another under running processes: what was remembered of the one is not taken for the other's.

use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};

use crate::support::{Process, Project, Weir, drop_database, eventually, server};

/// An event of each user, with ids of their own.
fn events(of: &str, users: &[&str]) -> Value {
    let event = |user: &&str| json!({"event_id": format!("{of}-{user}"), "event_type": "e", "user_id": user});
    users.iter().map(event).collect()
}

/// Lets nobody into the database and ends who is there, as one does who swaps databases.
async fn shut(admin: &mut PgConnection, name: &str) {
    for statement in [
        format!("alter database {name} allow_connections false"),
        format!("select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}'"),
    ] {
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut *admin).await.unwrap();
    }
}

async fn execute(admin: &mut PgConnection, statement: String) {
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(admin).await.unwrap();
}

/// Makes a copy of a database as it is now.
async fn copy(admin: &mut PgConnection, name: &str) {
    shut(admin, name).await;
    execute(admin, format!("create database {name}_copy template {name}")).await;
    execute(admin, format!("alter database {name} allow_connections true")).await;
}

/// Puts the copy in the place of the database, under running processes.
async fn swap_in_copy(admin: &mut PgConnection, name: &str) {
    shut(admin, name).await;
    execute(admin, format!("alter database {name} rename to {name}_old")).await;
    execute(admin, format!("alter database {name}_copy rename to {name}")).await;
    execute(admin, format!("alter database {name} allow_connections true")).await;
}

/// Whose each stored event is.
async fn owners(pool: &PgPool) -> Vec<(String, String)> {
    let query = "select event_type, user_id from events join users using (project_id, user_no) order by 1, 2";
    sqlx::query_as(query).fetch_all(pool).await.unwrap()
}

#[tokio::test]
async fn events_are_stored_when_the_generation_of_users_goes_back() {
    let weir = Weir::start().await;
    let project = weir.project("p", "UTC").await;
    weir.execute("update upkeep set users_generation = 5, promotions_generation = 5").await;
    assert_eq!(weir.send(&project, &events("before", &["ann"])).await.0, 202);
    weir.wait_for_events(1).await;
    weir.execute("update upkeep set users_generation = 4, promotions_generation = 4").await;
    assert_eq!(weir.send(&project, &events("after", &["ann", "bob"])).await.0, 202);
    weir.wait_for_events(3).await;
    weir.stop().await;
}

#[tokio::test]
async fn events_go_to_their_own_users_when_a_copy_takes_the_place_of_the_database() {
    let weir = Weir::start().await;
    let project = weir.project("p", "UTC").await;
    assert_eq!(weir.send(&project, &events("first", &["ann"])).await.0, 202);
    weir.wait_for_events(1).await;
    weir.wait_until_drained().await;
    let mut admin = PgConnection::connect(&server("DATABASE_URL")).await.unwrap();
    let name = weir.database_name().to_owned();
    copy(&mut admin, &name).await;

    // In one bob gets the number that carol gets in the other; the generations are equal.
    assert_eq!(weir.send(&project, &events("second", &["bob"])).await.0, 202);
    weir.wait_for_events(2).await;
    weir.wait_until_drained().await;
    swap_in_copy(&mut admin, &name).await;
    for (of, users) in [("third", ["carol"]), ("fourth", ["bob"])] {
        assert_eq!(weir.send(&project, &events(of, &users)).await.0, 202);
        weir.wait_until_drained().await;
    }

    let whose = owners(&weir.pool).await;
    let users: Vec<&str> = whose.iter().map(|(_, user)| user.as_str()).collect();
    assert_eq!(users, ["ann", "bob", "carol"]);
    let of_bob = weir.get(&project, "/users/bob").send().await.unwrap();
    assert_eq!(of_bob.status(), 200);
    let old = format!("{}_old", weir.database_url());
    weir.stop().await;
    drop_database(&old).await;
}

/// Sends events to an API until they are taken as new ones: for seconds it may take them for what it has.
async fn take_again(weir: &Weir, api: &Process, project: &Project, events: &Value) {
    let answer = || async {
        let request = weir.http.post(format!("http://{}/events", api.address)).json(events);
        let answer = request.header("X-API-Key", &project.write).send().await.unwrap();
        answer.json::<Value>().await.unwrap()
    };
    let events = events.as_array().unwrap().len();
    eventually("what was lost is taken again", answer, |answer| answer["accepted"] == events).await;
}

#[tokio::test]
async fn what_a_stream_or_a_database_has_lost_is_reported_and_taken_again() {
    let mut weir = Weir::start().await;
    let project = weir.project("p", "UTC").await;
    assert_eq!(weir.send(&project, &events("kept", &["ann"])).await.0, 202);
    weir.wait_for_events(1).await;
    weir.wait_until_drained().await;

    weir.worker.kill().await;
    assert_eq!(weir.send(&project, &events("lost", &["ann"])).await.0, 202);
    weir.run(&["doctor"]).await; // knows what the stream has had
    let nats = async_nats::connect(server("NATS_URL")).await.unwrap();
    let stream = format!("{}-events", weir.namespace());
    async_nats::jetstream::new(nats).delete_stream(stream).await.unwrap();
    take_again(&weir, &weir.api, &project, &events("lost", &["ann"])).await;
    // What is stored is not forgotten.
    assert_eq!(weir.send(&project, &events("kept", &["ann"])).await.0, 202);
    weir.start_worker().await;
    weir.wait_until_drained().await;
    weir.wait_for_events(2).await;
    let doctor = weir.run(&["doctor"]).await;
    assert!(
        doctor.stdout.contains("1 message, the first with number 2, of an earlier stream, last seen at"),
        "{doctor:?}"
    );
    assert!(!doctor.status.success());
    weir.run(&["doctor", "--acknowledge"]).await.succeeded();
    let doctor = weir.run(&["doctor"]).await.succeeded();
    assert!(doctor.stdout.contains("1 message is missing, as you know; nothing else is lost"), "{doctor:?}");

    let mut admin = PgConnection::connect(&server("DATABASE_URL")).await.unwrap();
    let name = weir.database_name().to_owned();
    copy(&mut admin, &name).await;
    assert_eq!(weir.send(&project, &events("later", &["ann"])).await.0, 202);
    weir.wait_for_events(3).await;
    weir.wait_until_drained().await;
    swap_in_copy(&mut admin, &name).await;
    take_again(&weir, &weir.api, &project, &events("later", &["ann"])).await;
    weir.wait_until_drained().await;
    weir.wait_for_events(3).await;
    let doctor = weir.run(&["doctor"]).await;
    assert!(doctor.stdout.contains("left the stream and did not reach this database"), "{doctor:?}");
    assert!(!doctor.stdout.contains("nothing else is lost"), "{doctor:?}");
    let old = format!("{}_old", weir.database_url());
    weir.stop().await;
    drop_database(&old).await;
}

#[tokio::test]
async fn batches_and_files_that_an_older_database_lost_are_taken_again_while_the_stream_remembers_them() {
    let weir = Weir::start().await;
    let another = weir.another_api().await;
    let project = weir.project("p", "UTC").await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("events.csv");
    std::fs::write(&file, "event_type,occurred_at\ne,2024-03-01T12:00:00Z\ne,2024-03-01T12:00:01Z\n")
        .unwrap();
    let import = ["import", file.to_str().unwrap(), "--project", "p"];
    assert_eq!(weir.send(&project, &events("kept", &["ann"])).await.0, 202);
    weir.wait_for_events(1).await;
    weir.wait_until_drained().await;
    let mut admin = PgConnection::connect(&server("DATABASE_URL")).await.unwrap();
    let name = weir.database_name().to_owned();
    copy(&mut admin, &name).await;

    let (one, other) = (events("one", &["ann", "bob"]), events("other", &["ann"]));
    for lost in [&one, &other] {
        assert_eq!(weir.send(&project, lost).await.0, 202);
    }
    weir.run(&import).await.succeeded();
    weir.wait_for_events(6).await;
    weir.wait_until_drained().await;
    swap_in_copy(&mut admin, &name).await;
    let imported = weir.run(&import).await.succeeded();
    assert!(imported.stdout.contains("2 new, 0 already stored"), "{imported:?}");
    take_again(&weir, &weir.api, &project, &one).await;
    take_again(&weir, &another, &project, &other).await;
    // Sent again once more they are known, and what was kept is stored once.
    for again in [&one, &other] {
        assert_eq!(weir.send(&project, again).await.0, 200);
    }
    weir.send(&project, &events("kept", &["ann"])).await;
    weir.wait_until_drained().await;
    weir.wait_for_events(6).await;
    let old = format!("{}_old", weir.database_url());
    weir.stop().await;
    drop_database(&old).await;
}
