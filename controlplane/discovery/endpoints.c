#include "controlplane/discovery/endpoints.h"

static Headgate__EndpointSet *decode(const struct part *part, const char *cluster) {
    ssize_t at = part_find(part, HEADGATE__KIND__KIND_ENDPOINT_SET, cluster);
    if (at < 0)
        return NULL;
    const struct blob *body = part_body(part, at);
    return headgate__endpoint_set__unpack(NULL, body->size, body->bytes);
}

void cluster_endpoints_init(struct cluster_endpoints *ret, const struct snapshot *s, const char *cluster) {
    *ret = (struct cluster_endpoints){.set = decode(s->state, cluster), .source = "state"};
    if (!ret->set)
        *ret = (struct cluster_endpoints){.set = decode(s->intent, cluster), .source = "static"};
}

void cluster_endpoints_finish(struct cluster_endpoints *e) {
    if (e->set)
        headgate__endpoint_set__free_unpacked(e->set, NULL);
    *e = (struct cluster_endpoints){0};
}
