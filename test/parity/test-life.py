#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The life cycle: stop, restart, delete, numbers, operands. Argument: the build directory."""

import sys

from parity import (PROBE_PY, SLEEP, Scenario, child, command, complains, content, counted, exist, is_new, listed, main, remember, remove,
                    until, until_dead, until_file)

IGNORES = "trap '' INT TERM\necho ready\nwhile :; do sleep 0.1; done\n"
TWO = {"a.sh": SLEEP, "b.sh": SLEEP}
ONE = {"app.sh": SLEEP}

SCENARIOS = [
    # stop
    Scenario("stop", ["start app.sh", "stop app"], ONE),
    Scenario("stop of what is stopped", ["start app.sh", "stop app", "stop app"], ONE),
    Scenario("stop by number", ["start a.sh b.sh", "stop 1"], TWO),
    Scenario("stop by several operands", ["start a.sh b.sh", "stop a 1"], TWO),
    Scenario("stop all", ["start a.sh b.sh", "stop all"], TWO),
    Scenario("stop all of nothing", [complains("stop all")]),
    Scenario("stop of an unknown name", ["start app.sh", complains("stop nope")], ONE),
    Scenario("stop of an unknown number", ["start app.sh", complains("stop 9")], ONE),
    Scenario("stop of one that is known and one that is not", ["start app.sh", complains("stop nope app"), counted()], ONE, listing=False),
    Scenario("stop by the script's path", ["start app.sh -n web", "stop app.sh"], ONE),
    Scenario("restart by the script's absolute path", ["start app.sh -n web", "restart $HERE/app.sh"], ONE),
    Scenario("restart of a script that nobody runs", ["start a.sh", complains("restart b.sh")], TWO),
    Scenario("delete by the script's path", ["start sub/app.sh", "start app.sh -n web", "delete sub/app.sh"], {"sub/app.sh": SLEEP, **ONE}),
    Scenario("a name that is a script's path too", ["start a.sh -n b.sh", "start b.sh -n x", "stop b.sh", counted()], TWO, listing=False),
    Scenario("stop by a regular expression", ["start a.sh -n web-1", "start b.sh -n job", "stop /^web/"], TWO),
    Scenario("stop by a regular expression that matches nothing", ["start a.sh", complains("stop /^zzz/")], TWO),
    Scenario("stop of a namespace", ["start a.sh --namespace ns", "start b.sh", "stop ns"], TWO),
    Scenario("a name goes before a namespace", ["start a.sh -n x", "start b.sh --namespace x", "stop x", counted()], TWO, listing=False),
    Scenario("stop of an app with several instances", ["start app.sh -i 3", "stop app"], ONE),
    Scenario("stop of one instance of several", ["start app.sh -i 3", "stop 1"], ONE),
    Scenario("an app that ignores the signal is killed", ["start app.sh --kill-timeout 300", until_file("PM/logs/app-out*.log", "ready"),
                                                          "stop app"],
             {"app.sh": IGNORES}),
    Scenario("the stop signal is SIGINT", ["start app.sh", until_file("PM/logs/app-out.log", "ready"), "stop app",
                                           until_file("PM/logs/app-out.log", "got"), content("PM/logs/app-out.log"), counted()],
             {"app.sh": "trap 'echo got INT; exit 0' INT\ntrap 'echo got TERM; exit 0' TERM\necho ready\nwhile :; do sleep 0.05; done\n"},
             listing=False),
    Scenario("children are stopped too", ["start app.py", until_file("child"), "stop app", counted(), until_dead("child")],
             {"app.py": "import subprocess, time\np = subprocess.Popen(['sleep', '1000'])\nopen('child', 'w').write(str(p.pid))\ntime.sleep(1000)\n"}, listing=False),
    Scenario("the pid file goes with the process", ["start app.sh", exist("PM/pids/*"), "stop app", exist("PM/pids/*"), "start app",
                                                    exist("PM/pids/*")], ONE),
    # restart
    Scenario("restart of what is online", ["start app.sh", remember("app"), "restart app", is_new("app")], ONE),
    Scenario("restart of what is stopped", ["start app.sh", "stop app", "restart app"], ONE),
    Scenario("restart twice counts twice", ["start app.sh", "restart app", "restart app"], ONE),
    Scenario("restart all", ["start a.sh b.sh", "restart all"], TWO),
    Scenario("restart all of nothing", [complains("restart all")]),
    Scenario("restart of an unknown name", [complains("restart nope")]),
    Scenario("restart of an unknown number", [complains("restart 9")]),
    Scenario("restart by number", ["start a.sh b.sh", "restart 0"], TWO),
    Scenario("restart by a regular expression", ["start a.sh b.sh", "restart /a/"], TWO),
    Scenario("restart of a namespace", ["start a.sh --namespace ns", "start b.sh --namespace ns", "restart ns"], TWO),
    Scenario("restart changes what is given", ["start app.sh", "restart app --kill-timeout 900 --max-restarts 3"], ONE),
    Scenario("restart with a new name", ["start app.sh", "restart app --name web"], ONE),
    Scenario("restart with arguments", ["start app.py -- a", child(variables=()), remove("probe-0.json"), "restart app -- b c",
                                        child(variables=())],
             {"app.py": PROBE_PY}),
    Scenario("restart keeps the environment", [command("start app.py", env={"V": "1"}), child(variables=("V",)), remove("probe-0.json"),
                                               command("restart app", env={"V": "2"}), child(variables=("V",))], {"app.py": PROBE_PY}),
    Scenario("restart --update-env", [command("start app.py", env={"V": "1", "OLD": "1"}), child(variables=("V",)), remove("probe-0.json"),
                                      command("restart app --update-env", env={"V": "2", "NEW": "1"}),
                                      child(variables=("V", "NEW", "OLD"))], {"app.py": PROBE_PY}),
    Scenario("the counters in the child's environment", ["start app.py", child(variables=("restart_time", "status")),
                                                         remove("probe-0.json"), "restart app",
                                                        child(variables=("restart_time", "status"))], {"app.py": PROBE_PY}),
    Scenario("restart of an app whose script is gone", ["start app.sh --max-restarts 2", remove("app.sh"), command("restart app"),
                                                       until("app", status="errored"), listed("status")], ONE, listing=False),
    Scenario("reload of a fork app is a restart", ["start app.sh", remember("app"), "reload app", is_new("app")], ONE),
    Scenario("reload of an unknown name", [complains("reload nope")]),
    # delete
    Scenario("delete", ["start a.sh b.sh", "delete a"], TWO),
    Scenario("del", ["start a.sh b.sh", "del 0"], TWO),
    Scenario("delete all", ["start a.sh b.sh", "delete all", exist("PM/pids/*")], TWO),
    Scenario("delete all of nothing", [complains("delete all")]),
    Scenario("delete of an unknown name", [complains("delete nope")]),
    Scenario("delete of an unknown number", [complains("delete 9")]),
    Scenario("delete of two that are known and one that is not", ["start a.sh b.sh", complains("delete a b nope"), counted()], TWO, listing=False),
    Scenario("delete of one instance", ["start app.sh -i 3", "delete 0"], ONE),
    Scenario("numbers begin at 0 in an empty list", ["start a.sh b.sh", "delete all", "start a.sh"], TWO),
    Scenario("numbers go on in one that is not empty", ["start a.sh b.sh", "delete a", "start a.sh"], TWO),
    Scenario("logs stay when an app is deleted", ["start app.sh", until_file("PM/logs/app-out.log", "hello"), "delete app",
                                                  exist("PM/logs/*")],
             {"app.sh": "echo hello\nexec sleep 1000\n"}),
]

sys.exit(main(SCENARIOS))
