"""How many events weir accepts: answers of 202, durable in the stream. No worker runs meanwhile; what was accepted is
stored and looked for afterwards. Bounds: bare handlers that parse, and that parse and publish."""

from .servers import say

SIZES = [1, 100, 1_000]  # events in a request
SHARES = [0, 1, 100]  # of a hundred events, how many were accepted before


def row(size, share=0):
    return f"accept {size} {share}"


def measure(bench):
    plan = bench.plan
    with bench.weirs() as weirs, bench.bound("parse") as parse, bench.bound("publish") as publish:
        for number in range(plan.rounds):
            say(f"accept rate, round {number + 1} of {plan.rounds}")
            for size in plan.sizes:
                bench.settle()
                run = options(bench, size)
                for name, bound in (("parse", parse), ("publish", publish)):
                    report = bench.load_bound(bound, **run)
                    bench.add(
                        row(size), name, {row(size, share): report["events_per_second"] for share in SHARES}, report
                    )
                for weir in weirs:
                    for share in SHARES:
                        report = bench.load(weir, **run, duplicates=share)
                        rate = {row(size, share): report["events_per_second"]}
                        bench.add(row(size, share), weir.build.name, rate, report)


def options(bench, size):
    plan = bench.plan
    return bench.closed_loop(size, warm_up=plan.warm_up, duration=plan.duration, requests=plan.accepted // size)
