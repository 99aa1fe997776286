#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What pmd says unasked, as a monitor on the bus sees it. Argument: the build directory."""

import json
import os
import subprocess
import sys

from pmdtest import Pmd, Tap, own_interfaces, wait_until


class Monitor:
    def __init__(self, pmd):
        self.path = os.path.join(pmd.dir, "signals")
        self.file = open(self.path, "w", encoding="utf-8")
        self.pmd = pmd
        self.process = subprocess.Popen(
            ["busctl", "--address=unix:path=" + pmd.bus_path, "--json=short", "monitor"],
            stdout=self.file, stderr=subprocess.DEVNULL,
        )
        wait_until(self.sees, "the monitor")

    def sees(self):
        self.pmd.answers()
        return any(m.get("member") == "Ping" for m in self.messages())

    def messages(self):
        with open(self.path, encoding="utf-8") as f:
            text = f.read()
        # The last piece is a line that is being written; to go on reading would find its rest.
        return [json.loads(line) for line in text.split("\n")[:-1] if line.startswith("{")]

    def signals(self, member=None):
        return [
            m for m in self.messages()
            if m["type"] == "signal" and m["path"].startswith("/org/pmd1") and member in (None, m["member"])
        ]

    def data(self, member):
        return [m["payload"]["data"] for m in self.signals(member)]

    def wait(self, member, n):
        wait_until(lambda: len(self.signals(member)) >= n, f"{n} times {member}")

    def close(self):
        self.process.kill()
        self.process.wait()
        self.file.close()


def check_start(tap, pmd, monitor):
    answer, error = pmd.start_sleeper("one", 2)
    tap.check(answer, "an app of two starts", error)
    job, app, ids = answer
    paths = [f"/org/pmd1/process/{i}" for i in ids]
    monitor.wait("JobRemoved", 1)
    wait_until(lambda: len(changes_of(monitor, paths[1], "Status")) >= 2, "the states")

    tap.equal(monitor.data("AppNew"), [["one", app]], "AppNew")
    tap.equal(monitor.data("ProcessNew"), [[i, p] for i, p in zip(ids, paths)], "ProcessNew")
    tap.equal(monitor.data("JobNew"), [[job, "start", "one"]], "JobNew")
    tap.equal(monitor.data("JobRemoved"), [[job, "start", "one", "done", []]], "JobRemoved")

    added = {d[0]: d[1] for d in monitor.data("InterfacesAdded")}
    tap.equal(set(added), {app, *paths}, "InterfacesAdded of the app and of both processes")
    documented = {name for kind, name in own_interfaces()["org.pmd1.Process"] if kind == "property"}
    tap.equal(set(added[paths[0]]["org.pmd1.Process"]), documented, "with all properties of the process")

    order = [m["member"] for m in monitor.signals() if m["member"] in ("AppNew", "ProcessNew", "JobNew", "JobRemoved")]
    tap.equal(order, ["AppNew", "ProcessNew", "ProcessNew", "JobNew", "JobRemoved"], "in an order that makes sense")
    processes = changes_of(monitor, app, "Processes", "org.pmd1.App")
    tap.equal(processes, [paths], "the app tells of its processes, once")

    states = changes_of(monitor, paths[0], "Status")
    tap.equal(states[-1], "online", "the status comes with its value")
    tap.equal(states, [s for i, s in enumerate(states) if i == 0 or s != states[i - 1]], "and only when it changed")
    tap.check(changes_of(monitor, paths[0], "PID")[-1] > 0, "so does the pid")
    return ids, paths


def changes_of(monitor, path, name, interface="org.pmd1.Process"):
    return [
        m["payload"]["data"][1][name]["data"]
        for m in monitor.signals("PropertiesChanged")
        if m["path"] == path and m["payload"]["data"][0] == interface and name in m["payload"]["data"][1]
    ]


def check_failure(tap, pmd, monitor):
    answer, error = pmd.manager(
        "StartApp", "a{sv}a{sv}", "5", "name", "s", "bad", "script", "s", "/bin/false", "interpreter", "s", "none",
        "cwd", "s", "/", "autorestart", "b", "false", "0",
    )
    tap.check(answer, "an app that fails is accepted", error)
    monitor.wait("JobRemoved", 2)
    job, verb, app, result, failures = monitor.data("JobRemoved")[1]
    tap.equal((job, verb, app), (answer[0], "start", "bad"), "its job ends")
    if result == "failed":
        tap.equal([f[0] for f in failures], answer[2], "and says which process failed")
        tap.check(failures[0][1].startswith("org.pmd1.Error.") and failures[0][2], "why, and in words", failures)
    wait_until(lambda: changes_of(monitor, f"/org/pmd1/process/{answer[2][0]}", "LastExit"), "the exit")
    exits = changes_of(monitor, f"/org/pmd1/process/{answer[2][0]}", "LastExit")
    tap.equal(exits[-1], [1, 0, "exited"], "LastExit comes with its value")
    return f"/org/pmd1/process/{answer[2][0]}"


def check_delete(tap, pmd, monitor, gone):
    answer, error = pmd.manager("Delete", "asa{sv}", "1", "all", "0")
    tap.equal(len(answer[0]) if answer else error, 2, "Delete makes a job for each app")
    monitor.wait("AppRemoved", 2)
    tap.equal(sorted(d[1] for d in monitor.data("ProcessRemoved")), sorted(gone), "ProcessRemoved")
    tap.equal(sorted(d[0] for d in monitor.data("AppRemoved")), ["bad", "one"], "AppRemoved")
    removed = {d[0]: d[1] for d in monitor.data("InterfacesRemoved")}
    tap.equal({p: removed.get(p) for p in gone}, {p: ["org.pmd1.Process"] for p in gone}, "InterfacesRemoved")

    documented = {
        name: notes for kind, name in own_interfaces()["org.pmd1.Process"] if kind == "property"
        for notes in [own_interfaces()["org.pmd1.Process"][kind, name][2]]
    }
    changed = {n for m in monitor.signals("PropertiesChanged") if m["payload"]["data"][0] == "org.pmd1.Process" for n in m["payload"]["data"][1]}
    tap.equal({n for n in changed if documented.get(n) != "true"}, set(), "only what is documented to emit changes did so")


def main():
    tap = Tap()
    with Pmd(sys.argv[1]) as pmd:
        monitor = Monitor(pmd)
        try:
            _, paths = check_start(tap, pmd, monitor)
            failed = check_failure(tap, pmd, monitor)
            check_delete(tap, pmd, monitor, paths + [failed])
            tap.check(pmd.answers(), "pmd has lived through it")
        finally:
            monitor.close()
    return tap.done()


sys.exit(main())
