#!/bin/sh
# SPDX-License-Identifier: MIT
# Crashes when it is told to end.
trap 'kill -SEGV $$' INT TERM
while :; do
        sleep 0.1
done
