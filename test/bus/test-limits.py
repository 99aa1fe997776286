#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What a definition limits, where there are means for it and where there are none. Argument: the build directory."""

import os
import subprocess
import sys

from pmdtest import PATIENCE, Pmd, Tap, wait_until

MEMORY_NOTE = "memory_max has no effect here: there is no controller 'memory'"
CPU_NOTE = "cpu_quota has no effect here: there is no controller 'cpu'"


class Client:
    """pmctl, talking to the user pmd of the test, whose runner is the plain one."""

    def __init__(self, build, pmd):
        self.pmctl, self.pmd = os.path.abspath(os.path.join(build, "src", "pmctl")), pmd

    def run(self, *args, **env):
        return subprocess.run(
            [self.pmctl, "--user", *args], env={**self.pmd.env, **env}, cwd="/", stdin=subprocess.DEVNULL, capture_output=True,
            timeout=PATIENCE, check=False, text=True,
        )

    def start(self, name, *args):
        return self.run("start", "/bin/sleep", "--name", name, *args, "--", "1000")

    def row(self, name):
        answer, error = self.pmd.manager("ListProcesses", "as", "1", name)
        return answer[0][0] if answer else error


def rows(client, name):
    answer, _ = client.pmd.manager("ListProcesses", "as", "1", name)
    return answer[0] if answer else []


def proc(row, name):
    with open(f"/proc/{row[5]}/{name}", encoding="utf-8") as f:
        return f.read()


def status(row):
    return dict(line.split(":\t", 1) for line in proc(row, "status").splitlines() if ":\t" in line)


def environment(row):
    return dict(e.split("=", 1) for e in proc(row, "environ").split("\0") if e)


def check_without_means(tap, client):
    r = client.start("free")
    tap.equal((r.returncode, r.stderr, client.row("free")[30]), (0, "", []), "without limits there is nothing to note")

    r = client.start("limited", "--memory-max", "600M", "--cpu-quota=50%")
    tap.equal(r.returncode, 0, "limits that cannot be enforced do not hinder a start")
    tap.equal(client.row("limited")[30], [MEMORY_NOTE, CPU_NOTE], "but are noted")
    tap.equal(
        [line for line in r.stderr.splitlines() if "[limited]" in line],
        [f"[PM2][WARN] [limited](1) {note}" for note in (MEMORY_NOTE, CPU_NOTE)],
        "and told to who starts it",
    )

    r = client.start("strict", "--memory-max", "600M", "--required", "memory_max")
    tap.equal(
        (r.returncode, r.stderr.strip()),
        (1, f"[PM2][ERROR] Cannot start strict: {MEMORY_NOTE}, and the definition says that it is required."),
        "unless they are required",
    )
    tap.equal(client.row("strict")[4], "errored", "then it does not run")


def check_child(tap, client):
    r = client.start("child", "--nice", "5", "--limit-nofile", "64:128", "--umask", "077", "--no-new-privileges", "--oom-score-adjust", "300")
    row = client.row("child")
    files = [line.split()[3:5] for line in proc(row, "limits").splitlines() if line.startswith("Max open files")]
    tap.equal(
        (r.returncode, status(row)["Umask"], status(row)["NoNewPrivs"], files, proc(row, "stat").rsplit(")", 1)[1].split()[16],
         proc(row, "oom_score_adj").strip()),
        (0, "0077", "1", [["64", "128"]], "5", "300"),
        "what the child takes on itself",
    )
    if os.geteuid() == 0:
        client.start("bind", "--user", "nobody", "--capabilities", "net_bind_service")
        s = status(client.row("bind"))
        tap.equal({s[k] for k in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}, {"0000000000000400"}, "a user has just the capabilities named")
        tap.check(s["Uid"].split()[0] != "0", "as that user")

    r = client.start("greedy", "--limit-nofile", "9000000000000000000")
    tap.equal(r.returncode, 1, "a limit above what is possible fails the start")
    tap.check("Cannot set the resource limits of '/bin/sleep': Operation not permitted (EPERM)." in r.stderr, "and says what failed", r.stderr)


def check_environment(tap, client):
    path = os.path.join(client.pmd.dir, "settings.env")
    with open(path, "w", encoding="utf-8") as f:
        f.write("# made for the test\nFROM_FILE='a b'\nFROM_CALLER=file\n")
    r = client.run("start", "/bin/sleep", "--name", "env", "--env-file", path, "--filter-env", "SECRET", "--", "1000",
                   FROM_CALLER="caller", MY_SECRET_KEY="x")
    env = environment(client.row("env"))
    tap.equal(
        (r.returncode, env.get("FROM_FILE"), env.get("FROM_CALLER"), "MY_SECRET_KEY" in env, env.get("NODE_APP_INSTANCE")),
        (0, "a b", "file", False, "0"),
        "the environment comes from the caller, filtered, and from files",
    )

    r = client.run("start", "/bin/sleep", "--name", "nofile", "--env-file", "/no/such.env", "--", "1000")
    tap.equal((r.returncode, r.stderr.strip()),
              (1, "[PM2][ERROR] env_file: '/no/such.env' cannot be read: No such file or directory"), "a file that is missing is an error")

    definition = ["7", "name", "s", "ports", "script", "s", "/bin/sleep", "cwd", "s", "/", "args", "as", "1", "1000", "port", "u", "8000",
                  "increment_var", "s", "PORT"]
    client.pmd.manager("StartApp", "a{sv}a{sv}", *definition, "instances", "u", "3", "0")
    wait_until(lambda: [row[4] for row in rows(client, "ports")] == ["online"] * 3, "the ports")
    ports = [environment(row).get("PORT") for row in rows(client, "ports")]
    tap.equal(ports, ["8000", "8001", "8002"], "a port for each instance")


def definition(client, name):
    answer, error = client.pmd.call("/org/pmd1/app/" + name, "org.pmd1.App", "GetDefinition")
    return {k: v["data"] for k, v in answer[0].items()} if answer else error


def attributes(row):
    return {k: v["data"] for k, v in row[31].items()}


def check_set_property(tap, client):
    client.start("live", "-i", "2")
    row = client.row("live")
    r = client.run("set-property", "live", "memory_max=600M", "cpu-quota=150%", "kill_timeout=500")
    lines = r.stdout.splitlines()
    tap.equal((r.returncode, [line for line in lines if "✓" in line]),
              (0, [f"[PM2] [live]({row[0]}) ✓", f"[PM2] [live]({row[0] + 1}) ✓"]), "set-property names whom it has changed")
    tap.equal([line for line in r.stderr.splitlines() if "[live]" in line],
              [f"[PM2][WARN] [live]({row[0]}) {MEMORY_NOTE}", f"[PM2][WARN] [live]({row[0]}) {CPU_NOTE}"], "and what has no effect here, once")
    after = client.row("live")
    tap.equal((after[5], after[9]), (row[5], 0), "nothing is restarted")
    d = definition(client, "live")
    tap.equal((d["memory_max"], d["cpu_quota"], d["kill_timeout"]), (600 << 20, "150%", 500), "the definition has it")
    tap.equal(attributes(after)["memory_max"], 600 << 20, "the processes have it")

    r = client.run("set-property", str(row[0]), "memory_max=1G")
    answer, error = client.pmd.manager("ListProcesses", "as", "1", "live")
    tap.equal((r.returncode, [attributes(p)["memory_max"] for p in answer[0]], definition(client, "live")["memory_max"]),
              (0, [1 << 30, 600 << 20], 600 << 20), "one process of several is no definition")

    r = client.run("describe", "live")
    tap.check(MEMORY_NOTE in r.stdout, "describe has the note", r.stdout)

    r = client.run("set-property", "live", "memory_max=", "cpu_quota=")
    tap.equal((r.returncode, "memory_max" in definition(client, "live"), client.row("live")[30]), (0, False, []), "an empty value takes it back")

    for operand, message in (
        ("memory_max=12Q", "memory_max: '12Q' is no size: give bytes, a number with K, M, G or T, a percentage, or \"infinity\""),
        ("script=x", "script: it cannot be changed while the app runs"),
        ("nice=3", "nice: it cannot be changed while the app runs"),
        ("memory_min=1", "memory_min: there is no such option, did you mean 'memory_max'?"),
    ):
        r = client.run("set-property", "live", "cpu_weight=7", operand)
        tap.equal((r.returncode, r.stderr.strip(), "cpu_weight" in definition(client, "live")), (1, "[PM2][ERROR] " + message, False), operand)
    tap.equal(client.run("set-property", "live", "memory_max").returncode, 2, "an operand without a value")
    tap.equal(client.run("set-property", "nobody", "memory_max=1G").returncode, 5, "an app that there is not")
    tap.equal(client.run("set-property", "live").returncode, 2, "nothing to set")


def main():
    tap = Tap()
    with Pmd(sys.argv[1]) as pmd:
        client = Client(sys.argv[1], pmd)
        check_without_means(tap, client)
        check_child(tap, client)
        check_environment(tap, client)
        check_set_property(tap, client)
    return tap.done()


sys.exit(main())
