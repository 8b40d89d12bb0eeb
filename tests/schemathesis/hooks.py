"""What schemathesis cannot know of weir from its OpenAPI document."""

import datetime
import json

import schemathesis
from hypothesis import strategies

NOW = datetime.datetime.now(datetime.timezone.utc)


def instants():
    """Times that weir takes, of at most 5 years ago and 24 hours ahead, in every form of RFC 3339."""
    zones = strategies.integers(-14 * 60, 14 * 60).map(
        lambda minutes: datetime.timezone(datetime.timedelta(minutes=minutes))
    )
    seconds = strategies.integers(-5 * 365 * 86_400, 23 * 3_600)
    micros = strategies.integers(0, 999_999)
    return strategies.builds(
        lambda second, micro, zone: (NOW + datetime.timedelta(seconds=second, microseconds=micro))
        .astimezone(zone)
        .isoformat(),
        seconds,
        micros,
        zones,
    )


schemathesis.openapi.format("date-time", instants())


@schemathesis.serializer("text/plain")
def text(_ctx, value):
    """`navigator.sendBeacon` sends JSON under this name."""
    return value if isinstance(value, (bytes, str)) else json.dumps(value).encode()


@schemathesis.serializer("application/x-ndjson")
def lines(_ctx, value):
    """An event is a line; so is whatever else stands for one."""
    return json.dumps(value).encode() + b"\n"
