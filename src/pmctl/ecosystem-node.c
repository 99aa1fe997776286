/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pmctl/ecosystem-internal.h"
#include "shared/fd-util.h"
#include "shared/path-util.h"
#include "shared/pidref.h"
#include "shared/signal-util.h"
#include "shared/string-util.h"

/* A file may print what it likes, so the result goes to a pipe of its own: "v" and the value as JSON (nothing if it
 * has none), or "e" and {error: text, line, column}. An expression comes on standard input. */
#define RESULT_FD 3 /* as in the evaluator */

static const char evaluator[] =
        "'use strict';\n"
        "const { spawnSync } = require('child_process');\n"
        "const fs = require('fs'), path = require('path'), types = require('util').types, url = require('url'), vm = require('vm');\n"
        "const [mode, file] = process.argv.slice(1), exit = process.exit, write = fs.writeFileSync, print = JSON.stringify;\n"
        "const absolute = path.resolve(file);\n"
        "\n"
        "// Rules of ignore_watch; JSON would make them empty objects.\n"
        "function writeRules(key, value) {\n"
        "        return types.isRegExp(value) ? `/${value.source}/` : value;\n"
        "}\n"
        "\n"
        "function send(kind, result) {\n"
        "        write(3, kind + (print(result, writeRules) ?? ''));\n"
        "        exit(0);\n"
        "}\n"
        "\n"
        "function findPlace(stack) {\n"
        "        const lines = stack.split('\\n').filter(l => !/^ +at .*(node:|\\[eval\\])/.test(l));\n"
        "        const place = /^(.*):(\\d+)$/.exec(lines[0]), arrow = lines.findIndex(l => /^ *\\^+ *$/.test(l));\n"
        "        if (!place || arrow < 0)\n"
        "                return { error: lines.join('\\n') };\n"
        "        const at = place[1].replace(/^file:\\/\\//, ''), line = Number(place[2]), column = lines[arrow].indexOf('^') + 1;\n"
        "        const error = lines.slice(arrow + 1).filter(l => l !== '' && !/^Node\\.js v/.test(l)).join('\\n');\n"
        "        if (at === file || at === absolute)\n"
        "                return { error, line, column };\n"
        "        return { error: `${at}:${line}:${column}: ${error}` };\n"
        "}\n"
        "\n"
        "function fail(e) {\n"
        "        let found = findPlace(types.isNativeError(e) && e.stack ? e.stack : String(e));\n"
        "        if (e instanceof SyntaxError && mode === 'module' && !found.line) {\n"
        "                // Of ES modules the error does not tell the place.\n"
        "                const check = spawnSync(process.execPath, ['--check', absolute], { encoding: 'utf8' });\n"
        "                if (check.status > 0)\n"
        "                        found = findPlace(check.stderr);\n"
        "        }\n"
        "        send('e', found);\n"
        "}\n"
        "\n"
        "async function load() {\n"
        "        if (mode === 'expression')\n"
        "                return vm.runInThisContext('(\\n' + fs.readFileSync(0, 'utf8') + '\\n)',\n"
        "                                           { filename: file, lineOffset: -1, timeout: 1000 });\n"
        "        if (!file.endsWith('.mjs'))\n"
        "                try {\n"
        "                        return require(absolute);\n"
        "                } catch (e) {\n"
        "                        if (!['ERR_REQUIRE_ESM', 'ERR_REQUIRE_ASYNC_MODULE'].includes(e?.code))\n"
        "                                throw e;\n"
        "                }\n"
        "        return import(url.pathToFileURL(absolute));\n"
        "}\n"
        "\n"
        "async function settle(v) {\n"
        "        for (let i = 0; i < 16; i++) {\n"
        "                v = await v;\n"
        "                if (v && v.default !== undefined && (v.__esModule || types.isModuleNamespaceObject(v)))\n"
        "                        v = v.default;\n"
        "                else if (typeof v === 'function')\n"
        "                        v = v();\n"
        "                else\n"
        "                        break;\n"
        "        }\n"
        "        return v;\n"
        "}\n"
        "\n"
        "async function run() {\n"
        "        let value = await load();\n"
        "        if (mode === 'module') {\n"
        "                value = await settle(value);\n"
        "                if (value && (typeof value.apps === 'function' || types.isPromise(value.apps)))\n"
        "                        value = { ...value, apps: await settle(value.apps) };\n"
        "        }\n"
        "        send('v', value);\n"
        "}\n"
        "\n"
        "run().catch(fail);\n";

typedef struct Evaluation {
        PidRef node;
        bool exited;
        siginfo_t status;
        int pipe;            /* read end, does not block */
        bool at_eof;
        char *result;
        size_t n_result, n_allocated;
} Evaluation;

static void evaluation_done(Evaluation *e) {
        if (pidref_is_set(&e->node) && !e->exited) {
                /* Its whole group, with whatever it started. The number cannot be another's as long as we have not waited for it. */
                (void) kill(-e->node.pid, SIGKILL);
                (void) waitid(P_PIDFD, (id_t) e->node.fd, &e->status, WEXITED);
        }
        pidref_done(&e->node);
        safe_close(e->pipe);
        free(e->result);
}

/* An fd that reads the text from its beginning, or /dev/null. */
static int open_input(const char *text, size_t size) {
        _cleanup_close_ int fd = -EBADF;
        int r;

        if (!text) {
                fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
                return fd < 0 ? -errno : TAKE_FD(fd);
        }

        fd = memfd_create("ecosystem", MFD_CLOEXEC);
        if (fd < 0)
                return -errno;
        r = write_all(fd, text, size);
        if (r < 0)
                return r;
        if (lseek(fd, 0, SEEK_SET) < 0)
                return -errno;
        return TAKE_FD(fd);
}

static _noreturn_ void exec_node(const char *node, char *const argv[], int input, int result, pid_t parent) {
        (void) setpgid(0, 0);
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
                _exit(127);

        /* What the file prints is not our output: a script may read that. */
        if (dup2(input, STDIN_FILENO) < 0 || dup2(STDERR_FILENO, STDOUT_FILENO) < 0)
                _exit(127);
        if (result == RESULT_FD ? fd_cloexec(result, false) < 0 : dup2(result, RESULT_FD) < 0)
                _exit(127);

        (void) execv(node, argv);
        _exit(127);
}

static int start_node(const char *node, const char *file, const char *text, size_t size, Evaluation *e) {
        const char *argv[] = { node, "-e", evaluator, "--", text ? "expression" : "module", file, NULL };
        _cleanup_close_pair_ int result[2] = EBADF_PAIR;
        _cleanup_close_ int input = -EBADF;
        pid_t parent = getpid(), pid;
        int r;

        input = open_input(text, size);
        if (input < 0)
                return input;
        if (pipe2(result, O_CLOEXEC) < 0)
                return -errno;
        r = fd_nonblock(result[0], true);
        if (r < 0)
                return r;

        pid = fork();
        if (pid < 0)
                return -errno;
        if (pid == 0)
                exec_node(node, (char *const *) argv, input, result[1], parent);

        /* The child does this too; whoever is later changes nothing. */
        (void) setpgid(pid, pid);

        r = pidref_open(&e->node, pid);
        if (r < 0) {
                (void) kill(-pid, SIGKILL);
                (void) waitpid(pid, NULL, 0);
                return r;
        }
        e->pipe = TAKE_FD(result[0]);
        return 0;
}

static int read_result(Evaluation *e) {
        while (!e->at_eof) {
                ssize_t n;

                if (e->n_result > ECOSYSTEM_SIZE_MAX)
                        return -E2BIG;
                if (!GREEDY_REALLOC(e->result, e->n_allocated, e->n_result + 4096))
                        return -ENOMEM;

                n = read(e->pipe, e->result + e->n_result, e->n_allocated - e->n_result - 1);
                if (n < 0 && errno == EAGAIN)
                        return 0;
                if (n < 0 && errno != EINTR)
                        return -errno;
                e->n_result += n > 0 ? (size_t) n : 0;
                e->at_eof = n == 0;
        }
        return 0;
}

/* Collects the result until the child has ended. */
static int wait_for_node(Evaluation *e, usec_t timeout) {
        usec_t deadline = usec_add(now(CLOCK_MONOTONIC), timeout);
        int r;

        while (!e->exited) {
                struct pollfd fds[] = {
                        { .fd = e->node.fd, .events = POLLIN },
                        { .fd = e->at_eof ? -1 : e->pipe, .events = POLLIN },
                };
                usec_t left = usec_sub(deadline, now(CLOCK_MONOTONIC));

                if (left == 0)
                        return -ETIME;
                if (poll(fds, ELEMENTSOF(fds), (int) MIN(left / USEC_PER_MSEC + 1, (usec_t) INT32_MAX)) < 0 && errno != EINTR)
                        return -errno;

                /* Ask for the end first: what it wrote before is in the pipe then. */
                r = pidref_wait(&e->node, &e->status);
                if (r < 0)
                        return r;
                e->exited = r > 0;

                r = read_result(e);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int fault_of_exit(const siginfo_t *status, char **reterr) {
        if (status->si_code != CLD_EXITED)
                return ecosystem_fault(reterr, -EINVAL, "node was killed by %s", strna(signal_to_string(status->si_status)));
        if (status->si_status == 127)
                return ecosystem_fault(reterr, -ENOEXEC, "node could not be executed");
        return ecosystem_fault(reterr, -EINVAL, "node ended with exit code %d before the file gave a result", status->si_status);
}

static int fault_of_file(json_object *error, char **reterr) {
        const char *text = json_object_get_string(json_object_object_get(error, "error"));
        int line = json_object_get_int(json_object_object_get(error, "line"));
        int column = json_object_get_int(json_object_object_get(error, "column"));

        if (line > 0)
                return ecosystem_fault(reterr, -EINVAL, "line %d, column %d: %s", line, column, strempty(text));
        return ecosystem_fault(reterr, -EINVAL, "%s", strempty(text));
}

static int take_result(const Evaluation *e, json_object **ret, char **reterr) {
        _cleanup_json_ json_object *value = NULL;
        size_t end;
        int r;

        if (e->n_result == 1)
                return ecosystem_fault(reterr, -EINVAL, "it gives nothing that JSON can express");

        r = ecosystem_parse_strict(e->result + 1, e->n_result - 1, JSON_TOKENER_STRICT, &value, &end, reterr);
        if (r < 0)
                return r;
        if (e->result[0] != 'v')
                return fault_of_file(value, reterr);

        *ret = TAKE_PTR(value);
        return 0;
}

int ecosystem_evaluate(const char *file, const char *text, size_t size, usec_t timeout, json_object **ret, char **reterr) {
        _cleanup_(evaluation_done) Evaluation e = { .node = PIDREF_NULL, .pipe = -EBADF };
        _cleanup_free_ char *node = NULL;
        int r;

        r = find_executable("node", getenv("PATH"), &node);
        if (IN_SET(r, -ENOENT, -EACCES))
                return ecosystem_fault(reterr, -ENOPKG, "it takes node to read it, which is not in PATH. "
                                       "Install node, or write the file as JSON or YAML");
        if (r < 0)
                return r;

        r = start_node(node, file, text, size, &e);
        if (r >= 0)
                r = wait_for_node(&e, timeout);
        if (r == -ETIME)
                return ecosystem_fault(reterr, r, "it was still being evaluated after %.3g s", (double) timeout / USEC_PER_SEC);
        if (r == -E2BIG)
                return ecosystem_fault(reterr, r, "what it evaluates to is larger than %u MiB", ECOSYSTEM_SIZE_MAX >> 20);
        if (r < 0)
                return ecosystem_fault(reterr, r, "node could not be run: %m");

        if (e.n_result == 0 || e.status.si_code != CLD_EXITED)
                return fault_of_exit(&e.status, reterr);
        e.result[e.n_result] = 0;
        return take_result(&e, ret, reterr);
}
