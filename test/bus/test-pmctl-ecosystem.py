#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What pmctl does with ecosystem files. Argument: the build directory."""

import json
import os
import shutil
import subprocess
import sys

from pmctltest import FAILED, OK, USAGE, expect, run_checks, show
from pmdtest import PATIENCE

TABLE = "│ id"


def sleeper(name, **more):
    return {"name": name, "script": "/bin/sleep", "args": "1000", **more}


def write_json(pm, name, document):
    pm.write(name, json.dumps(document), 0o644)
    return name


def names(pm):
    return sorted(p["name"] for p in pm.jlist())


def pids(pm):
    return {p["pm_id"]: p["pid"] for p in pm.jlist()}


def with_stdin(pm, text, *args):
    return subprocess.run([pm.pmctl, *args], env=pm.env, cwd=pm.dir, input=text, capture_output=True, text=True, timeout=PATIENCE, check=False)


def check_start(tap, pm):
    file = write_json(pm, "two.json", {"apps": [sleeper("a", instances=2, env={"MINE": "1"}, env_test={"MINE": "2"}), sleeper("b", kill_timeout=3000)]})
    r = pm.run("start", file, SHELL_ONE="1")
    expect(tap, r, OK, "start FILE", ["[PM2][WARN] Applications a, b not running, starting...\n[PM2] App [a] launched (2 instances)\n"
                                              "[PM2] App [b] launched (1 instances)\n", TABLE])
    tap.equal(r.stderr, "", "which is nothing for standard error, that a cron job would send by mail")
    tap.equal(names(pm), ["a", "a", "b"], "all of its apps are there")
    env = pm.process("a")["pm2_env"]["env"]
    tap.equal((env.get("MINE"), env.get("SHELL_ONE")), ("1", "1"), "with the file's variables over the caller's")
    tap.equal(pm.process("b")["pm2_env"]["kill_timeout"], 3000, "and their attributes")

    before = pids(pm)
    r = pm.run("start", file, "--env", "test", SHELL_TWO="1")
    expect(tap, r, OK, "start of what is there", ["Applying action restartProcessId on app [a](ids: [ 0, 1 ])", "[a](0) ✓", "[b](2) ✓"])
    tap.check("not running" not in r.stderr and "--update-env" not in r.stdout, "is a restart", show(r))
    tap.check(not set(before.values()) & set(pids(pm).values()), "of all of them")
    env = pm.process("a")["pm2_env"]["env"]
    tap.equal((env.get("MINE"), env.get("SHELL_ONE"), env.get("SHELL_TWO")), ("2", None, "1"), "with --env, and the present environment")
    pm.run("restart", "a", "--update-env", MINE="shell")
    tap.equal(pm.process("a")["pm2_env"]["env"].get("MINE"), "2", "--update-env leaves the file's variables alone")
    expect(tap, pm.run("start", file, "--env", "nope"), OK, "an env_NAME that is not there", stderr=["[PM2][WARN] Environment [nope] is not defined"])


def check_changes(tap, pm):
    file = write_json(pm, "two.json", {"apps": [sleeper("a", args="2000", max_restarts=3, cwd="/"), sleeper("c")]})
    r = pm.run("restart", file, "--dry-run")
    expect(tap, r, OK, "--dry-run", ["Would restart a (ids: [ 0, 1 ]), which is online; changed: ", "args", "max_restarts", "instances", "cwd",
                                     "Would start c: /bin/sleep in fork_mode (1 instance); it is not there yet"])
    tap.check(TABLE not in r.stdout, "prints no table", r.stdout)
    tap.equal((names(pm), pm.process("a")["pm2_env"]["args"]), (["a", "a", "b"], ["1000"]), "and does nothing")
    r = pm.run("restart", file)
    expect(tap, r, OK, "restart FILE", ["restartProcessId on app [a]", "Applications c not running, starting...", "App [c] launched"])
    e = pm.process("a")["pm2_env"]
    tap.equal((e["args"], e["max_restarts"], e["pm_cwd"], e["env"].get("MINE")), (["2000"], 3, "/", None), "applies all that changed, and forgets what is gone")
    expect(tap, pm.run("restart", file, "--dry-run"), OK, "then nothing", ["nothing but its environment may have changed"])

    write_json(pm, "two.json", {"apps": [sleeper("a", instances=3), sleeper("c", instances=1)]})
    expect(tap, pm.run("restart", file), OK, "another number of instances", ["Scaling up application a"])
    tap.equal(names(pm), ["a", "a", "a", "b", "c"], "is applied too")
    r = pm.run("reload", file, "--only", "c")
    expect(tap, r, OK, "reload FILE --only", ["reloadProcessId on app [c]", TABLE])
    tap.check("app [a]" not in r.stdout, "leaves the others alone", r.stdout)
    r = pm.run("restart", file, "--only", "nope,c")
    expect(tap, r, OK, "--only with an unknown name", ["app [c]"])
    for verb, action in (("startOrRestart", "restartProcessId"), ("startOrReload", "reloadProcessId"), ("startOrGracefulReload", "softReloadProcessId")):
        expect(tap, pm.run(verb, file, "--only=c"), OK, verb, [action, TABLE])


def check_stop_and_delete(tap, pm):
    file = write_json(pm, "some.json", [sleeper("a"), sleeper("missing"), sleeper("c", cwd="/no/where", kill_timeout="12Q")])
    r = pm.run("stop", file, "--dry-run")
    expect(tap, r, OK, "stop FILE --dry-run", ["Would apply action stopProcessId on app [a]", "Would leave alone missing"])
    expect(tap, pm.run("stop", file, "--only", "a"), OK, "stop FILE --only", ["stopProcessId on app [a]", TABLE])
    tap.equal((pm.status("a"), pm.status("c")), (["stopped"] * 3, ["online"]), "stops that one")
    expect(tap, pm.run("delete", file), OK, "delete FILE", ["deleteProcessId on app [a]", "deleteProcessId on app [c]"])
    tap.equal(names(pm), ["b"], "deletes what it names, whatever else is wrong with it")
    expect(tap, pm.run("delete", file), OK, "delete of what is not there")
    expect(tap, pm.run("delete", "b", file), OK, "operands and files together")
    tap.equal(pm.jlist(), [], "nothing is left")


def check_faults(tap, pm):
    apps = [sleeper("good"), sleeper("bad", kill_timeout="12Q", max_restarts=-1, maxmemory_restart="1G"), {"name": "none"},
            sleeper("lost", script="/no/where.js"), sleeper("good")]
    r = pm.run("start", write_json(pm, "faults.json", {"apps": apps}))
    expect(tap, r, FAILED, "a file with faults", (),
           ["apps[1].kill_timeout: ", "apps[1].max_restarts: ", "apps[2].script: ", "apps[3]", "/no/where.js",
            "apps[4].name: apps[0] is called 'good' too", "apps[1].maxmemory_restart: unknown attribute", "did you mean 'max_memory_restart'?"])
    tap.check(all(line.startswith("[PM2][") for line in r.stderr.splitlines()), "a line each", r.stderr)
    tap.equal(pm.jlist(), [], "starts nothing")
    for name, text in (("broken.json", "{ apps: [ }"), ("broken.yml", "apps: [a, b"), ("empty.json", "")):
        pm.write(name, text, 0o644)
        expect(tap, pm.run("start", name), FAILED, name, stderr=[f"[PM2][ERROR] File {name} "])
    for args in (("start", "lost.json"), ("restart", "lost.yml"), ("delete", "lost.config.js"), ("startOrReload", "lost.json")):
        expect(tap, pm.run(*args), FAILED, " ".join(args), stderr=[f"File {args[1]} not found"])
    expect(tap, pm.run("startOrRestart", "/bin/sleep"), FAILED, "what is no ecosystem file")
    expect(tap, pm.run("start", write_json(pm, "one.json", sleeper("x")), "-i", "many"), FAILED, "a wrong option", stderr=["many"])
    r = pm.run("start", write_json(pm, "one.json", sleeper("bad\x1b[2J\nname")))
    tap.check(r.returncode == FAILED and "\x1b" not in r.stderr, "control characters are escaped", show(r))
    tap.equal(pm.jlist(), [], "nothing is left of all this")


def check_options(tap, pm):
    os.makedirs(os.path.join(pm.dir, "sub"), exist_ok=True)
    file = write_json(pm, "flags.json", {"apps": [sleeper("f", kill_timeout=3000, namespace="ns", instances=1, cwd="/"), sleeper("g")]})
    r = pm.run("start", file, "-i", "2", "--cwd", "sub", "--namespace", "cli", "-k", "1000", "--name", "ignored")
    expect(tap, r, OK, "options with a file")
    f, g = pm.process("f")["pm2_env"], pm.process("g")["pm2_env"]
    tap.equal((len(pm.status("f")), f["pm_cwd"], f["namespace"], f["kill_timeout"]), (2, os.path.join(pm.dir, "sub"), "ns", 3000),
              "some win over the file, others do not")
    tap.equal((len(pm.status("g")), g["namespace"], g["kill_timeout"]), (2, "cli", 1000), "and say what it does not")
    pm.run("delete", "all")


def check_forms(tap, pm):
    pm.write("eco.yml", "apps:\n  - name: y\n    script: /bin/sleep\n    args: '1000'\n", 0o644)
    expect(tap, pm.run("start", "eco.yml"), OK, "YAML", ["App [y] launched"])
    expect(tap, with_stdin(pm, json.dumps(sleeper("stdin")), "start", "-"), OK, "standard input", ["App [stdin] launched"])
    expect(tap, with_stdin(pm, json.dumps([sleeper("stdin")]), "delete", "-"), OK, "delete -", ["deleteProcessId on app [stdin]"])
    os.makedirs(os.path.join(pm.dir, "project"), exist_ok=True)
    write_json(pm, "project/ecosystem.json", {"apps": [sleeper("indir")]})
    expect(tap, pm.run("start", "project"), OK, "a directory with an ecosystem file", ["App [indir] launched"])
    expect(tap, pm.run("start", "eco.yml", "project"), OK, "several files", ["app [y]", "app [indir]"])
    pm.run("delete", "all")
    if not shutil.which("node"):
        tap.check(True, "ecosystem.config.js # SKIP no node")
        return
    expect(tap, pm.run("ecosystem", "simple"), OK, "ecosystem simple", ["File ecosystem.config.js generated\n"])
    expect(tap, pm.run("init"), FAILED, "init does not overwrite", stderr=["exists already"])
    expect(tap, pm.run("init", "-f"), OK, "unless told so")
    expect(tap, pm.run("init", "huge"), USAGE, "a sample that there is not")
    pm.write("ecosystem.config.js", "module.exports = { apps: [{ name: 'js', script: '/bin/sleep', args: ['1000'], env: { N: 1 + 1 } }] };\n", 0o644)
    expect(tap, pm.run("start"), OK, "start without operand", ["App [js] launched"])
    tap.equal(pm.process("js")["pm2_env"]["env"].get("N"), "2", "evaluates ecosystem.config.js")
    pm.run("delete", "all")


def check_failing_apps(tap, pm):
    bad = pm.write("bad.sh", "#!/no/such/interpreter\n")
    file = write_json(pm, "mixed.json", {"apps": [sleeper("m0"), {"name": "m1", "script": bad, "interpreter": "none"}, sleeper("m2")]})
    r = pm.run("start", file)
    expect(tap, r, FAILED, "an app that cannot be executed", ["App [m0] launched", "App [m2] launched"], ["[PM2][ERROR]", "bad.sh"])
    tap.check("App [m1]" not in r.stdout, "is not told as launched", r.stdout)
    tap.equal((pm.status("m0"), pm.status("m1"), pm.status("m2")), (["online"], ["errored"], ["online"]), "the others run")
    pm.run("delete", "all")


def check_many(tap, pm):
    n = 300
    file = write_json(pm, "many.json", {"apps": [sleeper(f"n{i}") for i in range(n)]})
    r = pm.run("start", file)
    tap.check(r.returncode == OK and r.stdout.count("launched (1 instances)") == n, f"{n} apps", r.stderr[:500])
    lines = [line for line in r.stdout.splitlines() if "launched" in line]
    tap.equal(lines, [f"[PM2] App [n{i}] launched (1 instances)" for i in range(n)], "are told in the order of the file")
    tap.equal({p["pm2_env"]["status"] for p in pm.jlist()}, {"online"}, "and are online")
    r = pm.run("restart", file)
    tap.check(r.returncode == OK and r.stdout.count(") ✓") == n, "and are restarted", r.stderr[:500])


sys.exit(run_checks((check_start, check_changes, check_stop_and_delete, check_faults, check_options, check_forms, check_failing_apps, check_many)))
