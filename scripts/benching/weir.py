"""A weir of its own on the servers: a database, a namespace, projects, the API and a worker."""

import hashlib
import itertools
import os
import secrets
import signal
import subprocess
import urllib.request

from .builds import KEPT
from .processes import peak_memory
from .servers import free_port, run, say, until

NUMBERS = itertools.count(1)
# Rates are counted as always, and refuse nothing.
HIGH = "1000000000"
SETTINGS = {
    "WEIR_RATE_LIMIT": HIGH,
    "WEIR_RATE_BURST": HIGH,
    "WEIR_ADDRESS_RATE_LIMIT": HIGH,
    "WEIR_ADDRESS_RATE_BURST": HIGH,
    "WEIR_STREAM_MAX_BYTES": "4GiB",  # NATS lets all streams together have less than the disk
}
PROJECTS_AT_ONCE = 50  # made by one statement, or as many as a run needs


class Wrong(Exception):
    """Events that were answered are not stored, or are stored twice."""


class Project:
    def __init__(self, number, keys):
        self.number = number
        self.write, self.read = keys


def empty_database(servers, build):
    """The name of a new database with the schema of this build."""
    name = f"bench_{next(NUMBERS)}"
    servers.psql(f"create database {name}")
    run(build.program("weir"), "migrate", env={**servers.urls, "DATABASE_URL": servers.database_url(name)})
    return name


class Weir:
    """With the configuration that it is shipped with, apart from rates."""

    def __init__(self, servers, build, projects_of_a_run):
        self.servers, self.build = servers, build
        self.projects_of_a_run = projects_of_a_run
        self.name = empty_database(servers, build)
        self.namespace = self.name.replace("_", "-")
        self.processes = {}
        self.peaks = {}
        self.sent = {}  # by project: how many events must be stored at least, and may be at most
        self.port = free_port()
        self.environment = {
            "PATH": os.environ["PATH"],
            **servers.urls,
            **SETTINGS,
            "DATABASE_URL": servers.database_url(self.name),
            "WEIR_NAMESPACE": self.namespace,
            "WEIR_HTTP_ADDR": f"127.0.0.1:{self.port}",
            "WEIR_WORKER_HTTP_ADDR": f"127.0.0.1:{free_port()}",
        }
        self.projects = []

    # --- Processes

    def start(self, part, program, *arguments):
        with open(os.path.join(KEPT, f"{part}.log"), "w") as log:
            command = [self.build.program(program), *arguments]
            self.processes[part] = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)
        address = self.environment["WEIR_HTTP_ADDR" if part == "api" else "WEIR_WORKER_HTTP_ADDR"]

        def is_ready():
            if self.processes[part].poll() is not None:
                raise RuntimeError(f"{program} has ended: {log.name} says why")
            return urllib.request.urlopen(f"http://{address}/ready", timeout=2).status == 200

        until(is_ready, f"{part} is ready")

    def start_api(self):
        self.start("api", "weir", "serve")

    def start_worker(self):
        self.start("worker", "weir-worker")

    def stop(self, part):
        process = self.processes.pop(part)
        self.peaks[part] = max(self.peaks.get(part, 0), peak_memory(process.pid))
        process.send_signal(signal.SIGTERM)
        process.wait()

    def end(self):
        for part in list(self.processes):
            self.stop(part)
        for stream in ("events", "dead"):
            self.servers.jetstream(f"STREAM.DELETE.{self.namespace}-{stream}")
        self.servers.psql(f"drop database {self.name} with (force)")

    def pids(self, part):
        return [self.processes[part].pid] if part in self.processes else []

    # --- Projects

    def make_projects(self, number):
        """By one statement, since there may be many; their keys are like those that weir makes."""
        keys = [[f"weir_{letter}k_{secrets.token_urlsafe(24)}" for letter in "wr"] for _ in range(number)]
        names = [f"p-{secrets.token_hex(8)}" for _ in range(number)]
        rows = ", ".join(f"('{name}', {at})" for at, name in enumerate(names))
        hashes = ", ".join(
            f"({at}, '{kind}', '\\x{hashlib.sha256(key.encode()).hexdigest()}'::bytea)"
            for at, pair in enumerate(keys)
            for kind, key in zip(("write", "read"), pair, strict=True)
        )
        answer = self.psql(f"""
            with named (name, at) as (values {rows}),
            made as (insert into projects (name) select name from named order by at returning project_id, name),
            keys as (insert into api_keys (project_id, kind, key_hash, hint)
                     select project_id, kind, hash, 'bench' from made join named using (name)
                     join (values {hashes}) as hashes (at, kind, hash) using (at))
            select project_id from made join named using (name) order by at""")
        return [Project(int(number), pair) for number, pair in zip(answer.split(), keys, strict=True)]

    def take_projects(self, number=None):
        """Projects that nobody has sent to, as many as a run has."""
        number = number or self.projects_of_a_run
        if len(self.projects) < number:
            self.projects += self.make_projects(max(number, PROJECTS_AT_ONCE))
        taken, self.projects = self.projects[:number], self.projects[number:]
        return taken

    # --- Events

    def psql(self, statements):
        return self.servers.psql(statements, self.name)

    def waiting(self):
        """Messages in the stream."""
        return self.servers.jetstream(f"STREAM.INFO.{self.namespace}-events")["state"]["messages"]

    def drained(self):
        """Waits until all that was accepted is stored; how long that took."""
        return until(lambda: self.waiting() == 0, "the stream is drained", 300)

    def expect(self, projects, sent):
        """How many different events of projects, which are checked together, must be stored, and may be."""
        self.sent[tuple(project.number for project in projects)] = sent

    def check(self):
        """Each event that was answered is stored once and counted once; how many that are."""
        rows = self.psql("""
            set work_mem = '256MB';
            with stored as (
                select project_id, sum(copies) as copies, count(*) as events from (
                    select project_id, event_id, count(*) as copies from events group by project_id, event_id
                ) as ids group by project_id
            ), hours as (
                select project_id, sum(events) as events from activity_hourly
                where event_type = '' and value_no = 0 group by project_id
            ), days as (
                select project_id, sum(events) as events from activity_daily
                where event_type <> '' and value_no = 0 group by project_id
            )
            select project_id, stored.events, copies, coalesce(hours.events, 0), coalesce(days.events, 0)
            from stored left join hours using (project_id) left join days using (project_id)""")
        found = {
            int(project): list(map(int, counts)) for project, *counts in (row.split("|") for row in rows.splitlines())
        }
        total = 0
        for numbers, sent in self.sent.items():
            counts = (found.get(number, [0] * 4) for number in numbers)
            events, copies, hours, days = map(sum, zip([0] * 4, *counts, strict=True))
            total += events
            if (missing := sent["stored_at_least"] - events) > 0:
                raise Wrong(f"{missing} of {sent['stored_at_least']} events were answered and are not stored")
            if copies != events or events > sent["stored_at_most"]:
                raise Wrong(f"{copies} rows of {events} events are stored, of {sent['stored_at_most']} that were sent")
            if not hours == days == events:
                raise Wrong(f"activity counts {hours} events by hour and {days} by day, {events} are stored")
        if letters := self.servers.jetstream(f"STREAM.INFO.{self.namespace}-dead")["state"]["messages"]:
            raise Wrong(f"{letters} dead letters")
        say(f"{total} accepted events are stored once and counted once, 0 lost")
        self.sent = {}
        return total
