#include "xdp/classic.h"

#include <sys/socket.h>

#include "xdp/bpf/steer.h"

/* Words of the program's memory. */
enum { V0, V1, V2, V3, SCRATCH, WORD0, WORD1, ROUTING };

#define NOT_OURS UINT32_MAX

static void emit(struct classic_program *p, unsigned code, uint32_t k) {
    p->code[p->count++] = (struct sock_filter)BPF_STMT((uint16_t)code, k);
}

static void emit_jump(struct classic_program *p, unsigned code, uint32_t k, uint8_t if_true, uint8_t if_false) {
    p->code[p->count++] = (struct sock_filter)BPF_JUMP((uint16_t)code, k, if_true, if_false);
}

/* ---- arithmetic on the words of memory ---- */

static void set(struct classic_program *p, uint32_t word, uint32_t value) {
    emit(p, BPF_LD | BPF_IMM, value);
    emit(p, BPF_ST, word);
}

/* word = word OPERATION other */
static void change(struct classic_program *p, unsigned operation, uint32_t word, uint32_t other) {
    emit(p, BPF_LD | BPF_MEM, word);
    emit(p, BPF_LDX | BPF_MEM, other);
    emit(p, BPF_ALU | operation | BPF_X, 0);
    emit(p, BPF_ST, word);
}

static void change_by(struct classic_program *p, unsigned operation, uint32_t word, uint32_t value) {
    emit(p, BPF_LD | BPF_MEM, word);
    emit(p, BPF_ALU | operation | BPF_K, value);
    emit(p, BPF_ST, word);
}

static void rotate(struct classic_program *p, uint32_t word, uint32_t bits) {
    emit(p, BPF_LD | BPF_MEM, word);
    emit(p, BPF_ALU | BPF_LSH | BPF_K, bits);
    emit(p, BPF_ST, SCRATCH);
    change_by(p, BPF_RSH, word, 32 - bits);
    change(p, BPF_OR, word, SCRATCH);
}

/* ---- common/halfsiphash.h, in these ---- */

static void add_round(struct classic_program *p) {
    change(p, BPF_ADD, V0, V1);
    rotate(p, V1, 5);
    change(p, BPF_XOR, V1, V0);
    rotate(p, V0, 16);
    change(p, BPF_ADD, V2, V3);
    rotate(p, V3, 8);
    change(p, BPF_XOR, V3, V2);
    change(p, BPF_ADD, V0, V3);
    rotate(p, V3, 7);
    change(p, BPF_XOR, V3, V0);
    change(p, BPF_ADD, V2, V1);
    rotate(p, V1, 13);
    change(p, BPF_XOR, V1, V2);
    rotate(p, V2, 16);
}

static void add_word(struct classic_program *p, uint32_t word) {
    change(p, BPF_XOR, V3, word);
    add_round(p);
    add_round(p);
    change(p, BPF_XOR, V0, word);
}

/* Leaves the hash of WORD0 and WORD1 in V1. */
static void add_hash(struct classic_program *p, const uint32_t key[2]) {
    set(p, V0, key[0]);
    set(p, V1, key[1]);
    set(p, V2, key[0] ^ 0x6c796765);
    set(p, V3, key[1] ^ 0x74656462);
    add_word(p, WORD0);
    add_word(p, WORD1);
    set(p, WORD0, 8u << 24);
    add_word(p, WORD0);
    change_by(p, BPF_XOR, V2, 0xff);
    for (int i = 0; i < 4; i++)
        add_round(p);
    change(p, BPF_XOR, V1, V3);
}

/* ---- the program ---- */

/* Leaves in X where the connection ID begins; ends the program where there is none of our length. The data begin behind the
 * UDP header. A load beyond them would end the program with 0, which is an index, so lengths are looked at first. */
static void add_search(struct classic_program *p, uint32_t n) {
    emit(p, BPF_LD | BPF_W | BPF_LEN, 0);
    emit_jump(p, BPF_JMP | BPF_JGE | BPF_K, STEER_LONG_ID, 0, 9);
    emit(p, BPF_LDX | BPF_IMM, STEER_SHORT_ID);
    emit(p, BPF_LD | BPF_B | BPF_ABS, 0);
    emit_jump(p, BPF_JMP | BPF_JSET | BPF_K, STEER_LONG_HEADER, 0, 3);
    emit(p, BPF_LDX | BPF_IMM, STEER_LONG_ID);
    emit(p, BPF_LD | BPF_B | BPF_ABS, STEER_LONG_ID - 1);
    emit_jump(p, BPF_JMP | BPF_JEQ | BPF_K, n, 0, 3);
    emit(p, BPF_LD | BPF_W | BPF_LEN, 0);
    emit(p, BPF_ALU | BPF_SUB | BPF_X, 0);
    emit_jump(p, BPF_JMP | BPF_JGE | BPF_K, n, 1, 0);
    emit(p, BPF_RET | BPF_K, NOT_OURS);
}

static void add_load(struct classic_program *p, uint32_t offset, uint32_t word) {
    emit(p, BPF_LD | BPF_W | BPF_IND, offset);
    emit(p, BPF_ST, word);
}

/* ROUTING ^ V1 is worker, generation and check. */
static void add_answer(struct classic_program *p, uint32_t tag, uint32_t sockets) {
    change(p, BPF_XOR, ROUTING, V1);
    emit(p, BPF_ALU | BPF_AND | BPF_K, 0xffff);
    emit_jump(p, BPF_JMP | BPF_JEQ | BPF_K, tag, 0, 5);
    emit(p, BPF_LD | BPF_MEM, ROUTING);
    emit(p, BPF_ALU | BPF_RSH | BPF_K, 16);
    emit(p, BPF_ALU | BPF_AND | BPF_K, 0xff);
    emit_jump(p, BPF_JMP | BPF_JGE | BPF_K, sockets, 1, 0);
    emit(p, BPF_RET | BPF_A, 0);
    emit(p, BPF_RET | BPF_K, NOT_OURS);
}

void classic_build(struct classic_program *p, const struct steering_rule *rule, unsigned sockets) {
    p->count = 0;
    add_search(p, rule->id_length);
    add_load(p, rule->id_length - STEER_TAIL + 1, WORD0);
    add_load(p, rule->id_length - STEER_TAIL + 5, WORD1);
    add_load(p, rule->id_length - 4u, ROUTING);
    add_hash(p, rule->key);
    add_answer(p, steer_tag(rule->generation), sockets);
}

int classic_attach(int fd, const struct steering_rule *rule, unsigned sockets) {
    struct classic_program p;
    classic_build(&p, rule, sockets);
    const struct sock_fprog program = {.len = p.count, .filter = p.code};
    return setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof program);
}
