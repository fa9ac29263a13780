/* The bootstrap file of gRPC's clients. */
#include <string.h>

#include "controlplane/xds/bootstrap_reader.h"
#include "controlplane/xds/grpc_bootstrap.pb-c.h"
#include "controlplane/xds/json.h"

typedef Headgate__Xds__GrpcServer server_entry;

static const char *text_or_null(const char *text) {
    return text && *text ? text : NULL;
}

/* ---- one server ---- */

static void read_tls(struct bootstrap_reader *r, const struct xds_at *at, const Headgate__Xds__GrpcFiles *files,
                     struct rpc_channel_options *ret) {
    ret->security = RPC_SECURITY_TLS;
    if (!files)
        return;
    ret->authority.path = text_or_null(files->ca_certificate_file);
    ret->certificate.path = text_or_null(files->certificate_file);
    ret->key.path = text_or_null(files->private_key_file);
    if (!ret->certificate.path != !ret->key.path)
        bootstrap_fault(r, XDS_AT(at, "config"), ERROR_MISSING, "certificate_file and private_key_file are given together");
    if (*files->refresh_interval)
        bootstrap_warn(r, XDS_AT(at, "config.refresh_interval"), "is ignored: files are read for each connection");
}

/* The first kind that is known is used (gRFC A27). */
static void read_credentials(struct bootstrap_reader *r, const struct xds_at *at, const server_entry *in,
                             struct rpc_channel_options *ret) {
    const char *last = NULL;
    for (size_t i = 0; i < in->n_channel_creds && ret->security == RPC_SECURITY_UNSET; i++) {
        const Headgate__Xds__GrpcCredentials *c = in->channel_creds[i];
        const struct xds_at *place = XDS_AT_ITEM(at, "channel_creds", i);
        last = c->type;
        if (strcmp(c->type, "insecure") == 0)
            ret->security = RPC_SECURITY_PLAINTEXT;
        else if (strcmp(c->type, "tls") == 0)
            read_tls(r, place, c->config, ret);
        else if (i + 1 < in->n_channel_creds)
            bootstrap_warn(r, place, "is passed over: known types are \"insecure\" and \"tls\"");
    }
    if (ret->security == RPC_SECURITY_UNSET && last)
        bootstrap_fault(r, XDS_AT_ITEM(at, "channel_creds", in->n_channel_creds - 1), ERROR_UNSUPPORTED,
                        "credentials of the type \"%s\" are not supported, only \"insecure\" and \"tls\"", last);
    else if (ret->security == RPC_SECURITY_UNSET)
        bootstrap_fault(r, at, ERROR_MISSING, "a server needs channel_creds");
}

static void read_feature(struct bootstrap_reader *r, const struct xds_at *at, const char *feature, struct xds_server *ret) {
    if (strcmp(feature, "fail_on_data_errors") == 0)
        ret->fail_on_data_errors = true;
    else if (strcmp(feature, "ignore_resource_deletion") == 0)
        ret->ignore_resource_deletion = true;
    else if (strcmp(feature, "resource_timer_is_transient_error") == 0)
        ret->is_timer_transient = true;
    else if (strcmp(feature, "xds_v3") != 0)
        bootstrap_warn(r, at, "is no feature that this program knows");
}

static void read_server(struct bootstrap_reader *r, const struct xds_at *at, const server_entry *in) {
    struct xds_server *server = bootstrap_add_server(r, at);
    if (!server)
        return;
    server->name = server->channel.target = in->server_uri;
    if (!*in->server_uri)
        bootstrap_fault(r, at, ERROR_MISSING, "a server needs server_uri");
    if (in->n_call_creds > 0)
        bootstrap_fault(r, XDS_AT(at, "call_creds"), ERROR_UNSUPPORTED, "credentials of calls are not supported");
    read_credentials(r, at, in, &server->channel);
    for (size_t i = 0; i < in->n_server_features; i++)
        read_feature(r, XDS_AT_ITEM(at, "server_features", i), in->server_features[i], server);
}

/* ---- providers of certificates ---- */

static void read_provider(struct bootstrap_reader *r, const char *name, const Headgate__Xds__GrpcCertificateProvider *in,
                          struct xds_provider *ret) {
    const struct xds_at *at = XDS_AT_KEY(NULL, "certificate_providers", name);
    const Headgate__Xds__GrpcFiles *files = in ? in->config : NULL;
    ret->name = name;
    if (!in || strcmp(in->plugin_name, "file_watcher") != 0) {
        bootstrap_fault(r, at, ERROR_UNSUPPORTED,
                        "the provider of certificates \"%s\" is not supported, only \"file_watcher\"",
                        in ? in->plugin_name : "");
        return;
    }
    ret->certificate = files ? text_or_null(files->certificate_file) : NULL;
    ret->key = files ? text_or_null(files->private_key_file) : NULL;
    ret->authority = files ? text_or_null(files->ca_certificate_file) : NULL;
    if (!ret->certificate != !ret->key)
        bootstrap_fault(r, XDS_AT(at, "config"), ERROR_MISSING, "certificate_file and private_key_file are given together");
    else if (!ret->certificate && !ret->authority)
        bootstrap_fault(r, at, ERROR_MISSING, "a file_watcher needs a certificate_file or a ca_certificate_file");
}

static void read_providers(struct bootstrap_reader *r, const Headgate__Xds__GrpcBootstrap *in) {
    struct xds_provider *made = bootstrap_alloc(r, in->n_certificate_providers, sizeof *made);
    for (size_t i = 0; made && i < in->n_certificate_providers; i++)
        read_provider(r, in->certificate_providers[i]->key, in->certificate_providers[i]->value, &made[i]);
    r->made->providers = made;
    r->made->provider_count = in->n_certificate_providers;
}

/* ---- the whole ---- */

static void tell_of_the_rest(struct bootstrap_reader *r, const Headgate__Xds__GrpcBootstrap *in) {
    if (in->n_authorities > 0)
        bootstrap_fault(r, XDS_AT(NULL, "authorities"), ERROR_UNSUPPORTED, "names of several authorities are not supported");
    if (*in->server_listener_resource_name_template)
        bootstrap_warn(r, XDS_AT(NULL, "server_listener_resource_name_template"),
                       "is ignored: a gateway asks for all listeners");
    if (*in->client_default_listener_resource_name_template)
        bootstrap_warn(r, XDS_AT(NULL, "client_default_listener_resource_name_template"),
                       "is ignored: a gateway asks for all listeners");
}

static void take(struct bootstrap_reader *r, const Headgate__Xds__GrpcBootstrap *in) {
    r->made->wants_listeners = r->made->wants_clusters = true;
    r->made->node = in->node;
    for (size_t i = 0; i < in->n_xds_servers; i++)
        read_server(r, XDS_AT_ITEM(NULL, "xds_servers", i), in->xds_servers[i]);
    read_providers(r, in);
    tell_of_the_rest(r, in);
}

void bootstrap_read_grpc(struct bootstrap_reader *r) {
    const ProtobufCMessage *m =
        xds_json_read(&headgate__xds__grpc_bootstrap__descriptor, r->tree, &r->made->arena, r->errors);
    if (m)
        take(r, (const Headgate__Xds__GrpcBootstrap *)m);
    else
        r->faults++;
}
