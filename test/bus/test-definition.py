#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Restarts with a changed definition, and other numbers of processes, by D-Bus alone. Argument: the build directory."""

import os
import sys

from pmdtest import Pmd, Tap, wait_until

PROCESS = "org.pmd1.Process"


def start(pmd, name, **more):
    fields = {"name": ("s", name), "script": ("s", "/bin/sleep"), "cwd": ("s", "/"), "args": ("as", "1", "1000"), **more}
    words = [w for k, v in fields.items() for w in (k, *v)]
    answer, error = pmd.manager("StartApp", "a{sv}a{sv}", str(len(fields)), *words, "0")
    if answer is None:
        raise RuntimeError(error)
    return answer[2]


def restart(pmd, target, replace=False, **overlay):
    words = [w for k, v in overlay.items() for w in (k, *v)]
    options = ["definition", "a{sv}", str(len(overlay)), *words] + (["replace", "b", "true"] if replace else [])
    return pmd.manager("Restart", "asa{sv}", "1", target, str(1 + replace), *options)


def scale(pmd, app, n, relative=False):
    return pmd.manager("Scale", "sia{sv}", app, str(n), *(["1", "relative", "b", "true"] if relative else ["0"]))


def properties(pmd, process):
    answer, error = pmd.call(f"/org/pmd1/process/{process}", "org.freedesktop.DBus.Properties", "GetAll", "s", PROCESS)
    return {k: v["data"] for k, v in answer[0].items()} if answer else error


def definition(pmd, app):
    answer, error = pmd.call(f"/org/pmd1/app/{app}", "org.pmd1.App", "GetDefinition")
    return {k: v["data"] for k, v in answer[0].items()} if answer else error


def environment(pid):
    with open(f"/proc/{pid}/environ", "rb") as f:
        return dict(e.split("=", 1) for e in f.read().decode().split("\0") if "=" in e)


def wait_online(pmd, process, not_pid=0):
    wait_until(lambda: properties(pmd, process)["Status"] == "online" and properties(pmd, process)["PID"] != not_pid, f"process {process}")
    return properties(pmd, process)["PID"]


def processes_of(pmd, app):
    answer, _ = pmd.manager("ResolveTargets", "as", "1", app)
    return [row[0] for row in answer[0]] if answer else []


def check_overlay(tap, pmd):
    start(pmd, "a", env=("as", "3", "MINE=1", "SHELL_ONE=1", "SHELL_TWO=1"), own_env=("as", "1", "MINE"), kill_timeout=("u", "3000"))
    pid = wait_online(pmd, 0)
    answer, error = restart(pmd, "a", max_restarts=("u", "3"), kill_timeout=("s", "null"), args=("as", "1", "2000"))
    tap.check(answer is not None, "a restart with a definition", error)
    pid = wait_online(pmd, 0, pid)
    given = definition(pmd, "a")
    tap.equal((given.get("max_restarts"), given.get("kill_timeout"), given.get("script")), (3, None, "/bin/sleep"), "what was given is changed, null is forgotten, the rest stays")
    tap.equal(properties(pmd, 0)["Arguments"], ["2000"], "the process has it")
    with open(f"/proc/{pid}/cmdline", encoding="utf-8") as f:
        tap.check("2000" in f.read().split("\0"), "so has what runs")
    tap.equal(environment(pid).get("SHELL_ONE"), "1", "the environment is as it was")

    restart(pmd, "a", env=("as", "2", "SHELL_ONE=2", "MINE=shell"))
    env = environment(wait_online(pmd, 0, pid))
    tap.equal((env.get("SHELL_ONE"), env.get("SHELL_TWO"), env.get("MINE")), ("2", None, "1"),
              "an environment replaces the former one but for the definition's own variables")


def check_faults(tap, pmd):
    pid = wait_online(pmd, 0)
    before = definition(pmd, "a")
    for overlay, text in (
        ({"kill_timeout": ("s", "12Q"), "max_restarts": ("s", "-1")}, ("kill_timeout: ", "max_restarts: ")),
        ({"nope": ("s", "x")}, ("nope: ",)),
        ({"cwd": ("s", "/no/where")}, ("cwd: '/no/where'",)),
        ({"name": ("s", "b")}, ("name: ", "cannot be given another name")),
        ({"interpreter": ("s", "nopreter")}, ("nopreter",)),
    ):
        answer, error = restart(pmd, "a", **overlay)
        tap.check(answer is None and all(t in error for t in text), f"{list(overlay)}: refused with every fault", answer or error)
    answer, error = pmd.manager("Restart", "asa{sv}", "1", "a", "1", "replace", "b", "true")
    tap.check(answer is None and "needs a definition" in error, "replace without a definition", error)
    answer, error = pmd.manager("Restart", "asa{sv}", "1", "a", "1", "definition", "s", "x")
    tap.check(answer is None and "dictionary" in error, "a definition that is none", error)
    answer, error = pmd.manager("Stop", "asa{sv}", "1", "a", "1", "definition", "a{sv}", "0")
    tap.check(answer is None and "Unknown option" in error, "only Restart takes a definition", error)
    tap.equal((properties(pmd, 0)["PID"], definition(pmd, "a")), (pid, before), "all of this changed nothing")


def check_replace(tap, pmd):
    pid = wait_online(pmd, 0)
    answer, error = restart(pmd, "a", replace=True, name=("s", "a"), script=("s", "/bin/sleep"), cwd=("s", "/"), args=("as", "1", "3000"),
                            env=("as", "1", "NEW=1"))
    tap.check(answer is not None, "a whole definition", error)
    env = environment(wait_online(pmd, 0, pid))
    tap.equal(set(definition(pmd, "a")), {"name", "script", "cwd", "args"}, "what it does not say is forgotten")
    tap.equal((env.get("NEW"), env.get("MINE")), ("1", None), "its environment is the whole one")
    answer, error = restart(pmd, "a", replace=True, name=("s", "z"), script=("s", "/bin/sleep"), cwd=("s", "/"))
    tap.check(answer is None and "name: " in error, "a definition of another app", error)
    pmd.manager("Stop", "asa{sv}", "1", "a", "0")
    wait_until(lambda: properties(pmd, 0)["Status"] == "stopped", "the end of a")
    restart(pmd, "a", args=("as", "1", "4000"))
    wait_online(pmd, 0)
    tap.equal(properties(pmd, 0)["Arguments"], ["4000"], "a stopped app takes it too")


def check_several(tap, pmd):
    start(pmd, "b", instances=("u", "2"))
    answer, error = restart(pmd, "all", kill_timeout=("u", "2000"))
    tap.check(answer and len(answer[0]) == 2, "several apps at once", answer or error)
    tap.equal([definition(pmd, app).get("kill_timeout") for app in "ab"], [2000, 2000], "all are changed")
    answer, error = restart(pmd, "all", interpreter=("s", "nopreter"))
    tap.check(answer is None and "a: " in error and "b: " in error, "faults tell the app", error)


def check_scale(tap, pmd):
    tap.equal(processes_of(pmd, "b"), [1, 2], "two processes")
    answer, error = scale(pmd, "b", 4)
    tap.check(answer and answer[1:] == ["/org/pmd1/app/b", [3, 4]], "two more", answer or error)
    wait_online(pmd, 4)
    tap.equal([properties(pmd, i)["Instance"] for i in processes_of(pmd, "b")], [0, 1, 2, 3], "with the next instances")
    answer, error = scale(pmd, "b", -3, relative=True)
    tap.check(answer and answer[2] == [1, 2, 3], "the lowest ids go first", answer or error)
    wait_until(lambda: processes_of(pmd, "b") == [4], "the end of three")
    answer, error = scale(pmd, "b", 1, relative=True)
    tap.check(answer and len(answer[2]) == 1, "one more", answer or error)
    tap.equal(properties(pmd, 5)["Instance"], 0, "has the lowest free instance")
    answer, error = scale(pmd, "b", 2)
    tap.check(answer is None and "has 2 processes already" in error, "as many as there are", answer or error)
    for n, relative in ((-1, False), (-3, True), (100000, False), (2147483647, True)):
        answer, error = scale(pmd, "b", n, relative)
        tap.check(answer is None and "cannot have" in error, f"{n} is refused", answer or error)
    answer, error = scale(pmd, "nope", 1)
    tap.check(answer is None and "no app 'nope'" in error, "an app that is not there", answer or error)
    scale(pmd, "b", 0)
    wait_until(lambda: processes_of(pmd, "b") == [], "the end of b")
    tap.check(pmd.manager("GetApp", "s", "b")[0] is None, "none is the end of the app")


def main():
    tap = Tap()
    with Pmd(os.path.abspath(sys.argv[1])) as pmd:
        for check in (check_overlay, check_faults, check_replace, check_several, check_scale):
            check(tap, pmd)
        tap.check(pmd.answers(), "pmd is well")
    return tap.done()


sys.exit(main())
