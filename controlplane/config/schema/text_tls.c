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

/* ---- SHA-256 ---- */

enum { HASH_SIZE = 32, HASH_BASE64 = 44 };

static int digit_of(char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* With colons between all octets, or without any. */
static const char *check_certificate_hash(struct arena *arena, struct str text, struct str *canonical) {
    static const char digits[] = "0123456789abcdef";
    size_t step = text.n == 3 * HASH_SIZE - 1 ? 3 : 2;
    char *out = arena_alloc(arena, 2 * HASH_SIZE + 1);
    if (!out)
        return text_no_memory;
    if (text.n != 3 * HASH_SIZE - 1 && text.n != 2 * HASH_SIZE)
        return "not 32 octets in hexadecimal";
    for (size_t i = 0; i < HASH_SIZE; i++) {
        const char *at = text.p + i * step;
        int high = digit_of(at[0]), low = digit_of(at[1]);
        if (high < 0 || low < 0 || (step == 3 && i + 1 < HASH_SIZE && at[2] != ':'))
            return "not 32 octets in hexadecimal";
        out[2 * i] = digits[high];
        out[2 * i + 1] = digits[low];
    }
    out[2 * HASH_SIZE] = '\0';
    *canonical = (struct str){out, 2 * HASH_SIZE};
    return NULL;
}

static bool is_base64(char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '/';
}

/* 32 octets end in a digit of which only four bits count, and one "=". */
static const char *check_key_hash(struct arena *arena, struct str text, struct str *canonical) {
    (void)arena, (void)canonical;
    bool is_right = text.n == HASH_BASE64 && text.p[HASH_BASE64 - 1] == '=' &&
                    strchr("AEIMQUYcgkosw048", text.p[HASH_BASE64 - 2]);
    for (size_t i = 0; is_right && i + 1 < HASH_BASE64; i++)
        is_right = is_base64(text.p[i]);
    return is_right ? NULL : "not 32 octets in base64";
}

const struct text_form text_certificate_hash = {
    "certificate-hash", "the SHA-256 of a certificate: 64 hexadecimal digits",
    "^[0-9A-Fa-f]{2}(:?[0-9A-Fa-f]{2}){31}$", check_certificate_hash, NULL};
const struct text_form text_key_hash = {"key-hash", "the SHA-256 of a key: 44 characters of base64",
                                        "^[A-Za-z0-9+/]{43}=$", check_key_hash, NULL};

/* ---- names ---- */

const struct text_form text_cipher_suite = {
    "cipher-suite", "TLS_AES_128_GCM_SHA256, TLS_AES_256_GCM_SHA384 or TLS_CHACHA20_POLY1305_SHA256",
    "^TLS_(AES_128_GCM_SHA256|AES_256_GCM_SHA384|CHACHA20_POLY1305_SHA256)$", check_cipher_suite, cipher_suites};
const struct text_form text_cipher = {
    "cipher", "OpenSSL's name of an ECDHE cipher with AES-GCM or ChaCha20-Poly1305, such as ECDHE-RSA-AES128-GCM-SHA256",
    "^ECDHE-(RSA|ECDSA)-(AES128-GCM-SHA256|AES256-GCM-SHA384|CHACHA20-POLY1305)$", check_cipher, ciphers};
const struct text_form text_group = {
    "group", "X25519MLKEM768, SecP256r1MLKEM768, SecP384r1MLKEM1024, X25519, P-256, P-384, P-521 or X448",
    "^(X25519MLKEM768|SecP256r1MLKEM768|SecP384r1MLKEM1024|X25519|P-256|P-384|P-521|X448)$", check_group, groups};
