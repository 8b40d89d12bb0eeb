"""How many events weir stores: from the first request until all of them are in the database and the stream is empty,
with all parts and the generator on the machine. Bound: binary COPY of the same rows into the same hypertable with its
indexes, alone, by one and by two sessions."""

import time

from .accept import SHARES
from .servers import say
from .weir import empty_database

SESSIONS = [1, 2]
BEST = "best"  # the series of the faster one of a round
LIMIT = "120s"


def row(size, share=0):
    return f"store {size} {share}"


def meanwhile(size, share):
    """Of the accept rate until the last request was answered."""
    return f"accept while storing {size} {share}"


def measure(bench):
    plan = bench.plan
    for number in range(plan.rounds):
        say(f"end-to-end rate, round {number + 1} of {plan.rounds}")
        rates = [copy(bench, sessions) for sessions in SESSIONS]
        for series, rate in zip([*map(str, SESSIONS), BEST], [*rates, max(rates)], strict=True):
            bench.figures.add("copy", series, *rate)
        for size in plan.sizes:
            for share in SHARES[:2]:  # of duplicates alone nothing is stored
                for build in bench.builds:
                    with bench.weir(build, worker=True) as weir:
                        store(bench, weir, size, share)


def copy(bench, sessions):
    """Rows a second, and how much of the processors went to others."""
    name = empty_database(bench.servers, bench.builds[0])
    try:
        bench.settle()
        url = bench.servers.database_url(name)
        meter = bench.meter({})
        report = bench.tools.run("copy", "--rows", bench.plan.stored, "--sessions", sessions, DATABASE_URL=url)
        return report["rows_per_second"], meter.taken(report["cpu_seconds"])[1]
    finally:
        bench.servers.psql(f"drop database {name} with (force)")


def store(bench, weir, size, share):
    bench.settle()
    before = database_bytes(weir)
    events = bench.plan.stored if size > 1 else bench.plan.stored_singly
    report = bench.load(weir, **bench.closed_loop(size, requests=events // size, duration=LIMIT, duplicates=share))
    weir.drained()
    seconds = report["seconds"] + time.monotonic() - report["ended"]
    series, figures = weir.build.name, bench.figures
    rates = {row(size, share): report["events"] / seconds, meanwhile(size, share): report["events_per_second"]}
    bench.add(row(size, share), series, rates, report)
    if share == 0 and size > 1:
        figures.add("redis bytes", series, report["redis_bytes"] / events)
        figures.add("disk bytes", series, (database_bytes(weir) - before) / events)
        figures.add("disk bytes of indexes", series, index_bytes(weir) / events)


def database_bytes(weir):
    return int(weir.psql("checkpoint; select pg_database_size(current_database())"))


def index_bytes(weir):
    """Of the hypertable of events."""
    return int(weir.psql("select index_bytes from hypertable_detailed_size('events')"))
