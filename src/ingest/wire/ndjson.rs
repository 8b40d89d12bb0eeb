//! An event of weir's own format in each line.

use super::{Body, BodyError, Context, Format, Reads, json, native::Fields};
use crate::ingest::validate::{Reason, Rejection};

pub(super) const LINES: Format =
    Format { reads: Reads::ContentTypes(&["application/x-ndjson"]), unpack: None, parse };

/// Empty lines are no events. A line that cannot be read costs only itself.
fn parse<'a>(body: &'a [u8], context: &Context<'_>) -> Result<Body<'a>, BodyError> {
    let mut lines = body.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
    let mut events = Vec::new();
    for line in lines.by_ref().take(context.max_events) {
        let event = match std::str::from_utf8(line) {
            Ok(text) => {
                json::event::<Fields<'_>>(text, context, &mut events).map_err(|error| error.to_string())
            }
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = event {
            events.push(Err(Rejection::of_event(Reason::InvalidJson, format!("not valid JSON: {error}"))));
        }
    }
    let mut body = Body::list(events);
    body.sent += lines.count();
    body.not_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &[u8], max_events: usize) -> Result<Body<'_>, BodyError> {
        LINES.read(body, &Context::new(max_events))
    }

    #[test]
    fn each_line_stands_for_itself() {
        let body = b"{\"event\":\"a\"}\r\n\n  [1]\n{\"event\":\n\"\xff\"\n{\"event\":\"b\"} {}\n";
        let body = read(body, 10).expect("lines");
        assert!(!body.single);
        let [Ok(_), Err(two), Err(three), Err(four), Err(five)] = &body.events[..] else {
            panic!("five lines: {body:?}")
        };
        assert_eq!((two.reason, &*two.message), (Reason::NotAnObject, "expected an object, got a list"));
        assert!(three.reason == Reason::InvalidJson && three.message.contains("EOF"));
        assert!(four.reason == Reason::InvalidJson && four.message.contains("utf-8"));
        assert!(five.reason == Reason::InvalidJson && five.message.contains("trailing"));
        let too_many = read(b"{}\n{}\n{}", 2).expect_err("three lines");
        assert!(matches!(too_many, BodyError::TooManyEvents { sent: 3, limit: 2 }));
        assert!(matches!(read(b" \n\n", 2), Err(BodyError::Empty)));
    }
}
