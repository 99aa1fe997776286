/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <stdio.h>
#include <sys/inotify.h>

#include "pmd/event-log.h"
#include "pmd/manager.h"
#include "pmd/oom-log.h"
#include "pmd/process.h"
#include "pmd/runner.h"
#include "shared/fd-util.h"
#include "shared/log.h"
#include "shared/string-util.h"

void oom_kill_done(OomKill *k) {
        free(k->limit_cgroup);
        *k = (OomKill) {};
}

static const char *unit_cgroup(const Process *p) {
        return p->unit ? p->unit->cgroup : NULL;
}

/* ---- words ---- */

static char *format_size(uint64_t bytes) {
        return strprintf("%.1f MiB", (double) bytes / (1024 * 1024));
}

static char *describe_limit(const OomKill *k) {
        _cleanup_free_ char *limit = k->limit != UINT64_MAX ? format_size(k->limit) : NULL;

        if (k->limit_cgroup && isempty(k->limit_cgroup))
                return strdup(", as the machine has no more");
        if (k->limit_cgroup)
                return strjoin(", as ", k->limit_cgroup, " was at its limit");
        return limit ? strjoin(", at its limit of ", limit) : strdup("");
}

char *process_oom_describe(const Process *p) {
        const OomKill *k = &p->last_oom_kill;
        _cleanup_free_ char *peak = k->peak != UINT64_MAX ? format_size(k->peak) : NULL, *limit = describe_limit(k), *victim = NULL;

        victim = k->pid > 0 ? strprintf("%s (pid %d)", k->name, (int) k->pid) : strdup("one of its processes");
        if (!limit || !victim)
                return NULL;
        return strjoin("the kernel killed ", victim, " for lack of memory", limit, peak ? "; the most it used was " : "", strempty(peak));
}

/* ---- evidence ---- */

static int note_limit(OomKill *k, const OomRecord *record, const char *cgroup) {
        if (!record->limit_cgroup)
                return free_and_strdup(&k->limit_cgroup, "");
        /* A cgroup that the app has made in the unit's is the unit's. */
        if (strstr(record->limit_cgroup, cgroup))
                return free_and_strdup(&k->limit_cgroup, NULL);
        return free_and_strdup(&k->limit_cgroup, record->limit_cgroup);
}

/* record NULL: the kernel's log does not tell, or not to us. */
static void note_kill(Process *p, const CgroupOom *oom, const OomRecord *record) {
        OomKill *k = &p->last_oom_kill;

        oom_kill_done(k);
        k->realtime = now(CLOCK_REALTIME);
        k->limit = oom ? oom->limit : UINT64_MAX;
        k->peak = oom ? oom->peak : UINT64_MAX;
        if (record) {
                k->pid = record->pid;
                (void) snprintf(k->name, sizeof k->name, "%s", record->name);
                if (note_limit(k, record, unit_cgroup(p)) < 0)
                        log_oom();
        }

        event_log_oom_kill(p);
        p->host->changed(p, PROCESS_FIELD_OOM_KILL);
}

static void check_kills(Process *p) {
        CgroupOom oom;

        if (!p->unit || p->unit->cgroup_fd < 0 || cgroup_read_oom(p->unit->cgroup_fd, &oom) < 0 || oom.kills <= p->n_oom_kills)
                return;

        p->n_oom_kills = oom.kills;
        p->oom_killed_as_group = oom.group_kills > 0;
        note_kill(p, &oom, oom_log_find(p->manager->oom_log, unit_cgroup(p), 0));
}

bool process_oom_killed_main(Process *p, const siginfo_t *si) {
        const OomRecord *record;

        check_kills(p);
        if (si && (si->si_code == CLD_EXITED || si->si_status != SIGKILL))
                return false;

        record = unit_cgroup(p) && p->main.pid > 0 ? oom_log_find(p->manager->oom_log, unit_cgroup(p), p->main.pid) : NULL;
        if (record && p->last_oom_kill.pid != record->pid) /* the service manager was faster to remove the cgroup */
                note_kill(p, NULL, record);
        if (record)
                return true;
        if (!si || p->n_oom_kills == 0)
                return false;
        return p->oom_killed_as_group || (p->last_oom_kill.pid == 0 && p->state != PROCESS_KILLING);
}

/* ---- the watch ---- */

static int on_memory_events(sd_event_source *s, const struct inotify_event *event, void *userdata) {
        Process *p = ASSERT_PTR(userdata);

        check_kills(p);
        return 0;
}

static void watch(Process *p) {
        _cleanup_close_ int fd = -EBADF;
        int r;

        if (p->unit->cgroup_fd < 0)
                return;
        fd = openat(p->unit->cgroup_fd, "memory.events", O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return; /* there is no memory controller */

        r = sd_event_add_inotify_fd(p->manager->event, &p->oom_source, fd, IN_MODIFY, on_memory_events, p);
        if (r < 0)
                log_warning_errno(r, "Failed to watch whether process %u runs out of memory, ignoring: %m", p->id);
}

void process_oom_begin(Process *p) {
        p->n_oom_kills = 0;
        p->oom_killed_as_group = false;
        watch(p);
}

void process_oom_resume(Process *p) {
        watch(p);
        check_kills(p);
}

void process_oom_end(Process *p) {
        p->oom_source = sd_event_source_disable_unref(p->oom_source);
}
