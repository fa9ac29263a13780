#include "controlplane/secrets/pem.h"

#include <stdbool.h>

#include <openssl/evp.h>

enum { BLOCKS_MAX = 10000 };

static const struct str begin_mark = {"-----BEGIN ", 11}, end_mark = {"-----END ", 9}, dashes = {"-----", 5};

struct reader {
    struct str        left;
    unsigned          line;         /* of what `next_line` returned last */
    struct arena     *arena;
    struct pem_blocks blocks;
};

static struct str next_line(struct reader *r) {
    struct str line = str_cut(&r->left, '\n');
    while (line.n && (line.p[line.n - 1] == '\r' || line.p[line.n - 1] == ' ' || line.p[line.n - 1] == '\t'))
        line.n--;
    r->line++;
    return line;
}

static bool label_of(struct str line, struct str mark, struct str *ret) {
    if (!str_starts(line, mark) || !str_ends(line, dashes) || line.n < mark.n + dashes.n)
        return false;
    *ret = (struct str){line.p + mark.n, line.n - mark.n - dashes.n};
    return true;
}

static enum pem_label known_label(struct str text) {
    static const struct {
        const char    *text;
        enum pem_label label;
    } rows[] = {
        {"CERTIFICATE", PEM_CERTIFICATE},     {"X509 CERTIFICATE", PEM_CERTIFICATE}, {"X509 CRL", PEM_REVOCATION_LIST},
        {"PRIVATE KEY", PEM_PRIVATE_KEY},     {"RSA PRIVATE KEY", PEM_PRIVATE_KEY},  {"EC PRIVATE KEY", PEM_PRIVATE_KEY},
        {"ENCRYPTED PRIVATE KEY", PEM_ENCRYPTED_KEY},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (str_eq(text, str_of(rows[i].text)))
            return rows[i].label;
    return PEM_OTHER;
}

static const char *decode(struct reader *r, struct pem_block *block, struct str text) {
    EVP_ENCODE_CTX *decoder = EVP_ENCODE_CTX_new();
    int n = 0, rest = 0;
    block->der = arena_alloc(r->arena, text.n + 1);
    if (!decoder || !block->der) {
        EVP_ENCODE_CTX_free(decoder);
        return "out of memory";
    }
    EVP_DecodeInit(decoder);
    bool is_right = EVP_DecodeUpdate(decoder, block->der, &n, (const uint8_t *)text.p, (int)text.n) >= 0 &&
                    EVP_DecodeFinal(decoder, block->der + n, &rest) == 1;
    EVP_ENCODE_CTX_free(decoder);
    block->size = (size_t)n + (size_t)rest;
    if (is_right && block->size)
        return NULL;
    r->line = block->line;
    return "the block is not base64";
}

/* From behind BEGIN to END. RFC 1421 headers are of encrypted keys. */
static const char *read_block(struct reader *r, struct str label, struct pem_block *block) {
    struct str line, end, body = {r->left.p, 0};
    bool is_encrypted = false;
    *block = (struct pem_block){.label = known_label(label), .line = r->line};
    while (r->left.p) {
        const char *start = r->left.p;
        line = next_line(r);
        if (label_of(line, begin_mark, &end))
            return "a block begins before the one above it has ended";
        if (label_of(line, end_mark, &end)) {
            body.n = (size_t)(start - body.p);
            if (!str_eq(end, label))
                return "the END of the block has another label than its BEGIN";
            if (is_encrypted && block->label == PEM_PRIVATE_KEY)
                block->label = PEM_ENCRYPTED_KEY;
            return block->label < PEM_ENCRYPTED_KEY ? decode(r, block, body) : NULL;
        }
        is_encrypted |= str_starts(line, STR("Proc-Type:")) && str_ends(line, STR("ENCRYPTED"));
    }
    r->line = block->line;
    return "the block has no END";
}

static size_t count_blocks(struct str text) {
    size_t count = 0;
    const char *at = text.p, *end = text.n ? text.p + text.n : text.p;
    while (at && (at = memmem(at, (size_t)(end - at), begin_mark.p, begin_mark.n))) {
        count++;
        at += begin_mark.n;
    }
    return count;
}

const char *pem_read(struct str text, struct arena *arena, struct pem_blocks *ret, unsigned *ret_line) {
    struct reader r = {.left = text, .arena = arena};
    size_t most = count_blocks(text);
    const char *why = most > BLOCKS_MAX ? "the file has more than 10,000 blocks" : NULL;
    struct str label;
    r.blocks.items = why ? NULL : arena_calloc(arena, most + 1, sizeof *r.blocks.items);
    if (!why && !r.blocks.items)
        why = "out of memory";
    while (!why && r.left.p && r.left.n)
        if (label_of(next_line(&r), begin_mark, &label) && r.blocks.count < most)
            why = read_block(&r, label, &r.blocks.items[r.blocks.count++]);
    *ret_line = r.line;
    if (!why)
        *ret = r.blocks;
    return why;
}
