"""The kinds of faults. Each breaks something, waits at the `yield`, and mends it."""

import contextlib
import os
import random
import signal
import time

from .check import drained
from .world import APPS, SERVERS


def kill(part):
    def fault(world, load, draw):
        world.signal(part, signal.SIGKILL, one=draw.randrange(2) if part in APPS else 0)
        yield draw.uniform(0.5, 3)

    return fault


def stop(part):
    def fault(world, load, draw):
        pids = world.pids(part)
        world.signal(part, signal.SIGSTOP)
        yield draw.uniform(2, 6)
        go_on(pids)

    return fault


def go_on(pids):
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def partition(app, server):
    def fault(world, load, draw):
        world.partition(app, server)
        yield draw.uniform(3, 15)
        world.heal()

    return fault


def full_stream(world, load, draw):
    """Nobody stores until the API refuses."""
    pids = world.pids("worker")
    world.signal("worker", signal.SIGSTOP)
    rate, load.rate = load.rate, load.rate * 8
    refused = load.ledger.statuses[503]
    end = time.monotonic() + 120
    while load.ledger.statuses[503] == refused and time.monotonic() < end:
        time.sleep(0.1)
    if load.ledger.statuses[503] == refused:
        load.failed("the stream did not become full")
    yield 1
    load.rate = rate
    go_on(pids)


def power(world, load, draw):
    world.lose_power()
    yield 0.5


def everything(world, load, draw):
    """All are killed, and come up in any order."""
    parts = SERVERS + APPS if world.own_database else ["redis", "nats", *APPS]
    for part in draw.sample(parts, len(parts)):
        world.signal(part, signal.SIGKILL)
    yield 0.5
    if draw.random() < 0.5:
        for process in world.processes.values():
            process.wait()
        for app in APPS:
            for number in range(2):
                world.start_app(app, number)


def settings(world, load, draw):
    """The stream gets another bound; then NATS restarts, which gives a changed stream another time of creation."""
    world.stream_bytes = "4MiB" if world.stream_bytes == "3MiB" else "3MiB"
    world.signal("api", signal.SIGKILL)
    world.wait_for("api")
    world.start_apps()
    world.signal("nats", signal.SIGKILL)
    yield 0.5


def lost_stream(world, load, draw):
    """NATS comes back with an empty directory, when all that it had is stored. Its numbers begin anew."""
    load.pause()
    drained(world)
    world.lose_stream()
    yield 0.5
    world.start_servers()
    load.go()


def older_copy(world, load, draw):
    """The database knows of fewer changes of its users than workers have seen, as after a restore."""
    world.psql("update upkeep set users_generation = users_generation - 1")
    yield 0


def rename(world, load, draw):
    draw.choice(load.projects).rename()
    yield 0


def revoke(world, load, draw):
    draw.choice(load.projects).replace_key()
    yield 0


def delete(world, load, draw):
    for sender in draw.sample(load.senders, 4):
        sender.delete_person()
    yield 0


def merge(world, load, draw):
    for sender in draw.sample(load.senders, 4):
        sender.merge_person()
    yield 0


def promote(world, load, draw):
    for project in draw.sample(load.projects, 4):
        project.promote()
    yield 0


# What happens while nothing else is broken.
ALONE = {
    "power",
    "everything",
    "full stream",
    "settings",
    "lost stream",
    "older copy",
    "rename",
    "revoke",
    "delete",
    "merge",
    "promote",
}


def kinds(world, words):
    """The kinds that can be played here, by name; of them those whose names have one of the words."""
    servers = SERVERS if world.own_database else ["redis", "nats"]
    all_kinds = {f"kill {part}": kill(part) for part in APPS + servers}
    all_kinds |= {f"stop {part}": stop(part) for part in APPS + servers}
    all_kinds |= {
        "full stream": full_stream,
        "everything": everything,
        "settings": settings,
        "lost stream": lost_stream,
    }
    all_kinds |= {"older copy": older_copy}
    all_kinds |= {"rename": rename, "revoke": revoke, "delete": delete, "merge": merge, "promote": promote}
    if world.partitions:
        pairs = [(app, server) for app in APPS for server in SERVERS if (app, server) != ("worker", "redis")]
        all_kinds |= {f"part {app}-{server}": partition(app, server) for app, server in pairs}
    if world.power:
        all_kinds["power"] = power
    return {name: fault for name, fault in all_kinds.items() if not words or any(word in name for word in words)}


class Deck:
    """Every kind has its turn, in an order that the seed decides."""

    def __init__(self, names, seed):
        self.names, self.random, self.cards = list(names), random.Random(seed), []

    def draw(self):
        if not self.cards:
            self.cards = self.random.sample(self.names, len(self.names))
        return self.cards.pop()
