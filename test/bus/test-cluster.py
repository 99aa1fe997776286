#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""pmd as the primary of Node clusters, with real Node apps: what they may listen on, what they see, and what is lost when pmd or they end: nothing.
Argument: the build directory."""

import glob
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.request

from apptest import App, Load, daemon_pid, free_port, get, is_refused
from pmctltest import run_checks, show
from pmdtest import PATIENCE, SOURCE_DIR, wait_until

NPM = os.path.join(SOURCE_DIR, "build-test", "npm")
NODES = ["node"] + sorted(glob.glob(os.path.join(NPM, "node-*", "node_modules", "*", "bin", "node")))


def answers_of(n, ask):
    return [json.loads(ask()) for _ in range(n)]


def all_serve(ask, n, pids=False):
    """Asks until each of n processes has answered."""
    seen = set()

    def more():
        seen.add(json.loads(ask())["pid"])
        return len(seen) >= n

    wait_until(more, f"answers of {n} processes")
    return seen


HTTP = "require('http').createServer((q, r) => r.end(me())).listen(%d, () => say('listening', true));\n"


def check_http(tap, pm):
    for node in NODES:
        version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout.strip()
        port = free_port()
        app = App(pm, "http", HTTP % port + """
say('self', {id: cluster.worker.id, isWorker: cluster.isWorker, connected: process.connected, script: process.argv.slice(1), main: require.main === module,
             leaked: Object.keys(process.env).filter((k) => k.startsWith('NODE_') && k !== 'NODE_APP_INSTANCE')});
""", "--interpreter", node, "--", "an argument", instances=4)
        app.wait("listening", 4)
        selves = app.wait("self", 4)
        tap.equal(sorted(s["id"] for s in selves), [1, 2, 3, 4], f"Node {version}: the workers are numbered")
        tap.check(all(s["isWorker"] and s["connected"] and s["main"] and s["leaked"] == [] and s["script"] == [app.script, "an argument"] for s in selves),
                  f"Node {version}: they are workers that run the script itself", selves)
        tap.equal(len(all_serve(lambda: get(port), 4)), 4, f"Node {version}: http on one port by all")
        app.pm.run("stop", "http")
        tap.check(is_refused(port), f"Node {version}: a stop frees the port")
        app.delete()
        shutil.rmtree(app.dir)


def tcp(address, family=socket.AF_INET):
    with socket.socket(family, socket.SOCK_STREAM) as s:
        s.settimeout(PATIENCE)
        s.connect(address)
        return s.makefile().read()


def check_others(tap, pm):
    """net, Unix sockets, several ports, https, dgram"""
    port, secure, udp, path = free_port(), free_port(), free_port(), os.path.join(pm.dir, "s.sock")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-keyout", f"{pm.dir}/key", "-out", f"{pm.dir}/cert"],
                   check=True, capture_output=True)
    app = App(pm, "many", f"""
const net = require('net'), dgram = require('dgram');
net.createServer((s) => s.end(me())).listen({port}, '127.0.0.1', () => say('net', true));
net.createServer((s) => s.end(me())).listen('{path}', () => say('unix', true));
require('https').createServer({{key: fs.readFileSync('{pm.dir}/key'), cert: fs.readFileSync('{pm.dir}/cert')}}, (q, r) => r.end(me())).listen({secure}, () => say('https', true));
const u = dgram.createSocket('udp4');
u.on('message', (m, from) => u.send(me(), from.port, from.address));
u.bind({udp}, () => say('udp', u.address()));
""")
    for what in ("net", "unix", "https", "udp"):
        app.wait(what)
    tap.equal(len(all_serve(lambda: tcp(("127.0.0.1", port)), 2)), 2, "net")
    tap.check(json.loads(tcp(path, socket.AF_UNIX))["pid"] in app.pids(), "a Unix socket")

    context = ssl._create_unverified_context()

    def ask_https():
        with urllib.request.urlopen(f"https://127.0.0.1:{secure}/", timeout=PATIENCE, context=context) as r:
            return r.read().decode()

    tap.equal(len(all_serve(ask_https, 2)), 2, "https")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(PATIENCE)
        s.sendto(b"?", ("127.0.0.1", udp))
        tap.check(json.loads(s.recv(1000))["pid"] in app.pids(), "dgram")
    pm.run("restart", "many")
    tap.check(json.loads(tcp(path, socket.AF_UNIX))["pid"] in app.pids(), "after a restart it is the same Unix socket")
    app.delete()
    tap.check(not os.path.exists(path), "whose file goes with the app")
    tap.check(is_refused(port) and is_refused(secure), "and the ports with it")


def check_port_0(tap, pm):
    app = App(pm, "zero", """
const s = require('net').createServer((c) => c.end(me()));
s.listen(0, () => { say('first', s.address().port); const t = require('net').createServer(); t.listen(0, () => say('second', t.address().port)); });
""", instances=3)
    first, second = app.wait("first", 3), app.wait("second", 3)
    tap.check(len(set(first)) == 1 and len(set(second)) == 1, "port 0 is the same for all", f"{first} {second}")
    tap.check(first[0] != second[0], "and another one for the second server", f"{first} {second}")
    tap.equal(len(all_serve(lambda: tcp(("127.0.0.1", first[0])), 3)), 3, "on which all serve")
    app.delete()


def check_errors(tap, pm):
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        port = taken.getsockname()[1]
        app = App(pm, "errors", f"""
const net = require('net');
net.createServer().on('error', (e) => say('used', e.code)).listen({port});
net.createServer().on('error', (e) => say('foreign', e.code)).listen(1234, '192.0.2.1');
net.createServer().on('error', (e) => say('path', e.code)).listen('/nonexistent/s');
setInterval(() => 0, 1e6);
""")
        tap.equal(app.wait("used"), ["EADDRINUSE"] * 2, "a port in use is an error of the worker's")
        tap.equal(app.wait("foreign"), ["EADDRNOTAVAIL"] * 2, "an address of somebody else's is")
        tap.equal(app.wait("path"), ["EACCES"] * 2, "and a path that cannot be")
        app.delete()

    port = free_port()
    app = App(pm, "own", f"""
const s = require('net').createServer();
s.on('error', (e) => say('exclusive', e.code)).listen({{port: {port}, exclusive: true}}, () => say('exclusive', 'listening'));
setInterval(() => 0, 1e6);
""")
    tap.equal(sorted(app.wait("exclusive")), ["EADDRINUSE", "listening"], "an exclusive listen is a worker's own")
    app.delete()

    one, port = App(pm, "one", HTTP % (port := free_port())), port
    one.wait("listening")
    two = App(pm, "two", f"require('http').createServer().on('error', (e) => say('error', e.code)).listen({port}); setInterval(() => 0, 1e6);\n")
    tap.equal(two.wait("error"), ["EADDRINUSE"] * 2, "two apps do not share a port")
    one.delete()
    two.delete()


def check_frameworks(tap, pm):
    modules = os.path.join(NPM, "web", "node_modules")
    if not os.path.isdir(modules):
        tap.check(True, "express, fastify and ws # SKIP they are not installed below build-test/npm/web")
        return
    ports = [free_port() for _ in range(3)]
    app = App(pm, "web", f"""
require('express')().get('/', (q, r) => r.send(me())).listen({ports[0]}, () => say('express', true));
const f = require('fastify')(); f.get('/', async () => me()); f.listen({{port: {ports[1]}, host: '127.0.0.1'}}).then(() => say('fastify', true));
new (require('ws').WebSocketServer)({{port: {ports[2]}}}).on('listening', () => say('ws', true)).on('connection', (s) => s.send(me()));
""", env={"NODE_PATH": modules})
    for what in ("express", "fastify", "ws"):
        app.wait(what)
    tap.equal(len(all_serve(lambda: get(ports[0]), 2)), 2, "express")
    tap.equal(len(all_serve(lambda: get(ports[1]), 2)), 2, "fastify")

    def ask_ws():
        with socket.create_connection(("127.0.0.1", ports[2]), PATIENCE) as s:
            s.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                      b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
            data = b""
            while b"}" not in data:
                data += s.recv(1000)
            return data[data.index(b"{"):].decode()

    tap.equal(len(all_serve(ask_ws, 2)), 2, "ws")
    app.delete()


def check_spread(tap, pm):
    """The policies: with one socket for each the connections are dealt out in turn, with one for all they are whoever's comes first."""
    for policy in ("shared", "reuseport", "auto"):
        port = free_port()
        app = App(pm, "spread", HTTP % port, "--cluster-policy", policy, instances=4)
        app.wait("listening", 4)

        def listener_on_file():
            path = glob.glob(os.path.join(pm.env["PMD_HOME"], "run", "clusters", "*"))
            with open(path[0], encoding="utf-8") as f:
                return json.load(f)["listeners"][0]

        def all_listen():
            try:
                return sum(m["active"] for m in listener_on_file()["members"]) == 4
            except ValueError:
                return False  # it is being written

        # A worker listens before pmd has heard of it, and deals out connections to it.
        wait_until(all_listen, "that pmd knows of all who listen")
        counts = {}
        for a in answers_of(40, lambda: get(port)):
            counts[a["pid"]] = counts.get(a["pid"], 0) + 1
        balanced = listener_on_file()["balanced"]
        if policy == "shared":
            tap.check(not balanced and sum(counts.values()) == 40, "one socket for all", counts)
        elif balanced:
            tap.check(len(counts) == 4 and max(counts.values()) - min(counts.values()) <= 1, f"{policy}: connections are dealt out in turn", counts)
        else:
            tap.check(os.geteuid() != 0, f"{policy}: one socket for each, where the kernel has it and pmd may", "it did not")
        app.delete()
        shutil.rmtree(app.dir)


def check_killed_pmd(tap, pm):
    port = free_port()
    app = App(pm, "killed", HTTP % port + "process.on('message', (m) => say('message', m));\n", instances=3)
    app.wait("listening", 3)
    before = sorted(app.pids())
    load = [Load(port, keep) for keep in (False, False, True)]
    for _ in range(3):
        pid = daemon_pid(pm)
        time.sleep(0.3)
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: pm.run("ping").returncode == 0 and daemon_pid(pm) not in (0, pid), "the next pmd")
    time.sleep(0.3)
    failures = [f for l in load for f in l.finish()]
    tap.check(not failures and all(l.n > 10 for l in load), "a killed pmd costs no request", f"{failures[:5]} {[l.n for l in load]}")
    tap.equal((sorted(app.pids()), app.disconnects()), (before, []), "and no worker notices")

    # The next pmd goes on as primary: a worker that comes anew gets the socket of those that are there.
    os.kill(before[0], signal.SIGKILL)
    wait_until(lambda: before[0] not in app.pids() and all(app.pids()), "another worker")
    tap.equal(len(all_serve(lambda: get(port), 3)), 3, "the next pmd is their primary")
    pm.run("scale", "killed", "5")
    app.wait("listening", 5)
    tap.equal(len(all_serve(lambda: get(port), 5)), 5, "and that of more")
    app.delete()
    tap.check(is_refused(port), "and it closes the port")
    tap.equal(glob.glob(os.path.join(pm.env["PMD_HOME"], "run", "clusters", "*")), [], "nothing is left of the sockets")


def check_crash(tap, pm):
    """Connections that come while the only worker is away wait for the next one."""
    port = free_port()
    app = App(pm, "crash", HTTP % port + "if (fs.existsSync(dir + '/slow')) { const end = Date.now() + 500; while (Date.now() < end); }\n", instances=1)
    app.wait("listening", 1)
    with open(app.dir + "/slow", "w", encoding="utf-8"):
        pass
    for how in ("crash", "restart"):
        before = app.pids()
        if how == "crash":
            os.kill(before[0], signal.SIGKILL)
        else:
            restart = threading.Thread(target=lambda: pm.run("restart", "crash"))
            restart.start()
        # What it has accepted ends with it.
        wait_until(lambda: not os.path.exists(f"/proc/{before[0]}"), "the end of the worker")
        answers = answers_of(3, lambda: get(port))
        tap.check(len(answers) == 3, f"a {how}: whoever comes meanwhile is served")
        if how == "restart":
            restart.join()
    wait_until(lambda: app.pids() and app.pids() != before, "the next")
    app.delete()


def check_moved(tap, pm):
    """What nobody listens on any more is given up, though not at once: it might have been asked for again."""
    old, new = free_port(), free_port()
    app = App(pm, "moved", "const port = fs.existsSync(dir + '/moved') ? %d : %d;\n" % (new, old) +
              "require('http').createServer((q, r) => r.end(me())).listen(port, () => say('listening', port));\n")
    app.wait("listening")
    with open(app.dir + "/moved", "w", encoding="utf-8"):
        pass
    pm.run("restart", "moved")
    wait_until(lambda: app.wait("listening") == [new, new], "the new port")
    tap.equal(len(all_serve(lambda: get(new), 2)), 2, "an app may listen elsewhere after a restart")
    wait_until(lambda: is_refused(old), "the end of the old port")
    tap.equal(len(all_serve(lambda: get(new), 2)), 2, "then the old port is given up")
    app.delete()


def check_scale_down(tap, pm):
    port = free_port()
    app = App(pm, "down", HTTP % port + "process.on('SIGINT', () => cluster.worker.disconnect());\n", instances=6)
    app.wait("listening", 6)
    load = [Load(port, False) for _ in range(4)]
    for n in ("3", "6", "2", "1", "4"):
        pm.run("scale", "down", n)
        time.sleep(0.2)
    failures = [f for l in load for f in l.finish()]
    tap.check(not failures and all(l.n > 10 for l in load), "fewer or more workers cost no request", f"{failures[:5]} {[l.n for l in load]}")
    app.delete()


def check_fork(tap, pm):
    started = time.monotonic()
    app = App(pm, "fork", """
say('self', {isWorker: cluster.isWorker, connected: process.connected});
process.on('message', (m) => { say('message', m); if (m === 'shutdown') { fs.writeFileSync(dir + '/last', 'words'); process.exit(0); } });
process.on('SIGINT', () => fs.writeFileSync(dir + '/signal', ''));
process.send(null); process.send({type: 'x', data: [1]}); process.send('x'.repeat(10 << 20));
setTimeout(() => process.send('ready'), 300);
""", "--wait-ready", "--shutdown-with-message", "--listen-timeout", "1h", "--kill-timeout", "1h", instances=None)
    tap.check(app.started.returncode == 0 and time.monotonic() - started > 0.3, "an app with wait_ready is up when it says so", show(app.started))
    tap.equal(app.wait("self", 1), [{"isWorker": False, "connected": True}], "in fork mode there is a channel, but no cluster")
    tap.equal(pm.status("fork"), ["online"], "null, an object and 10 MB are messages")
    stop = pm.run("stop", "fork")
    tap.check(stop.returncode == 0 and os.path.exists(app.dir + "/last") and not os.path.exists(app.dir + "/signal"),
              "it is asked to finish by a message", show(stop))
    app.delete()

    # The prologue's listener would keep it alive.
    pm.run("start", pm.write("short.js", "if (!process.connected) process.exit(1);\n"), "--name", "short", "--no-autorestart")
    wait_until(lambda: pm.status("short") == ["stopped"], "its end")
    tap.equal(pm.process("short")["pm2_env"]["exit_code"], 0, "a script that is done ends in spite of its channel")
    pm.run("delete", "short")


FAKE = """
import json, os, socket, sys, time
channel = socket.socket(fileno=int(os.environ["NODE_CHANNEL_FD"]))
def send(text): channel.sendall(text.encode())
def done(): open(sys.argv[1] + "/" + os.environ["name"], "w").close()
"""


def fake_worker(pm, name, code, *options):
    """A program that says what it likes on its channel; pmd takes it for Bun, which speaks as Node does."""
    path = pm.write(name + ".fake", FAKE + code)
    fake = os.path.join(pm.dir, "bun")
    if not os.path.exists(fake):
        pm.write("bun", f"#!/bin/sh\nexec {sys.executable} \"$@\"\n")
    return pm.run("start", path, "--interpreter", fake, "--name", name, *options, "--", pm.dir)


def has_done(pm, name):
    wait_until(lambda: os.path.exists(os.path.join(pm.dir, name)), f"what {name} does")


def messages_of(pm):
    with open(os.path.join(pm.env["PMD_HOME"], "pmd.log"), encoding="utf-8", errors="replace") as f:
        return f.read()


def check_nonsense(tap, pm):
    fake_worker(pm, "nonsense", """
send('{"half": ')
time.sleep(0.2)
send('1}\\n}\\nno JSON\\n\\n' + '{' * 5000 + '\\n"ready"\\n' + 'x' * (17 << 20) + '\\n')
done()
time.sleep(1000)
""", "--wait-ready", "--listen-timeout", "1h")
    has_done(pm, "nonsense")
    tap.equal(pm.status("nonsense"), ["online"], "what comes between nonsense is understood")
    pm.run("delete", "nonsense")
    wait_until(lambda: "(nonsense): of the messages" in messages_of(pm), "the counts")
    line = next(line for line in messages_of(pm).splitlines() if "(nonsense): of the messages" in line)
    tap.check(" 3 were no JSON, 1 too large" in line, "nonsense is counted", line)


def check_flood(tap, pm):
    fake_worker(pm, "flood", """
text = '{"type":"x","data":1}\\n' * 1000
while True:
    send(text)
""", "-i", "2", "-x")
    slowest = 0
    for _ in range(10):
        begin = time.monotonic()
        ok = pm.run("jlist").returncode == 0
        slowest = max(slowest, time.monotonic() - begin)
        if not ok:
            break
    tap.check(ok and slowest < PATIENCE / 4, "in a flood of messages pmd answers", f"{slowest:.2f} s")
    pm.run("delete", "flood")


def check_deaf(tap, pm):
    """Asks for hundreds of sockets and reads no answer."""
    fake_worker(pm, "deaf", """
channel.setblocking(False)
n = 0
while n < 10000:
    address = "127.0.0.1" if n < 300 else "x" * 800
    try:
        n += channel.send(('{"cmd":"NODE_CLUSTER","act":"queryServer","index":%d,"address":"%s","port":0,"addressType":4,"seq":1}\\n' % (n, address)).encode()) > 0
    except BlockingIOError:
        time.sleep(0.001)
done()
time.sleep(1000)
""", "-i", "1")
    has_done(pm, "deaf")
    tap.equal(pm.status("deaf"), ["online"], "a worker that does not read costs only itself")
    with open(f"/proc/{daemon_pid(pm)}/status", encoding="utf-8") as f:
        rss = int(next(line for line in f if line.startswith("VmRSS")).split()[1])
    with open(f"/proc/{daemon_pid(pm)}/maps", encoding="utf-8") as f:
        limit = 1000000 if "libasan" in f.read() else 100000
    tap.check(rss < limit, "and pmd does not grow with it", f"{rss} KiB")
    pm.run("delete", "deaf")
    wait_until(lambda: "(deaf): of the messages" in messages_of(pm), "the counts")
    wait_until(lambda: len(os.listdir(f"/proc/{daemon_pid(pm)}/fd")) < 100, "the end of its descriptors")


sys.exit(run_checks([
    check_http, check_others, check_port_0, check_errors, check_frameworks, check_spread, check_killed_pmd, check_crash, check_moved, check_scale_down,
    check_fork, check_nonsense, check_flood, check_deaf,
]))
