#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Every verb with every kind of ecosystem file, and files that nobody should have written. Argument: the build directory."""

import json
import os
import shutil
import subprocess
import sys
import time

from pmctltest import FAILED, NO_SUCH_APP, OK, USAGE, expect, run_checks, show
from pmdtest import PATIENCE, wait_until

TABLE = "│ id"
HAVE_NODE = bool(shutil.which("node"))


def sleeper(name, **more):
    return {"name": name, "script": "/bin/sleep", "args": "1000", **more}


def write_json(pm, name, document):
    pm.write(name, json.dumps(document), 0o644)
    return name


def names(pm):
    return sorted(p["name"] for p in pm.jlist())


def pids(pm, name):
    return [p["pid"] for p in pm.jlist() if p["name"] == name]


def env_of(pm, name):
    return pm.process(name)["pm2_env"]["env"]


def with_stdin(pm, document, *args):
    return subprocess.run(
        [pm.pmctl, *args], env=pm.env, cwd=pm.dir, input=json.dumps(document), capture_output=True, text=True, timeout=PATIENCE, check=False
    )


def check_env_names(tap, pm):
    """--env and --only, with each verb that reads a file."""
    apps = [sleeper("a", env={"MODE": "none"}, env_production={"MODE": "live", "ONLY_LIVE": "1"}, env_test={"MODE": "test"}), sleeper("b"), sleeper("c")]
    file = write_json(pm, "env.json", {"apps": apps})
    expect(tap, pm.run("start", file, "--only", "a,b", "--env", "production"), OK, "start --only a,b --env", ["[a] launched", "[b] launched"])
    tap.equal((names(pm), env_of(pm, "a").get("MODE"), env_of(pm, "a").get("ONLY_LIVE")), (["a", "b"], "live", "1"), "starts those two, with that environment")
    for verb, env, mode in (("restart", "test", "test"), ("reload", "production", "live"), ("startOrRestart", "test", "test"),
                            ("startOrReload", "production", "live"), ("startOrGracefulReload", "test", "test")):
        before = pids(pm, "a")
        r = pm.run(verb, file, "--only=a", "--env", env)
        wait_until(lambda: pids(pm, "a") != before, verb)
        tap.check(r.returncode == OK and env_of(pm, "a").get("MODE") == mode, f"{verb} --env {env}", show(r))
    tap.equal((env_of(pm, "a").get("ONLY_LIVE"), names(pm)), (None, ["a", "b"]), "what the other environment said is gone, and nothing else was started")
    r = pm.run("restart", file, "--only", "nobody")
    tap.check(r.returncode == OK and "--only: env.json names no app nobody" in r.stderr, "--only with a name that is not there", show(r))
    r = pm.run("startOrRestart", file)
    expect(tap, r, OK, "startOrRestart starts what is missing", ["Applications c not running, starting...", "[c] launched", "restartProcessId on app [a]"])
    tap.equal(env_of(pm, "a").get("MODE"), "none", "without --env it is the plain environment")
    pm.run("stop", file, "--only", "b,c")
    tap.equal([pm.status(n) for n in "abc"], [["online"], ["stopped"], ["stopped"]], "stop --only")
    pm.run("start", file, "--only", "b")
    tap.equal([pm.status(n) for n in "abc"], [["online"], ["online"], ["stopped"]], "start of what was stopped")
    expect(tap, pm.run("delete", file, "--only", "c"), OK, "delete --only", ["deleteProcessId on app [c]"])
    tap.equal(names(pm), ["a", "b"], "deletes that one")
    expect(tap, pm.run("delete", "all"), OK, "delete all")


def check_dry_run(tap, pm):
    file = write_json(pm, "dry.json", {"apps": [sleeper("old", instances=2), sleeper("new")]})
    expect(tap, pm.run("start", file, "--only", "old"), OK, "start")
    before = pm.jlist()
    for verb in ("start", "restart", "startOrRestart", "reload", "startOrReload"):
        r = pm.run(verb, file, "--dry-run")
        word = "restart" if "estart" in verb or verb == "start" else "reload"
        expect(tap, r, OK, f"{verb} --dry-run", [f"Would {word} old (ids: [ 0, 1 ]), which is online; nothing but its environment may have changed",
                                                 "Would start new: /bin/sleep in fork_mode (1 instance); it is not there yet"])
    for verb in ("stop", "delete"):
        expect(tap, pm.run(verb, file, "--dry-run"), OK, f"{verb} --dry-run", [f"Would apply action {verb}ProcessId on app [old]", "Would leave alone new"])
    write_json(pm, "dry.json", {"apps": [sleeper("old", instances=2, kill_timeout=5, env={"A": "1"}), sleeper("bad", script="/no/where")]})
    r = pm.run("restart", file, "--dry-run")
    expect(tap, r, FAILED, "--dry-run of a file with a fault", (), ["apps[1]", "/no/where"])
    tap.check("Would" not in r.stdout, "says nothing else", r.stdout)
    expect(tap, pm.run("restart", file, "--only", "old", "--dry-run"), OK, "--dry-run", ["changed: kill_timeout"])
    expect(tap, pm.run("scale", "old", "+1", "--dry-run"), OK, "scale --dry-run", ["Would scale up application old"])
    tap.equal([(p["pid"], p["pm2_env"]["restart_time"]) for p in pm.jlist()], [(p["pid"], p["pm2_env"]["restart_time"]) for p in before], "nothing has happened")
    pm.run("delete", "all")


def check_scale(tap, pm):
    expect(tap, pm.run("start", write_json(pm, "s.json", sleeper("s", increment_var="PORT", env={"PORT": 8000}))), OK, "start")
    for operand, n in (("+2", 3), ("-1", 2), ("4", 4), ("1", 1)):
        r = pm.run("scale", "s", operand)
        tap.check(r.returncode == OK and len(pids(pm, "s")) == n, f"scale s {operand}", show(r))
    pm.run("scale", "s", "3")
    ports = {p["pm_id"]: p["pm2_env"]["env"]["PORT"] for p in pm.jlist()}
    tap.equal(ports, {p["pm_id"]: str(8000 + p["pm2_env"]["NODE_APP_INSTANCE"]) for p in pm.jlist()}, "jlist has the increment_var of each")
    tap.equal(len(set(ports.values())), 3, "which differ")
    tap.check(all(f"PORT: {port}\n" in pm.run("env", str(i)).stdout for i, port in ports.items()), "and so does env", ports)
    r = pm.run("scale", "s", "3")
    tap.check(r.returncode != USAGE and len(pids(pm, "s")) == 3, "scale to what is there changes nothing", show(r))
    for operands in (("s", "many"), ("s", "+"), ("s", "1.5"), ("s",), ()):
        expect(tap, pm.run("scale", *operands), USAGE, "scale " + " ".join(operands))
    for operand in ("-4", "5000"):
        r = pm.run("scale", "s", operand)
        tap.check(r.returncode not in (OK, USAGE) and len(pids(pm, "s")) == 3, f"scale s {operand} is refused", show(r))
    expect(tap, pm.run("scale", "nobody", "2"), NO_SUCH_APP, "scale of nobody", stderr=["nobody"])
    pm.run("delete", "all")


def check_standard_input(tap, pm):
    document = {"apps": [sleeper("in", env_x={"V": "x"}), sleeper("out")]}
    expect(tap, with_stdin(pm, document, "start", "-", "--only", "in", "--env", "x"), OK, "start - --only --env", ["App [in] launched"])
    tap.equal((names(pm), env_of(pm, "in").get("V")), (["in"], "x"), "starts what it should")
    expect(tap, with_stdin(pm, document, "start", "-", "--dry-run"), OK, "start - --dry-run", ["Would restart in", "Would start out"])
    expect(tap, with_stdin(pm, document, "restart", "-"), OK, "restart -", ["restartProcessId on app [in]", "App [out] launched"])
    expect(tap, with_stdin(pm, document, "stop", "-"), OK, "stop -", ["stopProcessId on app [in]", "stopProcessId on app [out]"])
    tap.equal((pm.status("in"), pm.status("out")), (["stopped"], ["stopped"]), "stops them")
    expect(tap, with_stdin(pm, document, "delete", "-"), OK, "delete -")
    tap.equal(names(pm), [], "deletes them")
    expect(tap, with_stdin(pm, {"apps": [{"name": "x"}]}, "start", "-"), FAILED, "faults of standard input", (), ["apps[0].script"])
    expect(tap, pm.run("start", "-"), FAILED, "an empty standard input", (), ["Standard input", "empty"])


def check_directories(tap, pm):
    os.makedirs(os.path.join(pm.dir, "project"))
    write_json(pm, "project/ecosystem.json", {"apps": [sleeper("dir")]})
    expect(tap, pm.run("start", "project"), OK, "start DIR", ["App [dir] launched"])
    for verb, status in (("restart", ["online"]), ("reload", ["online"]), ("stop", ["stopped"]), ("startOrRestart", ["online"])):
        r = pm.run(verb, "./project")
        tap.check(r.returncode == OK and pm.status("dir") == status, f"{verb} DIR", show(r))
    expect(tap, pm.run("delete", "project/"), OK, "delete DIR")
    tap.equal(names(pm), [], "deletes what its file names")
    os.makedirs(os.path.join(pm.dir, "empty"))
    expect(tap, pm.run("start", "empty"), FAILED, "a directory without a file", (), ["empty"])
    pm.write("project/ecosystem.yml", "apps: [{name: other, script: /bin/sleep, args: '1000'}]\n", 0o644)
    expect(tap, pm.run("start", "project", "--dry-run"), OK, "of several files the first of the usual order counts", ["Would start dir"])


def check_removed_directory(tap, pm):
    """What a shell stands in is replaced by the next release."""
    def there(command):
        return subprocess.run(["sh", "-c", f"mkdir release; cd release; rmdir ../release; export PWD; {command}"], env={**pm.env, "PMCTL": pm.pmctl}, cwd=pm.dir,
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE, check=False, text=True)

    release = os.path.join(pm.dir, "release")
    pm.run("start", "/bin/sleep", "--name", "stays", "--", "1000")
    for verb in ("restart", "reload", "stop", "start"):
        r = there(f"exec $PMCTL {verb} stays")
        expect(tap, r, OK, f"{verb} needs no directory", ["✓"], ["The current directory has been removed", release])
    expect(tap, there("exec $PMCTL start ./new.sh --name new"), FAILED, "a script that is nowhere", (), [f"{release}' cannot be used: No such file or directory"])
    r = there("mkdir ../release; printf '#!/bin/sh\\nexec sleep 1000\\n' >../release/new.sh; exec $PMCTL start ./new.sh --name new")
    expect(tap, r, OK, "a script of the new release")
    tap.equal(pm.process("new")["pm2_env"]["pm_cwd"], release, "runs in its directory")
    os.unlink(os.path.join(release, "new.sh"))
    os.rmdir(release)
    expect(tap, there("unset PWD; exec $PMCTL stop stays"), FAILED, "who cannot say where that was is told", (), ["The current directory has been removed; cd to another one."])
    pm.run("delete", "all")


def check_json_as_people_write_it(tap, pm):
    text = """\ufeff// of the team
{
  /* two apps */
  "apps": [
    { name: 'one', "script": "/bin/sleep", args: ["1000"], }, // trailing commas
    { 'name': "two", script: '/bin/sleep', args: `1000`, killTimeout: 2e3, },
  ],
}
"""
    pm.write("people.json", text, 0o644)
    if not HAVE_NODE:
        tap.check(True, "JSON as people write it # SKIP no node")
        return
    expect(tap, pm.run("start", "people.json"), OK, "comments, quotes and commas in .json", ["App [one] launched", "App [two] launched"])
    tap.equal(pm.process("two")["pm2_env"]["kill_timeout"], 2000, "camelCase")
    pm.run("delete", "all")


def refused(tap, pm, name, text, *said, patience=PATIENCE):
    pm.write(name, text, 0o644)
    begin = time.monotonic()
    r = pm.run("start", name)
    ok = r.returncode == FAILED and all(s in r.stderr for s in said) and "Sanitizer" not in r.stderr and len(r.stderr) < 4096
    tap.check(ok and time.monotonic() - begin < patience, f"{name}: {said[-1]}", show(r))
    os.unlink(os.path.join(pm.dir, name))


def check_bad_input(tap, pm):
    many = '{"apps": [' + '{"script": "a.js", "name": "x"},' * 600000
    refused(tap, pm, "large.json", many, "File large.json cannot be used: it is larger than 16 MiB")
    refused(tap, pm, "fifty.json", '{"x": "' + "y" * (50 << 20) + '"}', "it is larger than 16 MiB")
    refused(tap, pm, "fifty.yml", "x: " + "y" * (50 << 20), "it is larger than 16 MiB")
    refused(tap, pm, "deep.json", '{"apps": ' + "[" * 100000 + "]" * 100000 + "}", "it is nested more than 64 levels deep")
    refused(tap, pm, "deep.yml", "apps: " + "[" * 100000 + "]" * 100000, "it is nested more than 64 levels deep")
    refused(tap, pm, "cycle.yml", "apps: &a [{name: x, script: y, args: *a}]\n", "line 1")
    refused(tap, pm, "cycle2.yml", "a: &a\n  b: &b\n    c: *a\n", "line 3")
    laughs = "".join(f"a{i}: &a{i} [{','.join([f'*a{i - 1}' if i else 'x'] * 9)}]\n" for i in range(9))
    refused(tap, pm, "laughs.yml", laughs, "with its aliases written out it is too large")
    refused(tap, pm, "noise.yml", "\x01\x02\x03", "File noise.yml malformated")
    refused(tap, pm, "cron.json", json.dumps([sleeper("ok"), sleeper("bad", cron_restart="61 * * * *")]), "[1].cron_restart: minute: 61 is not between 0 and 59")
    refused(tap, pm, "unit.yml", "apps:\n  - {name: a, script: b}\n  - {name: c, script: d, max_memory_restart: 12Q}\n",
            "apps[1].max_memory_restart: '12Q' is no size: give bytes, or a number with K, M, G or T")
    refused(tap, pm, "nested.json", json.dumps({"apps": [[sleeper("x")], 5, None, "x"]}), "apps[0]: ", "apps[1]: ", "apps[2]: ", "apps[3]: ")
    wrong = {"max_restarts": [], "watch": 5, "env": "x", "instances": "some", "autorestart": "perhaps", "kill_signal": "SIGWHAT", "memory_max": "150%",
             "capabilities": ["cap_fly"], "umask": "9", "nice": 40, "log_type": "xml", "exec_mode": "spoon"}
    refused(tap, pm, "many.json", json.dumps({"apps": [sleeper("x", **wrong)]}), *[f"apps[0].{key}: " for key in wrong])
    expect(tap, pm.run("start", "/dev/null/x.json"), FAILED, "a path through what is no directory", (), ["File /dev/null/x.json not found"])
    expect(tap, pm.run("start", "/dev/zero/../zero.json"), FAILED, "and one that ends nowhere", (), ["not found"])
    tap.equal(pm.jlist(), [], "nothing was started by all of it")


def check_unknown_keys(tap, pm):
    document = {"apps": [sleeper("k", instence=2, maxMemRestart="1G", kill_timeuot=5, gibberish_of_mine=1, pmx=True, watch_options={"usePolling": True, "depth": 2})]}
    r = pm.run("start", write_json(pm, "keys.json", document))
    expect(tap, r, OK, "unknown keys are warnings", ["App [k] launched"],
           ["apps[0].instence: unknown attribute, ignored; did you mean 'instances'?", "apps[0].kill_timeuot: unknown attribute, ignored; did you mean 'kill_timeout'?",
            "apps[0].gibberish_of_mine: unknown attribute, ignored\n", "apps[0].pmx: it has no meaning here, ignored",
            "apps[0].watch_options: usePolling: files are watched by inotify"])
    tap.check(all(line.startswith("[PM2][WARN] ") for line in r.stderr.splitlines()), "each a line", r.stderr)
    pm.run("delete", "all")


def check_modules(tap, pm):
    if not HAVE_NODE:
        tap.check(True, "modules # SKIP no node")
        return
    body = "{ apps: [{ name: 'm', script: '/bin/sleep', args: '1000', ignore_watch: [/[\\/]tmp[\\/]/, 'x'] }] }"
    for name, text in (("m.config.js", f"module.exports = {body}"), ("f.config.cjs", f"module.exports = async () => ({body})"),
                       ("e.config.mjs", f"export default Promise.resolve({body})")):
        pm.write(name, text, 0o644)
        expect(tap, pm.run("start", name), OK, name, ["App [m] launched"])
        tap.equal(pm.process("m")["pm2_env"].get("ignore_watch"), ["/[\\/]tmp[\\/]/", "x"], "regular expressions stay what they are")
        expect(tap, pm.run("delete", name), OK, "delete " + name)
    refused(tap, pm, "loop.config.js", "while (true);", "File loop.config.js cannot be used: it was still being evaluated after 10 s", patience=3 * PATIENCE)
    refused(tap, pm, "throws.config.js", "function inner() {\n  throw new Error('of mine');\n}\ninner();\n", "throws.config.js:2", "Error: of mine")
    refused(tap, pm, "never.config.mjs", "await new Promise(() => {});\n", "before the file gave a result")
    refused(tap, pm, "exits.config.js", "process.exit(0)", "before the file gave a result")
    refused(tap, pm, "bad.config.js", "module.exports = { apps: [{ name: 'x', script: 'y', cron: '61 * * * *' }] }", "apps[0].cron_restart: minute: 61 is not between 0 and 59")
    pm.write("prints.config.js", f"console.log('{{\"apps\": [}}'); console.error('\\x1b[2J'); module.exports = {body};", 0o644)
    r = pm.run("start", "prints.config.js")
    tap.check(r.returncode == OK and '{"apps": [}' not in r.stdout and pm.status("m") == ["online"], "what it prints is not its result", show(r))
    pm.run("delete", "all")


def check_sample(tap, pm):
    for file, args, n in (("full", (), 2), ("simple", ("simple",), 1)):
        if os.path.exists(os.path.join(pm.dir, "ecosystem.config.js")):
            os.unlink(os.path.join(pm.dir, "ecosystem.config.js"))
        expect(tap, pm.run("init", *args), OK, f"init, {file}", ["File ecosystem.config.js generated"])
        if HAVE_NODE:
            r = subprocess.run(["node", "-e", "console.log(require('./ecosystem.config.js').apps.length)"], cwd=pm.dir, capture_output=True, text=True,
                               timeout=PATIENCE, check=False)
            tap.equal(r.stdout, f"{n}\n", "the sample is a module with apps")
    if HAVE_NODE:
        r = pm.run("start", "ecosystem.config.js")
        tap.check(r.returncode == FAILED and "unknown attribute" not in r.stderr and "apps[0]: Script not found" in r.stderr, "whose script is all that is missing", show(r))


def check_service_variables(tap, pm):
    """What a service manager told the caller about itself would be a lie to the app."""
    foreign = {"NOTIFY_SOCKET": "/run/x", "LISTEN_FDS": "3", "LISTEN_PID": "1", "LISTEN_FDNAMES": "a:b:c", "WATCHDOG_USEC": "5", "WATCHDOG_PID": "1", "MAINPID": "1",
               "JOURNAL_STREAM": "1:2", "MANAGERPID": "1", "SYSTEMD_EXEC_PID": "1", "NODE_CHANNEL_FD": "3", "INVOCATION_ID": "f" * 32}
    pm.run("start", write_json(pm, "leak.json", sleeper("leak")), **foreign, MINE="1")
    with open(f"/proc/{pids(pm, 'leak')[0]}/environ", "rb") as f:
        env = dict(e.split("=", 1) for e in f.read().decode().split("\0") if "=" in e)
    tap.equal(env.get("MINE"), "1", "the caller's variables are there")
    tap.equal({k: v for k, v in env.items() if k in foreign and foreign[k] == v}, {}, "but none of a service")
    pm.run("delete", "all")


def check_describe(tap, pm):
    pm.run("start", write_json(pm, "cron.json", sleeper("cron", cron_restart="0 3 1 1 *")))
    r = pm.run("describe", "cron")
    tap.check(r.returncode == OK and "next cron restart" in r.stdout and f"{time.localtime().tm_year + 1}-01-01T" in r.stdout, "describe shows the next run of cron", r.stdout)
    write_json(pm, "cron.json", sleeper("cron"))
    pm.run("restart", "cron.json")
    tap.check("next cron restart" not in pm.run("describe", "cron").stdout, "which goes with the definition that had it")
    pm.run("delete", "all")


def check_source_maps(tap, pm):
    if not HAVE_NODE:
        tap.check(True, "source maps # SKIP no node")
        return
    pm.write("args.js", "require('fs').writeFileSync(process.argv[2], JSON.stringify(process.execArgv)); setInterval(() => {}, 1000);", 0o644)
    for options, expected in (({"source_map_support": True}, ["--enable-source-maps"]), ({}, []),
                              ({"source_map_support": True, "disable_source_map_support": True}, [])):
        out = os.path.join(pm.dir, "exec-argv")
        pm.run("start", write_json(pm, "maps.json", {"name": "maps", "script": "args.js", "args": [out], **options}))
        wait_until(lambda: os.path.exists(out) and os.path.getsize(out) > 0, "the app")
        with open(out, encoding="utf-8") as f:
            tap.equal(json.load(f), expected, f"source maps with {options}")
        pm.run("delete", "all")
        os.unlink(out)


sys.exit(run_checks((check_env_names, check_dry_run, check_scale, check_standard_input, check_directories, check_removed_directory, check_json_as_people_write_it,
                     check_bad_input, check_unknown_keys, check_modules, check_sample, check_service_variables, check_describe, check_source_maps)))
