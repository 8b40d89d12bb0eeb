"""Runs weir-bench: load, and the bounds to compare with."""

import json
import os
import signal
import socket
import subprocess
import tempfile

from .builds import KEPT
from .servers import free_port, until


class Tools:
    """The program weir-bench of a build."""

    def __init__(self, build):
        self.program = build.program("weir-bench")

    def run(self, *arguments, **environment):
        """What it reports, and the time of processors that it took."""
        process = subprocess.Popen(
            [self.program, *map(str, arguments)],
            stdout=subprocess.PIPE,
            text=True,
            env={"PATH": os.environ["PATH"], **environment},
        )
        text = process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            raise RuntimeError(f"weir-bench {arguments[0]} has failed, for the reason above")
        return json.loads(text) | {"cpu_seconds": used.ru_utime + used.ru_stime}

    def load(self, port, keys, **options):
        """Sends events, in requests of the projects of these keys in turns."""
        with tempfile.NamedTemporaryFile("w") as file:
            file.write("\n".join(keys))
            file.flush()
            pairs = [text for name, value in options.items() for text in (f"--{name.replace('_', '-')}", value)]
            return self.run("load", "--target", f"127.0.0.1:{port}", "--keys", file.name, *pairs)


class Bound:
    """A bare handler that runs beside weir, and takes nothing while nobody sends to it."""

    def __init__(self, tools, servers, work, settings):
        self.work = work
        self.port = free_port()
        environment = {
            "PATH": os.environ["PATH"],
            **servers.urls,
            **settings,
            "WEIR_HTTP_ADDR": f"127.0.0.1:{self.port}",
        }
        with open(os.path.join(KEPT, f"{work}.log"), "w") as log:
            self.process = subprocess.Popen([tools.program, "bound", work], env=environment, stdout=log, stderr=log)
        until(self.listens, f"the bound listens: {log.name}")

    def listens(self):
        if self.process.poll() is not None:
            with open(os.path.join(KEPT, f"{self.work}.log")) as log:
                raise RuntimeError(f"the bound has ended: {log.read()}")
        socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        return True

    def pids(self):
        return [self.process.pid]

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


def served(report):
    """The report, if nothing was refused: what was could not be compared."""
    if report["broken"] or report["rejected"] or set(report["statuses"]) - {"200", "202"}:
        raise RuntimeError(f"events were refused: {report}")
    return report
