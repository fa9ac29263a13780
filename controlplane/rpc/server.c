#include "controlplane/rpc/server.h"

#include <errno.h>
#include <grpc/grpc.h>
#include <grpc/support/alloc.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/log.h"
#include "controlplane/rpc/call_internal.h"
#include "controlplane/rpc/message.h"

enum {
    REQUESTS_WAITING = 8, /* calls that gRPC may have ready for us at once */
    KEEPALIVE_MS = 10000, /* a ping when nothing was heard for so long */
    KEEPALIVE_TIMEOUT_MS = 5000,
    METADATA_MAX = 16 << 10,
};

struct rpc_server {
    struct rpc_loop *loop;
    struct rpc_server_config config;
    grpc_server *server;
    int calls; /* open, without those that wait for a client */
    bool is_stopping, is_stopped;
    struct rpc_completion stopped;
    void (*done)(void *context);
    void *done_context;
};

/* ---- calls ---- */

static void wait_for_call(struct rpc_server *server);

static void finish_stopping(struct rpc_server *server) {
    if (server->is_stopped && server->calls == 0 && server->done) {
        void (*done)(void *context) = server->done;
        server->done = NULL;
        done(server->done_context);
    }
}

void rpc_server_call_ended(struct rpc_server *server) {
    server->calls--;
    finish_stopping(server);
}

static const struct rpc_method *find_method(const struct rpc_server *server, grpc_slice path) {
    for (const struct rpc_method *m = server->config.methods; m->path; m++)
        if (grpc_slice_str_cmp(path, m->path) == 0)
            return m;
    return NULL;
}

static void dispatch(struct rpc_server *server, struct rpc_call *call) {
    const struct rpc_method *method = find_method(server, call->details.method);
    server->calls++;
    rpc_call_open(call);
    if (!method)
        rpc_call_finish(call, GRPC_STATUS_UNIMPLEMENTED, "no such method on this socket");
    else if (server->calls > server->config.calls_max)
        rpc_call_finish(call, GRPC_STATUS_RESOURCE_EXHAUSTED, "too many calls are open");
    else
        method->start(server->config.context, method, call);
}

static void on_requested(struct rpc_completion *c, bool ok) {
    struct rpc_call *call = c->owner;
    struct rpc_server *server = call->server;
    if (!ok) { /* the server stops */
        rpc_call_free(call);
        return;
    }
    wait_for_call(server);
    dispatch(server, call);
}

static void wait_for_call(struct rpc_server *server) {
    struct rpc_call *call = server->is_stopping ? NULL : hg_calloc(1, sizeof *call);
    if (!call)
        return; /* without memory one call fewer waits; the others go on */
    call->server = server;
    call->request = (struct rpc_completion){.done = on_requested, .owner = call};
    grpc_call_details_init(&call->details);
    grpc_metadata_array_init(&call->metadata);
    grpc_call_error failed = grpc_server_request_call(server->server, &call->call, &call->details,
                                                      &call->metadata, server->loop->queue,
                                                      server->loop->queue, &call->request);
    if (failed != GRPC_CALL_OK)
        rpc_call_free(call);
}

/* ---- life ---- */

static grpc_arg int_arg(const char *key, int value) {
    return (grpc_arg){.type = GRPC_ARG_INTEGER, .key = (char *)key, .value.integer = value};
}

static grpc_server *create_grpc_server(const struct rpc_server_config *config) {
    grpc_resource_quota *quota = grpc_resource_quota_create("headgate");
    grpc_resource_quota_resize(quota, config->memory_max);
    grpc_arg args[] = {
        int_arg(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, config->message_max),
        int_arg(GRPC_ARG_MAX_SEND_MESSAGE_LENGTH, -1),
        int_arg(GRPC_ARG_MAX_CONCURRENT_STREAMS, config->calls_max),
        int_arg(GRPC_ARG_MAX_METADATA_SIZE, METADATA_MAX),
        int_arg(GRPC_COMPRESSION_CHANNEL_ENABLED_ALGORITHMS_BITSET, RPC_UNCOMPRESSED),
        int_arg(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0),
        int_arg(GRPC_ARG_KEEPALIVE_TIME_MS, KEEPALIVE_MS),
        int_arg(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, KEEPALIVE_TIMEOUT_MS),
        int_arg(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1),
        int_arg(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 1000),
        int_arg(GRPC_ARG_ALLOW_REUSEPORT, 0),
        {.type = GRPC_ARG_POINTER,
         .key = (char *)GRPC_ARG_RESOURCE_QUOTA,
         .value.pointer = {.p = quota, .vtable = grpc_resource_quota_arg_vtable()}},
    };
    grpc_channel_args list = {.num_args = sizeof args / sizeof *args, .args = args};
    grpc_server *server = grpc_server_create(&list, NULL);
    grpc_resource_quota_unref(quota);
    return server;
}

struct rpc_server *rpc_server_create(struct rpc_loop *loop, const struct rpc_server_config *config,
                                     struct error_list *errors) {
    struct rpc_server *server = hg_calloc(1, sizeof *server);
    if (!server) {
        error_addf(errors, ERROR_MEMORY, "no memory for a server");
        return NULL;
    }
    server->loop = loop;
    server->config = *config;
    server->server = create_grpc_server(config);
    grpc_server_register_completion_queue(server->server, loop->queue, NULL);
    return server;
}

void rpc_server_start(struct rpc_server *server) {
    grpc_server_start(server->server);
    for (int i = 0; i < REQUESTS_WAITING; i++)
        wait_for_call(server);
}

static void on_stopped(struct rpc_completion *c, bool ok) {
    struct rpc_server *server = c->owner;
    (void)ok;
    server->is_stopped = true;
    finish_stopping(server);
}

void rpc_server_stop(struct rpc_server *server, bool cancel, void (*done)(void *context), void *context) {
    server->is_stopping = true;
    server->done = done;
    server->done_context = context;
    server->stopped = (struct rpc_completion){.done = on_stopped, .owner = server};
    grpc_server_shutdown_and_notify(server->server, server->loop->queue, &server->stopped);
    if (cancel)
        grpc_server_cancel_all_calls(server->server);
}

void rpc_server_cancel(struct rpc_server *server) {
    if (server)
        grpc_server_cancel_all_calls(server->server);
}

void rpc_server_destroy(struct rpc_server *server) {
    if (!server)
        return;
    grpc_server_destroy(server->server);
    hg_free(server);
}

/* ---- listening ---- */

bool rpc_socket_is_alive(const char *path) {
    struct address address;
    char text[ADDRESS_TEXT_MAX];
    if (snprintf(text, sizeof text, "unix:%s", path) >= (int)sizeof text || address_parse(str_of(text), &address) < 0)
        return false;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    bool is_alive = connect(fd, &address.u.any, address.length) == 0 || errno == EAGAIN;
    close(fd);
    return is_alive;
}

/* gRPC unlinks whatever socket is at the path, so the check comes before. */
static int remove_stale_socket(const char *path, struct error_list *errors) {
    struct stat st;
    if (lstat(path, &st) < 0)
        return 0;
    if (!S_ISSOCK(st.st_mode)) {
        error_addf(errors, ERROR_ADDRESS_IN_USE, "%s exists and is not a socket", path);
        return -1;
    }
    if (rpc_socket_is_alive(path)) {
        error_addf(errors, ERROR_ADDRESS_IN_USE, "another process listens on %s", path);
        return -1;
    }
    unlink(path);
    return 0;
}

static int set_access(const char *path, unsigned mode, long group, struct error_list *errors) {
    if (group >= 0 && chown(path, (uid_t)-1, (gid_t)group) < 0) {
        error_addf(errors, ERROR_IO, "cannot give %s to group %ld: %s", path, group, strerror(errno));
        return -1;
    }
    if (chmod(path, mode) < 0) {
        error_addf(errors, ERROR_IO, "cannot set the mode of %s: %s", path, strerror(errno));
        return -1;
    }
    return 0;
}

int rpc_server_listen_unix(struct rpc_server *server, const char *path, unsigned mode, long group,
                           struct error_list *errors) {
    char address[ADDRESS_TEXT_MAX];
    if (strlen(path) >= sizeof((struct sockaddr_un *)0)->sun_path) {
        error_addf(errors, ERROR_RANGE, "the path of a socket has at most %zu bytes: %s",
                   sizeof((struct sockaddr_un *)0)->sun_path - 1, path);
        return -1;
    }
    if (remove_stale_socket(path, errors) < 0)
        return -1;
    snprintf(address, sizeof address, "unix:%s", path);
    grpc_server_credentials *credentials = grpc_insecure_server_credentials_create();
    mode_t before = umask(0177); /* nobody else may connect before the mode is set */
    int bound = grpc_server_add_http2_port(server->server, address, credentials);
    umask(before);
    grpc_server_credentials_release(credentials);
    if (!bound) {
        error_addf(errors, ERROR_IO, "cannot listen on %s", path);
        return -1;
    }
    return set_access(path, mode, group, errors);
}

int rpc_server_listen_tcp(struct rpc_server *server, const char *address,
                          grpc_server_credentials *credentials, struct error_list *errors) {
    int port = grpc_server_add_http2_port(server->server, address, credentials);
    if (port <= 0) {
        error_addf(errors, ERROR_IO, "cannot listen on %s", address);
        return -1;
    }
    return port;
}
