#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Messages, lines and actions to apps and back: send, sendMessage, trigger, attach, events. Argument: the build directory."""

import json
import os
import shutil
import signal
import subprocess
import sys

from pmctltest import FAILED, NO_SUCH_APP, NOT_RUNNING, OK, PATIENCE, UNREACHABLE, USAGE, expect, run_checks
from pmdtest import kill_for_good, wait_until

APP = """
process.send({type: 'axm:action', data: {action_name: 'hello', action_type: 'custom', arity: 1}});
process.send({type: 'axm:action', data: {action_name: 'mute', action_type: 'custom', arity: 0}});
process.send({type: 'axm:action', data: {action_name: 'die', action_type: 'custom', arity: 0}});
process.send({type: 'axm:monitor', data: {'Heap Size': {value: '6.98', unit: 'MiB'}}});
process.send({type: 'axm:option:configuration', data: {x: 1}});
process.on('message', m => {
  const action = m && m.msg || m;
  process.send({type: 'got', data: {m: m}});
  if (action === 'hello')
    process.send({type: 'axm:reply', data: {action_name: 'hello', return: {got: m.opts || null}}});
  if (action === 'die')
    process.exit(4);
  if (action === 'talk')
    for (const x of [null, 'text', 17, [1], {data: 5}, {type: 'mine', data: {z: 1}}])
      process.send(x);
});
process.send('up');
setInterval(() => {}, 1000);
"""

READER = "while IFS= read -r line; do echo \"got $line\"; done; echo end; sleep 1000"


class Listener:
    """pmctl events --json"""

    def __init__(self, pm, *filters):
        self.path = os.path.join(pm.dir, "events.json")
        self.file = open(self.path, "w", encoding="utf-8")
        self.process = subprocess.Popen([pm.pmctl, "events", "--json", *filters], env=pm.env, stdin=subprocess.DEVNULL, stdout=self.file,
                                        stderr=subprocess.PIPE)
        self.pm = pm

    def events(self, *names):
        with open(self.path, encoding="utf-8") as f:
            text = f.read()
        # The last piece is a line that is being written; to go on reading would find its rest.
        lines = [json.loads(line) for line in text.split("\n")[:-1]]
        return [(e["event"], e["packet"]) for e in lines if not names or e["event"] in names]

    def wait(self, condition, what):
        wait_until(lambda: any(condition(n, p) for n, p in self.events()), what)

    def close(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=PATIENCE)
        self.file.close()
        return self.process.returncode


def wait_for_listener(pm, listener):
    """It listens once it is told of something."""
    pm.run("start", "/bin/sleep", "--name", "first", "--", "1000")
    wait_until(lambda: pm.run("restart", "first").returncode == OK and listener.events(), "the listener")
    pm.run("delete", "first")


def pmd_pid(pm):
    with open(os.path.join(pm.env["PMD_HOME"], "run", "pmd.lock"), encoding="utf-8") as f:
        text = f.read()
    return int(text) if text.strip() else None


def resident(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as f:
        return int(next(line for line in f if line.startswith("VmRSS")).split()[1])


def is_sanitized(pid):
    """A sanitizer keeps what was freed for a while."""
    with open(f"/proc/{pid}/maps", encoding="utf-8") as f:
        return "libasan" in f.read()


def id_of(pm, name):
    return str(pm.process(name)["pm_id"])


def check_lines(tap, pm):
    expect(tap, pm.run("start", "/bin/sh", "--name", "reader", "--stdin", "--interpreter", "none", "--", "-c", READER), OK, "an app with a standard input starts")
    i = id_of(pm, "reader")
    listener = Listener(pm, "log:*")
    log = os.path.join(pm.env["PMD_HOME"], "logs", "reader-out.log")

    def logged():
        with open(log, encoding="utf-8") as f:
            return f.read().splitlines()

    expect(tap, pm.run("send", i, "a line"), OK, "send")
    expect(tap, pm.run("sendLine", i, "another"), OK, "sendLine is the same")
    wait_until(lambda: len(logged()) >= 2, "the lines")
    tap.equal(logged(), ["got a line", "got another"], "they arrive, in order")

    typed = subprocess.run([pm.pmctl, "attach", i], env=pm.env, input="typed 1\ntyped 2\nrest", capture_output=True, text=True, timeout=PATIENCE, check=False)
    tap.equal(typed.returncode, OK, "attach ends with what is typed")
    wait_until(lambda: len(logged()) >= 5, "what was typed")
    tap.equal(logged()[2:], ["got typed 1", "got typed 2", "got rest"], "and sends each line of it")
    typed = subprocess.run([pm.pmctl, "attach", i, ";"], env=pm.env, input="one;two;", capture_output=True, text=True, timeout=PATIENCE, check=False)
    wait_until(lambda: len(logged()) >= 7, "what was typed")
    tap.equal(logged()[5:], ["got one", "got two"], "with another separator as well")
    listener.close()

    expect(tap, pm.run("send", "reader", "x"), USAGE, "a name is no number", stderr=["pm_id must be a process number (not a process name)"])
    expect(tap, pm.run("attach", "reader"), USAGE, "for attach neither", stderr=["pm_id must be a process number (not a process name)"])
    expect(tap, pm.run("send", "99", "x"), NO_SUCH_APP, "an unknown process", stderr=["Process with ID 99 unknown."])
    expect(tap, pm.run("attach", "99"), NO_SUCH_APP, "for attach as well")
    pm.run("stop", "reader")
    expect(tap, pm.run("send", i, "x"), NOT_RUNNING, "one that is stopped", stderr=[f"Process with ID {i} offline."])
    pm.run("start", "reader")
    expect(tap, pm.run("send", i, "again"), OK, "the next incarnation has one too")
    wait_until(lambda: logged()[-1] == "got again", "the line")
    tap.check("end" not in logged(), "its standard input never came to an end", logged())

    # The keeper starts another pmd, which has the writing end.
    before = pmd_pid(pm)
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: pmd_pid(pm) not in (before, None) and pm.run("ping").returncode == OK, "the next pmd")
    expect(tap, pm.run("send", i, "survived"), OK, "it survives the end of pmd")
    wait_until(lambda: logged()[-1] == "got survived", "the line")
    tap.check("end" not in logged(), "without a gap", logged())

    pm.run("start", "/bin/sh", "--name", "deaf", "--stdin", "--interpreter", "none", "--", "-c", "sleep 1000")
    i = id_of(pm, "deaf")
    results = [pm.run("send", i, "x" * 60000) for _ in range(4)]
    tap.equal([r.returncode for r in results], [OK, OK, FAILED, FAILED], "what is not read is held up to a limit")
    tap.check("does not read" in results[-1].stderr, "and then refused", results[-1])
    pm.run("delete", "deaf")

    pm.run("start", "/bin/sleep", "--name", "plain", "--", "1000")
    expect(tap, pm.run("send", id_of(pm, "plain"), "x"), FAILED, "an app without a standard input", stderr=["--stdin"])
    expect(tap, pm.run("sendMessage", id_of(pm, "plain"), "x"), FAILED, "and without a channel", stderr=["no channel for messages"])
    expect(tap, pm.run("trigger", "plain", "hello"), FAILED, "triggers no action",
           stderr=["no channel for messages", "Not any process has received a command (offline or unexistent)"])
    pm.run("delete", "all")


def check_messages(tap, pm):
    pm.run("ping")
    listener = Listener(pm)
    pm.write("app.js", APP)
    wait_for_listener(pm, listener)
    expect(tap, pm.run("start", "app.js", "--name", "node"), OK, "a Node app starts")
    i = id_of(pm, "node")
    listener.wait(lambda n, p: p.get("raw") == "up", "its first message")
    whose = {"pm_id": int(i), "name": "node", "namespace": "default"}
    tap.equal(next(p["process"] for n, p in listener.events("process:msg")), whose, "whose message it is")
    tap.equal([n for n, p in listener.events() if n.startswith("axm:")], [], "what is pmd's own is not passed on")

    env = pm.process("node")["pm2_env"]
    tap.equal([a["action_name"] for a in env["axm_actions"]], ["hello", "mute", "die"], "jlist has its actions")
    tap.equal(env["axm_monitor"], {"Heap Size": {"value": "6.98", "unit": "MiB"}}, "its metrics")
    tap.equal(env["axm_options"], {"x": 1}, "and options")
    expect(tap, pm.run("describe", "node"), OK, "describe shows them", stdout=["Actions available", "hello", "Code metrics value", "Heap Size", "6.98 MiB"])

    for text, value in (('{"a": [1, null]}', {"a": [1, None]}), ("null", None), ("plain text", "plain text"), ("12", 12), ('"12"', "12"), ("{broken", "{broken")):
        before = len(listener.events("got"))
        expect(tap, pm.run("sendMessage", i, text), OK, f"sendMessage {text}")
        wait_until(lambda: len(listener.events("got")) > before, "the echo")
        tap.equal(listener.events("got")[-1][1]["data"], {"m": value}, "is what the app gets")

    before = len(listener.events("process:msg"))
    pm.run("sendMessage", i, "talk")
    listener.wait(lambda n, p: n == "mine", "its answers")
    tap.equal([p["raw"] for _, p in listener.events("process:msg")][before:], [None, "text", 17, [1], {"data": 5}], "messages of all kinds come through, null too")
    mine = listener.events("mine")[0][1]
    tap.check(mine["data"] == {"z": 1} and mine["process"] == whose and isinstance(mine["at"], int), "one with a type is an event of that name", mine)

    expect(tap, pm.run("trigger", "node", "hello"), OK, "trigger", stdout=[f'[node:{i}:default]={{"got":null}}', "1 processes have received command hello"])
    expect(tap, pm.run("trigger", i, "hello", "5"), OK, "with parameters, which are text", stdout=['{"got":"5"}'])
    expect(tap, pm.run("trigger", "node", "nope"), FAILED, "an action that it does not have", stderr=["Action doesn't exist nope for node"])
    expect(tap, pm.run("trigger", "nobody", "hello"), NO_SUCH_APP, "an app that there is not")
    r = pm.run("trigger", "node", "hello", "--json")
    answer = json.loads(r.stdout)[0]
    tap.check(answer["id"] == int(i) and json.loads(answer["answer"])["data"]["return"] == {"got": None} and answer["error"] is None, "as JSON", r.stdout)
    expect(tap, pm.run("trigger", "node", "die"), NOT_RUNNING, "an app that ends instead", stderr=["ended before it answered"])
    wait_until(lambda: pm.process("node")["pm2_env"]["axm_actions"], "the next incarnation")
    expect(tap, pm.run("trigger", "node", "hello"), OK, "whose successor answers")

    pm.run("stop", "node")
    expect(tap, pm.run("trigger", "node", "hello"), NOT_RUNNING, "one that is stopped")
    expect(tap, pm.run("sendMessage", i, "x"), NOT_RUNNING, "has no messages either", stderr=[f"Process with ID {i} offline."])
    env = pm.process("node")["pm2_env"]
    tap.check(env["axm_actions"] == [] and env["axm_monitor"] == {}, "and no actions and metrics", env["axm_actions"])

    pm.run("kill")
    tap.equal(listener.process.wait(PATIENCE), OK, "events ends with pmd")
    tap.equal(listener.events()[-1][0], "pm2:kill", "whose end is the last one")
    listener.close()


FLOOD = """
const text = 'x'.repeat(1000);
let n = 0;
function more() {
  for (let i = 0; i < 100; i++)
    process.send({type: 'flood', data: {n: n++, text: text}});
  setImmediate(more);
}
more();
"""


def check_flood(tap, pm):
    """An app sends as fast as it can, to a listener that does not read."""
    pm.write("flood.js", FLOOD)
    pm.run("ping")
    stuck = Listener(pm)
    wait_for_listener(pm, stuck)
    stuck.process.send_signal(signal.SIGSTOP)
    pm.run("start", "/bin/sleep", "--name", "other", "--", "1000")
    pm.run("start", "flood.js", "--name", "flood")
    reader = subprocess.Popen([pm.pmctl, "events", "--json", "flood"], env=pm.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    seen = [json.loads(reader.stdout.readline()) for _ in range(20000)]
    numbers = [e["packet"]["data"]["n"] for e in seen if e["event"] == "flood"]
    tap.check(all(a < b for a, b in zip(numbers, numbers[1:])), "who reads gets messages in order")
    gaps = sum(b - a - 1 for a, b in zip(numbers, numbers[1:]))
    told = sum(e["packet"]["skipped"] for e in seen if e["event"] == "pmd:skipped")
    tap.check(told >= gaps, "and is told of each gap", (told, gaps))
    expect(tap, pm.run("restart", "other"), OK, "other apps are served")
    size = resident(pmd_pid(pm))
    tap.check(size < (2048 if is_sanitized(pmd_pid(pm)) else 96) * 1024, "pmd stays small", size)
    reader.kill()
    reader.communicate()
    pm.run("delete", "all")
    stuck.process.send_signal(signal.SIGCONT)
    stuck.wait(lambda n, p: n == "pmd:skipped", "what the other one is told")
    stuck.close()


SERVER = "require('http').createServer((q, r) => r.end('ok')).listen(0);"


def check_reload(tap, pm):
    pm.write("server.js", SERVER)
    pm.run("start", "server.js", "--name", "server", "-i", "1")
    listener = Listener(pm, "process:event")
    wait_until(lambda: pm.run("restart", "server").returncode == OK and listener.events(), "the listener")
    # The end of the restart that the listener was told of last.
    wait_until(lambda: listener.events()[-1][1]["event"] == "restart", "the restart")
    before = len(listener.events())
    expect(tap, pm.run("reload", "server"), OK, "reload")
    wait_until(lambda: len(listener.events()) >= before + 3, "the events")
    words = [p["event"] for _, p in listener.events()][before:]
    tap.equal((words[0], sorted(words)), ("online", ["exit", "online", "reload"]), "a reload: online, then reload and the exit of the old one")
    listener.close()
    pm.run("delete", "all")


def check_broken(tap, pm):
    pm.run("ping")
    listener = Listener(pm)
    wait_for_listener(pm, listener)
    before = pmd_pid(pm)
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: pmd_pid(pm) not in (before, None) and pm.run("ping").returncode == OK, "the next pmd")
    pm.run("start", "/bin/sleep", "--name", "second", "--", "1000")
    wait_until(lambda: pm.run("restart", "second").returncode == OK and
               any(p["process"]["name"] == "second" for n, p in listener.events("process:event")), "its events")
    tap.check(listener.process.poll() is None, "events goes on with the next pmd")
    pm.run("delete", "all")
    kill_for_good(pmd_pid(pm))
    tap.equal(listener.process.wait(PATIENCE), UNREACHABLE, "events says so if pmd ends without a word")
    listener.close()


if __name__ == "__main__":
    if not shutil.which("node"):
        print("1..0 # SKIP there is no node")
        sys.exit(0)
    sys.exit(run_checks([check_lines, check_messages, check_flood, check_reload, check_broken]))
