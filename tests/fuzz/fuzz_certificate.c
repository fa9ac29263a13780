/* Files of certificates and keys from a stranger: their blocks, the pair that they make, an OCSP response, authorities. The
 * byte
 * 1 stands between the certificate's file, the key's and the response. What is accepted must be told of. */
#include <stdio.h>
#include <stdlib.h>

#include "controlplane/secrets/certificate.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static const uint64_t now = 1700000000000000; /* the seeds are valid then */

static void must(bool holds, const char *what) {
    if (!holds) {
        fprintf(stderr, "%s\n", what);
        abort();
    }
}

static void check_facts(const Headgate__KeyPair *pair, struct arena *arena, struct str response) {
    struct certificate_facts facts;
    uint64_t until = 0;
    must(pair->n_chain > 0 && pair->private_key.len > 0, "a pair was accepted without its parts");
    must(certificate_facts(pair, arena, &facts) == 0, "a pair was accepted of which nothing can be said");
    must(facts.not_before <= now && now <= facts.not_after, "a pair was accepted that is not of now");
    certificate_check_ocsp(pair, response, now, arena, &until);
}

static void check(struct arena *arena, const struct pem_blocks *chain, const struct pem_blocks *key, struct str response) {
    Headgate__KeyPair pair = HEADGATE__KEY_PAIR__INIT;
    struct certificate_facts facts;
    bool is_key;
    unsigned line;
    for (size_t i = 0; i < chain->count; i++)
        if (chain->items[i].label != PEM_CERTIFICATE)
            return;
    if (chain->count == 0 || key->count == 0 || key->items[0].label != PEM_PRIVATE_KEY)
        return;
    if (!certificate_check_pair(chain, &key->items[0], now, arena, &pair, &facts, &is_key, &line))
        check_facts(&pair, arena, response);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    struct arena arena = {0};
    struct str left = {(const char *)bytes, size}, parts[3];
    struct pem_blocks blocks[2] = {{0}};
    unsigned line = 0;
    for (int i = 0; i < 3; i++)
        parts[i] = str_cut(&left, '\1');
    if (parts[2].p && left.p)
        parts[2].n = size - (size_t)(parts[2].p - (const char *)bytes); /* a response may have any byte */
    for (int i = 0; i < 2; i++)
        if (pem_read(parts[i], &arena, &blocks[i], &line))
            must(line > 0, "a fault without a line");
    for (size_t i = 0; i < blocks[0].count; i++)
        if (blocks[0].items[i].label <= PEM_REVOCATION_LIST)
            certificate_check_trusted(&blocks[0].items[i]);
    check(&arena, &blocks[0], &blocks[1], parts[2]);
    arena_finish(&arena);
    return 0;
}
