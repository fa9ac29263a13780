/* resource_decode with every kind and any bytes, also when memory runs out in the middle.
 *
 * First byte: the kind, also unknown ones. Second: the allocation that fails, counted from 1; 0: none. The
 * rest: the resource. What is accepted must have no fault, must encode, and what it encodes to must be
 * accepted and encode to itself. */
#include <assert.h>
#include <stdlib.h>

#include "common/alloc.h"
#include "proto/resource.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void check_errors(const struct error_list *errors, bool memory_failed) {
    assert(!error_list_is_empty(errors));
    for (size_t i = 0; i < errors->count; i++) {
        struct strbuf text = {0};
        assert(errors->items[i].code != ERROR_NONE);
        assert(errors->items[i].resource || memory_failed);
        error_format(&errors->items[i], &text);
        error_format_json(&errors->items[i], &text);
        assert(text.n > 0);
        strbuf_finish(&text);
    }
}

static ProtobufCMessage *decode(Headgate__Kind kind, const uint8_t *bytes, size_t size, unsigned failing) {
    struct error_list errors = {0};
    hg_alloc_fail_at((long)failing - 1, 0);
    ProtobufCMessage *m = resource_decode(kind, STR("fuzz"), bytes, size, &errors);
    hg_alloc_fail_at(-1, 0);
    if (m)
        assert(error_list_is_empty(&errors));
    else
        check_errors(&errors, failing != 0);
    error_list_finish(&errors);
    return m;
}

static void encode(const ProtobufCMessage *m, uint8_t **ret_bytes, size_t *ret_size) {
    int status = resource_encode(m, ret_bytes, ret_size);
    assert(status == 0);
    (void)status;
}

static void check_accepted(Headgate__Kind kind, const ProtobufCMessage *m) {
    struct error_list errors = {0};
    uint8_t *once, *twice;
    size_t once_size, twice_size;
    size_t faults = message_check_known(m, "fuzz", "", &errors);
    assert(faults == 0);
    (void)faults;
    encode(m, &once, &once_size);
    ProtobufCMessage *again = decode(kind, once, once_size, 0);
    assert(again);
    encode(again, &twice, &twice_size);
    assert(once_size == twice_size && memcmp(once, twice, once_size) == 0);
    protobuf_c_message_free_unpacked(again, NULL);
    hg_free(once);
    hg_free(twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    if (size < 2)
        return 0;
    Headgate__Kind kind = (Headgate__Kind)(bytes[0] % 16);
    ProtobufCMessage *m = decode(kind, bytes + 2, size - 2, bytes[1]);
    if (m)
        check_accepted(kind, m);
    if (m)
        protobuf_c_message_free_unpacked(m, NULL);
    return 0;
}
