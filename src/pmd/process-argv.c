/* SPDX-License-Identifier: MIT */
#include <unistd.h>

#include "config.h"
#include "pmd/manager.h"
#include "pmd/process.h"
#include "shared/path-util.h"
#include "shared/string-util.h"
#include "shared/strv.h"

/* What is executed: the interpreter with its arguments, the script with its. */

#define NODE_DRAIN "pmd-node-drain.cjs"

static bool runs_node(const AppConfig *c) {
        return c->interpreter_path && startswith(path_basename(c->interpreter_path), "node");
}

static bool wants_source_maps(const AppConfig *c) {
        return runs_node(c) && c->source_map_support && !c->disable_source_map_support;
}

/* Beside pmd where it was built, else where it was installed. */
static int find_node_drain(Manager *m) {
        _cleanup_free_ char *directory = NULL, *beside_us = NULL;
        int r;

        r = path_get_own_directory(&directory);
        if (r < 0)
                return r;
        beside_us = strjoin(directory, "/" NODE_DRAIN);
        if (!beside_us)
                return -ENOMEM;

        if (access(beside_us, R_OK) >= 0)
                m->node_drain = TAKE_PTR(beside_us);
        else
                m->node_drain = strdup(access(PMD_NODE_DRAIN, R_OK) >= 0 ? PMD_NODE_DRAIN : "");
        return m->node_drain ? 0 : -ENOMEM;
}

static int extend_by_node_drain(const Process *p, char ***argv) {
        int r;

        if (!runs_node(p->config) || p->config->exec_mode != EXEC_MODE_CLUSTER)
                return 0;
        if (!p->manager->node_drain) {
                r = find_node_drain(p->manager);
                if (r < 0)
                        return r;
        }
        if (isempty(p->manager->node_drain))
                return 0;

        r = strv_extend(argv, "--require");
        return r < 0 ? r : strv_extend(argv, p->manager->node_drain);
}

static int extend_all(char ***argv, char *const *more) {
        int r = 0;

        STRV_FOREACH(a, more)
                if (r >= 0)
                        r = strv_extend(argv, *a);
        return r;
}

int process_build_argv(const Process *p, char ***ret) {
        _cleanup_strv_free_ char **argv = NULL;
        const AppConfig *c = p->config;
        int r = 0;

        if (c->interpreter_path) {
                r = strv_extend(&argv, c->interpreter);
                if (r >= 0)
                        r = extend_by_node_drain(p, &argv);
                if (r >= 0 && wants_source_maps(c))
                        r = strv_extend(&argv, "--enable-source-maps");
                if (r >= 0)
                        r = extend_all(&argv, c->interpreter_args);
        }
        if (r >= 0)
                r = strv_extend(&argv, c->exec_path);
        if (r >= 0)
                r = extend_all(&argv, c->args);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(argv);
        return 0;
}
