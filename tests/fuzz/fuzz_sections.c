/* Field sections of HTTP/2 and HTTP/3: whatever comes, what is accepted is a head that HTTP/1.1 could carry, and survives
 * being written and read again. The first byte says which section it is and whether the message ends; then fields, each as
 * two lengths and bytes. */
#include <stdlib.h>

#include "common/alloc.h"
#include "dataplane/http/message.h"
#include "dataplane/http/sections.h"

#define CHECK(condition) ((condition) ? (void)0 : abort())

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static const struct section_limits limits = {.header_bytes = 2048, .headers = 24, .uri_bytes = 300, .trailer_bytes = 1000};

static void check_fields(const struct fields *fields) {
    CHECK(fields->count <= limits.headers);
    for (uint32_t i = 0; i < fields->count; i++) {
        const struct field *f = &fields->v[i];
        CHECK(field_name_is_valid(field_name(f)) && field_value_is_valid(field_value(f)));
        CHECK(f->id == field_lookup(f->name, f->name_len));
        CHECK(f->id != FIELD_CONNECTION && f->id != FIELD_TRANSFER_ENCODING && f->id != FIELD_UPGRADE);
    }
}

static void check_request(const struct head *h, bool end) {
    CHECK(h->method_text.n > 0 && h->method_text.n <= SECTION_METHOD_MAX);
    CHECK(h->authority.n > 0 && h->host.n > 0 && h->target.n > 0 && h->target.n <= limits.uri_bytes);
    CHECK(!end || h->content_length <= 0);
    for (size_t i = 0; i < h->target.n; i++)
        CHECK(h->target.p[i] > ' ' && h->target.p[i] <= '~' && h->target.p[i] != '#');
    const struct field *cookie = fields_find(&h->fields, FIELD_COOKIE);
    CHECK(!cookie || !fields_next(&h->fields, cookie, FIELD_COOKIE));
}

static void read_nv(struct section_reader *r, const struct field_pair *nv, size_t n) {
    for (size_t i = 0; i < n; i++)
        section_read_field(r, (struct str){(const char *)nv[i].name, nv[i].name_n},
                           (struct str){(const char *)nv[i].value, nv[i].value_n});
}

/* What was understood, written and read again, is the same. */
static void write_and_read(const struct head *h, enum section_kind section, bool end, struct arena *arena) {
    static const struct section_limits wide = {.header_bytes = 8192, .headers = 64, .uri_bytes = 300};
    struct field_pair *nv = malloc((h->fields.count + SECTION_EXTRA_FIELDS) * sizeof *nv);
    char digits[32];
    struct head again;
    struct section_reader r;
    bool is_tls = str_eq(h->scheme, STR("https"));
    size_t n = section == SECTION_REQUEST ? section_write_request(h, is_tls, nv, digits)
                                          : section_write_response(h, nv, digits);
    CHECK(n <= h->fields.count + SECTION_EXTRA_FIELDS && section_size(nv, n) > n);
    section_begin_head(&r, section, VERSION_20, arena, &wide, &again);
    read_nv(&r, nv, n);
    CHECK(section_read_end(&r, end) == SECTION_OK);
    CHECK(str_eq(again.method_text, h->method_text) && str_eq(again.target, h->target) && again.form == h->form);
    CHECK(str_eq(again.authority, h->authority) && str_eq(again.path, h->path) && str_eq(again.query, h->query));
    CHECK(again.status == h->status && again.te_trailers == h->te_trailers);
    bool keeps_length = section == SECTION_REQUEST || (h->status >= 200 && h->status != 204);
    CHECK(!keeps_length || again.content_length == h->content_length);
    free(nv);
}

static struct str next_string(const uint8_t **at, const uint8_t *end) {
    size_t n = *at < end ? *(*at)++ : 0;
    if (n > (size_t)(end - *at))
        n = (size_t)(end - *at);
    struct str s = {(const char *)*at, n};
    *at += n;
    return s;
}

static void read_section(struct section_reader *r, const uint8_t *at, const uint8_t *end) {
    while (at < end) {
        struct str name = next_string(&at, end), value = next_string(&at, end);
        section_read_field(r, name, value);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    struct arena arena;
    struct head head;
    struct fields trailers;
    struct section_reader r;
    if (size == 0)
        return 0;
    enum section_kind section = bytes[0] % 3;
    bool end = bytes[0] & 0x80;
    arena_init(&arena, NULL, 0, 1 << 16);
    if (section == SECTION_TRAILERS)
        section_begin_trailers(&r, &arena, &limits, &trailers);
    else
        section_begin_head(&r, section, VERSION_30, &arena, &limits, &head);
    read_section(&r, bytes + 1, bytes + size);
    if (section_read_end(&r, end) == SECTION_OK) {
        check_fields(r.fields);
        if (section == SECTION_REQUEST)
            check_request(&head, end);
        if (section != SECTION_TRAILERS)
            write_and_read(&head, section, end, &arena);
    }
    arena_finish(&arena);
    return 0;
}
