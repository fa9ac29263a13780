/* Messages of xDS written by a stranger, as JSON or YAML. First byte: the type. What is read encodes, and what it encodes to
 * decodes and encodes to itself; what is refused is refused with a reason. */
#include <stdio.h>
#include <stdlib.h>

#include "common/alloc.h"
#include "controlplane/xds/decode.h"
#include "controlplane/xds/json.h"
#include "controlplane/xds/types.h"

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
    }
    error_list_finish(&errors);
    arena_finish(&arena);
    return 0;
}
