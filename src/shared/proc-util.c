/* SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "shared/fd-util.h"
#include "shared/fileio.h"
#include "shared/proc-util.h"
#include "shared/string-util.h"

#define ENVIRONMENT_MAX (16U << 20)

static void proc_path(char *buf, size_t size, pid_t pid, const char *file) {
        (void) snprintf(buf, size, "/proc/%d/%s", (int) pid, file);
}

static uint64_t ticks_to_nsec(uint64_t ticks) {
        return ticks * (UINT64_C(1000000000) / (uint64_t) sysconf(_SC_CLK_TCK));
}

int proc_read_stat(pid_t pid, ProcStat *ret) {
        uint64_t fields[53] = {}; /* as proc_pid_stat(5) counts them */
        char path[32], buf[1024];
        const char *p;
        char state;
        ssize_t n;

        proc_path(path, sizeof(path), pid, "stat");
        n = read_virtual_file_at(AT_FDCWD, path, buf, sizeof(buf));
        if (n == -ENOENT)
                return -ESRCH;
        if (n < 0)
                return (int) n;

        p = strrchr(buf, ')'); /* the name of the command may hold anything, also ')' */
        if (!p || strlen(p) < STRLEN(") S "))
                return -EBADMSG;
        p += STRLEN(") ");

        state = *p++;
        for (size_t i = 4; i < ELEMENTSOF(fields); i++) {
                char *end;

                fields[i] = strtoull(p, &end, 10);
                if (end == p)
                        return -EBADMSG;
                p = end;
        }

        *ret = (ProcStat) {
                .state = state,
                .ppid = (pid_t) fields[4],
                .session = (pid_t) fields[6],
                .n_threads = (unsigned) fields[20],
                .cpu_nsec = ticks_to_nsec(fields[14] + fields[15]),
                .start_time = fields[22],
                .resident = fields[24] * (uint64_t) sysconf(_SC_PAGESIZE),
                .heap_begin = fields[47],
                .environment_start = fields[50],
                .environment_end = fields[51],
                .wait_status = (int) fields[52],
        };
        return 0;
}

int pids_parse(const char *text, pid_t **pids, size_t *n, size_t *allocated) {
        for (char *end;; text = end) {
                long pid = strtol(text, &end, 10);

                if (end == text)
                        return 0;
                if (pid <= 0) /* of a pid namespace that we do not see */
                        continue;
                if (!GREEDY_REALLOC(*pids, *allocated, *n + 1))
                        return -ENOMEM;
                (*pids)[(*n)++] = (pid_t) pid;
        }
}

int proc_get_children(pid_t pid, pid_t **ret) {
        _cleanup_closedir_ DIR *tasks = NULL;
        _cleanup_free_ pid_t *pids = NULL;
        size_t n = 0, allocated = 0;
        char path[32];
        int r;

        proc_path(path, sizeof(path), pid, "task");
        tasks = opendir(path);
        if (!tasks)
                return errno == ENOENT ? -ESRCH : -errno;

        for (struct dirent *de; (de = readdir(tasks));) {
                char file[sizeof(de->d_name) + STRLEN("/children")];
                _cleanup_free_ char *text = NULL;

                if (de->d_name[0] == '.')
                        continue;

                (void) snprintf(file, sizeof(file), "%s/children", de->d_name);
                r = read_full_file_at(dirfd(tasks), file, 0, &text, NULL);
                if (IN_SET(r, -ENOENT, -ESRCH))
                        continue; /* the thread has ended */
                if (r < 0)
                        return r;
                r = pids_parse(text, &pids, &n, &allocated);
                if (r < 0)
                        return r;
        }

        *ret = TAKE_PTR(pids);
        return (int) n;
}

/* Whether what was read is all there is. In the middle of execve(), and if that happens while we read, there is less. */
static int check_environment_size(pid_t pid, size_t size) {
        ProcStat st;
        int r;

        r = proc_read_stat(pid, &st);
        if (r < 0)
                return r;
        if (IN_SET(st.state, 'Z', 'X'))
                return -ESRCH;
        return st.environment_end == 0 || size < st.environment_end - st.environment_start ? -EAGAIN : 0;
}

int proc_has_environment(pid_t pid, const char *assignment) {
        _cleanup_free_ char *environment = NULL;
        char path[32];
        size_t size;
        int r;

        proc_path(path, sizeof(path), pid, "environ");
        r = read_full_file_at(AT_FDCWD, path, ENVIRONMENT_MAX, &environment, &size);
        if (r == -ENOENT)
                return -ESRCH;
        if (r < 0)
                return r;

        for (const char *p = environment; p < environment + size; p += strlen(p) + 1)
                if (streq(p, assignment))
                        return 1;
        return check_environment_size(pid, size);
}
