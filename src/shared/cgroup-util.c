/* SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "shared/cgroup-util.h"
#include "shared/fd-util.h"
#include "shared/fileio.h"
#include "shared/parse-util.h"
#include "shared/pidref.h"
#include "shared/proc-util.h"
#include "shared/string-util.h"

#define CGROUP_PROCS_MAX (16U << 20)

/* ---- where they are ---- */

int cgroup_find_mount(char **ret) {
        static const char *const places[] = { "/sys/fs/cgroup", "/sys/fs/cgroup/unified" };

        for (size_t i = 0; i < ELEMENTSOF(places); i++) {
                struct statfs sfs;
                char *s;

                if (statfs(places[i], &sfs) < 0 || sfs.f_type != CGROUP2_SUPER_MAGIC)
                        continue;

                s = strdup(places[i]);
                if (!s)
                        return -ENOMEM;
                *ret = s;
                return 0;
        }

        return -ENOENT;
}

int cgroup_path_of_pid(pid_t pid, char **ret) {
        _cleanup_free_ char *text = NULL;
        char file[32], *save = NULL;
        int r;

        if (pid == 0)
                (void) snprintf(file, sizeof(file), "/proc/self/cgroup");
        else
                (void) snprintf(file, sizeof(file), "/proc/%d/cgroup", (int) pid);

        r = read_full_file(file, &text, NULL);
        if (r == -ENOENT && pid != 0)
                return -ESRCH;
        if (r < 0)
                return r;

        for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
                const char *path = startswith(line, "0::");
                char *s;

                if (!path)
                        continue;
                s = strdup(path);
                if (!s)
                        return -ENOMEM;
                *ret = s;
                return 0;
        }

        return -ENOENT;
}

int cgroup_open(const char *path) {
        _cleanup_free_ char *mount = NULL, *full = NULL;
        int fd, r;

        /* Outside of our cgroup namespace, where the kernel begins a path with "/..", the mount does not reach. */
        if (streq(path, "/..") || startswith(path, "/../"))
                return -ENOENT;

        r = cgroup_find_mount(&mount);
        if (r < 0)
                return r;
        full = strjoin(mount, path);
        if (!full)
                return -ENOMEM;

        fd = open(full, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return fd < 0 ? -errno : fd;
}

/* ---- who is in them ---- */

static bool error_is_cgroup_gone(int r) {
        return IN_SET(r, -ENOENT, -ENODEV);
}

/* The value behind "key " at the beginning of a line. */
static int find_flat_key(const char *text, const char *key, uint64_t *ret) {
        size_t n = strlen(key);

        for (const char *line = text; line; line = strchr(line, '\n')) {
                char *end;

                line += *line == '\n';
                if (strncmp(line, key, n) != 0 || line[n] != ' ')
                        continue;
                errno = 0;
                *ret = strtoull(line + n + 1, &end, 10);
                return errno != 0 || end == line + n + 1 ? -EBADMSG : 0;
        }
        return -ENOENT;
}

int cgroup_is_populated(int cgroup_fd) {
        char buf[256];
        uint64_t v;
        ssize_t n;
        int r;

        n = read_virtual_file_at(cgroup_fd, "cgroup.events", buf, sizeof(buf));
        if (error_is_cgroup_gone((int) n))
                return 0;
        if (n < 0)
                return (int) n;

        r = find_flat_key(buf, "populated", &v);
        return r < 0 ? r : v > 0;
}

typedef int (*visit_t)(int cgroup_fd, void *userdata);

/* Each directory below has a link to this one. Reading the directory would tell too, but it holds dozens of files. */
static bool has_children(int cgroup_fd) {
        struct stat st;

        return fstat(cgroup_fd, &st) < 0 || st.st_nlink != 2;
}

static int cgroup_walk_at(int dir_fd, const char *name, visit_t visit, void *userdata);

static int cgroup_walk_children(int cgroup_fd, visit_t visit, void *userdata) {
        _cleanup_closedir_ DIR *d = NULL;
        int fd, r;

        fd = openat(cgroup_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return error_is_cgroup_gone(-errno) ? 0 : -errno;
        d = fdopendir(fd);
        if (!d) {
                safe_close(fd);
                return -ENOMEM;
        }

        for (struct dirent *de; (de = readdir(d));) {
                if (de->d_type != DT_DIR || streq(de->d_name, ".") || streq(de->d_name, ".."))
                        continue;
                r = cgroup_walk_at(fd, de->d_name, visit, userdata);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* Calls visit() for the cgroup and those below it. Those that vanish meanwhile are passed over. */
static int cgroup_walk(int cgroup_fd, visit_t visit, void *userdata) {
        int r;

        r = visit(cgroup_fd, userdata);
        if (r < 0 || !has_children(cgroup_fd))
                return r;
        return cgroup_walk_children(cgroup_fd, visit, userdata);
}

static int cgroup_walk_at(int dir_fd, const char *name, visit_t visit, void *userdata) {
        _cleanup_close_ int fd = -EBADF;

        fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0)
                return error_is_cgroup_gone(-errno) ? 0 : -errno;
        return cgroup_walk(fd, visit, userdata);
}

typedef struct PidArray {
        pid_t *pids;
        size_t n, allocated;
} PidArray;

static int add_pids_of_cgroup(int cgroup_fd, void *userdata) {
        PidArray *a = ASSERT_PTR(userdata);
        _cleanup_free_ char *text = NULL;
        int r;

        r = read_full_file_at(cgroup_fd, "cgroup.procs", CGROUP_PROCS_MAX, &text, NULL);
        if (error_is_cgroup_gone(r) || r == -EOPNOTSUPP) /* a threaded cgroup: its processes are listed further up */
                return 0;
        if (r < 0)
                return r;
        return pids_parse(text, &a->pids, &a->n, &a->allocated);
}

int cgroup_get_pids(int cgroup_fd, pid_t **ret) {
        PidArray a = {};
        int r;

        r = cgroup_walk(cgroup_fd, add_pids_of_cgroup, &a);
        if (r < 0) {
                free(a.pids);
                return r;
        }

        *ret = a.pids;
        return (int) a.n;
}

/* ---- signals ---- */

static bool pids_contain(const pid_t *pids, size_t n, pid_t pid) {
        for (size_t i = 0; i < n; i++)
                if (pids[i] == pid)
                        return true;
        return false;
}

static int signal_still_in_cgroup(int cgroup_fd, const PidRef *refs, size_t n, int signo) {
        _cleanup_free_ pid_t *pids = NULL;
        int n_pids, count = 0, r = 0;

        n_pids = cgroup_get_pids(cgroup_fd, &pids);
        if (n_pids < 0)
                return n_pids;

        for (size_t i = 0; i < n; i++) {
                int k;

                if (!pids_contain(pids, (size_t) n_pids, refs[i].pid))
                        continue;
                k = pidref_kill(&refs[i], signo);
                if (k >= 0)
                        count++;
                else if (k != -ESRCH)
                        RET_GATHER(r, k);
        }
        return count > 0 ? count : r;
}

int cgroup_signal_all(int cgroup_fd, int signo) {
        _cleanup_free_ pid_t *pids = NULL;
        _cleanup_free_ PidRef *refs = NULL;
        size_t n_refs = 0;
        int n, r = 0;

        n = cgroup_get_pids(cgroup_fd, &pids);
        if (n <= 0)
                return n;
        refs = new(PidRef, (size_t) n);
        if (!refs)
                return -ENOMEM;

        /* Between the reading and the opening of a pid it may have become another process. So all are opened first, and signalled is
         * who is listed a second time: whoever still has that pid when the signal is sent had it all along. */
        for (int i = 0; i < n && r >= 0; i++) {
                r = pidref_open(&refs[n_refs], pids[i]);
                if (r >= 0)
                        n_refs++;
                else if (r == -ESRCH)
                        r = 0;
        }
        if (r >= 0)
                r = signal_still_in_cgroup(cgroup_fd, refs, n_refs, signo);

        for (size_t i = 0; i < n_refs; i++)
                pidref_done(&refs[i]);
        return r;
}

/* Before Linux 5.14. Who was killed cannot fork any more, so this ends with the first list that holds nobody new. */
static int kill_one_by_one(int cgroup_fd) {
        _cleanup_free_ pid_t *known = NULL;
        size_t n_known = 0;

        for (;;) {
                _cleanup_free_ pid_t *pids = NULL;
                bool fresh = false;
                int n, r;

                n = cgroup_get_pids(cgroup_fd, &pids);
                if (n < 0)
                        return n;
                for (int i = 0; i < n && !fresh; i++)
                        fresh = !pids_contain(known, n_known, pids[i]);
                if (!fresh)
                        return 0;

                r = cgroup_signal_all(cgroup_fd, SIGKILL);
                if (r < 0)
                        return r;

                free(known);
                known = TAKE_PTR(pids);
                n_known = (size_t) n;
        }
}

int cgroup_kill_all(int cgroup_fd) {
        int r;

        r = write_virtual_file_at(cgroup_fd, "cgroup.kill", "1");
        if (r == -ENOENT)
                return kill_one_by_one(cgroup_fd);
        return r == -ENODEV ? 0 : r;
}

/* ---- their end ---- */

int cgroup_remove(int dir_fd, const char *path) {
        _cleanup_closedir_ DIR *d = NULL;
        int fd, r = 0;

        if (unlinkat(dir_fd, path, AT_REMOVEDIR) >= 0 || error_is_cgroup_gone(-errno))
                return 0;
        if (errno != EBUSY)
                return -errno;

        fd = openat(dir_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0)
                return -errno;
        d = fdopendir(fd);
        if (!d) {
                safe_close(fd);
                return -ENOMEM;
        }

        for (struct dirent *de; (de = readdir(d));)
                if (de->d_type == DT_DIR && !streq(de->d_name, ".") && !streq(de->d_name, ".."))
                        RET_GATHER(r, cgroup_remove(fd, de->d_name));
        if (r < 0)
                return r;

        return unlinkat(dir_fd, path, AT_REMOVEDIR) < 0 ? -errno : 0;
}

/* ---- what they use ---- */

/* UINT64_MAX, and an error, if it cannot be read. */
static uint64_t read_number(int cgroup_fd, const char *file, int *ret_error) {
        char buf[32];
        uint64_t v;
        ssize_t n;

        n = read_virtual_file_at(cgroup_fd, file, buf, sizeof(buf));
        if (ret_error)
                *ret_error = n < 0 ? (int) n : 0;
        if (n < 0)
                return UINT64_MAX;
        buf[strcspn(buf, "\n")] = 0;
        return safe_atou64(buf, &v) < 0 ? UINT64_MAX : v;
}

static uint64_t read_cpu_usage_nsec(int cgroup_fd) {
        char buf[1024];
        uint64_t usec;

        if (read_virtual_file_at(cgroup_fd, "cpu.stat", buf, sizeof(buf)) < 0 || find_flat_key(buf, "usage_usec", &usec) < 0)
                return UINT64_MAX;
        return usec * NSEC_PER_USEC;
}

int cgroup_read_usage(int cgroup_fd, unsigned *lacks, ResourceUsage *ret) {
        static const struct {
                CgroupLack lack;
                const char *file;
                size_t offset;
        } files[] = {
                { CGROUP_LACKS_MEMORY, "memory.current", offsetof(ResourceUsage, memory_current) },
                { CGROUP_LACKS_TASKS, "pids.current", offsetof(ResourceUsage, tasks_current) },
        };
        ResourceUsage usage = RESOURCE_USAGE_UNSET;

        usage.cpu_usage_nsec = read_cpu_usage_nsec(cgroup_fd);
        for (size_t i = 0; i < ELEMENTSOF(files); i++) {
                int error;

                if (lacks && (*lacks & files[i].lack))
                        continue;
                *(uint64_t *) ((char *) &usage + files[i].offset) = read_number(cgroup_fd, files[i].file, &error);
                /* Of a cgroup that is gone nothing is there. */
                if (lacks && error == -ENOENT && usage.cpu_usage_nsec != UINT64_MAX)
                        *lacks |= files[i].lack;
        }
        *ret = usage;
        return 0;
}

int cgroup_memory_is_above(int cgroup_fd, uint64_t limit, uint64_t *ret) {
        char buf[8192];
        uint64_t current = read_number(cgroup_fd, "memory.current", NULL), cache;

        if (current == UINT64_MAX)
                return -ENODATA;
        if (current <= limit)
                return 0;

        if (read_virtual_file_at(cgroup_fd, "memory.stat", buf, sizeof(buf)) >= 0 && find_flat_key(buf, "inactive_file", &cache) >= 0)
                current -= MIN(cache, current);
        if (current <= limit)
                return 0;
        *ret = current;
        return 1;
}

int cgroup_read_oom(int cgroup_fd, CgroupOom *ret) {
        CgroupOom oom = {};
        char buf[512];

        if (read_virtual_file_at(cgroup_fd, "memory.events", buf, sizeof(buf)) < 0 || find_flat_key(buf, "oom_kill", &oom.kills) < 0)
                return -ENODATA;

        (void) find_flat_key(buf, "oom_group_kill", &oom.group_kills); /* since Linux 5.17 */
        oom.limit = read_number(cgroup_fd, "memory.max", NULL);
        oom.peak = read_number(cgroup_fd, "memory.peak", NULL); /* since Linux 5.19 */
        *ret = oom;
        return 0;
}

int procs_read_usage(const pid_t *pids, size_t n, ResourceUsage *ret) {
        ResourceUsage sum = {};
        bool found = false;

        for (size_t i = 0; i < n; i++) {
                ProcStat st;

                if (proc_read_stat(pids[i], &st) < 0)
                        continue; /* it has ended */
                found = true;
                sum.memory_current += st.resident;
                sum.cpu_usage_nsec += st.cpu_nsec;
                sum.tasks_current += st.n_threads;
        }
        if (!found)
                return -ESRCH;

        *ret = sum;
        return 0;
}

static void fill(uint64_t *a, uint64_t b) {
        if (*a == UINT64_MAX)
                *a = b;
}

void resource_usage_fill(ResourceUsage *a, const ResourceUsage *b) {
        fill(&a->memory_current, b->memory_current);
        fill(&a->cpu_usage_nsec, b->cpu_usage_nsec);
        fill(&a->tasks_current, b->tasks_current);
}
