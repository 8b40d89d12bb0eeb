"""The questions that answering.py times: how weir is asked over HTTP, and how the events themselves are asked in SQL.

The SQL is PostgreSQL's and DuckDB's alike, over `events` with the columns occurred_at, user_no, event_type and
properties, in UTC. In paths and SQL, names in braces stand for what a run is about, see `Subject`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, timedelta


@dataclass(frozen=True)
class Subject:
    """What is asked about: a project's days, and its most active user of the last of them."""

    first: date
    last: date
    user_id: str
    user_no: int

    def names(self):
        """For `str.format`. `from` and `to` are the last 40 days; cohorts begin so early that 40 days follow each."""
        begin, after = self.last - timedelta(39), self.last + timedelta(1)
        first_cohort = max(self.first, self.last - timedelta(79))
        return {
            "from": begin,
            "to": self.last,
            "after": after,
            # Periods are whole.
            "from_week": begin - timedelta(begin.weekday()),
            "after_week": self.last + timedelta(7 - self.last.weekday()),
            "from_month": begin.replace(day=1),
            "after_month": (self.last.replace(day=1) + timedelta(31)).replace(day=1),
            "first": self.first,
            "first_cohort": first_cohort,
            "last_cohort": first_cohort + timedelta(39),
            "user_id": self.user_id,
            "user_no": self.user_no,
        }


@dataclass(frozen=True, eq=False)
class Question:
    name: str
    path: str
    # From the answer's JSON to the rows that the SQL gives, in any order.
    rows: Callable
    sql: str
    # Most milliseconds that weir may take when it is warm, by millions of events.
    bounds: dict = field(default_factory=dict)
    # How many times as long SQL over the events ("sql") and DuckDB ("duckdb") take, at least.
    ratios: dict = field(default_factory=dict)
    # The property that it is about: once that is promoted, activity answers.
    about: str | None = None


def each(*fields, of="data"):
    """The fields of each element of a list, dates as dates."""

    def value(element, field):
        found = element[field]
        return date.fromisoformat(found) if field in ("date", "period", "cohort") else found

    return lambda answer: [tuple(value(element, field) for field in fields) for element in answer[of]]


def cells(answer):
    """Those of a table of retention that have users."""
    return [
        (date.fromisoformat(cohort["cohort"]), cell["period"], cell["users"])
        for cohort in answer["cohorts"]
        for cell in cohort["periods"]
        if cell["users"]
    ]


def series(answer):
    """Of each value, where there are any."""
    return [
        (series["value"], date.fromisoformat(point["period"][:10]), point["count"])
        for series in answer["series"]
        for point in series["data"]
        if point["count"]
    ]


def pages(answer):
    paths = [(path["path"], path["views"], None) for path in answer["top_paths"]]
    return [(None, answer["total_views"], answer["unique_users"]), *paths]


RANGE = "occurred_at >= '{from}' and occurred_at < '{after}'"

RETENTION = """
    with days as (
        select distinct user_no, occurred_at::date as day from events
        where user_no is not null and occurred_at < '{after}'
    ), firsts as (
        select user_no, min(day) as cohort from days group by user_no
    )
    select cohort, day - cohort, count(*) from days join firsts using (user_no)
    where cohort between '{first_cohort}' and '{last_cohort}' and day - cohort <= 40
    group by 1, 2"""

ACTIVE = """
    select date_trunc('{unit}', occurred_at)::date, count(distinct user_no) from events
    where occurred_at >= '{{from_{unit}}}' and occurred_at < '{{after_{unit}}}' group by 1"""

LIFECYCLE = """
    with weeks as (
        select distinct user_no, date_trunc('week', occurred_at)::date as week from events
        where user_no is not null and occurred_at < '{after_week}'
    ), marked as (
        select week, min(week) over (partition by user_no) as first_week,
               lag(week) over (partition by user_no order by week) as previous,
               lead(week) over (partition by user_no order by week) as next
        from weeks
    ), active as (
        select week, count(*) filter (where week = first_week) as first_time,
               count(*) filter (where previous = week - 7) as again,
               count(*) filter (where previous < week - 7) as back
        from marked group by week
    ), dormant as (
        select week + 7 as week, count(*) as dormant from marked where next is null or next > week + 7 group by 1
    )
    select week, first_time, again, back, coalesce(dormant, 0) from active left join dormant using (week)
    where week >= '{from_week}'"""

STICKINESS = f"""
    select days, count(*) from (
        select user_no, count(distinct occurred_at::date) as days from events
        where user_no is not null and {RANGE} group by user_no
    ) as users
    group by days"""

PAGES = """
    with views as (
        select user_no, properties->>'path' as path from events where event_type = 'page_view' and (%s)
    )
    select null as path, count(*) as views, count(distinct user_no) as users from views
    union all
    select * from (
        select path, count(*) as views, cast(null as bigint) from views group by path order by views desc, path limit 10
    ) as paths"""

QUESTIONS = [
    Question(
        "daily active users, 40 days",
        "/stats/dau?from={from}&to={to}",
        each("date", "active_users"),
        f"select occurred_at::date, count(distinct user_no) from events where {RANGE} group by 1",
        bounds={10: 10, 100: 20},
    ),
    Question(
        "weekly active users, 40 days",
        "/stats/active-users?from={from}&to={to}&interval=week",
        each("period", "active_users"),
        ACTIVE.format(unit="week"),
    ),
    Question(
        "monthly active users, 40 days",
        "/stats/active-users?from={from}&to={to}&interval=month",
        each("period", "active_users"),
        ACTIVE.format(unit="month"),
    ),
    Question(
        "retention, 40 x 40 days",
        "/stats/retention?from={first_cohort}&to={last_cohort}&windows=40",
        cells,
        RETENTION,
        bounds={10: 50, 100: 100},
        ratios={"sql": 300, "duckdb": 10},
    ),
    Question(
        "lifecycle by week, 40 days",
        "/stats/lifecycle?from={from}&to={to}&interval=week",
        each("period", "new", "returning", "resurrecting", "dormant"),
        LIFECYCLE,
    ),
    Question(
        "stickiness, 40 days",
        "/stats/stickiness?from={from}&to={to}",
        lambda answer: [row for row in each("days", "users")(answer) if row[1]],
        STICKINESS,
    ),
    Question(
        "top events, 40 days",
        "/stats/top-events?from={from}&to={to}&limit=100",
        each("event_type", "events", "users"),
        f"select event_type, count(*), count(distinct user_no) from events where {RANGE} group by 1",
    ),
    Question(
        "a user's last 100 events",
        "/events?user_id={user_id}&limit=100",
        each("event_id", of="events"),
        "select event_id::text from events where user_no = {user_no}"
        " order by occurred_at desc, event_id desc limit 100",
    ),
    Question(
        "count of a type, 40 days",
        "/stats/count?event_type=purchase&from={from}T00:00:00Z&to={after}T00:00:00Z",
        lambda answer: [(answer["count"],)],
        f"select count(*) from events where event_type = 'purchase' and {RANGE}",
    ),
    Question(
        "daily users who purchased, 40 days",
        "/stats/dau?from={from}&to={to}&segment=event_type:purchase",
        lambda answer: [row for row in each("date", "active_users")(answer) if row[1]],
        "select occurred_at::date, count(distinct user_no) from events"
        f" where event_type = 'purchase' and {RANGE} group by 1",
    ),
    Question(
        "daily users in UA, 40 days",
        "/stats/dau?from={from}&to={to}&segment=properties.country:UA",
        lambda answer: [row for row in each("date", "active_users")(answer) if row[1]],
        "select occurred_at::date, count(distinct user_no) from events"
        f" where (properties->>'country') = 'UA' and {RANGE} group by 1",
        about="properties.country",
    ),
    Question(
        "daily users by platform, 40 days",
        "/stats/timeseries?from={from}&to={to}&interval=day&breakdown=properties.platform&measure=users&limit=10",
        series,
        "select properties->>'platform' as platform, occurred_at::date, count(distinct user_no) from events"
        f" where user_no is not null and {RANGE} group by 1, 2",
        about="properties.platform",
    ),
    Question(
        "pages, a day",
        "/stats/pages?date={to}",
        pages,
        PAGES % "occurred_at >= '{to}' and occurred_at < '{after}'",
    ),
    Question("pages, 40 days", "/stats/pages?from={from}&to={to}", pages, PAGES % RANGE),
]
