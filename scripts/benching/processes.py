"""What processes take: time of processors, bytes written, memory."""

import contextlib
import os
import time

TICK = os.sysconf("SC_CLK_TCK")


def peak_memory(pid):
    """Resident, in MB."""
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024


def usage(pids):
    """Seconds of processors and bytes written by a process and its children, those that have ended included."""
    seconds = written = 0
    for at, pid in enumerate(pids):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            with open(f"/proc/{pid}/stat") as stat:
                fields = stat.read().rpartition(")")[2].split()
            # utime, stime; of the first one also those of children that it has waited for
            seconds += sum(map(int, fields[11:15] if at == 0 else fields[11:13])) / TICK
            with open(f"/proc/{pid}/io") as io:
                written += next(int(line.split()[1]) for line in io if line.startswith("write_bytes"))
    return {"cpu_seconds": seconds, "bytes_written": written}


def busy():
    """Seconds in which processors were not idle, those that the machine was not given included."""
    with open("/proc/stat") as stat:
        user, nice, system, _idle, _waiting, *others = map(int, stat.readline().split()[1:9])
    return (user + nice + system + sum(others)) / TICK


class Meter:
    """What parts take from its making on, and what everybody else does."""

    def __init__(self, parts):
        """`parts`: by name, a function that tells the processes."""
        self.parts = parts
        self.begun, self.own, self.busy = time.monotonic(), time.process_time(), busy()
        self.before = self.now()

    def now(self):
        return {name: usage(pids()) for name, pids in self.parts.items()}

    def taken(self, generator):
        """By part; and the share of the processors that went to none of them. `generator`: seconds that it took."""
        after = self.now()
        taken = {
            name: {what: after[name][what] - amount for what, amount in before.items()}
            for name, before in self.before.items()
        }
        taken["generator"] = {"cpu_seconds": generator, "bytes_written": 0}
        own = time.process_time() - self.own + sum(part["cpu_seconds"] for part in taken.values())
        seconds = (time.monotonic() - self.begun) * os.cpu_count()
        return taken, max(0, busy() - self.busy - own) / seconds
