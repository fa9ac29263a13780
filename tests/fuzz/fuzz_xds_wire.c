/* Responses of xDS as bytes. First byte: the form. What is decoded lies within the bytes' bounds, and goes through the
 * protocol; what that asks for encodes. */
#include <stdio.h>
#include <stdlib.h>

#include "common/log.h"
#include "controlplane/xds/protocol.h"
#include "controlplane/xds/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

enum { MEMORY_MAX = 8 << 20 };

#define TYPE_URL "type.googleapis.com/envoy.config.cluster.v3.Cluster"

static void must(bool holds, const char *what) {
    if (!holds) {
        fprintf(stderr, "%s\n", what);
        abort();
    }
}

static enum xds_verdict judge(void *context, size_t type, struct str name, struct str bytes, struct strbuf *reasons) {
    (void)context;
    (void)type;
    (void)name;
    if (bytes.n % 2 == 0)
        return XDS_VALID;
    strbuf_puts(reasons, "odd");
    return XDS_INVALID;
}

static volatile unsigned char sink;

/* Every byte of the view is read. */
static void touch(struct str s) {
    for (size_t i = 0; i < s.n; i++)
        sink = (unsigned char)s.p[i];
}

static void touch_resource(const struct xds_response_resource *in) {
    touch(in->name);
    touch(in->version);
    touch(in->bytes);
    touch(in->type_url);
    must(in->has_body || in->bytes.n == 0, "bytes of no body");
}

static void touch_all(const struct xds_response *r) {
    touch(r->version);
    touch(r->nonce);
    touch(r->type_url);
    for (size_t i = 0; i < r->resource_count; i++)
        touch_resource(&r->resources[i]);
    for (size_t i = 0; i < r->removed_count; i++)
        touch(r->removed[i]);
    for (size_t i = 0; i < r->error_count; i++) {
        touch(r->errors[i].name);
        touch(r->errors[i].message);
    }
}

static void send_all(struct xds_protocol *p, enum xds_form form, struct arena *arena, uint64_t now) {
    Envoy__Config__Core__V3__Node node = ENVOY__CONFIG__CORE__V3__NODE__INIT;
    struct xds_request request;
    while (xds_protocol_next_request(p, 0, now, &request) == 1) {
        must(xds_encode_request(arena, form, &request, &node).n > 0, "a request does not encode");
        xds_protocol_sent(p, 0, now);
    }
}

static void take(const struct xds_response *in, enum xds_form form, struct arena *arena) {
    struct xds_options o;
    struct xds_type_options t = {STR(TYPE_URL), true, false, false};
    struct xds_response r = *in;
    size_t type = 0;
    xds_options_defaults(&o);
    o.form = form;
    struct xds_protocol *p = xds_protocol_create(&o, judge, NULL, 1);
    must(p && xds_protocol_add_type(p, &t, &type) == XDS_OK, "no memory");
    must(xds_protocol_subscribe(p, type, STR("*")) == XDS_OK, "no wildcard");
    xds_protocol_opened(p, 0);
    send_all(p, form, arena, 1);
    r.type_url = STR(TYPE_URL);
    if (xds_protocol_receive(p, 0, &r, 2) == XDS_OK) {
        send_all(p, form, arena, 2);
        must(xds_protocol_counters(p)->acks + xds_protocol_counters(p)->nacks == 1, "not answered once");
    }
    xds_protocol_destroy(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    struct arena arena;
    struct xds_response response;
    if (size < 1)
        return 0;
    enum xds_form form = bytes[0] & 1 ? XDS_DELTA : XDS_STATE_OF_THE_WORLD;
    log_set_level(LOG_LEVEL_ERROR + 1);
    arena_init(&arena, NULL, 0, MEMORY_MAX);
    if (xds_decode_response(&arena, form, (struct str){(const char *)bytes + 1, size - 1}, &response) == 0) {
        touch_all(&response);
        take(&response, form, &arena);
    }
    arena_finish(&arena);
    return 0;
}
