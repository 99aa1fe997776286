/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "fake-pmd.h"
#include "shared/list-pack.h"
#include "shared/macro.h"
#include "shared/path-util.h"
#include "shared/pmd-protocol.h"
#include "shared/string-util.h"
#include "shared/strv.h"

static void must(int r) {
        if (r < 0) {
                fprintf(stderr, "fake pmd: %s\n", strerror(-r));
                _exit(1);
        }
}

static int emit_job_removed(sd_bus *bus, uint32_t id, const char *result, uint32_t failed) {
        if (failed == 0)
                return sd_bus_emit_signal(bus, PMD_PATH, PMD_INTERFACE_MANAGER, "JobRemoved", "usssa(uss)",
                                          id, "start", "app", result, 0);
        return sd_bus_emit_signal(bus, PMD_PATH, PMD_INTERFACE_MANAGER, "JobRemoved", "usssa(uss)",
                                  id, "start", "app", result, 1, failed, PMD_ERROR_EXEC_FAILED, "cannot execute");
}

static _noreturn_ void leave(sd_bus *bus) {
        sd_bus_flush_close_unref(bus);
        _exit(0);
}

static int reply_jobs(sd_bus_message *m, uint32_t a, uint32_t b) {
        return b ? sd_bus_reply_method_return(m, "au", 2, a, b) : sd_bus_reply_method_return(m, "au", 1, a);
}

static int on_verb(sd_bus *bus, sd_bus_message *m, const char *target) {
        if (streq(target, "missing"))
                return sd_bus_reply_method_errorf(m, PMD_ERROR_NO_SUCH_PROCESS, "Nothing is called '%s'.", target);
        if (streq(target, "strange"))
                return sd_bus_reply_method_errorf(m, "com.example.Strange", "strange");
        if (streq(target, "early")) {
                must(emit_job_removed(bus, 41, "done", 0));
                return reply_jobs(m, 41, 0);
        }
        if (streq(target, "late")) {
                must(reply_jobs(m, 42, 43));
                must(emit_job_removed(bus, 99, "failed", 7)); /* another client's */
                must(emit_job_removed(bus, 43, "done", 0));
                return emit_job_removed(bus, 42, "failed", 9);
        }
        if (streq(target, "canceled")) {
                must(reply_jobs(m, 44, 0));
                return emit_job_removed(bus, 44, "canceled", 0);
        }
        if (streq(target, "nothing"))
                return sd_bus_reply_method_return(m, "au", 0);
        if (streq(target, "hold"))
                return reply_jobs(m, 50, 0);
        if (streq(target, "release")) {
                must(emit_job_removed(bus, 50, "done", 0));
                must(emit_job_removed(bus, 51, "done", 0));
                return reply_jobs(m, 51, 0);
        }
        if (streq(target, "die"))
                _exit(1);
        if (streq(target, "die-late")) {
                must(reply_jobs(m, 45, 0));
                leave(bus);
        }
        if (streq(target, "garbage"))
                return sd_bus_reply_method_return(m, "s", "garbage");
        return 1; /* "mute" */
}

static int on_resolve(sd_bus_message *m, const char *target) {
        if (streq(target, "missing"))
                return sd_bus_reply_method_errorf(m, PMD_ERROR_NO_SUCH_PROCESS, "Nothing is called '%s'.", target);
        return sd_bus_reply_method_return(m, "a(uso)", 2, 7, "a", "/org/pmd1/process/7", 9, "b", "/org/pmd1/process/9");
}

/* Compares the definition with the one that the test sends. */
static int on_start_app(sd_bus *bus, sd_bus_message *m) {
        const char *script = "", *k1, *k2, *k3, *k4, *k5, *option, *token;
        _cleanup_strv_free_ char **args = NULL;
        const char *token_value;
        int autorestart, force;
        int64_t instances;
        size_t n;
        int r;

        r = sd_bus_message_enter_container(m, 'a', "{sv}");
        if (r >= 0)
                r = sd_bus_message_read(m, "{sv}", &k1, "s", &script);
        if (r >= 0 && !streq(script, "/bin/app"))
                return sd_bus_reply_method_errorf(m, PMD_ERROR_INVALID_DEFINITION, "script: '%s' is wrong", script);
        if (r >= 0)
                r = sd_bus_message_enter_container(m, 'e', "sv");
        if (r >= 0)
                r = sd_bus_message_read(m, "s", &k2);
        if (r >= 0)
                r = sd_bus_message_enter_container(m, 'v', "as");
        if (r >= 0)
                r = sd_bus_message_read_strv(m, &args);
        if (r >= 0)
                r = sd_bus_message_exit_container(m);
        if (r >= 0)
                r = sd_bus_message_exit_container(m);
        if (r >= 0)
                r = sd_bus_message_read(m, "{sv}{sv}{sv}", &k3, "b", &autorestart, &k4, "x", &instances, &k5, "as", 0);
        if (r >= 0)
                r = sd_bus_message_exit_container(m);
        if (r >= 0)
                r = sd_bus_message_read(m, "a{sv}", 2, &option, "b", &force, &token, "s", &token_value);
        n = strv_length(args);
        if (r < 0 || !streq(k1, "script") || !streq(k2, "args") || n != 2 || !streq(args[0], "a") || !streq(args[1], "b c") ||
            !streq(k3, "autorestart") || !autorestart || !streq(k4, "instances") || instances != INT64_MIN || !streq(k5, "env") ||
            !streq(option, "force") || !force || !streq(token, "token") || strlen(token_value) != 32)
                return sd_bus_reply_method_errorf(m, PMD_ERROR_INVALID_DEFINITION, "The definition was not sent as it was set.");

        must(emit_job_removed(bus, 3, "done", 0));
        return sd_bus_reply_method_return(m, "uoau", 3, "/org/pmd1/app/app", 2, 11, 12);
}

static int append_row(sd_bus_message *m, uint32_t id) {
        int r;

        r = sd_bus_message_open_container(m, 'r', PMD_LIST_ROW_SIGNATURE);
        if (r < 0)
                return r;
        r = sd_bus_message_append(m, "ussususttuu(iis)ttdtsbssss",
                                  id, "name", "space", 1, "online", 1000 + id, "fork_mode",
                                  UINT64_C(1700000000000000), UINT64_C(1600000000000000), 2, 3,
                                  -1, 9, "signal", UINT64_MAX, UINT64_C(5000), 12.5, UINT64_C(4),
                                  "nobody", 1, "1.0.0", "a.scope", "/bin/app", "node");
        if (r < 0)
                return r;
        r = sd_bus_message_append(m, "asas", 1, "--trace", 2, "x", "y");
        if (r < 0)
                return r;
        r = sd_bus_message_append(m, "ssssssas", "/srv", "/o", "/e", "/p", "uid", "fine", 1, "careful");
        if (r < 0)
                return r;
        r = sd_bus_message_append(m, "a{sv}", 8,
                                  "script", "s", "app.js",
                                  "future", "a{sv}", 1, "k", "s", "v",
                                  "args", "as", 2, "x", "y",
                                  "autorestart", "b", 1,
                                  "max_restarts", "u", UINT32_MAX,
                                  "huge", "t", UINT64_MAX,
                                  "negative", "i", -5,
                                  "stop_exit_codes", "ai", 2, 0, -3);
        if (r < 0)
                return r;
        return sd_bus_message_close_container(m);
}

static int on_list(sd_bus_message *m, const char *target) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        uint32_t n = streq(target, "none") ? 0 : FAKE_N_PROCESSES;

        must(sd_bus_message_new_method_return(m, &reply));
        must(sd_bus_message_open_container(reply, 'a', "(" PMD_LIST_ROW_SIGNATURE ")"));
        for (uint32_t i = 0; i < n; i++)
                must(append_row(reply, i));
        must(sd_bus_message_close_container(reply));
        return sd_bus_message_send(reply);
}

#define TEXTS(...) ((char **) (const char *const[]) { __VA_ARGS__, NULL })

static void pack_definition(ListPacker *p) {
        list_pack_word(p, 5 + 1);
        list_pack_text(p, "script");
        list_pack_word(p, LIST_PACK_STRING);
        list_pack_text(p, "app.js");
        list_pack_text(p, "args");
        list_pack_word(p, LIST_PACK_STRV);
        list_pack_strv(p, TEXTS("x", "y"));
        list_pack_text(p, "autorestart");
        list_pack_word(p, LIST_PACK_BOOL);
        list_pack_word(p, 1);
        list_pack_text(p, "negative");
        list_pack_word(p, LIST_PACK_INT);
        list_pack_long(p, (uint64_t) -5);
        list_pack_text(p, "stop_exit_codes");
        list_pack_word(p, LIST_PACK_INTV);
        list_pack_word(p, 2);
        list_pack_long(p, 0);
        list_pack_long(p, (uint64_t) -3);
        p->head.n_attributes += 5;
        p->head.n_integers += 2;
}

/* Of four, two share a definition and the others an empty one; of two, the second has the environment of the first. */
static void pack_row(ListPacker *p, uint32_t id, bool with_environment) {
        list_pack_set_slot(p, 0);
        list_pack_word(p, id);
        list_pack_text(p, "name");
        list_pack_text(p, "space");
        list_pack_word(p, 1);
        list_pack_text(p, "online");
        list_pack_word(p, 1000 + id);
        list_pack_text(p, "fork_mode");
        list_pack_long(p, UINT64_C(1700000000000000));
        list_pack_long(p, UINT64_C(1600000000000000));
        list_pack_word(p, 2);
        list_pack_word(p, 3);
        list_pack_word(p, (uint32_t) -1);
        list_pack_word(p, 9);
        list_pack_text(p, "signal");
        list_pack_long(p, UINT64_MAX);
        list_pack_long(p, 5000);
        list_pack_double(p, 12.5);
        list_pack_long(p, 4);
        list_pack_text(p, "nobody");
        list_pack_word(p, 1);
        for (unsigned i = 0; i < 10; i++) {
                static const char *const texts[] = { "1.0.0", "a.scope", "/bin/app", "node", "/srv", "/o", "/e", "/p", "uid", "fine" };

                list_pack_text(p, texts[i]);
        }
        list_pack_strv(p, TEXTS("--trace"));
        list_pack_strv(p, TEXTS("x", "y"));
        list_pack_strv(p, TEXTS("careful"));

        if (id % 4 == 0)
                pack_definition(p);
        else
                list_pack_word(p, id % 4 == 2); /* that of the row before, or an empty one */
        if (with_environment) {
                list_pack_word(p, id % 2 == 0);
                if (id % 2 == 0)
                        list_pack_strv(p, TEXTS("A=1", "B=2"));
        }
        p->head.n_rows++;
}

/* As a pmd that does not know the method, unless the first target says otherwise. */
static int on_list_packed(sd_bus_message *m, const char *target) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        ListPacker p = LIST_PACKER_INIT;
        const uint32_t *words;
        int with_environment;
        size_t n;

        if (!startswith(target, "packed"))
                return sd_bus_reply_method_errorf(m, SD_BUS_ERROR_UNKNOWN_METHOD, "Unknown method ListPacked.");
        must(sd_bus_message_read(m, "b", &with_environment));

        for (uint32_t i = 0; i < FAKE_N_PROCESSES; i++)
                pack_row(&p, i, with_environment);
        if (streq(target, "packed-newer"))
                p.head.version++;
        if (streq(target, "packed-pointers"))
                p.head.n_pointers--;
        if (streq(target, "packed-attributes"))
                p.head.n_attributes--;
        if (streq(target, "packed-integers"))
                p.head.n_integers--;
        if (streq(target, "packed-rows"))
                p.head.n_rows--;
        words = list_pack_finish(&p, &n);
        if (streq(target, "packed-cut"))
                n--;

        must(sd_bus_message_new_method_return(m, &reply));
        must(sd_bus_message_append_array(reply, 'y', p.text, streq(target, "packed-text") ? 0 : p.size));
        must(sd_bus_message_append_array(reply, 'u', words, n * sizeof *words));
        list_packer_done(&p);
        return sd_bus_message_send(reply);
}

/* The even ones share an environment, the odd ones have an empty one; the last is gone. */
static int on_environments(sd_bus_message *m) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        uint32_t even[FAKE_N_PROCESSES / 2], odd[FAKE_N_PROCESSES / 2 - 1];

        for (uint32_t i = 0; i < ELEMENTSOF(even); i++)
                even[i] = 2 * i;
        for (uint32_t i = 0; i < ELEMENTSOF(odd); i++)
                odd[i] = 2 * i + 1;

        must(sd_bus_message_new_method_return(m, &reply));
        must(sd_bus_message_open_container(reply, 'a', "(auas)"));
        must(sd_bus_message_open_container(reply, 'r', "auas"));
        must(sd_bus_message_append_array(reply, 'u', even, sizeof(even)));
        must(sd_bus_message_append(reply, "as", 2, "A=1", "B=2"));
        must(sd_bus_message_close_container(reply));
        must(sd_bus_message_open_container(reply, 'r', "auas"));
        must(sd_bus_message_append_array(reply, 'u', odd, sizeof(odd)));
        must(sd_bus_message_append(reply, "as", 0));
        must(sd_bus_message_close_container(reply));
        must(sd_bus_message_close_container(reply));
        return sd_bus_message_send(reply);
}

static int on_signal_request(sd_bus_message *m) {
        const char *whom;
        int signo;

        must(sd_bus_message_read(m, "si", &whom, &signo));
        return sd_bus_reply_method_return(m, "au", 2, (uint32_t) signo, (uint32_t) streq(whom, "all"));
}

static int on_get(sd_bus_message *m) {
        const char *interface, *name;

        must(sd_bus_message_read(m, "ss", &interface, &name));
        if (streq(name, "PID"))
                return sd_bus_reply_method_return(m, "v", "u", (uint32_t) getpid());
        return sd_bus_reply_method_return(m, "v", "s", "1.2.3");
}

static int on_message(sd_bus_message *m, void *userdata, sd_bus_error *reterr_unused) {
        _cleanup_strv_free_ char **targets = NULL;
        const char *member = sd_bus_message_get_member(m), *target;
        sd_bus *bus = sd_bus_message_get_bus(m);

        if (sd_bus_message_is_method_call(m, "org.freedesktop.DBus.Properties", "Get"))
                return on_get(m);
        if (!sd_bus_message_is_method_call(m, PMD_INTERFACE_MANAGER, NULL))
                return 0;

        if (streq(member, "Ping"))
                return sd_bus_reply_method_return(m, "s", "pong");
        if (streq(member, "ReopenLogs"))
                return sd_bus_reply_method_return(m, NULL);
        if (streq(member, "StartApp"))
                return on_start_app(bus, m);
        if (streq(member, "GetEnvironments"))
                return on_environments(m);
        if (streq(member, "Exit")) {
                must(sd_bus_reply_method_return(m, NULL));
                leave(bus);
        }

        must(sd_bus_message_read_strv(m, &targets));
        target = strv_isempty(targets) ? "" : targets[0];
        if (streq(member, "ListProcesses"))
                return on_list(m, target);
        if (streq(member, "ListPacked"))
                return on_list_packed(m, target);
        if (streq(member, "ResolveTargets"))
                return on_resolve(m, target);
        if (streq(member, "SendSignal"))
                return on_signal_request(m);
        if (streq(member, "Reset"))
                return sd_bus_reply_method_return(m, "au", 0);
        return on_verb(bus, m, target);
}

static int on_connection(sd_event_source *s, int fd, uint32_t revents, void *userdata) {
        sd_bus *bus = NULL;
        sd_id128_t id;
        int client;

        client = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (client < 0)
                return 0;
        must(sd_id128_randomize(&id));
        must(sd_bus_new(&bus)); /* lives as long as the process */
        must(sd_bus_set_fd(bus, client, client));
        must(sd_bus_set_server(bus, true, id));
        if (sd_bus_start(bus) < 0)
                return 0; /* gone already */
        must(sd_bus_add_filter(bus, NULL, on_message, NULL));
        must(sd_bus_attach_event(bus, sd_event_source_get_event(s), 0));
        return 0;
}

static int listen_at(const char *home) {
        _cleanup_free_ char *dir = strjoin(home, "/run"), *path = NULL;
        struct sockaddr_un sa = { .sun_family = AF_UNIX };
        int fd, dir_fd;

        must(mkdir_p(dir, 0755));
        dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
        path = strprintf("/proc/self/fd/%i/pmd.sock", dir_fd); /* tests have long paths */
        strcpy(sa.sun_path, path);
        (void) unlink(path);

        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0 || bind(fd, (struct sockaddr *) &sa, sizeof(sa)) < 0 || listen(fd, 100) < 0)
                must(-errno);
        close(dir_fd);
        return fd;
}

_noreturn_ static void serve_socket(int fd) {
        sd_event *event = NULL;

        must(sd_event_new(&event));
        must(sd_event_add_io(event, NULL, fd, EPOLLIN, on_connection, NULL));
        (void) sd_notify(false, "STATUS=serving\nREADY=1");
        must(sd_event_loop(event));
        _exit(0);
}

_noreturn_ static void serve_broker(void) {
        sd_event *event = NULL;
        sd_bus *bus = NULL;

        must(sd_event_new(&event));
        must(sd_bus_open_user(&bus));
        must(sd_bus_add_filter(bus, NULL, on_message, NULL));
        must(sd_bus_request_name(bus, PMD_BUS_NAME, 0));
        must(sd_bus_attach_event(bus, event, 0));
        must(sd_event_loop(event));
        _exit(0);
}

pid_t fake_pmd_fork(const char *home) {
        int ready[2];
        char byte;
        pid_t pid;

        must(pipe2(ready, O_CLOEXEC) < 0 ? -errno : 0);
        pid = fork();
        must(pid < 0 ? -errno : 0);
        if (pid == 0) {
                int fd;

                (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
                fd = listen_at(home); /* here and not in the parent, as the kernel names who called listen() */
                close(ready[1]);
                serve_socket(fd);
        }
        close(ready[1]);
        (void) !read(ready[0], &byte, 1);
        close(ready[0]);
        return pid;
}

void fake_pmd_main(int argc, char **argv) {
        const char *home;

        if (argc < 2)
                return;
        if (streq(argv[1], "--broker"))
                serve_broker();
        home = startswith(argv[1], "--private=");
        if (home)
                serve_socket(listen_at(home));
        _exit(2); /* and not run the tests, which would launch us again */
}
