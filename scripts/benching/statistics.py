"""How fast the statistics answer: over HTTP on a weir of its own that is full of events, next to SQL over the events
themselves in PostgreSQL, and to DuckDB on a Parquet file of the same events. All answers must be equal."""

import collections
import http.client
import json
import os
import signal
import site
import subprocess
import sys
import tempfile
import threading
import time

from .processes import peak_memory
from .questions import QUESTIONS, Subject
from .servers import ROOT, free_port, run, say, until

PACKAGES = ["duckdb==2.0.1", "psycopg[binary]==3.3.9"]
USERS_OF_A_MILLION = 50_000
# Warm is the median of so many answers, or of as many as this time allows.
REPEATS = 21
SECONDS = 5
# SQL over the events takes longer, and is repeated less.
SQL_REPEATS = 3
SQL_SECONDS = 10


def add_packages():
    """Makes what this needs from PyPI importable; it is installed once per user."""
    cache = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "weir")
    python = f"python{sys.version_info.major}.{sys.version_info.minor}"
    home = os.path.join(cache, "-".join([python, *(package.replace("[binary]", "") for package in PACKAGES)]))
    complete = os.path.join(home, "complete")
    if not os.path.exists(complete):
        say(f"installs {' and '.join(PACKAGES)} into {home} (once)")
        run(sys.executable, "-m", "venv", "--clear", home)
        run(os.path.join(home, "bin", "pip"), "install", "--quiet", *PACKAGES)
        open(complete, "w").close()
    site.addsitedir(os.path.join(home, "lib", python, "site-packages"))


class Weir:
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
            self.key = self.weir("key", "create", "--project", "bench", "--kind", "read").strip()
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
        self.environment = os.environ | urls | {"WEIR_HTTP_ADDR": f"127.0.0.1:{self.port}", "LOG_LEVEL": "error"}

    def start_api(self):
        command = [self.build.program("weir"), "serve"]
        self.api = subprocess.Popen(command, env=self.environment, stdout=subprocess.DEVNULL)
        until(lambda: self.get("/ready")[1] == 200, "the API is ready")

    def stop_api(self):
        if self.api:
            self.api.send_signal(signal.SIGTERM)
            self.api.wait()
            self.api = self.connection = None

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
            if not database.execute("select from projects").fetchone():
                return False
            events = database.execute("select sum(events) from activity_daily where event_type = ''").fetchone()[0]
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

    def postgres(self):
        import psycopg

        return psycopg.connect(self.environment["DATABASE_URL"], autocommit=True)

    def get(self, path, key=None):
        """How long the answer took, its status, and its bytes. The connection is kept."""
        if self.connection is None:
            self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)
        begun = time.perf_counter()
        try:
            self.connection.request("GET", path, headers={"X-API-Key": key} if key else {})
            answer = self.connection.getresponse()
            body = answer.read()
        except OSError:
            self.connection = None
            raise
        return time.perf_counter() - begun, answer.status, body

    def ask(self, path):
        """How long it took, and the answer; None if this weir does not know the question."""
        seconds, status, body = self.get(path, self.key)
        if status not in (200, 404):
            sys.exit(f"bench: {path} was answered with {status}: {body.decode()}")
        return seconds, json.loads(body) if status == 200 else None


def median(ask, repeats, seconds):
    """The median of what `ask` says that it took."""
    taken, begun = [], time.monotonic()
    while len(taken) < repeats and (not taken or time.monotonic() - begun < seconds):
        taken.append(ask())
    return sorted(taken)[len(taken) // 2]


class Sql:
    """SQL over the events, by a function from a statement to its rows."""

    def __init__(self, execute):
        self.execute = execute

    def time(self, statement):
        """How long it takes warm, and its rows."""
        rows = None

        def once():
            nonlocal rows
            begun = time.perf_counter()
            rows = self.execute(statement)
            return time.perf_counter() - begun

        first = once()
        return first if first > SQL_SECONDS else median(once, SQL_REPEATS, SQL_SECONDS), rows


def generous(database):
    """What somebody who asks the events themselves would set."""
    for setting in ("timezone = 'UTC'", "work_mem = '512MB'", "max_parallel_workers_per_gather = 2"):
        database.execute(f"set {setting}")
    return Sql(lambda statement: database.execute(statement).fetchall())


def write_parquet(database, path):
    """Writes the events into a Parquet file, in the order of their times as far as the hypertable has it."""
    import duckdb

    fifo = f"{path}.fifo"
    os.mkfifo(fifo)

    def feed():
        columns = "event_id, user_no, event_type, occurred_at, properties"
        with open(fifo, "wb") as pipe, database.cursor() as cursor:
            with cursor.copy(f"copy (select {columns} from events) to stdout (format csv)") as copy:
                for block in copy:
                    pipe.write(block)

    feeder = threading.Thread(target=feed)
    feeder.start()
    types = {"event_id": "UUID", "user_no": "INT", "event_type": "VARCHAR", "occurred_at": "TIMESTAMPTZ",
             "properties": "JSON"}
    duckdb.execute("set timezone = 'UTC'")
    duckdb.execute(f"""
        copy (
            select * replace (occurred_at::timestamp as occurred_at)
            from read_csv('{fifo}', header = false, auto_detect = false, delim = ',', quote = '"', escape = '"',
                          columns = {types}, parallel = false)
        ) to '{path}' (format parquet, compression zstd)""")
    feeder.join()
    os.remove(fifo)


def check(question, who, expected, rows):
    expected, rows = collections.Counter(expected), collections.Counter(map(tuple, rows))
    if expected != rows:
        differing = [*(expected - rows).items()][:3], [*(rows - expected).items()][:3]
        sys.exit(f"bench: '{question.name}': weir and {who} disagree; only one of them has: {differing}")


def subject(database):
    first, last = database.execute("select min(occurred_at)::date, max(occurred_at)::date from events").fetchone()
    user = database.execute(
        "select user_id, user_no from events join users using (project_id, user_no) where occurred_at >= %s"
        " group by user_no, user_id order by count(*) desc, user_no limit 1", (last,)).fetchone()
    return Subject(first, last, *user)


def measure(build, millions, keep):
    """What each question takes, in seconds."""
    import duckdb

    with Weir(build, millions, keep) as weir, tempfile.TemporaryDirectory(dir=f"{ROOT}/target") as directory:
        asked = {}
        with weir.postgres() as database:
            names = subject(database).names()
            say("asks weir")
            for question in QUESTIONS:
                path = question.path.format(**names)
                answer = weir.ask(path)[1]
                if answer is None:
                    say(f"this weir does not know: {question.name}")
                    continue
                warm = median(lambda: weir.ask(path)[0], REPEATS, SECONDS)
                asked[question] = {"question": question.name, "warm": warm}, path, question.rows(answer)
            memory = peak_memory(weir.api.pid)

            say("writes a Parquet file")
            write_parquet(database, f"{directory}/events.parquet")
            duck = duckdb.connect()
            duck.execute(f"create view events as select * from '{directory}/events.parquet'")
            ways = {"sql": generous(database), "duckdb": Sql(lambda statement: duck.execute(statement).fetchall())}
            say("asks PostgreSQL and DuckDB")
            for question, (row, _, expected) in asked.items():
                for way, sql in ways.items():
                    row[way], rows = sql.time(question.sql.format(**names))
                    check(question, way, expected, rows)
            size = database.execute("select pg_database_size(current_database())").fetchone()[0]
        say("asks weir cold")
        for row, path, _ in asked.values():
            weir.restart()
            row["cold"] = weir.ask(path)[0]
    return {"millions": millions, "database_bytes": size, "memory_mb": memory,
            "questions": [row for row, *_ in asked.values()]}


def time_text(seconds):
    return f"{seconds * 1e3:.1f} ms" if seconds < 1 else f"{seconds:.1f} s"


def table(result):
    millions = result["millions"]
    print(f"\n{millions:g} million events, {result['database_bytes'] / 1e9:.1f} GB; the API took"
          f" {result['memory_mb']:.0f} MB")
    print(f"{'':<30} {'cold':>10} {'warm':>10} {'bound':>8} {'SQL':>10} {'DuckDB':>10}   SQL/weir  DuckDB/weir")
    bounds = {question.name: question.bounds or {} for question in QUESTIONS}
    for row in result["questions"]:
        bound = bounds[row["question"]].get(millions)
        print(f"{row['question']:<30} {time_text(row['cold']):>10} {time_text(row['warm']):>10}"
              f" {f'{bound} ms' if bound else '':>8} {time_text(row['sql']):>10} {time_text(row['duckdb']):>10}"
              f" {row['sql'] / row['warm']:>10.0f} {row['duckdb'] / row['warm']:>12.1f}", flush=True)


def growth(results):
    print("\nwarm, as it grows" + "".join(f"{result['millions']:>12g} M" for result in results))
    for question in QUESTIONS:
        found = [{row["question"]: row for row in result["questions"]}.get(question.name) for result in results]
        if all(found):
            print(f"{question.name:<30}" + "".join(f"{time_text(row['warm']):>14}" for row in found))


def statistics(build, sizes, keep):
    """Measures and prints each size, in millions of events; all figures."""
    add_packages()
    results = []
    for millions in sizes:
        results.append(measure(build, millions, keep))
        table(results[-1])
    if len(results) > 1:
        growth(results)
    return results
