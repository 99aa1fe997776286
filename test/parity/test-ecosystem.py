#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Ecosystem files: their forms, what they say, and what verbs do with them. Argument: the build directory."""

import json
import sys

from parity import (PROBE_PY, SLEEP, Scenario, child, command, complains, counted, exist, is_new, listed, main, remember, remove,
                    until_file, write)

ENV = ("V", "W", "NODE_ENV", "name", "pm_id", "NODE_APP_INSTANCE")


def apps(*definitions, **more):
    return json.dumps({"apps": list(definitions), **more})


def eco(name, text, steps, files=None, file="eco.json", listing=True):
    return Scenario("file: " + name, steps, {file: text, "a.sh": SLEEP, "b.sh": SLEEP, "app.py": PROBE_PY, **(files or {})}, listing)


A, B = {"name": "a", "script": "a.sh"}, {"name": "b", "script": "b.sh"}
PROBE = {"name": "app", "script": "app.py"}

SCENARIOS = [
    # Ecosystem files: forms
    eco("apps", apps(A, B), ["start eco.json"]),
    eco("an array", json.dumps([A, B]), ["start eco.json"]),
    eco("one object", json.dumps(A), ["start eco.json"]),
    eco("apps is one object", json.dumps({"apps": A}), ["start eco.json"]),
    eco("comments, single quotes, trailing commas", "// c\n{ /* c */ apps: [{ name: 'a', script: 'a.sh', }], }\n", ["start eco.json"]),
    eco("an expression in .json", "{apps: [{name: ['a', 'b'].join('-'), script: 'a.sh'}]}", ["start eco.json"]),
    eco("standard input", "", [command("start -", stdin=apps(A))]),
    eco("stop from standard input", "", [command("start -", stdin=apps(A, B)), command("stop -", stdin=apps(B)), counted()], listing=False),
    eco("YAML", "apps:\n  - name: a\n    script: a.sh\n    args: [x, 'y z']\n    env:\n      V: 1\n", ["start eco.yaml"], file="eco.yaml"),
    eco(".yml", "- name: a\n  script: a.sh\n- name: b\n  script: b.sh\n", ["start eco.yml"], file="eco.yml"),
    eco(".config.js", "module.exports = {apps: [{name: 'a' + 1, script: 'a.sh'}]}\n", ["start eco.config.js"], file="eco.config.js"),
    eco(".config.cjs", "module.exports = {apps: [{name: 'a' + 1, script: 'a.sh'}]}\n", ["start eco.config.cjs"], file="eco.config.cjs"),
    eco("a function", "module.exports = () => ({apps: [{name: 'a', script: 'a.sh'}]})\n", [command("start eco.config.js"), counted()],
        file="eco.config.js",
        listing=False),
    eco("a promise", "module.exports = Promise.resolve({apps: [{name: 'a', script: 'a.sh'}]})\n",
        [command("start eco.config.js"), counted()],
        file="eco.config.js", listing=False),
    eco(".config.mjs", "export default {apps: [{name: 'a', script: 'a.sh'}]}\n", ["start eco.config.mjs"], file="eco.config.mjs"),
    eco("what another file says", "const shared = require('./shared'); module.exports = {apps: [{...shared, name: 'a'}]}\n",
        ["start eco.config.js"],
        {"shared.js": "module.exports = {script: 'a.sh', kill_timeout: 700}\n"}, file="eco.config.js"),
    eco("directories of the file", "module.exports = {apps: [{name: 'a', script: __dirname + '/a.sh', cwd: __dirname + '/sub'}]}\n",
        [command("start eco.config.js"), listed("pm_cwd", "pm_exec_path", "PWD")], {"sub/x": ""}, file="eco.config.js", listing=False),
    eco("started from another directory", apps({**A, "script": "./a.sh"}),
        [command("start ../eco.json", cwd="sub"), listed("pm_cwd", "pm_exec_path")],
        {"sub/x": ""}, listing=False),
    eco("start without an operand", "module.exports = {apps: [{name: 'x', script: 'a.sh'}]}\n", ["start"], file="ecosystem.config.js"),
    eco("a file that is missing", "", [complains("start nope.json")]),
    eco("a file that cannot be read", "{apps: [", [complains("start eco.json")]),
    eco("a .config.js that throws", "throw new Error('no')\n", [complains("start eco.config.js")], file="eco.config.js"),
    eco("no script", apps({"name": "a"}), [complains("start eco.json")]),
    eco("a script that is missing", apps({"name": "a", "script": "nope.sh"}), [complains("start eco.json")]),
    eco("a wrong type", apps({**A, "watch": 5}), [complains("start eco.json")]),
    eco("a wrong value", apps({**A, "max_memory_restart": "12Q"}), [complains("start eco.json")]),
    eco("a wrong exec_mode", apps({**A, "exec_mode": "thread"}), [complains("start eco.json")]),
    eco("a wrong cron", apps({**A, "cron_restart": "61 * * * *"}), [complains("start eco.json")]),
    eco("an unknown key", apps({**A, "colour": "red"}), ["start eco.json"]),
    # … what they say
    eco("args as a string", apps({**PROBE, "args": "-a 'b c' --d=e"}), ["start eco.json", child(variables=())]),
    eco("args as an array", apps({**PROBE, "args": ["-a", "b c", "1"]}), ["start eco.json", child(variables=())]),
    eco("env", apps({**PROBE, "env": {"V": "x", "W": 5}}), ["start eco.json", child(variables=ENV)]),
    eco("env of an object, an array, null, a boolean", apps({**PROBE, "env": {"V": {"a": 1}, "W": [1, 2], "N": None, "T": True, "F": 1.5}}),
        ["start eco.json", child(variables=("V", "W", "N", "T", "F"))]),
    eco("env over the caller's", apps({**PROBE, "env": {"V": "file"}}),
        [command("start eco.json", env={"V": "shell", "W": "shell"}), child(variables=ENV)]),
    eco("--env", apps({**PROBE, "env": {"V": "base", "W": "base"}, "env_production": {"V": "production"}}),
        ["start eco.json --env production", child(variables=ENV)]),
    eco("--env that is not there", apps({**PROBE, "env": {"V": "base"}}), ["start eco.json --env nope", child(variables=ENV)]),
    eco("--env of a script is ignored", "", ["start a.sh --env nope"]),
    eco("append_env_to_name", apps({**A, "append_env_to_name": True, "env_test": {"V": "1"}}),
        ["start eco.json --env test", listed("status")], listing=False),
    eco("instances", apps({**PROBE, "instances": 2}), ["start eco.json", child(variables=ENV, n=2)]),
    eco("instances 1", apps({**A, "instances": 1}), ["start eco.json"]),
    eco("instance_var", apps({**PROBE, "instances": 2, "instance_var": "NUMBER"}), ["start eco.json",
                                                                                 child(variables=("NUMBER", "NODE_APP_INSTANCE",
                                                                                                  "instance_var"), n=2)]),
    eco("increment_var", apps({**PROBE, "instances": 2, "increment_var": "PORT", "env": {"PORT": 3000}}),
        ["start eco.json", child(variables=("PORT",), n=2)]),
    eco("port", apps({**PROBE, "port": 8080}), ["start eco.json", child(variables=("PORT",))]),
    eco("cwd", apps({"name": "app", "script": "app.py", "cwd": "sub"}),
        ["start eco.json", child("sub/probe-*.json", variables=("pm_cwd",)), listed("pm_cwd", "pm_exec_path")],
        {"sub/app.py": PROBE_PY}, listing=False),
    eco("interpreter and its arguments", apps({**PROBE, "interpreter": "python3", "interpreter_args": "-B"}),
        ["start eco.json", child(variables=())]),
    eco("namespace", apps({**A, "namespace": "ns"}, B), ["start eco.json", "stop ns"]),
    eco("camelCase", apps({**A, "maxRestarts": 4, "killTimeout": 2000, "minUptime": 2000, "restartDelay": 10}), ["start eco.json"]),
    eco("restart rules", apps({**A, "max_restarts": 4, "min_uptime": "5s", "autorestart": False, "stop_exit_codes": [1, 2]}),
        ["start eco.json"]),
    eco("filter_env: true", apps({**PROBE, "filter_env": True, "env": {"W": "1"}}),
        [command("start eco.json", env={"V": "1"}), child(variables=ENV)]),
    eco("filter_env as a list", apps({**PROBE, "filter_env": ["SEC"]}),
        [command("start eco.json", env={"SECRET": "1", "V": "1"}), child(variables=("SECRET", "V"))]),
    eco("log files", apps({**A, "out_file": "o.log", "error_file": "e.log", "merge_logs": True}), ["start eco.json", exist("*.log")]),
    eco("log files by other names", apps({**A, "output": "o.log", "error": "e.log"}), ["start eco.json", exist("*.log")]),
    eco("pid_file", apps({**A, "pid_file": "my.pid"}), ["start eco.json", exist("*.pid")]),
    eco("autostart: false", apps({**A, "autostart": False}, B), ["start eco.json"]),
    eco("no name", apps({"script": "a.sh"}), ["start eco.json"]),
    eco("a name that is a number", apps({**A, "name": 42}), ["start eco.json", listed("status")], listing=False),
    eco("exec and cmd are script", apps({"name": "a", "exec": "a.sh"}, {"name": "b", "cmd": "b.sh"}), ["start eco.json"]),
    eco("a shell command", apps({"name": "a", "script": "echo hi; sleep 1000"}), ["start eco.json", until_file("PM/logs/a-out.log", "hi")]),
    eco("name_prefix", apps({**A, "name_prefix": "pre"}), ["start eco.json", listed("status")], listing=False),
    # … what verbs do with them
    eco("--only", apps(A, B), ["start eco.json --only b"]),
    eco("--only several", apps(A, B, {"name": "c", "script": "a.sh"}), ["start eco.json --only a,c", counted()], listing=False),
    eco("-i goes over the file", apps(A), ["start eco.json -i 2", listed("instances")], listing=False),
    eco("--max-restarts goes over the file", apps({**A, "max_restarts": 3}), ["start eco.json --max-restarts 7", listed("max_restarts")],
        listing=False),
    eco("--namespace goes over the file", apps({**A, "namespace": "x"}), ["start eco.json --namespace y", listed("namespace")],
        listing=False),
    eco("--watch goes over the file", apps(A), ["start eco.json --watch", listed("watch")], listing=False),
    eco("--name goes over the file", apps(A), ["start eco.json --name other", listed("status")], listing=False),
    eco("restart --only", apps(A, B), ["start eco.json", "restart eco.json --only b", listed("status", "restart_time")], listing=False),
    eco("stop --only", apps(A, B), ["start eco.json", "stop eco.json --only b", listed("status")], listing=False),
    eco("restart of a file with --env", apps({**PROBE, "env": {"V": "1"}, "env_test": {"V": "test"}}),
        ["start eco.json", child(variables=("V",)), remove("probe-0.json"), "restart eco.json --env test", child(variables=("V",))],
        listing=False),
    eco("two files", apps(A), ["start eco.json", command("start other.json"), counted()], {"other.json": apps(B)}, listing=False),
    eco("--only what is not there", apps(A, B), ["start eco.json --only nope"]),
    eco("start twice restarts", apps(A), ["start eco.json", remember("a"), "start eco.json", is_new("a"),
                                          listed("status", "restart_time")], listing=False),
    eco("start starts what is missing and restarts the rest", apps(A, B),
        ["start eco.json --only a", "start eco.json", listed("status", "restart_time")], listing=False),
    eco("restart of a file", apps(A, B), ["start eco.json", "restart eco.json", listed("status", "restart_time")], listing=False),
    eco("restart of a file takes the new environment", apps({**PROBE, "env": {"V": "1"}}),
        ["start eco.json", child(variables=ENV), remove("probe-0.json"), write("eco.json", apps({**PROBE, "env": {"V": "2", "W": "3"}})),
         "restart eco.json", child(variables=ENV)], listing=False),
    eco("restart of a file takes new arguments and rules", apps({**PROBE, "args": "a"}),
        ["start eco.json", child(variables=()), remove("probe-0.json"),
         write("eco.json", apps({**PROBE, "args": "b", "max_restarts": 3, "kill_timeout": 800})),
         "restart eco.json", child(variables=()), listed("args", "max_restarts", "kill_timeout")], listing=False),
    eco("restart of a file starts what is missing", apps(A), ["restart eco.json"]),
    eco("reload of a file", apps(A), ["start eco.json", remember("a"), "reload eco.json", is_new("a"), listed("status", "restart_time")],
        listing=False),
    eco("stop of a file", apps(A, B), ["start eco.json", "stop eco.json", listed("status")], listing=False),
    eco("stop of a file whose apps are not there", apps(A), ["start b.sh", "stop eco.json", listed("status")], listing=False),
    eco("delete of a file", apps(A), ["start eco.json", "start b.sh", "delete eco.json"]),
    eco("startOrRestart", apps(A, B), ["start eco.json --only a", "startOrRestart eco.json", listed("status", "restart_time")],
        listing=False),
    eco("startOrReload", apps(A, B), ["start eco.json --only a", "startOrReload eco.json", listed("status", "restart_time")],
        listing=False),
    eco("restart --env without a file", "", ["start a.sh", complains("restart a --env production")]),
]

sys.exit(main(SCENARIOS))
