"""The figures of a whole run as tables, and whether they meet the criteria: what `scripts/bench` prints at its end."""

import statistics

from . import accept, latency, storing
from .bench import BASE, WEIR
from .criteria import criteria
from .results import judge, machine, number, table, write

PARTS = ["parse", "publish", "api", "worker", "nats", "redis", "postgres", "generator"]


class Tables:
    """Where two builds are compared, each table has the other build's figures and the ratio to them."""

    def __init__(self, figures, builds):
        self.figures = figures
        self.compared = len(builds) > 1

    def heads(self, *heads):
        return [*heads, "base", "to base"] if self.compared else list(heads)

    def row(self, row, *cells, digits=0):
        """Cells, and at the end the comparison of a row."""
        if not self.compared:
            return list(cells)
        return [*cells, number(self.figures.median(row, BASE), digits), number(self.figures.ratio(row, WEIR, BASE), 2)]

    def rates(self):
        rows = []
        for size in accept.SIZES:
            for share in accept.SHARES:
                row = accept.row(size, share)
                values = self.figures.all(row)
                if values:
                    cells = [
                        f"{size:,} in a request, {share} % duplicates",
                        number(self.figures.median(row)),
                        f"{number(min(values))}–{number(max(values))}",
                    ]
                    for bound in ("publish", "parse"):
                        cells += [
                            number(self.figures.median(row, bound)),
                            number(self.figures.ratio(row, WEIR, bound), 2),
                        ]
                    rows.append(self.row(row, *cells))
        table(
            "Accepted, events a second (without a worker)",
            self.heads("", "weir", "from–to", "parse + publish", "ratio", "parse", "ratio"),
            rows,
        )

    def storing(self):
        rows = []
        for size in accept.SIZES:
            for share in accept.SHARES:
                row = storing.row(size, share)
                values = self.figures.all(row)
                if values:
                    cells = [
                        f"{size:,} in a request, {share} % duplicates",
                        number(self.figures.median(row)),
                        f"{number(min(values))}–{number(max(values))}",
                        number(self.figures.median(storing.meanwhile(size, share))),
                    ]
                    cells += [number(self.figures.median("copy", str(sessions))) for sessions in storing.SESSIONS]
                    cells.append(number(self.figures.ratio(row, WEIR, storing.BEST, "copy"), 2))
                    rows.append(self.row(row, *cells))
        table(
            "Stored, events a second (from the first request until the stream is empty)",
            self.heads("", "weir", "from–to", "accepted meanwhile", "COPY", "in two sessions", "ratio to the faster"),
            rows,
        )

    def latencies(self):
        rows = []
        cases = [(f"{size:,} in a request", f"latency {size}", "publish") for size in accept.SIZES]
        for text, row, bound in [
            *cases,
            ("100 in a request, all parts, half of what is stored", "latency while storing", None),
        ]:
            if self.figures.all(f"{row} p99"):
                cells = [text, number(self.figures.median(f"{row} rate"))]
                cells += [number(self.figures.median(f"{row} {quantile}"), 2) for quantile in latency.QUANTILES]
                cells += [
                    number(self.figures.median(f"{row} {what}", bound), digits)
                    for what, digits in (("rate", 0), ("p50", 2), ("p99", 2))
                ]
                rows.append(self.row(f"{row} p99", *cells, digits=2))
        table(
            "Latency at half of the peak, milliseconds from when a request was due",
            self.heads("", "requests/s", *latency.QUANTILES, "parse + publish, requests/s", "p50", "p99"),
            rows,
        )

    def costs(self):
        for what, digits, scale, unit in (
            ("cpu_seconds", 2, 1, "Processor seconds"),
            ("bytes_written", 0, 1e-6, "Megabytes written"),
        ):
            rows = []
            for case, text in (("accept", "accepted"), ("store", "stored")):
                for size in accept.SIZES:
                    for series in (WEIR, *("publish", "parse") * (case == "accept")):
                        row = f"{what} {case} {size} 0"
                        values = [self.figures.median(f"{row} {part}", series) for part in PARTS]
                        if any(values):
                            own = " (" + series + ")" if series != WEIR else ""
                            cells = [number(value * scale, digits) if value is not None else "" for value in values]
                            rows.append([f"{text}{own}, {size:,} in a request", *cells])
            table(f"{unit} for a million events", ["", *PARTS], rows)

    def others(self):
        rows = []
        for text, row, digits in (
            ("memory of the API at most, MB", "memory api", 0),
            ("memory of the worker at most, MB", "memory worker", 0),
            ("Redis, bytes per id", "redis bytes", 1),
            ("disk, bytes per event, all tables", "disk bytes", 0),
            ("of these, indexes of events", "disk bytes of indexes", 0),
            ("visible in DAU after a 202, ms, median", "freshness p50", 0),
            ("the same, at most", "freshness max", 0),
        ):
            values = self.figures.all(row)
            if values:
                rows.append(
                    self.row(
                        row, text, number(max(values) if row.startswith("memory") else self.figures.median(row), digits)
                    )
                )
        table("Others", self.heads("", "weir"), rows)


def report(bench, seconds):
    figures = bench.figures
    judged = criteria(figures, bench.checked)
    of = machine()
    print(
        f"\n{of['processors']} processors ({of['model']}), everything on them; {seconds:.0f} s; "
        f"{bench.checked:,} accepted events looked for, 0 lost, 0 doubled"
    )
    if others := figures.others():
        print(
            f"other processes took {statistics.median(others):.0%} of the processors (median of the runs), "
            f"{max(others):.0%} at most; runs with more than {figures.CALM:.0%} count only where there is no better one"
        )
    tables = Tables(figures, bench.builds)
    for show in (tables.rates, tables.storing, tables.latencies, tables.costs, tables.others):
        show()
    judge(judged)
    if bench.plan.json:
        write(bench.plan, judged, {"seconds": round(seconds), "checked": bench.checked, "figures": figures.values})
