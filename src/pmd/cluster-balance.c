/* SPDX-License-Identifier: MIT */
#include <linux/bpf.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pmd/cluster-balance.h"

#include "shared/fd-util.h"

#ifndef SO_ATTACH_REUSEPORT_EBPF
#define SO_ATTACH_REUSEPORT_EBPF 52
#endif

struct ClusterBalance {
        int state_fd;    /* map: 0 → State */
        int sockets_fd;  /* map: slot → socket */
        int program_fd;  /* -EBADF: attached */
};

/* Written by pmd; the program counts. Whatever mixture of an old and a new state the program sees, it finds a slot that has, or had, a socket. */
typedef struct State {
        uint32_t turn, n_active;
        uint32_t slots[CLUSTER_SLOTS_MAX];
} State;

static int bpf(enum bpf_cmd command, union bpf_attr *attr) {
        long r = syscall(SYS_bpf, command, attr, sizeof(*attr));

        return r < 0 ? -errno : (int) r;
}

static int make_map(enum bpf_map_type type, unsigned value_size, unsigned n) {
        union bpf_attr attr = {
                .map_type = type,
                .key_size = sizeof(uint32_t),
                .value_size = value_size,
                .max_entries = n,
        };

        return bpf(BPF_MAP_CREATE, &attr);
}

static int update_map(int fd, uint32_t key, const void *value) {
        union bpf_attr attr = {
                .map_fd = (uint32_t) fd,
                .key = (uintptr_t) &key,
                .value = (uintptr_t) value,
                .flags = BPF_ANY,
        };

        return bpf(BPF_MAP_UPDATE_ELEM, &attr);
}

#define INSN(c, d, s, o, i) ((struct bpf_insn) { .code = (c), .dst_reg = (d), .src_reg = (s), .off = (o), .imm = (i) })
#define MOVE(d, s) INSN(BPF_ALU64 | BPF_MOV | BPF_X, d, s, 0, 0)
#define MOVE_NUMBER(d, n) INSN(BPF_ALU64 | BPF_MOV | BPF_K, d, 0, 0, n)
#define ADD(d, s) INSN(BPF_ALU64 | BPF_ADD | BPF_X, d, s, 0, 0)
#define ADD_NUMBER(d, n) INSN(BPF_ALU64 | BPF_ADD | BPF_K, d, 0, 0, n)
#define SHIFT_LEFT(d, n) INSN(BPF_ALU64 | BPF_LSH | BPF_K, d, 0, 0, n)
#define MODULO_32(d, s) INSN(BPF_ALU | BPF_MOD | BPF_X, d, s, 0, 0)
#define LOAD_32(d, s, o) INSN(BPF_LDX | BPF_MEM | BPF_W, d, s, o, 0)
#define STORE_32(d, o, s) INSN(BPF_STX | BPF_MEM | BPF_W, d, s, o, 0)
#define STORE_NUMBER_32(d, o, n) INSN(BPF_ST | BPF_MEM | BPF_W, d, 0, o, n)
#define FETCH_ADD_32(d, o, s) INSN(BPF_STX | BPF_ATOMIC | BPF_W, d, s, o, BPF_ADD | BPF_FETCH)
#define LOAD_MAP(d, fd) INSN(BPF_LD | BPF_DW | BPF_IMM, d, BPF_PSEUDO_MAP_FD, 0, fd), INSN(0, 0, 0, 0, 0)
#define CALL(f) INSN(BPF_JMP | BPF_CALL, 0, 0, 0, f)
#define SKIP_IF_ZERO(d, n) INSN(BPF_JMP | BPF_JEQ | BPF_K, d, 0, n, 0)
#define SKIP_IF_NOT_BELOW(d, i, n) INSN(BPF_JMP | BPF_JGE | BPF_K, d, 0, n, i)
#define EXIT INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)

/* slot = state.slots[state.turn++ % state.n_active]; select it. Where nothing is selected the kernel falls back on its hash. The same program is asked
 * where to move a connection to whose socket is closed, which needs the right kind of attachment. */
static int load_program(int state_fd, int sockets_fd) {
        const struct bpf_insn program[] = {
                MOVE(BPF_REG_6, BPF_REG_1),
                STORE_NUMBER_32(BPF_REG_10, -4, 0),
                LOAD_MAP(BPF_REG_1, state_fd),
                MOVE(BPF_REG_2, BPF_REG_10),
                ADD_NUMBER(BPF_REG_2, -4),
                CALL(BPF_FUNC_map_lookup_elem),
                SKIP_IF_ZERO(BPF_REG_0, 17),
                LOAD_32(BPF_REG_7, BPF_REG_0, offsetof(State, n_active)),
                SKIP_IF_ZERO(BPF_REG_7, 15),
                MOVE_NUMBER(BPF_REG_8, 1),
                FETCH_ADD_32(BPF_REG_0, offsetof(State, turn), BPF_REG_8),
                MODULO_32(BPF_REG_8, BPF_REG_7),
                SKIP_IF_NOT_BELOW(BPF_REG_8, CLUSTER_SLOTS_MAX, 11),
                SHIFT_LEFT(BPF_REG_8, 2),
                ADD(BPF_REG_0, BPF_REG_8),
                LOAD_32(BPF_REG_9, BPF_REG_0, offsetof(State, slots)),
                STORE_32(BPF_REG_10, -4, BPF_REG_9),
                MOVE(BPF_REG_1, BPF_REG_6),
                LOAD_MAP(BPF_REG_2, sockets_fd),
                MOVE(BPF_REG_3, BPF_REG_10),
                ADD_NUMBER(BPF_REG_3, -4),
                MOVE_NUMBER(BPF_REG_4, 0),
                CALL(BPF_FUNC_sk_select_reuseport),
                MOVE_NUMBER(BPF_REG_0, SK_PASS),
                EXIT,
        };
        union bpf_attr attr = {
                .prog_type = BPF_PROG_TYPE_SK_REUSEPORT,
                .expected_attach_type = BPF_SK_REUSEPORT_SELECT_OR_MIGRATE,
                .insns = (uintptr_t) program,
                .insn_cnt = ELEMENTSOF(program),
                .license = (uintptr_t) "MIT",
        };

        return bpf(BPF_PROG_LOAD, &attr);
}

int cluster_balance_adopt(int state_fd, int sockets_fd, ClusterBalance **ret) {
        ClusterBalance *b = new(ClusterBalance, 1);

        if (!b) {
                safe_close(state_fd);
                safe_close(sockets_fd);
                return -ENOMEM;
        }
        *b = (ClusterBalance) { state_fd, sockets_fd, -EBADF };
        *ret = b;
        return 0;
}

int cluster_balance_new(ClusterBalance **ret) {
        _cleanup_(cluster_balance_freep) ClusterBalance *b = NULL;
        _cleanup_close_ int state_fd = -EBADF, sockets_fd = -EBADF;
        int r;

        state_fd = make_map(BPF_MAP_TYPE_ARRAY, sizeof(State), 1);
        if (state_fd < 0)
                return state_fd;
        sockets_fd = make_map(BPF_MAP_TYPE_REUSEPORT_SOCKARRAY, sizeof(uint64_t), CLUSTER_SLOTS_MAX);
        if (sockets_fd < 0)
                return sockets_fd;
        r = cluster_balance_adopt(TAKE_FD(state_fd), TAKE_FD(sockets_fd), &b);
        if (r < 0)
                return r;
        b->program_fd = load_program(b->state_fd, b->sockets_fd);
        if (b->program_fd < 0)
                return b->program_fd;

        *ret = TAKE_PTR(b);
        return 0;
}

ClusterBalance *cluster_balance_free(ClusterBalance *b) {
        if (!b)
                return NULL;

        safe_close(b->state_fd);
        safe_close(b->sockets_fd);
        safe_close(b->program_fd);
        return mfree(b);
}

int cluster_balance_attach(ClusterBalance *b, int fd) {
        if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_EBPF, &b->program_fd, sizeof(b->program_fd)) < 0)
                return -errno;
        b->program_fd = safe_close(b->program_fd);
        return 0;
}

int cluster_balance_add(ClusterBalance *b, unsigned slot, int fd) {
        uint64_t value = (uint64_t) fd;

        return update_map(b->sockets_fd, slot, &value);
}

/* The count begins again, which is fair enough for as often as somebody comes or goes. */
int cluster_balance_set_active(ClusterBalance *b, const unsigned *slots, size_t n) {
        State state = { .n_active = (uint32_t) n };

        assert(n <= CLUSTER_SLOTS_MAX);

        for (size_t i = 0; i < CLUSTER_SLOTS_MAX && n > 0; i++)
                state.slots[i] = slots[i % n];
        return update_map(b->state_fd, 0, &state);
}

int cluster_balance_get_state_fd(const ClusterBalance *b) {
        return b->state_fd;
}

int cluster_balance_get_sockets_fd(const ClusterBalance *b) {
        return b->sockets_fd;
}
