#include "dataplane/tls/kept.h"

#include <pthread.h>

#include "common/map.h"

/* Taken when definitions are built or freed, never for a connection. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct map by_id;

static struct str key_of(const struct resource_id *id) {
    return (struct str){(const char *)id->bytes, RESOURCE_ID_SIZE};
}

struct kept *kept_find(const struct resource_id *id, void (*destroy)(struct kept *)) {
    pthread_mutex_lock(&lock);
    struct kept *k = map_get(&by_id, key_of(id));
    if (k && k->destroy == destroy)
        k->references++;
    else
        k = NULL;
    pthread_mutex_unlock(&lock);
    return k;
}

int kept_add(struct kept *k, const struct resource_id *id, void (*destroy)(struct kept *)) {
    k->id = *id;
    k->references = 1;
    k->destroy = destroy;
    pthread_mutex_lock(&lock);
    int status = map_set(&by_id, key_of(&k->id), k);
    pthread_mutex_unlock(&lock);
    return status;
}

void kept_ref(struct kept *k) {
    pthread_mutex_lock(&lock);
    k->references++;
    pthread_mutex_unlock(&lock);
}

void kept_unref(struct kept *k) {
    if (!k)
        return;
    pthread_mutex_lock(&lock);
    bool is_last = --k->references == 0;
    if (is_last && map_get(&by_id, key_of(&k->id)) == k)
        map_remove(&by_id, key_of(&k->id));
    if (is_last && by_id.count == 0)
        map_finish(&by_id), by_id = (struct map){0};
    pthread_mutex_unlock(&lock);
    if (is_last)
        k->destroy(k);
}
