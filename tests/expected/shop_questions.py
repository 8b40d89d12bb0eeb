"""Expected answers to questions about the shop clickstream, worked out by tests/oracle/definitions.py.

Run from the root of the repository, with nothing but Python 3.11 and a database of time zones:

    python3 tests/expected/shop_questions.py tests/data/shop_clickstream.csv.gz > tests/expected/shop_questions.json
"""

import csv
import gzip
import json
import pathlib
import sys
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "oracle"))
import definitions

ZONES = ["UTC", "Asia/Kolkata"]
FIRST, LAST = date(2024, 1, 1), date(2024, 6, 30)
AS_OF = datetime(2026, 1, 1, tzinfo=UTC)  # all periods are over
FUNNEL = ["product_view", "add_to_cart", "payment_details", "purchase"]
CHANNELS = ["direct", "email", "organic", "paid_search", "social"]


def answers(calendar, events):
    funnel = {
        "first": FIRST,
        "last": LAST,
        "window": timedelta(days=7),
        "breakdown": "platform",
        "limit": 10,
        "steps": [(event_type, []) for event_type in FUNNEL],
    }
    found = {
        "funnel": definitions.funnel(calendar, events, funnel),
        "stickiness": definitions.stickiness(calendar, events, date(2024, 3, 1), date(2024, 3, 31)),
        "retention": {},
    }
    for interval in ["day", "week", "month"]:
        first, last = (date(2024, 3, 1), date(2024, 3, 31)) if interval == "day" else (FIRST, LAST)
        found[f"lifecycle_{interval}"] = definitions.lifecycle(calendar, events, first, last, interval)
    for channel in CHANNELS:
        segment = ("channel", False, [("text", channel)])
        question = {
            "unit": "week",
            "first": FIRST,
            "last": LAST,
            "columns": [(k, k) for k in range(9)],
            "window": "calendar",
            "cohort": "first_time",
            "start": (None, [segment]),
            "back": (None, [segment]),
            "as_of": AS_OF,
            "mean": "pooled",
        }
        found["retention"][channel] = definitions.retention(calendar, events, question)
    return found


def text(value, indent=""):
    """JSON with sorted keys, one element of a list per line."""
    if isinstance(value, dict):
        lines = [f"{indent} {json.dumps(k)}: {text(v, indent + ' ')}" for k, v in sorted(value.items())]
        return "{\n" + ",\n".join(lines) + "\n" + indent + "}"
    lines = [indent + " " + json.dumps(v, sort_keys=True, separators=(",", ":")) for v in value]
    return "[\n" + ",\n".join(lines) + "\n" + indent + "]"


def main(path):
    with gzip.open(path, "rt", newline="") as file:
        events = [
            {
                "user": row["user_id"],
                "type": row["event_type"],
                "at": datetime.fromisoformat(row["occurred_at"]),
                "properties": json.loads(row["properties_json"]),
            }
            for row in csv.DictReader(file)
        ]
    found = {zone: answers(definitions.Calendar(ZoneInfo(zone), 0), events) for zone in ZONES}
    print(text(found))


if __name__ == "__main__":
    main(sys.argv[1])
