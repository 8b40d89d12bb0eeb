"""Servers of their own, and what they tell of themselves."""

import contextlib
import json
import os
import socket
import subprocess
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
NAME = f"bench-{os.getpid()}"


def say(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def run(*command, **options):
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, **options)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stdout}{done.stderr}")
    return done.stdout


def until(condition, what, seconds=60):
    """Waits for something that is true; how long that took."""
    begun = time.monotonic()
    while time.monotonic() < begun + seconds:
        with contextlib.suppress(OSError):
            if condition():
                return time.monotonic() - begun
        time.sleep(0.02)
    raise RuntimeError(f"waited in vain for: {what}")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Servers:
    """PostgreSQL, Redis and NATS, as scripts/stack starts them."""

    def __init__(self):
        run("scripts/stack", "up", "--name", NAME, "--ports", "free")
        lines = run("scripts/stack", "env", "--name", NAME).splitlines()
        self.urls = dict(line.removeprefix("export ").split("=", 1) for line in lines)
        self.ports = {
            server: int(self.urls[name].split(":")[2].split("/")[0])
            for server, name in {"postgres": "DATABASE_URL", "redis": "REDIS_URL", "nats": "NATS_URL"}.items()
        }

    def end(self):
        run("scripts/stack", "reset", "--name", NAME)

    def database_url(self, name):
        return f"{self.urls['DATABASE_URL'].rsplit('/', 1)[0]}/{name}"

    def psql(self, statements, database="weir"):
        return run(
            "scripts/stack",
            "psql",
            "--name",
            NAME,
            "-XqAt",
            "-v",
            "ON_ERROR_STOP=1",
            "-d",
            self.database_url(database),
            input=statements,
        ).strip()

    def pids(self, server):
        """The process that was started, then its children."""
        with open(os.path.join(ROOT, ".stack", NAME, "run", f"{server}.pid")) as file:
            parent = int(file.read().split()[0])
        with open(f"/proc/{parent}/task/{parent}/children") as file:
            return [parent, *map(int, file.read().split())]

    def jetstream(self, subject):
        """JetStream's answer to a question, over its own protocol."""
        with socket.create_connection(("127.0.0.1", self.ports["nats"]), timeout=10) as nats:
            file = nats.makefile("rwb")
            file.write(
                f'CONNECT {{"verbose":false}}\r\nSUB answer 1\r\nPUB $JS.API.{subject} answer 0\r\n\r\n'.encode()
            )
            file.flush()
            for line in file:
                if line.startswith(b"MSG"):
                    return json.loads(file.read(int(line.split()[-1])))
        raise OSError("NATS has ended the connection")

    def redis(self, command):
        """Redis' answer to a command of words."""
        with socket.create_connection(("127.0.0.1", self.ports["redis"]), timeout=30) as redis:
            file = redis.makefile("rwb")
            file.write(f"{command}\r\n".encode())
            file.flush()
            line = file.readline().decode().strip()
            return file.read(int(line[1:])).decode() if line.startswith("$") else line

    def redis_bytes(self):
        lines = self.redis("INFO memory").splitlines()
        return next(int(line.split(":")[1]) for line in lines if line.startswith("used_memory:"))
