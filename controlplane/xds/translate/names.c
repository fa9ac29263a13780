#include "controlplane/xds/translate/names.h"

#include <stdio.h>

#include "proto/resource.h"

enum {
    ESCAPE_SIZE = 3,                    /* @ and two digits */
    HASH_USED = 16,                     /* bytes of the hash of a long name */
    TAIL_SIZE = 2 + 2 * HASH_USED,      /* "@_" and its digits */
};

static bool stays(char c) {
    return c != '@' && c != '*' && resource_name_is_valid((struct str){&c, 1});
}

static size_t mapped_size(struct str name) {
    size_t size = 0;
    for (size_t i = 0; i < name.n; i++)
        size += stays(name.p[i]) ? 1 : ESCAPE_SIZE;
    return size;
}

/* As much of the name as whole bytes of it fit below the limit. */
static void add_mapped(struct strbuf *out, struct str name, size_t limit) {
    for (size_t i = 0; i < name.n; i++) {
        bool is_plain = stays(name.p[i]);
        if (out->n + (is_plain ? 1 : ESCAPE_SIZE) > limit)
            return;
        if (is_plain)
            strbuf_putc(out, name.p[i]);
        else
            strbuf_printf(out, "@%02x", (unsigned char)name.p[i]);
    }
}

static int add_tail(struct strbuf *out, struct str name) {
    struct resource_id hash;
    char digits[2 * HASH_USED + 1];
    if (resource_id_of(name.p, name.n, &hash) < 0)
        return -1;
    hex_encode(hash.bytes, HASH_USED, digits);
    strbuf_printf(out, "@_%s", digits);
    return 0;
}

struct str xds_name_map(struct arena *arena, struct str prefix, struct str name) {
    struct strbuf text = {0};
    struct str mapped = {0};
    int status = 0;
    strbuf_add_str(&text, prefix);
    if (prefix.n + mapped_size(name) <= RESOURCE_NAME_MAX) {
        add_mapped(&text, name, RESOURCE_NAME_MAX);
    } else {
        add_mapped(&text, name, RESOURCE_NAME_MAX - TAIL_SIZE);
        status = add_tail(&text, name);
    }
    if (status == 0 && !text.failed)
        mapped = arena_str(arena, strbuf_str(&text));
    strbuf_finish(&text);
    return mapped;
}

void xds_name_original(struct str name, struct strbuf *out) {
    for (size_t i = 0; i < name.n; i++) {
        uint8_t byte;
        if (name.p[i] == '@' && i + 2 < name.n && hex_decode((struct str){name.p + i + 1, 2}, &byte, 1) == 0) {
            strbuf_putc(out, (char)byte);
            i += ESCAPE_SIZE - 1;
        } else if (name.p[i] == '@' && i + 1 < name.n && name.p[i + 1] == '_') {
            strbuf_puts(out, "...");
            return;
        } else {
            strbuf_putc(out, name.p[i]);
        }
    }
}
