"""How results are shown, whatever was measured: tables for people, criteria, and JSON for programs."""

import json
import os
import platform
import time

from .servers import run


def number(value, digits=0):
    return "–" if value is None else f"{value:,.{digits}f}"


def table(title, heads, rows):
    if not rows:
        return
    lines = [heads, *rows]
    widths = [max(len(line[at]) for line in lines) for at in range(len(heads))]
    print(f"\n{title}\n")
    for line in lines:
        name, *values = line
        cells = [name.ljust(widths[0]), *(value.rjust(width) for value, width in zip(values, widths[1:], strict=True))]
        print("  " + "  ".join(cells).rstrip())


class Criterion:
    def __init__(self, text, unit, value, least=None, most=None):
        self.text, self.unit, self.value, self.least, self.most = text, unit, value, least, most

    @property
    def bound(self):
        return f"at least {self.least:,}" if self.least is not None else f"at most {self.most:,}"

    @property
    def is_met(self):
        """None: it was not measured."""
        if self.value is None:
            return None
        return self.value >= self.least if self.least is not None else self.value <= self.most


def judge(judged):
    rows = [
        [
            one.text,
            number(one.value, 2) + f" {one.unit}".rstrip(),
            one.bound,
            {True: "yes", False: "NO", None: "not measured"}[one.is_met],
        ]
        for one in judged
    ]
    table("Criteria", ["", "measured", "", "met"], rows)


def machine():
    with open("/proc/cpuinfo") as cpus:
        model = next((line.split(":")[1].strip() for line in cpus if line.startswith("model name")), platform.machine())
    return {
        "processors": os.cpu_count(),
        "model": model,
        "kernel": platform.release(),
        "memory_mb": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20,
    }


def write(plan, judged, figures):
    """All that was found, for programs."""
    content = {
        "revision": run("git", "describe", "--always", "--dirty", "--abbrev=12").strip(),
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": machine(),
        "plan": vars(plan),
        **figures,
        "criteria": [
            {"text": one.text, "unit": one.unit, "value": one.value, "bound": one.bound, "met": one.is_met}
            for one in judged
        ],
    }
    with open(plan.json, "w") as file:
        json.dump(content, file, indent=1)
