"""What all measurements share: servers, builds, bounds, and the figures that were found."""

import contextlib
import os
import statistics
import time
from collections import defaultdict

from .load import Bound, Tools, served
from .processes import Meter
from .servers import Servers
from .weir import SETTINGS, Weir

KEYS = ["weir_wk_" + "0" * 32]  # for bounds, which know none
# What is known of ids and rates; since when it is known stays, or nothing would be vouched for.
FORGET = (
    "EVAL \"for _, key in ipairs(redis.call('keys', '*')) do"
    " if not key:find(':memory$') then redis.call('del', key) end end return 1\" 0"
)
WEIR, BASE = "weir", "base"  # the series of the builds


class Figures:
    """Values by row and series: what was measured in several rounds is there several times. A round in which the
    machine was busy with something else counts only where no other does."""

    CALM = 0.1  # of the processors

    def __init__(self):
        self.values = defaultdict(lambda: defaultdict(list))

    def add(self, row, series, value, others=0):
        """`others`: the share of the processors that went to what is not measured."""
        self.values[row][series].append((value, others))

    def all(self, row, series=WEIR):
        return [value for value, _ in self.values.get(row, {}).get(series, [])]

    def median(self, row, series=WEIR):
        return self.median_of([self.values.get(row, {}).get(series, [])], lambda value: value)

    def ratio(self, row, series, to, to_row=None):
        """The median of the ratios of each round, as what disturbs a round mostly disturbs both."""
        runs = [self.values.get(at, {}).get(of, []) for at, of in ((row, series), (to_row or row, to))]
        return self.median_of(runs, lambda value, other: value / other)

    def median_of(self, runs, function):
        rounds = list(zip(*runs, strict=False))  # a series that broke off counts as far as it goes
        calm = [runs for runs in rounds if all(others <= self.CALM for _, others in runs)]
        values = [function(*(value for value, _ in runs)) for runs in calm or rounds]
        return statistics.median(values) if values else None

    def others(self):
        """Of all runs."""
        return [others for row in self.values.values() for runs in row.values() for _, others in runs if others]


class Bench:
    def __init__(self, plan, builds):
        self.plan, self.builds = plan, builds
        self.tools = Tools(builds[0])
        self.figures = Figures()
        self.checked = 0  # accepted events that were looked for
        self.servers = Servers()

    def end(self):
        self.servers.end()

    def closed_loop(self, size, **options):
        """Options of load from connections that send when they have their answer, `size` events in a request."""
        connections = self.plan.connections or (256 if size == 1 else 64)
        return {"events": size, "connections": connections, **options}

    def settle(self):
        """Waits until what was written before is on the disk, so that nobody else pays for it."""
        self.servers.psql("checkpoint")
        os.sync()

    # --- Weir

    @contextlib.contextmanager
    def weir(self, build, worker):
        """A weir of its own, with a worker from the start or only in the end, when all that was sent is looked for."""
        weir = Weir(self.servers, build, self.plan.projects)
        try:
            weir.start_api()
            if worker:
                weir.start_worker()
            yield weir
            if not worker:
                weir.start_worker()
            weir.drained()
            self.checked += weir.check()
        finally:
            weir.end()
            for part, megabytes in weir.peaks.items():
                self.figures.add(f"memory {part}", build.name, megabytes)

    @contextlib.contextmanager
    def weirs(self):
        """One of each build, side by side, without workers: what gets no requests takes nothing."""
        with contextlib.ExitStack() as stack:
            yield [stack.enter_context(self.weir(build, worker=False)) for build in self.builds]

    def load(self, weir, **options):
        """Load for projects of its own. Ids of earlier runs are forgotten: so many make a Redis that is set up for a
        development machine full, and weir would go on without it."""
        self.servers.redis(FORGET)
        projects = weir.take_projects()
        before = self.servers.redis_bytes()
        meter = self.meter({part: lambda part=part: weir.pids(part) for part in ("api", "worker")})
        report = self.tools.load(weir.port, [project.write for project in projects], **options)
        report |= {"meter": meter, "ended": time.monotonic(), "redis_bytes": self.servers.redis_bytes() - before}
        weir.expect(projects, report["in_all"])
        return served(report)

    # --- Bounds

    @contextlib.contextmanager
    def bound(self, work):
        bound = Bound(self.tools, self.servers, work, SETTINGS)
        try:
            yield bound
        finally:
            bound.end()

    def load_bound(self, bound, **options):
        meter = self.meter({bound.work: bound.pids})
        return served(self.tools.load(bound.port, KEYS, **options) | {"meter": meter})

    # --- What it costs

    def meter(self, parts):
        """Of these parts, by name, and of all servers."""
        servers = {name: lambda name=name: self.servers.pids(name) for name in self.servers.ports}
        return Meter(parts | servers)

    def add(self, row, series, figures, report):
        """Figures by row, of load that began with the report and ends now; and what each part took for a million."""
        events = report["in_all"]["stored_at_most"] + report["repeated"]
        taken, others = report["meter"].taken(report["cpu_seconds"])
        for name, value in figures.items():
            self.figures.add(name, series, value, others)
        for part, amounts in taken.items():
            for what, amount in amounts.items():
                self.figures.add(f"{what} {row} {part}", series, amount * 1e6 / events)
