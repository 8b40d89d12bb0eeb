"""How long an answer takes at half of the highest rate. Requests are due at random times that do not wait for answers, and a
latency counts from when its request was due. Bound: the handler that parses and publishes, at half of its own highest rate."""

from . import accept
from .servers import say

CONNECTIONS = 256
QUANTILES = ["p50", "p99", "p999", "max"]


def row(size, quantile):
    return f"latency {size} {quantile}"


def measure(bench):
    """Of the API, without a worker, at half of the accept rate; of the bound at half of its own."""
    with bench.weirs() as weirs, bench.bound("publish") as publish:
        for size in bench.plan.sizes:
            say(f"latency, {size} in a request")
            cases = [(weir.build.name, bench.load, weir) for weir in weirs] + [("publish", bench.load_bound, publish)]
            for series, load, target in cases:
                bench.settle()
                rate = peak(bench, series, load, target, size) / size / 2
                report = open_loop(bench, load, target, size, rate)
                bench.figures.add(f"latency {size} rate", series, rate)
                for quantile in QUANTILES:
                    bench.figures.add(row(size, quantile), series, report["latency_ms"][quantile])
                    bench.figures.add(f"wait {size} {quantile}", series, report["wait_ms"][quantile])


def peak(bench, series, load, target, size):
    """Events a second: the accept rate that was measured before, or of a short run."""
    known = bench.figures.median(accept.row(size), series)
    return known or load(target, **accept.options(bench, size))["events_per_second"]


def open_loop(bench, load, target, size, rate):
    return load(target, events=size, rate=rate, connections=CONNECTIONS, warm_up=bench.plan.warm_up,
                duration=bench.plan.open_duration)

