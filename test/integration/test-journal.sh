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
check "an app starts all the same" run pmctl start $APPS/counter.sh --name stalled -- 50000
check_output "pmctl list answers" online run pmctl list
check "another app starts and stops" run pmctl start $APPS/counter.sh --name other -- 1
check "" run pmctl stop other
check "lines are dropped" eventually output_matches '^[1-9]' dropped_property 1
check "journald goes on" enter kill -CONT "$pid"
check "the last line is in the journal" eventually has_line stalled 'line 49999'
check_equal "lines and dropped lines are all" 50000 $(($(count_lines stalled) + $(count_dropped stalled)))
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

done_testing
