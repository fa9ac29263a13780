/* Scoped routes: the key of a listener, its scopes, whether they stand in it or come by themselves. */
#include <stdio.h>

#include "controlplane/xds/translate/listener.h"
#include "controlplane/xds/translate/names.h"
#include "controlplane/xds/translate/parts.h"
#include "controlplane/xds/translate/routes.h"
#include "controlplane/xds/translate/values.h"
#include "dataplane/routing/scopes.h"

enum { TEXT_MAX = 64 << 10, HEADER_MAX = 256, SEPARATOR_MAX = 64, INDEX_MAX = 1000, SCOPES_MAX = 100000 };

#define HCM(name)   Envoy__Extensions__Filters__Network__HttpConnectionManager__V3__##name
#define HCM_KIND(name) \
    ENVOY__EXTENSIONS__FILTERS__NETWORK__HTTP_CONNECTION_MANAGER__V3__SCOPED_ROUTES__##name
#define HCM_TABLE(name, ...) \
    XDS_TABLE(envoy__extensions__filters__network__http_connection_manager__v3__##name, __VA_ARGS__)
#define NO_FRAGMENT ENVOY__CONFIG__ROUTE__V3__SCOPED_ROUTE_CONFIGURATION__KEY__FRAGMENT__TYPE__NOT_SET

/* Names that protobuf-c makes long. */
#define ScopeConfig Envoy__Config__Route__V3__ScopedRouteConfiguration
#define Extractor   HCM(ScopedRoutes__ScopeKeyBuilder__FragmentBuilder__HeaderValueExtractor)

/* ---- what is read ---- */

static const struct xds_fields fragment_table = XDS_TABLE(
    envoy__config__route__v3__scoped_route_configuration__key__fragment, XDS_READ("string_key"));

static const struct xds_fields key_table = XDS_TABLE(envoy__config__route__v3__scoped_route_configuration__key,
    XDS_INSIDE_NOTE("fragments", &fragment_table, "one for each part of the key of the listener, or no request matches"));

const struct xds_fields xds_read_scope = XDS_TABLE(envoy__config__route__v3__scoped_route_configuration,
    XDS_NOTE("name", "also of the routes that stand in it"), XDS_INSIDE("key", &key_table),
    XDS_READ("route_configuration_name"), XDS_INSIDE("route_configuration", &xds_read_routes),
    XDS_IGNORE("on_demand", "the routes are asked for at once, and are there when the first request comes"));

static const struct xds_fields element_table = HCM_TABLE(
    scoped_routes__scope_key_builder__fragment_builder__header_value_extractor__kv_element, XDS_READ("separator"),
    XDS_READ("key"));

static const struct xds_fields extractor_table = HCM_TABLE(
    scoped_routes__scope_key_builder__fragment_builder__header_value_extractor,
    XDS_NOTE("name", "a header, or `:authority`; Host is compared in lower case"), XDS_READ("element_separator"),
    XDS_READ("index"), XDS_INSIDE("element", &element_table));

static const struct xds_fields part_table = HCM_TABLE(scoped_routes__scope_key_builder__fragment_builder,
    XDS_INSIDE("header_value_extractor", &extractor_table));

static const struct xds_fields builder_table =
    HCM_TABLE(scoped_routes__scope_key_builder, XDS_INSIDE_NOTE("fragments", &part_table, "1 to 8"));

static const struct xds_fields list_table =
    HCM_TABLE(scoped_route_configurations_list, XDS_INSIDE("scoped_route_configurations", &xds_read_scope));

static const struct xds_fields srds_table =
    HCM_TABLE(scoped_rds, XDS_INSIDE("scoped_rds_config_source", &xds_read_config_source));

const struct xds_fields xds_read_scoped_routes = HCM_TABLE(scoped_routes,
    XDS_IGNORE("name", "a name for people"), XDS_INSIDE("scope_key_builder", &builder_table),
    XDS_INSIDE("rds_config_source", &xds_read_config_source),
    XDS_INSIDE("scoped_route_configurations_list", &list_table),
    XDS_INSIDE_NOTE("scoped_rds", &srds_table, "all scopes that the server has are those of each such listener"));

/* ---- a scope by itself ---- */

static bool has_key(struct making *m, const struct xds_at *at, const ScopeConfig *from) {
    const struct xds_at *here = XDS_AT(at, "key.fragments");
    size_t faults = m->faults;
    if (!from->key || from->key->n_fragments == 0)
        making_refuse(m, here, ERROR_MISSING, "are missing");
    for (size_t i = 0; from->key && i < from->key->n_fragments; i++) {
        const struct xds_at *fragment = XDS_AT_ITEM(at, "key.fragments", i);
        char *text = NULL;
        if (from->key->fragments[i]->type_case == NO_FRAGMENT)
            making_refuse(m, fragment, ERROR_MISSING, "needs string_key");
        else
            value_text(m, fragment, from->key->fragments[i]->string_key, &text_any, TEXT_MAX, &text);
    }
    return m->faults == faults;
}

static bool has_routes(struct making *m, const struct xds_at *at, const ScopeConfig *from) {
    bool has_name = from->route_configuration_name[0];
    if (from->route_configuration && has_name)
        making_refuse(m, at, ERROR_CONFLICT, "has both route_configuration and route_configuration_name");
    else if (!from->route_configuration && !has_name)
        making_refuse(m, at, ERROR_MISSING, "needs one of route_configuration_name and route_configuration");
    else
        return true;
    return false;
}

int xds_translate_scope(const ScopeConfig *from, struct xds_made *ret, struct error_list *errors) {
    struct making m;
    if (making_begin(&m, &xds_read_scope, &from->base, "scope", from->name, ret, errors) == 0) {
        struct xds_made unused = {0};
        has_key(&m, NULL, from);
        m.made = &unused;               /* the routes are the listener's to make */
        if (has_routes(&m, NULL, from) && from->route_configuration)
            routes_make(&m, XDS_AT(NULL, "route_configuration"), from->route_configuration, "scope");
        m.made = ret;
        xds_made_finish(&unused);
    }
    return making_end(&m);
}

/* ---- the key ---- */

static char *lower(struct making *m, const char *name) {
    char *copy = making_text(m, str_of(name));
    for (size_t i = 0; copy && copy[i]; i++)
        if (copy[i] >= 'A' && copy[i] <= 'Z')
            copy[i] |= 0x20;
    return copy;
}

static void make_element(struct making *m, const struct xds_at *at, const Extractor *from, Headgate__ScopeKeyPart *to) {
    if (!from->element->key[0])
        making_refuse(m, XDS_AT(at, "element.key"), ERROR_MISSING, "is empty");
    if (!from->element->separator[0])
        making_refuse(m, XDS_AT(at, "element.separator"), ERROR_MISSING, "is empty");
    value_text(m, XDS_AT(at, "element.key"), from->element->key, &text_any, HEADER_MAX, &to->element);
    value_text(m, XDS_AT(at, "element.separator"), from->element->separator, &text_any, SEPARATOR_MAX, &to->assignment);
}

static void make_index(struct making *m, const struct xds_at *at, const Extractor *from, Headgate__ScopeKeyPart *to) {
    if (from->index > 0 && !from->element_separator[0])
        making_refuse(m, XDS_AT(at, "index"), ERROR_RANGE, "without element_separator there is one element, number 0");
    value_number(m, XDS_AT(at, "index"), from->index, 0, INDEX_MAX, &to->has_index, &to->index);
}

static void make_part(struct making *m, const struct xds_at *at, const Extractor *from, Headgate__ScopeKeyPart *to) {
    const char *name = strcmp(from->name, ":authority") == 0 ? "host" : lower(m, from->name);
    if (!from->name[0])
        making_refuse(m, XDS_AT(at, "name"), ERROR_MISSING, "is empty");
    if (name)
        value_text(m, XDS_AT(at, "name"), name, &text_field_name, HEADER_MAX, &to->header);
    value_text(m, XDS_AT(at, "element_separator"), from->element_separator, &text_any, SEPARATOR_MAX, &to->separator);
    switch (from->extract_type_case) {
    case HCM_KIND(SCOPE_KEY_BUILDER__FRAGMENT_BUILDER__HEADER_VALUE_EXTRACTOR__EXTRACT_TYPE_INDEX):
        make_index(m, at, from, to);
        break;
    case HCM_KIND(SCOPE_KEY_BUILDER__FRAGMENT_BUILDER__HEADER_VALUE_EXTRACTOR__EXTRACT_TYPE_ELEMENT):
        make_element(m, at, from, to);
        break;
    default: making_refuse(m, at, ERROR_MISSING, "needs one of index and element"); break;
    }
}

static void make_key(struct making *m, const struct xds_at *at, const HCM(ScopedRoutes__ScopeKeyBuilder) *from,
                     Headgate__ScopedRoutes *to) {
    size_t n = from ? from->n_fragments : 0;
    if (n == 0 || n > SCOPE_KEY_PARTS_MAX) {
        making_refuse(m, XDS_AT(at, "fragments"), ERROR_RANGE, "are %zu; 1 to %d are possible", n, SCOPE_KEY_PARTS_MAX);
        return;
    }
    to->key = making_array(m, n, sizeof *to->key);
    for (size_t i = 0; to->key && i < n; i++) {
        const Extractor *extractor = from->fragments[i]->header_value_extractor;
        const struct xds_at *here = XDS_AT(XDS_AT_ITEM(at, "fragments", i), "header_value_extractor");
        Headgate__ScopeKeyPart *part = making_new(m, &headgate__scope_key_part__descriptor);
        if (!part)
            return;
        to->key[to->n_key++] = part;
        if (from->fragments[i]->type_case ==
            HCM_KIND(SCOPE_KEY_BUILDER__FRAGMENT_BUILDER__TYPE_HEADER_VALUE_EXTRACTOR))
            make_part(m, here, extractor, part);
        else
            making_refuse(m, here, ERROR_MISSING, "is missing");
    }
}

/* ---- the scopes ---- */

struct scopes {
    struct listener_making *listener;
    Headgate__ScopedRoutes *to;
    const struct xds_at    *at;         /* of the list; NULL: they come by themselves */
    size_t                 *numbers;    /* of the scopes of `to` in what they come from */
};

static const struct xds_at *at_scope(const struct scopes *s, size_t number, struct xds_at *ret) {
    *ret = (struct xds_at){s->at, s->at ? "scoped_route_configurations" : "scopes", NULL, number + 1};
    return ret;
}

/* Routes that stand in a scope are a table of its own for each listener. */
static char *inline_routes(struct scopes *s, const struct xds_at *at, const ScopeConfig *from) {
    struct making *m = s->listener->making;
    struct strbuf both = {0};
    strbuf_printf(&both, "%s|%s", s->listener->server_name, from->name);
    struct str name = both.failed ? (struct str){NULL, 0} : xds_name_map(&m->arena, STR("@scope:"), strbuf_str(&both));
    strbuf_finish(&both);
    if (!name.p) {
        making_out_of_memory(m);
        return NULL;
    }
    routes_make(m, XDS_AT(at, "route_configuration"), from->route_configuration, name.p);
    return (char *)(uintptr_t)name.p;
}

static void make_scope(struct scopes *s, size_t number, const ScopeConfig *from) {
    struct making *m = s->listener->making;
    struct xds_at here;
    const struct xds_at *at = at_scope(s, number, &here);
    if (!has_key(m, at, from) || !has_routes(m, at, from) || from->key->n_fragments != s->to->n_key)
        return;
    Headgate__RouteScope *scope = making_new(m, &headgate__route_scope__descriptor);
    if (!scope || !(scope->key = making_array(m, s->to->n_key, sizeof *scope->key)))
        return;
    for (size_t i = 0; i < s->to->n_key; i++)
        scope->key[scope->n_key++] = from->key->fragments[i]->string_key;
    if (from->route_configuration) {
        scope->route_table = inline_routes(s, at, from);
    } else {
        scope->route_table = making_name(m, XDS_AT(at, "route_configuration_name"), from->route_configuration_name);
        making_need(m, XDS_TYPE_ROUTES, from->route_configuration_name);
    }
    s->numbers[s->to->n_scopes] = number;
    s->to->scopes[s->to->n_scopes++] = scope;
}

/* Keys that stand twice, told at the second. */
static void check_scopes(const struct scopes *s) {
    struct making *m = s->listener->making;
    struct error_list errors = {0};
    struct scope_table *table = scope_table_build(s->to, s->listener->name, &m->arena, &errors);
    for (size_t i = 0; i < errors.count; i++) {
        const struct error *e = &errors.items[i];
        struct xds_at here;
        unsigned number = 0;
        bool has_scope = e->path && sscanf(e->path, "scoped_routes.scopes[%u]", &number) == 1;
        making_refuse(m, has_scope ? at_scope(s, s->numbers[number], &here) : s->at, e->code, "%s", e->message);
    }
    if (!table && errors.count == 0)
        making_out_of_memory(m);
    error_list_finish(&errors);
}

static void make_scopes(struct scopes *s, ScopeConfig *const *from, size_t count) {
    struct making *m = s->listener->making;
    if (count > SCOPES_MAX) {
        making_refuse(m, s->at, ERROR_RANGE, "has %zu scopes; %d are possible", count, SCOPES_MAX);
        return;
    }
    s->to->scopes = making_array(m, count, sizeof *s->to->scopes);
    s->numbers = making_array(m, count, sizeof *s->numbers);
    for (size_t i = 0; s->to->scopes && s->numbers && i < count; i++)
        make_scope(s, i, from[i]);
    if (m->faults == 0)
        check_scopes(s);
}

static void wait_for_scopes(struct making *m, const struct xds_at *at, const HCM(ScopedRds) *from, size_t count) {
    part_config_source(m, XDS_AT(at, "scoped_rds.scoped_rds_config_source"), from->scoped_rds_config_source);
    making_need(m, XDS_TYPE_SCOPES, "*");
    m->made->is_hollow = count == 0;
}

void listener_scopes(struct listener_making *l, const struct xds_at *at, const HCM(ScopedRoutes) *from) {
    struct scopes s = {.listener = l, .to = making_new(l->making, &headgate__scoped_routes__descriptor)};
    if (!s.to)
        return;
    l->to->scoped_routes = s.to;
    make_key(l->making, XDS_AT(at, "scope_key_builder"), from->scope_key_builder, s.to);
    if (from->rds_config_source)
        part_config_source(l->making, XDS_AT(at, "rds_config_source"), from->rds_config_source);
    switch (from->config_specifier_case) {
    case HCM_KIND(CONFIG_SPECIFIER_SCOPED_ROUTE_CONFIGURATIONS_LIST):
        s.at = XDS_AT(at, "scoped_route_configurations_list");
        make_scopes(&s, from->scoped_route_configurations_list->scoped_route_configurations,
                    from->scoped_route_configurations_list->n_scoped_route_configurations);
        break;
    case HCM_KIND(CONFIG_SPECIFIER_SCOPED_RDS):
        wait_for_scopes(l->making, at, from->scoped_rds, l->scope_count);
        make_scopes(&s, l->scopes, l->scope_count);
        break;
    default:
        making_refuse(l->making, at, ERROR_MISSING, "needs one of scoped_route_configurations_list and scoped_rds");
        break;
    }
}
