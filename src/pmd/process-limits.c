/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <sys/resource.h>

#include "pmd/app-triggers.h"
#include "pmd/process.h"
#include "pmd/runner.h"
#include "pmd/spawn-restrict.h"
#include "shared/capability-util.h"
#include "shared/fileio.h"
#include "shared/log.h"
#include "shared/parse-util.h"
#include "shared/resource-limits.h"
#include "shared/string-util.h"
#include "shared/strv.h"

/* A service manager that takes longer to make a scope is worth a note. */
#define SLOW_PLACE_USEC USEC_PER_SEC

/* pmd has more descriptors than who started it, which is not for programs that use select(). The keeper says what the limit was; systemd
 * gives 1024 to everybody else. */
static void restore_nofile(Rlimit *l) {
        const char *s = getenv("PMD_NOFILE");
        struct rlimit own;
        uint64_t soft;

        if (l->set || getrlimit(RLIMIT_NOFILE, &own) < 0)
                return;
        if (s ? safe_atou64(s, &soft) < 0 : !getenv("SYSTEMD_EXEC_PID"))
                return;
        if (!s)
                soft = 1024;
        *l = (Rlimit) { .set = true, .soft = MIN((rlim_t) soft, own.rlim_max), .hard = own.rlim_max };
}

/* pmd.service protects pmd from the OOM killer, not what it starts. */
static void restore_oom_score_adjust(OptionalInt *o) {
        char buf[16];
        int own;

        if (o->set || !getenv("SYSTEMD_EXEC_PID") || read_virtual_file_at(AT_FDCWD, "/proc/self/oom_score_adj", buf, sizeof buf) < 0)
                return;
        buf[strcspn(buf, "\n")] = 0;
        if (safe_atoi(buf, &own) >= 0 && own < 0)
                *o = (OptionalInt) { .set = true };
}

int process_restrictions(const AppConfig *c, SpawnRestrictions *ret) {
        SpawnRestrictions s = {
                .nice = c->nice,
                .oom_score_adjust = c->oom_score_adjust,
                .umask = c->umask,
                .set_capabilities = c->capabilities,
                .no_new_privileges = c->no_new_privileges,
        };
        int r;

        memcpy(s.rlimits, c->rlimits, sizeof(s.rlimits));
        restore_oom_score_adjust(&s.oom_score_adjust);
        restore_nofile(&s.rlimits[RLIMIT_NOFILE]);
        r = capabilities_to_mask(c->capabilities, &s.capabilities);
        if (r < 0)
                return r;

        *ret = s;
        return 0;
}

/* ---- limits of the unit ---- */

static char *describe_unenforced(LimitKind k) {
        return strprintf("%s has no effect here: there is no controller '%s'", limit_kind_to_string(k), limit_controller(k));
}

static bool waits_for_its_place(const Process *p) {
        return p->state == PROCESS_SPAWNING && !p->gate_opened && !p->attached_waits &&
                usec_sub(now(CLOCK_MONOTONIC), p->started_monotonic) >= SLOW_PLACE_USEC;
}

int process_get_notes(const Process *p, char ***ret) {
        unsigned unenforced = p->unit ? runner_unit_unenforced(p->unit) : 0;
        _cleanup_strv_free_ char **notes = NULL;
        _cleanup_free_ char *trouble = NULL;
        int r = 0;

        for (LimitKind k = 0; r >= 0 && k < _LIMIT_KIND_MAX; k++)
                if (unenforced & LIMIT_BIT(k))
                        r = strv_consume(&notes, describe_unenforced(k));

        if (r >= 0 && waits_for_its_place(p))
                r = strv_extend(&notes, "it does not run yet: the service manager has not made its unit");
        if (r >= 0 && p->ready_missed && p->state == PROCESS_ONLINE)
                r = strv_extend(&notes, "it has not said within its listen_timeout that it is ready, and was taken to be");
        if (r >= 0 && p->unsaved)
                r = strv_extend(&notes, "what pmd knows of it cannot be written: were pmd to end, the next one would not know of it");
        if (r >= 0)
                r = process_describe_log_trouble(p, &trouble);
        if (r > 0)
                r = strv_consume(&notes, TAKE_PTR(trouble));
        if (r < 0)
                return r;

        *ret = TAKE_PTR(notes);
        return 0;
}

void process_set_config(Process *p, AppConfig *config) {
        int r;

        app_config_unref(p->config);
        p->config = app_config_ref(config);

        r = p->unit ? runner_unit_set_config(p->unit, config) : 0;
        if (r < 0)
                log_warning_errno(r, "Failed to change limits of process %u (%s), ignoring: %m", p->id, config->name);
        p->host->changed(p, PROCESS_FIELD_CONFIG | PROCESS_FIELD_PID);
        app_triggers_process_changed(p);
}

int process_check_limits(Process *p) {
        unsigned unenforced = runner_unit_unenforced(p->unit);

        for (LimitKind k = 0; k < _LIMIT_KIND_MAX; k++) {
                _cleanup_free_ char *what = NULL;

                if (!(unenforced & LIMIT_BIT(k)))
                        continue;
                what = describe_unenforced(k);
                if (!what)
                        return -ENOMEM;
                if (!strv_contains(p->config->required, limit_kind_to_string(k))) {
                        /* Once is enough for one that crashes again and again. */
                        log_full_errno(p->n_restarts == 0 ? LOG_INFO : LOG_DEBUG, 0, "Process %u (%s): %s.", p->id, p->config->name, what);
                        continue;
                }

                free(p->start_fault);
                p->start_fault = strprintf("Cannot start %s: %s, and the definition says that it is required.", p->config->name, what);
                log_warning("%s", strempty(p->start_fault));
                return -EOPNOTSUPP;
        }
        return 0;
}
