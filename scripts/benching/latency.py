"""How long an answer takes at half of the highest rate. Requests are due at random times that do not wait for answers, and a
latency counts from when its request was due. Bound: the handler that parses and publishes, at the same rate as weir."""

from . import accept
from .bench import WEIR
from .servers import say

CONNECTIONS = 256
QUANTILES = ["p50", "p99", "p999", "max"]


def row(size, quantile):
    return f"latency {size} {quantile}"


def measure(bench):
    """Of the API, without a worker, at half of the accept rate."""
    with bench.weirs() as weirs, bench.bound("publish") as publish:
        for size in bench.plan.sizes:
            say(f"latency, {size} in a request")
            rates = {weir.build.name: peak(bench, weir, size) / size / 2 for weir in weirs}
            for weir in weirs:
                rate = rates[weir.build.name]
                bench.figures.add(f"latency {size} rate", weir.build.name, rate)
                add(bench, size, weir.build.name, open_loop(bench, bench.load, weir, size, rate))
            add(bench, size, "publish", open_loop(bench, bench.load_bound, publish, size, rates[WEIR]))


def peak(bench, weir, size):
    """Events a second: the accept rate that was measured before, or of a short run."""
    known = bench.figures.median(accept.row(size), weir.build.name)
    run = bench.closed_loop(size, warm_up=bench.plan.warm_up, duration=bench.plan.duration)
    return known or bench.load(weir, **run)["events_per_second"]


def open_loop(bench, load, target, size, rate):
    return load(target, events=size, rate=rate, connections=CONNECTIONS, warm_up=bench.plan.warm_up,
                duration=bench.plan.open_duration)


def add(bench, size, series, report):
    for quantile in QUANTILES:
        bench.figures.add(row(size, quantile), series, report["latency_ms"][quantile])
        bench.figures.add(f"wait {size} {quantile}", series, report["wait_ms"][quantile])
