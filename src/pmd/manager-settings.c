/* SPDX-License-Identifier: MIT */
#include "pmd/manager-settings.h"

#include "pmd/manager.h"
#include "shared/log.h"
#include "shared/parse-util.h"
#include "shared/strv.h"

static unsigned get_number(const Manager *m, const char *key) {
        unsigned n = 0;

        (void) safe_atou(settings_get(&m->settings, key), &n); /* checked when it was read */
        return n;
}

/* Another budget begins full: how long the old one has still to wait says nothing about it. */
static void use_restart_budget(Manager *m) {
        unsigned rate = get_number(m, "RestartBudget"), burst = get_number(m, "RestartBudgetBurst");

        if (m->restart_budget.rate != rate || m->restart_budget.burst != burst)
                m->restart_budget = (RestartBudget) { .rate = rate, .burst = burst };
}

int manager_load_settings(Manager *m) {
        _cleanup_strv_free_ char **lines = NULL;
        _cleanup_free_ char *faults = NULL;
        Conf settings;
        int r;

        r = settings_load(m->instance, &settings, &faults);
        if (r < 0)
                return r;

        conf_done(&m->settings);
        m->settings = settings;
        use_restart_budget(m);

        lines = faults ? strv_split(faults, "\n") : NULL;
        STRV_FOREACH(line, lines)
                log_warning("%s", *line);

        /* An option of the command line or of the environment wins. */
        if (!m->log_level_given)
                log_set_max_level(log_level_from_string(settings_get(&m->settings, "LogLevel")));
        return 0;
}

void manager_use_settings_of_start(Manager *m) {
        LogTarget target = log_target_from_string(settings_get(&m->settings, "LogTarget"));

        if (target != LOG_TARGET_AUTO)
                m->log_to_journal = target == LOG_TARGET_JOURNAL;
}
