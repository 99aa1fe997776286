#!/bin/bash
# SPDX-License-Identifier: MIT
#
# How fast lines get into the journal: from an app through pmd, which must not drop any, and by sd_journal_sendv() in a loop.
# Argument: a release build. ROUNDS, LINES

# shellcheck source=../integration/lib.sh
. "$(dirname "$0")/../integration/lib.sh"

ROUNDS=${ROUNDS:-5}
LINES=${LINES:-100000}

container_boot
put_file /run/bench/journal-send <"$BUILD/test/journal-send"
put_file /run/systemd/journald.conf.d/50-bench.conf <<'CONF'
[Journal]
RuntimeMaxUse=2G
RuntimeKeepFree=1M
RateLimitBurst=0
CONF
enter mount -o remount,size=3G /run
enter chmod +x /run/bench/journal-send
run pmctl ping >/dev/null

# Seconds until all lines of that app are in a fresh journal.
measure() { # MATCH COMMAND…
        local match=$1
        shift
        enter systemctl stop systemd-journald.service 2>/dev/null
        enter sh -c 'rm -rf /run/log/journal/*'
        enter systemctl start systemd-journald.service
        enter sh -c 'i=0; while [ $i -lt '"$LINES"' ]; do printf "line %-93d.\n" $i; i=$((i + 1)); done >/run/bench/lines'
        local start=$EPOCHREALTIME
        "$@" >/dev/null
        until enter journalctl --sync && enter journalctl -q -o cat -n 1 "$match" | grep -q "^line $((LINES - 1)) "; do :; done
        echo "$start $EPOCHREALTIME" | awk '{ printf "%.2f\n", $2 - $1 }'
}

echo "| lines | sd_journal_sendv in a loop (s) | an app of pmd (s) | CPU-s of pmd | one with log_driver: direct (s) | CPU-s of pmd |"
echo "|---|---|---|---|---|---|"
cpu() {
        enter systemctl show -P CPUUsageNSec pmd.service
}
cpu_since() { # NANOSECONDS
        echo "$1 $(cpu)" | awk '{ printf "%.2f", ($2 - $1) / 1e9 }'
}
for i in $(seq "$ROUNDS"); do
        plain=$(measure PM_APP=loop run /run/bench/journal-send /run/bench/lines)
        before=$(cpu)
        relayed=$(measure "PM_APP=app$i" run pmctl start 'cat /run/bench/lines; exec sleep infinity' --name "app$i" --log-overflow block)
        spent=$(cpu_since "$before")
        before=$(cpu)
        direct=$(measure "SYSLOG_IDENTIFIER=direct$i" run pmctl start 'cat /run/bench/lines; exec sleep infinity' --name "direct$i" --log-driver direct)
        echo "| $LINES | $plain | $relayed | $spent | $direct | $(cpu_since "$before") |"
done
