"""The questions that statistics.py times: how weir is asked over HTTP, and how the events themselves are asked in SQL.

The SQL is PostgreSQL's and DuckDB's alike, over `events` with the columns occurred_at, user_no, event_type and
properties, in UTC. In paths and SQL, names in braces stand for what a run is about, see `Subject`.
"""

from collections.abc import Callable
from dataclasses import dataclass
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
        first_cohort = max(self.first, self.last - timedelta(79))
        return {
            "from": self.last - timedelta(39),
            "to": self.last,
            "after": self.last + timedelta(1),
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
    bounds: dict = None
    # How many times faster than SQL over the events, and than DuckDB, it has to be.
    ratios: tuple = None


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
        for cohort in answer["cohorts"] for cell in cohort["periods"] if cell["users"]
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
        "daily active users, 40 days", "/stats/dau?from={from}&to={to}", each("date", "active_users"),
        f"select occurred_at::date, count(distinct user_no) from events where {RANGE} group by 1",
        bounds={10: 10, 100: 20},
    ),
    Question(
        "retention, 40 x 40 days", "/stats/retention?from={first_cohort}&to={last_cohort}&windows=40", cells, RETENTION,
        bounds={10: 50, 100: 100}, ratios=(300, 10),
    ),
    Question(
        "top events, 40 days", "/stats/top-events?from={from}&to={to}&limit=100", each("event_type", "events", "users"),
        f"select event_type, count(*), count(distinct user_no) from events where {RANGE} group by 1",
    ),
    Question(
        "a user's last 100 events", "/events?user_id={user_id}&limit=100", each("event_id", of="events"),
        "select event_id::text from events where user_no = {user_no} order by occurred_at desc, event_id desc limit 100",
    ),
    Question(
        "count of a type, 40 days", "/stats/count?event_type=purchase&from={from}T00:00:00Z&to={after}T00:00:00Z",
        lambda answer: [(answer["count"],)],
        f"select count(*) from events where event_type = 'purchase' and {RANGE}",
    ),
    Question(
        "pages, a day", "/stats/pages?date={to}", pages,
        PAGES % "occurred_at >= '{to}' and occurred_at < '{after}'",
    ),
    Question("pages, 40 days", "/stats/pages?from={from}&to={to}", pages, PAGES % RANGE),
]
