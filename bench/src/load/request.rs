//! The bytes of a request, made once and then filled again and again.

use chrono::DateTime;

use crate::event::{BenchEvent, SHAPES};

const UUID: usize = 36;
const USER: usize = "user_00000000".len();
const SECOND: usize = "2026-03-02T10:00:00".len();
const TIME: usize = SECOND + ".123Z".len();

/// A request with places for what is different each time.
pub(super) struct RequestTemplate {
    bytes: Vec<u8>,
    key_at: usize,
    places: Vec<FieldOffsets>,
    clock: Clock,
}

/// Where an event's parts begin.
struct FieldOffsets {
    id: usize,
    user: usize,
    time: usize,
}

/// The text of the second that was written last.
#[derive(Default)]
struct Clock {
    second: i64,
    text: String,
}

impl RequestTemplate {
    /// For a key of so many bytes and so many events, whose shapes begin with the one of that number.
    pub fn new(key_length: usize, events: usize, first_shape: usize) -> Self {
        let mut body = String::new();
        let mut places = Vec::with_capacity(events);
        for number in 0..events {
            let (event_type, properties) = SHAPES[(first_shape + number) % SHAPES.len()];
            body.push_str(if number > 0 {
                ","
            } else if events > 1 {
                r#"{"events":["#
            } else {
                ""
            });
            let mut place = |before: &str, length: usize| {
                body.push_str(before);
                body.extend(std::iter::repeat_n('0', length));
                body.len() - length
            };
            let id = place(r#"{"event_id":""#, UUID);
            let user = place(r#"","user_id":""#, USER);
            let time = place(&format!(r#"","event_type":"{event_type}","occurred_at":""#), TIME);
            body.extend([r#"","properties":"#, properties, "}"]);
            places.push(FieldOffsets { id, user, time });
        }
        body.push_str(if events > 1 { "]}" } else { "" });
        let before_key = format!(
            "POST /events HTTP/1.1\r\nHost: localhost\r\nUser-Agent: weir-bench\r\nAccept: application/json\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\nX-API-Key: ",
            body.len()
        );
        let key_at = before_key.len();
        let body_at = key_at + key_length + 4;
        for FieldOffsets { id, user, time } in &mut places {
            for at in [id, user, time] {
                *at += body_at;
            }
        }
        let bytes = [before_key, "0".repeat(key_length), "\r\n\r\n".into(), body].concat().into_bytes();
        Self { bytes, key_at, places, clock: Clock::default() }
    }

    /// The request with this key and these events, as many as it has places.
    pub fn fill(&mut self, key: &str, events: &[BenchEvent], users: u32) -> &[u8] {
        self.bytes[self.key_at..][..key.len()].copy_from_slice(key.as_bytes());
        for (event, places) in events.iter().zip(&self.places) {
            event.id().hyphenated().encode_lower(&mut self.bytes[places.id..]);
            write_user(&mut self.bytes[places.user..][..USER], event.user(users));
            self.clock.write(&mut self.bytes[places.time..][..TIME], event.occurred_at);
        }
        &self.bytes
    }
}

/// `user_00001234`.
fn write_user(place: &mut [u8], user: u32) {
    place[..5].copy_from_slice(b"user_");
    write_digits(&mut place[5..], user.into());
}

fn write_digits(place: &mut [u8], mut number: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

impl Clock {
    /// `2026-03-02T10:00:00.123Z`.
    fn write(&mut self, place: &mut [u8], millis: i64) {
        let second = millis.div_euclid(1000);
        if self.second != second || self.text.is_empty() {
            let time = DateTime::from_timestamp(second, 0).unwrap_or_default();
            self.text = time.format("%Y-%m-%dT%H:%M:%S").to_string();
            self.second = second;
        }
        place[..SECOND].copy_from_slice(self.text.as_bytes());
        place[SECOND] = b'.';
        write_digits(&mut place[SECOND + 1..TIME - 1], millis.rem_euclid(1000).cast_unsigned());
        place[TIME - 1] = b'Z';
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn body(request: &[u8]) -> Value {
        let text = std::str::from_utf8(request).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{head}");
        serde_json::from_str(body).unwrap()
    }

    #[test]
    fn a_batch_is_filled_and_filled_again() {
        let mut request = RequestTemplate::new(3, 9, 1);
        for (number, millis) in [(1, 1_772_445_600_123), (2, 1_772_445_599_999), (3, 1_772_445_599_999)] {
            let event = BenchEvent { number, occurred_at: millis };
            let bytes = request.fill("key", &[event; 9], 1_000);
            assert!(std::str::from_utf8(bytes).unwrap().contains("X-API-Key: key\r\n"));
            let body = body(bytes);
            let events = body["events"].as_array().unwrap();
            assert_eq!(events.len(), 9);
            let (event_type, properties) = SHAPES[0]; // of the eighth, as the first has shape 1
            assert_eq!(
                events[7],
                json!({
                    "event_id": event.id().to_string(),
                    "user_id": format!("user_{:08}", event.user(1_000)),
                    "event_type": event_type,
                    "occurred_at": DateTime::from_timestamp_millis(millis).unwrap().format("%FT%T%.3fZ").to_string(),
                    "properties": serde_json::from_str::<Value>(properties).unwrap(),
                })
            );
        }
    }

    #[test]
    fn an_event_by_itself_is_the_body_and_has_the_size_that_it_should_have() {
        for (shape, (event_type, _)) in SHAPES.iter().enumerate() {
            let mut request = RequestTemplate::new(1, 1, shape);
            let bytes = request.fill("k", &[BenchEvent { number: 1, occurred_at: 0 }], 1_000);
            assert_eq!(body(bytes)["event_type"], *event_type);
            let length = bytes.len() - bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap() - 4;
            assert!((200..=220).contains(&length), "{length}");
        }
    }
}
