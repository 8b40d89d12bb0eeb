"""How fast the statistics answer: over HTTP on a weir of its own that is full of events, next to SQL over the events
themselves in PostgreSQL, and to DuckDB on a Parquet file of the same events. All answers must be equal."""

import collections
import os
import site
import sys
import tempfile
import threading
import time

from . import beside
from .filled import Filled
from .processes import peak_memory
from .questions import QUESTIONS, Subject
from .results import Criterion, judge, number, table, write
from .servers import ROOT, run, say

PACKAGES = ["duckdb==2.0.1", "psycopg[binary]==3.3.9"]
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
        statement = f"copy (select {columns} from events) to stdout (format csv)"
        with open(fifo, "wb") as pipe, database.cursor() as cursor, cursor.copy(statement) as copy:
            pipe.writelines(copy)

    feeder = threading.Thread(target=feed)
    feeder.start()
    types = {
        "event_id": "UUID",
        "user_no": "INT",
        "event_type": "VARCHAR",
        "occurred_at": "TIMESTAMPTZ",
        "properties": "JSON",
    }
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
    """Whether somebody has the rows that weir has; not, if weir has none."""
    if expected is None:
        return
    expected, rows = collections.Counter(expected), collections.Counter(map(tuple, rows))
    if expected != rows:
        differing = [*(expected - rows).items()][:3], [*(rows - expected).items()][:3]
        sys.exit(f"bench: '{question.name}': weir and {who} disagree; only one of them has: {differing}")


def subject(database):
    first, last = database.execute("select min(occurred_at)::date, max(occurred_at)::date from events").fetchone()
    user = database.execute(
        "select user_id, user_no from events join users using (project_id, user_no) where occurred_at >= %s"
        " group by user_no, user_id order by count(*) desc, user_no limit 1",
        (last,),
    ).fetchone()
    return Subject(first, last, *user)


def measure(build, millions, keep, with_others):
    """What each question takes, in seconds; if wanted, in PostgreSQL and DuckDB too."""
    with Filled(build, millions, keep) as weir:
        asked = {}
        with weir.postgres() as database:
            names = subject(database).names()
            say("asks weir")
            for question in QUESTIONS:
                path = question.path.format(**names)
                answer = weir.ask(path)[1]
                row, rows = {"question": question.name}, None
                if answer is None:
                    say(f"not answered: {question.name}")
                else:
                    row["warm"] = median(lambda path=path: weir.ask(path)[0], REPEATS, SECONDS)
                    rows = question.rows(answer)
                asked[question] = row, question.sql.format(**names), path, rows
            memory = peak_memory(weir.api.pid)

            if with_others:
                ask_others(database, asked)
            size = database.execute("select pg_database_size(current_database())").fetchone()[0]
        say("asks weir cold")
        for row, _, path, _ in asked.values():
            if "warm" in row:
                weir.restart()
                row["cold"] = weir.ask(path)[0]
        beside_sending = beside.measure(weir, names)
        promotions = ask_promoted(weir, asked)
    return {
        "millions": millions,
        "database_bytes": size,
        "memory_mb": memory,
        "beside": beside_sending,
        "promotions": promotions,
        "questions": [row for row, *_ in asked.values()],
    }


def ask_promoted(weir, asked):
    """Promotes what questions are about, and asks these again; how many seconds each promotion took."""
    took = {}
    with weir.worker():
        for question, (row, _, path, expected) in asked.items():
            if not question.about:
                continue
            say(f"promotes {question.about}")
            begun = time.monotonic()
            weir.weir("project", "promote", "bench", question.about)
            took[question.about] = time.monotonic() - begun
            row["promoted"] = median(lambda path=path: weir.ask(path)[0], REPEATS, SECONDS)
            check(question, "weir with a promoted property", expected, question.rows(weir.ask(path)[1]))
        for name in took:
            weir.weir("project", "demote", "bench", name)
    return took


def ask_others(database, asked):
    """Times SQL over the events, whose rows must be those that weir has answered."""
    import duckdb

    with tempfile.TemporaryDirectory(dir=f"{ROOT}/target") as directory:
        say("writes a Parquet file")
        write_parquet(database, f"{directory}/events.parquet")
        duck = duckdb.connect()
        duck.execute(f"create view events as select * from '{directory}/events.parquet'")
        ways = {"sql": generous(database), "duckdb": Sql(lambda statement: duck.execute(statement).fetchall())}
        say("asks PostgreSQL and DuckDB")
        for question, (row, statement, _, expected) in asked.items():
            for way, sql in ways.items():
                row[way], rows = sql.time(statement)
                check(question, way, expected, rows)


def milliseconds(seconds):
    return number(seconds and seconds * 1e3, 1)


def show(result):
    heads = ["", "cold", "warm", "promoted", "SQL", "DuckDB", "SQL/weir", "DuckDB/weir"]
    rows = []
    for row in result["questions"]:
        times = [row.get(way) for way in ("cold", "warm", "promoted", "sql", "duckdb")]
        ratios = [time / row["warm"] if time and "warm" in row else None for time in times[3:]]
        rows.append([row["question"], *map(milliseconds, times), *(number(ratio, 1) for ratio in ratios)])
    table(
        f"{result['millions']:g} million events, {result['database_bytes'] / 1e9:.1f} GB; milliseconds; the API took"
        f" {result['memory_mb']:.0f} MB",
        heads,
        rows,
    )
    for name, seconds in result["promotions"].items():
        print(f"{name} was promoted in {seconds:.0f} s, all history rebuilt")
    beside.show(result["beside"], result["millions"])


def show_growth(results):
    by_question = [{row["question"]: row.get("warm") for row in result["questions"]} for result in results]
    rows = [[question.name, *(milliseconds(warm[question.name]) for warm in by_question)] for question in QUESTIONS]
    table("As it grows: warm, milliseconds", ["", *(f"{result['millions']:g} million" for result in results)], rows)


def criteria(results):
    for result in results:
        yield beside.criterion(result["beside"], result["millions"])
        rows = {row["question"]: row for row in result["questions"]}
        for question in QUESTIONS:
            row = rows[question.name]
            name, warm = f"{question.name}, {result['millions']:g} million events", row.get("warm")
            if bound := question.bounds.get(result["millions"]):
                yield Criterion(f"{name}, warm", "ms", warm and warm * 1e3, most=bound)
                for way, name_of_way in (("sql", "SQL"), ("duckdb", "DuckDB")):
                    if warm and way in row and (least := question.ratios.get(way)):
                        yield Criterion(f"{name}, {name_of_way} to weir", "", row[way] / warm, least=least)


def statistics(plan, build):
    """Measures and shows each size, in millions of events."""
    add_packages()
    results = []
    for millions in plan.statistics:
        results.append(measure(build, millions, plan.keep, not plan.weir_only))
        show(results[-1])
    if len(results) > 1:
        show_growth(results)
    judged = list(criteria(results))
    judge(judged)
    if plan.json:
        write(plan, judged, {"statistics": results})
