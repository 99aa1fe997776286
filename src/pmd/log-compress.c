/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pmd/file-user.h"
#include "pmd/log-rotate.h"
#include "pmd/process-spawn.h"
#include "shared/fd-util.h"
#include "shared/path-util.h"
#include "shared/string-util.h"

/* gzip reads and writes two descriptors, so that it needs no rights to any file. */

#define GZIP_PATH "/usr/local/bin:/usr/bin:/bin"
#define GZIP_NICE 19

struct LogCompressor {
        int dir_fd;
        char *name, *part, *compressed;
        uid_t uid;
        gid_t gid;
        int in_fd, out_fd;
        PidRef child;
        sd_event_source *source;
        log_compressed_t done;
        void *userdata;
};

LogCompressor *log_compressor_free(LogCompressor *c) {
        if (!c)
                return NULL;

        sd_event_source_disable_unref(c->source);
        pidref_done(&c->child);
        safe_close(c->in_fd);
        safe_close(c->out_fd);
        safe_close(c->dir_fd);
        free(c->name);
        free(c->part);
        free(c->compressed);
        return mfree(c);
}

/* Whoever reaps children may have been quicker than we, so that the exit status tells nothing: but gzip ends its work by writing the size of
 * what it has read. */
static int check_output(const LogCompressor *c) {
        unsigned char trailer[4];
        struct stat in, out;
        uint32_t size;

        if (fstat(c->in_fd, &in) < 0 || fstat(c->out_fd, &out) < 0)
                return -errno;
        if (out.st_size < 18 || pread(c->out_fd, trailer, sizeof trailer, out.st_size - (off_t) sizeof trailer) != sizeof trailer)
                return -EIO;

        size = (uint32_t) trailer[0] | (uint32_t) trailer[1] << 8 | (uint32_t) trailer[2] << 16 | (uint32_t) trailer[3] << 24;
        return size == (uint32_t) in.st_size ? 0 : -EIO;
}

static int put_in_place(const LogCompressor *c) {
        struct stat st;

        if (fstat(c->in_fd, &st) < 0)
                return -errno;
        (void) futimens(c->out_fd, (struct timespec[]) { st.st_atim, st.st_mtim });

        if (renameat(c->dir_fd, c->part, c->dir_fd, c->compressed) < 0)
                return -errno;
        return unlinkat(c->dir_fd, c->name, 0) < 0 && errno != ENOENT ? -errno : 0;
}

static int finish(const LogCompressor *c) {
        int r;

        r = check_output(c);
        if (r >= 0)
                r = file_user_assume(c->uid, c->gid);
        if (r < 0)
                return r;

        r = put_in_place(c);
        if (r < 0)
                (void) unlinkat(c->dir_fd, c->part, 0);
        file_user_reset();
        return r;
}

static int on_exit_of_child(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        LogCompressor *c = ASSERT_PTR(userdata);
        siginfo_t si = {};

        (void) waitid(P_PIDFD, (id_t) c->child.fd, &si, WEXITED | WNOHANG);
        c->source = sd_event_source_disable_unref(c->source);
        c->done(finish(c), c->userdata);
        return 0;
}

static int open_files(LogCompressor *c) {
        struct stat st;
        int r;

        r = file_user_assume(c->uid, c->gid);
        if (r < 0)
                return r;

        c->in_fd = openat(c->dir_fd, c->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        if (c->in_fd >= 0 && fstat(c->in_fd, &st) >= 0)
                c->out_fd = openat(c->dir_fd, c->part, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, st.st_mode & 0777);
        r = c->out_fd < 0 ? -errno : 0;

        file_user_reset();
        return r;
}

static int spawn_gzip(LogCompressor *c, const char *gzip) {
        char *envp[] = { NULL };
        SpawnResult child;
        int r;

        r = spawn_process(&(SpawnParameters) {
                        .argv = (char *[]) { (char *) "gzip", (char *) "-c", NULL },
                        .path = gzip,
                        .envp = envp,
                        .cwd = "/",
                        .stdin_fd = c->in_fd,
                        .stdout_fd = c->out_fd,
                        .stderr_fd = -EBADF,
                        .cgroup_fd = -EBADF,
                        .set_user = geteuid() == 0 && (c->uid != 0 || c->gid != 0),
                        .uid = c->uid,
                        .gid = c->gid,
                }, &child);
        if (r < 0)
                return r;

        c->child = child.pidref;
        (void) setpriority(PRIO_PROCESS, (id_t) c->child.pid, GZIP_NICE);
        spawn_open_gate(child.gate_fd, "");
        safe_close(child.error_fd);
        return 0;
}

int log_compressor_new(sd_event *event, int dir_fd, const char *name, uid_t uid, gid_t gid, log_compressed_t done, void *userdata,
                       LogCompressor **ret) {
        _cleanup_(log_compressor_freep) LogCompressor *c = new(LogCompressor, 1);
        _cleanup_close_ int owned_fd = dir_fd;
        _cleanup_free_ char *gzip = NULL;
        int r;

        if (!c)
                return -ENOMEM;
        *c = (LogCompressor) {
                .dir_fd = TAKE_FD(owned_fd), .in_fd = -EBADF, .out_fd = -EBADF, .child = PIDREF_NULL,
                .uid = uid, .gid = gid, .done = done, .userdata = userdata,
                .name = strdup(name), .part = strjoin(name, ".gz.part"), .compressed = strjoin(name, ".gz"),
        };
        if (!c->name || !c->part || !c->compressed)
                return -ENOMEM;

        r = find_executable("gzip", GZIP_PATH, &gzip);
        if (r < 0)
                return r;
        r = open_files(c);
        if (r < 0)
                return r;
        r = spawn_gzip(c, gzip);
        if (r < 0)
                return r;
        r = sd_event_add_io(event, &c->source, c->child.fd, EPOLLIN, on_exit_of_child, c);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(c);
        return 0;
}
