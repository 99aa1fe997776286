# SPDX-License-Identifier: MIT
# fish completion for pmctl(1); pmctl itself knows what can be typed.

function __pmctl_words
        set -l words (commandline -opc)
        set -e words[1]
        string match -v -- '-*' $words
end

function __pmctl_offer
        set -l instance (string match -r -- '^--(?:system|user)$' (commandline -opc))
        pmctl $instance __complete $argv[1] 2>/dev/null
end

function __pmctl_wants_targets
        set -l words (__pmctl_words)
        test (count $words) -gt 0; and not contains -- $words[1] ping kill version report monit dashboard dash imonit runtime jlist prettylist help save dump resurrect cleardump \
                multiset get set unset conf config startup unstartup import startOrRestart startOrReload startOrGracefulReload ecosystem init
end

complete -c pmctl -n 'not string match -qr -- "^(start|runtime|stop|restart|reload|gracefulReload|delete|del)" (__pmctl_words)[1]' -f
complete -c pmctl -n 'test (count (__pmctl_words)) -eq 0' -f -a '(__pmctl_offer verbs)'
complete -c pmctl -n 'test "$(__pmctl_words)" = help' -f -a '(__pmctl_offer verbs)'
complete -c pmctl -n 'contains -- "$(__pmctl_words)" get set unset conf config' -f -a '(__pmctl_offer settings)'
complete -c pmctl -n 'contains -- "$(__pmctl_words)" startup unstartup' -f -a systemd
complete -c pmctl -n 'test "$(__pmctl_words)" = import' -a pm2
complete -c pmctl -n 'contains -- "$(__pmctl_words)" ecosystem init' -f -a simple
complete -c pmctl -n __pmctl_wants_targets -a '(__pmctl_offer targets)'
complete -c pmctl -n 'string match -q -- "-*" (commandline -ct)' -f -a '(__pmctl_offer options)'
