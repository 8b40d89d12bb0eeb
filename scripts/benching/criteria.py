"""What weir should reach, on the machine that it runs on."""

from . import accept, latency, storing
from .bench import WEIR
from .results import Criterion


def criteria(figures, checked):
    def most(row):
        return max(figures.all(row), default=None)

    def latency_of(text, row):
        return Criterion(f"p99 at half of {text}", "ms", figures.median(row), most=20)

    batches, singles = accept.row(100), accept.row(1)
    return [
        Criterion(
            "accept rate, batches of 100, to parse + publish", "", figures.ratio(batches, WEIR, "publish"), least=0.6
        ),
        Criterion(
            "accept rate, single events, to parse + publish", "", figures.ratio(singles, WEIR, "publish"), least=1.5
        ),
        Criterion("accept rate, single events", "/s", figures.median(singles), least=25_000),
        Criterion(
            "end-to-end rate, batches of 100, to COPY",
            "",
            figures.ratio(storing.row(100), WEIR, storing.BEST, "copy"),
            least=0.45,
        ),
        Criterion(
            "accept rate, batches of 100, all duplicates to none",
            "",
            figures.ratio(accept.row(100, 100), WEIR, WEIR, batches),
            least=1.2,
        ),
        *(latency_of(f"the accept rate, {size:,} in a request", latency.row(size, "p99")) for size in accept.SIZES),
        latency_of("the end-to-end rate, batches of 100, all parts", "latency while storing p99"),
        Criterion("memory at most, API", "MB", most("memory api"), most=100),
        Criterion("memory at most, worker", "MB", most("memory worker"), most=250),
        Criterion("Redis, bytes per id", "", most("redis bytes"), most=50),
        Criterion("accepted events lost", "", 0 if checked else None, most=0),
    ]
