"""The definitions of docs/statistics.md, word by word: loops over users, no sets of days, no SQL, nothing of weir's.

An event is a dict with `user`, `type`, `at` (an aware datetime in UTC) and `properties`. A calendar has a zone and
the day on which a week begins. Answers have the form of weir's, without what does not depend on events.
"""

from collections import Counter, defaultdict
from datetime import date, datetime, timedelta
from fractions import Fraction
from math import floor


class Calendar:
    def __init__(self, zone, week_start):
        self.zone = zone
        self.week_start = week_start  # 0 is Monday

    def day(self, at):
        return at.astimezone(self.zone).date()

    def hour(self, at):
        local = at.astimezone(self.zone)
        return datetime(local.year, local.month, local.day, local.hour)

    def period(self, day, unit):
        """The first day of the period of a day."""
        if unit == "day":
            return day
        if unit == "week":
            while day.weekday() != self.week_start:
                day -= timedelta(days=1)
            return day
        return date(day.year, day.month, 1)

    def next(self, period, unit):
        if unit == "day":
            return period + timedelta(days=1)
        if unit == "week":
            return period + timedelta(days=7)
        return date(period.year + period.month // 12, period.month % 12 + 1, 1)

    def previous(self, period, unit):
        return self.period(period - timedelta(days=1), unit)

    def periods(self, first, last, unit):
        """The periods in which the days of a range lie."""
        period = self.period(first, unit)
        while period <= last:
            yield period
            period = self.next(period, unit)

    def between(self, earlier, later, unit):
        """How many periods after one the other is."""
        count = 0
        while earlier < later:
            earlier, count = self.next(earlier, unit), count + 1
        while earlier > later:
            earlier, count = self.previous(earlier, unit), count - 1
        return count


def rate(users, size):
    """In thousandths, half rounded up."""
    return None if size == 0 else thousandths(Fraction(users, size))


def thousandths(fraction):
    return floor(fraction * 1000 + Fraction(1, 2)) / 1000


# Segments: (subject, negated, values), where a value is (kind, operand).


def holds(segment, event):
    subject, negated, values = segment
    found = [event["type"]] if subject == "event_type" else elements(event["properties"], subject)
    return any(value_holds(value, found) for value in values) != negated


def elements(properties, name):
    """What a property may be: each element of a list, nothing if it is missing or null. A dot goes a level deeper."""
    ways = [properties.get(name)]
    if "." in name:
        inside = [properties]
        for part in name.split("."):
            objects = [
                one for way in inside for one in (way if isinstance(way, list) else [way]) if isinstance(one, dict)
            ]
            inside = [one[part] for one in objects if part in one]
        ways += inside
    found = []
    for way in ways:
        found += way if isinstance(way, list) else [] if way is None else [way]
    return found


def value_holds(value, found):
    kind, operand = value
    if kind == "missing":
        return not found
    for one in found:
        is_number = isinstance(one, (int, float)) and not isinstance(one, bool)
        if kind == "text" and one == operand and isinstance(one, str):
            return True
        if kind == "number" and ((is_number and one == operand[0]) or one == operand[1]):
            return True
        if kind == "boolean" and (one is operand or one == ("true" if operand else "false")):
            return True
        if kind == "less" and is_number and one < operand:
            return True
        if kind == "at_least" and is_number and one >= operand:
            return True
    return False


def matching(events, segments, event_type=None):
    return [e for e in events if all(holds(s, e) for s in segments) and event_type in (None, e["type"])]


def users_of(events):
    return {e["user"] for e in events if e["user"] is not None}


def by_user(events):
    found = defaultdict(list)
    for event in events:
        if event["user"] is not None:
            found[event["user"]].append(event)
    return found


def active_between(calendar, events, first, last):
    """Who was active on the days of a range."""
    return users_of(e for e in events if first <= calendar.day(e["at"]) <= last)


def active_users(calendar, events, first, last, unit):
    data = []
    for period in calendar.periods(first, last, unit):
        users = users_of(e for e in events if calendar.period(calendar.day(e["at"]), unit) == period)
        data.append({"period": str(period), "active_users": len(users)})
    return data


def active_days(calendar, events, first, last):
    """On how many days of a range each user was active."""
    days = {}
    for user, of_user in by_user(events).items():
        days[user] = len({calendar.day(e["at"]) for e in of_user if first <= calendar.day(e["at"]) <= last})
    return days


def stickiness(calendar, events, first, last):
    counts = Counter(active_days(calendar, events, first, last).values())
    return [{"days": n, "users": counts[n]} for n in range(1, (last - first).days + 2)]


def states(calendar, events, period, unit):
    """What has become of each user in a period; of most nothing."""
    found = {}
    for user, of_user in by_user(events).items():
        active = {calendar.period(calendar.day(e["at"]), unit) for e in of_user}
        before = calendar.previous(period, unit) in active
        if period not in active:
            found[user] = "dormant" if before else None
        elif min(active) == period:
            found[user] = "new"
        else:
            found[user] = "returning" if before else "resurrecting"
    return found


def lifecycle(calendar, events, first, last, unit):
    data = []
    for period in calendar.periods(first, last, unit):
        counts = Counter(states(calendar, events, period, unit).values())
        data.append(
            {"period": str(period)}
            | {state: counts[state] for state in ["new", "returning", "resurrecting", "dormant"]}
        )
    return data


def top_events(calendar, events, first, last, limit):
    there = [e for e in events if first <= calendar.day(e["at"]) <= last]
    rows = [
        {
            "event_type": t,
            "events": sum(e["type"] == t for e in there),
            "users": len(users_of(e for e in there if e["type"] == t)),
        }
        for t in {e["type"] for e in there}
    ]
    return sorted(rows, key=lambda row: (-row["events"], row["event_type"]))[:limit]


def timeseries(calendar, events, first, last, interval, measure, breakdown, limit):
    if interval == "hour":

        def label_of(at):
            return calendar.hour(at).isoformat()

        # The hours that the clock shows on these days, minute by minute.
        labels, at = [], datetime.combine(first - timedelta(days=2), datetime.min.time(), calendar.zone)
        at = at.astimezone(EPOCH.tzinfo)
        while calendar.day(at) <= last:
            if calendar.day(at) >= first and (not labels or label_of(at) > labels[-1]):
                labels.append(label_of(at))
            at += timedelta(minutes=15)
    else:

        def label_of(at):
            return str(calendar.period(calendar.day(at), interval))

        labels = [str(period) for period in calendar.periods(first, last, interval)]
    there = [e for e in events if label_of(e["at"]) in labels]

    def count(some):
        return len(some) if measure == "events" else len(users_of(some))

    def points(some):
        return [{"period": label, "count": count([e for e in some if label_of(e["at"]) == label])} for label in labels]

    if breakdown is None:
        return [{"value": None, "other": False, "data": points(there)}]

    def value_of(event):
        return event["type"] if breakdown == "event_type" else text_of(event["properties"], breakdown)

    values = {value_of(e) for e in there}
    ranked = sorted(
        values - {REST}, key=lambda v: (-count([e for e in there if value_of(e) == v]), v is not None, v or "")
    )
    series = [
        {"value": v, "other": False, "data": points([e for e in there if value_of(e) == v])} for v in ranked[:limit]
    ]
    rest = values - set(ranked[:limit])
    if rest:
        series.append({"value": "$other", "other": True, "data": points([e for e in there if value_of(e) in rest])})
    return series


EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


REST = object()  # told with the values that have no place of their own


def text_of(properties, name):
    """A value as a text; lists and long texts are no values to break down by."""
    value = properties.get(name)
    if value is None and "." in name:
        outer, inner = name.split(".")
        value = properties[outer].get(inner) if isinstance(properties.get(outer), dict) else None
        if value is None and elements(properties, name):
            return REST
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, dict)) or (isinstance(value, str) and len(value.encode()) > 200):
        return REST
    if isinstance(value, float) and value == int(value):
        return str(int(value))
    return None if value is None else str(value)


LENGTHS = {"day": timedelta(days=1), "week": timedelta(days=7), "month": timedelta(days=30)}


def retention(calendar, events, q, behind=None):
    """`q`: unit, first, last, columns [(a, b or None)], window, cohort, start and back (type, segments), as_of, mean.
    `behind`: (cohort, column, who), to get the users behind that number instead."""
    unit, as_of = q["unit"], q["as_of"]
    events = [e for e in events if e["at"] < as_of]
    starts = by_user(matching(events, q["start"][1], q["start"][0]))
    backs = by_user(matching(events, q["back"][1], q["back"][0]))
    named = by_user(matching(events, [s for s in q["start"][1] if s[0] == "event_type"], q["start"][0]))
    periods = list(calendar.periods(q["first"], q["last"], unit))

    t0s = defaultdict(dict)  # cohort -> user -> t0
    for user, of_user in starts.items():
        times = sorted(e["at"] for e in of_user)
        if q["cohort"] == "recurring":
            for period in periods:
                there = [t for t in times if calendar.period(calendar.day(t), unit) == period]
                there = [t for t in there if q["first"] <= calendar.day(t) <= q["last"]]
                if there:
                    t0s[period][user] = there[0]
            continue
        first_named = min(e["at"] for e in named[user])
        if q["cohort"] == "first_ever" and times[0] != first_named:
            continue
        if q["first"] <= calendar.day(times[0]) <= q["last"]:
            t0s[calendar.period(calendar.day(times[0]), unit)][user] = times[0]

    def k(t0, t):
        if q["window"] == "elapsed":
            return (t - t0) // LENGTHS[unit]
        return calendar.between(calendar.period(calendar.day(t0), unit), calendar.period(calendar.day(t), unit), unit)

    def complete(cohort, column):
        last = column[0] if column[1] is None else column[1]
        if q["window"] == "elapsed":
            return all(t0 + LENGTHS[unit] * (last + 1) <= as_of for t0 in t0s[cohort].values())
        end = cohort
        for _ in range(last + 1):
            end = calendar.next(end, unit)
        return end <= calendar.day(as_of)

    def returned(cohort, a, b):
        found = set()
        for user, t0 in t0s[cohort].items():
            ks = [k(t0, e["at"]) for e in backs.get(user, []) if e["at"] >= t0]
            if any(a <= one and (b is None or one <= b) for one in ks):
                found.add(user)
        return found

    if behind:
        cohort, column, who = behind
        everybody, back = set(t0s[cohort]), returned(cohort, *column)
        return {"returned": back, "missing": everybody - back, "all": everybody}[who]

    cohorts = []
    for cohort in periods:
        cells = []
        for a, b in q["columns"]:
            users = len(returned(cohort, a, b))
            cell = {
                "period": a,
                "users": users,
                "rate": rate(users, len(t0s[cohort])),
                "complete": complete(cohort, (a, b)),
            }
            cells.append(cell)
        cohorts.append({"cohort": str(cohort), "size": len(t0s[cohort]), "periods": cells})

    overall = []
    for i, (a, _) in enumerate(q["columns"]):
        rows = [c for c in cohorts if c["periods"][i]["complete"]]
        users, size = sum(c["periods"][i]["users"] for c in rows), sum(c["size"] for c in rows)
        rates = [Fraction(c["periods"][i]["users"], c["size"]) for c in rows if c["size"]]
        simple = thousandths(sum(rates) / len(rates)) if rates else None
        overall.append(
            {"period": a, "users": users, "size": size, "rate": simple if q["mean"] == "simple" else rate(users, size)}
        )
    return {"cohorts": cohorts, "overall": overall}


def paths(calendar, events, q):
    """How far each user got: the events of the path."""
    found = {user: longest_path(calendar, of_user, q) for user, of_user in by_user(events).items()}
    return {user: path for user, path in found.items() if path}


def funnel(calendar, events, q):
    """`q`: first, last, window, steps [(type, segments)], breakdown, limit."""
    reached = defaultdict(lambda: [[] for _ in q["steps"]])  # value -> step -> times from the step before
    for path in paths(calendar, events, q).values():
        value = text_of(path[0]["properties"], q["breakdown"]) if q["breakdown"] else None
        for i, event in enumerate(path):
            reached[value][i].append(event["at"] - path[i - 1]["at"] if i else None)

    def told(steps):
        rows = []
        for i, times in enumerate(steps):
            rows.append(
                {
                    "step": i + 1,
                    "event_type": q["steps"][i][0],
                    "users": len(times),
                    "rate": rate(len(times), len(steps[0])),
                    "step_rate": rate(len(times), len(steps[i - 1] if i else times)),
                    "median_seconds": median(times) if i else None,
                }
            )
        return rows

    def merged(values):
        return [[time for v in values for time in reached[v][i]] for i in range(len(q["steps"]))]

    answer = {"steps": told(merged(list(reached)))}
    if q["breakdown"]:
        ranked = sorted(set(reached) - {REST}, key=lambda v: (-len(reached[v][0]), v is not None, v or ""))
        answer["breakdown"] = [{"value": v, "other": False, "steps": told(reached[v])} for v in ranked[: q["limit"]]]
        rest = set(reached) - set(ranked[: q["limit"]])
        if rest:
            answer["breakdown"].append({"value": "$other", "other": True, "steps": told(merged(rest))})
    return answer


def median(times):
    if not times:
        return None
    times = sorted(times)
    middle = times[(len(times) - 1) // 2], times[len(times) // 2]
    return thousandths(Fraction((middle[0] + middle[1]) // timedelta(microseconds=1), 2_000_000))


def longest_path(calendar, events, q):
    """Of all paths the longest; of these the one that ends first, and in it each step as late as can be, from the back.

    Events of one moment have no order."""

    def steps_of(event):
        day = calendar.day(event["at"])
        found = [i for i, (kind, segments) in enumerate(q["steps"]) if matching([event], segments, kind)]
        return [i for i in found if i > 0 or q["first"] <= day <= q["last"]]

    def value(event):
        text = text_of(event["properties"], q["breakdown"]) if q["breakdown"] and 0 in steps_of(event) else None
        return (text is REST, text is not None, "" if text is REST else text or "")

    events = [e for e in events if steps_of(e)]
    paths = []

    def extend(path):
        if path:
            paths.append(path)
        if len(path) == len(q["steps"]):
            return
        for i, event in enumerate(events):
            fits = not path or (
                i not in path
                and event["at"] >= events[path[-1]]["at"]
                and event["at"] - events[path[0]]["at"] <= q["window"]
            )
            if fits and len(path) in steps_of(event):
                extend([*path, i])

    extend([])
    if not paths:
        return None
    length = max(map(len, paths))

    def order(path):
        times = [events[i]["at"].timestamp() for i in path]
        return times[-1], [-at for at in times[-2::-1]], value(events[path[0]])

    best = min((p for p in paths if len(p) == length), key=order)
    return [events[i] for i in best]
