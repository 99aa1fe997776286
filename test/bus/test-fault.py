#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""That an operation is done or not done, and leaves nothing else behind, if pmd dies before or after any of its steps.

Arguments: a build directory with -Dfault_injection=true; --all: at each pass of each point, not only at the first and the last; names of
operations: only these. For each death there is a private pmd of its own with its keeper.

Done means: of start, that all instances run, each started once; of stop, that all are stopped; of restart and reload, that each was started
once more and its counter says so; of scale, that there are as many as asked for; of delete, that nothing is left; of save, that the list has
all. Not done means that all is as before. A client that waits (pmctl) comes back and sees it done; one that has gone away may find either."""

import concurrent.futures
import contextlib
import os
import struct
import sys
import time

from faulttest import STABLE, FaultHome, points, strings, targets, variants
from pmctltest import show
from pmdtest import Tap

WORKERS = 6
SNAPSHOTS_ALIKE = 6
APP = ["start", "app.sh", "--name", "app", "--interpreter", "none", "--min-uptime", "100"]
DEAF = ["start", "deaf.sh", "--name", "app", "--interpreter", "none", "--min-uptime", "100", "--kill-timeout", "150"]
WEB = ["start", "web.js", "--name", "app", "-i", "2", "--min-uptime", "100"]


def saves(n):
    return [command for _ in range(n) for command in (APP + ["-f"], ["save"])]


def sockets(pm):
    return ["--listen", f"unix://{pm.dir}/listen.sock"]


class Operation:
    """before: commands that make the state before it. command: what pmctl is told. request: the same by hand (member, signature, body); None: that
    is not possible, or nothing new. is_web: what runs is a Node cluster."""

    def __init__(self, name, before, command, request=None):
        self.name, self.before, self.command, self.request = name, before, command, request


OPERATIONS = [
    Operation("start", lambda pm: [], lambda pm: APP + ["-i", "4"],
              lambda pm: ("StartApp", "a{sv}a{sv}", two(variants(0, name="app", script=pm.dir + "/app.sh", interpreter="none", cwd=pm.dir, instances=4)))),
    Operation("start-with-sockets", lambda pm: [], lambda pm: APP + sockets(pm)),
    Operation("start-stopped", lambda pm: [APP + ["-i", "4"], ["stop", "app"]], lambda pm: ["start", "app"], lambda pm: ("Start", "asa{sv}", targets("app"))),
    Operation("stop", lambda pm: [APP + ["-i", "4"]], lambda pm: ["stop", "app"], lambda pm: ("Stop", "asa{sv}", targets("app"))),
    Operation("stop-deaf", lambda pm: [DEAF + ["-i", "2"]], lambda pm: ["stop", "app"], lambda pm: ("Stop", "asa{sv}", targets("app"))),
    Operation("restart", lambda pm: [APP + ["-i", "4"]], lambda pm: ["restart", "app"], lambda pm: ("Restart", "asa{sv}", targets("app"))),
    Operation("restart-with-environment", lambda pm: [APP + ["-i", "2"]], lambda pm: ["restart", "app", "--update-env"]),
    Operation("reload", lambda pm: [WEB], lambda pm: ["reload", "app"], lambda pm: ("Reload", "asa{sv}", targets("app"))),
    Operation("scale-up", lambda pm: [APP + ["-i", "2"]], lambda pm: ["scale", "app", "5"],
              lambda pm: ("Scale", "sia{sv}", scaled("app", 5))),
    Operation("scale-down", lambda pm: [APP + ["-i", "4"]], lambda pm: ["scale", "app", "1"], lambda pm: ("Scale", "sia{sv}", scaled("app", 1))),
    Operation("delete", lambda pm: [APP + ["-i", "4"]], lambda pm: ["delete", "app"], lambda pm: ("Delete", "asa{sv}", targets("app"))),
    Operation("delete-with-sockets", lambda pm: [APP + sockets(pm)], lambda pm: ["delete", "app"]),
    Operation("delete-web", lambda pm: [WEB], lambda pm: ["delete", "app"]),
    Operation("save", lambda pm: saves(4)[:-1], lambda pm: ["save"], lambda pm: ("Save", "b", struct.pack("<I", 0))),
]


def two(first):
    return first + variants(len(first))


def scaled(name, n):
    data = strings(name)[4:]
    data += b"\0" * (-len(data) % 4) + struct.pack("<i", n)
    return data + variants(len(data))


def prepare(pm, operation):
    for command in [["ping"]] + operation.before(pm):
        r = pm.run(*command)
        if r.returncode != 0:
            raise RuntimeError(f"{command}: {show(r)}")


def settled(pm):
    """What there is once nothing has changed for a while."""
    last, n = None, 0
    for _ in range(400):
        now = pm.snapshot()
        n = n + 1 if now == last and not any(f.startswith("hidden ") for f in now["files"]) else 0
        if n == SNAPSHOTS_ALIKE:
            return now
        last = now
        time.sleep(STABLE)
    raise TimeoutError("nothing settles")


def ask(pm, operation, waits):
    if waits:
        return pm.run(*operation.command(pm))
    pm.ask_once(*operation.request(pm))
    return None


def without_death(build, operation, waits):
    """What there is before and after it, and how often each point is passed."""
    with FaultHome(build) as pm:
        prepare(pm, operation)
        before = settled(pm)
        pm.arm()
        r = ask(pm, operation, waits)
        if r and r.returncode != 0:
            raise RuntimeError(show(r))
        pm.settle_elsewhere(before)
        return before, settled(pm), pm.passes()


def with_death(build, operation, waits, fault, before, after):
    """(whether it died, "" or what is wrong)"""
    with FaultHome(build, fault) as pm:
        prepare(pm, operation)
        which, wrong = pm.settle([before])
        if which < 0:
            return False, "before: " + wrong
        pm.arm()
        r = ask(pm, operation, waits)
        if r and (r.returncode != 0 or "Sanitizer" in r.stderr):
            wrong = show(r)
        which, difference = pm.settle([after] if waits else [before, after])
        died = pm.died()
        if which < 0:
            wrong += difference
        if wrong:
            with contextlib.suppress(OSError):
                with open(os.path.join(pm.dir, "home", "pmd.log"), encoding="utf-8", errors="replace") as f:
                    wrong += "\n" + "".join(f.readlines()[-20:])
        return died, wrong


def chosen_deaths(passes, everything):
    """(fault, whether the client waits), of {whether it waits: {point: passes}}. One that waits sees the first pass of each point, one that has
    gone away, if there is any, the last."""
    if everything:
        return [(f"{point}:{i}", w) for w in passes for point, n in sorted(passes[w].items()) for i in range(1, n + 1)]
    away = min(passes)
    return sorted({(f"{point}:1", True) for point in passes[True]} | {(f"{point}:{n}", away) for point, n in passes[away].items()})


def check(tap, pool, build, operation, everything):
    kinds = [True] + ([False] if operation.request else [])
    known = dict(zip(kinds, pool.map(lambda w: without_death(build, operation, w), kinds)))
    deaths, faults, jobs = set(), [], []
    if any(before == after for before, after, _ in known.values()):
        raise RuntimeError("it does nothing")
    for fault, waits in chosen_deaths({w: k[2] for w, k in known.items()}, everything):
        jobs.append((fault, waits, pool.submit(with_death, build, operation, waits, fault, *known[waits][:2])))
    for fault, waits, job in jobs:
        who = "a client that waits" if waits else "a client that has gone away"
        try:
            died, wrong = job.result()
        except Exception as e:  # the others may still tell something
            died, wrong = False, repr(e)
        if died:
            deaths.add(fault.split(":")[0])
        if wrong:
            faults.append(f"PMD_FAULT={fault}, {who}:\n{wrong}")
    tap.check(not faults, f"{operation.name}: {len(jobs)} deaths at {len(deaths)} points, done or not done, and nothing left behind",
              f"{len(faults)} are not well\n" + "\n".join(faults))
    return deaths


def main():
    arguments = [a for a in sys.argv[2:] if a != "--all"]
    build, everything = os.path.abspath(sys.argv[1]), "--all" in sys.argv
    tap, deaths = Tap(), set()
    with concurrent.futures.ThreadPoolExecutor(max_workers=WORKERS) as pool:
        for operation in OPERATIONS:
            if arguments and operation.name not in arguments:
                continue
            try:
                deaths |= check(tap, pool, build, operation, everything)
            except Exception as e:
                tap.check(False, operation.name, repr(e))
    if not arguments:
        missing = [p for p in points() if p not in deaths and "-scope-" not in p]
        tap.equal(missing, [], "no point is left out but those of scopes")
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())
