#!/bin/bash
# SPDX-License-Identifier: MIT
#
# The lines of apps in a journal that is stopped, killed, restarted, and what pmctl logs makes of it.

# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

APPS=/run/test/apps

lines_of() { # APP
        enter journalctl --sync
        enter journalctl -q -o cat --no-pager PM_APP="$1" PM_STREAM=out
}

has_line() { # APP LINE
        lines_of "$1" | grep -qx "$2"
}

# The numbers of "line N" that there are, each once and in order; those that were dropped are in the marks.
count_lines() { # APP
        lines_of "$1" | grep -c '^line [0-9]*$'
}

count_dropped() { # APP
        lines_of "$1" | sed -n 's/^\[pmd\] \([0-9]*\) lines were dropped here$/\1/p' | awk '{ n += $1 } END { print n + 0 }'
}

in_order() { # APP
        lines_of "$1" | sed -n 's/^line \([0-9]*\)$/\1/p' | sort -cnu
}

journald_pid() {
        enter systemctl show -P MainPID systemd-journald.service
}

dropped_property() { # ID
        run busctl get-property org.pmd1 "/org/pmd1/process/$1" org.pmd1.Process LogDropped | cut -d' ' -f2
}

container_boot
# It lies in memory here, and forgets early.
put_file /run/systemd/journald.conf.d/50-test.conf <<'CONF'
[Journal]
RuntimeMaxUse=1G
RuntimeKeepFree=1M
CONF
enter mount -o remount,size=1G /run
enter systemctl restart systemd-journald.service
check "pmd runs" run pmctl list

# ---- all is well ----

check "an app with many lines" run pmctl start $APPS/counter.sh --name many -- 20000
check "its last line is in the journal" eventually has_line many 'line 19999'
check_equal "all of its lines are" 20000 "$(count_lines many)"
check "in order" in_order many

# ---- a journald that does not read ----

pid=$(journald_pid)
check "journald is stopped" enter kill -STOP "$pid"
check "an app starts all the same" run pmctl start $APPS/counter.sh --name stalled -- 200000
check_output "pmctl list answers" online run pmctl list
check "another app starts and stops" run pmctl start $APPS/counter.sh --name other -- 1
check "" run pmctl stop other
check "lines are dropped" eventually output_matches '^[1-9]' dropped_property 1
check "journald goes on" enter kill -CONT "$pid"
check "the last line is in the journal" eventually has_line stalled 'line 199999'
check_equal "lines and dropped lines are all" 200000 $(($(count_lines stalled) + $(count_dropped stalled)))
check_equal "LogDropped is the same number" "$(dropped_property 1)" "$(count_dropped stalled)"
check "the rest is in order" in_order stalled
check "the line of the other app has come too" has_line other 'line 0'

# ---- a journald that is killed and restarted ----

check "an app that writes for a while" run pmctl start $APPS/counter.sh --name steady -- 300 0.02
check "journald is killed" enter systemctl kill -s KILL systemd-journald.service
sleep 1
check "journald is restarted" enter systemctl restart systemd-journald.service
check "journald is stopped, with its sockets" enter systemctl stop systemd-journald.service systemd-journald.socket systemd-journald-dev-log.socket
sleep 1
check "and started" enter systemctl start systemd-journald.socket systemd-journald-dev-log.socket systemd-journald.service
check "the last line is in the journal" eventually has_line steady 'line 299'
check_output "the app was not restarted" '^u 0$' run busctl get-property org.pmd1 /org/pmd1/process/3 org.pmd1.Process NRestarts

# ---- events ----

check "an app that ends" run pmctl start 'exit 3' --name ender --no-autorestart
check_output "its start is an event" '^PM_APP=ender$' enter journalctl -o export MESSAGE_ID=98b1a88166df4d95904ece32d3078d2c
check "its end is one" eventually output_matches '^EXIT_STATUS=3$' enter journalctl -o export PM_APP=ender MESSAGE_ID=8ff90f64733241d9a3a9e5a6f4710d0a
check_output "so is that somebody asked" '^PM_REQUEST_UID=0$' enter journalctl -o export PM_APP=ender MESSAGE_ID=bc24721188c14706be6afbf83749a87f
check_output "pmctl logs -x tells it" 'has ended: it exited with code 3' run pmctl logs ender -x --nostream
check_output "pmctl why explains it" 'is stopped: it exited with code 3 .*autorestart is off' run pmctl why ender
check_output "pmctl why tells who stopped an app" 'is stopped: user root .*asked for that' run pmctl why other

# ---- pmctl logs ----

check_output "pmctl logs has the last lines" 'line 299$' run pmctl logs steady --nostream --lines 3
check_output "-g" 'line 123$' run pmctl logs steady --nostream -g '^line 123$'
check_equal "--since" 0 "$(run pmctl logs steady --nostream --raw --since +1h | wc -l)"
check "flush" run pmctl flush steady
check_equal "hides what was before" 0 "$(run pmctl logs steady --nostream --raw | wc -l)"
check "the journal has it still" has_line steady 'line 299'
check "a new start" run pmctl restart steady
check "is shown" eventually output_matches 'line 0$' run pmctl logs steady --nostream --raw

# ---- without pmd in the path ----

check "log_driver direct" run pmctl start $APPS/counter.sh --name direct --log-driver direct -- 3
direct_lines() {
        enter journalctl --sync
        enter journalctl -q -o cat SYSLOG_IDENTIFIER=direct _TRANSPORT=stdout
}
check "its lines are in the journal" eventually output_matches '^line 2$' direct_lines
unit=$(run busctl get-property org.pmd1 /org/pmd1/process/5 org.pmd1.Process Unit | cut -d'"' -f2)
check_output "under its unit" 'line 2' enter journalctl -q --no-pager -u "$unit"
pid=$(run pmctl pid direct)
check_output "it has JOURNAL_STREAM" '^JOURNAL_STREAM=[0-9]+:[0-9]+$' enter sh -c "tr '\\0' '\\n' </proc/$pid/environ"

# The unit is that of the stream, not of a process that has gone by the time its line is read.
pid=$(journald_pid)
enter kill -STOP "$pid"
check "children that have ended when journald reads" run pmctl start 'for i in 1 2 3 4 5; do (exec /bin/echo child $i); done; exec sleep infinity' --name brief --log-driver direct
unit_of() { # NAME
        run busctl get-property org.pmd1 "/org/pmd1/process/$(run pmctl id "$1" | grep -Eo '[0-9]+')" org.pmd1.Process Unit | cut -d'"' -f2
}
children() {
        enter journalctl --sync
        enter journalctl -q -o cat --no-pager -u "$(unit_of brief)" | grep -c '^child [1-5]$'
}
children_are_gone() {
        enter cat "/proc/$(run pmctl pid brief)/comm" | grep -qx sleep
}
check "" eventually children_are_gone
enter kill -CONT "$pid"
check "their lines keep the unit" eventually output_matches '^5$' children

# ---- numbered lines, and a journald that is killed and restarted all the time ----

id_of() { # NAME
        run pmctl id "$1" | grep -Eo '[0-9]+'
}

check "an app under load" run pmctl start $APPS/counter.sh --name load -- 200000
for _ in 1 2 3; do
        sleep 0.3
        enter systemctl restart systemd-journald.service
done
check "its last line is in the journal" eventually has_line load 'line 199999'
check_equal "a journald that is restarted under load loses nothing" 200000 $(($(count_lines load) + $(count_dropped load)))
check "all is in order" in_order load
check_equal "LogDropped agrees" "$(dropped_property "$(id_of load)")" "$(count_dropped load)"

check "an app under load" run pmctl start $APPS/counter.sh --name killed -- 200000
for _ in 1 2 3; do
        sleep 0.3
        enter systemctl kill -s KILL systemd-journald.service
        enter systemctl reset-failed systemd-journald.service
done
# What journald had read and not written yet is gone with it.
killed_is_complete() {
        test $(($(count_lines killed) + $(count_dropped killed))) -ge 199990
}
check "a journald that is killed under load loses no more than it had in its hands" eventually killed_is_complete
check "all is in order" in_order killed

pid=$(journald_pid)
enter kill -STOP "$pid"
check "an app that is to wait for the journal" run pmctl start $APPS/counter.sh --name waits --log-overflow block -- 100000
check_output "pmctl list answers" online run pmctl list
check_output "others are restarted" online run pmctl restart other
sleep 1
enter kill -CONT "$pid"
check "its last line is in the journal" eventually has_line waits 'line 99999'
check_equal "no line is missing" 100000 "$(count_lines waits)"
check_equal "none was dropped" 0 "$(count_dropped waits)"

# ---- lines that are objects ----

check "an app that writes objects" run pmctl start \
        'echo "{\"level\":50,\"time\":1,\"msg\":\"it failed\",\"reqId\":\"r-7\"}"; echo "{\"level\":\"warn\",\"message\":\"careful\"}"; echo plain; exec sleep infinity' \
        --name objects --log-parse json
objects() {
        enter journalctl --sync
        enter journalctl -q -o export PM_APP=objects PM_STREAM=out
}
check "its message is the message" eventually output_matches '^MESSAGE=it failed$' objects
check_output "pino's level is the priority" '^PRIORITY=3$' objects
check_output "winston's too" '^PRIORITY=4$' objects
check_output "fields become fields" 'r-7' objects
check_output "other lines stay" '^MESSAGE=plain$' objects
check_output "pmctl logs -p" 'it failed$' run pmctl logs objects --nostream -p err
check_no_output "leaves out what matters less" 'careful|plain' run pmctl logs objects --nostream -p err

# ---- targets ----

check "log_target both" run pmctl start $APPS/counter.sh --name both --log-target both -- 3
check "writes to the journal" eventually has_line both 'line 2'
both_file=$(run pmctl jlist | grep -Eo '"pm_out_log_path":"[^"]*both-out[^"]*"' | cut -d'"' -f4)
check_equal "and to a file" 3 "$(enter grep -c '^line' "$both_file")"
check "log_target none" run pmctl start $APPS/counter.sh --name nowhere --log-target none -- 3
check_equal "pmctl logs shows each line once" 3 "$(run pmctl logs both --nostream --raw --lines 100 | grep -c '^line')"

# ---- following ----

FOLLOWED=$WORK/followed
run pmctl logs all --raw --lines 0 >"$FOLLOWED" 2>/dev/null </dev/null &
follower=$!
followed() { # LINE
        grep -qx "$1" "$FOLLOWED"
}
begun() {
        run pmctl restart both >/dev/null
        sleep 0.5
        followed 'line 0'
}
check "pmctl logs follows all" eventually begun
check "an app that comes later" run pmctl start 'echo newcomer; exec sleep infinity' --name newcomer
check "is followed" eventually followed newcomer
check "one with files" run pmctl start 'echo with files; exec sleep infinity' --name filed --log-target file
check "too" eventually followed 'with files'
check "journald is restarted" enter systemctl restart systemd-journald.service
check "an app is deleted" run pmctl delete newcomer
check "and started again" run pmctl start 'echo another; exec sleep infinity' --name newcomer
check "logs go on" eventually followed another
kill "$follower"

# ---- without pmd ----

check "pmd is stopped" enter systemctl stop pmd.service
check_output "pmctl logs has what is in the journal" 'line 299$' run pmctl logs load --nostream --raw -g 'line 299$'
check_output "and in files" '^line 2$' run pmctl logs both --nostream --raw
# ---- pmctl why ----

check "an app that complains" run pmctl start 'echo no such luck >&2; exit 4' --name complains --no-autorestart
check "its last lines come from the journal" eventually output_matches 'no such luck' run pmctl why complains

done_testing
