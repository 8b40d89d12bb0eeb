"""Is everything that was answered stored once and counted once, and nothing else?"""

import time

from .world import until

# Event type '' and value 0: all of them together. The other values are those of promoted properties.
RECOUNT = """
with stored as (
    select project_id, event_type, date_trunc('{unit}', occurred_at at time zone timezone) as at, user_no, properties
    from events join projects using (project_id)
), of_values as (
    select project_id, event_type, 0 as value_no, at, user_no from stored
    union all
    select project_id, event_type, value_no, at, user_no
    from stored join promoted_properties using (project_id) join property_values as known using (project_id, property)
    where known.value = coalesce((properties -> property)::text, 'null')
), recounted as (
    select project_id, coalesce(event_type, '') as event_type, value_no, at,
           coalesce(rb_build_agg(user_no), '{{}}') as users, count(*) as events
    from of_values group by project_id, value_no, at, grouping sets ((event_type), ())
), counted as (
    select project_id, event_type, value_no, local_{unit} as at, rb_or_agg(users) as users, sum(events) as events
    from {table}
    group by 1, 2, 3, 4 having sum(events) <> 0 or rb_cardinality(rb_or_agg(users)) > 0
)
select count(*)
from counted full join recounted using (project_id, event_type, value_no, at)
where counted.events is distinct from recounted.events or not coalesce(counted.users = recounted.users, false)
"""
RECOUNTS = {
    "hours": RECOUNT.format(unit="hour", table="activity_hourly"),
    "days": RECOUNT.format(unit="day", table="activity_daily"),
}
NOBODYS = """
select count(*) from events
where user_no is not null
  and not exists (select from users where (project_id, user_no) = (events.project_id, events.user_no))
"""
WAITING = {
    "deletions": "user_deletions",
    "merges": "user_merges",
    "promotions": "promoted_properties where ready_at is null and stopped is null",
    "demotions": "former_values",
}
STOPPED = "select count(*) from promoted_properties where stopped is not null"


class Wrong(Exception):
    pass


def drained(world):
    """Waits until the stream is empty and nothing waits in the background; how long that took."""
    begun = time.monotonic()
    until(lambda: world.stream("events")["messages"] == 0, "the stream is empty", 300)
    for what, rows in WAITING.items():
        statement = f"select count(*) from {rows}"
        until(lambda statement=statement: world.psql(statement).strip() == "0", f"no {what} wait", 120)
    return time.monotonic() - begun


def stored(world, where="true"):
    rows = world.psql(f"select event_id from events where {where}").split()
    return [int(row.replace("-", ""), 16) for row in rows]


def check(world, ledger, since, whole):
    """The numbers of events stored, lost and doubled. `since`: an instant of which nothing older is looked at; `whole`:
    everything is."""
    rows = stored(world) if whole else stored(world, f"received_at >= '{since}'")
    there = set(rows)
    must = ledger.stored if whole else ledger.fresh
    lost = must - there
    if lost and not whole:
        # A batch that was sent again may have been received before.
        rows, whole = stored(world), True
        there, must = set(rows), ledger.stored
        lost = must - there
    doubled = len(rows) - len(there)
    total = int(world.psql("select count(*) from events"))
    doubled = max(doubled, total - len(ledger.stored - lost))
    wrong = []
    if lost:
        wrong.append(f"{len(lost)} events were answered and are not stored, such as {examples(lost)}")
    if doubled:
        wrong.append(f"{doubled} rows are too many")
    if extra := there - ledger.stored:
        refused = extra & ledger.refused
        wrong.append(
            f"{len(extra)} events are stored and were not accepted ({len(refused)} were refused or deleted), such as "
            f"{examples(extra)}"
        )
    if letters := world.stream("dead")["messages"]:
        wrong.append(f"{letters} dead letters")
    if nobodys := int(world.psql(NOBODYS)):
        wrong.append(f"{nobodys} events are of users who were merged or deleted")
    if stopped := int(world.psql(STOPPED)):
        wrong.append(f"{stopped} promoted properties are stopped, and have few values")
    for name, statement in RECOUNTS.items():
        try:
            until(lambda statement=statement: int(world.psql(statement)) == 0, name, 30)
        except RuntimeError:
            wrong.append(f"activity by {name} differs from a recount in {world.psql(statement).strip()} places")
    ledger.fresh = set()
    if wrong:
        raise Wrong("; ".join(wrong))
    return total, len(lost), doubled


def examples(ids):
    return ", ".join(f"{number:032x}" for number in sorted(ids)[:3])
