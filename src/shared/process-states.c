/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/process-states.h"

#include "shared/fd-util.h"
#include "shared/fileio.h"
#include "shared/pidref.h"
#include "shared/string-table.h"
#include "shared/string-util.h"

static const char *const process_state_table[_PROCESS_STATE_MAX] = {
        [PROCESS_STOPPED] = "stopped",
        [PROCESS_SPAWNING] = "spawning",
        [PROCESS_STARTING] = "starting",
        [PROCESS_ONLINE] = "online",
        [PROCESS_STOPPING] = "stopping",
        [PROCESS_KILLING] = "killing",
        [PROCESS_DRAINING] = "draining",
        [PROCESS_BACKOFF] = "backoff",
        [PROCESS_ERRORED] = "errored",
};

DEFINE_STRING_TABLE(ProcessState, process_state);

const char *process_state_shown(ProcessState s) {
        static const char *const words[_PROCESS_STATE_MAX] = {
                [PROCESS_STOPPED] = "stopped",
                [PROCESS_SPAWNING] = "launching",
                [PROCESS_STARTING] = "launching",
                [PROCESS_ONLINE] = "online",
                [PROCESS_STOPPING] = "stopping",
                [PROCESS_KILLING] = "stopping",
                [PROCESS_DRAINING] = "stopping",
                [PROCESS_BACKOFF] = "waiting restart",
                [PROCESS_ERRORED] = "errored",
        };

        return (int) s >= 0 && s < _PROCESS_STATE_MAX ? words[s] : NULL;
}

#define LONG_STATE_MAX (4U << 20)

unsigned process_states_count(off_t size) {
        return (unsigned) ((size + PROCESS_STATE_SIZE - 1) / PROCESS_STATE_SIZE);
}

static int parse_object(const char *text, json_object **ret) {
        json_object *o = json_tokener_parse(text);

        if (!json_object_is_type(o, json_type_object)) {
                json_object_put(o);
                return -EBADMSG;
        }
        *ret = o;
        return 0;
}

static int read_long(const char *runtime_dir, unsigned slot, json_object **ret) {
        _cleanup_free_ char *path = strprintf("%s/" PROCESS_STATES_LONG_DIRECTORY "/%u", runtime_dir, slot), *text = NULL;
        int r;

        if (!path)
                return -ENOMEM;
        r = read_full_file_at(AT_FDCWD, path, LONG_STATE_MAX, &text, NULL);
        return r < 0 ? r : parse_object(text, ret);
}

int process_state_read(int fd, const char *runtime_dir, unsigned slot, json_object **ret, bool *ret_long) {
        char text[PROCESS_STATE_SIZE];
        ssize_t n;

        *ret_long = false;
        n = pread(fd, text, sizeof text, (off_t) (slot - 1) * PROCESS_STATE_SIZE);
        if (n < 0)
                return -errno;
        if (n == 0 || text[0] == 0)
                return -ENODATA;
        if (!memchr(text, 0, (size_t) n))
                return -EBADMSG;

        *ret_long = streq(text, PROCESS_STATE_LONG);
        return *ret_long ? read_long(runtime_dir, slot, ret) : parse_object(text, ret);
}

/* ---- for readers ---- */

static uint64_t id_of(json_object *o) {
        return json_object_get_uint64(json_object_object_get(o, "id"));
}

static int compare_states(const void *a, const void *b) {
        uint64_t x = id_of(*(json_object *const *) a), y = id_of(*(json_object *const *) b);

        return (x > y) - (x < y);
}

/* There were no roles at first. */
static bool is_current(json_object *o) {
        const char *role = json_object_get_string(json_object_object_get(o, "role"));

        return !role || streq(role, "current");
}

void process_states_free(json_object **states, size_t n) {
        for (size_t i = 0; i < n; i++)
                json_object_put(states[i]);
        free(states);
}

int process_states_load(const char *runtime_dir, json_object ***ret, size_t *ret_n) {
        _cleanup_free_ char *path = strjoin(runtime_dir, "/" PROCESS_STATES_FILE);
        _cleanup_close_ int fd = -EBADF;
        json_object **states = NULL;
        size_t n = 0, allocated = 0;
        struct stat st;

        if (!path)
                return -ENOMEM;
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0 || fstat(fd, &st) < 0)
                return -errno;

        for (unsigned slot = 1; slot <= process_states_count(st.st_size); slot++) {
                json_object *o;
                bool is_long;

                if (process_state_read(fd, runtime_dir, slot, &o, &is_long) < 0)
                        continue;
                if (!is_current(o)) {
                        json_object_put(o);
                        continue;
                }
                if (!GREEDY_REALLOC(states, allocated, n + 1)) {
                        json_object_put(o);
                        process_states_free(states, n);
                        return -ENOMEM;
                }
                states[n++] = o;
        }

        if (n > 0)
                qsort(states, n, sizeof(json_object *), compare_states);
        *ret = states;
        *ret_n = n;
        return 0;
}

bool process_state_is_alive(json_object *state) {
        _cleanup_(pidref_done) PidRef p = PIDREF_NULL;

        return pidref_reopen(&p, (pid_t) json_object_get_int64(json_object_object_get(state, "pid")),
                             json_object_get_uint64(json_object_object_get(state, "pid_start_time")),
                             json_object_get_uint64(json_object_object_get(state, "pid_id"))) >= 0 &&
               pidref_is_alive(&p);
}
