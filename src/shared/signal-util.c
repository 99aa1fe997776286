/* SPDX-License-Identifier: MIT */
#include <signal.h>
#include <stdio.h>
#include <strings.h>

#include "shared/parse-util.h"
#include "shared/signal-util.h"

const char *signal_to_string(int signo) {
        static __thread char buf[32];
        const char *name;

        if (signo <= 0 || signo > SIGRTMAX)
                return NULL;

        name = sigabbrev_np(signo);
        if (name)
                (void) snprintf(buf, sizeof buf, "SIG%s", name);
        else if (signo >= SIGRTMIN)
                (void) snprintf(buf, sizeof buf, "SIGRTMIN+%d", signo - SIGRTMIN);
        else
                (void) snprintf(buf, sizeof buf, "%d", signo);
        return buf;
}

int signal_from_string(const char *s) {
        const char *name;
        unsigned u;

        if (safe_atou(s, &u) >= 0)
                return u > 0 && u <= (unsigned) SIGRTMAX ? (int) u : -ERANGE;

        name = strncasecmp(s, "SIG", 3) == 0 ? s + 3 : s;

        if (strncasecmp(name, "RTMIN+", 6) == 0 && safe_atou(name + 6, &u) >= 0)
                return u <= (unsigned) (SIGRTMAX - SIGRTMIN) ? SIGRTMIN + (int) u : -ERANGE;

        for (int i = 1; i < SIGRTMIN; i++) {
                const char *t = sigabbrev_np(i);

                if (t && strcasecmp(t, name) == 0)
                        return i;
        }

        return -EINVAL;
}
