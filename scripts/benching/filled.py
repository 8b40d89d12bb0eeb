"""A weir of its own that is full of events, and can be asked."""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time

from .servers import free_port, run, say, until
from .weir import SETTINGS

USERS_OF_A_MILLION = 50_000


class Filled:
    """Servers, the API, and a project full of events. The data are deleted in the end, unless they are to be kept."""

    def __init__(self, build, millions, keep):
        self.build, self.millions, self.keep = build, millions, keep
        self.name = f"statistics-{millions:g}" if keep else f"statistics-{os.getpid()}"
        self.port, self.api, self.connection = free_port(), None, None

    def __enter__(self):
        try:
            self.start_servers()
            self.weir("migrate")
            if not self.is_full():
                self.fill()
            self.key = self.new_key("bench", "read")
            self.start_api()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.stop_api()
        run("scripts/stack", "down" if self.keep else "reset", "--name", self.name)

    def start_servers(self):
        run("scripts/stack", "up", "--name", self.name, "--ports", "free")
        lines = run("scripts/stack", "env", "--name", self.name).splitlines()
        urls = dict(line.removeprefix("export ").split("=", 1) for line in lines)
        self.environment = {
            **os.environ,
            **urls,
            **SETTINGS,
            "LOG_LEVEL": "error",
            "WEIR_HTTP_ADDR": f"127.0.0.1:{self.port}",
            "WEIR_WORKER_HTTP_ADDR": f"127.0.0.1:{free_port()}",
        }

    def start_api(self):
        command = [self.build.program("weir"), "serve"]
        self.api = subprocess.Popen(command, env=self.environment, stdout=subprocess.DEVNULL)
        until(lambda: self.get("/ready")[1] == 200, "the API is ready")

    def stop_api(self):
        if self.api:
            self.api.send_signal(signal.SIGTERM)
            self.api.wait()
            self.api = self.connection = None

    @contextlib.contextmanager
    def worker(self):
        """Stores what is sent meanwhile."""
        worker = subprocess.Popen([self.build.program("weir-worker")], env=self.environment, stdout=subprocess.DEVNULL)
        try:
            yield
        finally:
            worker.send_signal(signal.SIGTERM)
            worker.wait()

    @contextlib.contextmanager
    def guest(self):
        """A key of a project that is there for a while: the database is to hold one project's events only."""
        name = f"guest-{os.getpid()}"
        self.weir("project", "create", name)
        sent = []
        yield self.new_key(name, "write"), sent
        with self.postgres() as database:
            project = database.execute("select project_id from projects where name = %s", (name,)).fetchone()
            stored = "select count(*) from events where project_id = %s"
            until(
                lambda: database.execute(stored, project).fetchone()[0] >= sum(sent), "what was accepted is stored", 300
            )
            database.execute("delete from events where project_id = %s", project)

    def restart(self):
        """Everything anew, with nothing in memory as far as that can be had."""
        self.stop_api()
        run("scripts/stack", "down", "--name", self.name)
        os.sync()
        with open("/proc/sys/vm/drop_caches", "w") as drop:
            drop.write("3")
        self.start_servers()
        self.start_api()

    # --- Events

    def is_full(self):
        with self.postgres() as database:
            if database.execute("select from projects").fetchone() is None:
                return False
            events = database.execute(
                "select sum(events) from activity_daily join projects using (project_id)"
                " where name = 'bench' and event_type = '' and value_no = 0"
            ).fetchone()[0]
            if events != self.millions * 1_000_000:
                sys.exit(f"bench: filling was interrupted; first: scripts/stack reset --name {self.name}")
            return True

    def fill(self):
        say(f"fills a project with {self.millions:g} million events")
        # Checkpoints as rare as a server for so many events would have them, while it is filled.
        with self.postgres() as database:
            database.execute("alter system set max_wal_size = '2GB'")
            database.execute("select pg_reload_conf()")
        events, users = int(self.millions * 1e6), int(self.millions * USERS_OF_A_MILLION)
        program = self.build.program("weir-bench")
        run(program, "fill", "--events", str(events), "--users", str(users), env=self.environment)
        with self.postgres() as database:
            database.execute("alter system reset max_wal_size")
            database.execute("select pg_reload_conf()")
            database.execute("checkpoint")

    # --- Questions

    def weir(self, *arguments):
        return run(self.build.program("weir"), *arguments, env=self.environment)

    def new_key(self, project, kind):
        return self.weir("key", "create", "--project", project, "--kind", kind).strip()

    def postgres(self):
        import psycopg  # it is there once answering.py has installed it

        return psycopg.connect(self.environment["DATABASE_URL"], autocommit=True)

    def get(self, path, key=None):
        """How long the answer took, its status, and its bytes. The connection is kept."""
        kept = self.connection is not None
        self.connection = self.connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)
        begun = time.perf_counter()
        try:
            self.connection.request("GET", path, headers={"X-API-Key": key} if key else {})
            answer = self.connection.getresponse()
            body = answer.read()
        except OSError:
            self.connection = None
            if kept:  # it was idle for too long
                return self.get(path, key)
            raise
        return time.perf_counter() - begun, answer.status, body

    def ask(self, path):
        """How long it took, and the answer; None if this weir does not know the question, or finds it too expensive."""
        seconds, status, body = self.get(path, self.key)
        if status not in (200, 404, 422):
            sys.exit(f"bench: {path} was answered with {status}: {body.decode()}")
        return seconds, json.loads(body) if status == 200 else None
