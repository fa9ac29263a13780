#include "controlplane/etcd/address.h"

#include <stdio.h>

#define EXPECTED "an address such as etcd://host:2379,other:2379/prefix, or etcds:// for TLS"

static const struct str plain = {"etcd://", 7}, secure = {"etcds://", 8};

bool etcd_address_is_one(const char *text) {
    return str_starts(str_of(text), plain) || str_starts(str_of(text), secure);
}

static int refuse(struct error_list *errors, enum error_code code, const char *text, const char *what) {
    struct error *e = error_addf(errors, code, "%s: %s", text, what);
    error_set_expected(errors, e, EXPECTED, NULL);
    return -1;
}

/* ---- members ---- */

static bool is_host(struct str host) {
    bool has_brackets = host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']';
    struct str inside = has_brackets ? (struct str){host.p + 1, host.n - 2} : host;
    for (size_t i = 0; i < inside.n; i++) {
        char c = inside.p[i];
        bool is_plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.';
        bool is_more = has_brackets ? c == ':' : c == '-' || c == '_';
        if (!is_plain && !is_more)
            return false;
    }
    return inside.n > 0 && inside.n < 254;
}

/* The colon before the port; the end where there is none. */
static size_t host_length(struct str member) {
    size_t n = member.n;
    while (n > 0 && member.p[n - 1] >= '0' && member.p[n - 1] <= '9')
        n--;
    return n > 0 && n <= member.n && member.p[n - 1] == ':' ? n - 1 : member.n;
}

/* NULL, or what is wrong. */
static const char *add_member(struct etcd_address *a, struct str member) {
    uint64_t port = 2379;
    struct str host = {member.p, host_length(member)};
    if (host.n < member.n && str_to_uint64((struct str){member.p + host.n + 1, member.n - host.n - 1}, &port) < 0)
        return "a port is no number";
    if (!is_host(host) || port == 0 || port > UINT16_MAX)
        return "a member is no host with a port";
    if (a->member_count == ETCD_MEMBERS_MAX)
        return "there are more than 16 members";
    a->members[a->member_count] = arena_printf(&a->arena, "%.*s:%u", STR_FMT(host), (unsigned)port);
    return a->members[a->member_count++] ? NULL : "out of memory";
}

static const char *add_members(struct etcd_address *a, struct str list) {
    const char *wrong = NULL;
    while (!wrong && list.p)
        wrong = add_member(a, str_cut(&list, ','));
    return wrong;
}

/* ---- prefix ---- */

/* Without the slashes at its end. */
static const char *set_prefix(struct etcd_address *a, struct str path) {
    while (path.n > 0 && path.p[path.n - 1] == '/')
        path.n--;
    if (path.n > ETCD_PREFIX_MAX)
        return "the prefix is longer than 256 bytes";
    for (size_t i = 0; i < path.n; i++)
        if (path.p[i] <= ' ' || path.p[i] > '~' || (path.p[i] == '/' && i + 1 < path.n && path.p[i + 1] == '/'))
            return "the prefix has an empty part, or characters that are not printable ASCII";
    a->prefix = path.n ? arena_str(&a->arena, path).p : ETCD_PREFIX;
    return a->prefix ? NULL : "out of memory";
}

int etcd_address_parse(const char *text, struct etcd_address *ret, struct error_list *errors) {
    struct str s = str_of(text);
    *ret = (struct etcd_address){.is_tls = str_starts(s, secure)};
    if (!etcd_address_is_one(text))
        return refuse(errors, ERROR_SYNTAX, text, "not an address of etcd");
    struct str scheme = ret->is_tls ? secure : plain;
    struct str rest = {s.p + scheme.n, s.n - scheme.n};
    const char *slash = memchr(rest.p, '/', rest.n);
    struct str members = {rest.p, slash ? (size_t)(slash - rest.p) : rest.n};
    const char *wrong = add_members(ret, members);
    if (!wrong)
        wrong = set_prefix(ret, (struct str){rest.p + members.n, rest.n - members.n});
    return wrong ? refuse(errors, ERROR_SYNTAX, text, wrong) : 0;
}

void etcd_address_finish(struct etcd_address *a) {
    arena_finish(&a->arena);
}
