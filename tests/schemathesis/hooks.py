"""What schemathesis cannot know of weir from its OpenAPI document."""

import datetime
import json

import schemathesis
from hypothesis import strategies

NOW = datetime.datetime.now(datetime.UTC)


def instants():
    """Times that weir takes, of at most 5 years ago and 24 hours ahead, in every form of RFC 3339."""
    zones = strategies.integers(-14 * 60, 14 * 60).map(
        lambda minutes: datetime.timezone(datetime.timedelta(minutes=minutes))
    )
    seconds = strategies.integers(-5 * 365 * 86_400, 23 * 3_600)
    micros = strategies.integers(0, 999_999)
    return strategies.builds(
        lambda second, micro, zone: (
            (NOW + datetime.timedelta(seconds=second, microseconds=micro)).astimezone(zone).isoformat()
        ),
        seconds,
        micros,
        zones,
    )


schemathesis.openapi.format("date-time", instants())


@schemathesis.serializer("text/plain")
def text(_ctx, value):
    """`navigator.sendBeacon` sends JSON under this name."""
    return value.encode() if isinstance(value, str) else json.dumps(value).encode()


def lines():
    """Events, one in a line."""
    texts = strategies.text(
        min_size=1, max_size=200, alphabet=strategies.characters(exclude_characters="\0", codec="utf-8")
    )
    event = strategies.fixed_dictionaries({"event_type": texts}, optional={"user_id": texts, "occurred_at": instants()})
    return strategies.lists(event, min_size=1, max_size=5).map(
        lambda events: "\n".join(json.dumps(event) for event in events)
    )


schemathesis.openapi.format("ndjson", lines())


@schemathesis.serializer("application/x-ndjson")
def line(_ctx, value):
    """Whatever else than lines stands for them is one."""
    return value.encode() if isinstance(value, str) else json.dumps(value).encode()
