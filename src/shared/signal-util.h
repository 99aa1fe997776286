/* SPDX-License-Identifier: MIT */
#pragma once

/* "SIGUSR2" for 12, "RTMIN+3" with its prefix likewise; NULL for what is no signal. The memory is static. */
const char *signal_to_string(int signo);

/* Takes "SIGTERM", "TERM", "term" and "15". A negative errno for what is no signal. */
int signal_from_string(const char *s);
