"""How many events weir accepts: answers of 202, durable in the stream. No worker runs; what was accepted is stored and checked
afterwards."""

from .servers import say

SIZES = [1, 100, 1_000]  # events in a request
SHARES = [0, 1, 100]  # of a hundred events, how many were accepted before
BOUNDS = ["parse", "publish"]


def row(size, share):
    return f"accept {size} {share}"


def measure(bench):
    plan = bench.options
    with bench.weirs() as weirs, bench.bound("parse") as parse, bench.bound("publish") as publish:
        for number in range(plan.rounds):
            say(f"accept rate, round {number + 1} of {plan.rounds}")
            for size in SIZES:
                run = {"events": size, "warm_up": plan.warm_up, "duration": plan.duration}
                for name, bound in (("parse", parse), ("publish", publish)):
                    rate = answered(bench.load_bound(bound, **run), {202})
                    for share in SHARES:
                        bench.figures.add(row(size, share), name, rate)
                for weir in weirs:
                    for share in SHARES:
                        report = bench.load(weir, **run, duplicates=share)
                        bench.figures.add(row(size, share), weir.build.name, answered(report, {200, 202}))


def answered(report, statuses):
    """Events a second, if nothing was refused."""
    if report["broken"] or set(map(int, report["statuses"])) - statuses or report["rejected"]:
        raise RuntimeError(f"requests were refused: {report}")
    return report["events_per_second"]
