#include "dataplane/l4/id_directory.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "common/alloc.h"
#include "common/map.h"
#include "dataplane/l4/packet.h"

#define SECOND UINT64_C(1000000)

enum { WAYS = 8, BUCKETS = DIRECTORY_IDS / WAYS, LOCKS = 64 };

struct entry {
    uint64_t expires;                    /* 0: free */
    uint32_t slot, place;
    uint32_t until;                      /* seconds */
    uint8_t  n, address_n;
    uint8_t  id[PASS_ID_MAX];
    uint8_t  address[sizeof(struct sockaddr_in6)];
};

struct bucket {
    struct entry entries[WAYS];
};

struct id_directory {
    pthread_mutex_t  locks[LOCKS];       /* each of every 64th bucket */
    _Atomic uint32_t lengths;            /* bit n: IDs of n octets were noted */
    struct bucket   *buckets;
};

struct id_directory *id_directory_create(void) {
    struct id_directory *d = hg_calloc(1, sizeof *d);
    if (!d)
        return NULL;
    for (int i = 0; i < LOCKS; i++)
        pthread_mutex_init(&d->locks[i], NULL);
    d->buckets = hg_calloc(BUCKETS, sizeof *d->buckets);
    if (d->buckets)
        return d;
    id_directory_destroy(d);
    return NULL;
}

void id_directory_destroy(struct id_directory *d) {
    if (!d)
        return;
    for (int i = 0; i < LOCKS; i++)
        pthread_mutex_destroy(&d->locks[i]);
    hg_free(d->buckets);
    hg_free(d);
}

static struct entry *find_in(struct bucket *b, const uint8_t *id, size_t n, uint64_t now) {
    for (int i = 0; i < WAYS; i++) {
        struct entry *e = &b->entries[i];
        if (e->n == n && e->expires > now && memcmp(e->id, id, n) == 0)
            return e;
    }
    return NULL;
}

/* The one that has the least time left. */
static struct entry *least_of(struct bucket *b) {
    struct entry *least = &b->entries[0];
    for (int i = 1; i < WAYS; i++)
        if (b->entries[i].expires < least->expires)
            least = &b->entries[i];
    return least;
}

static size_t bucket_of(const uint8_t *id, size_t n) {
    return map_hash((struct str){(const char *)id, n}) % BUCKETS;
}

static void put(struct entry *e, const uint8_t *id, size_t n, const struct id_home *home, uint64_t expires) {
    *e = (struct entry){.expires = expires, .slot = home->slot, .place = home->place,
                        .until = (uint32_t)((home->until + SECOND - 1) / SECOND), .n = (uint8_t)n,
                        .address_n = (uint8_t)home->address.length};
    memcpy(e->id, id, n);
    memcpy(e->address, &home->address.u, e->address_n);
}

void id_directory_note(struct id_directory *d, const uint8_t *id, size_t n, const struct id_home *home, uint64_t now,
                       uint64_t expires) {
    if (n < DIRECTORY_ID_MIN || n > PASS_ID_MAX || home->address.length > sizeof(struct sockaddr_in6))
        return;
    size_t at = bucket_of(id, n);
    pthread_mutex_lock(&d->locks[at % LOCKS]);
    struct entry *e = find_in(&d->buckets[at], id, n, now);
    if (e || expires > now)
        put(e ? e : least_of(&d->buckets[at]), id, n, home, expires);
    pthread_mutex_unlock(&d->locks[at % LOCKS]);
    atomic_fetch_or_explicit(&d->lengths, UINT32_C(1) << n, memory_order_relaxed);
}

static bool find_exactly(struct id_directory *d, const uint8_t *id, size_t n, uint64_t now, struct id_home *ret) {
    size_t at = bucket_of(id, n);
    pthread_mutex_lock(&d->locks[at % LOCKS]);
    const struct entry *e = find_in(&d->buckets[at], id, n, now);
    if (e) {
        *ret = (struct id_home){.until = e->until * SECOND, .slot = e->slot, .place = e->place,
                                .address.length = e->address_n};
        memcpy(&ret->address.u, e->address, e->address_n);
    }
    pthread_mutex_unlock(&d->locks[at % LOCKS]);
    return e != NULL;
}

size_t id_directory_find(struct id_directory *d, const uint8_t *octets, size_t n, uint64_t now, struct id_home *ret) {
    uint32_t lengths = atomic_load_explicit(&d->lengths, memory_order_relaxed);
    for (size_t length = n < PASS_ID_MAX ? n : PASS_ID_MAX; length >= DIRECTORY_ID_MIN; length--)
        if (lengths >> length & 1 && find_exactly(d, octets, length, now, ret))
            return length;
    return 0;
}
