#include "controlplane/config/schema/text_form.h"

/* Only what is sound today: forward secrecy and authenticated encryption. RFC 9325 section 4.2. */
static const char *const cipher_suites[] = {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384",
                                            "TLS_CHACHA20_POLY1305_SHA256", NULL};
static const char *const ciphers[] = {"ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256",
                                      "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-RSA-AES256-GCM-SHA384",
                                      "ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-RSA-CHACHA20-POLY1305", NULL};
static const char *const groups[] = {"X25519MLKEM768", "SecP256r1MLKEM768", "SecP384r1MLKEM1024", "X25519", "P-256", "P-384",
                                     "P-521", "X448", NULL};

static bool is_known(const char *const *names, struct str text) {
    while (*names && !str_eq(text, str_of(*names)))
        names++;
    return *names;
}

static const char *check_cipher_suite(struct arena *arena, struct str text, struct str *canonical) {
    (void)arena, (void)canonical;
    return is_known(cipher_suites, text) ? NULL : "not a cipher suite of TLS 1.3";
}

static const char *check_cipher(struct arena *arena, struct str text, struct str *canonical) {
    (void)arena, (void)canonical;
    return is_known(ciphers, text) ? NULL : "not a cipher of TLS 1.2 with forward secrecy and authenticated encryption";
}

static const char *check_group(struct arena *arena, struct str text, struct str *canonical) {
    (void)arena, (void)canonical;
    return is_known(groups, text) ? NULL : "not a group";
}

const struct text_form text_cipher_suite = {
    "cipher-suite", "TLS_AES_128_GCM_SHA256, TLS_AES_256_GCM_SHA384 or TLS_CHACHA20_POLY1305_SHA256",
    "^TLS_(AES_128_GCM_SHA256|AES_256_GCM_SHA384|CHACHA20_POLY1305_SHA256)$", check_cipher_suite, cipher_suites};
const struct text_form text_cipher = {
    "cipher", "OpenSSL's name of an ECDHE cipher with AES-GCM or ChaCha20-Poly1305, such as ECDHE-RSA-AES128-GCM-SHA256",
    "^ECDHE-(RSA|ECDSA)-(AES128-GCM-SHA256|AES256-GCM-SHA384|CHACHA20-POLY1305)$", check_cipher, ciphers};
const struct text_form text_group = {
    "group", "X25519MLKEM768, SecP256r1MLKEM768, SecP384r1MLKEM1024, X25519, P-256, P-384, P-521 or X448",
    "^(X25519MLKEM768|SecP256r1MLKEM768|SecP384r1MLKEM1024|X25519|P-256|P-384|P-521|X448)$", check_group, groups};
