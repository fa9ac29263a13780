/* SK_REUSEPORT: which socket of a group gets a datagram. See xdp/steering.h. Compiled with -target bpf. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "common/halfsiphash.h"
#include "xdp/bpf/steer.h"

enum { UDP_HEADER = 8, HEAD = STEER_LONG_ID };

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, STEER_GROUPS);
    __type(key, struct steer_key);
    __type(value, struct steer_group);
} groups SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_REUSEPORT_SOCKARRAY);
    __uint(max_entries, STEER_GROUPS * STEER_SOCKETS);
    __type(key, uint32_t);
    __type(value, uint64_t);
} sockets SEC(".maps");

static const struct steer_group *group_of(const struct sk_reuseport_md *r) {
    const struct bpf_sock *sk = r->sk;
    struct steer_key key = {.family = sk->family, .port = sk->src_port};
    if (key.family == 2) { /* AF_INET */
        key.ip[0] = sk->src_ip4;
    } else {
        key.ip[0] = sk->src_ip6[0];
        key.ip[1] = sk->src_ip6[1];
        key.ip[2] = sk->src_ip6[2];
        key.ip[3] = sk->src_ip6[3];
    }
    return bpf_map_lookup_elem(&groups, &key);
}

static uint32_t read_word(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* The end of the connection ID. False: there is none of our length. */
static int load_tail(const struct sk_reuseport_md *r, const struct steer_group *g, uint8_t tail[STEER_TAIL]) {
    uint8_t head[HEAD];
    uint32_t begin = STEER_SHORT_ID;
    if (bpf_skb_load_bytes(r, UDP_HEADER, head, sizeof head) < 0)
        return 0;
    if (head[0] & STEER_LONG_HEADER) {
        if (head[STEER_LONG_ID - 1] != g->id_length)
            return 0;
        begin = STEER_LONG_ID;
    }
    return bpf_skb_load_bytes(r, UDP_HEADER + begin + g->id_length - STEER_TAIL, tail, STEER_TAIL) == 0;
}

SEC("sk_reuseport")
int steer(struct sk_reuseport_md *r) {
    const struct steer_group *g = group_of(r);
    uint8_t tail[STEER_TAIL];
    if (!g || !load_tail(r, g, tail))
        return SK_PASS;
    uint32_t mask = halfsiphash_of_8(g->hash_key[0], g->hash_key[1], read_word(tail + 1), read_word(tail + 5));
    uint32_t word = (read_word(tail + 8) ^ mask) & 0xffffff, index = g->first + (word >> 16);
    if ((word & 0xffff) == g->tag && word >> 16 < g->count)
        bpf_sk_select_reuseport(r, &sockets, &index, 0);
    return SK_PASS; /* without a choice: by the hash */
}

char LICENSE[] SEC("license") = "Proprietary"; /* uses nothing that asks for more */
