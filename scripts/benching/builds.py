"""Programs in release form: of this checkout, and of another revision to compare with."""

import os
import shutil
import subprocess

from .servers import ROOT, run, say

PROGRAMS = ["weir", "weir-worker"]
KEPT = os.path.join(ROOT, "target", "bench")


class Build:
    def __init__(self, name, directory):
        self.name, self.directory = name, directory

    def program(self, program):
        return os.path.join(self.directory, program)


def cargo(directory, packages):
    """weir by itself, as it is shipped: with others it would be built with the features of their dependencies too."""
    chosen = [option for package in packages for option in ("--package", package)]
    command = [
        "cargo",
        "build",
        "--release",
        "--locked",
        "--quiet",
        "--target-dir",
        os.path.join(ROOT, "target"),
        *chosen,
    ]
    subprocess.run(command, cwd=directory, check=True)
    return os.path.join(ROOT, "target", "release")


def keep(built, name, programs):
    """Copies programs, so that the next build does not replace them."""
    directory = os.path.join(KEPT, name)
    os.makedirs(directory, exist_ok=True)
    for program in programs:
        shutil.copy2(os.path.join(built, program), directory)
    return Build(name, directory)


def this_checkout():
    say("builds weir")
    build = keep(cargo(ROOT, PROGRAMS), "weir", PROGRAMS)
    keep(cargo(ROOT, ["weir-bench"]), "weir", ["weir-bench"])
    return build


def of_revision(revision):
    """Builds it in a work tree of its own, once."""
    commit = run("git", "rev-parse", "--verify", f"{revision}^{{commit}}").strip()
    kept = Build("base", os.path.join(KEPT, commit))
    if all(os.path.exists(kept.program(program)) for program in PROGRAMS):
        return kept
    say(f"builds {revision} ({commit[:12]})")
    tree = os.path.join(KEPT, f"tree-{commit}")
    run("git", "worktree", "add", "--force", "--detach", tree, commit)
    try:
        keep(cargo(tree, PROGRAMS), commit, PROGRAMS)
    finally:
        run("git", "worktree", "remove", "--force", tree)
    return kept
