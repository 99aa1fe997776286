/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <pwd.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "shared/fd-util.h"
#include "shared/instance.h"
#include "shared/path-util.h"
#include "shared/string-table.h"
#include "shared/string-util.h"
#include "shared/strv.h"

static const char *const instance_scope_table[_INSTANCE_SCOPE_MAX] = {
        [INSTANCE_SYSTEM] = "system",
        [INSTANCE_USER] = "user",
        [INSTANCE_PRIVATE] = "private",
};

DEFINE_STRING_TABLE(InstanceScope, instance_scope);

static const char *home_of_user(void) {
        const char *e = getenv("HOME");
        struct passwd *pw;

        if (!isempty(e))
                return e;
        pw = getpwuid(getuid());
        return pw ? pw->pw_dir : NULL;
}

static const char *private_home_from_env(void) {
        const char *e = getenv("PMD_HOME");

        if (isempty(e))
                e = getenv("PM2_HOME");
        return isempty(e) ? NULL : e;
}

/* $variable/pmd, or ~/fallback/pmd. */
static char *xdg_dir(const char *variable, const char *fallback) {
        const char *e = getenv(variable), *home;

        if (!isempty(e) && path_is_absolute(e))
                return strjoin(e, "/pmd");
        home = home_of_user();
        return home ? strjoin(home, "/", fallback, "/pmd") : NULL;
}

static int fill_private(Instance *i, const char *home) {
        if (!home)
                home = private_home_from_env();
        if (home) {
                _cleanup_free_ char *cwd = path_is_absolute(home) ? NULL : getcwd(NULL, 0);

                i->home = path_resolve(cwd ?: "/", home);
        } else {
                home = home_of_user();
                if (!home)
                        return -ENXIO;
                i->home = strjoin(home, "/.pmd");
        }
        if (!i->home)
                return -ENOMEM;

        i->state_dir = strjoin(i->home, "/state");
        i->runtime_dir = strjoin(i->home, "/run");
        i->log_dir = strjoin(i->home, "/logs");
        i->pid_dir = strjoin(i->home, "/pids");
        return strv_extend(&i->conf_dirs, i->home);
}

static int fill_user(Instance *i) {
        const char *e = getenv("XDG_RUNTIME_DIR");

        if (isempty(e))
                return -ENXIO;
        i->runtime_dir = strjoin(e, "/pmd");
        i->state_dir = xdg_dir("XDG_STATE_HOME", ".local/state");
        if (!i->state_dir)
                return -ENXIO;
        i->log_dir = strjoin(i->state_dir, "/logs");
        i->pid_dir = strjoin(i->runtime_dir, "/pids");
        i->home = strdup(i->state_dir);
        return strv_consume(&i->conf_dirs, xdg_dir("XDG_CONFIG_HOME", ".config"));
}

static int fill_system(Instance *i) {
        static const char *const conf_dirs[] = { "/etc/pmd", "/run/pmd", "/usr/lib/pmd", NULL };

        i->conf_dirs = strv_copy((char *const *) conf_dirs);
        i->runtime_dir = strdup("/run/pmd");
        i->state_dir = strdup("/var/lib/pmd");
        i->log_dir = strdup("/var/log/pmd");
        i->pid_dir = strdup("/run/pmd/pids");
        i->home = strdup("/var/lib/pmd");
        return 0;
}

int instance_new(InstanceScope scope, const char *home, Instance **ret) {
        _cleanup_(instance_freep) Instance *i = NULL;
        int r;

        i = new0(Instance, 1);
        if (!i)
                return -ENOMEM;

        i->scope = scope;
        r = scope == INSTANCE_PRIVATE ? fill_private(i, home) : scope == INSTANCE_USER ? fill_user(i) : fill_system(i);
        if (r < 0)
                return r;
        if (!i->home || !i->state_dir || !i->runtime_dir || !i->log_dir || !i->pid_dir ||
            !i->conf_dirs)
                return -ENOMEM;

        i->socket_path = strjoin(i->runtime_dir, "/pmd.sock");
        i->lock_path = strjoin(i->runtime_dir, "/pmd.lock");
        i->keeper_lock_path = strjoin(i->runtime_dir, "/keeper.lock");
        i->launch_lock_path = strjoin(i->runtime_dir, "/launch.lock");
        if (!i->socket_path || !i->lock_path || !i->keeper_lock_path || !i->launch_lock_path)
                return -ENOMEM;

        *ret = TAKE_PTR(i);
        return 0;
}

Instance *instance_free(Instance *i) {
        if (!i)
                return NULL;

        free(i->home);
        free(i->state_dir);
        free(i->runtime_dir);
        free(i->log_dir);
        free(i->pid_dir);
        strv_free(i->conf_dirs);
        free(i->socket_path);
        free(i->lock_path);
        free(i->keeper_lock_path);
        free(i->launch_lock_path);
        return mfree(i);
}

InstanceScope instance_scope_default(void) {
        if (private_home_from_env() || sd_booted() <= 0)
                return INSTANCE_PRIVATE;
        return geteuid() == 0 ? INSTANCE_SYSTEM : INSTANCE_USER;
}

bool instance_keeper_lives(const Instance *i) {
        struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
        _cleanup_close_ int fd = -EBADF;

        fd = open(i->keeper_lock_path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY);
        return fd >= 0 && fcntl(fd, F_GETLK, &lock) >= 0 && lock.l_type != F_UNLCK;
}

int instance_make_directories(const Instance *i) {
        const char *const dirs[] = { i->state_dir, i->runtime_dir, i->log_dir, i->pid_dir };
        int r;

        for (size_t k = 0; k < ELEMENTSOF(dirs); k++) {
                r = mkdir_p(dirs[k], 0700);
                if (r < 0)
                        return r;
        }
        return 0;
}
