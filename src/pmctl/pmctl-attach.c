/* SPDX-License-Identifier: MIT */
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "pmctl/pmctl-util.h"
#include "shared/parse-util.h"
#include "shared/string-util.h"
#include "shared/time-util.h"

#define LINE_MAX_SIZE ((size_t) 64 * 1024)

typedef struct Attachment {
        const Options *options;
        uint32_t id;
        char separator;
        char *line;          /* what was typed of the next one */
        size_t n, n_allocated;
} Attachment;

static void attachment_done(Attachment *a) {
        free(a->line);
}

static void on_event(pmd_connection *c, const char *name, const char *packet, void *userdata) {
        const Attachment *a = userdata;
        json_object *p = json_tokener_parse(packet), *process = NULL, *id = NULL, *data = NULL;

        (void) json_object_object_get_ex(p, "process", &process);
        (void) json_object_object_get_ex(process, "pm_id", &id);
        (void) json_object_object_get_ex(p, "data", &data);
        if (data && json_object_is_type(id, json_type_int) && json_object_get_int64(id) == a->id)
                (void) fputs(json_object_get_string(data), streq(name, "log:err") ? stderr : stdout);
        json_object_put(p);
}

static int send_line(Attachment *a, pmd_connection *c) {
        _cleanup_(pmd_error_free) pmd_error e = {};
        int r;

        if (!GREEDY_REALLOC(a->line, a->n_allocated, a->n + 1))
                return report_error(a->options, -ENOMEM, NULL);
        a->line[a->n] = '\0';
        a->n = 0;
        r = pmd_send_line(c, a->id, a->line, &e);
        return r < 0 ? report_error(a->options, r, &e) : EXIT_CODE_OK;
}

static int take_input(Attachment *a, pmd_connection *c, const char *text, size_t n) {
        for (size_t i = 0; i < n; i++) {
                int r = EXIT_CODE_OK;

                if (text[i] == a->separator || a->n >= LINE_MAX_SIZE)
                        r = send_line(a, c);
                if (r != EXIT_CODE_OK)
                        return r;
                if (text[i] == a->separator)
                        continue;
                if (!GREEDY_REALLOC(a->line, a->n_allocated, a->n + 1))
                        return report_error(a->options, -ENOMEM, NULL);
                a->line[a->n++] = text[i];
        }
        return EXIT_CODE_OK;
}

/* -1: go on. */
static int read_input(Attachment *a, pmd_connection *c) {
        char buf[4096];
        ssize_t n;
        int r;

        n = read(STDIN_FILENO, buf, sizeof buf);
        if (n < 0 && IN_SET(errno, EINTR, EAGAIN))
                return -1;
        if (n < 0)
                return report_error(a->options, -errno, NULL);
        if (n == 0)
                return a->n > 0 ? send_line(a, c) : EXIT_CODE_OK;
        r = take_input(a, c, buf, (size_t) n);
        return r == EXIT_CODE_OK ? -1 : r;
}

static int poll_timeout(pmd_connection *c) {
        uint64_t deadline;

        if (pmd_get_timeout(c, &deadline) < 0 || deadline == UINT64_MAX)
                return -1;
        return (int) MIN(usec_sub(deadline, now(CLOCK_MONOTONIC)) / USEC_PER_MSEC + 1, (usec_t) 60000);
}

static int run(Attachment *a, pmd_connection *c) {
        for (;;) {
                struct pollfd fds[2] = {
                        { .fd = pmd_get_fd(c), .events = (short) pmd_get_events(c) },
                        { .fd = STDIN_FILENO, .events = POLLIN },
                };
                int r;

                while ((r = pmd_dispatch(c)) > 0)
                        ;
                if (r < 0) {
                        message_error(a->options, "The connection to pmd broke: it has ended or was restarted.");
                        return exit_code_from_error(r, NULL);
                }
                (void) fflush(stdout);

                if (poll(fds, ELEMENTSOF(fds), poll_timeout(c)) < 0 && errno != EINTR)
                        return report_error(a->options, -errno, NULL);
                r = fds[1].revents != 0 ? read_input(a, c) : -1;
                if (r >= 0)
                        return r;
        }
}

int verb_attach(int argc, char *argv[], const Options *o) {
        static const char *const filters[] = { "log:out", "log:err", NULL };
        _cleanup_(attachment_done) Attachment a = { .options = o, .separator = '\n' };
        _cleanup_connection_ pmd_connection *c = NULL;
        _cleanup_process_list_ ProcessList l = {};
        _cleanup_(pmd_error_free) pmd_error e = {};
        unsigned id;
        int r;

        if (safe_atou(argv[1], &id) < 0) {
                message_error(o, "pm_id must be a process number (not a process name)");
                return EXIT_CODE_USAGE;
        }
        a.id = id;
        if (argc > 2)
                a.separator = argv[2][0];

        r = acquire_connection(o, 0, &c);
        if (r != EXIT_CODE_OK)
                return r;
        r = fetch_processes(o, c, TARGET(argv[1]), 0, &l);
        if (r == EXIT_CODE_NO_SUCH_APP)
                return report_no_such_target(o, argv[1]);
        if (r != EXIT_CODE_OK)
                return r;

        r = pmd_subscribe_events(c, (char *const *) filters, on_event, &a, &e);
        if (r < 0)
                return report_error(o, r, &e);
        return run(&a, c);
}
