#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Reloads of real apps under load, of versions that fail, at the worst of times; and the sockets that pmd holds (listen). Argument: the build directory."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

from apptest import App, Load, daemon_pid, free_port, get, is_refused, lost, pids_with
from pmctltest import FAILED, OK, expect, run_checks, show
from pmdtest import PATIENCE, wait_until

TIMED_OUT = 124
# It knows nothing of reloads and handles no signal.
SERVER = """
require('http').createServer((q, r) => setTimeout(() => r.end(me()), q.url === '/slow' ? 300 : 0)).listen(%d, () => say('listening', process.pid));
"""
# Ends by itself only when it has answered. A handler of SIGINT would not do: a main thread that is on its way to wait for the others
# does not hear of the signal before one of them ends, and KeyboardInterrupt can get lost while modules are loaded.
PYTHON = """
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
import http.server, json, os, socket, sys, threading, time

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/slow":
            time.sleep(0.3)
        body = json.dumps({"pid": os.getpid()}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass

    def address_string(self):
        return ""

class Server(http.server.ThreadingHTTPServer):
    daemon_threads = False

assert os.environ["LISTEN_PID"] == str(os.getpid())
servers = []
for fd in range(3, 3 + int(os.environ["LISTEN_FDS"])):
    server = Server(("", 0), Handler, bind_and_activate=False)
    server.socket.close()
    server.socket = socket.socket(fileno=fd)
    server.socket.setblocking(False)  # others accept from it as well
    servers.append(server)
threads = [threading.Thread(target=s.serve_forever, args=(0.05,)) for s in servers]
print(os.environ["LISTEN_FDNAMES"], flush=True)
[t.start() for t in threads]
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
    s.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
signal.sigwait([signal.SIGINT])
[s.shutdown() for s in servers]
[t.join() for t in threads]
[s.server_close() for s in servers]
"""


def numbers(pm, name):
    return [p["pm2_env"]["restart_time"] for p in pm.jlist() if p["name"] == name]


def in_background(pm, *args):
    return subprocess.Popen([pm.pmctl, *args], env=pm.env, cwd=pm.dir, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def end_of(process):
    text = process.communicate(timeout=3 * PATIENCE)[0]
    return process.returncode, text


def check_node(tap, pm):
    port = free_port()
    app = App(pm, "node", SERVER % port, instances=4)
    app.wait("listening", 4)
    loads = [Load(port, keep, path) for path, n in (("/", 6), ("/slow", 3)) for keep in (False, True) for _ in range(n)]
    seen, ok = [set(app.pids())], True
    for _ in range(4):
        r = pm.run("reload", "node")
        ok = ok and r.returncode == OK and all(f"[node]({i}) \u2713" in r.stdout for i in range(4))
        seen.append(set(app.pids()))
    tap.check(ok, "reload confirms each process", show(r))
    loss = lost(loads)
    tap.check(not loss, "four reloads of an app without signal handler lose no request: not those that take long, not on busy connections", loss)
    tap.check(all(len(s) == 4 for s in seen) and len(set.union(*seen)) == 20, "each time all processes are new ones", seen)
    tap.check(len(set.union(*(load.pids for load in loads))) > 8, "which serve", [load.pids for load in loads])
    tap.equal(numbers(pm, "node"), [4] * 4, "a reload counts as a restart")
    tap.check(app.settles(4), "the old ones end", f"{app.all_pids()} {app.pids()}")
    tap.equal(sorted(app.heard("listening")), [0, 1, 2, 3], "NODE_APP_INSTANCE stays")
    log = open(os.path.join(pm.env["PMD_HOME"], "pmd.log"), encoding="utf-8").read()
    tap.check("kill timeout" not in log and "nobody could see" not in log, "none had to be killed", log[-2000:])
    app.delete()


def check_idle_connection(tap, pm):
    """A connection that nobody uses keeps no worker from ending, and the disconnect is not the app's business."""
    port = free_port()
    app = App(pm, "idle", SERVER % port + "say('args', process.execArgv);", "--drain-timeout", "1h", instances=1)
    app.wait("listening", 1)
    tap.equal(app.heard("args"), {0: []}, "the app does not see what is preloaded")
    with socket.create_connection(("127.0.0.1", port)) as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        s.recv(4096)
        tap.equal(pm.run("reload", "idle").returncode, OK, "reload with an idle connection")
        tap.check(app.settles(1), "which is closed before drain_timeout")
        s.settimeout(PATIENCE)
        tap.equal(s.recv(100), b"", "by the app")
    app.delete()


def check_drain_timeout(tap, pm):
    """What never finishes gets the signal, and SIGKILL then."""
    port = free_port()
    app = App(pm, "stuck", f"""
process.on('SIGINT', () => say('signal', true));
setInterval(() => 0, 1000);
require('http').createServer((q, r) => {{ say('asked', true); }}).listen({port}, () => say('listening', true));
""", "--drain-timeout", "300", "--kill-timeout", "300", instances=1)
    app.wait("listening", 1)
    with socket.create_connection(("127.0.0.1", port)) as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        app.wait("asked", 1)
        tap.equal(pm.run("reload", "stuck").returncode, OK, "reload of what does not finish")
        tap.check(app.settles(1) and app.heard("signal") == {0: True}, "after drain_timeout it gets the signal, after kill_timeout SIGKILL")
    app.delete()


def check_signal_handler(tap, pm):
    """What says goodbye on SIGINT does so, when nobody waits for its answers any more: its channel and the callbacks of close() work as at a stop."""
    port = free_port()
    app = App(pm, "polite", """
let answered = 0;
const server = require('http').createServer((q, r) => setTimeout(() => { answered++; r.end(me()); }, 300)).listen(%d, () => say('listening', process.pid));
process.on('SIGINT', (signal, number) => server.close((error) => setTimeout(() => {
    say('goodbye', [signal, number, String(error), process.connected, answered > 0]);
    process.send({type: 'goodbye', data: 1}, () => process.exit(0));
}, 100)));
setInterval(() => 0, 1000);
""" % port, "--drain-timeout", "1h")
    app.wait("listening")
    loads = [Load(port, keep) for keep in (False, True) for _ in range(3)]
    for load in loads:
        wait_until(lambda load=load: load.pids, "an answer")
    tap.equal(pm.run("reload", "polite").returncode, OK, "reload of what handles SIGINT")
    tap.check(app.settles(2), "the old ones end long before drain_timeout")
    loss = lost(loads)
    tap.check(not loss, "without the loss of a request", loss)
    tap.equal(app.heard("goodbye"), {i: ["SIGINT", 2, "undefined", True, True] for i in (0, 1)}, "their handlers were called, after the last answer")
    app.delete()

    app = App(pm, "worker", "process.on('SIGINT', () => { say('goodbye', true); process.exit(0); }); setInterval(() => 0, 1000); process.send('ready');\n",
              "--wait-ready", "--drain-timeout", "1h", instances=1)
    tap.check(pm.run("reload", "worker").returncode == OK and app.settles(1) and app.heard("goodbye") == {0: True}, "what serves nobody is told at once")
    app.delete()

    app = App(pm, "closer", """
const server = require('net').createServer().listen(%d, () => say('listening', true));
process.on('SIGINT', () => server.close(() => say('closed', true)));
process.on('message', () => 0);
""" % free_port(), "--drain-timeout", "1h", instances=1)
    app.wait("listening", 1)
    tap.check(pm.run("reload", "closer").returncode == OK and app.settles(1) and app.heard("closed") == {0: True}, "a handler need not end the process")
    app.delete()


def check_shutdown_message(tap, pm):
    port = free_port()
    app = App(pm, "message", SERVER % port + """
process.on('SIGINT', () => say('signal', true));
process.on('message', (m) => { if (m === 'shutdown') { say('shutdown', true); setTimeout(() => process.exit(0), 400); } });
""", "--shutdown-with-message", "--kill-timeout", "1h")
    app.wait("listening")
    loads = [Load(port, keep, "/slow") for keep in (False, True) for _ in range(2)]
    ok = [pm.run("reload", "message").returncode for _ in range(2)] == [OK, OK]
    loss = lost(loads)
    tap.check(ok and not loss, "with shutdown_with_message too", loss)
    tap.check(app.settles(2) and app.heard("shutdown") and not app.heard("signal"), "they are told by the message, and by no signal")
    app.delete()


def check_wait_ready(tap, pm):
    port = free_port()
    app = App(pm, "ready", SERVER % port + "setTimeout(() => process.send('ready'), 800);\n", "--wait-ready", "--listen-timeout", "1h")
    loads = [Load(port, keep) for keep in (False, True) for _ in range(3)]
    begin = time.monotonic()
    reload = in_background(pm, "reload", "ready")
    first = next((line for line in reload.stdout if "\u2713" in line), "")
    tap.check("(0)" in first and reload.poll() is None and pm.process("ready")["pm2_env"]["restart_time"] == 1 and numbers(pm, "ready")[1] == 0,
              "each is confirmed when it is done", first)
    code, text = end_of(reload)
    tap.check(code == OK and time.monotonic() - begin > 0.8, "a reload waits until each is ready", text)
    loss = lost(loads)
    tap.check(not loss, "and loses nothing", loss)
    app.delete()


def reload_badly(tap, pm, app, code, what, status, *words):
    before = {p["pid"]: p["pm2_env"] for p in pm.jlist() if p["name"] == app.name}
    app.change(code)
    r = pm.run("reload", app.name)
    expect(tap, r, status, f"{what}: exit code {status}, and what it said", stderr=words)
    tap.check("goes on" in r.stderr and "\u2713" not in r.stdout, f"{what}: the old one goes on, it says", show(r))
    tap.check("its reload failed: " in pm.run("why", app.name).stdout, f"{what}: and why shows it")
    tap.check(app.settles(len(before)), f"{what}: no other process is left")
    after = {p["pid"]: p["pm2_env"] for p in pm.jlist() if p["name"] == app.name}
    changed = [(pid, k, before[pid].get(k), after[pid][k]) for pid in before if pid in after for k in after[pid] if before[pid].get(k) != after[pid][k]]
    tap.check(sorted(before) == sorted(after) and not changed, f"{what}: the list is as it was", f"{sorted(before)} {sorted(after)} {changed}")


def check_bad_versions(tap, pm):
    port = free_port()
    good = SERVER % port
    app = App(pm, "bad", good, "--listen-timeout", "1500", instances=3)
    app.wait("listening", 3)
    loads = [Load(port, keep) for keep in (False, True) for _ in range(3)]
    reload_badly(tap, pm, app, "throw new Error('no good at all');\n", "a version that throws", FAILED, "no good at all", "exited with code 1")
    reload_badly(tap, pm, app, "console.log('thinking'); setTimeout(() => { console.log('giving up'); process.exit(3); }, 200);\n", "one that ends",
                 FAILED, "giving up", "exited with code 3")
    reload_badly(tap, pm, app, f"require('http').createServer().listen({port}, () => {{ console.log('listens'); process.exit(4); }});\n",
                 "one that ends when it listens", FAILED, "exited with code 4")
    reload_badly(tap, pm, app, "console.log('never mind'); setInterval(() => 0, 1000);\n", "one that never listens", TIMED_OUT, "never mind", "1500 ms")
    app.change(good)
    tap.equal(pm.run("reload", "bad").returncode, OK, "then a good one")
    loss = lost(loads)
    tap.check(not loss, "all that costs no request", loss)
    tap.equal(numbers(pm, "bad"), [1] * 3, "and only that counts")
    app.delete()


def check_parallel(tap, pm):
    """Each listens when all of this version have been begun: one after the other they never would."""
    port = free_port()
    app = App(pm, "parallel", SERVER % port, "--listen-timeout", "3000", instances=3)
    app.wait("listening", 3)
    app.change("say('begun'); const t = setInterval(() => { if ([0, 1, 2].every((i) => fs.existsSync(`${dir}/begun.${i}`))) { clearInterval(t); serve(); } }, 20);\n"
               "function serve() {" + SERVER % port + "}\n")
    r = pm.run("reload", "parallel")
    tap.equal(r.returncode, TIMED_OUT, "one after the other")
    app.forget("begun")
    expect(tap, pm.run("reload", "parallel", "--parallel", "3", "--listen-timeout", "1h"), OK, "or three at a time", stdout=["(0) \u2713", "(2) \u2713"])
    app.delete()


def check_two_at_once(tap, pm):
    port = free_port()
    app = App(pm, "twice", SERVER % port)
    app.wait("listening")
    load = [Load(port, keep) for keep in (False, True)]
    results = [end_of(p) for p in [in_background(pm, "reload", "twice") for _ in range(3)]]
    loss = lost(load)
    tap.check([code for code, _ in results] == [OK] * 3 and not loss, "reloads at once: one after the other", f"{results} {loss}")
    tap.equal(numbers(pm, "twice"), [3, 3], "each is done")
    tap.check(app.settles(2), "no process is left over")
    app.delete()


def check_changes(tap, pm):
    port = free_port()
    app = App(pm, "changed", SERVER % port + "say('seen', [process.env.V, process.argv.slice(2)]);\n", env={}, start=False)
    definition = {"name": "changed", "script": app.script, "exec_mode": "cluster", "instances": 2, "args": "a"}

    def run_file(**env):
        pm.write("changed.json", json.dumps({"apps": [definition]}))
        return pm.run("startOrReload", os.path.join(pm.dir, "changed.json"), **env)

    run_file(V="1")
    app.wait("listening")
    old = app.pids()
    pm.run("reload", "changed", V="2")
    tap.equal(app.heard("seen"), {i: ["1", ["a"]] for i in (0, 1)}, "a reload by name keeps the environment")
    expect(tap, pm.run("reload", "changed", "--update-env", V="2"), OK, "reload --update-env")
    tap.equal(app.heard("seen"), {i: ["2", ["a"]] for i in (0, 1)}, "gives them the caller's")
    definition.update(args="b c", kill_timeout=999)
    load = Load(port, False)
    expect(tap, run_file(V="3"), OK, "startOrReload")
    loss = lost([load])
    tap.equal(app.heard("seen"), {i: ["3", ["b", "c"]] for i in (0, 1)}, "applies what has changed")
    tap.check(not loss and not set(old) & set(app.pids()), "without a gap", loss)
    tap.equal([p["pm2_env"]["kill_timeout"] for p in pm.jlist()], [999, 999], "in the list too")

    definition.update(args="d", max_memory_restart="1G")
    app.change("process.exit(9);\n")
    expect(tap, run_file(V="4"), FAILED, "a change that fails")
    tap.equal([(p["pm2_env"]["args"], p["pm2_env"].get("max_memory_restart"), p["pm2_env"]["env"]["V"]) for p in pm.jlist()], [(["b", "c"], None, "3")] * 2,
              "leaves the list as it was")
    app.change(SERVER % port + "say('seen', [process.env.V, process.argv.slice(2)]);\n")
    app.forget("seen")
    pm.run("restart", "changed")
    tap.equal(app.wait("seen"), [["3", ["b", "c"]]] * 2, "and a restart does not make it after all")
    app.delete()


def check_others(tap, pm):
    """What cannot be reloaded is restarted; what is down is started."""
    fork = App(pm, "fork", "setInterval(() => 0, 1000);\n", "-x", instances=None)
    before = fork.pids()
    tap.check(pm.run("reload", "fork").returncode == OK and fork.pids() != before and fork.settles(1), "an app in fork mode is restarted")
    pm.run("stop", "fork")
    tap.check(pm.run("reload", "fork").returncode == OK and pm.status("fork") == ["online"], "or started")
    fork.delete()

    port = free_port()
    app = App(pm, "mixed", SERVER % port + "if (fs.existsSync(`${dir}/crash.${instance}`)) process.exit(1);\n", "--max-restarts", "1", instances=3)
    app.wait("listening", 3)
    ids = [str(p["pm_id"]) for p in pm.jlist()]
    pm.run("stop", ids[0])
    with open(f"{app.dir}/crash.1", "w", encoding="utf-8"):
        pass
    pm.run("restart", ids[1])
    wait_until(lambda: pm.status("mixed") == ["stopped", "errored", "online"], "one of each")
    os.unlink(f"{app.dir}/crash.1")
    load = Load(port, False)
    r = pm.run("reload", "mixed")
    loss = lost([load])
    tap.check(r.returncode == OK and pm.status("mixed") == ["online"] * 3 and app.settles(3) and not loss, "processes that are down are started by the way",
              show(r) + loss)
    app.delete()


def begin_endless_reload(pm, app):
    """Of a version that never listens; with the new process running."""
    app.change("say('begun'); setInterval(() => 0, 1000);\n")
    reload = in_background(pm, "reload", app.name)
    app.wait("begun", 1)
    return reload


def check_interrupted(tap, pm):
    for verb in ("stop", "restart", "delete", "kill"):
        port = free_port()
        app = App(pm, "interrupted", SERVER % port, "--listen-timeout", "3000" if verb == "restart" else "1h")
        app.wait("listening")
        reload = begin_endless_reload(pm, app)
        if verb == "restart":
            app.change(SERVER % port)
        r = pm.run(*((verb,) if verb == "kill" else (verb, app.name)))
        code, text = end_of(reload)
        tap.check(code != OK, f"{verb} during a reload: that fails", text)
        tap.check(r.returncode == OK and app.settles(2 if verb == "restart" else 0), f"{verb} itself does not, and leaves nothing over", show(r))
        if verb != "restart":
            tap.check(is_refused(port), f"{verb}: the port is free")
        app.delete()
        shutil.rmtree(app.dir)


def check_killed_pmd(tap, pm):
    """At whatever moment pmd is killed, the next one goes on with the reload, and there is one process for each number."""
    port = free_port()
    app = App(pm, "killed", SERVER % port, instances=2)
    app.wait("listening")
    for delay in (0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5):
        loads = [Load(port, keep) for keep in (False, True)]
        before, counts, pid = app.pids(), numbers(pm, "killed"), daemon_pid(pm)
        reload = in_background(pm, "reload", "killed")
        time.sleep(delay)
        os.kill(pid, signal.SIGKILL)
        code, text = end_of(reload)
        wait_until(lambda: daemon_pid(pm) not in (0, pid) and pm.run("ping").returncode == 0, "the next pmd")
        settled = app.settles(2)
        loss = lost(loads)
        after = numbers(pm, "killed")
        ok = code == OK and not set(before) & set(app.pids()) and all(b > a for a, b in zip(counts, after))
        tap.check(ok and settled and not loss and pm.status("killed") == ["online"] * 2, f"pmd is killed {delay} s after the beginning of a reload: it is done",
                  f"exit code {code}, {before} → {app.pids()}, {counts} → {after}\n{text}\n{loss}")
    app.delete()
    tap.check(is_refused(port) and app.settles(0), "and nothing is left of it")


def check_scale(tap, pm):
    port = free_port()
    app = App(pm, "scaled", SERVER % port, instances=4)
    app.wait("listening", 4)
    loads = [Load(port, keep, path) for path in ("/", "/slow") for keep in (False, True) for _ in range(2)]
    codes = [pm.run("scale", "scaled", n).returncode for n in ("2", "5", "1", "3")]
    loss = lost(loads)
    tap.check(codes == [OK] * 4 and not loss, "scale loses no request of an app without signal handler", f"{codes} {loss}")
    tap.check(app.settles(3), "no process is left over")
    app.delete()


def check_memory(tap, pm):
    """What runs into max_memory_restart is reloaded."""
    port = free_port()
    app = App(pm, "fat", SERVER % port + "if (!fs.existsSync(dir + '/thin')) { global.x = Buffer.alloc(200 << 20, 1); }\n", "--max-memory-restart", "150M",
              "--min-uptime", "100", instances=1, start=False)
    open(app.dir + "/thin", "w", encoding="utf-8").close()
    pm.run("start", app.script, "--name", "fat", "-i", "1", "--max-memory-restart", "150M", "--min-uptime", "100")
    app.wait("listening", 1)
    os.unlink(app.dir + "/thin")
    pm.run("reload", "fat")
    open(app.dir + "/thin", "w", encoding="utf-8").close()
    loads = [Load(port, keep) for keep in (False, True)]
    wait_until(lambda: numbers(pm, "fat")[0] >= 2, "a reload because of memory")
    loss = lost(loads)
    tap.check(not loss, "too much memory is a reload, not a restart", loss)
    tap.check(app.settles(1), "the old one ends")
    app.delete()


# ---- listen ----


def listener(pm):
    return os.path.join(os.path.dirname(os.path.dirname(pm.pmctl)), "test", "listener")


def check_listen(tap, pm):
    python = pm.write("served.py", PYTHON)
    for name, script, more in (("python", python, ["--interpreter", sys.executable, "--notify", "--listen-timeout", "1h"]), ("c", listener(pm), ["--", "300"])):
        port, path = free_port(), os.path.join(pm.dir, f"{name}.sock")
        r = pm.run("start", script, "--name", name, "-i", "2", "--listen", f"tcp://127.0.0.1:{port} unix://{path}",
                   "--min-uptime", "300", "--kill-timeout", "10s", *more)
        expect(tap, r, OK, f"{name}: start")
        loads = [Load(address, False, p) for address in (port, path) for p in ("/", "/slow") for _ in range(2)]
        begin = {p["pid"] for p in pm.jlist()}
        codes = [pm.run("reload", name).returncode for _ in range(3)]
        wait_until(lambda: len(set.union(*(load.pids for load in loads))) > 3, "answers of new processes")
        restart = pm.run("restart", name).returncode
        os.kill(pm.jlist()[0]["pid"], signal.SIGINT)
        loss = lost(loads)
        tap.check(codes == [OK] * 3 and restart == OK and not loss, f"{name}: reloads, a restart and an end cost no request, by TCP or Unix socket",
                  f"{codes} {restart} {loss}")
        tap.check(not begin & {p["pid"] for p in pm.jlist()} and numbers(pm, name)[1] == 4, f"{name}: they have happened", numbers(pm, name))
        if name == "python":
            logs = pm.run("logs", "python", "--nostream", "--raw").stdout
            tap.check(f"tcp{port}:unix" in logs, "LISTEN_FDNAMES", logs)
        wait_until(lambda: pm.status(name) == ["online"] * 2, "the next one")
        pm.run("stop", name)
        tap.check(is_refused(port) and not os.path.exists(path), f"{name}: a stop frees the port and removes the file")
        wait_until(lambda: len(pids_with(script)) == 0, "the old ones")
        pm.run("delete", name)


def check_slow_keeper(tap, pm):
    """The keeper has a copy of each socket, and may not come to close it for a while."""
    script = pm.write("web.js", "require('http').createServer((q, r) => r.end()).listen(process.env.PORT);\n")
    for what, command in (("listen", lambda port: ["start", listener(pm), "--name", "slow", "--listen", f"tcp://127.0.0.1:{port}"]),
                          ("cluster", lambda port: ["start", script, "--name", "slow", "-i", "2", "--listen-timeout", "1h"])):
        port = free_port()
        pm.run(*command(port), PORT=str(port))
        wait_until(lambda: not is_refused(port), "the app")
        with open(f"/proc/{daemon_pid(pm)}/stat", encoding="ascii") as f:
            keeper = int(f.read().rsplit(")", 1)[1].split()[1])
        os.kill(keeper, signal.SIGSTOP)
        try:
            code = pm.run("stop", "slow").returncode
            tap.check(code == OK and is_refused(port), f"{what}: a stop frees the port though the keeper has not closed its copy", code)
        finally:
            os.kill(keeper, signal.SIGCONT)
        pm.run("delete", "slow")


def ask_udp(port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(PATIENCE)
        s.connect(("127.0.0.1", port))
        s.send(b"?")
        return json.loads(s.recv(1000))["pid"]


def check_udp(tap, pm):
    port = free_port()
    pm.run("start", listener(pm), "--name", "udp", "--listen", f"udp://127.0.0.1:{port}", "--min-uptime", "100")
    tap.equal(ask_udp(port), pm.process("udp")["pid"], "a UDP socket")
    before = pm.process("udp")["pid"]
    tap.equal(pm.run("reload", "udp").returncode, OK, "reload")
    wait_until(lambda: len(pids_with(listener(pm))) == 1, "the end of the old one")
    now = pm.process("udp")["pid"]
    tap.check(now != before and ask_udp(port) == now, "which the new one has")
    pm.run("delete", "udp")


def check_survival(tap, pm):
    """The sockets outlive pmd."""
    port = free_port()
    pm.run("start", listener(pm), "--name", "kept", "--listen", f"tcp://127.0.0.1:{port}", "--min-uptime", "100")
    wait_until(lambda: pm.status("kept") == ["online"], "the app")
    load, pid = Load(port, False), daemon_pid(pm)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: daemon_pid(pm) not in (0, pid) and pm.run("ping").returncode == 0, "the next pmd")
    code = pm.run("reload", "kept").returncode
    loss = lost([load])
    tap.check(code == OK and not loss, "the next pmd has the socket", f"{code} {loss}")
    pm.run("delete", "kept")
    tap.check(is_refused(port), "and closes it")


def check_in_use(tap, pm):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        r = pm.run("start", listener(pm), "--name", "taken", "--listen", f"tcp://127.0.0.1:{port}")
        expect(tap, r, FAILED, "a port in use", stderr=[f"Cannot listen on tcp://127.0.0.1:{port}: Address already in use", "ss -lnp"])
    tap.equal(pm.status("taken"), ["errored"], "is an error of the start")
    tap.check(pm.run("restart", "taken").returncode == OK and pm.status("taken") == ["online"] and not is_refused(port), "which is over when the port is free")
    pm.run("delete", "taken")
    expect(tap, pm.run("start", listener(pm), "--name", "odd", "--listen", "tcp://nowhere"), FAILED, "an address that is none", stderr=["tcp://nowhere"])


def check_privileged(tap, pm):
    if os.geteuid() != 0:
        tap.check(True, "a privileged port # SKIP not root")
        return
    os.chmod(pm.dir, 0o755)
    program = os.path.join(pm.dir, "listener")
    shutil.copy(listener(pm), program)
    port = next(p for p in range(1023, 500, -1) if is_refused(p))
    r = pm.run("start", program, "--name", "low", "--user=nobody", "--listen", f"tcp://127.0.0.1:{port}", "--min-uptime", "100")
    expect(tap, r, OK, "a privileged port with a user")
    answer = json.loads(get(port))
    tap.check(answer["uid"] > 0 and answer["pid"] == pm.process("low")["pid"], "who is not root", answer)
    tap.equal(pm.run("reload", "low").returncode, OK, "reload")
    tap.check(json.loads(get(port))["uid"] > 0, "neither is the next")
    pm.run("delete", "low")


sys.exit(run_checks([
    check_node, check_idle_connection, check_drain_timeout, check_signal_handler, check_shutdown_message, check_wait_ready, check_bad_versions, check_parallel,
    check_two_at_once, check_changes, check_others, check_interrupted, check_killed_pmd, check_scale, check_memory, check_listen, check_slow_keeper, check_udp, check_survival,
    check_in_use, check_privileged,
]))
