/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <systemd/sd-bus.h>

#include "fake-pmd.h"
#include "libpmd/pmd.h"
#include "shared/fd-util.h"
#include "shared/strv.h"
#include "shared/time-util.h"
#include "test.h"
#include "tree.h"

#define N_CLIENTS 20U

#define STRV(...) ((char **) (const char *const[]) { __VA_ARGS__, NULL })

/* The program launches itself as the fake. */
__attribute__((constructor)) static void become_fake(int argc, char **argv, char **envp) {
        fake_pmd_main(argc, argv);
}

static void closep_connection(pmd_connection **c) {
        pmd_close(*c);
}

#define _cleanup_tree_ _cleanup_(tree_remove)
#define _cleanup_connection_ _cleanup_(closep_connection)
#define _cleanup_error_ _cleanup_(pmd_error_free)
#define _cleanup_result_ _cleanup_(pmd_result_free)

static const char *self_path(void) {
        static char path[PATH_MAX];
        ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);

        if (n < 0)
                abort();
        path[n] = 0;
        return path;
}

static void end_child(pid_t *pid) {
        if (*pid <= 0)
                return;
        (void) kill(*pid, SIGKILL);
        (void) waitpid(*pid, NULL, 0);
}

typedef struct Fixture {
        char *home;
        pid_t pid;
        pmd_connection *connection;
} Fixture;

static void fixture_done(Fixture *f) {
        pmd_close(f->connection);
        end_child(&f->pid);
        tree_remove(&f->home);
}

static Fixture fixture_new(void) {
        Fixture f = { .home = tree_new() };
        pmd_error e = {};
        int r;

        f.pid = fake_pmd_fork(f.home);
        r = pmd_open(PMD_SCOPE_PRIVATE, f.home, PMD_OPEN_NO_START, &f.connection, &e);
        if (r < 0) {
                printf("# %s\n", strna(e.message));
                abort();
        }
        return f;
}

#define _cleanup_fixture_ _cleanup_(fixture_done)

TEST(simple_calls) {
        _cleanup_fixture_ Fixture f = fixture_new();
        _cleanup_free_ char *version = NULL;
        _cleanup_free_ uint32_t *ids = NULL, *none = NULL;
        size_t n, n_none;

        ASSERT_OK(pmd_ping(f.connection, NULL));
        ASSERT_OK(pmd_reopen_logs(f.connection, NULL));
        ASSERT_OK(pmd_get_version(f.connection, &version, NULL));
        ASSERT_STREQ(version, "1.2.3");
        ASSERT_EQ(pmd_get_scope(f.connection), PMD_SCOPE_PRIVATE);
        ASSERT_STREQ(pmd_get_home(f.connection), f.home);
        ASSERT_TRUE(!pmd_was_started(f.connection));

        ASSERT_OK(pmd_send_signal(f.connection, STRV("a"), true, SIGUSR2, &ids, &n, NULL));
        ASSERT_EQ(n, 2);
        ASSERT_EQ(ids[0], SIGUSR2);
        ASSERT_EQ(ids[1], 1);

        ASSERT_OK(pmd_reset(f.connection, STRV("a"), &none, &n_none, NULL));
        ASSERT_EQ(n_none, 0);
}

static const pmd_attribute *attribute(const pmd_process *p, const char *key) {
        for (size_t i = 0; i < p->n_attributes; i++)
                if (streq(p->attributes[i].key, key))
                        return p->attributes + i;
        return NULL;
}

static void check_fields(const pmd_process *q, uint32_t id) {
        ASSERT_EQ(q->id, id);
        ASSERT_STREQ(q->name, "name");
        ASSERT_STREQ(q->name_space, "space");
        ASSERT_EQ(q->instance, 1);
        ASSERT_STREQ(q->status, "online");
        ASSERT_EQ(q->pid, 1000 + id);
        ASSERT_STREQ(q->exec_mode, "fork_mode");
        ASSERT_EQ(q->start_usec, 1700000000000000);
        ASSERT_EQ(q->created_usec, 1600000000000000);
        ASSERT_EQ(q->n_restarts, 2);
        ASSERT_EQ(q->unstable_restarts, 3);
        ASSERT_EQ(q->exit_code, -1);
        ASSERT_EQ(q->exit_signal, 9);
        ASSERT_STREQ(q->exit_reason, "signal");
        ASSERT_TRUE(q->memory == UINT64_MAX);
        ASSERT_EQ(q->cpu_nsec, 5000);
        ASSERT_TRUE(q->cpu_percent == 12.5);
        ASSERT_EQ(q->tasks, 4);
        ASSERT_STREQ(q->user, "nobody");
        ASSERT_TRUE(q->watching);
        ASSERT_STREQ(q->version, "1.0.0");
        ASSERT_STREQ(q->unit, "a.scope");
        ASSERT_STREQ(q->executable, "/bin/app");
        ASSERT_STREQ(q->interpreter, "node");
        ASSERT_TRUE(strv_equal(q->interpreter_args, STRV("--trace")));
        ASSERT_TRUE(strv_equal(q->args, STRV("x", "y")));
        ASSERT_STREQ(q->cwd, "/srv");
        ASSERT_STREQ(q->out_log_path, "/o");
        ASSERT_STREQ(q->error_log_path, "/e");
        ASSERT_STREQ(q->pid_file, "/p");
        ASSERT_STREQ(q->unique_id, "uid");
        ASSERT_STREQ(q->status_text, "fine");
        ASSERT_TRUE(strv_equal(q->notes, STRV("careful")));
}

static void check_common_attributes(const pmd_process *q) {
        const pmd_attribute *a;

        a = attribute(q, "script");
        ASSERT_TRUE(a && a->type == PMD_ATTRIBUTE_STRING && streq(a->string, "app.js"));
        a = attribute(q, "args");
        ASSERT_TRUE(a && a->type == PMD_ATTRIBUTE_STRV && strv_equal(a->strv, STRV("x", "y")));
        a = attribute(q, "autorestart");
        ASSERT_TRUE(a && a->type == PMD_ATTRIBUTE_BOOL && a->integer == 1);
        a = attribute(q, "negative");
        ASSERT_TRUE(a && a->type == PMD_ATTRIBUTE_INT && a->integer == -5);
        a = attribute(q, "stop_exit_codes");
        ASSERT_TRUE(a && a->type == PMD_ATTRIBUTE_INTV && a->n_integers == 2);
        ASSERT_EQ(a->integers[0], 0);
        ASSERT_EQ(a->integers[1], -3);
}

TEST(list) {
        _cleanup_fixture_ Fixture f = fixture_new();
        const pmd_attribute *a;
        const pmd_process *q;
        pmd_process *p;
        size_t n;

        ASSERT_OK(pmd_list(f.connection, NULL, 0, &p, &n, NULL));
        ASSERT_EQ(n, FAKE_N_PROCESSES);
        q = p + 17;
        check_fields(q, 17);
        ASSERT_TRUE(!q->environment);

        ASSERT_EQ(q->n_attributes, 7);
        check_common_attributes(q);
        a = attribute(q, "max_restarts");
        ASSERT_TRUE(a && a->type == PMD_ATTRIBUTE_INT && a->integer == UINT32_MAX);
        a = attribute(q, "huge");
        ASSERT_TRUE(a && a->type == PMD_ATTRIBUTE_INT && a->integer == INT64_MAX);
        pmd_process_free_many(p, n);

        ASSERT_OK(pmd_list(f.connection, STRV("none"), PMD_LIST_ENVIRONMENT, &p, &n, NULL));
        ASSERT_EQ(n, 0);
        pmd_process_free_many(p, n);
}

TEST(list_packed) {
        _cleanup_fixture_ Fixture f = fixture_new();
        pmd_process *p;
        size_t n;

        ASSERT_OK(pmd_list(f.connection, STRV("packed"), 0, &p, &n, NULL));
        ASSERT_EQ(n, FAKE_N_PROCESSES);
        for (uint32_t i = 0; i < n; i++) {
                check_fields(p + i, i);
                ASSERT_TRUE(!p[i].environment);
                ASSERT_EQ(p[i].n_attributes, i % 4 < 2 ? 5 : 0);
        }
        ASSERT_TRUE(p[1].attributes == p[0].attributes); /* what is the same is there once */
        check_common_attributes(p);
        pmd_process_free_many(p, n);

        ASSERT_OK(pmd_list(f.connection, STRV("packed"), PMD_LIST_ENVIRONMENT, &p, &n, NULL));
        ASSERT_TRUE(strv_equal(p[8].environment, STRV("A=1", "B=2")));
        ASSERT_TRUE(p[9].environment == p[8].environment);
        check_fields(p + 9, 9);
        pmd_process_free_many(p, n);
}

TEST(list_packed_otherwise) {
        static const char *const wrong[] = { "packed-pointers", "packed-attributes", "packed-integers", "packed-rows", "packed-cut", "packed-text" };
        _cleanup_fixture_ Fixture f = fixture_new();
        _cleanup_(pmd_error_free) pmd_error e = {};
        pmd_process *p;
        size_t n;

        for (size_t i = 0; i < ELEMENTSOF(wrong); i++)
                ASSERT_EQ(pmd_list(f.connection, STRV(wrong[i]), 0, &p, &n, &e), -EBADMSG);

        /* What it does not know it asks for in the way that it does. */
        ASSERT_OK(pmd_list(f.connection, STRV("packed-newer"), PMD_LIST_ENVIRONMENT, &p, &n, &e));
        ASSERT_EQ(n, FAKE_N_PROCESSES);
        ASSERT_EQ(p[17].n_attributes, 7);
        ASSERT_TRUE(!p[n - 1].environment);
        pmd_process_free_many(p, n);
}

TEST(list_with_environments) {
        _cleanup_fixture_ Fixture f = fixture_new();
        pmd_process *p;
        size_t n;

        ASSERT_OK(pmd_list(f.connection, NULL, PMD_LIST_ENVIRONMENT, &p, &n, NULL));
        ASSERT_EQ(n, FAKE_N_PROCESSES);
        ASSERT_TRUE(strv_equal(p[0].environment, STRV("A=1", "B=2")));
        ASSERT_TRUE(strv_equal(p[n - 2].environment, STRV("A=1", "B=2")));
        ASSERT_TRUE(p[0].environment == p[n - 2].environment); /* what is the same is there once */
        ASSERT_TRUE(p[1].environment && strv_isempty(p[1].environment));
        ASSERT_TRUE(!p[n - 1].environment);
        pmd_process_free_many(p, n);
}

static void definition_freep(pmd_definition **d) {
        pmd_definition_free(*d);
}

static pmd_definition *definition_new(void) {
        pmd_definition *d;

        if (pmd_definition_new(&d) < 0 ||
            pmd_definition_set_string(d, "script", "/bin/other") < 0 ||
            pmd_definition_set_strv(d, "args", STRV("a", "b c")) < 0 ||
            pmd_definition_set_bool(d, "autorestart", true) < 0 ||
            pmd_definition_set_int(d, "instances", INT64_MIN) < 0 ||
            pmd_definition_set_strv(d, "env", NULL) < 0)
                abort();
        return d;
}

TEST(start_app) {
        _cleanup_fixture_ Fixture f = fixture_new();
        _cleanup_(definition_freep) pmd_definition *d = definition_new();
        _cleanup_error_ pmd_error e = {};
        _cleanup_result_ pmd_result result = {};

        ASSERT_EQ(pmd_start_app(f.connection, d, true, &result, &e), -EINVAL);
        ASSERT_STREQ(e.name, "org.pmd1.Error.InvalidDefinition");
        ASSERT_STREQ(e.message, "script: '/bin/other' is wrong");
        ASSERT_EQ(result.n_processes, 0);

        ASSERT_OK(pmd_definition_set_string(d, "script", "/bin/app")); /* replaces, in its place */
        ASSERT_EQ(pmd_start_app(f.connection, d, true, &result, NULL), 0);
        ASSERT_EQ(result.n_processes, 2);
        ASSERT_EQ(result.process_ids[0], 11);
        ASSERT_EQ(result.process_ids[1], 12);
        ASSERT_EQ(result.n_failures, 0);
}

TEST(definition_must_be_utf8) {
        _cleanup_fixture_ Fixture f = fixture_new();
        _cleanup_(definition_freep) pmd_definition *d = definition_new();
        _cleanup_error_ pmd_error e = {};

        ASSERT_OK(pmd_definition_set_strv(d, "env", STRV("A=1", "B=\xff")));
        ASSERT_EQ(pmd_start_app(f.connection, d, false, NULL, &e), -EINVAL);
        ASSERT_STREQ(e.message, "env: 'B=\\xff' is not valid UTF-8.");
        ASSERT_OK(pmd_ping(f.connection, NULL));
}

TEST(job_ends_before_the_answer) {
        _cleanup_fixture_ Fixture f = fixture_new();
        _cleanup_result_ pmd_result result = {};

        ASSERT_EQ(pmd_request(f.connection, PMD_START, STRV("early"), &result, NULL), 0);
        ASSERT_EQ(result.n_processes, 2);
        ASSERT_EQ(result.process_ids[0], 7);
        ASSERT_EQ(result.process_ids[1], 9);
}

TEST(jobs_end_after_the_answer) {
        _cleanup_fixture_ Fixture f = fixture_new();
        _cleanup_result_ pmd_result result = {};
        _cleanup_error_ pmd_error e = {};

        ASSERT_EQ(pmd_request(f.connection, PMD_RESTART, STRV("late"), &result, &e), -EREMOTEIO);
        ASSERT_TRUE(!e.name);
        ASSERT_EQ(result.n_failures, 1);
        ASSERT_EQ(result.failures[0].process_id, 9);
        ASSERT_STREQ(result.failures[0].error_name, "org.pmd1.Error.ExecFailed");
        ASSERT_STREQ(result.failures[0].message, "cannot execute");
        ASSERT_EQ(result.n_processes, 2);
        ASSERT_TRUE(!result.canceled);
}

TEST(job_is_canceled) {
        _cleanup_fixture_ Fixture f = fixture_new();
        _cleanup_result_ pmd_result result = {};

        ASSERT_EQ(pmd_request(f.connection, PMD_STOP, STRV("canceled"), &result, NULL), -EREMOTEIO);
        ASSERT_TRUE(result.canceled);
        ASSERT_EQ(result.n_failures, 0);
}

TEST(request_without_jobs) {
        _cleanup_fixture_ Fixture f = fixture_new();

        ASSERT_EQ(pmd_request(f.connection, PMD_STOP, STRV("nothing"), NULL, NULL), 0);
}

TEST(errors) {
        static const struct {
                const char *target, *name;
                int error;
        } cases[] = {
                { "missing", "org.pmd1.Error.NoSuchProcess", ESRCH },
                { "strange", "com.example.Strange", EIO },
                { "garbage", SD_BUS_ERROR_INCONSISTENT_MESSAGE, EBADMSG },
        };
        _cleanup_fixture_ Fixture f = fixture_new();
        _cleanup_result_ pmd_result result = {};

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_error_ pmd_error e = {};

                ASSERT_EQ(pmd_request(f.connection, PMD_DELETE, STRV(cases[i].target), &result, &e), -cases[i].error);
                ASSERT_STREQ(e.name, cases[i].name);
                ASSERT_TRUE(!isempty(e.message));
                ASSERT_EQ(result.n_processes, 0);
        }
        ASSERT_EQ(pmd_request(f.connection, (pmd_verb) 77, STRV("x"), NULL, NULL), -EINVAL);
        ASSERT_OK(pmd_ping(f.connection, NULL));
}

TEST(pmd_dies) {
        static const char *const targets[] = { "die", "die-late" };

        for (size_t i = 0; i < ELEMENTSOF(targets); i++) {
                _cleanup_fixture_ Fixture f = fixture_new();
                _cleanup_error_ pmd_error e = {};

                ASSERT_EQ(pmd_request(f.connection, PMD_START, STRV(targets[i]), NULL, &e), -ECONNRESET);
                ASSERT_STREQ(e.name, SD_BUS_ERROR_DISCONNECTED);
                ASSERT_EQ(pmd_ping(f.connection, NULL), -ECONNRESET);
                ASSERT_EQ(pmd_request(f.connection, PMD_START, STRV("early"), NULL, NULL), -ECONNRESET);
        }
}

TEST(pmd_does_not_answer) {
        _cleanup_fixture_ Fixture f = fixture_new();
        _cleanup_error_ pmd_error e = {};
        pmd_process *p;
        size_t n;

        pmd_set_timeout(f.connection, 20 * USEC_PER_MSEC);
        ASSERT_EQ(pmd_request(f.connection, PMD_START, STRV("mute"), NULL, &e), -ETIMEDOUT);
        ASSERT_STREQ(e.name, SD_BUS_ERROR_TIMEOUT);

        ASSERT_OK(kill(f.pid, SIGSTOP));
        ASSERT_EQ(pmd_list(f.connection, NULL, 0, &p, &n, NULL), -ETIMEDOUT);
        ASSERT_OK(kill(f.pid, SIGCONT));
        pmd_set_timeout(f.connection, 0);
        ASSERT_OK(pmd_ping(f.connection, NULL));
}

typedef struct Outcome {
        unsigned n_calls;
        int r;
        size_t n_processes;
        char *error_name;
        bool close;
} Outcome;

static void on_done(pmd_connection *c, int r, const pmd_result *result, const pmd_error *error, void *userdata) {
        Outcome *o = userdata;

        o->n_calls++;
        o->r = r;
        o->n_processes = result->n_processes;
        o->error_name = error ? strdup(error->name) : NULL;
        if (o->close)
                pmd_close(c);
        else
                (void) pmd_ping(c, NULL); /* calls are allowed in here */
}

static void outcome_done(Outcome *o) {
        free(o->error_name);
}

static int run_until_called(pmd_connection *c, const Outcome *o) {
        while (o->n_calls == 0) {
                int r = pmd_dispatch(c);

                if (r == 0)
                        r = pmd_wait(c, UINT64_MAX);
                if (r < 0)
                        return r;
        }
        return 0;
}

TEST(async_requests_interleave) {
        _cleanup_fixture_ Fixture f = fixture_new();
        _cleanup_(outcome_done) Outcome held = {}, missing = {}, releaser = {};
        uint64_t usec;

        ASSERT_OK(pmd_request_async(f.connection, PMD_START, STRV("hold"), on_done, &held));
        ASSERT_OK(pmd_request_async(f.connection, PMD_START, STRV("missing"), on_done, &missing));
        ASSERT_OK(run_until_called(f.connection, &missing));
        ASSERT_EQ(missing.r, -ESRCH);
        ASSERT_STREQ(missing.error_name, "org.pmd1.Error.NoSuchProcess");
        ASSERT_EQ(held.n_calls, 0);

        /* One that waits sees the other's job end, and leaves the telling to pmd_dispatch(). */
        ASSERT_EQ(pmd_request(f.connection, PMD_START, STRV("release"), NULL, NULL), 0);
        ASSERT_EQ(held.n_calls, 0);
        ASSERT_TRUE(pmd_get_timeout(f.connection, &usec) > 0 && usec == 0);
        ASSERT_EQ(pmd_wait(f.connection, UINT64_MAX), 1);
        ASSERT_OK(run_until_called(f.connection, &held));
        ASSERT_EQ(held.r, 0);
        ASSERT_EQ(held.n_processes, 2);
        ASSERT_TRUE(!held.error_name);

        ASSERT_OK(pmd_request_async(f.connection, PMD_START, STRV("release"), on_done, &releaser));
        ASSERT_OK(run_until_called(f.connection, &releaser));
        ASSERT_EQ(held.n_calls, 1);
}

TEST(async_connection_breaks) {
        _cleanup_fixture_ Fixture f = fixture_new();
        _cleanup_(outcome_done) Outcome held = {}, dead = {};

        ASSERT_OK(pmd_request_async(f.connection, PMD_START, STRV("hold"), on_done, &held));
        ASSERT_OK(pmd_request_async(f.connection, PMD_START, STRV("die"), on_done, &dead));
        ASSERT_OK(run_until_called(f.connection, &dead));
        ASSERT_OK(run_until_called(f.connection, &held));
        ASSERT_EQ(dead.r, -ECONNRESET);
        ASSERT_EQ(held.r, -ECONNRESET);
        ASSERT_TRUE(pmd_dispatch(f.connection) < 0);
}

TEST(close_in_done) {
        _cleanup_fixture_ Fixture f = fixture_new();
        _cleanup_(outcome_done) Outcome closer = { .close = true }, never = {};
        pmd_connection *c = TAKE_PTR(f.connection);

        ASSERT_OK(pmd_request_async(c, PMD_START, STRV("hold"), on_done, &never));
        ASSERT_OK(pmd_request_async(c, PMD_START, STRV("early"), on_done, &closer));
        ASSERT_OK(run_until_called(c, &closer));
        ASSERT_EQ(closer.r, 0);
        ASSERT_EQ(never.n_calls, 0);
}

TEST(exit_waits_for_the_process) {
        _cleanup_fixture_ Fixture f = fixture_new();
        siginfo_t si = {};

        ASSERT_EQ(pmd_exit(f.connection, NULL), 0);
        ASSERT_OK(waitid(P_PID, (id_t) f.pid, &si, WEXITED | WNOHANG | WNOWAIT));
        ASSERT_EQ(si.si_pid, f.pid);
}

/* ---- opening ---- */

TEST(nobody_there) {
        _cleanup_tree_ char *dir = tree_new();
        _cleanup_free_ char *home = strjoin(dir, "/home");
        _cleanup_error_ pmd_error e = {};
        pmd_connection *c;

        ASSERT_EQ(pmd_open(PMD_SCOPE_PRIVATE, home, PMD_OPEN_NO_START, &c, &e), -ECONNREFUSED);
        ASSERT_TRUE(strstr(e.message, "pmctl ping"));
        ASSERT_TRUE(access(home, F_OK) < 0);
}

TEST(stale_socket) {
        Fixture f = fixture_new();
        _cleanup_free_ char *socket = strjoin(f.home, "/run/pmd.sock");
        pmd_connection *c;
        int r;

        end_child(&f.pid);
        f.pid = 0;
        r = pmd_open(PMD_SCOPE_PRIVATE, f.home, PMD_OPEN_NO_START, &c, NULL);
        ASSERT_OK(access(socket, F_OK));
        ASSERT_EQ(r, -ECONNREFUSED);
        fixture_done(&f);
}

TEST(long_path) {
        _cleanup_tree_ char *dir = tree_new();
        _cleanup_free_ char *home = strprintf("%s/%0120d", dir, 0);
        _cleanup_(end_child) pid_t pid = fake_pmd_fork(home);
        _cleanup_connection_ pmd_connection *c = NULL;

        ASSERT_OK(pmd_open(PMD_SCOPE_AUTO, home, PMD_OPEN_NO_START, &c, NULL));
        ASSERT_OK(pmd_ping(c, NULL));
        ASSERT_EQ(pmd_get_scope(c), PMD_SCOPE_PRIVATE);
}

/* The result of pmd_open() in a process of another user. */
static int open_as(uid_t uid, const char *home) {
        pmd_connection *c = NULL;
        int status;
        pid_t pid;

        pid = fork();
        if (pid == 0) {
                int r = setresuid(uid, uid, uid) < 0 ? -errno : pmd_open(PMD_SCOPE_PRIVATE, home, 0, &c, NULL);

                _exit(-r);
        }
        return waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? -WEXITSTATUS(status) : -ECHILD;
}

TEST(pmd_of_another_user) {
        _cleanup_fixture_ Fixture f = fixture_new();
        _cleanup_free_ char *run = strjoin(f.home, "/run"), *socket = strjoin(run, "/pmd.sock");
        _cleanup_tree_ char *fake_home = tree_new();
        _cleanup_(end_child) pid_t pid = 0;
        int status;

        if (geteuid() != 0) {
                printf("# only root can be another user\n");
                return;
        }

        ASSERT_OK(chmod(f.home, 0700));
        ASSERT_EQ(open_as(65534, f.home), -EACCES);

        /* A directory that all can write to, with a socket somebody else has put there. */
        ASSERT_OK(chmod(fake_home, 0777));
        pid = fork();
        if (pid == 0) {
                (void) umask(0);
                if (setresuid(1, 1, 1) < 0)
                        _exit(1);
                (void) fake_pmd_fork(fake_home);
                pause();
        }
        for (;;) {
                _cleanup_connection_ pmd_connection *c = NULL;

                /* root may */
                if (pmd_open(PMD_SCOPE_PRIVATE, fake_home, PMD_OPEN_NO_START, &c, NULL) >= 0)
                        break;
                ASSERT_EQ(waitpid(pid, &status, WNOHANG), 0);
                usleep(1000);
        }
        ASSERT_EQ(open_as(65534, fake_home), -EACCES);
        ASSERT_EQ(open_as(1, fake_home), 0);
}

TEST(no_session) {
        _cleanup_error_ pmd_error e = {};
        _cleanup_free_ char *runtime = getenv("XDG_RUNTIME_DIR") ? strdup(getenv("XDG_RUNTIME_DIR")) : NULL;
        _cleanup_tree_ char *dir = tree_new();
        pmd_connection *c;

        unsetenv("DBUS_SESSION_BUS_ADDRESS");
        unsetenv("XDG_RUNTIME_DIR");
        ASSERT_EQ(pmd_open(PMD_SCOPE_USER, NULL, 0, &c, &e), -ENOMEDIUM);
        ASSERT_TRUE(strstr(e.message, "--system"));

        setenv("XDG_RUNTIME_DIR", dir, true);
        ASSERT_EQ(pmd_open(PMD_SCOPE_USER, NULL, 0, &c, &e), -ENOENT);
        ASSERT_TRUE(strstr(e.message, "PMD_HOME"));

        if (runtime)
                setenv("XDG_RUNTIME_DIR", runtime, true);
        else
                unsetenv("XDG_RUNTIME_DIR");
}

/* ---- launching ---- */

TEST(launch) {
        _cleanup_tree_ char *dir = tree_new();
        _cleanup_free_ char *home = strjoin(dir, "/a b/home");
        _cleanup_connection_ pmd_connection *c = NULL, *second = NULL;
        _cleanup_error_ pmd_error e = {};
        int r;

        setenv("PMD_DAEMON", self_path(), true);
        r = pmd_open(PMD_SCOPE_PRIVATE, home, 0, &c, &e);
        if (r < 0)
                printf("# %s\n", strna(e.message));
        ASSERT_OK(r);
        ASSERT_TRUE(pmd_was_started(c));
        ASSERT_OK(waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD ? 0 : -EBUSY); /* no child is left to reap */

        ASSERT_OK(pmd_open(PMD_SCOPE_PRIVATE, home, 0, &second, NULL));
        ASSERT_TRUE(!pmd_was_started(second));
        ASSERT_OK(pmd_exit(second, NULL));
}

static void launch_script(const char *home, const char *script, int expected, const char *expected_text) {
        _cleanup_free_ char *path = tree_write(home, "daemon", script, strlen(script), 0755);
        _cleanup_error_ pmd_error e = {};
        pmd_connection *c;
        int r;

        setenv("PMD_DAEMON", path, true);
        r = pmd_open(PMD_SCOPE_PRIVATE, home, 0, &c, &e);
        printf("# %s\n", strna(e.message));
        ASSERT_EQ(r, expected);
        ASSERT_TRUE(e.message && strstr(e.message, expected_text));
}

TEST(launch_fails) {
        _cleanup_tree_ char *home = tree_new();
        _cleanup_free_ char *missing = strjoin(home, "/nowhere");
        _cleanup_error_ pmd_error e = {};
        pmd_connection *c;

        launch_script(home, "#!/bin/sh\necho first; echo 'no luck\tat all' >&2; exit 3", -ECONNREFUSED, "no luck\\x09at all (");
        launch_script(home, "#!/bin/sh\nexit 3", -ECONNREFUSED, "status 3");
        launch_script(home, "#!/bin/sh\nkill -9 $$", -ECONNREFUSED, "signal 9");
        launch_script(home, "#!/nowhere/sh\n", -ENOENT, "Cannot execute");

        setenv("PMD_DAEMON", missing, true);
        ASSERT_EQ(pmd_open(PMD_SCOPE_PRIVATE, home, 0, &c, &e), -ENOENT);
        ASSERT_TRUE(strstr(e.message, "PMD_DAEMON"));
}

TEST(launch_environment) {
        _cleanup_tree_ char *home = tree_new();
        _cleanup_free_ char *path = strjoin(home, "/env"), *text = NULL;
        int leak;

        setenv("LC_TIME", "C", true);
        setenv("SECRET", "hunter2", true);
        (void) signal(SIGUSR1, SIG_IGN); /* which is inherited otherwise */
        ASSERT_OK(leak = open("/dev/null", O_RDONLY)); /* no O_CLOEXEC: pmd must not get it */
        launch_script(home,
                      "#!/bin/sh\n{ pwd; /usr/bin/env; ls -l /proc/$$/fd; grep SigIgn /proc/$$/status; } "
                      "> \"${1#--private=}/env\" 2>&1; exit 1",
                      -ECONNREFUSED, "status 1");
        close(leak);
        (void) signal(SIGUSR1, SIG_DFL);

        ASSERT_OK(read_full_file(path, &text, NULL));
        ASSERT_TRUE(strstr(text, "LC_TIME=C\n"));
        ASSERT_TRUE(strstr(text, "PATH="));
        ASSERT_TRUE(strstr(text, "NOTIFY_SOCKET=@"));
        ASSERT_TRUE(!strstr(text, "SECRET"));
        ASSERT_TRUE(!strstr(text, "PMD_DAEMON"));
        ASSERT_TRUE(startswith(text, "/\n")); /* the working directory */
        ASSERT_TRUE(strstr(text, "SigIgn:\t0000000000000000"));
        ASSERT_TRUE(strstr(text, "0 -> /dev/null"));
        ASSERT_TRUE(!strstr(strstr(text, "0 -> /dev/null") + STRLEN("0 -> /dev/null"), "-> /dev/null"));
        unsetenv("SECRET");
}

TEST(many_clients_launch_one_pmd) {
        _cleanup_tree_ char *dir = tree_new();
        _cleanup_free_ char *home = strjoin(dir, "/home");
        _cleanup_connection_ pmd_connection *c = NULL;
        _cleanup_close_pair_ int go[2] = EBADF_PAIR;
        unsigned n_started = 0, n_failed = 0;
        pid_t pids[N_CLIENTS];
        char byte;

        setenv("PMD_DAEMON", self_path(), true);
        ASSERT_OK(pipe2(go, O_CLOEXEC));

        for (size_t i = 0; i < N_CLIENTS; i++) {
                ASSERT_OK(pids[i] = fork());
                if (pids[i] == 0) {
                        safe_close(go[1]);
                        (void) !read(go[0], &byte, 1); /* all at once, when the pipe is closed */
                        if (pmd_open(PMD_SCOPE_PRIVATE, home, 0, &c, NULL) < 0 || pmd_ping(c, NULL) < 0)
                                _exit(2);
                        _exit(pmd_was_started(c));
                }
        }
        go[1] = safe_close(go[1]);

        for (size_t i = 0; i < N_CLIENTS; i++) {
                int status = -1;

                ASSERT_EQ(waitpid(pids[i], &status, 0), pids[i]);
                if (!WIFEXITED(status) || WEXITSTATUS(status) > 1)
                        n_failed++;
                else
                        n_started += (unsigned) WEXITSTATUS(status);
        }
        ASSERT_EQ(n_failed, 0);
        ASSERT_EQ(n_started, 1);

        ASSERT_OK(pmd_open(PMD_SCOPE_PRIVATE, home, PMD_OPEN_NO_START, &c, NULL));
        ASSERT_OK(pmd_exit(c, NULL));
}

/* ---- through a broker ---- */

typedef struct Broker {
        char *dir;
        pid_t pid;
} Broker;

static void broker_done(Broker *b) {
        end_child(&b->pid);
        if (b->dir)
                tree_remove(&b->dir);
}

/* A session bus that knows how to start the fake. False if this machine has no dbus-daemon. */
static bool broker_start(Broker *b, bool activatable) {
        _cleanup_free_ char *config = NULL, *service = NULL, *path = NULL, *argument = NULL, *address = NULL;
        _cleanup_close_pair_ int ready[2] = EBADF_PAIR;
        char byte;

        if (access("/usr/bin/dbus-daemon", X_OK) < 0) {
                printf("# no dbus-daemon here\n");
                return false;
        }

        b->dir = tree_new();
        address = strjoin("unix:path=", b->dir, "/bus");
        service = strprintf("[D-BUS Service]\nName=org.pmd1\nExec=%s --broker\n", self_path());
        config = strprintf("<busconfig><type>session</type><listen>%s</listen><auth>EXTERNAL</auth>"
                           "<servicedir>%s/services</servicedir>"
                           "<policy context=\"default\"><allow send_destination=\"*\"/><allow receive_sender=\"*\"/>"
                           "<allow own=\"*\"/></policy>"
                           "</busconfig>", address, b->dir);
        if (activatable)
                free(tree_write(b->dir, "services/org.pmd1.service", service, strlen(service), 0644));
        path = tree_write(b->dir, "bus.conf", config, strlen(config), 0644);
        argument = strjoin("--config-file=", path);

        setenv("DBUS_SESSION_BUS_ADDRESS", address, true);
        setenv("XDG_RUNTIME_DIR", b->dir, true);
        if (pipe2(ready, O_CLOEXEC) < 0)
                abort();
        b->pid = fork();
        if (b->pid == 0) {
                (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
                (void) dup2(ready[1], STDOUT_FILENO);
                (void) execv("/usr/bin/dbus-daemon",
                             STRV("dbus-daemon", argument, "--nofork", "--nopidfile", "--print-address=1"));
                _exit(127);
        }
        ready[1] = safe_close(ready[1]);
        if (read(ready[0], &byte, 1) != 1) /* it tells its address when it listens */
                abort();
        return true;
}

TEST(broker_does_not_know_pmd) {
        _cleanup_(broker_done) Broker b = {};
        _cleanup_error_ pmd_error e = {};
        pmd_connection *c;

        if (!broker_start(&b, false))
                return;
        ASSERT_EQ(pmd_open(PMD_SCOPE_USER, NULL, 0, &c, &e), -ECONNREFUSED);
        ASSERT_TRUE(strstr(e.message, "systemctl --user status pmd"));
}

TEST(broker_starts_pmd) {
        _cleanup_(broker_done) Broker b = {};
        _cleanup_connection_ pmd_connection *c = NULL, *second = NULL;
        _cleanup_result_ pmd_result result = {};
        _cleanup_error_ pmd_error e = {};
        int r;

        if (!broker_start(&b, true))
                return;

        ASSERT_EQ(pmd_open(PMD_SCOPE_USER, NULL, PMD_OPEN_NO_START, &c, &e), -ECONNREFUSED);
        ASSERT_TRUE(strstr(e.message, "systemctl --user start pmd"));

        r = pmd_open(PMD_SCOPE_USER, NULL, PMD_OPEN_INTERACTIVE, &c, &e);
        if (r < 0)
                printf("# %s\n", strna(e.message));
        ASSERT_OK(r);
        ASSERT_EQ(pmd_get_scope(c), PMD_SCOPE_USER);
        ASSERT_EQ(pmd_request(c, PMD_START, STRV("early"), NULL, NULL), 0);
        ASSERT_EQ(pmd_request(c, PMD_START, STRV("late"), &result, NULL), -EREMOTEIO);
        ASSERT_EQ(result.n_failures, 1);

        ASSERT_OK(pmd_open(PMD_SCOPE_USER, NULL, PMD_OPEN_NO_START, &second, NULL));
        ASSERT_OK(pmd_exit(second, NULL));
        ASSERT_EQ(pmd_ping(second, NULL), -ECONNREFUSED);
        ASSERT_OK(pmd_ping(c, NULL)); /* starts it again */
        ASSERT_OK(pmd_exit(c, NULL));
}

TEST(broker_pmd_dies) {
        _cleanup_(broker_done) Broker b = {};
        _cleanup_connection_ pmd_connection *c = NULL;
        _cleanup_error_ pmd_error e = {};

        if (!broker_start(&b, true))
                return;
        ASSERT_OK(pmd_open(PMD_SCOPE_USER, NULL, 0, &c, NULL));
        ASSERT_EQ(pmd_request(c, PMD_START, STRV("die-late"), NULL, &e), -ECONNRESET);
        ASSERT_EQ(pmd_request(c, PMD_START, STRV("early"), NULL, NULL), 0);
        ASSERT_TRUE(pmd_request(c, PMD_START, STRV("die"), NULL, NULL) < 0);
}

/* The broker passes on whatever is sent to a client by its name. */
TEST(broker_strangers_signals) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *stranger = NULL;
        _cleanup_(broker_done) Broker b = {};
        _cleanup_connection_ pmd_connection *c = NULL;
        _cleanup_(outcome_done) Outcome held = {};
        const char *name;

        if (!broker_start(&b, true))
                return;
        ASSERT_OK(pmd_open(PMD_SCOPE_USER, NULL, 0, &c, NULL));
        ASSERT_OK(pmd_request_async(c, PMD_START, STRV("hold"), on_done, &held));
        ASSERT_EQ(pmd_request(c, PMD_START, STRV("early"), NULL, NULL), 0); /* it has its answer as well */

        ASSERT_OK(sd_bus_get_unique_name(pmd_get_bus(c), &name));
        ASSERT_OK(sd_bus_open_user(&stranger));
        ASSERT_OK(sd_bus_message_new_signal(stranger, &m, "/org/pmd1", "org.pmd1.Manager", "JobRemoved"));
        ASSERT_OK(sd_bus_message_append(m, "s", "nonsense"));
        ASSERT_OK(sd_bus_message_set_destination(m, name));
        ASSERT_OK(sd_bus_send(stranger, m, NULL));
        ASSERT_OK(sd_bus_call_method(stranger, "org.freedesktop.DBus", "/", "org.freedesktop.DBus.Peer", "Ping", NULL, NULL, NULL));

        ASSERT_EQ(pmd_request(c, PMD_START, STRV("release"), NULL, NULL), 0);
        ASSERT_OK(run_until_called(c, &held));
        ASSERT_EQ(held.r, 0);
        ASSERT_OK(pmd_exit(c, NULL));
}
