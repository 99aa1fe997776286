#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Node apps in cluster mode: what they see of it, reload, messages, events. Argument: the build directory."""

import json
import os
import subprocess
import sys
import time
import urllib.request

from parity import PATIENCE, Pm2Side, Scenario, complains, counted, is_new, listed, main, read, remember, remove, step, until, until_file, until_stable, write

# Writes down what it sees, and answers with its instance.
WORKER = """const fs = require('fs'), cluster = require('cluster'), instance = process.env.NODE_APP_INSTANCE;
const say = (what, value) => { const path = `${__dirname}/${what}-${instance}`; fs.writeFileSync(path + '~', JSON.stringify(value)); fs.renameSync(path + '~', path + '.json'); };
const server = require('http').createServer((q, r) => r.end(instance)).listen(0, () => {
    say('seen', {isWorker: cluster.isWorker, isPrimary: cluster.isPrimary, id: cluster.worker.id, workers: typeof cluster.workers, instance,
                 connected: process.connected, argv: process.argv.slice(2), execArgv: process.execArgv, pm_id: process.env.pm_id, mode: process.env.exec_mode,
                 unique: 'NODE_UNIQUE_ID' in process.env, send: typeof process.send, version: VERSION});
    say('port', server.address().port);
});
process.on('message', (m) => say('message', m));
process.on('SIGINT', () => { say('signal', true); process.exit(0); });
""".replace("VERSION", "1")
FORK = """const fs = require('fs'), cluster = require('cluster');
fs.writeFileSync(__dirname + '/seen-0.json', JSON.stringify({isWorker: cluster.isWorker, connected: process.connected, send: typeof process.send}));
setInterval(() => {}, 1000);
"""
TALKER = """process.on('message', (m) => {
    if (m === 'hello' || m.msg === 'hello')
        process.send({type: 'axm:reply', data: {action_name: 'hello', return: {got: m.opts || null}}});
});
process.send({type: 'axm:action', data: {action_name: 'hello', action_type: 'custom', arity: 1}});
setTimeout(() => { for (const m of ['text', 17, [1, 2], {a: 1}, {type: 'mine', data: {z: 1}}, {type: 'process:msg', data: 'x'}]) process.send(m); }, 1000);
setInterval(() => {}, 1000);
"""
QUEUE = """const fs = require('fs');
process.on('SIGINT', () => { fs.writeFileSync(__dirname + '/signal-0.json', 'true'); process.exit(0); });
fs.writeFileSync(__dirname + '/seen-0.json', 'true');
process.send('ready');
setInterval(() => {}, 1000);
"""
READY = WORKER + "setTimeout(() => process.send('ready'), 700);\n"

# pm2's bus as lines of JSON, as "pmctl events --json" prints them.
PM2_BUS = """const pm2 = require(process.argv[1]);
pm2.connect(() => pm2.launchBus((error, bus) => {
    bus.on('*', (event, packet) => console.log(JSON.stringify({event, packet})));
    console.log(JSON.stringify({event: 'begins'}));
}));
"""


def seen(what, n=1, without=()):
    """What the workers wrote down."""

    @step(f"seen {what}")
    def run(side):
        paths = [side.path(f"{what}-{i}.json") for i in range(n)]
        side.wait(lambda: all(os.path.exists(p) for p in paths), lambda: f"{what} of {n}")
        values = [json.loads(read(p)) for p in paths]
        return {str(i): {k: side.tidy_all(x) for k, x in v.items() if k not in without} if isinstance(v, dict) else v for i, v in enumerate(values)}

    return run


def served(n, path="port-0.json"):
    """How many instances answer on the port that they share."""

    @step(f"served by {n}")
    def run(side):
        side.wait(lambda: os.path.exists(side.path(path)), lambda: "the port")
        port, answers = json.loads(read(side.path(path))), set()
        deadline = time.monotonic() + PATIENCE
        while len(answers) < n and time.monotonic() < deadline:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=PATIENCE) as r:
                answers.add(r.read().decode())
        return {"by": sorted(answers)}

    return run


def one_port(n):
    @step("one port")
    def run(side):
        side.wait(lambda: all(os.path.exists(side.path(f"port-{i}.json")) for i in range(n)), lambda: "the ports")
        return {"ports": len({read(side.path(f"port-{i}.json")) for i in range(n)})}

    return run


def listen():
    """From now on what is on the bus is written down."""

    @step("listen")
    def run(side):
        path = side.path("events")
        if isinstance(side, Pm2Side):
            package = os.path.join(os.path.dirname(os.path.realpath(side.program)), "..")
            command, env = ["node", "-e", PM2_BUS, package], {**side.env, "PM2_PROGRAMMATIC": "true", "PM2_SILENT": "true"}
        else:
            command, env = [side.program, "events", "--json"], side.env
        with open(path, "w", encoding="utf-8") as f:
            side.memory["listener"] = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=f, stderr=subprocess.DEVNULL)
        if isinstance(side, Pm2Side):
            side.wait(lambda: "begins" in read(path), lambda: "the bus")
        else:
            time.sleep(1)

    return run


def heard(last, *shapes):
    """Ends it. last: text that is waited for; shapes: what is looked at: "process:event" counts events, others are shown with data and raw."""

    @step("heard")
    def run(side):
        path, listener = side.path("events"), side.memory.pop("listener")
        try:
            side.wait(lambda: last in read(path), lambda: f"{last} in {read(path)[-2000:]}")
            time.sleep(0.5)
        finally:
            listener.terminate()
            listener.wait()
        found = {}
        for line in read(path).splitlines():
            e = json.loads(line)
            if e["event"] not in shapes:
                continue
            if e["event"] == "process:event":
                p = e["packet"]
                key = f"{p['event']} manually {p['manually']} of {p['process'].get('pm_id')}"
                found[key] = found.get(key, 0) + 1
            else:
                found.setdefault(e["event"], []).append({k: e["packet"].get(k, "(absent)") for k in ("data", "raw")} |
                                                        {"process": sorted(e["packet"].get("process", {}))})
        return found

    return run


APP = {"app.js": WORKER}
SCENARIOS = [
    Scenario("-i 2 of a Node script is a cluster", ["start app.js -i 2", seen("seen", 2), one_port(2), served(2)], APP),
    Scenario("-i 1 is one too", ["start app.js -i 1", seen("seen"), served(1)], APP),
    Scenario("without -i it is no cluster", ["start app.js", seen("seen")], {"app.js": FORK}),
    Scenario("arguments in cluster mode", ["start app.js -i 1 --node-args=--max-old-space-size=200 -- a b", seen("seen")], APP),
    Scenario("exec_mode in a file", ["start e.json", seen("seen", 2), served(2)],
             {"e.json": json.dumps({"apps": [{"name": "app", "script": "app.js", "exec_mode": "cluster", "instances": 2}]}), **APP}),
    Scenario("stop and start of a cluster", ["start app.js -i 2", one_port(2), "stop app", seen("signal", 2), remove("port-*.json"), "start app", one_port(2),
                                                served(2)], APP),
    Scenario("restart of a cluster", ["start app.js -i 2", one_port(2), remember("app"), "restart app", is_new("app"), served(2)], APP),
    Scenario("reload of a cluster", ["start app.js -i 2", one_port(2), remember("app"), "reload app", is_new("app"), served(2)], APP),
    Scenario("reload twice", ["start app.js -i 2", one_port(2), "reload app", "reload app"], APP),
    Scenario("a reload calls the handler of SIGINT", ["start app.js -i 2", one_port(2), "reload app", seen("signal", 2), served(2)], APP),
    Scenario("a reload calls the handler of SIGINT of what serves nobody", ["start app.js -i 1 --wait-ready", until_file("seen-0.json"), "reload app", seen("signal")],
             {"app.js": QUEUE}, listing=False),
    Scenario("an unhandled rejection", ["start app.js --max-restarts 1", until_file("PM/logs/app-error.log", "oops"), until_stable("app"), listed("status")],
             {"app.js": "Promise.reject(new Error('oops')); setInterval(() => {}, 1000);\n"}, listing=False),
    Scenario("reload of one instance", ["start app.js -i 2", one_port(2), remember("app"), "reload 1", is_new("app")], APP),
    Scenario("reload of a stopped cluster", ["start app.js -i 2", one_port(2), "stop app", "reload app"], APP),
    Scenario("reload all", ["start app.js -i 2", one_port(2), remember("app"), "reload all", is_new("app")], APP),
    Scenario("reload of a new version", ["start app.js -i 2", one_port(2), write("app.js", WORKER.replace("version: 1", "version: 2")), "reload app",
                                         until_file("seen-1.json", '"version":2'), seen("seen", 2, without=("id",))], APP),
    Scenario("reload with wait_ready", ["start app.js -i 2 --wait-ready", remember("app"), "reload app", is_new("app")], {"app.js": READY}),
    Scenario("gracefulReload of nothing", [complains("gracefulReload nope")], APP),
    Scenario("startOrReload", ["start e.json", one_port(2), remember("app"), "startOrReload e.json", is_new("app"), served(2),
                              listed("status", "restart_time", "exec_mode", "instances", "A")],
             {"e.json": json.dumps({"apps": [{"name": "app", "script": "app.js", "exec_mode": "cluster", "instances": 2, "env": {"A": "1"}}]}), **APP}, listing=False),
    Scenario("scale up", ["start app.js -i 1", served(1), "scale app 3", served(3)], APP),
    Scenario("scale down", ["start app.js -i 3", one_port(3), "scale app 1", until("app", n=1)], APP),
    Scenario("shutdown_with_message in a cluster", ["start app.js -i 1 --shutdown-with-message --kill-timeout 500", served(1), "stop app", seen("message"),
                                                    counted()], APP, listing=False),
    Scenario("the bus of a reload", ["start app.js -i 2", one_port(2), listen(), "reload app", heard('"reload"', "process:event")], APP, listing=False),
    Scenario("messages on the bus", [listen(), "start app.js -i 1", heard('"z":1', "process:msg", "mine", "axm:action")], {"app.js": TALKER}, listing=False),
    Scenario("messages of a fork app on the bus", [listen(), "start app.js", heard('"z":1', "process:msg", "mine")], {"app.js": TALKER}, listing=False),
    Scenario("trigger in a cluster", ["start app.js -i 1", until("app", status="online"), listen(), "trigger app hello", heard("axm:reply", "axm:reply")],
             {"app.js": TALKER}, listing=False),
    Scenario("a worker that is killed", ["start app.js -i 2", one_port(2), remove("port-*.json"), "sendSignal SIGKILL app", until("app", restart_time=1, status="online"),
                                         one_port(2), served(2), listed("status", "restart_time", "exec_mode", "instances")], APP, listing=False),
]

sys.exit(main(SCENARIOS))
