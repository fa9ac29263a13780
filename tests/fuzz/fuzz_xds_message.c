/* A message of a management server from any bytes: decoding within bounds, and the walk over what nothing reads.
 *
 * First byte: the type. Second: the allocation that fails, counted from 1; 0: none. The rest: the message. What is decoded
 * encodes, and what that decodes to has the same findings. */
#include <stdio.h>
#include <stdlib.h>

#include "common/alloc.h"
#include "controlplane/xds/decode.h"
#include "controlplane/xds/types.h"
#include "tests/unit/controlplane/xds/read_tables.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

enum { MEMORY_MAX = 64 << 20 };

static void must(bool holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "%s\n", what);
        abort();
    }
}

static bool note(void *context, const struct xds_finding *finding)
{
    struct strbuf *notes = context;
    strbuf_printf(notes, "%s ", finding->path);
    xds_finding_describe(finding, notes);
    strbuf_putc(notes, '\n');
    return true;
}

/* The table of a type, or everything with the type's own name. */
static const struct xds_fields *table_of(const ProtobufCMessageDescriptor *type)
{
    for (size_t i = 0; i < READ_TABLES; i++) {
        if (read_tables[i]->type == type) {
            return read_tables[i];
        }
    }
    return &xds_everything;
}

static int findings_of(const ProtobufCMessage *m, struct strbuf *notes)
{
    int count = xds_fields_walk(table_of(m->descriptor), m, &(struct xds_findings){note, notes});
    must(count <= 2 * XDS_WALK_FINDINGS_MAX, "more findings than allowed");
    must(count <= 0 || notes->n || notes->failed, "findings without a text");
    return count;
}

static void check_way_back(const ProtobufCMessage *m, const struct strbuf *notes)
{
    struct arena arena;
    ProtobufCMessage *again;
    struct strbuf other = {0};
    size_t size = protobuf_c_message_get_packed_size(m);
    uint8_t *bytes = hg_malloc(size ? size : 1);
    must(bytes && protobuf_c_message_pack(m, bytes) == size, "what was decoded does not encode");
    arena_init(&arena, NULL, 0, 0);
    must(xds_decode(m->descriptor, &arena, (struct str){(const char *)bytes, size}, &again) == 0,
         "the encoded bytes do not decode");
    findings_of(again, &other);
    must(str_eq(strbuf_str(notes), strbuf_str(&other)), "the findings have changed");
    strbuf_finish(&other);
    arena_finish(&arena);
    hg_free(bytes);
}

static void take(const ProtobufCMessageDescriptor *type, struct str bytes, unsigned failing)
{
    struct arena arena;
    struct strbuf notes = {0};
    ProtobufCMessage *m;
    arena_init(&arena, NULL, 0, MEMORY_MAX);
    hg_alloc_fail_at((long)failing - 1, 0);
    int status = xds_decode(type, &arena, bytes, &m), count = status ? 0 : findings_of(m, &notes);
    hg_alloc_fail_at(-1, 0);
    must(!status || *xds_decode_reason(status), "a failure without a reason");
    must(count >= 0 || failing, "a walk failed without a reason");
    if (!status && !failing) {
        check_way_back(m, &notes);
    }
    strbuf_finish(&notes);
    arena_finish(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    size_t count;
    const ProtobufCMessageDescriptor *const *types = xds_types(&count);
    if (size >= 2) {
        take(types[bytes[0] % count], (struct str){(const char *)bytes + 2, size - 2}, bytes[1]);
    }
    return 0;
}
