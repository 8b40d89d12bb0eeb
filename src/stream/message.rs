//! What a message of the stream carries: one [`Batch`] or several, in a compact binary form (postcard) that names its
//! version.

use std::borrow::Cow;

use bytes::{BufMut, Bytes, BytesMut};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::model::{
    event::{Batch, Copies, Event},
    project::ProjectId,
};

/// The first byte of a message is the number of the variant: a new form gets a new variant, and the old ones stay
/// readable for as long as they can be in a stream.
#[derive(Serialize, Deserialize)]
enum Versioned<'a> {
    #[serde(borrow)]
    V1(V1<'a>),
    /// Batches of requests that arrived together; they may be of different projects.
    #[serde(borrow)]
    V2(Vec<V1<'a>>),
    /// With what the filter knows.
    #[serde(borrow)]
    V3(V3<'a>),
    /// Several of these.
    #[serde(borrow)]
    V4(Vec<V3<'a>>),
    /// With what events say of their users.
    #[serde(borrow)]
    V5(V5<'a>),
    /// Several of these.
    #[serde(borrow)]
    V6(Vec<V5<'a>>),
}

#[derive(Serialize, Deserialize)]
struct V5<'a> {
    copies: Copies,
    project_id: i32,
    request_id: &'a str,
    #[serde(with = "chrono::serde::ts_microseconds")]
    received_at: DateTime<Utc>,
    #[serde(borrow)]
    events: Cow<'a, [Event<'a>]>,
}

#[derive(Serialize, Deserialize)]
struct V1<'a> {
    project_id: i32,
    request_id: &'a str,
    #[serde(with = "chrono::serde::ts_microseconds")]
    received_at: DateTime<Utc>,
    #[serde(borrow)]
    events: Vec<EventV1<'a>>,
}

#[derive(Serialize, Deserialize)]
struct EventV1<'a> {
    #[serde(with = "uuid::serde::compact")]
    event_id: Uuid,
    user_id: Option<&'a str>,
    event_type: &'a str,
    #[serde(with = "chrono::serde::ts_microseconds_option")]
    occurred_at: Option<DateTime<Utc>>,
    properties: &'a str,
}

#[derive(Serialize, Deserialize)]
struct V3<'a> {
    copies: Copies,
    #[serde(borrow)]
    batch: V1<'a>,
}

/// A batch in the form in which it travels.
#[derive(Clone, Debug)]
pub struct Encoded {
    /// Of its events, in their order.
    pub event_ids: Vec<Uuid>,
    pub payload: Bytes,
}

impl Encoded {
    pub fn of(batch: &Batch<'_>) -> Self {
        let event_ids = batch.events.iter().map(|event| event.event_id).collect();
        Self { event_ids, payload: encode(batch).into() }
    }
}

/// The bytes are not a message of this or an earlier version.
#[derive(Debug, thiserror::Error)]
#[error("the message cannot be decoded")]
pub struct DecodeError(#[from] postcard::Error);

/// The bytes of a message with one batch.
///
/// # Panics
/// Never: every batch can be encoded.
pub fn encode(batch: &Batch<'_>) -> Vec<u8> {
    let message = Versioned::V5(V5 {
        copies: batch.copies,
        project_id: batch.project_id.get(),
        request_id: &batch.request_id,
        received_at: batch.received_at,
        events: Cow::Borrowed(&batch.events),
    });
    let expected = batch.events.iter().map(encoded_size).sum::<usize>() + 64;
    postcard::to_extend(&message, Vec::with_capacity(expected))
        .expect("a batch has no part that cannot be encoded")
}

/// About how many bytes an event takes in a message.
pub fn encoded_size(event: &Event<'_>) -> usize {
    const FIXED: usize = 42; // id, time, lengths
    let length = |text: &Option<Cow<'_, str>>| text.as_ref().map_or(0, |text| text.len());
    let about_user = event.about_user.as_ref().map_or(0, |about| {
        length(&about.anonymous_id) + length(&about.traits) + length(&about.initial_traits)
    });
    FIXED + length(&event.user_id) + event.event_type.len() + event.properties.len() + about_user
}

/// One message with the batches of all of these, each of them made by [`encode`].
pub fn join(mut messages: Vec<Bytes>) -> Bytes {
    const V6: u8 = 5;
    if messages.len() == 1 {
        return messages.remove(0);
    }
    let bytes: usize = messages.iter().map(Bytes::len).sum();
    let mut joined = BytesMut::with_capacity(bytes + 16);
    joined.put_u8(V6);
    joined.put(&*postcard::to_stdvec(&messages.len()).expect("a number can be encoded"));
    for message in &messages {
        joined.put(&message[1..]); // all but the version
    }
    joined.freeze()
}

/// The batches that [`encode`] was given; their texts are borrowed from `bytes`.
pub fn decode(bytes: &[u8]) -> Result<Vec<Batch<'_>>, DecodeError> {
    let batches = match postcard::from_bytes(bytes)? {
        Versioned::V1(batch) => vec![batch.into_batch(Copies::Unknown)],
        Versioned::V2(batches) => {
            batches.into_iter().map(|batch| batch.into_batch(Copies::Unknown)).collect()
        }
        Versioned::V3(V3 { copies, batch }) => vec![batch.into_batch(copies)],
        Versioned::V4(batches) => {
            batches.into_iter().map(|V3 { copies, batch }| batch.into_batch(copies)).collect()
        }
        Versioned::V5(batch) => vec![batch.into_batch()],
        Versioned::V6(batches) => batches.into_iter().map(V5::into_batch).collect(),
    };
    Ok(batches)
}

impl<'a> V1<'a> {
    fn into_batch(self, copies: Copies) -> Batch<'a> {
        Batch {
            project_id: ProjectId::from_stored(self.project_id),
            request_id: self.request_id.into(),
            received_at: self.received_at,
            copies,
            events: self.events.into_iter().map(EventV1::into_event).collect(),
        }
    }
}

impl<'a> EventV1<'a> {
    fn into_event(self) -> Event<'a> {
        Event {
            event_id: self.event_id,
            user_id: self.user_id.map(Cow::Borrowed),
            event_type: self.event_type.into(),
            occurred_at: self.occurred_at,
            properties: self.properties.into(),
            is_anonymous: false,
            about_user: None,
        }
    }
}

impl<'a> V5<'a> {
    fn into_batch(self) -> Batch<'a> {
        Batch {
            project_id: ProjectId::from_stored(self.project_id),
            request_id: self.request_id.into(),
            received_at: self.received_at,
            copies: self.copies,
            events: self.events.into_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::event::AboutUser;

    fn batch() -> Batch<'static> {
        Batch {
            project_id: ProjectId::from_stored(7),
            request_id: "r-1".into(),
            received_at: DateTime::from_timestamp_micros(1_700_000_000_123_456).expect("a time"),
            copies: Copies::Beside,
            events: vec![
                Event {
                    event_id: Uuid::from_u128(1),
                    user_id: Some("ользователь".into()),
                    event_type: "page_view".into(),
                    occurred_at: DateTime::from_timestamp_micros(-1),
                    properties: r#"{"a": "\u00e9"}"#.into(),
                    is_anonymous: true,
                    about_user: Some(Box::new(AboutUser {
                        anonymous_id: Some("a-1".into()),
                        traits: Some("{}".into()),
                        initial_traits: None,
                    })),
                },
                Event {
                    event_id: Uuid::max(),
                    user_id: None,
                    event_type: "job".into(),
                    occurred_at: None,
                    properties: "{}".into(),
                    is_anonymous: false,
                    about_user: None,
                },
            ],
        }
    }

    #[test]
    fn what_was_encoded_is_decoded() {
        let bytes = encode(&batch());
        assert_eq!(decode(&bytes).expect("a message"), [batch()]);
        assert!(matches!(decode(&bytes).expect("a message")[0].events[0].user_id, Some(Cow::Borrowed(_))));
    }

    #[test]
    fn what_was_joined_is_decoded() {
        let mut other = batch();
        other.project_id = ProjectId::from_stored(-8);
        other.events.clear();
        let (one, two) = (Bytes::from(encode(&batch())), Bytes::from(encode(&other)));
        for batches in [vec![batch()], vec![batch(), other.clone()], vec![other; 300]] {
            let messages: Vec<_> = batches
                .iter()
                .map(|one_of| if *one_of == batch() { one.clone() } else { two.clone() })
                .collect();
            assert_eq!(decode(&join(messages)).expect("a message"), batches);
        }
    }

    /// Messages of these versions may lie in streams: their form must not change.
    #[test]
    fn versions_are_what_they_were() {
        let mut batch = batch();
        batch.events.remove(0);
        let mut content = b"\x0e\x03r-1\x80\x89\x81\x82\x83\x89\x85\x06\x01".to_vec();
        content.extend([0xff; 16]);
        content.extend(b"\x00\x03job\x00\x02{}");
        let with_copies = [b"\x02", &content[..]].concat();
        let third = [b"\x02", &with_copies[..]].concat();
        assert_eq!(decode(&third).expect("the third version"), [batch.clone()]);
        let fourth = [b"\x03\x02", &with_copies[..], &with_copies[..]].concat();
        assert_eq!(decode(&fourth).expect("the fourth version"), [batch.clone(), batch.clone()]);
        let with_users = [&with_copies[..], b"\0\0"].concat();
        assert_eq!(encode(&batch), [b"\x04", &with_users[..]].concat());
        let one = Bytes::from(encode(&batch));
        assert_eq!(join(vec![one.clone(), one]), [b"\x05\x02", &with_users[..], &with_users[..]].concat());
        batch.copies = Copies::Unknown;
        assert_eq!(decode(&[b"\x00", &content[..]].concat()).expect("the first version"), [batch.clone()]);
        let second = [b"\x01\x02", &content[..], &content[..]].concat();
        assert_eq!(decode(&second).expect("the second version"), [batch.clone(), batch]);
    }

    #[test]
    fn other_bytes_are_refused() {
        for bytes in [&b""[..], b"{\"events\":[]}", &[1, 2, 3], &encode(&batch())[..20]] {
            assert!(decode(bytes).is_err());
        }
    }
}
