#include "controlplane/secrets/load.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "common/secret_memory.h"
#include "proto/message.h"

enum { CERTIFICATE_FILE, KEY_FILE, OCSP_FILE };

static const char *const file_keys[] = {"certificate", "key", "ocsp"};

/* ---- faults ---- */

static void report(struct error_list *list, const struct config_secret *want, const char *key, enum error_code code,
                   const char *format, va_list args) {
    char message[1024], path[256];
    vsnprintf(message, sizeof message, format, args);
    snprintf(path, sizeof path, "%s%s%s", want->path, *key ? "." : "", key);
    error_set_resource(list, error_addf(list, code, "%s", message), want->resource, path);
}

void load_fault(struct loading *loading, const struct config_secret *want, const char *key, enum error_code code,
                const char *format, ...) {
    va_list args;
    va_start(args, format);
    report(loading->errors, want, key, code, format, args);
    va_end(args);
}

__attribute__((format(printf, 4, 5))) static void warn(struct loading *loading, const struct config_secret *want,
                                                       const char *key, const char *format, ...) {
    va_list args;
    va_start(args, format);
    report(loading->warnings, want, key, ERROR_STATE, format, args);
    va_end(args);
}

/* ---- files ---- */

static bool is_embedded(const char *file) {
    return file && str_starts(str_of(file), str_of(CONFIG_EMBEDDED));
}

static struct str find_embedded(const struct secret_source *source, const char *file) {
    const char *name = file + strlen(CONFIG_EMBEDDED);
    for (size_t i = 0; i < source->embedded_count; i++)
        if (strcmp(source->embedded[i].name, name) == 0)
            return source->embedded[i].bytes;
    return (struct str){NULL, 0};
}

/* The files of a secret, all at one moment. What came with the push is copied, so that all is freed alike. */
static int read_files(struct loading *loading, const struct config_secret *want, const char *const files[3],
                      const char *const keys[3], struct str ret[3]) {
    const char *on_disk[3];
    char why[SECRET_WHY_MAX];
    size_t failed;
    for (int i = 0; i < 3; i++)
        on_disk[i] = is_embedded(files[i]) ? NULL : files[i];
    if (secret_files_read(loading->source->root, on_disk, ret, &failed, why) < 0) {
        load_fault(loading, want, keys[failed], ERROR_IO, "%s: %s", files[failed], why);
        return -1;
    }
    int status = 0;
    for (int i = 0; i < 3; i++) {
        if (!is_embedded(files[i]))
            continue;
        struct str given = find_embedded(loading->source, files[i]);
        char *copy = given.p ? secret_alloc(given.n + 1) : NULL;
        if (copy)
            ret[i] = (struct str){memcpy(copy, given.p, given.n), given.n};
        else
            status = -1;
    }
    return status;
}

static void free_files(struct str files[3]) {
    for (int i = 0; i < 3; i++)
        secret_free((void *)(uintptr_t)files[i].p);
}

static bool has_embedded(const char *const files[3]) {
    return is_embedded(files[0]) || is_embedded(files[1]) || is_embedded(files[2]);
}

/* ---- pairs ---- */

/* The one private key of a file. */
static const struct pem_block *find_key(const struct pem_blocks *blocks, const char **ret_why) {
    const struct pem_block *key = NULL;
    *ret_why = NULL;
    for (size_t i = 0; i < blocks->count; i++) {
        const struct pem_block *b = &blocks->items[i];
        if (b->label == PEM_ENCRYPTED_KEY)
            *ret_why = "the key is encrypted, and the control plane knows no password: store it decrypted, readable by its "
                       "user alone";
        if (b->label == PEM_PRIVATE_KEY && !key)
            key = b;
    }
    if (!key && !*ret_why)
        *ret_why = "there is no private key in the file";
    return *ret_why ? NULL : key;
}

/* Only the certificates; keys and parameters may stand beside them. */
static void keep_certificates(struct pem_blocks *blocks) {
    size_t n = 0;
    for (size_t i = 0; i < blocks->count; i++)
        if (blocks->items[i].label == PEM_CERTIFICATE)
            blocks->items[n++] = blocks->items[i];
    blocks->count = n;
}

static void clear_keys(struct pem_blocks *blocks) {
    for (size_t i = 0; i < blocks->count; i++)
        if (blocks->items[i].label == PEM_PRIVATE_KEY)
            secret_clear(blocks->items[i].der, blocks->items[i].size);
}

static void add_ocsp(struct loading *loading, struct loaded *l, struct str response) {
    const char *why = certificate_check_ocsp(&l->pair, response, loading->source->now, loading->arena,
                                             &l->facts.ocsp_until);
    uint8_t *copy = why ? NULL : arena_memdup(loading->arena, response.p, response.n);
    if (why) {
        l->facts.ocsp_until = 0;
        warn(loading, l->want, "ocsp", "%s is not stapled: %s", l->want->ocsp, why);
    }
    l->pair.has_ocsp_response = copy != NULL;
    l->pair.ocsp_response = (ProtobufCBinaryData){copy ? response.n : 0, copy};
}

/* A sentence about a line of a file. */
static int bad_line(struct loading *loading, const struct loaded *l, int file, unsigned line, const char *why) {
    const char *names[] = {l->want->certificate, l->want->key};
    load_fault(loading, l->want, file_keys[file], ERROR_SYNTAX, "%s:%u: %s", names[file], line, why ? why : "out of memory");
    return -1;
}

static int check_pair(struct loading *loading, struct loaded *l, struct pem_blocks *chain, const struct pem_blocks *keys) {
    const char *why;
    bool is_key;
    unsigned line = 0;
    const struct pem_block *key = find_key(keys, &why);
    keep_certificates(chain);
    if (!key)
        return bad_line(loading, l, KEY_FILE, keys->count ? keys->items[0].line : 1, why);
    if (chain->count == 0)
        return bad_line(loading, l, CERTIFICATE_FILE, 1, "there is no certificate in the file");
    uint64_t now = l->want->is_given ? 0 : loading->source->now;
    why = certificate_check_pair(chain, key, now, loading->arena, &l->pair, &l->facts, &is_key, &line);
    return why ? bad_line(loading, l, is_key ? KEY_FILE : CERTIFICATE_FILE, line, why) : 0;
}

static int parse_pair(struct loading *loading, struct loaded *l, const struct str files[3]) {
    struct pem_blocks blocks[2] = {{0}};
    int status = 0;
    for (int i = 0; i < 2 && status == 0; i++) {
        unsigned line;
        const char *why = pem_read(files[i], loading->arena, &blocks[i], &line);
        if (why)
            status = bad_line(loading, l, i, line, why);
    }
    struct pem_blocks chain = blocks[0];
    if (chain.count) /* keep_certificates moves its blocks */
        chain.items = arena_memdup(loading->arena, blocks[0].items, blocks[0].count * sizeof *chain.items);
    if (status == 0 && chain.count && !chain.items)
        status = bad_line(loading, l, CERTIFICATE_FILE, 1, NULL);
    if (status == 0)
        status = check_pair(loading, l, &chain, &blocks[1]);
    clear_keys(&blocks[0]);
    clear_keys(&blocks[1]);
    return status;
}

static int make_pair(struct loading *loading, struct loaded *l, const struct str files[3]) {
    if (parse_pair(loading, l, files) < 0)
        return -1;
    if (files[OCSP_FILE].p)
        add_ocsp(loading, l, files[OCSP_FILE]);
    l->message.kind_case = HEADGATE__SECRET__KIND_KEY_PAIR;
    l->message.key_pair = &l->pair;
    return 0;
}

int load_pair_text(struct loading *loading, struct loaded *l, const struct str files[3]) {
    headgate__key_pair__init(&l->pair);
    return make_pair(loading, l, files);
}

/* ---- pairs that are known already ---- */

/* Of the three files, each with its size. */
static bool hash_files(const struct str files[3], uint8_t ret[SECRET_CONTENT_SIZE]) {
    EVP_MD_CTX *hash = EVP_MD_CTX_new();
    bool ok = hash && EVP_DigestInit_ex2(hash, EVP_sha256(), NULL) == 1;
    for (int i = 0; ok && i < 3; i++)
        ok = EVP_DigestUpdate(hash, &files[i].n, sizeof files[i].n) == 1 &&
             EVP_DigestUpdate(hash, files[i].p, files[i].n) == 1;
    ok = ok && EVP_DigestFinal_ex(hash, ret, NULL) == 1;
    EVP_MD_CTX_free(hash);
    return ok;
}

bool load_is_current(const struct loaded *l, uint64_t now) {
    return l->facts.not_after >= now && (l->facts.ocsp_until == 0 || l->facts.ocsp_until > now);
}

/* Hashing the files takes less than decoding what is in them and checking that it belongs together. */
static bool take_known(struct loading *loading, struct loaded *l, const struct str files[3]) {
    l->has_content = hash_files(files, l->content);
    bool is_same = l->has_content && l->previous && l->known && l->known->has_content &&
                   memcmp(l->content, l->known->content, sizeof l->content) == 0;
    if (is_same && load_previous(loading, l, l->previous) == 0 && load_is_current(l, loading->source->now))
        return true;
    secret_message_clear(&l->message);
    headgate__key_pair__init(&l->pair);
    headgate__secret__init(&l->message);
    l->facts = (struct certificate_facts){0};
    return false;
}

static int miss_embedded(struct loading *loading, const struct loaded *l) {
    load_fault(loading, l->want, l->want->key ? "certificate" : "", ERROR_REFERENCE,
               "%s came with an earlier push and is no longer kept: push the configuration again with --embed",
               l->want->certificate);
    return -1;
}

int load_pair(struct loading *loading, struct loaded *l) {
    const char *const names[3] = {l->want->certificate, l->want->key, l->want->ocsp};
    struct str files[3] = {{0}};
    size_t before = loading->errors->count;
    headgate__key_pair__init(&l->pair);
    int status = read_files(loading, l->want, names, file_keys, files);
    if (status == 0 && !take_known(loading, l, files))
        status = make_pair(loading, l, files);
    if (status < 0 && loading->errors->count == before && has_embedded(names))
        miss_embedded(loading, l);
    free_files(files);
    return status;
}

/* ---- authorities ---- */

static int fill_trust(struct loading *loading, struct loaded *l, const struct pem_blocks *blocks, bool is_lenient,
                      const char *file) {
    Headgate__Trust *t = &l->trust;
    t->certificates = arena_calloc(loading->arena, blocks->count + 1, sizeof *t->certificates);
    t->revocation_lists = arena_calloc(loading->arena, blocks->count + 1, sizeof *t->revocation_lists);
    for (size_t i = 0; i < blocks->count && t->certificates && t->revocation_lists; i++) {
        const struct pem_block *b = &blocks->items[i];
        ProtobufCBinaryData der = {b->size, b->der};
        const char *why = b->label <= PEM_REVOCATION_LIST ? certificate_check_trusted(b) : "";
        if (why && *why && !is_lenient) {
            load_fault(loading, l->want, "", ERROR_SYNTAX, "%s:%u: %s", file, b->line, why);
            return -1;
        }
        if (!why && b->label == PEM_CERTIFICATE)
            t->certificates[t->n_certificates++] = der;
        else if (!why)
            t->revocation_lists[t->n_revocation_lists++] = der;
    }
    if (t->n_certificates)
        return 0;
    load_fault(loading, l->want, "", ERROR_MISSING, "%s: there is no certificate in the file", file);
    return -1;
}

static int parse_trust(struct loading *loading, struct loaded *l, struct str text, bool is_lenient, const char *file) {
    struct pem_blocks blocks = {0};
    unsigned line;
    const char *why = pem_read(text, loading->arena, &blocks, &line);
    if (why) {
        load_fault(loading, l->want, "", ERROR_SYNTAX, "%s:%u: %s", file, line, why);
        return -1;
    }
    l->message.kind_case = HEADGATE__SECRET__KIND_TRUST;
    l->message.trust = &l->trust;
    int status = fill_trust(loading, l, &blocks, is_lenient, file);
    clear_keys(&blocks);
    return status;
}

int load_trust(struct loading *loading, struct loaded *l) {
    static const char *const keys[3] = {"", "", ""};
    const char *const names[3] = {l->want->certificate, NULL, NULL};
    struct str files[3] = {{0}};
    size_t before = loading->errors->count;
    headgate__trust__init(&l->trust);
    int status = read_files(loading, l->want, names, keys, files);
    if (status == 0)
        status = parse_trust(loading, l, files[0], false, l->want->certificate);
    else if (loading->errors->count == before)
        miss_embedded(loading, l);
    free_files(files);
    return status;
}

int load_trust_text(struct loading *loading, struct loaded *l, struct str text) {
    headgate__trust__init(&l->trust);
    return parse_trust(loading, l, text, false, l->want->certificate);
}

const char *secrets_system_bundle(void) {
    static const char *const paths[] = {"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt",
                                        "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem"};
    const char *given = getenv("SSL_CERT_FILE");
    for (size_t i = 0; !given && i < sizeof paths / sizeof *paths; i++)
        if (access(paths[i], R_OK) == 0)
            return paths[i];
    return given;
}

int load_system_trust(struct loading *loading, struct loaded *l) {
    const struct secret_root system = {.root = (char *)"/", .base = (char *)"/", .fd = -1};
    const char *names[3] = {secrets_system_bundle(), NULL, NULL};
    struct str files[3] = {{0}};
    char why[SECRET_WHY_MAX];
    size_t failed;
    headgate__trust__init(&l->trust);
    if (!names[0]) {
        load_fault(loading, l->want, "", ERROR_IO, "the system has no file of authorities (SSL_CERT_FILE can name one); "
                   "name those of the cluster with ca");
        return -1;
    }
    int status = secret_files_read(&system, names, files, &failed, why);
    if (status < 0)
        load_fault(loading, l->want, "", ERROR_IO, "%s, the authorities of the system: %s", names[0], why);
    else
        status = parse_trust(loading, l, files[0], true, names[0]);
    free_files(files);
    return status;
}

/* ---- what there was ---- */

int load_previous(struct loading *loading, struct loaded *l, const struct config_resource *previous) {
    ProtobufCMessage *m;
    struct str bytes = {(const char *)previous->bytes, previous->size};
    if (message_unpack(&headgate__secret__descriptor, loading->arena, bytes, &m) < 0)
        return -1;
    l->message = *(Headgate__Secret *)m;
    if (l->message.kind_case != HEADGATE__SECRET__KIND_KEY_PAIR)
        return 0;
    l->pair = *l->message.key_pair;
    if (l->pair.other)
        secret_clear(l->pair.other->private_key.data, l->pair.other->private_key.len);
    l->pair.other = NULL;
    l->message.key_pair = &l->pair;
    return certificate_facts(&l->pair, loading->arena, &l->facts);
}

/* ---- what is given ---- */

static bool is_wanted_kind(const struct loaded *l) {
    switch (l->want->what) {
    case CONFIG_SECRET_KEY_PAIR: return l->message.kind_case == HEADGATE__SECRET__KIND_KEY_PAIR;
    case CONFIG_SECRET_TICKET_KEYS: return l->message.kind_case == HEADGATE__SECRET__KIND_TICKET_KEYS;
    default: return l->message.kind_case == HEADGATE__SECRET__KIND_TRUST;
    }
}

static const char *kind_of(const Headgate__Secret *m) {
    switch (m->kind_case) {
    case HEADGATE__SECRET__KIND_KEY_PAIR: return "a certificate with its key";
    case HEADGATE__SECRET__KIND_TRUST: return "authorities";
    default: return "keys of tickets";
    }
}

static const char *wanted_kind(const struct config_secret *want) {
    switch (want->what) {
    case CONFIG_SECRET_KEY_PAIR: return "a certificate with its key";
    case CONFIG_SECRET_TICKET_KEYS: return "keys of tickets";
    default: return "authorities";
    }
}

static void warn_of_time(struct loading *loading, const struct loaded *l) {
    uint64_t now = loading->source->now;
    if (l->message.kind_case != HEADGATE__SECRET__KIND_KEY_PAIR)
        return;
    if (l->facts.not_after < now)
        warn(loading, l->want, "", "%s has expired, and is used all the same, since a server gives it", l->want->name);
    else if (l->facts.not_before > now)
        warn(loading, l->want, "", "%s is not valid yet, and is used all the same, since a server gives it", l->want->name);
}

int load_given(struct loading *loading, struct loaded *l) {
    const struct config_resources *given = loading->source->given;
    const struct config_resource *r =
        given ? config_resources_find(given, HEADGATE__KIND__KIND_SECRET, str_of(l->want->name)) : NULL;
    if (!r) {
        load_fault(loading, l->want, "", ERROR_REFERENCE, "no server has given the secret %s", l->want->name);
        return -1;
    }
    if (load_previous(loading, l, r) < 0) {
        load_fault(loading, l->want, "", ERROR_MEMORY, "no memory for secrets");
        return -1;
    }
    if (!is_wanted_kind(l)) {
        load_fault(loading, l->want, "", ERROR_TYPE, "the server has given %s as %s, not %s", l->want->name,
                   kind_of(&l->message), wanted_kind(l->want));
        return -1;
    }
    warn_of_time(loading, l);
    l->has_content = true;
    memcpy(l->content, r->id.bytes, sizeof l->content);
    return 0;
}

static void clear_bytes(const ProtobufCBinaryData *bytes) {
    if (bytes->data)
        secret_clear(bytes->data, bytes->len);
}

void secret_message_clear(Headgate__Secret *m) {
    if (m->kind_case == HEADGATE__SECRET__KIND_KEY_PAIR) {
        clear_bytes(&m->key_pair->private_key);
        if (m->key_pair->other)
            clear_bytes(&m->key_pair->other->private_key);
    }
    if (m->kind_case != HEADGATE__SECRET__KIND_TICKET_KEYS)
        return;
    for (size_t i = 0; i < m->ticket_keys->n_keys; i++) {
        clear_bytes(&m->ticket_keys->keys[i]->encryption_key);
        clear_bytes(&m->ticket_keys->keys[i]->mac_key);
    }
}
