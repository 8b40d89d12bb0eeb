"""What weir should reach, on the machine that it runs on."""

from . import accept, latency, storing
from .bench import WEIR

MEGABYTES_OF_API, MEGABYTES_OF_WORKER = 100, 250
P99 = 20  # milliseconds


class Criterion:
    def __init__(self, text, unit, value, least=None, most=None):
        self.text, self.unit, self.value, self.least, self.most = text, unit, value, least, most

    @property
    def bound(self):
        return f"at least {self.least:,}" if self.least is not None else f"at most {self.most:,}"

    @property
    def is_met(self):
        """None: it was not measured."""
        if self.value is None:
            return None
        return self.value >= self.least if self.least is not None else self.value <= self.most


def criteria(figures, checked):
    best_copy = max((figures.median("copy", series) or 0 for series in figures.values.get("copy", {})), default=None)
    stored = figures.median(storing.row(100))
    again, once = figures.median(accept.row(100, 100)), figures.median(accept.row(100))
    highest = {part: max(figures.of(f"memory {part}"), default=None) for part in ("api", "worker")}
    redis = figures.of("redis bytes")
    return [
        Criterion("accept rate, batches of 100, to parse + publish", "", figures.ratio(accept.row(100), WEIR, "publish"), least=0.6),
        Criterion("accept rate, single events, to parse + publish", "", figures.ratio(accept.row(1), WEIR, "publish"), least=1.5),
        Criterion("accept rate, single events", "/s", figures.median(accept.row(1)), least=25_000),
        Criterion("end-to-end rate, batches of 100, to COPY", "", stored / best_copy if stored and best_copy else None, least=0.45),
        Criterion("accept rate, batches of 100, all duplicates to none", "", again / once if again and once else None, least=1.2),
        *(Criterion(f"p99 at half of the peak, {size:,} in a request", "ms", figures.median(latency.row(size, "p99")), most=P99)
          for size in accept.SIZES),
        Criterion("p99 at half of the end-to-end rate, all parts", "ms", figures.median("latency while storing p99"), most=P99),
        Criterion("memory at most, API", "MB", highest["api"], most=MEGABYTES_OF_API),
        Criterion("memory at most, worker", "MB", highest["worker"], most=MEGABYTES_OF_WORKER),
        Criterion("Redis, bytes per id", "", max(redis, default=None), most=50),
        Criterion("accepted events lost", "", 0 if checked else None, most=0),
    ]
