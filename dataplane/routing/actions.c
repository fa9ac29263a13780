/* What the core asks a matched rule: cluster, target, Host, Location, retries. */
#include "dataplane/routing/compiled.h"

enum { REPLACED_MAX = 100 }; /* matches of a rewrite's regular expression in one path */

/* ---- forward */

static const struct weighted *choose(const struct route *route, uint32_t random) {
    const struct rule *rule = rule_of(route);
    uint64_t total = rule->clusters[rule->cluster_count - 1].upto;
    uint64_t drawn = (uint64_t)random * total >> 32; /* 0 .. total - 1 */
    uint32_t i = 0;
    while (rule->clusters[i].upto <= drawn)
        i++;
    return &rule->clusters[i];
}

uint32_t route_pick_cluster(const struct route *route, uint32_t random) {
    return choose(route, random)->cluster;
}

const struct header_changes *route_choice_changes(const struct route *route, uint32_t random, bool is_response) {
    const struct weighted *w = choose(route, random);
    return is_response ? &w->response_changes : &w->request_changes;
}

bool route_retries_method(const struct route *route, const struct head *request) {
    const Headgate__Retry *retry = route->rule->retry;
    for (size_t i = 0; retry && i < retry->n_methods; i++)
        if (str_eq(str_of(retry->methods[i]), request->method_text))
            return true;
    return false;
}

static bool is_among(uint64_t number, const uint32_t *numbers, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (numbers[i] == number)
            return true;
    return false;
}

/* An answer of gRPC that is an error and nothing else has its status in the head. */
static bool retries_grpc(const Headgate__Retry *retry, const struct head *answer) {
    const struct field *f = fields_find_name(&answer->fields, STR("grpc-status"));
    uint64_t status;
    return f && str_to_uint64(field_value(f), &status) == 0 &&
           is_among(status, retry->grpc_statuses, retry->n_grpc_statuses);
}

static bool retries_status(uint32_t statuses, unsigned status) {
    if (status >= 500 && statuses & RETRY_5XX)
        return true;
    switch (status) {
    case 409: return statuses & RETRY_409;
    case 429: return statuses & RETRY_429;
    case 502: return statuses & RETRY_502;
    case 503: return statuses & RETRY_503;
    case 504: return statuses & RETRY_504;
    default: return false;
    }
}

bool route_retries_answer(const struct route *route, const struct head *answer) {
    const Headgate__Retry *retry = route->rule->retry;
    if (!retry)
        return false;
    return retries_status(rule_of(route)->retry_statuses, answer->status) ||
           is_among(answer->status, retry->statuses, retry->n_statuses) ||
           (retry->n_grpc_statuses && retries_grpc(retry, answer));
}

/* A rule names protocols without their versions (RFC 9110 section 7.8: protocol-name ["/" protocol-version]). */
bool route_allows_upgrade(const struct route *route, struct str token) {
    const Headgate__Rule *rule = route->rule;
    const char *slash = memchr(token.p, '/', token.n);
    if (slash)
        token.n = (size_t)(slash - token.p);
    if (rule->n_upgrades == 0)
        return str_eq_nocase(token, STR("websocket"));
    for (size_t i = 0; i < rule->n_upgrades; i++)
        if (strcmp(rule->upgrades[i], "*") == 0 || str_eq_nocase(token, str_of(rule->upgrades[i])))
            return true;
    return false;
}

struct str route_rewrite_host(const struct route *route) {
    const Headgate__Rewrite *rewrite = route->rule->rewrite;
    return str_of(rewrite ? rewrite->host : NULL);
}

bool route_host_from_endpoint(const struct route *route) {
    return route->rule->rewrite && route->rule->rewrite->host_from_endpoint;
}

/* ---- joining text in an arena */

static struct str join(struct arena *arena, const struct str *parts, size_t count) {
    size_t n = 0;
    for (size_t i = 0; i < count; i++)
        n += parts[i].n;
    char *text = arena_alloc(arena, n), *at = text;
    for (size_t i = 0; text && i < count; i++)
        if (parts[i].n)
            at = mempcpy(at, parts[i].p, parts[i].n);
    return (struct str){text, text ? n : 0};
}

/* ---- the target for the origin */

/* Where the prefix ends within a segment, what comes out may be a path that nobody has seen yet ("/a" to "/" of "/a../b"):
 * it must be canonical too. */
static struct str replace_prefix(const struct rule *rule, const struct route_match *match, struct str path,
                                 struct arena *arena) {
    struct str parts[] = {rule->new_prefix, {path.p + match->prefix_length, path.n - match->prefix_length}};
    if (parts[0].n + parts[1].n == 0)
        return STR("/");
    struct str joined = join(arena, parts, 2);
    if (joined.p && rule->path_kind == PATH_KIND_STARTS &&
        path_canonicalize(rule->policy, joined, arena, &joined) != PATH_OK)
        return (struct str){NULL, 0};
    return joined;
}

static bool add_text(struct route_scratch *scratch, size_t *n, struct str s) {
    if (s.n > sizeof scratch->text - *n)
        return false;
    if (s.n)
        memcpy(scratch->text + *n, s.p, s.n);
    *n += s.n;
    return true;
}

static bool add_replacement(const struct rule *rule, struct str path, struct route_scratch *scratch, size_t *n) {
    for (uint32_t i = 0; i < rule->piece_count; i++) {
        const struct piece *piece = &rule->pieces[i];
        if (!add_text(scratch, n, piece->literal))
            return false;
        if (piece->group >= 0 && !add_text(scratch, n, regex_group(scratch->regex, path, (unsigned)piece->group)))
            return false;
    }
    return true;
}

/* The path with every match replaced, in the scratch. Returns its length, or -1 when a limit was hit. */
static ssize_t replace_matches(const struct rule *rule, struct str path, struct route_scratch *scratch) {
    size_t n = 0, from = 0;
    bool allow_empty = true;
    for (unsigned replaced = 0; replaced <= REPLACED_MAX; replaced++) {
        enum regex_result result = regex_match(rule->rewrite_regex, path, from, allow_empty, scratch->regex);
        if (result == REGEX_NO)
            return add_text(scratch, &n, (struct str){path.p + from, path.n - from}) ? (ssize_t)n : -1;
        struct str found = regex_group(scratch->regex, path, 0);
        if (result == REGEX_LIMIT ||
            !add_text(scratch, &n, (struct str){path.p + from, (size_t)(found.p - path.p) - from}) ||
            !add_replacement(rule, path, scratch, &n))
            return -1;
        from = (size_t)(found.p - path.p) + found.n;
        allow_empty = found.n > 0;
    }
    return -1;
}

/* What comes out is a path that nobody has seen yet: it must be canonical too. */
static int rewrite_by_regex(const struct rule *rule, struct str path, struct route_scratch *scratch, struct arena *arena,
                            struct str *ret) {
    ssize_t n = replace_matches(rule, path, scratch);
    if (n < 0)
        return -1;
    struct str copy = join(arena, &(struct str){scratch->text, (size_t)n}, 1);
    return copy.p && path_canonicalize(rule->policy, copy, arena, ret) == PATH_OK ? 0 : -1;
}

int route_rewrite_target(const struct route *route, const struct route_match *match, struct str path, bool has_query,
                         struct str query, struct route_scratch *scratch, struct arena *arena, struct str *ret_target) {
    const struct rule *rule = rule_of(route);
    struct str rewritten = path;
    if (rule->rewrite_regex && rewrite_by_regex(rule, path, scratch, arena, &rewritten))
        return -1;
    if (rule->has_new_prefix)
        rewritten = replace_prefix(rule, match, path, arena);
    if (has_query && rewritten.p && query.p == rewritten.p + rewritten.n + 1) {
        rewritten.n += 1 + query.n; /* it stands there already, as received */
    } else if (has_query && rewritten.p) {
        struct str parts[] = {rewritten, STR("?"), query};
        rewritten = join(arena, parts, 3);
    }
    if (!rewritten.p)
        return -1;
    *ret_target = rewritten;
    return 0;
}

/* ---- the Location of a redirect */

static struct str without_port(struct str authority) {
    const char *colon = authority.n ? memrchr(authority.p, ':', authority.n) : NULL;
    if (colon && (authority.p[0] != '[' || colon[-1] == ']'))
        authority.n = (size_t)(colon - authority.p);
    return authority;
}

/* Another scheme has another default port. */
static bool drops_port(const Headgate__Redirect *m, const struct route_request *request, struct str host) {
    struct str port = {request->authority.p + host.n, request->authority.n - host.n};
    if (!m->scheme || str_eq(str_of(m->scheme), request->scheme))
        return false;
    return !m->keep_port || str_eq(port, str_eq(request->scheme, STR("http")) ? STR(":80") : STR(":443"));
}

/* The host of the Location with its port; without memory p is NULL. */
static struct str new_authority(const Headgate__Redirect *m, const struct route_request *request, struct arena *arena) {
    struct str host = m->host ? str_of(m->host) : without_port(request->authority);
    if (m->port && host.n) {
        char *text = arena_printf(arena, "%.*s:%u", STR_FMT(host), m->port);
        return str_of(text);
    }
    return m->host || drops_port(m, request, host) ? host : request->authority;
}

static struct str redirect_path(const struct rule *rule, const struct route_match *match, struct str path,
                                struct route_scratch *scratch, struct arena *arena) {
    const Headgate__Redirect *m = rule->route.rule->redirect;
    struct str rewritten = {NULL, 0};
    if (m->path)
        return str_of(m->path);
    if (rule->has_new_prefix)
        return replace_prefix(rule, match, path, arena);
    if (!rule->rewrite_regex)
        return path;
    return rewrite_by_regex(rule, path, scratch, arena, &rewritten) ? (struct str){NULL, 0} : rewritten;
}

int route_redirect_location(const struct route *route, const struct route_match *match, const struct route_request *request,
                            bool has_query, struct route_scratch *scratch, struct arena *arena, struct str *ret) {
    const Headgate__Redirect *m = route->rule->redirect;
    struct str new_path = redirect_path(rule_of(route), match, request->path, scratch, arena);
    struct str authority = new_authority(m, request, arena), scheme = m->scheme ? str_of(m->scheme) : request->scheme;
    if (!new_path.p || !authority.p)
        return -1;
    bool drops_query = m->strip_query || (m->path && (!m->keep_query || strchr(m->path, '?')));
    bool keeps_query = has_query && !drops_query, is_absolute = authority.n > 0;
    struct str none = {"", 0};
    struct str parts[] = {
        is_absolute ? scheme : none,
        is_absolute ? STR("://") : str_starts(new_path, STR("//")) ? STR("/.") : none, /* "//x" would be a host */
        is_absolute ? authority : none,
        new_path,
        keeps_query ? STR("?") : none,
        keeps_query ? request->query : none,
    };
    struct str location = join(arena, parts, sizeof parts / sizeof *parts);
    if (!location.p)
        return -1;
    *ret = location;
    return 0;
}
