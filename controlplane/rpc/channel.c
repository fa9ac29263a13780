/* A server that calls are made on. gRPC's own channel is made anew for the first call without a connection, or after one
 * that found the server unavailable: so each try connects at once, looks the name up, and uses certificates as they are in
 * the files. Waits are the owner's. */
#include <assert.h>
#include <grpc/grpc_security.h>
#include <limits.h>
#include <string.h>

#include "common/alloc.h"
#include "controlplane/rpc/message.h"
#include "controlplane/rpc/pem.h"
#include "controlplane/rpc/stream_internal.h"

enum { AUTHORITY, CERTIFICATE, KEY, PEMS, METADATA_MAX = 64 << 10, ARGS_MAX = 20 };

struct rpc_channel {
    struct rpc_loop *loop;
    struct rpc_channel_options options;                 /* texts are owned */
    char *target, *server_name, *user_agent;
    char *paths[PEMS], *texts[PEMS];                    /* of each at most one */
    grpc_channel *channel;                              /* NULL: none yet */
    unsigned calls;
    bool is_doubtful;       /* a call has ended as unavailable; that its connection has, gRPC sees later */
};

/* ---- certificates ---- */

struct pems {
    char *texts[PEMS];
};

static void pems_finish(struct pems *p) {
    for (int i = 0; i < PEMS; i++)
        pem_forget(p->texts[i]);
}

static const char *place_of(const struct rpc_channel *c, int which) {
    return c->paths[which] ? c->paths[which] : "the text that was given";
}

static int read_one(const struct rpc_channel *c, int which, struct pems *ret, struct error_list *errors) {
    if (c->paths[which])
        ret->texts[which] = pem_read_file(c->paths[which], errors);
    else if (c->texts[which])
        ret->texts[which] = hg_strdup(c->texts[which]);
    else
        return 0;
    if (!ret->texts[which] && !c->paths[which])
        error_addf(errors, ERROR_MEMORY, "no memory for certificates");
    return ret->texts[which] ? 0 : -1;
}

/* All of them, so that all that is wrong is told. */
static int read_pems(const struct rpc_channel *c, struct pems *ret, struct error_list *errors) {
    int status = 0;
    for (int i = 0; i < PEMS; i++)
        status |= read_one(c, i, ret, errors);
    if (status == 0 && ret->texts[AUTHORITY])
        status = pem_check_certificate(ret->texts[AUTHORITY], place_of(c, AUTHORITY), errors);
    if (status == 0 && ret->texts[KEY])
        status = pem_check_pair(ret->texts[CERTIFICATE], place_of(c, CERTIFICATE), ret->texts[KEY], place_of(c, KEY),
                                errors);
    return status;
}

static grpc_channel_credentials *make_credentials(const struct rpc_channel *c, struct error_list *errors) {
    struct pems p = {0};
    grpc_channel_credentials *credentials = NULL;
    if (c->options.security == RPC_SECURITY_PLAINTEXT)
        return grpc_insecure_credentials_create();
    if (read_pems(c, &p, errors) == 0) {
        grpc_ssl_pem_key_cert_pair pair = {.private_key = p.texts[KEY], .cert_chain = p.texts[CERTIFICATE]};
        credentials = grpc_ssl_credentials_create_ex(p.texts[AUTHORITY], p.texts[KEY] ? &pair : NULL, NULL, NULL);
        if (!credentials)
            error_addf(errors, ERROR_IO, "there are no certificates that the system trusts");
    }
    pems_finish(&p);
    return credentials;
}

/* ---- gRPC's channel ---- */

struct args {
    grpc_arg items[ARGS_MAX];
    size_t count;
};

static void put_int(struct args *a, const char *key, int value) {
    assert(a->count < ARGS_MAX);
    a->items[a->count++] = (grpc_arg){.type = GRPC_ARG_INTEGER, .key = (char *)(uintptr_t)key, .value.integer = value};
}

static void put_text(struct args *a, const char *key, char *value) {
    assert(a->count < ARGS_MAX);
    if (value)
        a->items[a->count++] = (grpc_arg){.type = GRPC_ARG_STRING, .key = (char *)(uintptr_t)key, .value.string = value};
}

/* 0 leaves gRPC's own value, which header comments name. */
static void put_time(struct args *a, const char *key, uint64_t us) {
    if (us > 0)
        put_int(a, key, us / 1000 > INT_MAX ? INT_MAX : us < 1000 ? 1 : (int)(us / 1000));
}

static void fill_args(const struct rpc_channel *c, struct args *a) {
    const struct rpc_channel_options *o = &c->options;
    put_int(a, GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, o->message_max);
    put_int(a, GRPC_ARG_MAX_SEND_MESSAGE_LENGTH, -1);
    put_int(a, GRPC_ARG_MAX_METADATA_SIZE, METADATA_MAX);
    put_int(a, GRPC_COMPRESSION_CHANNEL_ENABLED_ALGORITHMS_BITSET, RPC_UNCOMPRESSED);
    put_int(a, GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0);
    put_int(a, GRPC_ARG_ENABLE_RETRIES, 0);
    put_int(a, GRPC_ARG_ENABLE_HTTP_PROXY, 0);                  /* what is connected to stands in the configuration alone */
    put_int(a, GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1);
    put_int(a, GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);          /* no connection or wait of another channel */
    put_int(a, GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);       /* pings are for streams that are idle */
    put_time(a, GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, o->connect_timeout_us);
    put_time(a, GRPC_ARG_KEEPALIVE_TIME_MS, o->keepalive_us);
    put_time(a, GRPC_ARG_KEEPALIVE_TIMEOUT_MS, o->keepalive_timeout_us);
    put_text(a, GRPC_ARG_PRIMARY_USER_AGENT_STRING, c->user_agent);
    put_text(a, GRPC_ARG_DEFAULT_AUTHORITY, c->server_name);
    put_text(a, GRPC_SSL_TARGET_NAME_OVERRIDE_ARG, c->server_name);
}

static grpc_channel *make_channel(const struct rpc_channel *c, struct error_list *errors) {
    struct args a = {.count = 0};
    grpc_channel_credentials *credentials = make_credentials(c, errors);
    if (!credentials)
        return NULL;
    fill_args(c, &a);
    const grpc_channel_args list = {.num_args = a.count, .args = a.items};
    grpc_channel *channel = grpc_channel_create(c->target, credentials, &list);
    grpc_channel_credentials_release(credentials);
    return channel;
}

grpc_channel *rpc_channel_begin_call(struct rpc_channel *c, struct error_list *errors) {
    if (c->calls == 0 && (c->is_doubtful || !rpc_channel_is_connected(c))) {
        grpc_channel *made = make_channel(c, errors);
        if (!made)
            return NULL;
        if (c->channel)
            grpc_channel_destroy(c->channel);
        c->channel = made;
        c->is_doubtful = false;
    }
    c->calls++;
    return c->channel;
}

void rpc_channel_call_ended(struct rpc_channel *c, bool is_unavailable) {
    c->calls--;
    c->is_doubtful |= is_unavailable;
}

bool rpc_channel_is_connected(const struct rpc_channel *c) {
    return c->channel && grpc_channel_check_connectivity_state(c->channel, 0) == GRPC_CHANNEL_READY;
}

/* ---- life ---- */

const char *rpc_channel_target(const struct rpc_channel *c) {
    return c->target;
}

struct rpc_loop *rpc_channel_loop(const struct rpc_channel *c) {
    return c->loop;
}

static int copy_text(const char *in, char **ret) {
    *ret = in ? hg_strdup(in) : NULL;
    return in && !*ret ? -1 : 0;
}

static int copy_options(struct rpc_channel *c, const struct rpc_channel_options *o) {
    const struct rpc_pem *const pems[PEMS] = {&o->authority, &o->certificate, &o->key};
    int status = copy_text(o->target, &c->target) | copy_text(o->server_name, &c->server_name) |
                 copy_text(o->user_agent, &c->user_agent);
    for (int i = 0; i < PEMS; i++)
        status |= copy_text(pems[i]->path, &c->paths[i]) | copy_text(pems[i]->path ? NULL : pems[i]->text, &c->texts[i]);
    c->options = *o;
    return status;
}

static bool has_pem(const struct rpc_pem *p) {
    return p->path || p->text;
}

static int check_options(const struct rpc_channel_options *o, struct error_list *errors) {
    size_t before = errors->count;
    bool has_certificate = has_pem(&o->certificate), has_any = has_certificate || has_pem(&o->key) || has_pem(&o->authority);
    if (!o->target || !*o->target)
        error_addf(errors, ERROR_MISSING, "a server needs an address");
    if (o->security == RPC_SECURITY_UNSET)
        error_addf(errors, ERROR_MISSING, "a server needs TLS, or to be said to have none");
    if (o->security == RPC_SECURITY_PLAINTEXT && has_any)
        error_addf(errors, ERROR_CONFLICT, "there are no certificates without TLS");
    if (has_certificate != has_pem(&o->key))
        error_addf(errors, ERROR_MISSING, "a certificate and its key are given together");
    return errors->count == before ? 0 : -1;
}

/* Whether the files can be used; what they say is used later. */
static int check_files(const struct rpc_channel *c, struct error_list *errors) {
    struct pems p = {0};
    int status = c->options.security == RPC_SECURITY_TLS ? read_pems(c, &p, errors) : 0;
    pems_finish(&p);
    return status;
}

struct rpc_channel *rpc_channel_create(struct rpc_loop *loop, const struct rpc_channel_options *o,
                                       struct error_list *errors) {
    if (check_options(o, errors) < 0)
        return NULL;
    struct rpc_channel *c = hg_calloc(1, sizeof *c);
    if (!c || copy_options(c, o) < 0)
        error_addf(errors, ERROR_MEMORY, "no memory for a server");
    else if (check_files(c, errors) == 0) {
        c->loop = loop;
        return c;
    }
    rpc_channel_destroy(c);
    return NULL;
}

void rpc_channel_destroy(struct rpc_channel *c) {
    if (!c)
        return;
    assert(c->calls == 0);
    if (c->channel)
        grpc_channel_destroy(c->channel);
    for (int i = 0; i < PEMS; i++) {
        hg_free(c->paths[i]);
        pem_forget(c->texts[i]);
    }
    hg_free(c->target);
    hg_free(c->server_name);
    hg_free(c->user_agent);
    hg_free(c);
}
