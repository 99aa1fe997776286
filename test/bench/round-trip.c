/* SPDX-License-Identifier: MIT */

/* Sends messages to a process that answers each by one of type "pong", and prints the median time until the answer is here, in µs, and that of a
 * call that pmd itself answers: the difference is what the way between pmd and the app takes. Arguments: the home of a private pmd, the number of the process. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "libpmd/pmd.h"

#define N 1001

static int64_t now_nsec(void) {
        struct timespec ts;

        (void) clock_gettime(CLOCK_MONOTONIC, &ts);
        return (int64_t) ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static void on_event(pmd_connection *c, const char *name, const char *packet, void *userdata) {
        unsigned *n = userdata;

        (*n)++;
}

static int compare(const void *a, const void *b) {
        const int64_t *x = a, *y = b;

        return (*x > *y) - (*x < *y);
}

int main(int argc, char *argv[]) {
        const char *const filters[] = { "pong", NULL };
        pmd_connection *c;
        int64_t times[N], calls[N];
        unsigned n = 0;

        if (argc != 3 || pmd_open(PMD_SCOPE_PRIVATE, argv[1], PMD_OPEN_NO_START, &c, NULL) < 0 ||
            pmd_subscribe_events(c, (char *const *) filters, on_event, &n, NULL) < 0)
                return 1;

        for (unsigned i = 0; i < N; i++) {
                int64_t begin = now_nsec();

                if (pmd_ping(c, NULL) < 0)
                        return 1;
                calls[i] = now_nsec() - begin;
                begin = now_nsec();
                if (pmd_send_message(c, (uint32_t) atoi(argv[2]), "{\"x\":1}", NULL) < 0)
                        return 1;
                while (n <= i) {
                        int r = pmd_dispatch(c);

                        if (r == 0)
                                r = pmd_wait(c, UINT64_MAX);
                        if (r < 0)
                                return 1;
                }
                times[i] = now_nsec() - begin;
        }
        qsort(times, N, sizeof times[0], compare);
        qsort(calls, N, sizeof calls[0], compare);
        printf("%.0f %.0f\n", (double) times[N / 2] / 1000, (double) calls[N / 2] / 1000);
        pmd_close(c);
        return 0;
}
