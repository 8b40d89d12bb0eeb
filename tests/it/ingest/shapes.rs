//! The shapes in which events come: lines, CloudEvents, compressed.

use std::io::Write;

use serde_json::{Value, json};

use crate::support::{Weir, json as json_of};

#[tokio::test]
async fn each_line_of_ndjson_is_judged_on_its_own() {
    let weir = Weir::start().await;
    let project = weir.project("p", "UTC").await;
    let body = b"{\"event\":\"a\",\"user_id\":\"u\"}\r\n\n{\"event\":\n\"\xff\"\n{\"event_id\":\"5\",\"event\":\"b\",\"occured_at\":\"x\"}\n{\"event\":\"c\"}";
    let (status, answer) = weir.send_as(&project, "application/x-ndjson", body.as_slice()).await;
    assert_eq!((status.as_u16(), &answer["accepted"]), (202, &json!(2)), "{answer}");
    let rejected: Vec<_> = answer["rejected"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["index"].as_u64().unwrap(), one["code"].as_str().unwrap(), one["field"].as_str()))
        .collect();
    assert_eq!(
        rejected,
        [(1, "invalid_json", None), (2, "invalid_json", None), (3, "unknown_field", Some("occured_at"))]
    );
    assert_eq!(answer["rejected"][2]["event_id"], "5");
    let message = answer["rejected"][2]["message"].as_str().unwrap();
    assert!(message.contains("did you mean 'occurred_at'?"), "{message}");
    weir.wait_for_events(2).await;
    weir.stop().await;
}

#[tokio::test]
async fn cloud_events_come_structured_batched_and_binary_and_are_the_same_event() {
    let weir = Weir::start().await;
    let project = weir.project("p", "UTC").await;
    let event = |source: &str, id: &str| {
        json!({"specversion": "1.0", "id": id, "source": source, "type": "order_placed", "subject": "anna",
               "time": "2026-03-02T10:00:00Z", "traceparent": "00-1-2-3", "data": {"amount": 49.9}})
    };
    let structured = "application/cloudevents+json; charset=utf-8";
    let (status, answer) = weir.send_as(&project, structured, event("/shop", "1").to_string()).await;
    assert_eq!((status.as_u16(), answer), (202, json!({"status": "accepted", "event_id": "1"})));

    let binary = weir
        .http
        .post(weir.url("/events"))
        .header("X-API-Key", &project.write)
        .header("Content-Type", "application/json")
        .header("ce-specversion", "1.0")
        .header("ce-id", "%31")
        .header("ce-source", "/shop")
        .header("ce-type", "order_placed")
        .header("ce-subject", "\"anna\"")
        .header("ce-time", "2026-03-02T10:00:00Z")
        .body(r#"{"amount": 49.9}"#);
    let (status, answer) = json_of(binary.send().await.unwrap()).await;
    assert_eq!((status.as_u16(), &answer["status"]), (200, &json!("duplicate")), "the same event: {answer}");

    let batch = json!([event("/shop", "1"), event("/other", "1"), {"specversion": "1.0", "id": "2", "source": "/s"}, 7]);
    let (status, answer) =
        weir.send_as(&project, "application/cloudevents-batch+json", batch.to_string()).await;
    assert_eq!(status, 202);
    assert_eq!(
        (&answer["accepted"], &answer["duplicates"]),
        (&json!(1), &json!(1)),
        "an id is its source's: {answer}"
    );
    let codes: Vec<_> =
        answer["rejected"].as_array().unwrap().iter().map(|one| one["code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["missing", "not_an_object"]);
    assert_eq!(answer["rejected"][0]["field"], "type");
    let (status, answer) = weir.send_as(&project, "application/cloudevents-batch+json", "[]").await;
    assert_eq!((status.as_u16(), &answer["accepted"]), (200, &json!(0)), "{answer}");

    weir.wait_for_events(2).await;
    let timeline = weir.ask(&project, "/events?user_id=anna").await;
    let mut sources: Vec<&Value> = timeline["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| &event["properties"]["$cloudevent"])
        .collect();
    sources.sort_by_key(ToString::to_string);
    assert_eq!(
        sources,
        [
            &json!({"source": "/other", "traceparent": "00-1-2-3"}),
            &json!({"source": "/shop", "traceparent": "00-1-2-3"})
        ]
    );
    weir.stop().await;
}

fn compressed(encoding: &str, body: &[u8]) -> Vec<u8> {
    let level = flate2::Compression::fast();
    match encoding {
        "gzip" => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
            encoder.write_all(body).unwrap();
            encoder.finish().unwrap()
        }
        "deflate" => {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), level);
            encoder.write_all(body).unwrap();
            encoder.finish().unwrap()
        }
        "br" => {
            let mut compressed = Vec::new();
            brotli::BrotliCompress(
                &mut &*body,
                &mut compressed,
                &brotli::enc::BrotliEncoderParams::default(),
            )
            .unwrap();
            compressed
        }
        "zstd" => zstd::encode_all(body, 1).unwrap(),
        _ => body.to_vec(),
    }
}

#[tokio::test]
async fn bodies_come_compressed_and_bombs_stop_at_the_limit() {
    let weir = Weir::start_with(&[("WEIR_MAX_DECOMPRESSED", "1MiB")]).await;
    let project = weir.project("p", "UTC").await;
    let post = async |encoding: &'static str, body: Vec<u8>| {
        let request = weir.http.post(weir.url("/events")).header("Content-Type", "application/json");
        let request = request.header("X-API-Key", &project.write).header("Content-Encoding", encoding);
        request.body(body).send().await.unwrap()
    };
    let bomb = format!("[{}]", " ".repeat(2 << 20)).into_bytes();
    for (number, encoding) in ["gzip", "deflate", "br", "zstd", "identity"].into_iter().enumerate() {
        let body = json!({"event_id": number.to_string(), "event_type": encoding}).to_string();
        assert_eq!(post(encoding, compressed(encoding, body.as_bytes())).await.status(), 202, "{encoding}");
        if encoding == "identity" {
            continue;
        }
        let (status, problem) = json_of(post(encoding, compressed(encoding, &bomb)).await).await;
        assert_eq!(
            (status.as_u16(), &problem["code"]),
            (413, &json!("body_too_large")),
            "{encoding}: {problem}"
        );
        let (status, problem) = json_of(post(encoding, b"no such thing".to_vec()).await).await;
        assert_eq!(
            (status.as_u16(), &problem["code"]),
            (400, &json!("invalid_encoding")),
            "{encoding}: {problem}"
        );
    }
    for encoding in ["lzma", "gzip, br"] {
        let response = post(encoding, b"{}".to_vec()).await;
        assert_eq!(
            (response.status().as_u16(), &response.headers()["accept-encoding"]),
            (415, &"gzip, deflate, br, zstd".parse().unwrap())
        );
    }
    weir.wait_for_events(5).await;
    weir.stop().await;
}

#[tokio::test]
async fn a_byte_order_mark_is_no_part_of_a_body_and_gzip_is_recognised() {
    let weir = Weir::start().await;
    let project = weir.project("p", "UTC").await;
    let body = b"\xef\xbb\xbf{\"event\":\"a\"}\n{\"event\":\"b\"}";
    let (status, answer) = weir.send_as(&project, "application/x-ndjson", body.as_slice()).await;
    assert_eq!((status.as_u16(), &answer["accepted"]), (202, &json!(2)), "{answer}");
    let body = b"\xef\xbb\xbf[{\"event\":\"c\"}]";
    let (status, answer) = weir.send_as(&project, "application/json", body.as_slice()).await;
    assert_eq!((status.as_u16(), &answer["accepted"]), (202, &json!(1)), "{answer}");
    let (status, problem) = weir.send_as(&project, "application/json", b"\x1f\x8b\x08".as_slice()).await;
    let detail = problem["detail"].as_str().unwrap();
    assert!(status == 400 && detail.contains("Content-Encoding: gzip"), "{problem}");
    weir.stop().await;
}
