/* Any responses to the machine of the xDS protocol, in both forms and by polls, between subscriptions, cuts and READY:
 * bounds hold, and every response that is taken is answered once. */
#include <stdio.h>
#include <stdlib.h>

#include "common/log.h"
#include "controlplane/xds/protocol.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

enum { ITEMS_MAX = 4, RESOURCES_MAX = 8, BYTES_MAX = 6000 };

#define TYPE_URL "type"

/* What is left of the input; reading on behind the end gives zeroes. */
struct input {
    const uint8_t *at;
    size_t         left;
};

static void must(bool holds, const char *what) {
    if (!holds) {
        fprintf(stderr, "%s\n", what);
        abort();
    }
}

static uint8_t take_byte(struct input *in) {
    if (in->left == 0)
        return 0;
    in->left--;
    return *in->at++;
}

static struct str take_text(struct input *in, size_t max) {
    size_t n = take_byte(in) % max;
    n = n < in->left ? n : in->left;
    struct str text = {(const char *)in->at, n};
    in->at += n;
    in->left -= n;
    return text;
}

/* Mostly of few names, so that they meet. */
static struct str take_name(struct input *in) {
    static const char *const names[] = {"a", "b", "c", "*", "", "\xff"};
    uint8_t which = take_byte(in) % 8;
    return which < 6 ? str_of(names[which]) : take_text(in, 12);
}

static enum xds_verdict judge(void *context, size_t type, struct str name, struct str bytes, struct strbuf *reasons) {
    (void)context;
    (void)type;
    must(name.n > 0, "a resource without a name is judged");
    if (bytes.n == 0 || bytes.p[0] % 3)
        return XDS_VALID;
    strbuf_add(reasons, bytes.p, bytes.n);
    return XDS_INVALID;
}

static void respond(struct xds_protocol *p, size_t stream, struct input *in, uint64_t now) {
    struct xds_response_resource resources[ITEMS_MAX];
    struct str removed[ITEMS_MAX];
    struct xds_response_error errors[ITEMS_MAX];
    struct xds_response r = {.type_url = take_byte(in) % 4 ? STR(TYPE_URL "0") : take_text(in, 8),
                             .version = take_text(in, 24), .nonce = take_text(in, 24), .resources = resources,
                             .removed = removed, .errors = errors};
    r.resource_count = take_byte(in) % (ITEMS_MAX + 1);
    r.removed_count = take_byte(in) % 2;
    r.error_count = take_byte(in) % 2;
    for (size_t i = 0; i < r.resource_count; i++) {
        uint8_t flags = take_byte(in);
        resources[i] = (struct xds_response_resource){take_name(in), flags & 1 ? r.type_url : STR("x"), take_text(in, 8),
                                                      take_text(in, 100), flags & 6, flags & 8, take_byte(in),
                                                      flags & 16 ? STR("unreadable") : STR("")};
    }
    for (size_t i = 0; i < r.removed_count; i++)
        removed[i] = take_name(in);
    for (size_t i = 0; i < r.error_count; i++)
        errors[i] = (struct xds_response_error){take_name(in), take_byte(in) % 17, take_text(in, 40)};
    enum xds_result result = xds_protocol_receive(p, stream, &r, now);
    must(result != XDS_NO_MEMORY, "memory is short where none is");
    if (result != XDS_OK)
        xds_protocol_closed(p, stream, STR("fault"), now);
}

static void send_one(struct xds_protocol *p, size_t stream, uint64_t now) {
    struct xds_request r;
    int result = xds_protocol_next_request(p, stream, now, &r);
    must(result >= 0, "no memory for a request");
    if (result == 0)
        return;
    must(r.type_url.n > 0, "a request without a type");
    must(!r.is_refusal || r.error.n > 0, "a NACK without a reason");
    xds_protocol_sent(p, stream, now);
}

static void step(struct xds_protocol *p, bool is_polled, struct input *in, uint64_t *now) {
    uint8_t what = take_byte(in);
    size_t stream = (what >> 7) % xds_protocol_stream_count(p), type = (what >> 6) & 1;
    unsigned news;
    switch (what % 10) {
    case 0: xds_protocol_subscribe(p, type, take_name(in)); break;
    case 1: xds_protocol_unsubscribe(p, type, take_name(in)); break;
    case 2: xds_protocol_closed(p, stream, STR("cut"), *now); break;
    case 3: xds_protocol_ready(p, xds_protocol_ticket(p) - (take_byte(in) & 3)); break;
    case 4: xds_protocol_refuse(p, type, take_name(in), xds_protocol_ticket(p), STR("no"), *now); break;
    case 5: xds_protocol_take_news(p, &news); break;
    case 6:
        *now += (uint64_t)take_byte(in) * 100000;
        xds_protocol_advance(p, *now);
        if (xds_protocol_is_due(p, stream, *now))
            xds_protocol_opened(p, stream);
        break;
    case 7: send_one(p, stream, *now); break;
    case 8:
        if (is_polled) {
            xds_protocol_unchanged(p, stream);
            break;
        }
        /* fall through */
    default:
        if (xds_protocol_can_receive(p, stream))
            respond(p, stream, in, *now);
    }
}

static void check(const struct xds_protocol *p) {
    const struct xds_counters *c = xds_protocol_counters(p);
    size_t count = 0, bytes = 0;
    for (size_t type = 0; type < 2; type++)
        for (const struct xds_resource *r = NULL; (r = xds_protocol_next_resource(p, type, r));) {
            count++;
            bytes += r->name.n + r->error.n + r->failed_version.n + (r->copy ? r->copy->bytes.n : 0);
            must(r->state != XDS_ACKED || r->copy, "ACKED and nothing is held");
            must(r->state != XDS_TIMEOUT || !r->copy, "TIMEOUT and something is held");
        }
    must(count <= RESOURCES_MAX && bytes <= BYTES_MAX, "more is held than may be");
    must(c->acks + c->nacks <= c->responses, "more answers than responses");
}

/* The first byte: form, aggregated or not, how data errors count, held or not, polled or not. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    struct input in = {bytes, size};
    struct xds_options o;
    uint64_t now = 1000000;
    uint8_t flags = take_byte(&in);
    log_set_level(LOG_LEVEL_ERROR + 1);
    xds_options_defaults(&o);
    o.form = flags & 1 ? XDS_DELTA : XDS_STATE_OF_THE_WORLD;
    o.is_aggregated = flags & 2;
    o.fail_on_data_errors = flags & 4;
    o.poll_wait = (flags & 67) == 64 ? 500000 : 0;
    o.resources_max = RESOURCES_MAX;
    o.bytes_max = BYTES_MAX;
    o.name_max = 16;
    o.holds_max = 3;
    o.answers_max = 3;
    struct xds_protocol *p = xds_protocol_create(&o, judge, NULL, now);
    must(p != NULL, "no memory");
    for (unsigned i = 0; i < 2; i++) {
        size_t type;
        struct xds_type_options t = {i ? STR(TYPE_URL "1") : STR(TYPE_URL "0"), i == 0, flags & 8, flags & 16};
        must(xds_protocol_add_type(p, &t, &type) == XDS_OK, "a type is refused");
    }
    xds_protocol_subscribe(p, 0, flags & 32 ? STR("*") : STR("a"));
    while (in.left > 0) {
        step(p, o.poll_wait > 0, &in, &now);
        check(p);
    }
    xds_protocol_destroy(p);
    return 0;
}
