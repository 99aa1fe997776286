#!/bin/bash
# SPDX-License-Identifier: MIT
#
# A cluster of Node.js under the system's pmd and under a user's: systemd keeps its sockets while pmd is killed and restarted.

# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

command -v node >/dev/null || skip_all "node is not installed"

APP=/run/test/apps/cluster.js

# Each answers with its pid, N requests with a new connection each.
serving() { # PORT N
        enter env -u NODE_EXTRA_CA_CERTS node -e "
                const http = require('http'), pids = new Set();
                (async () => {
                        for (let i = 0; i < $2; i++)
                                await new Promise((done, fail) => http.get({host: '127.0.0.1', port: $1, agent: false}, (r) => r.on('data', (d) => pids.add(String(d))).on('end', done)).on('error', fail));
                        console.log([...pids].sort().join(' '));
                })().catch((e) => { console.error(e); process.exit(1); });"
}

number_serving() { # PORT N
        serving "$1" "$2" | wc -w
}

pmd_pid() { # SYSTEMCTL…
        "$@" show -p MainPID --value pmd.service
}

is_another_pmd() { # OLD SYSTEMCTL…
        local old=$1 new
        shift
        new=$(pmd_pid "$@")
        [ "$new" != 0 ] && [ "$new" != "$old" ]
}

check_place() { # PLACE RUN PORT SYSTEMCTL…
        local place=$1 run=$2 port=$3 pids pid
        shift 3

        check "$place: pmctl start -i 4" $run env PORT="$port" pmctl start $APP --name web -i 4
        check "$place: all four serve" eventually_output '^4$' number_serving "$port" 40
        pids=$(serving "$port" 400)

        pid=$(pmd_pid "$@")
        check "$place: kill -9 of pmd" enter kill -KILL "$pid"
        check "$place: they serve on" eventually_output "^$pids\$" serving "$port" 40
        check "$place: the next pmd comes" eventually is_another_pmd "$pid" "$@"
        check "$place: restart pmd" "$@" restart pmd.service
        check "$place: they serve on" eventually_output "^$pids\$" serving "$port" 40

        check "$place: scale up" $run pmctl scale web 6
        check "$place: the new ones get its sockets" eventually_output '^6$' number_serving "$port" 60
        check "$place: scale down" $run pmctl scale web 2
        check "$place: two serve" eventually_output '^2$' number_serving "$port" 20
        check "$place: pmctl stop" $run pmctl stop web
        check_fails "$place: nobody listens" serving "$port" 1
        check "$place: pmctl start" $run pmctl start web
        check "$place: two serve again" eventually_output '^2$' number_serving "$port" 20
        check "$place: pmctl delete" $run pmctl delete web
        check "$place: systemd keeps nothing of it" eventually_output '^0$' "$@" show -p NFileDescriptorStore --value pmd.service
}

container_boot
check "add a user" add_user

check_place "system" run 8001 enter systemctl
check "start a user's service manager" start_user_manager
check_place "user" run_as_user 8002 run_as_user systemctl --user

done_testing
