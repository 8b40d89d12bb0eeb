"""Asks weir random questions about random histories, and compares its answers with those of definitions.py.

Reads JSON from its input: `url`, the worker's `worker_url`, `seed`, `cases`, and `projects` with `timezone`,
`week_start`, and the keys `write`, `read` and `admin`. Each project gets a history. Prints each difference; fails if
there is one. Needs Python 3.11 and a database of time zones, and nothing else.
"""

import json
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from datetime import UTC, datetime, timedelta

import definitions
from histories import UNITS, History, seeded

PATIENCE = 120  # seconds; longer than anything takes


def call(url, key, body=None, method=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"X-API-Key": key}, method=method)
    if body is not None:
        request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        raise SystemExit(f"{url} {body}: {error.code} {error.read().decode()}") from error


class Asked:
    """A question on its way: to weir as parameters, to the definitions as it is meant."""

    def __init__(self, history, url, key):
        self.history, self.url, self.key, self.rng = history, url, key, history.rng
        self.parameters = []

    def add(self, **parameters):
        self.parameters += [(name, str(value)) for name, value in parameters.items()]

    def add_range(self, longest=100):
        self.first, self.last = self.history.make_range(longest)
        self.add(**{"from": self.first, "to": self.last})

    def add_segments(self, name="segment", chance=0.5):
        segments, texts = self.history.make_segments(chance)
        self.parameters += [(name, text) for text in texts]
        return segments

    def events(self):
        return definitions.matching(self.history.events, self.add_segments())

    def get(self, path):
        self.asked = f"{path}?{urllib.parse.urlencode(self.parameters)}"
        return call(self.url + self.asked, self.key)

    def users(self, path, body=None):
        """The names of a list of users, in pages of 3."""
        names, cursor = [], None
        while True:
            page = {"limit": 3} | ({"cursor": cursor} if cursor else {})
            if body:
                answer = call(self.url + path, self.key, body | page)
            else:
                parameters = self.parameters + list(page.items())
                answer = call(f"{self.url}{path}?{urllib.parse.urlencode(parameters)}", self.key)
            names += [user["user_id"] for user in answer["users"]]
            cursor = answer["next"]
            if cursor is None:
                self.asked = f"{path}?{urllib.parse.urlencode(self.parameters)} {json.dumps(body)}"
                return sorted(names), answer["total"]

    # --- A number, and how many users the list behind it has

    def total(self, path, body=None, **parameters):
        parameters = [*self.parameters, *parameters.items(), ("limit", 1)]
        query = "" if body else f"?{urllib.parse.urlencode(parameters)}"
        return call(f"{self.url}{path}{query}", self.key, body and body | {"limit": 1})["total"]

    def active_users_and_list(self):
        self.add_range(0)
        self.events()
        numbers = [row["active_users"] for row in self.get("/stats/dau")["data"]]
        return numbers, [self.total("/stats/active-users/users")]

    def stickiness_and_lists(self):
        self.add_range(5)
        self.events()
        rows = self.get("/stats/stickiness")["data"]
        return [row["users"] for row in rows], [self.total("/stats/stickiness/users", days=row["days"]) for row in rows]

    def lifecycle_and_lists(self):
        interval = self.rng.choice(["day", "week", "month"])
        range_, self.parameters = self.history.make_range(20), [("interval", interval)]
        self.events()
        common = list(self.parameters)
        self.add(**dict(zip(["from", "to"], range_, strict=True)))
        rows, self.parameters = self.some(self.get("/stats/lifecycle")["data"]), common
        states = ["new", "returning", "resurrecting", "dormant"]
        return [[row[state] for state in states] for row in rows], [
            [self.total("/stats/lifecycle/users", period=row["period"], state=state) for state in states]
            for row in rows
        ]

    def retention_and_lists(self):
        self.retention_question()
        rows = self.get("/stats/retention")["cohorts"]
        cells = self.some([(row, cell) for row in rows for cell in row["periods"]])
        who = ["returned", "missing", "all"]
        return [[cell["users"], row["size"] - cell["users"], row["size"]] for row, cell in cells], [
            [
                self.total("/stats/retention/users", cohort_date=row["cohort"], period=cell["period"], who=one)
                for one in who
            ]
            for row, cell in cells
        ]

    def funnel_and_lists(self):
        body, _ = self.funnel_question()
        self.asked = json.dumps(body)
        steps = [step["users"] for step in call(self.url + "/stats/funnel", self.key, body)["steps"]]
        return [[users, users - later] for users, later in zip(steps, [*steps[1:], 0], strict=True)], [
            [
                self.total("/stats/funnel/users", {"funnel": body, "step": step, "who": who})
                for who in ["reached", "dropped"]
            ]
            for step in range(1, len(steps) + 1)
        ]

    def some(self, rows):
        return self.rng.sample(rows, min(len(rows), 5))

    # --- The same as the definitions say

    def active_users_by_name(self):
        self.add_range()
        events = self.events()
        return self.users("/stats/active-users/users"), listed(
            definitions.active_between(self.history.calendar, events, self.first, self.last)
        )

    def stickiness_by_name(self):
        self.add_range(10)
        days = self.rng.randint(1, 4)
        self.add(days=days)
        found = definitions.active_days(self.history.calendar, self.events(), self.first, self.last)
        return self.users("/stats/stickiness/users"), listed(user for user, n in found.items() if n == days)

    def lifecycle_by_name(self):
        day = self.history.make_range()[0]
        interval = self.rng.choice(["day", "week", "month"])
        state = self.rng.choice(["new", "returning", "resurrecting", "dormant"])
        self.add(period=day, interval=interval, state=state)
        period = self.history.calendar.period(day, interval)
        found = definitions.states(self.history.calendar, self.events(), period, interval)
        return self.users("/stats/lifecycle/users"), listed(user for user, one in found.items() if one == state)

    def active_users(self):
        self.add_range()
        interval = self.rng.choice(["day", "week", "month"])
        self.add(interval=interval)
        events = self.events()
        answer = [without(row, "complete") for row in self.get("/stats/active-users")["data"]]
        return answer, definitions.active_users(self.history.calendar, events, self.first, self.last, interval)

    def dau(self):
        self.add_range()
        events = self.events()
        answer = [
            {"period": row["date"], "active_users": row["active_users"]} for row in self.get("/stats/dau")["data"]
        ]
        return answer, definitions.active_users(self.history.calendar, events, self.first, self.last, "day")

    def stickiness(self):
        self.add_range()
        events = self.events()
        return self.get("/stats/stickiness")["data"], definitions.stickiness(
            self.history.calendar, events, self.first, self.last
        )

    def lifecycle(self):
        self.add_range()
        interval = self.rng.choice(["day", "week", "month"])
        self.add(interval=interval)
        events = self.events()
        answer = [without(row, "complete") for row in self.get("/stats/lifecycle")["data"]]
        return answer, definitions.lifecycle(self.history.calendar, events, self.first, self.last, interval)

    def top_events(self):
        self.add_range()
        self.add(limit=2)
        events = self.events()
        return self.get("/stats/top-events")["data"], definitions.top_events(
            self.history.calendar, events, self.first, self.last, 2
        )

    def count(self):
        begin, end = sorted(self.history.moment() for _ in range(2))
        kind = self.rng.choice(["signup", "open", "play"])
        self.add(event_type=kind, **{"from": begin.isoformat(), "to": end.isoformat()})
        events = self.events()
        expected = sum(begin <= e["at"] < end and e["type"] == kind for e in events)
        return self.get("/stats/count")["count"], expected

    def timeseries(self):
        interval = self.rng.choice(["hour", "day", "week", "month"])
        self.add_range(8 if interval == "hour" else 100)
        measure = self.rng.choice(["events", "users"])
        breakdown = self.rng.choice([None, "event_type", "country", "paid", "level", "tags", "utm.source"])
        self.add(interval=interval, measure=measure, limit=2)
        if breakdown:
            self.add(breakdown=breakdown if breakdown == "event_type" else f"properties.{breakdown}")
        events = self.events()
        answer = self.get("/stats/timeseries")["series"]
        for series in answer:
            series["data"] = [without(point, "complete") for point in series["data"]]
        expected = definitions.timeseries(
            self.history.calendar, events, self.first, self.last, interval, measure, breakdown, 2
        )
        return answer, expected

    def retention(self):
        q = self.retention_question()
        answer = self.get("/stats/retention")
        for row in [cell for cohort in answer["cohorts"] for cell in cohort["periods"]] + answer["overall"]:
            row.pop("last_period", None)
        return {name: answer[name] for name in ["cohorts", "overall"]}, definitions.retention(
            self.history.calendar, self.history.events, q
        )

    def retention_by_name(self):
        q = self.retention_question()
        calendar = self.history.calendar
        cohort = self.rng.choice(list(calendar.periods(q["first"], q["last"], q["unit"])))
        column, who = self.rng.choice(q["columns"]), self.rng.choice(["returned", "missing", "all"])
        self.add(cohort_date=cohort, period=column[0], who=who)
        found = definitions.retention(calendar, self.history.events, q, (cohort, column, who))
        return self.users("/stats/retention/users"), listed(found)

    def retention_question(self):
        rng, q = self.rng, {}
        self.add_range()
        window_type = rng.choice(list(UNITS))
        calendar, unit = self.history.calendar, UNITS[window_type]
        # Cohorts are whole periods.
        first, last = (
            calendar.period(self.first, unit),
            calendar.next(calendar.period(self.last, unit), unit) - timedelta(days=1),
        )
        q["unit"], q["first"], q["last"] = unit, first, last
        q["window"] = rng.choice(["calendar", "calendar", "elapsed"])
        q["cohort"] = rng.choice(["first_time", "first_ever", "recurring"])
        q["mean"] = rng.choice(["pooled", "pooled", "simple"])
        q["as_of"] = datetime.now(UTC)
        self.add(window_type=window_type, window=q["window"], cohort=q["cohort"], mean=q["mean"])
        if rng.random() < 0.6:
            q["as_of"] = self.history.moment()
            self.add(as_of=q["as_of"].isoformat())
        criteria = rng.choice(["on", "on_or_after", "brackets"])
        if criteria == "brackets":
            lengths = [rng.randint(1, 4) for _ in range(rng.randint(1, 4))]
            begins = [sum(lengths[:i]) for i in range(len(lengths))]
            q["columns"] = [(a, a + length - 1) for a, length in zip(begins, lengths, strict=True)]
            self.add(brackets=",".join(map(str, lengths)))
        else:
            windows = rng.randint(1, 6)
            q["columns"] = [(k, k if criteria == "on" else None) for k in range(windows + 1)]
            self.add(criteria=criteria, windows=windows)
        common = self.add_segments(chance=0.2)
        for side, name in [("start", "start"), ("back", "return")]:
            kind = rng.choice([None, "signup", "open"])
            if kind:
                self.add(**{f"{name}_event": kind})
            q[side] = (kind, common + self.add_segments(f"{name}_segment", 0.3))
        return q

    def funnel(self):
        body, q = self.funnel_question()
        self.asked = json.dumps(body)
        answer = call(self.url + "/stats/funnel", self.key, body)
        expected = definitions.funnel(self.history.calendar, self.history.events, q)
        return {name: answer[name] for name in expected}, expected

    def funnel_by_name(self):
        body, q = self.funnel_question()
        step, who = self.rng.randint(1, len(q["steps"])), self.rng.choice(["reached", "dropped"])
        paths = definitions.paths(self.history.calendar, self.history.events, q)
        found = (user for user, path in paths.items() if len(path) == step or (len(path) > step and who == "reached"))
        return self.users("/stats/funnel/users", {"funnel": body, "step": step, "who": who}), listed(found)

    def funnel_question(self):
        rng = self.rng
        first, last = self.history.make_range()
        window = rng.choice([timedelta(0), timedelta(minutes=5), timedelta(days=1), timedelta(days=9)])
        steps, sent = [], []
        for _ in range(rng.randint(2, 4)):
            kind = rng.choice(["signup", "open", "play"])
            segments, texts = self.history.make_segments(0.3)
            steps.append((kind, segments))
            sent.append({"event_type": kind, "segment": texts})
        body = {"from": str(first), "to": str(last), "window": f"{window // timedelta(seconds=1)}s", "steps": sent}
        breakdown = rng.choice([None, "country", "paid", "level", "tags"])
        if breakdown:
            body |= {"breakdown": f"properties.{breakdown}", "limit": 2}
        return body, {
            "first": first,
            "last": last,
            "window": window,
            "steps": steps,
            "breakdown": breakdown,
            "limit": 2,
        }


QUESTIONS = [
    "active_users",
    "dau",
    "stickiness",
    "lifecycle",
    "top_events",
    "count",
    "timeseries",
    "timeseries",
    "funnel",
    "funnel",
    "retention",
    "retention",
    "retention",
    "retention",
    "retention",
    "active_users_by_name",
    "stickiness_by_name",
    "lifecycle_by_name",
    "retention_by_name",
    "funnel_by_name",
    "active_users_and_list",
    "stickiness_and_lists",
    "lifecycle_and_lists",
    "retention_and_lists",
    "funnel_and_lists",
]


def listed(users):
    """As a list of users tells them: their names, and how many they are."""
    names = sorted(users)
    return names, len(names)


def without(row, name):
    return {key: value for key, value in row.items() if key != name}


def tell(calls, url, project):
    for kind, *what in calls:
        if kind == "send":
            answer = call(f"{url}/events", project["write"], what[0])
            assert not answer["rejected"], answer
        elif kind == "merge":
            answer = call(f"{url}/merges", project["admin"], {"from": what[0], "into": what[1]})
            assert answer["status"] == "accepted", answer
        else:
            call(f"{url}/users/{what[0]}", project["admin"], method="DELETE")


def wait(history, url, project):
    """Until every event counts, by day and by hour, and is its person's."""
    span = urllib.parse.urlencode({"from": history.first - timedelta(days=16), "to": history.last + timedelta(days=60)})
    deadline = time.monotonic() + PATIENCE
    while True:
        seen = []
        for interval in ["hour", "day"]:
            answer = call(f"{url}/stats/timeseries?{span}&interval={interval}", project["read"])
            seen.append(sum(point["count"] for point in answer["series"][0]["data"]))
        of_people, expected = {}, {}
        for name in history.names:
            events = call(f"{url}/events?limit=1000&user_id={name}", project["read"])["events"]
            of_people[name] = sorted((e["event_id"], e["user_id"]) for e in events)
            person = history.people.person(name)
            expected[name] = sorted((e["id"], person) for e in history.events if e["user"] == person)
        if seen == [len(history.events)] * 2 and of_people == expected:
            return
        assert time.monotonic() < deadline, f"{seen} of {len(history.events)} events count; {of_people} {expected}"
        time.sleep(0.05)


def wait_for_roll_up(worker_url):
    """Until one has begun and ended: the second to end from now on."""

    def ended():
        with urllib.request.urlopen(f"{worker_url}/metrics", timeout=PATIENCE) as response:
            lines = response.read().decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith("roll_up_duration_seconds_count"))

    deadline = time.monotonic() + PATIENCE
    before = ended()
    while ended() < before + 2:
        assert time.monotonic() < deadline, "activity is not rolled up"
        time.sleep(0.05)


def main():
    given = json.load(sys.stdin)
    url, seed, projects = given["url"], given["seed"], given["projects"]
    print(f"seed {seed}", flush=True)
    histories = [History(seeded(seed, n), p["timezone"], p["week_start"]) for n, p in enumerate(projects)]
    calls = [list(history.calls()) for history in histories]
    # The second half is about what is rolled up, too.
    for part in [lambda all: all[: len(all) // 2], lambda all: all[len(all) // 2 :]]:
        for of_history, project in zip(calls, projects, strict=True):
            tell(part(of_history), url, project)
        wait_for_roll_up(given["worker_url"])
    for history, project in zip(histories, projects, strict=True):
        wait(history, url, project)
    wait_for_roll_up(given["worker_url"])
    differences = 0
    for case in range(given["cases"]):
        history, project = histories[case % len(histories)], projects[case % len(histories)]
        asked = Asked(history, url, project["read"])
        question = history.rng.choice(QUESTIONS)
        answer, expected = getattr(asked, question)()
        if answer != expected:
            differences += 1
            print(f"case {case}, {project['timezone']}, weeks from {project['week_start']}: {question} {asked.asked}")
            print(f"  weir   {json.dumps(answer)}\n  oracle {json.dumps(expected)}", flush=True)
    print(f"{given['cases']} cases, {differences} differences")
    sys.exit(differences > 0)


if __name__ == "__main__":
    main()
