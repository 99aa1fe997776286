/* SPDX-License-Identifier: MIT */
#include <sys/stat.h>
#include <unistd.h>

#include "test.h"

#include "shared/app-config.h"
#include "shared/env-util.h"
#include "shared/strv.h"
#include "tree.h"

DEFINE_CLEANUP_FUNC(json_object *, json_object_put)
#define _cleanup_json_ _cleanup_(json_object_putp)

static const struct {
        const char *name, *content;
        mode_t mode;
} files[] = {
        { "bin/node", "#!/bin/sh\n", 0755 },
        { "bin/bash", "#!/bin/sh\n", 0755 },
        { "bin/python3", "#!/bin/sh\n", 0755 },
        { "bin/tool", "#!/bin/sh\n", 0755 },
        { "bin/data", "x", 0644 },
        { "sh-bin/sh", "#!/bin/sh\n", 0755 },
        { "all-bin/node", "#!/bin/sh\n", 0755 },
        { "all-bin/bun", "#!/bin/sh\n", 0755 },
        { "all-bin/python", "#!/bin/sh\n", 0755 },
        { "all-bin/python3", "#!/bin/sh\n", 0755 },
        { "w/app.js", "", 0644 },
        { "w/my.app.js", "", 0644 },
        { "w/srv.py", "", 0644 },
        { "w/job.sh", "", 0644 },
        { "w/job.rb", "", 0644 },
        { "w/a.ts", "", 0644 },
        { "w/a.tsx", "", 0644 },
        { "w/with space.js", "", 0644 },
        { "w/run", "#!/bin/sh\n", 0755 },
        { "w/.hidden", "", 0644 },
        { "w/all.js", "", 0644 },
        { "w/42.js", "", 0644 },
        { "w/tool", "shadows the one in PATH", 0644 },
        { "w/svc/index.js", "", 0644 },
        { "w/pkg/package.json", "{\"main\":\"lib.js\",\"version\":\"3.2.1\"}", 0644 },
        { "w/pkg/lib.js", "", 0644 },
        { "w/empty/README", "", 0644 },
        { "w/local/helper", "#!/bin/sh\n", 0755 },
};

/* '@' stands for the directory of the test, and is where w, bin, … are. */
static char *at(const char *dir, const char *s) {
        char *text = strdup("");

        for (; s && *s; s++) {
                char one[2] = { *s, 0 }, *longer = strjoin(text, *s == '@' ? dir : one);

                free(text);
                text = longer;
        }
        if (!text)
                abort();
        return text;
}

static char *fixture(void) {
        char *dir = tree_new();
        _cleanup_free_ char *fifo = strjoin(dir, "/w/fifo");

        for (size_t i = 0; i < ELEMENTSOF(files); i++)
                free(tree_write(dir, files[i].name, files[i].content, strlen(files[i].content), files[i].mode));
        if (mkfifo(fifo, 0600) < 0)
                abort();
        return dir;
}

static AppConfig *config_of(const char *dir, const char *definition) {
        _cleanup_free_ char *text = at(dir, definition), *env = NULL;
        _cleanup_json_ json_object *object = json_tokener_parse(text), *standard = NULL;
        AppConfig *c;

        env = at(dir, "[\"PATH=@/bin\",\"HOME=@/w\"]");
        standard = json_tokener_parse(env);
        if (!object || app_config_new(&c) < 0 || app_config_set(c, "env", standard, NULL) < 0 || app_config_set_all(c, object, NULL) < 0)
                abort();
        return c;
}

static const struct {
        const char *definition, *name, *exec_path, *interpreter, *interpreter_path;
        const char *args; /* joined by '|' */
} found[] = {
        { "{\"script\":\"app.js\"}", "app", "@/w/app.js", "node", "@/bin/node", "" },
        { "{\"script\":\"./app.js\",\"args\":\"a b\"}", "app", "@/w/app.js", "node", "@/bin/node", "a|b" },
        { "{\"script\":\"@/w/../w/app.js\"}", "app", "@/w/app.js", "node", "@/bin/node", "" },
        { "{\"script\":\"~/app.js\"}", "app", "@/w/app.js", "node", "@/bin/node", "" },
        { "{\"script\":\"my.app.js\"}", "my.app", "@/w/my.app.js", "node", "@/bin/node", "" },
        { "{\"script\":\"app.js\",\"name\":\"web\"}", "web", "@/w/app.js", "node", "@/bin/node", "" },
        { "{\"script\":\"app.js\",\"name_prefix\":\"p\"}", "p:app", "@/w/app.js", "node", "@/bin/node", "" },
        { "{\"script\":\"app.js\",\"name_prefix\":\"p\",\"name\":\"web\"}", "p:web", "@/w/app.js", "node", "@/bin/node", "" },
        { "{\"script\":\"app.js\",\"log_file\":true}", "app", "@/w/app.js", "node", "@/bin/node", "" },
        { "{\"script\":\"app.js\",\"interpreter\":\"none\"}", "app", "@/w/app.js", "none", NULL, "" },
        { "{\"script\":\"app.js\",\"interpreter\":\"@/bin/tool\"}", "app", "@/w/app.js", "@/bin/tool", "@/bin/tool", "" },
        { "{\"script\":\"app.js\",\"interpreter\":\"../bin/tool\"}", "app", "@/w/app.js", "../bin/tool", "@/bin/tool", "" },
        { "{\"script\":\"srv.py\"}", "srv", "@/w/srv.py", "python3", "@/bin/python3", "" },
        { "{\"script\":\"srv.py\",\"interpreter\":\"python\"}", "srv", "@/w/srv.py", "python", "@/bin/python3", "" },
        { "{\"script\":\"srv.py\",\"env\":[\"PATH=@/all-bin\"]}", "srv", "@/w/srv.py", "python", "@/all-bin/python", "" },
        { "{\"script\":\"job.sh\"}", "job", "@/w/job.sh", "bash", "@/bin/bash", "" },
        { "{\"script\":\"a.ts\"}", "a", "@/w/a.ts", "node", "@/bin/node", "" },
        { "{\"script\":\"a.ts\",\"env\":[\"PATH=@/all-bin\"]}", "a", "@/w/a.ts", "bun", "@/all-bin/bun", "" },
        { "{\"script\":\"with space.js\"}", "with space", "@/w/with space.js", "node", "@/bin/node", "" },
        { "{\"script\":\"run\"}", "run", "@/w/run", "none", NULL, "" },
        { "{\"script\":\".hidden\"}", ".hidden", "@/w/.hidden", "node", "@/bin/node", "" },
        { "{\"script\":\"tool\"}", "tool", "@/w/tool", "node", "@/bin/node", "" },
        { "{\"script\":\"tool\",\"cwd\":\"@/bin\"}", "tool", "@/bin/tool", "none", NULL, "" },
        { "{\"script\":\"tool\",\"cwd\":\"svc\"}", "tool", "@/bin/tool", "none", NULL, "" },
        { "{\"script\":\"helper\",\"env\":[\"PATH=nowhere:local\"]}", "helper", "@/w/local/helper", "none", NULL, "" },
        { "{\"script\":\"svc\"}", "svc", "@/w/svc/index.js", "node", "@/bin/node", "" },
        { "{\"script\":\"./svc/\"}", "svc", "@/w/svc/index.js", "node", "@/bin/node", "" },
        { "{\"script\":\"pkg\"}", "pkg", "@/w/pkg/lib.js", "node", "@/bin/node", "" },
        { "{\"script\":\".\",\"cwd\":\"@/w/pkg\"}", "pkg", "@/w/pkg/lib.js", "node", "@/bin/node", "" },
        { "{\"script\":\"node ./sl.js --x 1\"}", "sl", "@/bin/bash", "none", NULL, "-c|node ./sl.js --x 1" },
        { "{\"script\":\"echo hi; sleep 9\",\"args\":[\"a\"]}", "echo hi; sleep 9", "@/bin/bash", "none", NULL, "-c|echo hi; sleep 9|a" },
        { "{\"script\":\"python3 -c 'import time; time.sleep(9)'\"}", "python3 -c 'import time; time", "@/bin/bash", "none", NULL,
          "-c|python3 -c 'import time; time.sleep(9)'" },
        { "{\"script\":\"a b\",\"interpreter\":\"node\"}", "a b", "@/bin/bash", "none", NULL, "-c|a b" },
        { "{\"script\":\"a b\",\"env\":[\"PATH=@/sh-bin\"]}", "a b", "@/sh-bin/sh", "none", NULL, "-c|a b" },
};

static void expect(const char *dir, const char *actual, const char *expected) {
        _cleanup_free_ char *text = expected ? at(dir, expected) : NULL;

        ASSERT_STREQ(actual, text);
}

TEST(found) {
        _cleanup_(tree_remove) char *dir = fixture();
        _cleanup_free_ char *base = at(dir, "@/w");

        for (size_t i = 0; i < ELEMENTSOF(found); i++) {
                _cleanup_app_config_unref_ AppConfig *c = config_of(dir, found[i].definition);

                printf("# %s\n", found[i].definition);

                /* Twice: what was derived must not be taken for given the second time. */
                for (unsigned k = 0; k < 2; k++) {
                        _cleanup_free_ char *err = NULL, *args = NULL;
                        int r;

                        r = app_config_finish(c, base, &err);
                        ASSERT_STREQ(err, NULL);
                        ASSERT_OK(r);

                        args = strv_join(c->args, "|");
                        expect(dir, c->name, found[i].name);
                        expect(dir, c->exec_path, found[i].exec_path);
                        expect(dir, c->interpreter, found[i].interpreter);
                        expect(dir, c->interpreter_path, found[i].interpreter_path);
                        expect(dir, args, found[i].args);
                }
        }
}

static const struct {
        const char *definition;
        int r;
        const char *err;
} faults[] = {
        { "{}", -EINVAL, "script: it is not given" },
        { "{\"script\":\"gone.js\"}", -ENOENT, "Script not found: @/w/gone.js" },
        { "{\"script\":\"./tool2\"}", -ENOENT, "Script not found: @/w/tool2" },
        { "{\"script\":\"app.js/x\"}", -ENOENT, "Script not found: @/w/app.js/x" },
        { "{\"script\":\"empty\"}", -ENOENT, "Script not found: @/w/empty" },
        { "{\"script\":\"bin/tool\"}", -ENOENT, "Script not found: @/w/bin/tool" },
        { "{\"script\":\"fifo\"}", -EINVAL, "script: '@/w/fifo' is no regular file" },
        { "{\"script\":\"data\"}", -EACCES, "Script not executable: 'data' is in PATH, but no file of this name there may be executed" },
        { "{\"script\":\"a b\",\"env\":[\"PATH=\"]}", -ENOENT, "Interpreter sh is NOT AVAILABLE in PATH. (type 'which sh' to double check.)" },
        { "{\"script\":\"job.rb\"}", -ENOENT, "Interpreter ruby is NOT AVAILABLE in PATH. (type 'which ruby' to double check.)" },
        { "{\"script\":\"a.tsx\"}", -ENOENT, "Interpreter bun is NOT AVAILABLE in PATH. (type 'which bun' to double check.)" },
        { "{\"script\":\"a.ts\",\"interpreter\":\"bun\"}", -ENOENT, "Interpreter bun is NOT AVAILABLE in PATH. (type 'which bun' to double check.)" },
        { "{\"script\":\"srv.py\",\"env\":[\"PATH=@/sh-bin\"]}", -ENOENT,
          "Interpreter python is NOT AVAILABLE in PATH. (type 'which python' to double check.)" },
        { "{\"script\":\"app.js\",\"interpreter\":\"data\"}", -EACCES, "Interpreter data may not be executed. Check its permissions" },
        { "{\"script\":\"app.js\",\"cwd\":\"@/gone\"}", -ENOENT,
          "cwd: '@/gone' cannot be used: No such file or directory. Create it, or give another directory with --cwd" },
        { "{\"script\":\"app.js\",\"cwd\":\"@/w/app.js\"}", -ENOTDIR,
          "cwd: '@/w/app.js' is not a directory. Give another one with --cwd" },
        { "{\"script\":\"app.js\",\"user\":\"no-such-user\"}", -EINVAL, "user: User no-such-user cannot be found" },
        { "{\"script\":\"app.js\",\"user\":4294967294}", -EINVAL, "user: User 4294967294 cannot be found" },
        { "{\"script\":\"app.js\",\"group\":\"no-such-group\"}", -EINVAL, "group: Group no-such-group cannot be found" },
        { "{\"script\":\"app.js\",\"name\":\"7\"}", -EINVAL,
          "name: '7' cannot be the name of an app: it is a number and would be taken for the id of a process" },
        { "{\"script\":\"42.js\"}", -EINVAL,
          "name: '42' cannot be the name of an app: it is a number and would be taken for the id of a process. Give another one with --name" },
        { "{\"script\":\"all.js\"}", -EINVAL,
          "name: 'all' cannot be the name of an app: it would be taken for all apps. Give another one with --name" },
        { "{\"script\":\"app.js\",\"namespace\":\"a/b\"}", -EINVAL, "namespace: 'a/b' cannot be a namespace: it contains a '/'" },
        { "{\"script\":\"app.js\",\"instance_var\":\"A=B\"}", -EINVAL, "instance_var: 'A=B' cannot be the name of a variable" },
        { "{\"script\":\"app.js\",\"out_file\":\"~/o.log\",\"env\":[\"PATH=@/bin\"]}", -EINVAL,
          "out_file: '~' is the home directory, but HOME is not in the environment" },
};

TEST(faults) {
        _cleanup_(tree_remove) char *dir = fixture();
        _cleanup_free_ char *base = at(dir, "@/w");

        for (size_t i = 0; i < ELEMENTSOF(faults); i++) {
                _cleanup_app_config_unref_ AppConfig *c = config_of(dir, faults[i].definition);
                _cleanup_free_ char *err = NULL;

                printf("# %s\n", faults[i].definition);
                ASSERT_EQ(app_config_finish(c, base, &err), faults[i].r);
                expect(dir, err, faults[i].err);
                ASSERT_EQ(app_config_finish(c, base, NULL), faults[i].r);
        }
}

TEST(without_base) {
        _cleanup_(tree_remove) char *dir = fixture();
        _cleanup_app_config_unref_ AppConfig *none = config_of(dir, "{\"script\":\"app.js\"}"),
                                             *relative = config_of(dir, "{\"script\":\"app.js\",\"cwd\":\"w\"}"),
                                             *home = config_of(dir, "{\"script\":\"app.js\",\"cwd\":\"~\"}"),
                                             *absolute = config_of(dir, "{\"script\":\"app.js\",\"cwd\":\"@/w/\"}");
        _cleanup_free_ char *err = NULL;

        ASSERT_EQ(app_config_finish(none, NULL, &err), -EINVAL);
        ASSERT_STREQ(err, "cwd: it is not given");
        ASSERT_EQ(app_config_finish(relative, NULL, &err), -EINVAL);
        ASSERT_STREQ(err, "cwd: 'w' is not absolute");
        ASSERT_OK(app_config_finish(home, NULL, NULL));
        expect(dir, home->cwd, "@/w");
        ASSERT_OK(app_config_finish(absolute, NULL, NULL));
        expect(dir, absolute->cwd, "@/w");
}

/* n: number of processes, negative: that many less than CPUs (-1: as many as CPUs; at least 1). */
#define CPUS(less) (-1 - (less))

static const struct {
        const char *definition;
        ExecMode mode;
        int n;
        bool merge_logs;
} modes[] = {
        { "{\"script\":\"app.js\"}", EXEC_MODE_FORK, 1, true },
        { "{\"script\":\"app.js\",\"instances\":1}", EXEC_MODE_CLUSTER, 1, false },
        { "{\"script\":\"app.js\",\"instances\":4}", EXEC_MODE_CLUSTER, 4, false },
        { "{\"script\":\"app.js\",\"instances\":\"max\"}", EXEC_MODE_CLUSTER, CPUS(0), false },
        { "{\"script\":\"app.js\",\"instances\":0}", EXEC_MODE_CLUSTER, CPUS(0), false },
        { "{\"script\":\"app.js\",\"instances\":-1}", EXEC_MODE_CLUSTER, CPUS(1), false },
        { "{\"script\":\"app.js\",\"instances\":-2}", EXEC_MODE_FORK, CPUS(2), false },
        { "{\"script\":\"app.js\",\"instances\":-4000}", EXEC_MODE_FORK, CPUS(4000), false },
        { "{\"script\":\"app.js\",\"instances\":4,\"exec_mode\":\"fork\"}", EXEC_MODE_FORK, 4, false },
        { "{\"script\":\"app.js\",\"instances\":4,\"exec_mode\":\"auto\"}", EXEC_MODE_CLUSTER, 4, false },
        { "{\"script\":\"app.js\",\"exec_mode\":\"cluster\"}", EXEC_MODE_CLUSTER, 1, false },
        { "{\"script\":\"app.js\",\"exec_mode\":\"fork\"}", EXEC_MODE_FORK, 1, true },
        { "{\"script\":\"app.js\",\"merge_logs\":false}", EXEC_MODE_FORK, 1, false },
        { "{\"script\":\"app.js\",\"instances\":2,\"merge_logs\":true}", EXEC_MODE_CLUSTER, 2, true },
        { "{\"script\":\"app.js\",\"instances\":2,\"interpreter\":\"@/bin/node\"}", EXEC_MODE_CLUSTER, 2, false },
        { "{\"script\":\"srv.py\",\"instances\":2}", EXEC_MODE_FORK, 2, false },
        { "{\"script\":\"run\",\"instances\":2}", EXEC_MODE_FORK, 2, false },
        { "{\"script\":\"node x.js\",\"instances\":2}", EXEC_MODE_FORK, 2, false },
        { "{\"script\":\"a.ts\",\"instances\":2,\"env\":[\"PATH=@/all-bin\"]}", EXEC_MODE_CLUSTER, 2, false },
};

TEST(exec_mode) {
        _cleanup_(tree_remove) char *dir = fixture();
        _cleanup_free_ char *base = at(dir, "@/w");
        int n_cpus = (int) sysconf(_SC_NPROCESSORS_ONLN);

        for (size_t i = 0; i < ELEMENTSOF(modes); i++) {
                _cleanup_app_config_unref_ AppConfig *c = config_of(dir, modes[i].definition);
                int wanted = modes[i].n < 0 ? n_cpus + 1 + modes[i].n : modes[i].n, n = MAX(wanted, 1);

                printf("# %s\n", modes[i].definition);
                for (unsigned k = 0; k < 2; k++) {
                        ASSERT_OK(app_config_finish(c, base, NULL));
                        ASSERT_STREQ(exec_mode_to_string(c->exec_mode), exec_mode_to_string(modes[i].mode));
                        ASSERT_EQ(c->instances, n);
                        ASSERT_EQ(c->merge_logs, modes[i].merge_logs);
                }
        }
}

static const struct {
        const char *definition, *value;
} pythons[] = {
        { "{\"script\":\"srv.py\"}", "1" },
        { "{\"script\":\"app.js\",\"interpreter\":\"@/bin/python3\"}", "1" },
        { "{\"script\":\"srv.py\",\"env\":[\"PATH=@/bin\",\"PYTHONUNBUFFERED=\"]}", "" },
        { "{\"script\":\"app.js\"}", NULL },
        { "{\"script\":\"srv.py\",\"interpreter\":\"none\"}", NULL },
};

TEST(python_environment) {
        _cleanup_(tree_remove) char *dir = fixture();
        _cleanup_free_ char *base = at(dir, "@/w");

        for (size_t i = 0; i < ELEMENTSOF(pythons); i++) {
                _cleanup_app_config_unref_ AppConfig *c = config_of(dir, pythons[i].definition);

                printf("# %s\n", pythons[i].definition);
                ASSERT_OK(app_config_finish(c, base, NULL));
                ASSERT_STREQ(strv_env_get(c->env, "PYTHONUNBUFFERED"), pythons[i].value);
        }
}

TEST(files) {
        _cleanup_(tree_remove) char *dir = fixture();
        _cleanup_free_ char *base = at(dir, "@/w");
        _cleanup_app_config_unref_ AppConfig *c = config_of(dir,
                "{\"script\":\"app.js\",\"out\":\"../o.log\",\"err\":\"NULL\",\"log\":\"~/l.log\",\"pid\":\"/run/p.pid\"}");

        ASSERT_OK(app_config_finish(c, base, NULL));
        expect(dir, c->out_file, "@/o.log");
        ASSERT_STREQ(c->error_file, "/dev/null");
        expect(dir, c->log_file, "@/w/l.log");
        ASSERT_STREQ(c->pid_file, "/run/p.pid");
}

TEST(version) {
        _cleanup_(tree_remove) char *dir = fixture();
        _cleanup_app_config_unref_ AppConfig *script = config_of(dir, "{\"script\":\"pkg\",\"cwd\":\"@/w\"}"),
                                             *shell = config_of(dir, "{\"script\":\"npm start\",\"cwd\":\"@/w/pkg\"}"),
                                             *elsewhere = config_of(dir, "{\"script\":\"tool\",\"cwd\":\"@/w/pkg\"}");

        ASSERT_OK(app_config_finish(script, NULL, NULL));
        ASSERT_STREQ(script->version, "3.2.1");
        ASSERT_OK(app_config_finish(shell, NULL, NULL));
        ASSERT_STREQ(shell->version, "3.2.1");
        ASSERT_OK(app_config_finish(elsewhere, NULL, NULL));
        ASSERT_STREQ(elsewhere->version, "N/A");
}

/* A finished definition tells what was given, not what was made of it, so that it can be finished again elsewhere. */
TEST(json_of_finished) {
        _cleanup_(tree_remove) char *dir = fixture();
        _cleanup_app_config_unref_ AppConfig *c = config_of(dir, "{\"script\":\"echo hi\",\"args\":[\"x\"],\"instances\":\"max\",\"cwd\":\"/\"}");
        _cleanup_json_ json_object *object = NULL, *expected = json_tokener_parse(
                "{\"script\":\"echo hi\",\"args\":[\"x\"],\"cwd\":\"/\",\"instances\":0}");

        ASSERT_OK(app_config_finish(c, NULL, NULL));
        ASSERT_OK(app_config_to_json(c, &object));
        ASSERT_TRUE(json_object_equal(object, expected));
}

TEST(shell_command_changed_to_script) {
        _cleanup_(tree_remove) char *dir = fixture();
        _cleanup_app_config_unref_ AppConfig *c = config_of(dir, "{\"script\":\"echo hi\",\"args\":[\"x\"],\"cwd\":\"@/w\"}"), *copy = NULL;
        _cleanup_json_ json_object *script = json_object_new_string("app.js");

        ASSERT_OK(app_config_finish(c, NULL, NULL));
        ASSERT_OK(app_config_copy(c, &copy));
        ASSERT_TRUE(copy->shell);

        ASSERT_OK(app_config_set(copy, "script", script, NULL));
        ASSERT_OK(app_config_finish(copy, NULL, NULL));
        ASSERT_TRUE(!copy->shell);
        ASSERT_EQ(strv_length(copy->args), 1);
        ASSERT_STREQ(copy->args[0], "x");
        ASSERT_STREQ(copy->interpreter, "node");
        ASSERT_EQ(strv_length(c->args), 3);
}

TEST(shell_command_with_other_args) {
        _cleanup_(tree_remove) char *dir = fixture();
        _cleanup_app_config_unref_ AppConfig *c = config_of(dir, "{\"script\":\"echo hi\",\"args\":[\"x\",\"y\"],\"cwd\":\"@/w\"}");
        _cleanup_json_ json_object *args = json_tokener_parse("[\"z\"]");
        _cleanup_free_ char *joined = NULL;

        ASSERT_OK(app_config_finish(c, NULL, NULL));
        ASSERT_OK(app_config_set(c, "args", args, NULL));
        ASSERT_OK(app_config_finish(c, NULL, NULL));
        joined = strv_join(c->args, "|");
        ASSERT_STREQ(joined, "-c|echo hi|z");
}
