#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Apps that end by themselves and restart rules, counters, signals, scale. Argument: the build directory."""

import sys

from parity import (SLEEP, Scenario, command, complains, content, counted, crash, listed, main, remember, until, until_file, until_new,
                    until_stable, write)

TWO = {"a.sh": SLEEP, "b.sh": SLEEP}
ONE = {"app.sh": SLEEP}
# Ends with the code that the file says.
ENDS = "echo run >> $HERE/runs\ncode=$(cat $HERE/code)\n[ \"$code\" = stay ] && exec sleep 1000\nexit $code\n"

SCENARIOS = [
    # ends by itself
    Scenario("an app that crashes is restarted", ["start app.sh", remember("app"), crash("app"), until_new("app"), counted()], ONE,
             listing=False),
    Scenario("a crash loop ends in errored", ["start app.sh", until("app", status="errored")], {"app.sh": "exit 1\n"}),
    Scenario("a crash loop of what ends with 0", ["start app.sh", until("app", status="errored")], {"app.sh": "exit 0\n"}),
    Scenario("a crash loop of what dies by a signal", ["start app.sh", until("app", status="errored"),
                                                       listed("status", "restart_time", "exit_code")],
             {"app.sh": "kill -9 $$\n"}, listing=False),
    Scenario("--max-restarts 3", ["start app.sh --max-restarts 3", until("app", status="errored")], {"app.sh": "exit 1\n"}),
    Scenario("--max-restarts 0", ["start app.sh --max-restarts 0", until("app", status="errored"), counted()], {"app.sh": "exit 1\n"},
             listing=False),
    Scenario("how often it ran", ["start app.sh --max-restarts 4", until("app", status="errored"), content("runs")],
             {"app.sh": ENDS, "code": "1"}),
    Scenario("start of what is errored", ["start app.sh --max-restarts 2", until("app", status="errored"), write("code", "stay"),
                                          "start app", counted()],
             {"app.sh": ENDS, "code": "1"}, listing=False),
    Scenario("restart of what is errored", ["start app.sh --max-restarts 2", until("app", status="errored"), write("code", "stay"),
                                            "restart app", counted()],
             {"app.sh": ENDS, "code": "1"}, listing=False),
    Scenario("stop of what is errored", ["start app.sh --max-restarts 2", until("app", status="errored"), "stop app", counted()],
             {"app.sh": ENDS, "code": "1"}, listing=False),
    Scenario("--no-autorestart, ends with 0", ["start app.sh --no-autorestart", until("app", status="stopped")], {"app.sh": "exit 0\n"}),
    Scenario("--no-autorestart, ends with 3", ["start app.sh --no-autorestart", until("app", status="stopped")], {"app.sh": "exit 3\n"}),
    Scenario("--no-autorestart, killed", ["start app.sh --no-autorestart", crash("app"), until("app", status="stopped")], ONE),
    Scenario("--stop-exit-codes stops", ["start app.sh --stop-exit-codes 3", until("app", status="stopped")], {"app.sh": "exit 3\n"}),
    Scenario("--stop-exit-codes with several", ["start app.sh --stop-exit-codes 4,3"], {"app.sh": "exit 3\n"}, listing=False),
    Scenario("--stop-exit-codes of another code", ["start app.sh --stop-exit-codes 4 --max-restarts 2", until("app", status="errored"),
                                                   counted()],
             {"app.sh": "exit 3\n"}, listing=False),
    Scenario("--restart-delay waits", ["start app.sh --restart-delay 100000", until("app", status="waiting restart"),
                                       listed("status", "restart_time")],
             {"app.sh": "exit 1\n"}, listing=False),
    Scenario("--restart-delay, then it runs", ["start app.sh --restart-delay 100", until("app", status="waiting restart"),
                                               write("code", "stay"),
                                              until("app", status="online"), listed("status")], {"app.sh": ENDS, "code": "1"},
             listing=False),
    Scenario("stop of what waits for a restart", ["start app.sh --restart-delay 100000", until("app", status="waiting restart"), "stop app",
                                                 listed("status", "restart_time")], {"app.sh": "exit 1\n"}, listing=False),
    Scenario("restart of what waits for a restart", ["start app.sh --restart-delay 100000", until("app", status="waiting restart"),
                                                     command("restart app")],
             {"app.sh": "exit 1\n"}, listing=False),
    Scenario("exponential backoff", ["start app.sh --exp-backoff-restart-delay 100000", until("app", status="waiting restart"),
                                     listed("status", "restart_time", "exp_backoff_restart_delay", "prev_restart_delay")],
             {"app.sh": "exit 1\n"}, listing=False),
    Scenario("exponential backoff grows", ["start app.sh --exp-backoff-restart-delay 40", until("app", restart_time=(4, 5, 6)),
                                              "stop app", listed("status")], {"app.sh": "exit 1\n"}, listing=False),
    Scenario("max_memory_restart", ["start app.py --max-memory-restart 60M", until("app", status="online", restart_time=1),
                                    listed("status")],
             {"app.py": "import os, time\nx = b'' if os.path.exists('big') else b'x' * 200000000\nopen('big', 'w').close()\ntime.sleep(1000)\n"}, listing=False),
    # reset, signals
    Scenario("reset", ["start app.sh", "restart app", "restart app", "reset app"], ONE),
    Scenario("reset all", ["start a.sh b.sh", "restart all", "reset all", counted()], TWO, listing=False),
    Scenario("reset by number", ["start a.sh b.sh", "restart all", "reset 1", counted()], TWO, listing=False),
    Scenario("reset all of nothing", [command("reset all")]),
    Scenario("reset of an unknown name", [complains("reset nope")]),
    Scenario("reset of an unknown number", [command("reset 9")]),
    Scenario("a signal to what is stopped", ["start app.sh", "stop app", command("sendSignal SIGUSR2 app")], ONE, listing=False),
    Scenario("sendSignal", ["start app.sh", until_file("PM/logs/app-out.log", "ready"), "sendSignal SIGUSR1 app",
                            until_file("PM/logs/app-out.log", "got"), content("PM/logs/app-out.log")],
             {"app.sh": "trap 'echo got USR1' USR1\necho ready\nwhile :; do sleep 0.05; done\n"}),
    Scenario("sendSignal by number", ["start app.sh", until_file("PM/logs/app-out.log", "ready"), "sendSignal SIGUSR2 0",
                                      until_file("PM/logs/app-out.log", "got"), counted()],
             {"app.sh": "trap 'echo got USR2' USR2\necho ready\nwhile :; do sleep 0.05; done\n"}, listing=False),
    Scenario("sendSignal SIGKILL is a crash", ["start app.sh", until_stable("app"), remember("app"), "sendSignal SIGKILL app",
                                               until_new("app"), counted()], ONE, listing=False),
    Scenario("an unknown signal", ["start app.sh", complains("sendSignal SIGNONE app")], ONE),
    Scenario("a signal to an unknown name", [complains("sendSignal SIGTERM nope")]),
    Scenario("a signal to an unknown number", [complains("sendSignal SIGTERM 9")]),
    # scale
    Scenario("scale up", ["start app.sh -i 1", "scale app 3"], ONE),
    Scenario("scale up by", ["start app.sh -i 1", "scale app +2"], ONE),
    Scenario("scale down", ["start app.sh -i 3", "scale app 1"], ONE),
    Scenario("scale to what is there", ["start app.sh -i 2", command("scale app 2")], ONE),
    Scenario("scale of an unknown app", [complains("scale nope 2")]),
]

sys.exit(main(SCENARIOS))
