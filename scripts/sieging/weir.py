"""A weir of its own, with servers of its own."""

import os
import signal
import subprocess
import sys
import time

from .client import request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
NAME = f"siege-{os.getpid()}"
ADDRESSES = ["127.0.0.1:18750", "127.0.0.1:18751"]


def run(*command, **more):
    return subprocess.run(command, cwd=ROOT, check=True, text=True, stdout=subprocess.PIPE, **more).stdout


class Weir:
    """Servers, the API (one or two instances), a worker, and two projects."""

    def __init__(self, instances=1, **variables):
        run("scripts/stack", "up", "--name", NAME, "--ports", "free")
        lines = run("scripts/stack", "env", "--name", NAME).splitlines()
        pairs = (line.removeprefix("export ").split("=", 1) for line in lines if "=" in line)
        self.environment = os.environ | {name: value.strip("'\"") for name, value in pairs} | variables
        self.keys = {}
        self.weir("migrate")
        self.processes = [
            self.start("weir", "serve", WEIR_HTTP_ADDR=address, LOG_LEVEL="error") for address in ADDRESSES[:instances]
        ]
        self.processes.append(self.start("weir-worker", WEIR_WORKER_HTTP_ADDR="127.0.0.1:0", LOG_LEVEL="error"))
        for address in ADDRESSES[:instances]:
            until(lambda address=address: request(address, "GET", "/ready")[0] == 200, "weir is ready")

    def weir(self, *arguments):
        return run("target/release/weir", *arguments, env=self.environment, stderr=subprocess.DEVNULL).strip()

    def start(self, program, *arguments, **variables):
        return subprocess.Popen(
            [f"{ROOT}/target/release/{program}", *arguments],
            env=self.environment | variables,
            stdout=subprocess.DEVNULL,
        )

    def project(self, name, *options):
        """Its keys to write and to read with."""
        self.weir("project", "create", name, *options)
        self.keys[name] = [self.weir("key", "create", "--project", name, "--kind", kind) for kind in ("write", "read")]
        return self.keys[name]

    def memory(self, kind="VmRSS"):
        """Of the first instance, in MB."""
        with open(f"/proc/{self.processes[0].pid}/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith(kind)) / 1024

    def forget_peak(self):
        with open(f"/proc/{self.processes[0].pid}/clear_refs", "w") as clear:
            clear.write("5")

    def end(self):
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            process.wait()
        run("scripts/stack", "reset", "--name", NAME)


def until(condition, what):
    end = time.monotonic() + 30
    while time.monotonic() < end:
        try:
            if condition():
                return
        except OSError:
            pass
        time.sleep(0.05)
    sys.exit(f"siege: waited in vain for: {what}")
