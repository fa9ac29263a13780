/* translating_cluster.h — for tests of clusters: ours as YAML, then the secrets that it names, what is given and needed. */
#pragma once

#include "tests/unit/controlplane/xds/translate/translating.h"

static inline int translate_cluster(const ProtobufCMessage *m, struct xds_made *ret, struct error_list *errors) {
    return xds_translate_cluster((const Envoy__Config__Cluster__V3__Cluster *)m, ret, errors);
}

static inline void print_secrets(const struct config_resource *r, struct strbuf *out) {
    struct error_list errors = {0};
    Headgate__Cluster *c = (Headgate__Cluster *)resource_decode(r->kind, str_of(r->name), r->bytes, r->size, &errors);
    assert_non_null(c);
    if (c->tls && c->tls->certificate)
        strbuf_printf(out, "shows %s\n", c->tls->certificate);
    if (c->tls && c->tls->trust)
        strbuf_printf(out, "trusts %s\n", c->tls->trust);
    headgate__cluster__free_unpacked(c, NULL);
    error_list_finish(&errors);
}

static inline void print_given(const struct xds_given *g, struct strbuf *out) {
    strbuf_printf(out, "given %s:", g->name);
    const struct { const char *name; struct str text; } parts[] = {
        {"certificate", g->certificate}, {"key", g->key}, {"ocsp", g->ocsp}, {"crl", g->crl},
    };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (parts[i].text.n)
            strbuf_printf(out, " %s=%.*s", parts[i].name, STR_FMT(parts[i].text));
    for (size_t i = 0; i < g->ticket_key_count; i++)
        strbuf_printf(out, " %.5s", g->ticket_keys[i].p);
    strbuf_putc(out, '\n');
}

static inline void print_cluster(const struct xds_made *made, struct strbuf *out) {
    static const struct config_render_options options;
    struct error_list errors = {0};
    assert_int_equal(made->set.count, 2);
    assert_int_equal(config_render_one(&made->set, HEADGATE__KIND__KIND_CLUSTER, str_of(made->set.items[0].name), &options,
                                       out, &errors), 0);
    print_secrets(&made->set.items[0], out);
    for (size_t i = 0; i < made->given_count; i++)
        print_given(&made->givens[i], out);
    for (size_t i = 0; i < made->need_count; i++)
        strbuf_printf(out, "needs %s %s\n", made->needs[i].type, made->needs[i].name);
    error_list_finish(&errors);
}

static const struct translating whole_cluster = {
    &envoy__config__cluster__v3__cluster__descriptor, translate_cluster, print_cluster,
};

/* What every cluster has where the server says nothing else is cut out: the breakers and the connect timeout of Envoy. */
static inline void print_what_was_said(const struct xds_made *made, struct strbuf *out) {
    static const char *const usual[] = {
        "circuit-breakers:\n  connections: 1024\n  requests: 1024\n  pending: 1024\n  retry-percent: 0\n  min-retries: 3\n"
        "  retry-tokens: 10000000\n  retry-tokens-percent: 100\n  retry-tokens-per-second: 1000000\n",
        "connect-timeout: 5s\n",
    };
    struct strbuf whole = {0};
    print_cluster(made, &whole);
    char *text = strbuf_take(&whole);
    for (size_t i = 0; i < sizeof usual / sizeof *usual; i++) {
        char *found = strstr(text, usual[i]);
        if (found && found[strlen(usual[i])] != ' ')
            memmove(found, found + strlen(usual[i]), strlen(found + strlen(usual[i])) + 1);
    }
    strbuf_puts(out, text);
    hg_free(text);
}

static inline void check_cluster(const char *yaml, const char *expected) {
    static const struct translating said = {
        &envoy__config__cluster__v3__cluster__descriptor, translate_cluster, print_what_was_said,
    };
    assert_translated(&said, yaml, expected);
}
