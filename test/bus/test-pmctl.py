#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""pmctl's verbs, exit codes and output against a private pmd of its own. Argument: the build directory."""

import json
import os
import shutil
import signal
import subprocess
import sys

from pmctltest import FAILED, NO_SUCH_APP, NOT_RUNNING, OK, UNREACHABLE, USAGE, expect, run_checks, show
from pmdtest import PATIENCE, wait_until

PM2_ENV = {
    "name", "filter_env", "namespace", "args", "env", "merge_logs", "vizion", "autostart", "autorestart", "watch", "instance_var", "pmx",
    "automation", "treekill", "username", "windowsHide", "kill_retry_time", "node_args", "pm_exec_path", "pm_cwd", "exec_interpreter",
    "exec_mode", "instances", "pm_out_log_path", "pm_err_log_path", "pm_pid_path", "km_link", "vizion_running", "NODE_APP_INSTANCE",
    "unique_id", "status", "pm_uptime", "axm_actions", "axm_monitor", "axm_options", "axm_dynamic", "created_at", "pm_id", "restart_time",
    "unstable_restarts", "version",
}
PM2_ENV_AFTER_EXIT = {"exit_code", "prev_restart_delay"}


def check_usage(tap, pm):
    expect(tap, pm.run(), USAGE, "no verb", stderr=["Usage:"])
    expect(tap, pm.run("nosuchverb"), USAGE, "unknown verb", stderr=["[PM2][ERROR] Command not found", "Usage:"])
    expect(tap, pm.run("no\x1b[31mverb\n"), USAGE, "unknown verb with control characters", stderr=["\\x1b[31mverb\\x0a"])
    expect(tap, pm.run("list", "--nope"), USAGE, "unknown option", stderr=["error: unknown option '--nope'"])
    expect(tap, pm.run("-Q", "list"), USAGE, "unknown letter", stderr=["error: unknown option '-Q'"])
    expect(tap, pm.run("list", "--json=yes"), USAGE, "value for an option without")
    expect(tap, pm.run("start", "x", "--name"), USAGE, "option without its value", stderr=["--name"])
    expect(tap, pm.run("logs", "--lines", "many"), USAGE, "--lines without a number")
    for verb in ("stop", "restart", "reload", "delete", "del", "startOrReload", "scale", "reset", "sendSignal", "describe", "id", "env"):
        expect(tap, pm.run(verb), USAGE, f"{verb} without operand", stderr=["error: missing required argument"])
    expect(tap, pm.run("sendSignal", "TERM"), USAGE, "sendSignal without a process")
    expect(tap, pm.run("ping", "x"), USAGE, "ping with an operand")
    expect(tap, pm.run("list", "--sort", "beauty"), USAGE, "sort by what is no field")
    expect(tap, pm.run("list", "--sort", "name:up"), USAGE, "sort in no direction")
    tap.check(not os.path.exists(pm.env["PMD_HOME"]), "none of this starts pmd")

    for option in ("-V", "-v", "--version", "version"):
        expect(tap, pm.run(option), OK, f"pmctl {option}", stdout=["."])
    expect(tap, pm.run("--help"), OK, "--help", stdout=["Usage:", "describe", "--kill-timeout", "--no-autorestart"])
    verbs = [line.split("\t")[0] for line in pm.run("__complete", "verbs").stdout.splitlines()]
    tap.check({"start", "jlist", "del", "logs", "kill"} <= set(verbs), "verbs are offered for completion", verbs)
    silent = [v for v in verbs if f"Usage: pmctl" not in pm.run(v, "--help").stdout or pm.run("help", v).returncode != OK]
    tap.equal(silent, [], "every verb has its help")
    tap.equal(json.loads(pm.run("version", "--json").stdout)["pmd"], None, "version --json starts no pmd")


def check_manual(tap, pm):
    with open(os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "man", "pmctl.1"), encoding="utf-8") as f:
        manual = f.read().replace("\\-", "-")
    verbs = [line.split("\t")[0] for line in pm.run("__complete", "verbs").stdout.splitlines()]
    options = [line.split("\t")[0] for line in pm.run("__complete", "options").stdout.splitlines()]
    tap.equal([v for v in verbs if f"fB{v}\\fR" not in manual and f".B {v}\n" not in manual], [], "every verb is in pmctl(1)")
    tap.equal([o for o in options if o not in manual], [], "every option is in pmctl(1)")


def check_empty(tap, pm):
    expect(tap, pm.run("ping"), OK, "ping", stdout=["{ msg: 'pong' }\n"])
    tap.equal(json.loads(pm.run("ping", "--json").stdout), {"msg": "pong"}, "ping --json")
    tap.equal(pm.run("jlist").stdout, "[]\n", "jlist of nothing")
    tap.equal(pm.run("prettylist").stdout, "[]\n", "prettylist of nothing")
    tap.equal(json.loads(pm.run("list", "--json").stdout), {"schema": 1, "processes": []}, "list --json of nothing")
    expect(tap, pm.run("list"), OK, "list of nothing", stdout=["┌────┬", "│ id │ name", "watching"])
    for verb in ("stop", "restart", "delete"):
        expect(tap, pm.run(verb, "all"), FAILED, f"{verb} all of nothing", stderr=["[PM2][WARN] No process found"])
    for operand in ("nope", "99", "/nope/", "/no/such/path", "a/b", "..", "x" * 4096, "bad\x1b[2Jname", "/(/"):
        for verb in ("stop", "restart", "delete", "reset", "describe", "env"):
            r = pm.run(verb, operand)
            tap.check(r.returncode in (NO_SUCH_APP, FAILED) and "\x1b" not in r.stderr and r.stderr, f"{verb} {operand[:20]!r}", show(r))
    expect(tap, pm.run("stop", "nope"), NO_SUCH_APP, "the code for no such app", stderr=["Process or Namespace nope not found"])
    expect(tap, pm.run("describe", "nope"), NO_SUCH_APP, "describe nope", stderr=["[PM2][WARN] nope doesn't exist"])
    expect(tap, pm.run("env", "99"), NO_SUCH_APP, "env 99", stderr=["Modules with id 99 not found"])
    tap.equal((pm.run("pid", "nope").returncode, pm.run("pid", "nope").stdout), (OK, ""), "pid nope is empty and no error")
    tap.equal((pm.run("id", "nope").returncode, pm.run("id", "nope").stdout), (OK, "[]\n"), "id nope is empty and no error")
    for bad in ("NOSUCH", "0", "-1", "99999", "TERM\n"):
        expect(tap, pm.run("sendSignal", "--", bad, "nope"), USAGE, f"signal {bad!r}", stderr=["Error when sending signal (signal unknown)"])
    expect(tap, pm.run("sendSignal", "TERM", "nope"), NO_SUCH_APP, "sendSignal to nobody")


def check_refused_starts(tap, pm):
    expect(tap, pm.run("start"), FAILED, "start without operand", stderr=["File ecosystem.config.js not found"])
    for name in ("a.json", "a.yml", "a.config.js"):
        expect(tap, pm.run("start", name), FAILED, f"start {name}", stderr=[f"[PM2][ERROR] File {name} not found"])
    expect(tap, pm.run("start", "missing.js"), FAILED, "missing script", stderr=["[PM2][ERROR]", "missing.js"])
    expect(tap, pm.run("start", "/bin/sleep", "--cwd", "/no/where"), FAILED, "missing cwd", stderr=["/no/where"])
    expect(tap, pm.run("start", "/bin/sleep", "--interpreter", "nopreter"), FAILED, "missing interpreter", stderr=["nopreter"])
    for name in ("a/b", "..", ".", "bad\x1b[2J", "new\nline", "x" * 4096, "-dash", "all", "17"):
        r = pm.run("start", "/bin/sleep", "--name=" + name, "--", "1000")
        tap.check(r.returncode != OK and "[PM2][ERROR]" in r.stderr and "\x1b" not in r.stderr + r.stdout, f"name {name[:12]!r} is refused", show(r))
    for option, value in (("--kill-timeout", "12Q"), ("-i", "many"), ("--max-restarts", "-1"), ("--log-target", "moon"), ("--kill-signal", "NO")):
        expect(tap, pm.run("start", "/bin/sleep", option, value), USAGE, f"{option} {value}", stderr=["[PM2][ERROR]", value])
    expect(tap, pm.run("start", pm.write("plain", "just text\n", 0o644), "--interpreter", "none"), FAILED, "not executable", stderr=["plain"])
    pm.run("delete", "plain")
    tap.equal(pm.jlist(), [], "nothing else of this left an app behind")


def check_start(tap, pm):
    app = pm.write("app", "#!/bin/sh\nwhile :; do sleep 1; done\n")
    r = pm.run("--name", "web", "start", "./app", "-k", "3000", "--", "1000", "--name", "x y", APP_VARIABLE="it's \"quoted\"\n")
    expect(tap, r, OK, "start", [f"[PM2] Starting {app} in fork_mode (1 instance)\n", "[PM2] Done.\n", "│ web", "online", "watching"])
    p = pm.process("web")
    tap.equal(p["pm2_env"]["args"], ["1000", "--name", "x y"], "what follows -- is arguments")
    tap.equal(p["pm2_env"]["kill_timeout"], 3000, "an option after the operand counts")
    tap.equal(p["pm2_env"]["env"].get("APP_VARIABLE"), "it's \"quoted\"\n", "the caller's environment is the app's")
    with open(f"/proc/{p['pid']}/cmdline", encoding="utf-8") as f:
        tap.equal(f.read().split("\0")[2:-1], p["pm2_env"]["args"], "the process got the arguments")
    expect(tap, pm.run("start", "app", "-n", "web"), FAILED, "start of what runs", stderr=["Script already launched, add -f option"])
    expect(tap, pm.run("start", "web"), OK, "start of a name restarts", ["Applying action restartProcessId on app [web](ids: [ 0 ])",
                                                                        "[PM2] [web](0) ✓", "Process successfully started"])
    tap.check(pm.process("web")["pid"] != p["pid"], "it is another process now")
    expect(tap, pm.run("start", "/bin/sleep", "-n", "many", "-i", "2", "--namespace", "crowd", "--", "1000"), OK, "start -i 2", ["(2 instances)"])
    tap.equal(pm.run("id", "many").stdout, "[ 1, 2 ]\n", "id")
    tap.equal(len(pm.run("pid", "crowd").stdout.split()), 2, "pid of a namespace")
    tap.equal([p["pm2_env"]["NODE_APP_INSTANCE"] for p in pm.jlist() if p["name"] == "many"], [0, 1], "instances are numbered")
    expect(tap, pm.run("start", "sleep 1000; true", "-n", "shell"), OK, "start of a shell command")
    pm.run("delete", "shell")
    expect(tap, pm.run("start", "99"), NO_SUCH_APP, "start of a number that nobody has")


def check_jlist(tap, pm):
    text = pm.run("jlist").stdout
    tap.check(text.endswith("]\n") and text.count("\n") == 1, "jlist is one line")
    p = pm.process("web")
    tap.equal(set(p), {"pid", "name", "pm2_env", "pm_id", "monit"}, "fields of a process")
    tap.equal(set(p["monit"]), {"memory", "cpu"}, "fields of monit")
    e = p["pm2_env"]
    expected = PM2_ENV | {"kill_timeout"} | (PM2_ENV_AFTER_EXIT & set(e))
    tap.equal(set(e) - set(e["env"]) - expected, set(), "pm2_env has no field that pm2 has not")
    tap.equal(expected - set(e), set(), "pm2_env lacks none")
    tap.equal({k: v for k, v in e["env"].items() if e.get(k) != v and k not in PM2_ENV}, {"web": {}}, "every variable stands in pm2_env once more")
    tap.equal(e["env"]["web"], {}, "the app's empty configuration is among the variables")
    tap.check({"PM2_HOME", "PM2_USAGE", "unique_id"} <= set(e["env"]), "pm2's variables")
    tap.equal(set(e["env"]) & {"pm_id", "status", "pm_cwd", "NODE_APP_INSTANCE"}, set(), "none that pmd gives to processes")
    tap.equal((e["status"], e["pm_id"], e["exec_interpreter"], e["pm_exec_path"]), ("online", 0, "none", os.path.join(pm.dir, "app")), "values")
    tap.check(isinstance(e["pm_uptime"], int) and 10**12 < e["pm_uptime"] < 10**13, "pm_uptime is in milliseconds", e["pm_uptime"])
    tap.check(e["axm_actions"] == [] and e["axm_monitor"] == {} and e["axm_options"] == {} and e["axm_dynamic"] == {}, "axm_* are empty")
    tap.check(p["monit"]["memory"] > 0, "memory is measured", p["monit"])


def check_reserved_variables(tap, pm):
    env = {"status": "fooled", "args": "fooled", "version": "fooled", "exit_code": "fooled", "odd": "1", "__proto__x": "1", "a-b": "2"}
    pm.run("start", "/bin/sleep", "-n", "fooled", "--", "1000", **env)
    e = pm.process("fooled")["pm2_env"]
    tap.equal((e["status"], e["args"], e["version"], e.get("exit_code")), ("online", ["1000"], "N/A", None), "variables replace no field")
    tap.equal((e["env"]["args"], e["odd"], e["a-b"]), ("fooled", "1", "2"), "but are all there")
    pm.run("delete", "fooled")


def check_long_jlist(tap, pm):
    """More than is written at once; what has to be escaped at every place of a word of the processor; and apps that share all but the name."""
    env = {f"LONG_{i}": str(i) * 10000 for i in range(30)}
    env |= {f"ODD_{i}{k}": "é" * (i // 2) + "." * (i % 2 + i // 2) + c for i in range(18) for k, c in enumerate('"\\\n\x01\x1f\x7f\u00ff')}
    apps = [{"name": name, "script": "/bin/sleep", "args": "1000"} for name in ("one", "two", "LONG_3", "pm_id")]
    apps[1]["instance_var"] = "LONG_4"
    file = pm.write("long.json", json.dumps({"apps": apps}))
    expect(tap, pm.run("start", file, **env), OK, "start of apps with a large environment")
    for app in apps:
        e = pm.process(app["name"])["pm2_env"]
        shown = {k: v for k, v in env.items() if k != app.get("instance_var")}
        tap.equal({k: e["env"].get(k) for k in env}, {k: shown.get(k) for k in env}, f"jlist has the variables of {app['name']}")
        tap.equal({k: e[k] for k in shown}, shown, f"and once more beside the fields of {app['name']}")
        tap.equal({k for k in e["env"] if e["env"][k] == {}}, set() if app["name"] == "LONG_3" else {app["name"]}, "with one configuration")
    with open("/dev/full", "w", encoding="utf-8") as full:
        r = subprocess.run([pm.pmctl, "jlist"], env=pm.env, stdout=full, stderr=subprocess.PIPE, timeout=PATIENCE, check=False, encoding="utf-8")
    tap.check(r.returncode == FAILED and "No space left" in r.stderr, "jlist to a full disk fails", r)
    pm.run("delete", *(app["name"] for app in apps))


def check_prettylist(tap, pm):
    if not shutil.which("node"):
        tap.check(True, "prettylist # SKIP no node")
        return
    odd = {"QUOTES": "'\"`${", "BOTH": "'\"", "LINES": "a long line that is broken\n" * 5, "CONTROL": "\t\x1b\x7f\u0085é😀\\"}
    pm.run("start", "app", "-n", "odd", "--stop-exit-codes", ",".join(map(str, range(1, 60))), "--", *map(str, range(30)), "it's", **odd)
    pm.run("stop", "all")  # so that no figure changes between the two
    script = """
        const fs = require('fs'), util = require('util');
        const [json, pretty] = fs.readFileSync(0, 'utf8').split('\\0');
        const list = JSON.parse(json);
        require('assert').deepStrictEqual(eval('(' + pretty + ')'), list);
        require('assert').strictEqual(pretty, util.inspect(list, { depth: null, maxArrayLength: null, maxStringLength: null }) + '\\n');
    """
    pair = pm.run("jlist").stdout + "\0" + pm.run("prettylist").stdout
    r = subprocess.run(["node", "-e", script], input=pair, capture_output=True, text=True, timeout=PATIENCE, check=False)
    tap.check(r.returncode == 0, "prettylist is what Node makes of jlist", r.stderr)
    tap.equal(len(pm.process("odd")["pm2_env"]["stop_exit_codes"]), 59, "with an array that is set in columns")
    pm.run("delete", "odd")
    pm.run("restart", "all")


def check_actions(tap, pm):
    expect(tap, pm.run("stop", "web"), OK, "stop", ["Applying action stopProcessId on app [web](ids: [ 0 ])", "[web](0) ✓", "stopped"])
    expect(tap, pm.run("stop", "web"), OK, "stop of what is stopped", ["[web](0) ✓"])
    tap.equal((pm.process("web")["pid"], pm.process("web")["monit"]), (0, {"memory": 0, "cpu": 0}), "a stopped process has no figures")
    tap.equal(pm.run("pid", "web").stdout, "0\n", "pid of a stopped process")
    expect(tap, pm.run("sendSignal", "USR2", "web"), NOT_RUNNING, "signal to a stopped process")
    expect(tap, pm.run("restart", "web"), OK, "restart", ["Applying action restartProcessId on app [web]", "[web](0) ✓"])
    expect(tap, pm.run("restart", "0", "crowd"), OK, "restart of a number and a namespace", ["on app [0](ids: [ 0 ])", "on app [crowd](ids: [ 1, 2 ])"])
    expect(tap, pm.run("restart", "/^ma/"), OK, "restart of a pattern", ["[many](1) ✓", "[many](2) ✓"])
    expect(tap, pm.run("restart", "./app", "many"), OK, "restart of a script's path", ["[web](0) ✓", "[many](1) ✓"])
    pm.write("stranger", "")
    expect(tap, pm.run("restart", "stranger"), NO_SUCH_APP, "restart of a script that no app has", stderr=["stranger not found"])
    pid = pm.process("web")["pid"]
    expect(tap, pm.run("stop", "web", "nope"), NO_SUCH_APP, "stop with one wrong operand")
    tap.equal((pm.status("web"), pm.process("web")["pid"]), (["online"], pid), "does nothing at all")
    expect(tap, pm.run("reset", "web"), OK, "reset", ["[PM2] Resetting meta for process id 0"])
    tap.equal(pm.process("web")["pm2_env"]["restart_time"], 0, "the counter is 0")
    expect(tap, pm.run("restart", "all"), OK, "restart all", ["[PM2] Applying action restartProcessId on app [all](ids: [ 0, 1, 2 ])"])
    expect(tap, pm.run("start", "app", "-n", "web", "-f"), OK, "start -f makes one more")
    tap.equal(len(pm.status("web")), 2, "there are two now")
    pm.run("delete", "web")
    tap.equal(pm.status("web"), [], "delete forgets all of them")


def check_exit_codes(tap, pm):
    pm.run("start", "/bin/sleep", "-n", "victim", "--no-autorestart", "--", "1000")
    expect(tap, pm.run("sendSignal", "SIGKILL", "victim"), OK, "sendSignal",
           ["Sending signal to process name victim", "successfully sent signal SIGKILL to process name victim"])
    wait_until(lambda: pm.status("victim") == ["stopped"], "the end of the victim")
    tap.equal(pm.process("victim")["pm2_env"]["exit_code"], 128 + signal.SIGKILL, "a death by signal is no exit code")
    tap.equal(json.loads(pm.run("describe", "victim", "--json").stdout)["processes"][0]["last_oom_kill"], None, "a SIGKILL is no OOM kill")
    tap.equal(json.loads(pm.run("describe", "victim", "--json").stdout)["processes"][0]["last_exit"],
              {"code": -1, "signal": 9, "reason": "signal"}, "and is told as a signal in our own form")
    expect(tap, pm.run("describe", "victim"), OK, "describe", ["Describing process with id", "│ status ", "│ script path", "│ created at", "signal SIGKILL"])
    pm.run("delete", "victim")
    pm.run("start", pm.write("quit.sh", "#!/bin/sh\nexit 7\n"), "--no-autorestart")
    wait_until(lambda: pm.status("quit") == ["stopped"], "the end of quit.sh")
    tap.equal(pm.process("quit")["pm2_env"]["exit_code"], 7, "exit code")
    pm.run("delete", "quit")
    r = pm.run("start", pm.write("lost.sh", "#!/no/such/interpreter\n"), "--interpreter", "none")
    tap.check(r.returncode == FAILED and "[PM2][ERROR]" in r.stderr and "lost.sh" in r.stderr, "a start that cannot execute tells why", show(r))
    pm.run("delete", "lost")


def check_output(tap, pm):
    env = pm.run("env", "2").stdout
    tap.check("unique_id: " in env and "PMD_HOME: " in env, "env", env)
    tap.equal(json.loads(pm.run("env", "2", "--json").stdout)["HOME"], pm.dir, "env --json")
    expect(tap, pm.run("env", "many"), USAGE, "env of several processes")
    listed = json.loads(pm.run("ls", "--json", "--sort", "id:desc").stdout)["processes"]
    tap.equal([p["id"] for p in listed], [2, 1], "list --json, sorted")
    tap.equal(json.loads(pm.run("id", "many", "--json").stdout), [1, 2], "id --json")
    tap.equal([p["name"] for p in json.loads(pm.run("pid", "--json").stdout)], ["many", "many"], "pid --json")
    expect(tap, pm.run("-m", "list"), OK, "list -m", ["+--- many\n", "pm2 id : 2\n", "memory usage : "])
    expect(tap, pm.run("list", "nope"), NO_SUCH_APP, "list of what is not there")
    for args, extra in ((("list", "-s"), {}), (("restart", "2", "--silent"), {}), (("list",), {"PM2_SILENT": "true"})):
        tap.equal((pm.run(*args, **extra).stdout, pm.run(*args, **extra).returncode), ("", OK), f"{args} {extra} is silent")
    tap.check(pm.run("jlist", PM2_SILENT="true").stdout.startswith("[{"), "jlist is not silenced")
    tap.check("\x1b[" not in pm.run("list").stdout, "no colours into a pipe")
    tap.check("\x1b[" in pm.run("list", CLICOLOR_FORCE="1").stdout, "CLICOLOR_FORCE")
    tap.check("\x1b[" not in pm.run("list", "--no-color", CLICOLOR_FORCE="1").stdout, "--no-color")
    targets = {line.split("\t")[0] for line in pm.run("__complete", "targets").stdout.splitlines()}
    tap.equal(targets, {"1", "2", "many", "crowd", "all"}, "targets are offered for completion")
    with open("/dev/full", "w", encoding="utf-8") as full:
        for verb in ("jlist", "list"):
            r = subprocess.run([pm.pmctl, verb], env=pm.env, stdout=full, stderr=subprocess.PIPE, timeout=PATIENCE, check=False, text=True)
            tap.check(r.returncode == FAILED and r.stderr.count("No space left on device") == 1, f"{verb}: output that cannot be written is a failure, which is told", r.stderr)


def check_instance_options(tap, pm):
    other = os.path.join(pm.dir, "other")
    tap.equal(pm.run("--home", other, "jlist").stdout, "[]\n", "--home is another pmd")
    expect(tap, pm.run("jlist", "--home=" + other, "--json"), OK, "--home=DIR after the verb", ["[]"])
    expect(tap, pm.run("kill", "--home", other), OK, "kill of an empty pmd", ["[PM2] [v] PM2 Daemon Stopped"], ["No process found"])
    expect(tap, pm.run("ping", "--home", "/dev/null/x"), UNREACHABLE, "a home that cannot be", stderr=["[PM2][ERROR]"])
    r = pm.run("start", "/bin/sleep", "-n", "mine", "--user", "root", "--", "1000")
    if os.getuid() == 0:
        expect(tap, r, OK, "start --user NAME is the user of the app")
        e = pm.process("mine")["pm2_env"]
        tap.equal((e.get("uid"), e.get("gid")), (0, 0), "and pm2's uid and gid, which are numbers")
    pm.run("delete", "mine")


def check_kill(tap, pm):
    pids = [p["pid"] for p in pm.jlist()]
    expect(tap, pm.run("kill"), OK, "kill", ["Applying action deleteProcessId on app [all](ids: [ 1, 2 ])", "[PM2] [v] All Applications Stopped\n",
                                             "[PM2] [v] PM2 Daemon Stopped\n"])
    tap.check(pids and not any(os.path.exists(f"/proc/{pid}") for pid in pids), "the processes are gone")
    expect(tap, pm.run("kill"), OK, "kill where no pmd runs", ["[PM2] [v] PM2 Daemon Stopped"])
    tap.equal(json.loads(pm.run("version", "--json").stdout)["pmd"], None, "and none was started for it")


sys.exit(run_checks((check_usage, check_manual, check_empty, check_refused_starts, check_start, check_jlist, check_reserved_variables,
                     check_long_jlist, check_prettylist, check_actions, check_exit_codes, check_output, check_instance_options, check_kill)))
