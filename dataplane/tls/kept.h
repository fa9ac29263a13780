/* kept.h — what definitions share: decoded secrets, found again by the id of their resource.
 *
 * So that a snapshot with one certificate of thousands exchanged decodes one. They are made on the main thread;
 * the last reference may go on any, with the last connection that was begun with a definition that is gone.
 * Thread: any, but for kept_find. */
#pragma once

#include "proto/resource.h"

struct kept {
    struct resource_id id;
    unsigned           references;
    void             (*destroy)(struct kept *);    /* also tells kinds apart */
};

/* A new reference to the one with this id and destructor, or NULL. Thread: main. */
struct kept *kept_find(const struct resource_id *id, void (*destroy)(struct kept *));
/* Lists a new one with one reference, the caller's. Returns 0, or -1 without memory: then it is not listed.
 * Thread: main. */
int          kept_add(struct kept *k, const struct resource_id *id, void (*destroy)(struct kept *));
void         kept_ref(struct kept *k);
void         kept_unref(struct kept *k);           /* NULL is allowed */
