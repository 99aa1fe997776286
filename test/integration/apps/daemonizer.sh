#!/bin/sh
# SPDX-License-Identifier: MIT
# Leaves a process behind that has a session, a parent and a name of its own, and ignores SIGINT as the shell's background jobs do.
( setsid sh -c 'exec sleep 987654' </dev/null >/dev/null 2>&1 & )
exec sleep infinity
