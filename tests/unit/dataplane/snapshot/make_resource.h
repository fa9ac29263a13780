/* make_resource.h — a resource from a message, as one that came from the control plane. */
#pragma once

#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "dataplane/snapshot/resource_set.h"

/* Aborts when the message is not valid. The reference is the caller's. */
static inline struct resource *make_resource(Headgate__Kind kind, const char *name, const ProtobufCMessage *m) {
    struct error_list errors = {0};
    uint8_t *bytes;
    size_t n;
    struct resource_body *body = NULL;
    if (resource_encode(m, &bytes, &n) == 0)
        body = resource_body_create(n);
    if (!body || resource_id_of(bytes, n, &body->id) < 0)
        abort();
    memcpy(body->bytes, bytes, n);
    hg_free(bytes);
    struct resource *r = resource_create(kind, name, body, &errors);
    if (!r)
        abort();
    resource_body_unref(body);
    return r;
}

/* Takes the resource over. */
static inline void add_resource(struct resource_part *part, struct resource *r) {
    struct shared_change change = {{r->kind, r->name, r->id.bytes}, r};
    struct resource_part next;
    if (resource_part_change(part, &change, 1, &next) < 0)
        abort();
    resource_unref(r);
    resource_part_finish(part);
    *part = next;
}
