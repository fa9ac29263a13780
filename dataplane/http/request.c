/* request.c — what the core does to heads: whose request it is, which route, what goes on to the origin and back. */
#include <stdio.h>

#include "common/address.h"
#include "common/alloc.h"
#include "dataplane/http/date.h"
#include "dataplane/http/exchange_private.h"
#include "dataplane/net/conn.h"
#include "dataplane/routing/path.h"
#include "dataplane/routing/scopes.h"
#include "dataplane/tls/server.h"
#include "dataplane/tls/session.h"

enum { REQUEST_ID_MAX = 128, FORWARD_FIELDS = 8 };

/* ---- who is the client ---- */

/* With n trusted proxies the client is the n-th entry from the right of X-Forwarded-For (or the leftmost there is). What is
 * not an address is nobody: the connection's own address stands then. */
static struct str trusted_client(const struct exchange *x, const struct head *head) {
    unsigned hops = x->listener->settings->trusted_hops;
    struct str found = x->peer;
    for (uint32_t i = head->fields.count; hops && i-- > 0;) {
        const struct field *f = &head->fields.v[i];
        struct str value = field_value(f);
        while (f->id == FIELD_X_FORWARDED_FOR && hops && value.n) {
            size_t comma = value.n;
            while (comma && value.p[comma - 1] != ',')
                comma--;
            struct str entry = str_trim((struct str){value.p + comma, value.n - comma});
            value.n = comma ? comma - 1 : 0;
            if (!entry.n)
                continue;
            found = entry;
            hops--;
        }
    }
    struct str address = address_host_in(found);
    return address.n ? address : x->peer;
}

static bool is_valid_request_id(struct str id) {
    for (size_t i = 0; i < id.n; i++)
        if (id.p[i] <= ' ' || id.p[i] > '~')
            return false;
    return id.n > 0 && id.n <= REQUEST_ID_MAX;
}

static struct str make_request_id(struct exchange *x) {
    char *text = arena_alloc(&x->arena, 33);
    if (!text)
        return (struct str){NULL, 0};
    for (char *at = text; at < text + 32; at += 16) {
        uint64_t bits = worker_random_bits(x->worker);
        hex_digits(bits, at); /* of each byte the lower half, then the upper: the order does not matter */
        hex_digits(bits >> 4, at + 8);
    }
    text[32] = '\0';
    return (struct str){text, 32};
}

static int set_request_id(struct exchange *x, struct head *head) {
    const struct settings *s = x->listener->settings;
    return s->request_id_field == FIELD_OTHER
               ? fields_set(&head->fields, &x->arena, s->request_id_header, x->request_id)
               : fields_set_id(&head->fields, &x->arena, s->request_id_field, x->request_id);
}

static void identify(struct exchange *x, const struct head *head) {
    const struct settings *s = x->listener->settings;
    const struct field *id = s->trusted_hops ? fields_find_name(&head->fields, s->request_id_header) : NULL;
    bool is_believed = id && is_valid_request_id(field_value(id));
    x->client = s->trusted_hops ? trusted_client(x, head) : x->peer;
    x->request_id = is_believed ? field_value(id) : make_request_id(x);
    x->log_host = head->authority;
    if (head->seen & FIELD_BIT(FIELD_USER_AGENT))
        x->log_user_agent = field_value(fields_find(&head->fields, FIELD_USER_AGENT));
    if (head->seen & FIELD_BIT(FIELD_REFERER))
        x->log_referer = field_value(fields_find(&head->fields, FIELD_REFERER));
}

/* A system call or two, so only where somebody asks. */
void exchange_note_ends(struct exchange *x) {
    const struct leg *front = x->front;
    struct conn_ends ends;
    if (x->listener->log_service_count && front && front->ops->get_ends && front->ops->get_ends(front, &ends))
        x->ends = arena_memdup(&x->arena, &ends, sizeof ends);
}

static int add(struct exchange *x, struct head *head, enum field_id id, struct str value) {
    return value.p ? fields_add_id(&head->fields, &x->arena, id, value) : -1;
}

/* Who a client is by its certificate says nobody but the gateway: rules and filters already see its word. */
static int tell_certificate(struct exchange *x, struct head *head) {
    const uint64_t ours = FIELD_BIT(FIELD_X_FORWARDED_CLIENT_CERT) | FIELD_BIT(FIELD_CLIENT_CERT) |
                          FIELD_BIT(FIELD_CLIENT_CERT_CHAIN);
    const struct tls_server *server = x->listener->opening.tls;
    struct str text = x->tls ? tls_peer_text(x->tls) : (struct str){NULL, 0};
    int status = 0;
    if (head->seen & ours)
        fields_remove_ids(&head->fields, ours);
    if (!text.n || !server)
        return 0;
    if (tls_server_tells_xfcc(server))
        status = add(x, head, FIELD_X_FORWARDED_CLIENT_CERT, text);
    if (tls_server_tells_client_cert(server)) {
        char *bytes = arena_printf(&x->arena, ":%.*s:", STR_FMT(tls_peer_base64(x->tls)));
        status |= add(x, head, FIELD_CLIENT_CERT, bytes ? str_of(bytes) : (struct str){NULL, 0});
    }
    return status;
}

/* ---- which route ---- */

static enum abort_code find_path(struct exchange *x, const struct head *head) {
    if (head->form == TARGET_ASTERISK || head->form == TARGET_AUTHORITY) {
        x->path = head->path;
        return ABORT_NONE;
    }
    enum path_error error = path_canonicalize(&x->listener->settings->path, head->path, &x->arena, &x->path);
    if (error == PATH_OK)
        return ABORT_NONE;
    x->detail = path_error_word(error);
    return error == PATH_MEMORY ? ABORT_MEMORY : ABORT_BAD_PATH;
}

static bool may_connect(const struct exchange *x) {
    return x->route && x->route->rule->connect;
}

static const struct bound_table *find_routes(const struct listener_definition *d, const struct route_request *request) {
    if (!d->scopes)
        return d->routes;
    int32_t scope = scope_table_find(d->scopes, request);
    return scope == SCOPE_NONE ? NULL : d->scope_routes[scope];
}

enum abort_code request_prepare(struct exchange *x, struct head *head) {
    if (x->listener->opening.raw)
        return ABORT_NO_ROUTE; /* the address serves no requests any more: the connection is older than that */
    identify(x, head);
    exchange_note_ends(x);
    if (tell_certificate(x, head) < 0)
        return ABORT_MEMORY;
    enum abort_code bad = find_path(x, head);
    if (bad)
        return bad;
    struct route_request request = {.host = head->host, .authority = head->authority, .path = x->path, .query = head->query,
                                    .scheme = x->is_tls ? STR("https") : STR("http"), .method = head->method_text,
                                    .fields = &head->fields, .random = worker_random(x->worker)};
    x->routes = find_routes(x->listener, &request);
    if (!x->routes)
        return ABORT_NO_ROUTE;
    route_table_match(x->routes->table, &request, x->worker->route_scratch, &x->match);
    x->route = x->match.route;
    if (x->match.limit_hit)
        return ABORT_REGEX_LIMIT;
    if (head->method == METHOD_CONNECT)
        return may_connect(x) ? ABORT_NONE : ABORT_METHOD_NOT_ALLOWED;
    return x->route ? ABORT_NONE : ABORT_NO_ROUTE;
}

/* ---- forwarding fields ---- */

/* What a client may not say itself unless it comes through a trusted proxy. */
static void drop_untrusted(struct exchange *x, struct head *head) {
    const struct settings *s = x->listener->settings;
    const uint64_t ours = FIELD_BIT(FIELD_X_FORWARDED_FOR) | FIELD_BIT(FIELD_X_FORWARDED_PROTO) |
                          FIELD_BIT(FIELD_X_FORWARDED_HOST) | FIELD_BIT(FIELD_X_REAL_IP) | FIELD_BIT(FIELD_FORWARDED);
    if (s->trusted_hops == 0 && (head->seen & ours))
        fields_remove_ids(&head->fields, ours);
    else if (head->seen & FIELD_BIT(FIELD_X_REAL_IP))
        fields_remove_ids(&head->fields, FIELD_BIT(FIELD_X_REAL_IP));
}

/* One field with the whole chain: repeated fields are joined, the connection's address comes last. */
static struct str forwarded_chain(struct exchange *x, const struct head *head) {
    size_t size = x->peer.n;
    for (const struct field *f = NULL; (f = fields_next(&head->fields, f, FIELD_X_FORWARDED_FOR));)
        size += f->value_len + 2;
    char *text = arena_alloc(&x->arena, size), *at = text;
    if (!text)
        return (struct str){NULL, 0};
    for (const struct field *f = NULL; (f = fields_next(&head->fields, f, FIELD_X_FORWARDED_FOR));) {
        at = mempcpy(at, f->value, f->value_len);
        at = mempcpy(at, ", ", 2);
    }
    memcpy(at, x->peer.p, x->peer.n);
    return (struct str){text, size};
}

/* CGI and its heirs see "x_forwarded_for" and "x-forwarded-for" as one name: a client must not add to what we say, or to
 * what frames the message, by that spelling. */
static void drop_aliases(struct head *head) {
    char name[32];
    for (uint32_t i = head->fields.count; i-- > 0;) {
        const struct field *f = &head->fields.v[i];
        if (f->id != FIELD_OTHER || f->name_len > sizeof name || !memchr(f->name, '_', f->name_len))
            continue;
        for (size_t k = 0; k < f->name_len; k++)
            name[k] = f->name[k] == '_' ? '-' : f->name[k];
        if (field_id_has(field_lookup(name, f->name_len), FIELD_PINNED | FIELD_HOP_BY_HOP | FIELD_BAD_TRAILER))
            fields_remove_at(&head->fields, i);
    }
}

static int add_x_forwarded(struct exchange *x, struct head *head) {
    uint64_t present = fields_ids(&head->fields);
    struct str chain = x->peer;
    if (present & FIELD_BIT(FIELD_X_FORWARDED_FOR)) {
        chain = forwarded_chain(x, head);
        fields_remove(&head->fields, FIELD_X_FORWARDED_FOR);
    }
    int status = add(x, head, FIELD_X_FORWARDED_FOR, chain);
    if (!(present & FIELD_BIT(FIELD_X_FORWARDED_PROTO)))
        status |= add(x, head, FIELD_X_FORWARDED_PROTO, x->is_tls ? STR("https") : STR("http"));
    if (head->authority.n && !(present & FIELD_BIT(FIELD_X_FORWARDED_HOST)))
        status |= add(x, head, FIELD_X_FORWARDED_HOST, head->authority);
    return status;
}

/* RFC 7239. An IPv6 address is quoted and in brackets. */
static int add_forwarded(struct exchange *x, struct head *head) {
    bool is_v6 = memchr(x->peer.p, ':', x->peer.n) != NULL && x->peer.p[0] != 'u';
    const char *form = is_v6 ? "for=\"[%.*s]\";proto=%s" : "for=%.*s;proto=%s";
    char *own = arena_printf(&x->arena, form, STR_FMT(x->peer), x->is_tls ? "https" : "http");
    if (own && head->authority.n)
        own = arena_printf(&x->arena, "%s;host=\"%.*s\"", own, STR_FMT(head->authority));
    return own ? add(x, head, FIELD_FORWARDED, str_of(own)) : -1;
}

/* RFC 9110 section 7.6.3. */
static int add_via(struct exchange *x, struct head *head, unsigned version) {
    enum via_version v = version == 10 ? VIA_1_0 : version == 20 ? VIA_2 : version == 30 ? VIA_3 : VIA_1_1;
    struct str value = x->listener->settings->via[v];
    return value.p ? add(x, head, FIELD_VIA, value) : 0;
}

/* The target goes on in its canonical form, as the rule rewrites it; Host as the rule says. */
static enum abort_code rewrite(struct exchange *x, struct head *head) {
    struct str host = route_rewrite_host(x->route);
    if (host.n)
        head->authority = host;
    if (head->form == TARGET_ASTERISK || head->form == TARGET_AUTHORITY)
        return ABORT_NONE;
    return route_rewrite_target(x->route, &x->match, x->path, head->has_query, head->query, x->worker->route_scratch,
                                &x->arena, &head->target) < 0
               ? ABORT_INTERNAL
               : ABORT_NONE;
}

/* RFC 9110 section 7.6.2; the value 0 has been answered by now. */
static int count_hop(struct exchange *x, struct head *head) {
    uint64_t hops;
    if (!head_max_forwards(head, &hops) || hops == 0)
        return 0;
    char *text = arena_printf(&x->arena, "%llu", (unsigned long long)hops - 1);
    return text ? fields_set_id(&head->fields, &x->arena, FIELD_MAX_FORWARDS, str_of(text)) : -1;
}

enum abort_code request_prepare_forward(struct exchange *x, struct head *head) {
    const struct settings *s = x->listener->settings;
    int status = fields_reserve(&head->fields, &x->arena, FORWARD_FIELDS);
    if (status < 0)
        return ABORT_MEMORY;
    head_remove_hop_by_hop(head);
    drop_untrusted(x, head);
    drop_aliases(head);
    if (s->x_forwarded)
        status |= add_x_forwarded(x, head);
    if (s->x_real_ip)
        status |= add(x, head, FIELD_X_REAL_IP, x->client);
    if (s->forwarded)
        status |= add_forwarded(x, head);
    status |= add_via(x, head, x->log_version);
    status |= count_hop(x, head);
    if (s->request_id_header.n && x->request_id.p)
        status |= set_request_id(x, head);
    status |= changes_of_request(x, head); /* of what the client asked for, so before it is rewritten */
    return status < 0 ? ABORT_MEMORY : rewrite(x, head);
}

/* ---- response ---- */

/* RFC 7838 section 3. What an origin says is about its own ports. */
static int add_alt_svc(struct exchange *x, struct head *head, uint64_t present) {
    if (present & FIELD_BIT(FIELD_ALT_SVC))
        return fields_set_id(&head->fields, &x->arena, FIELD_ALT_SVC, x->listener->alt_svc);
    return add(x, head, FIELD_ALT_SVC, x->listener->alt_svc);
}

int response_prepare(struct exchange *x, struct head *head) {
    const struct settings *s = x->listener->settings;
    if (fields_reserve(&head->fields, &x->arena, 5) < 0)
        return -1;
    head_remove_hop_by_hop(head);
    if (x->tunnel != TUNNEL_OPEN)
        head->upgrade = (struct str){NULL, 0};
    int status = 0;
    uint64_t present = fields_ids(&head->fields);
    if (!(present & FIELD_BIT(FIELD_DATE))) {
        struct str now = arena_str(&x->arena, date_now(x->worker->now)->http);
        status |= add(x, head, FIELD_DATE, now);
    }
    if (x->is_reply && !(present & FIELD_BIT(FIELD_SERVER)))
        status |= add(x, head, FIELD_SERVER, s->server_name);
    if (!x->is_reply)
        status |= add_via(x, head, head->version);
    if (x->listener->alt_svc.n && x->log_version != 30)
        status |= add_alt_svc(x, head, present);
    return status | changes_of_response(x, head);
}
