//! Bounds on what may come, and that those who keep to them do not suffer from those who do not.

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{Weir, eventually, json as json_of};

/// Sends bytes on a connection of their own, and reads until weir closes it.
async fn raw(weir: &Weir, bytes: &str) -> String {
    let mut stream = TcpStream::connect(&weir.api.address).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn who_sends_too_slowly_is_cut_off() {
    let weir = Weir::start_with(&[("WEIR_BODY_TIMEOUT", "200ms"), ("WEIR_IDLE_TIMEOUT", "300ms")]).await;
    let project = weir.project("p", "UTC").await;
    let head = format!(
        "POST /events HTTP/1.1\r\nHost: weir\r\nX-API-Key: {}\r\nContent-Type: application/json\r\n",
        project.write
    );
    let answer = raw(&weir, &format!("{head}Content-Length: 100\r\n\r\n{{\"event")).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("\"code\":\"body_timeout\""), "{answer}");
    // No answer is possible before there is a question: the connection is closed.
    let answer = raw(&weir, "GET /health HTTP/1.1\r\nHost").await;
    assert!(!answer.contains(" 200 "), "{answer}");
    assert_eq!(weir.send(&project, &json!({"event_type": "e"})).await.0, 202);
    weir.stop().await;
}

#[tokio::test]
async fn who_is_still_sending_a_body_that_is_not_taken_sees_why() {
    let weir = Weir::start_with(&[("WEIR_MAX_BODY", "1KiB")]).await;
    let project = weir.project("p", "UTC").await;
    let body = vec![b' '; 12 << 20];
    // As clients that look for an answer only after they have sent everything.
    for (key, status) in [(project.write.as_str(), 413), ("weir_wk_no", 401)] {
        let mut stream = TcpStream::connect(&weir.api.address).await.unwrap();
        let head = format!(
            "POST /events HTTP/1.1\r\nHost: weir\r\nX-API-Key: {key}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&body).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    }
    weir.stop().await;
}

#[tokio::test]
async fn one_connection_too_many_is_answered_and_closed() {
    let weir = Weir::start_with(&[("WEIR_MAX_CONNECTIONS", "3")]).await;
    let connect = async || TcpStream::connect(&weir.api.address).await.unwrap();
    // The client of this test may hold some of them already.
    let taken = [connect().await, connect().await, connect().await];
    let answer = raw(&weir, "").await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 503 ") && head.contains("Retry-After"), "{answer}");
    assert!(head.contains(&format!("Content-Length: {}", body.len())), "{answer}");
    assert_eq!(serde_json::from_str::<serde_json::Value>(body).unwrap()["code"], "overloaded");
    drop(taken);
    let again = || async {
        weir.http.get(weir.url("/health")).send().await.is_ok_and(|answer| answer.status() == 200)
    };
    eventually("there is room again", again, |there_is| *there_is).await;
    assert!(weir.metric(&weir.api, "connections_refused_total").await >= 1.0);
    weir.stop().await;
}

#[tokio::test]
async fn a_project_has_only_so_many_event_types() {
    let weir = Weir::start_with(&[("WEIR_MAX_EVENT_TYPES", "3")]).await;
    let (one, two) = (weir.project("one", "UTC").await, weir.project("two", "UTC").await);
    let types =
        |names: &[&str]| json!(names.iter().map(|name| json!({"event_type": name})).collect::<Vec<_>>());
    assert_eq!(weir.send(&one, &types(&["a", "b"])).await.1["accepted"], 2);
    let (status, answer) = weir.send(&one, &types(&["a", "c", "d", "c"])).await;
    assert_eq!((status.as_u16(), &answer["accepted"]), (202, &json!(3)), "{answer}");
    let rejected = &answer["rejected"][0];
    assert_eq!(
        (&rejected["index"], &rejected["code"]),
        (&json!(2), &json!("too_many_event_types")),
        "{answer}"
    );
    assert_eq!(weir.send(&two, &types(&["d"])).await.0, 202, "another project has types of its own");

    // Another instance knows what this one has taken, and takes no more either.
    let another = weir.another_api().await;
    let send = async |names: &[&str]| {
        let request = weir.http.post(format!("http://{}/events", another.address));
        json_of(request.header("X-API-Key", &one.write).json(&types(names)).send().await.unwrap()).await
    };
    assert_eq!(send(&["e"]).await.0, 400);
    assert_eq!(send(&["a", "b", "c"]).await.1["accepted"], 3);
    weir.run(&["project", "set", "one", "--max-event-types", "4"]).await.succeeded();
    let taken = || async { send(&["e"]).await.0.as_u16() };
    eventually("there is room for one more", taken, |status| *status == 202).await;
    weir.stop().await;
}

#[tokio::test]
async fn all_instances_share_a_projects_bucket_and_each_has_its_own_without_redis() {
    let mut weir = Weir::start_with(&[("WEIR_RATE_LIMIT", "1"), ("WEIR_RATE_BURST", "1000")]).await;
    let project = weir.project("p", "UTC").await;
    let mut another = weir.another_api().await;
    let batch = json!(vec![json!({"event_type": "e"}); 600]);
    let send = async |address: &str| {
        let request = weir.http.post(format!("http://{address}/events")).header("X-API-Key", &project.write);
        request.json(&batch).send().await.unwrap()
    };
    assert_eq!(send(&weir.api.address).await.status(), 202);
    let refused = send(&another.address).await;
    assert_eq!(refused.status(), 429, "the bucket has 400 left");
    assert!(refused.headers()["ratelimit"].to_str().unwrap().starts_with("\"events\";r=40"), "{refused:?}");
    another.kill().await;

    // A project's own rate holds within seconds.
    weir.run(&["project", "set", "p", "--rate-limit", "1", "--rate-burst", "2000"]).await.succeeded();
    let taken = || async { send(&weir.api.address).await.status().as_u16() };
    eventually("the burst is larger", taken, |status| *status == 202).await;

    weir.api.kill().await;
    weir.set("REDIS_URL", "redis://127.0.0.1:1");
    weir.start_api().await;
    let send = async || weir.post(&project, &batch).send().await.unwrap().status().as_u16();
    assert_eq!([send().await, send().await, send().await, send().await], [202, 202, 202, 429]);
    weir.stop().await;
}

#[tokio::test]
async fn an_address_that_floods_is_stopped_before_its_key_is_looked_up() {
    let variables = [
        ("WEIR_ADDRESS_RATE_LIMIT", "1"),
        ("WEIR_ADDRESS_RATE_BURST", "20"),
        ("WEIR_CLIENT_ADDRESS", "X-Forwarded-For"),
    ];
    let weir = Weir::start_with(&variables).await;
    let project = weir.project("p", "UTC").await;
    let from = async |address: &str, key: &str| {
        let request =
            weir.http.post(weir.url("/events")).header("X-API-Key", key).json(&json!({"event_type": "e"}));
        request
            .header("X-Forwarded-For", "10.8.8.8") // the client's own line, which says nothing
            .header("X-Forwarded-For", format!("10.9.9.9, {address}"))
            .send()
            .await
            .unwrap()
    };
    let mut statuses = Vec::new();
    for n in 0..30 {
        statuses.push(from("10.0.0.1", &format!("weir_wk_{n}")).await.status().as_u16());
    }
    assert_eq!(statuses[..20], [401; 20]);
    assert!(statuses[22..].iter().all(|status| *status == 429), "{statuses:?}");
    let refused = from("10.0.0.1", &project.write).await;
    assert_eq!(refused.headers()["ratelimit-policy"], "\"requests\";q=20;w=20");
    assert!(refused.headers().contains_key("retry-after"));
    assert_eq!(from("10.0.0.2", &project.write).await.status(), 202, "another address is admitted");
    weir.stop().await;
}

#[tokio::test]
async fn a_key_that_was_unknown_works_soon_after_it_is_made() {
    let weir = Weir::start().await;
    let project = weir.project("p", "UTC").await;
    // Made known by its hash, as no user could, so that weir has met it before.
    let status = || async {
        let request = weir.http.get(weir.url("/events?user_id=u")).header("X-API-Key", "weir_rk_later");
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(status().await, 401);
    weir.execute(
        "insert into api_keys (project_id, kind, key_hash, hint)
         select project_id, 'read', sha256('weir_rk_later'::bytea), 'weir_rk_late' from projects",
    )
    .await;
    eventually("the key is known", status, |status| *status == 200).await;
    weir.ask(&project, "/events?user_id=u").await;
    weir.stop().await;
}

#[tokio::test]
async fn a_body_that_no_memory_is_left_for_is_refused_and_the_next_is_not() {
    let weir = Weir::start_with(&[
        ("WEIR_MAX_BODY", "256KiB"),
        ("WEIR_MAX_DECOMPRESSED", "256KiB"),
        ("WEIR_BODY_MEMORY", "1MiB"),
    ])
    .await;
    let (one, two) = (weir.project("one", "UTC").await, weir.project("two", "UTC").await);
    // Two bodies of one project that stop short before their ends hold 6 of the 8 steps of 64 KiB that a project may have,
    // and a third needs 3.
    let mut stopped = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(&weir.api.address).await.unwrap();
        let head = format!(
            "POST /events HTTP/1.1\r\nHost: weir\r\nX-API-Key: {}\r\nContent-Type: application/json\r\n\
             Content-Length: 262144\r\n\r\n",
            one.write
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&vec![b' '; 190_000]).await.unwrap();
        stopped.push(stream);
    }
    let held = || weir.metric(&weir.api, "body_memory_bytes");
    eventually("the bodies are held", held, |bytes| *bytes >= 6.0 * 65_536.0).await;
    let event = format!("{}{}", " ".repeat(150_000), json!({"event_type": "e"}));
    let send = |project| weir.send_as(project, "application/json", event.clone());
    let (status, problem) = send(&one).await;
    assert_eq!((status.as_u16(), &problem["code"]), (503, &json!("overloaded")));
    assert_eq!(send(&two).await.0, 202, "another project has the rest");
    drop(stopped);
    let taken = || async { send(&one).await.0.as_u16() };
    eventually("the memory is given back", taken, |status| *status == 202).await;
    weir.stop().await;
}
