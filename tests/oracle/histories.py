"""Random histories, told around the moments at which calendars are odd, in which people turn out to have several
names or are forgotten; and random questions about them."""

import json
import random
import uuid
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from definitions import Calendar

DAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
# Each zone with dates around which a history is told: changes of daylight saving, the day that Samoa left out, and
# the last rules to change.
ZONES = {
    "UTC": ["2024-02-28", "2025-01-01"],
    "Asia/Kolkata": ["2024-02-28", "2025-01-01"],
    "Asia/Kathmandu": ["2024-02-28", "2025-01-01"],
    "America/New_York": ["2024-03-10", "2024-11-03"],
    "Australia/Lord_Howe": ["2024-04-07", "2024-10-06"],
    "Pacific/Apia": ["2011-12-30", "2012-04-01"],
    "Africa/Cairo": ["2024-04-26", "2024-11-01"],
    "America/Sao_Paulo": ["2018-02-18", "2018-11-04"],
    "America/Vancouver": ["2026-03-08", "2026-11-01"],
    "Africa/Casablanca": ["2026-02-15", "2026-09-20"],
    "America/Havana": ["2026-03-08", "2026-11-01"],
    "Europe/Chisinau": ["2026-03-29", "2026-10-25"],
}
TYPES = ["signup", "open", "play"]
UNITS = {"daily": "day", "weekly": "week", "monthly": "month"}


class History:
    def __init__(self, rng, zone, week_start):
        self.rng, self.zone = rng, zone
        self.calendar = Calendar(ZoneInfo(zone), DAYS.index(week_start))
        odd = datetime.fromisoformat(rng.choice(ZONES[zone])).date()
        length = rng.choice([6, 20, 75])
        self.first = odd - timedelta(days=rng.randint(1, length - 2))
        latest = datetime.now(UTC).date() - timedelta(days=3)
        self.last = min(self.first + timedelta(days=length), latest)
        self.names = [f"user-{n}" for n in range(rng.randint(1, 10))]
        # Half of them have visitors who log in, and nobody who is deleted: a link may still lie in the stream then.
        self.has_links = rng.random() < 0.5
        self.told = self.make_events()
        self.people = People()

    @property
    def events(self):
        """What is known when all of it has been told."""
        return self.people.events

    def midnight(self, day):
        return datetime(day.year, day.month, day.day, tzinfo=self.calendar.zone).astimezone(UTC)

    def moment(self):
        """A moment of the history, often one at which something changes."""
        rng = self.rng
        day = self.first + timedelta(days=rng.randrange((self.last - self.first).days))
        at = self.midnight(day)
        kind = rng.random()
        if kind < 0.15:
            return at + timedelta(microseconds=rng.choice([-1, 0, 1]))
        if kind < 0.3:  # around a whole hour, in the night in which clocks change too
            return at + timedelta(hours=rng.randrange(5), seconds=rng.choice([-1, 0, 1, 1799, 1800]))
        return at + timedelta(seconds=rng.randrange(86_400))

    def make_events(self):
        rng, events = self.rng, []
        for _ in range(rng.randint(0, 70)):
            user = rng.choice(self.names) if rng.random() < 0.95 else None
            at = self.moment()
            mine = [e for e in events if e["user"] == user]
            if mine and rng.random() < 0.3:  # exactly so long after another event of the user, or nearly so
                unit = rng.choice([timedelta(0), timedelta(days=1), timedelta(days=7), timedelta(minutes=5)])
                at = rng.choice(mine)["at"] + unit + timedelta(microseconds=rng.choice([-1, 0, 0, 1]))
            link = None
            if self.has_links and user and rng.random() < 0.6:
                visitor = f"visitor-{user}-{rng.randrange(2)}"
                user, link = (visitor, None) if rng.random() < 0.6 else (user, visitor)
            event = {
                "id": str(uuid.UUID(int=rng.getrandbits(128), version=4)),
                "user": user,
                "link": link,
                "at": at,
                "type": rng.choice(TYPES),
                "properties": self.make_properties(),
            }
            events.append(event)
        return events

    def make_properties(self):
        rng, properties = self.rng, {}
        for name, values in {
            "country": ["UA", "PL", "DE", None],
            "level": [1, 2, 5, 5.0, 5.5, "5", "five", True],
            "paid": [True, False, "true"],
            "tags": [["a"], ["a", "b"], ["b", 5], "a"],
            "utm": [
                {"source": "ad"},
                {"source": "mail"},
                {"source": "long" * 51},
                {"medium": "x"},
                [{"source": "ad"}],
                "ad",
            ],
            "utm.source": ["ad"],
        }.items():
            if rng.random() < (0.1 if name == "utm.source" else 0.6):
                properties[name] = rng.choice(values)
        return properties

    def calls(self):
        """What weir is told: batches of events in any order, some of it again, and between them who is who, and who
        is to be forgotten. As `("send", events)`, `("merge", from, into)`, `("delete", name)`; `people` follows."""
        rng = self.rng
        sent = [e for e in self.told for _ in range(rng.choice([1, 1, 1, 2]))]
        rng.shuffle(sent)
        while sent:
            size = rng.randint(1, 40)
            self.people.add(sent[:size])
            yield "send", [as_sent(e) for e in sent[:size]]
            sent = sent[size:]
            while rng.random() < 0.5:
                if rng.random() < 0.2 and not self.has_links:
                    name = rng.choice(self.names)
                    self.people.delete(name)
                    yield "delete", name
                    continue
                into, earlier = rng.choice(self.names), rng.choice([*self.names, f"device-{rng.randrange(5)}"])
                if self.people.merge(earlier, into):
                    yield "merge", earlier, into

    def make_segment(self):
        """A segment of the definitions, and how it is written."""
        rng = self.rng
        subject = rng.choice(["event_type", "country", "level", "paid", "tags", "utm.source"])
        pool = {
            "event_type": [("text", t) for t in TYPES],
            "country": [("text", "UA"), ("text", "PL"), ("missing", None)],
            "level": [
                ("number", (5, "5")),
                ("number", (5.5, "5.5")),
                ("text", "5"),
                ("less", 5),
                ("at_least", 2),
                ("missing", None),
            ],
            "paid": [("boolean", True), ("boolean", False), ("missing", None)],
            "tags": [("text", "a"), ("text", "b"), ("number", (5, "5")), ("missing", None)],
            "utm.source": [("text", "ad"), ("text", "mail"), ("missing", None)],
        }[subject]
        values = rng.sample(pool, rng.randint(1, min(2, len(pool))))
        negated = rng.random() < 0.3
        name = subject if subject == "event_type" else f"properties.{subject}"
        return (subject, negated, values), f"{name}:{'!' if negated else ''}{','.join(map(written, values))}"

    def make_segments(self, chance):
        made = [self.make_segment() for _ in range(self.rng.choice([1, 1, 2]))] if self.rng.random() < chance else []
        return [segment for segment, _ in made], [text for _, text in made]

    def make_range(self, longest=100):
        days = (self.last - self.first).days
        first = self.first + timedelta(days=self.rng.randint(-2, days // 2))
        return first, min(
            self.last + timedelta(days=2), first + timedelta(days=self.rng.randint(0, min(days, longest)))
        )


class People:
    """Who is who, the naive way: a merge or a link renames the user in all events so far, and a name that was merged in
    all later ones; a deletion strikes out all events so far of the person."""

    def __init__(self):
        self.events, self.ids, self.person_of = [], set(), {}

    def person(self, name):
        return self.person_of.get(name, name)

    def add(self, events):
        for event in events:
            if event["id"] not in self.ids:
                self.ids.add(event["id"])
                self.events.append(event | {"user": self.person(event["user"])})
                if event["link"]:
                    self.merge(event["link"], event["user"])

    def merge(self, earlier, into):
        """False if that is no merge: the names are one person's, or the earlier one is another's alias."""
        into = self.person(into)
        if earlier in self.person_of or earlier == into:
            return False
        self.person_of = {name: into if person == earlier else person for name, person in self.person_of.items()}
        self.person_of[earlier] = into
        for event in self.events:
            if event["user"] == earlier:
                event["user"] = into
        return True

    def delete(self, name):
        person = self.person(name)
        self.events = [e for e in self.events if e["user"] != person]
        self.person_of = {name: other for name, other in self.person_of.items() if other != person}


def written(value):
    kind, operand = value
    if kind == "missing":
        return "null"
    if kind == "text":
        return json.dumps(operand) if operand.isdigit() else operand
    if kind == "number":
        return operand[1]
    if kind == "boolean":
        return "true" if operand else "false"
    return f"{'<' if kind == 'less' else '>='}{operand}"


def as_sent(event):
    sent = {
        "event_id": event["id"],
        "event_type": event["type"],
        "properties": event["properties"],
        "occurred_at": event["at"].isoformat(),
    }
    if event["user"] is None:
        return sent
    if event["user"].startswith("visitor-"):
        return sent | {"anonymous_id": event["user"]}
    return sent | {"user_id": event["user"]} | ({"anonymous_id": event["link"]} if event["link"] else {})


def seeded(seed, number):
    return random.Random(f"{seed}/{number}")
