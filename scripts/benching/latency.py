"""How long an answer takes at half of the highest rate. Requests are due at random times that do not wait for
answers, and a latency counts from when its request was due. Bound: the handler that parses and publishes, at half of
its own highest rate."""

from . import accept
from .servers import say

CONNECTIONS = 256
QUANTILES = ["p50", "p99", "p999", "max"]


def row(size, quantile):
    return f"latency {size} {quantile}"


def measure(bench):
    """Of the API, without a worker, at half of the accept rate; of the bound at half of its own."""
    with bench.weirs() as weirs, bench.bound("publish") as publish:
        cases = [(weir.build.name, bench.load, weir) for weir in weirs] + [("publish", bench.load_bound, publish)]
        rates = {}
        for number in range(bench.plan.rounds):
            say(f"latency, round {number + 1} of {bench.plan.rounds}")
            for size in bench.plan.sizes:
                bench.settle()
                for case in cases:
                    rates[size, case] = rates.get((size, case)) or peak(bench, *case, size) / size / 2
                    add(
                        bench,
                        f"latency {size}",
                        case[0],
                        rates[size, case],
                        open_loop(bench, *case[1:], size, rates[size, case]),
                    )


def add(bench, row, series, rate, report):
    figures = {f"{row} {quantile}": report["latency_ms"][quantile] for quantile in QUANTILES}
    figures |= {f"{row} wait {quantile}": report["wait_ms"][quantile] for quantile in QUANTILES}
    bench.add(row, series, {f"{row} rate": rate, **figures}, report)


def peak(bench, series, load, target, size):
    """Events a second: the accept rate that was measured before, or of a short run."""
    known = bench.figures.median(accept.row(size), series)
    return known or load(target, **accept.options(bench, size))["events_per_second"]


def open_loop(bench, load, target, size, rate):
    return load(
        target,
        events=size,
        rate=rate,
        connections=CONNECTIONS,
        warm_up=bench.plan.warm_up,
        duration=bench.plan.open_duration,
    )
