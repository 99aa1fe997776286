/* SPDX-License-Identifier: MIT */
#pragma once

#include "shared/macro.h"

/* Which pmd: the one of the system, of the user's session, or a private one below a directory of its own. pmd and its
 * clients must agree on every path, so this is the only place that knows them. */

typedef enum InstanceScope {
        INSTANCE_SYSTEM,  /* system bus, PID 1's manager, journal */
        INSTANCE_USER,    /* session bus, user manager, journal */
        INSTANCE_PRIVATE, /* no bus, no systemd: $PMD_HOME, default ~/.pmd */
        _INSTANCE_SCOPE_MAX,
        _INSTANCE_SCOPE_INVALID = -EINVAL,
} InstanceScope;

const char *instance_scope_to_string(InstanceScope s);
InstanceScope instance_scope_from_string(const char *s);

typedef struct Instance {
        InstanceScope scope;
        char *home;         /* private: the directory; else the same as state_dir */
        char *state_dir;    /* what outlives a reboot */
        char *runtime_dir;  /* what does not: the socket, the locks, what pmd knows of processes */
        char *log_dir;      /* default place of apps' log files, and of pmd's own log where there is no journal */
        char *pid_dir;      /* pid files of apps */
        char **conf_dirs;   /* of pmd.conf; what is in the first wins, and that is where pmctl writes */
        char *socket_path;  /* private D-Bus socket */
        char *lock_path;    /* held by the pmd that serves */
        char *keeper_lock_path; /* held by the process that starts pmd again, where that is not systemd */
        char *launch_lock_path; /* held by the client that starts pmd */
} Instance;

/* home is for INSTANCE_PRIVATE only: NULL means $PMD_HOME, else $PM2_HOME, else ~/.pmd. 0, -ENOMEM, or -ENXIO if the
 * environment lacks what the paths are made of (no HOME, no XDG_RUNTIME_DIR). */
int instance_new(InstanceScope scope, const char *home, Instance **ret);
Instance *instance_free(Instance *i);
DEFINE_CLEANUP_FUNC(Instance *, instance_free);

/* What a client means that says nothing: private if $PMD_HOME or $PM2_HOME is set or no systemd runs, else system for root, else user. */
InstanceScope instance_scope_default(void);

/* Whether the keeper runs, which starts a pmd again that has died. Its lock tells. */
bool instance_keeper_lives(const Instance *i);

/* Makes the directories, mode 0700. 0 or a negative errno. */
int instance_make_directories(const Instance *i);
