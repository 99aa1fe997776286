/* SPDX-License-Identifier: MIT */
#include "pmd/oom-log.h"
#include "shared/string-util.h"
#include "test.h"

#define LINE "6,1234,5678900,-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/pm.slice/pm-a.slice," \
             "task_memcg=/pm.slice/pm-a.slice/pm-a-0-1.scope,task=%s,pid=746,uid=0\n"

static int parse(const char *name, OomRecord *ret) {
        _cleanup_free_ char *line = strprintf(LINE, name);

        return oom_record_parse(line, ret);
}

TEST(record) {
        OomRecord r = {};

        ASSERT_EQ(parse("python3", &r), 1);
        ASSERT_EQ(r.pid, 746);
        ASSERT_STREQ(r.name, "python3");
        ASSERT_STREQ(r.cgroup, "/pm.slice/pm-a.slice/pm-a-0-1.scope");
        ASSERT_STREQ(r.limit_cgroup, "/pm.slice/pm-a.slice");
        oom_record_done(&r);
        oom_record_done(&r);
}

/* The name is the app's to choose. */
TEST(record_name) {
        OomRecord r = {};

        ASSERT_EQ(parse("x,pid=1,uid=0", &r), 1);
        ASSERT_EQ(r.pid, 746);
        ASSERT_STREQ(r.name, "x,pid=1,uid=0");
        oom_record_done(&r);
        ASSERT_EQ(parse(",task=y", &r), 1);
        ASSERT_STREQ(r.name, ",task=y");
        oom_record_done(&r);
        ASSERT_EQ(parse("", &r), 1);
        ASSERT_STREQ(r.name, "");
        oom_record_done(&r);
}

/* The log doubles the escapes of unit names. */
TEST(record_escapes) {
        OomRecord r = {};

        ASSERT_EQ(oom_record_parse("6,1,2,-;oom-kill:x,global_oom,task_memcg=/a\\x5cx2db.scope\\x,task=n\\x5c,pid=7,uid=0", &r), 1);
        ASSERT_STREQ(r.cgroup, "/a\\x2db.scope\\x");
        ASSERT_STREQ(r.name, "n\\x5c");
        oom_record_done(&r);
}

TEST(record_of_the_machine) {
        OomRecord r = {};

        ASSERT_EQ(oom_record_parse("6,1,2,-;oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),global_oom,task_memcg=/a,task=node,pid=7,uid=0", &r), 1);
        ASSERT_TRUE(!r.limit_cgroup);
        ASSERT_STREQ(r.cgroup, "/a");
        oom_record_done(&r);
}

TEST(other_records) {
        static const char *const lines[] = {
                "",
                "oom-kill:constraint=CONSTRAINT_MEMCG,task_memcg=/a,task=node,pid=7,uid=0",
                "6,1,2,-;",
                "6,1,2,-;oom-kill:",
                "6,1,2,-;oom-kill:task_memcg=/a,task=node",
                "6,1,2,-;oom-kill:x,task_memcg=/a,task=node,pid=0,uid=0",
                "6,1,2,-;oom-kill:x,task_memcg=/a,task=node,pid=-7,uid=0",
                "6,1,2,-;oom-kill:x,task_memcg=/a,task=node,pid=99999999999,uid=0",
                "6,1,2,-;oom-kill:x,task=node,pid=7,uid=0",
                "6,1,2,-;Memory cgroup out of memory: Killed process 746 (python3) total-vm:116336kB",
                "12,1,2,-;oom-kill:x,task_memcg=/a,task=node,pid=7,uid=0",
                "12,1,2,-;app: oom-kill:x,task_memcg=/a,task=node,pid=7,uid=0",
        };

        for (size_t i = 0; i < ELEMENTSOF(lines); i++) {
                OomRecord r = {};

                ASSERT_EQ(oom_record_parse(lines[i], &r), 0);
        }
}

/* Whether or not the kernel's log may be read here, nobody has been killed in such a cgroup. */
TEST(log) {
        OomLog *l;

        ASSERT_OK(oom_log_new(&l));
        ASSERT_TRUE(!oom_log_find(l, "/pmd-test.slice/pm-no-such-0-1.scope", 0));
        ASSERT_TRUE(!oom_log_find(l, "/pmd-test.slice/pm-no-such-0-1.scope", 1));
        ASSERT_TRUE(!oom_log_find(NULL, "/a", 0));
        oom_log_free(l);
}
