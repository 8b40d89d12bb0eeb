"""Expected answers for the shop clickstream: an oracle that shares no code with weir.

Run from the root of the repository:

    python -m venv /tmp/oracle && /tmp/oracle/bin/pip install pandas==3.1.1 tzdata==2026.6
    /tmp/oracle/bin/python tests/expected/shop.py tests/data/shop_clickstream.csv.gz > tests/expected/shop.json

(or simply `python tests/expected/shop.py ...` with these packages installed.)
Made with Python 3.11.7, pandas 3.1.1, tzdata 2026.6. pandas only reads the file;
the rest is plain loops that follow the definitions word by word:

- The local date of an event is its instant converted to the zone.
- P(t) is the calendar period of t in the zone: the day, the week (named by its
  Monday), or the month (named by its first day).
- t0(u) is the first event of user u over all history, of any type. u belongs to
  cohort P(t0(u)) only, and only if the local date of t0(u) is within [from, to].
- k(r) is the number of periods from P(t0) to P(r), by date arithmetic.
- N(c,k) is the number of distinct users of c with some event with k(r) = k.
- rate = users / size, 3 decimals, half away from zero on the exact fraction;
  null when size is 0.
- overall(k) pools all cohorts. Every cell is complete as of AS_OF.
"""

import json
import sys
from datetime import date, timedelta
from fractions import Fraction
from math import floor
from zoneinfo import ZoneInfo

import pandas as pd

AS_OF = "2026-01-01T00:00:00Z"
# The shop is open from 8 to 23 UTC: New York never has another date than UTC there, so America/Adak is what shows
# a wrong offset around the change of daylight saving (2024-03-10, as in New York).
ZONES = ["UTC", "Asia/Kolkata", "America/New_York", "America/Adak"]


def period_of(day, unit):
    if unit == "day":
        return day
    if unit == "week":
        return day - timedelta(days=day.weekday())  # weekday() of a Monday is 0
    assert unit == "month"
    return day.replace(day=1)


def periods_between(a, b, unit):
    """How many periods after period a is period b."""
    if unit == "day":
        return (b - a).days
    if unit == "week":
        return (b - a).days // 7
    assert unit == "month"
    return (b.year - a.year) * 12 + (b.month - a.month)


def next_period(p, unit):
    if unit == "day":
        return p + timedelta(days=1)
    if unit == "week":
        return p + timedelta(days=7)
    assert unit == "month"
    return date(p.year + 1, 1, 1) if p.month == 12 else date(p.year, p.month + 1, 1)


def rate(users, size):
    if size == 0:
        return None
    thousandths = floor(Fraction(users, size) * 1000 + Fraction(1, 2))  # exact, half up
    return thousandths / 1000


def daily_active_users(events):
    days = [day for _, day, _, _ in events]
    result = []
    day = min(days)
    while day <= max(days):
        users = {user for _, d, user, _ in events if d == day}
        result.append({"date": str(day), "active_users": len(users)})
        day += timedelta(days=1)
    return result


def top_events(events):
    result = []
    for event_type in {t for _, _, _, t in events}:
        of_type = [user for _, _, user, t in events if t == event_type]
        result.append({"event_type": event_type, "events": len(of_type), "users": len(set(of_type))})
    return sorted(result, key=lambda row: (-row["events"], row["event_type"]))


def retention(events, unit, first, last, windows):
    first_day = {}  # user -> local date of t0
    for _, day, user, _ in sorted(events):  # by instant
        if user not in first_day:
            first_day[user] = day

    members = {}  # cohort -> its users
    period = period_of(first, unit)
    while period <= period_of(last, unit):
        members[period] = set()
        period = next_period(period, unit)
    for user, day in first_day.items():
        if first <= day <= last:
            members[period_of(day, unit)].add(user)

    seen = {}  # user -> the k of all the user's events
    for _, day, user, _ in events:
        k = periods_between(period_of(first_day[user], unit), period_of(day, unit), unit)
        seen.setdefault(user, set()).add(k)

    cohorts = []
    for cohort in sorted(members):
        size = len(members[cohort])
        periods = []
        for k in range(windows + 1):
            users = len([user for user in members[cohort] if k in seen[user]])
            periods.append({"period": k, "users": users, "rate": rate(users, size)})
        cohorts.append({"cohort": str(cohort), "size": size, "periods": periods})

    overall = []
    for k in range(windows + 1):
        users = sum(c["periods"][k]["users"] for c in cohorts)
        size = sum(c["size"] for c in cohorts)
        overall.append({"period": k, "users": users, "size": size, "rate": rate(users, size)})
    return {"from": str(first), "to": str(last), "windows": windows, "cohorts": cohorts, "overall": overall}


def text(value, indent=""):
    """JSON with sorted keys, one element of an array per line."""
    if isinstance(value, dict):
        lines = [f"{indent} {json.dumps(k)}: {text(v, indent + ' ')}" for k, v in sorted(value.items())]
        return "{\n" + ",\n".join(lines) + "\n" + indent + "}"
    if isinstance(value, list):
        lines = [indent + " " + json.dumps(v, sort_keys=True, separators=(",", ":")) for v in value]
        return "[\n" + ",\n".join(lines) + "\n" + indent + "]"
    return json.dumps(value)


def main(path):
    rows = pd.read_csv(path, dtype=str, keep_default_na=False)
    instants = [pd.Timestamp(t).to_pydatetime() for t in rows["occurred_at"]]
    out = {
        "as_of": AS_OF,
        "events": len(rows),
        "users": rows["user_id"].nunique(),
        "first_day": {},
        "last_day": {},
        "zones": {},
    }
    for zone in ZONES:
        days = [t.astimezone(ZoneInfo(zone)).date() for t in instants]
        events = list(zip(instants, days, rows["user_id"], rows["event_type"], strict=True))
        first, last = min(days), max(days)
        out["first_day"][zone], out["last_day"][zone] = str(first), str(last)
        out["zones"][zone] = {
            "dau": daily_active_users(events),
            "top_events": top_events(events),
            "retention_daily": retention(events, "day", date(2024, 3, 1), date(2024, 3, 31), 14),
            "retention_weekly": retention(events, "week", first, last, 8),
            "retention_monthly": retention(events, "month", first, last, 5),
        }
    print(text(out))


if __name__ == "__main__":
    main(sys.argv[1])
