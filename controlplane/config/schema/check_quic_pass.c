#include "controlplane/config/message/fill.h"
#include "controlplane/config/schema/schema_quic_pass.h"

static void conflict(struct fill *f, const struct fill_at *at, const char *key, const char *message, const char *expected) {
    struct fill_at below = fill_down(at, key);
    error_set_expected(f->errors, fill_report_key(f, &below, ERROR_CONFLICT, "%s", message), expected, NULL);
}

enum { BOTH_MAX = 19 };

void check_quic_server_ids(struct fill *f, const struct fill_at *at, const ProtobufCMessage *m) {
    const Headgate__QuicServerIds *ids = (const Headgate__QuicServerIds *)m;
    uint32_t both = ids->length + ids->nonce_length;
    if (both <= BOTH_MAX)
        return;
    struct fill_at below = fill_down(at, "nonce-length");
    struct error *e = fill_report_key(f, &below, ERROR_RANGE, "ID and nonce have %u octets together", both);
    error_set_expected(f->errors, e, "at most 19 octets", NULL);
}

static bool is_taken(const Headgate__QuicPass *pass, size_t place) {
    for (size_t i = 0; i < place; i++)
        if (pass->server_ids[i]->rotation == pass->server_ids[place]->rotation)
            return true;
    return false;
}

static void check_rotations(struct fill *f, const struct fill_at *at, const Headgate__QuicPass *pass) {
    struct fill_at list = fill_down(at, "server-ids");
    for (size_t i = 1; i < pass->n_server_ids; i++) {
        if (!is_taken(pass, i))
            continue;
        struct fill_at item = fill_down_to(&list, i), rotation = fill_down(&item, "rotation");
        struct error *e = fill_report(f, &rotation, ERROR_CONFLICT, "another one has rotation %u",
                                      (unsigned)pass->server_ids[i]->rotation);
        error_set_expected(f->errors, e, "a number from 0 to 6 that stands once", NULL);
    }
}

void check_quic_pass(struct fill *f, const struct fill_at *at, const ProtobufCMessage *m) {
    const Headgate__QuicPass *pass = (const Headgate__QuicPass *)m;
    if (pass->n_routes == 0 && !pass->cluster)
        fill_report(f, at, ERROR_MISSING, "nothing says where connections go: routes or cluster is needed");
    check_rotations(f, at, pass);
}

static void check_addresses(struct fill *f, const struct fill_at *at, const Headgate__Listener *listener) {
    struct fill_at addresses = fill_down(at, "address");
    for (size_t i = 0; i < listener->n_addresses; i++) {
        if (!str_starts(str_of(listener->addresses[i]), STR("unix:")))
            continue;
        struct fill_at address = addresses.node->type == TREE_LIST ? fill_down_to(&addresses, i) : addresses;
        struct error *e = fill_report(f, &address, ERROR_CONFLICT, "there is no QUIC at a Unix-domain address");
        error_set_expected(f->errors, e, "an IP address with a port", NULL);
    }
}

static bool speaks_http3(const Headgate__Listener *listener) {
    for (size_t i = 0; i < listener->n_protocols; i++)
        if (listener->protocols[i] == HEADGATE__LISTENER__PROTOCOL__HTTP3)
            return true;
    return false;
}

static bool trusts_proxies(const Headgate__ProxyProtocol *m) {
    return m && m->mode != HEADGATE__PROXY_PROTOCOL__MODE__OFF;
}

/* There is nothing that they could be about. */
static void check_alone(struct fill *f, const struct fill_at *at, const Headgate__Listener *listener) {
    static const char message[] = "a listener with quic-pass alone sees nothing of what is inside of connections";
    const struct {
        bool        is_there;
        const char *key;
    } others[] = {
        {listener->n_protocols > 0, "protocols"}, {listener->tls != NULL, "tls"}, {listener->http2 != NULL, "http2"},
        {trusts_proxies(listener->proxy_protocol), "proxy-protocol"},
        {listener->n_access_log_services > 0, "access-log-services"},
    };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (others[i].is_there)
            conflict(f, at, others[i].key, message, "route-table or tcp beside it");
}

void check_beside_quic_pass(struct fill *f, const struct fill_at *at, const Headgate__Listener *listener) {
    check_addresses(f, at, listener);
    if (speaks_http3(listener))
        conflict(f, at, "protocols", "QUIC is passed through, or ends here with HTTP/3", "no http3 beside quic-pass");
    if (!listener->route_table && !listener->scoped_routes && !listener->tcp)
        check_alone(f, at, listener);
}
