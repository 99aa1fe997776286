/* SPDX-License-Identifier: MIT */

/* Starts processes that sleep, each in a transient scope, with nothing but fork() and StartTransientUnit, and prints the seconds until the last
 * job has ended: what systemd takes where nobody manages anything. Arguments: how many, and how: "slice", all of them in one slice; "slices", each
 * in one of its own; "again", one after the other, which prints the median time from the kill -9 of one to the end of the next one's job, in ms. */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <systemd/sd-bus.h>
#include <time.h>
#include <unistd.h>

#define N_MAX 10000

/* As many as pmd has. The manager needs a match of the bus for each job, of which it may have 512, and is thrown off the bus by more. */
#define IN_FLIGHT_MAX 64

#define MANAGER "org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager"

static pid_t pids[N_MAX];
static int n_called, n_ended, n_failed;

static double now_sec(void) {
        struct timespec ts;

        (void) clock_gettime(CLOCK_MONOTONIC, &ts);
        return (double) ts.tv_sec + (double) ts.tv_nsec / 1e9;
}

static int on_reply(sd_bus_message *m, void *userdata, sd_bus_error *reterr) {
        if (!sd_bus_message_is_method_error(m, NULL))
                return 0;
        if (n_failed++ == 0)
                fprintf(stderr, "Refused: %s\n", sd_bus_message_get_error(m)->message);
        n_ended++;
        return 0;
}

static int on_job_removed(sd_bus_message *m, void *userdata, sd_bus_error *reterr) {
        const char *unit;

        if (sd_bus_message_read(m, "uos", NULL, NULL, &unit) >= 0 && strncmp(unit, "bench-", 6) == 0 && strstr(unit, ".scope"))
                n_ended++;
        return 0;
}

static int listen_to_manager(sd_bus *bus) {
        int r;

        r = sd_bus_match_signal(bus, NULL, MANAGER, "JobRemoved", on_job_removed, NULL);
        return r < 0 ? r : sd_bus_call_method(bus, MANAGER, "Subscribe", NULL, NULL, NULL);
}

static int start_one(sd_bus *bus, bool own_slice) {
        char unit[64], slice[64] = "bench.slice";
        int i = n_called++;

        pids[i] = fork();
        if (pids[i] < 0)
                return -errno;
        if (pids[i] == 0) {
                (void) execlp("sleep", "sleep", "100000", NULL);
                _exit(EXIT_FAILURE);
        }

        (void) snprintf(unit, sizeof unit, "bench-n%d-%d-1.scope", i, i);
        if (own_slice)
                (void) snprintf(slice, sizeof slice, "bench-n%d.slice", i);
        return sd_bus_call_method_async(bus, NULL, MANAGER, "StartTransientUnit", on_reply, NULL, "ssa(sv)a(sa(sv))", unit, "replace", 3,
                        "PIDs", "au", 1, (uint32_t) pids[i], "Slice", "s", slice, "CollectMode", "s", "inactive-or-failed", 0);
}

static int process_one(sd_bus *bus) {
        int r = sd_bus_process(bus, NULL);

        return r == 0 ? sd_bus_wait(bus, UINT64_MAX) : r;
}

static int start_all(sd_bus *bus, int n, bool own_slice) {
        int r = 0;

        while (r >= 0 && n_ended < n)
                r = n_called < n && n_called - n_ended < IN_FLIGHT_MAX ? start_one(bus, own_slice) : process_one(bus);
        return r;
}

static int compare(const void *a, const void *b) {
        const double *x = a, *y = b;

        return (*x > *y) - (*x < *y);
}

/* The first one, which replaces nobody, is not counted. */
static int start_again(sd_bus *bus, int n, double *ret_median) {
        static double times[N_MAX];
        double begin = 0;
        int r = 0;

        for (int i = 0; r >= 0 && i < n; i++) {
                if (i > 0) {
                        (void) usleep(250000);
                        begin = now_sec();
                        (void) kill(pids[i - 1], SIGKILL);
                        (void) waitpid(pids[i - 1], NULL, 0);
                        pids[i - 1] = 0;
                }
                r = start_one(bus, false);
                while (r >= 0 && n_ended <= i)
                        r = process_one(bus);
                times[i] = now_sec() - begin;
        }
        qsort(times + 1, n - 1, sizeof *times, compare);
        *ret_median = times[1 + (n - 1) / 2] * 1000;
        return r;
}

int main(int argc, char *argv[]) {
        int n = argc == 3 ? atoi(argv[1]) : 0, r;
        sd_bus *bus = NULL;
        double result, begin;

        if (n < 2 || n > N_MAX)
                return EXIT_FAILURE;
        r = sd_bus_open_system(&bus);
        if (r >= 0)
                r = listen_to_manager(bus);
        begin = now_sec();
        if (r >= 0)
                r = strcmp(argv[2], "again") == 0 ? start_again(bus, n, &result) : start_all(bus, n, strcmp(argv[2], "slices") == 0);
        if (strcmp(argv[2], "again") != 0)
                result = now_sec() - begin;
        printf("%.3f\n", result);

        for (int i = 0; i < n_called; i++)
                if (pids[i] > 0)
                        (void) kill(pids[i], SIGKILL);
        sd_bus_flush_close_unref(bus);
        if (r < 0)
                fprintf(stderr, "Failed: %s\n", strerror(-r));
        return r < 0 || n_failed > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
