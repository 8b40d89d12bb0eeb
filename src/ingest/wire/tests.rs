use super::*;

fn decoded(body: &str) -> Decoded<'_> {
    decode(body.as_bytes(), Format::Json, 3).expect("a body")
}

fn refused(body: &[u8]) -> String {
    decode(body, Format::Json, 3).expect_err("must be refused").to_string()
}

#[test]
fn a_body_is_a_batch_a_list_or_one_event() {
    for (body, single, events) in [
        (r#"{"events":[{"event":"a"},{"event":"b"}]}"#, false, 2),
        (r#" [{"event_type":"a"}] "#, false, 1),
        (r#"{"event_type":"a","user_id":"u"}"#, true, 1),
    ] {
        let decoded = decoded(body);
        assert_eq!((decoded.single, decoded.events.len()), (single, events), "{body}");
    }
}

#[test]
fn fields_go_by_several_names_and_stay_as_sent() {
    let decoded = decoded(r#"{"event_name":"a","client_ts":"t","metadata":{ "k" : 1e2 },"colour":1}"#);
    let RawEvent::Fields(fields) = &decoded.events[0] else { panic!("an object") };
    assert_eq!(fields.event_type.map(RawValue::get), Some(r#""a""#));
    assert_eq!(fields.occurred_at.map(RawValue::get), Some(r#""t""#));
    assert_eq!(fields.properties.map(RawValue::get), Some(r#"{ "k" : 1e2 }"#));
    let others: Vec<_> = fields.others.iter().map(|(name, value)| (&**name, value.get())).collect();
    assert_eq!(others, [("colour", "1")]);
    assert_eq!(fields.repeated, None);
}

#[test]
fn a_field_under_two_names_is_repeated() {
    let decoded = decoded(r#"{"event":"a","event_type":"b"}"#);
    let RawEvent::Fields(fields) = &decoded.events[0] else { panic!("an object") };
    assert_eq!(fields.repeated, Some("event_type"));
}

#[test]
fn what_is_no_event_stands_in_its_place() {
    let decoded = decoded(r#"[{"event":"a"}, [1, {}], null]"#);
    assert!(matches!(decoded.events[1], RawEvent::NotAnObject("a list")));
    assert!(matches!(decoded.events[2], RawEvent::NotAnObject("null")));
}

#[test]
fn a_body_that_cannot_be_read_says_where_and_why() {
    assert!(refused(b"").contains("not valid JSON: EOF"));
    assert!(refused(br#"{"events":[{"a":}]}"#).contains("line 1 column 17"));
    assert!(refused(br#"{"events":[{"a":1},{"a":NaN}]}"#).contains("not valid JSON in the event at index 1"));
    assert!(refused(b"[{\"a\":1},{\"a\":\"\xff\"}]").contains("not UTF-8 in the event at index 1"));
    assert!(refused(br#"{"events":[]}"#).contains("no events"));
    assert!(refused(br"[]").contains("no events"));
    assert!(refused(br#"{"events":{}}"#).contains("expected a list of events"));
    assert!(refused(br#"{"events":[1],"more":1}"#).contains("only member"));
    assert!(refused(br"[1] 2").contains("trailing characters"));
    assert!(refused(br"17").contains("got a number"));
    assert!(refused(b"[\"\xff\"]").contains("not UTF-8"));
    assert!(refused(br"[1,2,3,4,5]").contains("5 events were sent; at most 3"));
}

#[test]
fn a_name_that_is_no_text_spoils_only_its_event() {
    let decoded = decoded(r#"[{"event":"a","\ud800":1},{"event":"b"}]"#);
    let RawEvent::Fields(fields) = &decoded.events[0] else { panic!("an object") };
    assert_eq!(fields.others.len(), 1);
    assert_eq!(decoded.events.len(), 2);
}

#[test]
fn each_line_stands_for_itself() {
    let body = b"{\"event\":\"a\"}\r\n\n  [1]\n{\"event\":\n\"\xff\"\n";
    let decoded = decode(body, Format::NdJson, 10).expect("lines");
    assert!(!decoded.single);
    let [one, two, three, four] = &decoded.events[..] else { panic!("four lines: {decoded:?}") };
    assert!(matches!(one, RawEvent::Fields(_)));
    assert!(matches!(two, RawEvent::NotAnObject("a list")));
    assert!(matches!(three, RawEvent::NotJson(error) if error.contains("EOF")));
    assert!(matches!(four, RawEvent::NotJson(error) if error.contains("utf-8")));
    let too_many = decode(b"{}\n{}\n{}", Format::NdJson, 2).expect_err("three lines");
    assert!(matches!(too_many, BodyError::TooManyEvents { sent: 3, limit: 2 }));
    assert!(matches!(decode(b" \n\n", Format::NdJson, 2), Err(BodyError::Empty)));
}

#[test]
fn cloud_events_come_alone_and_in_batches() {
    let event = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t"}"#;
    let one = decode(event.as_bytes(), Format::CloudEvent, 1).expect("an event");
    assert!(one.single && matches!(one.events[0], RawEvent::CloudEvent(_)));
    let body = format!("[{event}, 1]");
    let batch = decode(body.as_bytes(), Format::CloudEventBatch, 2).expect("a batch");
    assert!(!batch.single && matches!(batch.events[1], RawEvent::NotAnObject("a number")));
    assert!(decode(b"[]", Format::CloudEventBatch, 2).expect("an empty batch").events.is_empty());
    assert!(matches!(decode(b"[]", Format::CloudEvent, 2), Err(BodyError::WrongShape { got: "a list", .. })));
}

#[test]
fn binary_mode_is_the_same_event_in_structured_mode() {
    let headers = [("id", &b"\"a\\\"b\""[..]), ("type", b"caf%C3%A9%20%25")];
    let text = structured(headers.into_iter(), b" {\"n\": 1} ").expect("an event");
    assert_eq!(text, "{\"id\":\"a\\\"b\",\"type\":\"café %\",\"data\":{\"n\": 1}}".as_bytes());
    assert_eq!(
        structured(headers[1..].iter().copied(), b"").expect("no data"),
        "{\"type\":\"café %\"}".as_bytes()
    );
    assert!(matches!(structured(headers.into_iter(), b"{"), Err(BinaryModeError::Data(_))));
    let latin1 = [("subject", &b"%E9"[..])];
    assert!(
        matches!(structured(latin1.into_iter(), b""), Err(BinaryModeError::Header(name)) if name == "subject")
    );
}
