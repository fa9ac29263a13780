#include "dataplane/net/ip_caps.h"

#include <stdatomic.h>

#include "common/alloc.h"
#include "common/map.h"

/* A slot is (tag << 24 | count). A slot whose count is zero is free. */
enum { SLOT_COUNT = 65536, PROBES = 8, COUNT_MASK = (1 << 24) - 1 };

struct ip_caps {
    _Atomic uint64_t slots[SLOT_COUNT];
};

struct ip_caps *ip_caps_create(void) {
    return hg_calloc(1, sizeof(struct ip_caps));
}

void ip_caps_destroy(struct ip_caps *c) {
    hg_free(c);
}

static struct str key_of(const struct address *a) {
    if (a->u.any.sa_family == AF_INET)
        return (struct str){(const char *)&a->u.v4.sin_addr, 4};
    if (a->u.any.sa_family == AF_INET6)
        return (struct str){(const char *)&a->u.v6.sin6_addr, 8};
    return (struct str){NULL, 0};
}

/* One more on this slot if it belongs to the tag. 1: done; 0: it does not belong; -1: at the limit. */
static int try_slot(_Atomic uint64_t *slot, uint64_t tag, uint32_t limit) {
    uint64_t old = atomic_load_explicit(slot, memory_order_relaxed);
    for (;;) {
        uint64_t count = old & COUNT_MASK;
        if (count && old >> 24 != tag)
            return 0;
        if (count >= limit || count == COUNT_MASK)
            return -1;
        if (atomic_compare_exchange_weak_explicit(slot, &old, tag << 24 | (count + 1), memory_order_relaxed,
                                                  memory_order_relaxed))
            return 1;
    }
}

/* The slot that already counts this tag, or PROBES. */
static unsigned find_tag(struct ip_caps *c, uint64_t first, uint64_t tag) {
    for (unsigned i = 0; i < PROBES; i++) {
        uint64_t v = atomic_load_explicit(&c->slots[(first + i) % SLOT_COUNT], memory_order_relaxed);
        if ((v & COUNT_MASK) && v >> 24 == tag)
            return i;
    }
    return PROBES;
}

uint32_t ip_caps_take(struct ip_caps *c, const struct address *peer, uint32_t limit) {
    struct str key = key_of(peer);
    if (!key.p)
        return IP_CAP_UNCOUNTED;
    uint64_t hash = map_hash(key), tag = hash >> 24 & 0xffffffffff, first = hash % SLOT_COUNT;
    unsigned known = find_tag(c, first, tag);
    for (unsigned i = known < PROBES ? known : 0; i < PROBES; i++) {
        uint32_t at = (uint32_t)((first + i) % SLOT_COUNT);
        int result = try_slot(&c->slots[at], tag, limit);
        if (result)
            return result > 0 ? at : IP_CAP_REFUSED;
    }
    return IP_CAP_UNCOUNTED;
}

void ip_caps_give(struct ip_caps *c, uint32_t slot) {
    if (slot < SLOT_COUNT)
        atomic_fetch_sub_explicit(&c->slots[slot], 1, memory_order_relaxed);
}
