/* Messages of xDS written by a stranger, as JSON or YAML, and answers to polls. First byte: the type. What is read encodes,
 * and what it encodes to decodes and encodes to itself; written as JSON it is read as the same; what is refused is refused
 * with a reason. */
#include <stdio.h>
#include <stdlib.h>

#include "common/alloc.h"
#include "controlplane/xds/decode.h"
#include "controlplane/xds/json.h"
#include "controlplane/xds/json_write.h"
#include "controlplane/xds/types.h"
#include "controlplane/xds/wire_json.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

enum { MEMORY_MAX = 64 << 20 };

static void must(bool holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "%s\n", what);
        abort();
    }
}

static struct str encode(const ProtobufCMessage *m)
{
    size_t size = protobuf_c_message_get_packed_size(m);
    uint8_t *bytes = hg_malloc(size ? size : 1);
    must(bytes && protobuf_c_message_pack(m, bytes) == size, "what was read does not encode");
    return (struct str){(const char *)bytes, size};
}

static void check_way_back(const ProtobufCMessage *m)
{
    struct arena arena;
    ProtobufCMessage *again;
    struct str once = encode(m);
    arena_init(&arena, NULL, 0, 0);
    must(xds_decode(m->descriptor, &arena, once, &again) == 0, "the encoded bytes do not decode");
    struct str twice = encode(again);
    must(again->n_unknown_fields == 0 && str_eq(once, twice), "the bytes have changed");
    arena_finish(&arena);
    hg_free((char *)once.p);
    hg_free((char *)twice.p);
}

static const ProtobufCMessage *read_json(const ProtobufCMessageDescriptor *type, struct str text, struct arena *arena)
{
    struct tree_budget budget = {TREE_NODES_MAX, 0};
    struct error_list errors = {0};
    const struct tree_node *tree = tree_read_json(arena, "f", text, &budget, &errors);
    const ProtobufCMessage *m = tree ? xds_json_read(type, tree, arena, &errors) : NULL;
    must(m ? errors.count == 0 : !error_list_is_empty(&errors), "refused without a reason, or read with one");
    error_list_finish(&errors);
    return m;
}

/* Some messages have no JSON: a Value without a kind. */
static void check_writing(const ProtobufCMessage *m)
{
    struct strbuf text = {0};
    struct arena arena;
    arena_init(&arena, NULL, 0, 0);
    if (xds_json_write(m, &text) == 0) {
        const ProtobufCMessage *again = read_json(m->descriptor, strbuf_str(&text), &arena);
        must(again, "what was written cannot be read");
        struct str once = encode(m), twice = encode(again);
        must(str_eq(once, twice), "what was written is read as something else");
        hg_free((char *)once.p);
        hg_free((char *)twice.p);
    }
    strbuf_finish(&text);
    arena_finish(&arena);
}

static void check_answer(struct str text)
{
    struct arena arena;
    struct error_list errors = {0};
    struct xds_response response;
    arena_init(&arena, NULL, 0, MEMORY_MAX);
    int status = xds_read_poll(&arena, text, &response, &errors);
    must((status == 0) == error_list_is_empty(&errors), "refused without a reason, or read with one");
    for (size_t i = 0; status == 0 && i < response.resource_count; i++) {
        must(response.resources[i].fault.n == 0 || !response.resources[i].has_body, "a fault, and a body");
        must(!response.resources[i].has_ttl, "a time to live");
    }
    error_list_finish(&errors);
    arena_finish(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    size_t count;
    const ProtobufCMessageDescriptor *const *types = xds_types(&count);
    struct arena arena;
    struct error_list errors = {0};
    if (!size) {
        return 0;
    }
    arena_init(&arena, NULL, 0, MEMORY_MAX);
    struct str text = {(const char *)bytes + 1, size - 1};
    const ProtobufCMessage *m = xds_json_parse(types[bytes[0] % count], "f", text, &arena, &errors);
    must(m ? errors.count == 0 : !error_list_is_empty(&errors), "refused without a reason, or read with one");
    if (m) {
        check_way_back(m);
        check_writing(m);
    }
    const ProtobufCMessage *strict = read_json(types[bytes[0] % count], text, &arena);
    if (strict) {
        check_way_back(strict);
        check_writing(strict);
    }
    check_answer(text);
    error_list_finish(&errors);
    arena_finish(&arena);
    return 0;
}
