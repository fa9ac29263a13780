/* The names in the certificate that a client has shown. */
#include <grpc/grpc_security.h>

#include "controlplane/rpc/call_internal.h"

/* Adds the values of one property; returns whether one of them is `name`. */
static bool add_values(const grpc_auth_context *context, const char *property, const char *name,
                       struct strbuf *ret_names) {
    grpc_auth_property_iterator values = grpc_auth_context_find_properties_by_name(context, property);
    const grpc_auth_property *p;
    bool is_found = false;
    while ((p = grpc_auth_property_iterator_next(&values))) {
        struct str value = {p->value, p->value_length};
        is_found |= str_eq(value, str_of(name));
        strbuf_puts(ret_names, ret_names->n ? ", " : "");
        for (size_t i = 0; i < value.n; i++)
            strbuf_putc(ret_names, value.p[i] > ' ' && value.p[i] < 0x7f ? value.p[i] : '?');
    }
    return is_found;
}

bool rpc_call_is_certified_for(const struct rpc_call *call, const char *name, struct strbuf *ret_names) {
    static const char *const properties[] = {GRPC_PEER_DNS_PROPERTY_NAME, GRPC_PEER_URI_PROPERTY_NAME,
                                             GRPC_X509_CN_PROPERTY_NAME};
    grpc_auth_context *context = grpc_call_auth_context(call->call);
    bool is_found = false;
    for (size_t i = 0; context && i < sizeof properties / sizeof *properties; i++)
        is_found |= add_values(context, properties[i], name, ret_names);
    grpc_auth_context_release(context);
    return is_found;
}

bool rpc_call_is_local(const struct rpc_call *call) {
    return str_starts(str_of(call->peer), STR("unix:"));
}
