"""What all measurements share: servers, builds, bounds, and the figures that they found."""

import contextlib
import statistics
from collections import defaultdict

from .load import Bound, Tools
from .servers import Servers
from .weir import SETTINGS, Weir

KEYS = ["weir_wk_" + "0" * 32]  # for bounds, which know none


class Figures:
    """Values by row and series: what was measured in several rounds is there several times."""

    def __init__(self):
        self.values = defaultdict(lambda: defaultdict(list))

    def add(self, row, series, value):
        self.values[row][series].append(value)

    def median(self, row, series):
        values = self.values.get(row, {}).get(series)
        return statistics.median(values) if values else None

    def ratio(self, row, series, to):
        value, bound = self.median(row, series), self.median(row, to)
        return value / bound if value and bound else None


class Bench:
    def __init__(self, options, builds):
        self.options, self.builds = options, builds
        self.tools = Tools(builds[0])
        self.figures = Figures()
        self.usage = {}
        self.peaks = {}
        self.checked = 0
        self.servers = Servers()

    @contextlib.contextmanager
    def weirs(self, worker=False):
        """A weir of each build, side by side on the same servers, with what was sent to it checked at the end."""
        with contextlib.ExitStack() as stack:
            weirs = []
            for build in self.builds:
                weirs.append(Weir(self.servers, build))
                stack.callback(self.end, weirs[-1])
                if worker:
                    weirs[-1].start_worker()
            yield weirs
            for weir in weirs:
                if not worker:
                    weir.start_worker()
                weir.drained()
                self.checked += weir.check()

    def end(self, weir):
        weir.end()
        for part, megabytes in weir.peaks.items():
            key = (weir.build.name, part)
            self.peaks[key] = max(self.peaks.get(key, 0), megabytes)

    @contextlib.contextmanager
    def bound(self, work):
        bound = Bound(self.tools, self.servers, work, SETTINGS)
        try:
            yield bound
        finally:
            bound.end()

    def load_bound(self, bound, **options):
        return self.tools.load(bound.port, KEYS, **options)

    def load(self, weir, **options):
        """Load for projects of its own; the ids of runs before are forgotten, as Redis holds a day of ordinary use only."""
        self.servers.redis("FLUSHALL")
        projects = weir.take_projects(self.options.projects)
        report = self.tools.load(weir.port, [project.write for project in projects], **options)
        weir.expect(projects, report)
        return report
