#include "controlplane/etcd/client.h"

#include <stdlib.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/log.h"
#include "controlplane/etcd/client_internal.h"

enum {
    CONNECT_TIMEOUT_US = 3000000,
    KEEPALIVE_US = 10000000,            /* etcd allows a ping in 5 s */
    KEEPALIVE_TIMEOUT_US = 5000000,
    TEXT_MAX = 300,                     /* bytes of a failure that are kept */
};

/* ---- members ---- */

bool etcd_is_of_member(grpc_status_code status) {
    return status == GRPC_STATUS_UNAVAILABLE || status == GRPC_STATUS_DEADLINE_EXCEEDED || status == GRPC_STATUS_UNKNOWN ||
           status == GRPC_STATUS_INTERNAL || status == GRPC_STATUS_DATA_LOSS;
}

void etcd_member_answered(struct etcd *e, size_t member) {
    struct member *m = &e->members[member];
    if (m->error.n)
        log_info("a member of etcd answers again", LOG_S("member", m->name));
    strbuf_reset(&m->error);
    m->answered_at = clock_realtime_us();
}

void etcd_format_failure(grpc_status_code status, struct str text, struct strbuf *out) {
    static const char *const names[] = {
        "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
        "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
        "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"};
    size_t n = text.n < TEXT_MAX ? text.n : TEXT_MAX;
    strbuf_puts(out, (size_t)status < sizeof names / sizeof *names ? names[status] : "an unknown status");
    if (n)
        strbuf_printf(out, ": %.*s", (int)n, text.p);
}

void etcd_member_failed(struct etcd *e, size_t member, grpc_status_code status, struct str text) {
    struct member *m = &e->members[member];
    bool is_new = m->error.n == 0;
    strbuf_reset(&m->error);
    etcd_format_failure(status, text, &m->error);
    m->failed_at = clock_realtime_us();
    m->failures++;
    if (is_new)
        log_warning("a member of etcd does not answer", LOG_S("member", m->name),
                    LOG_S("reason", m->error.failed ? "out of memory" : m->error.p));
    if (e->used == member)
        e->used = (member + 1) % e->address.member_count;
}

/* ---- what all calls say ---- */

size_t etcd_metadata(const struct etcd *e, struct rpc_metadata to[ETCD_METADATA_MAX]) {
    size_t n = 0;
    to[n++] = (struct rpc_metadata){"hasleader", "true"};
    if (e->token && *e->token)
        to[n++] = (struct rpc_metadata){"token", e->token};
    return n;
}

struct rpc_stream *etcd_open_watch(struct etcd *e, const struct rpc_stream_handlers *handlers, void *owner,
                                   size_t *ret_member, struct error_list *errors) {
    struct rpc_metadata metadata[ETCD_METADATA_MAX];
    const struct rpc_stream_options o = {.method = "/etcdserverpb.Watch/Watch", .metadata = metadata,
                                         .metadata_count = etcd_metadata(e, metadata)};
    struct rpc_stream *s = e->is_stopped ? NULL : rpc_stream_open(e->members[e->used].channel, &o, handlers, owner, errors);
    if (s)
        *ret_member = e->used;
    return s;
}

void etcd_watch_ended(struct etcd *e, size_t member, grpc_status_code status, struct str text) {
    if (etcd_is_of_member(status))
        etcd_member_failed(e, member, status, text);
}

/* ---- life ---- */

static int connect_members(struct etcd *e, const struct etcd_options *o, struct error_list *errors) {
    int status = 0;
    for (size_t i = 0; i < e->address.member_count; i++) {
        const struct rpc_channel_options c = {
            .target = e->address.members[i],
            .security = e->address.is_tls ? RPC_SECURITY_TLS : RPC_SECURITY_PLAINTEXT,
            .authority = {.path = o->authority}, .certificate = {.path = o->certificate}, .key = {.path = o->key},
            .user_agent = "headgate/" HG_VERSION, .message_max = ETCD_MESSAGE_MAX,
            .connect_timeout_us = CONNECT_TIMEOUT_US, .keepalive_us = KEEPALIVE_US,
            .keepalive_timeout_us = KEEPALIVE_TIMEOUT_US};
        e->members[i].name = c.target;
        e->members[i].channel = rpc_channel_create(e->rpc, &c, errors);
        status |= e->members[i].channel ? 0 : -1;
    }
    return status;
}

static int copy_user(struct etcd *e, const struct etcd_options *o, struct error_list *errors) {
    const char *password = getenv(ETCD_PASSWORD_VARIABLE);
    if (!o->user)
        return 0;
    if (o->password_file && !(e->password_file = token_file_open(o->password_file, errors)))
        return -1;
    if (!o->password_file && !password) {
        error_addf(errors, ERROR_MISSING, "the user %s of etcd needs a password: --etcd-password-file, or "
                   ETCD_PASSWORD_VARIABLE " in the environment", o->user);
        return -1;
    }
    e->user = hg_strdup(o->user);
    e->password = password && !o->password_file ? hg_strdup(password) : NULL;
    if (e->user && (e->password || e->password_file))
        return 0;
    error_addf(errors, ERROR_MEMORY, "no memory for etcd");
    return -1;
}

static int check_options(const struct etcd *e, const struct etcd_options *o, struct error_list *errors) {
    size_t before = errors->count;
    if (!e->address.is_tls && (o->authority || o->certificate || o->key))
        error_addf(errors, ERROR_CONFLICT, "certificates for etcd go with an address that begins with etcds://, not %s",
                   o->address);
    if (!o->certificate != !o->key)
        error_addf(errors, ERROR_MISSING, "the certificate for etcd and its key go together");
    if (o->password_file && !o->user)
        error_addf(errors, ERROR_MISSING, "a password for etcd goes with its user");
    return errors->count == before ? 0 : -1;
}

struct etcd *etcd_create(struct rpc_loop *rpc, const struct etcd_options *o, struct error_list *errors) {
    struct etcd *e = hg_calloc(1, sizeof *e);
    if (!e) {
        error_addf(errors, ERROR_MEMORY, "no memory for etcd");
        return NULL;
    }
    e->rpc = rpc;
    if (etcd_address_parse(o->address, &e->address, errors) == 0 && check_options(e, o, errors) == 0 &&
        copy_user(e, o, errors) == 0 && connect_members(e, o, errors) == 0)
        return e;
    etcd_destroy(e);
    return NULL;
}

void etcd_stop(struct etcd *e) {
    if (!e || e->is_stopped)
        return;
    e->is_stopped = true;
    etcd_call_abandon(&e->login);
    for (size_t i = 0; i < e->address.member_count; i++) {
        rpc_channel_destroy(e->members[i].channel);
        e->members[i].channel = NULL;
    }
}

void etcd_destroy(struct etcd *e) {
    if (!e)
        return;
    etcd_stop(e);
    for (size_t i = 0; i < e->address.member_count; i++)
        strbuf_finish(&e->members[i].error);
    token_file_close(e->password_file);
    hg_free(e->user);
    hg_free(e->password);
    hg_free(e->token);
    etcd_address_finish(&e->address);
    hg_free(e);
}

const char *etcd_prefix(const struct etcd *e) {
    return e->address.prefix;
}

struct rpc_loop *etcd_rpc(const struct etcd *e) {
    return e->rpc;
}

/* ---- for status ---- */

size_t etcd_member_count(const struct etcd *e) {
    return e->address.member_count;
}

void etcd_member_status(const struct etcd *e, size_t member, struct etcd_member_status *ret) {
    const struct member *m = &e->members[member];
    *ret = (struct etcd_member_status){.name = m->name, .is_used = member == e->used,
                                       .is_connected = m->channel && rpc_channel_is_connected(m->channel),
                                       .error = m->error.n && !m->error.failed ? m->error.p : "",
                                       .failed_at = m->failed_at, .answered_at = m->answered_at, .failures = m->failures};
}

uint64_t etcd_logins(const struct etcd *e) {
    return e->logins;
}
