/* A bootstrap file written by a stranger: what is refused is refused with a reason; what is read is whole. */
#include <stdio.h>
#include <stdlib.h>

#include "controlplane/xds/bootstrap.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void must(bool holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "%s\n", what);
        abort();
    }
}

static void check_server(const struct xds_server *s)
{
    must(s->name && *s->name && s->channel.target && *s->channel.target, "a server without an address");
    must(s->channel.security != RPC_SECURITY_UNSET, "a server whose security nobody has said");
    must(!s->channel.certificate.path + !s->channel.certificate.text == !s->channel.key.path + !s->channel.key.text,
         "a certificate without its key");
    for (size_t i = 0; i < s->metadata_count; i++) {
        must(s->metadata[i].key && *s->metadata[i].key && s->metadata[i].value, "metadata without a key");
    }
}

static void check(const struct xds_bootstrap *b)
{
    must(b->node && *b->node->id, "nobody who asks");
    must(b->server_count > 0 && b->server_count <= XDS_SERVERS_MAX, "nobody to ask");
    must(b->wants_listeners || b->wants_clusters, "nothing to ask for");
    must(b->request_tokens > 0 && b->requests_per_second > 0, "no request could be sent");
    for (size_t i = 0; i < b->server_count; i++) {
        check_server(&b->servers[i]);
    }
    for (size_t i = 0; i < b->layer_count; i++) {
        must(b->layers[i].name != NULL, "a layer without a name");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct error_list errors = {0}, warnings = {0};
    struct xds_bootstrap b;
    int status = xds_bootstrap_parse("f", (struct str){(const char *)bytes, size}, &b, &errors, &warnings);
    must(status == 0 ? errors.count == 0 : !error_list_is_empty(&errors), "refused without a reason, or read with one");
    if (status == 0) {
        check(&b);
        xds_bootstrap_finish(&b);
    }
    error_list_finish(&errors);
    error_list_finish(&warnings);
    return 0;
}
