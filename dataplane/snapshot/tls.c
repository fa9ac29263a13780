#include "dataplane/snapshot/tls.h"

#include <stdio.h>

enum { PLACE_MAX = RESOURCE_NAME_MAX + 32 };

static bool find_secret(const void *set, const char *name, struct tls_secret *ret) {
    const struct resource *r = resource_set_find(set, HEADGATE__KIND__KIND_SECRET, name);
    if (!r)
        return false;
    *ret = (struct tls_secret){(const Headgate__Secret *)r->message, r->id};
    return true;
}

static unsigned protocols_of(const Headgate__Listener *m) {
    unsigned protocols = m->n_protocols == 0 && !m->tcp ? TLS_HTTP1 | TLS_HTTP2 : 0;
    for (size_t i = 0; i < m->n_protocols; i++)
        if (m->protocols[i] == HEADGATE__LISTENER__PROTOCOL__HTTP1)
            protocols |= TLS_HTTP1;
        else if (m->protocols[i] == HEADGATE__LISTENER__PROTOCOL__HTTP2)
            protocols |= TLS_HTTP2;
        else
            protocols |= TLS_HTTP3;
    return protocols;
}

int snapshot_listener_tls(const struct resource *listener, const struct resource_set *resources, struct tls_server **ret,
                          struct error_list *errors) {
    const Headgate__Listener *m = (const Headgate__Listener *)listener->message;
    char name[PLACE_MAX];
    const struct tls_secrets secrets = {find_secret, resources};
    const struct tls_place place = {name, "tls", errors};
    snprintf(name, sizeof name, "listener/%s", listener->name);
    struct tls_server *tls = m->tls ? tls_server_build(m->tls, protocols_of(m), &secrets, &place) : NULL;
    if (m->tls && !tls)
        return -1;
    *ret = tls;
    return 0;
}

int snapshot_client_tls(const char *cluster, const char *path, const Headgate__ClientTls *m, enum tls_protocols protocol,
                        const struct resource_set *resources, struct tls_client **ret, struct error_list *errors) {
    char name[PLACE_MAX];
    const struct tls_secrets secrets = {find_secret, resources};
    const struct tls_place place = {name, path, errors};
    snprintf(name, sizeof name, "cluster/%s", cluster);
    struct tls_client *tls = tls_client_build(m, protocol, &secrets, &place);
    if (!tls)
        return -1;
    *ret = tls;
    return 0;
}
