#include "dataplane/tls/definition.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "common/alloc.h"

static struct map by_fingerprint;    /* main thread */
static uint64_t next_serial;

static struct str key_of(const struct resource_id *id) {
    return (struct str){(const char *)id->bytes, RESOURCE_ID_SIZE};
}

/* ---- fingerprints ---- */

void fingerprint_init(struct fingerprint *f, char kind, unsigned protocols, const ProtobufCMessage *message) {
    size_t n = protobuf_c_message_get_packed_size(message);
    uint8_t *packed = hg_malloc(n + 1);
    *f = (struct fingerprint){.bytes = {0}};
    strbuf_printf(&f->bytes, "%c%u.%zu.", kind, protocols, n);
    if (packed)
        strbuf_add(&f->bytes, packed, protobuf_c_message_pack(message, packed));
    else
        f->bytes.failed = true;
    hg_free(packed);
}

void fingerprint_add_secret(struct fingerprint *f, const struct tls_secrets *secrets, const char *name) {
    struct tls_secret secret;
    bool is_there = name && secrets->find(secrets->arg, name, &secret);
    strbuf_putc(&f->bytes, is_there ? '+' : '-');
    if (is_there)
        strbuf_add(&f->bytes, secret.id.bytes, sizeof secret.id.bytes);
}

int fingerprint_finish(struct fingerprint *f, struct resource_id *ret) {
    int status = f->bytes.failed ? -1 : resource_id_of(f->bytes.p, f->bytes.n, ret);
    strbuf_finish(&f->bytes);
    return status;
}

/* ---- references ---- */

static void unref(struct definition *d) {
    if (atomic_fetch_sub_explicit(&d->references, 1, memory_order_acq_rel) != 1)
        return;
    hg_free(d->contexts);
    d->ops->destroy(d);
}

/* A context goes: with its definition's last holder, or later with its last session. */
static void on_context_free(void *context, void *definition, CRYPTO_EX_DATA *data, int index, long number, void *pointer) {
    (void)context, (void)data, (void)index, (void)number, (void)pointer;
    if (definition)
        unref(definition);
}

static int definition_index(void) {
    static _Atomic int known = -1;
    int index = atomic_load(&known);
    if (index >= 0)
        return index;
    int made = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, on_context_free);
    /* Another thread may have been faster; its index counts and this one stays unused. */
    return made >= 0 && atomic_compare_exchange_strong(&known, &index, made) ? made : index;
}

struct definition *definition_of(const SSL_CTX *context) {
    return SSL_CTX_get_ex_data(context, definition_index());
}

static SSL_CTX *make(struct definition *d, struct tls_library *l, const struct tls_place *place) {
    SSL_CTX *context = d->ops->make(d, l, place);
    ERR_clear_error();
    if (!context)
        return NULL;
    atomic_fetch_add_explicit(&d->references, 1, memory_order_relaxed);
    if (SSL_CTX_set_ex_data(context, definition_index(), d))
        return context;
    atomic_fetch_sub_explicit(&d->references, 1, memory_order_relaxed);
    SSL_CTX_free(context);
    return NULL;
}

SSL_CTX *definition_context(struct definition *d, struct tls_library *l) {
    if (!d->contexts[l->slot])
        d->contexts[l->slot] = make(d, l, NULL);
    return d->contexts[l->slot];
}

/* ---- holders ---- */

struct definition *definition_find(const struct resource_id *fingerprint) {
    struct definition *d = map_get(&by_fingerprint, key_of(fingerprint));
    if (d)
        d->holders++;
    return d;
}

void definition_hold(struct definition *d) {
    d->holders++;
}

int definition_init(struct definition *d, const struct definition_ops *ops, const struct resource_id *fingerprint,
                    const struct tls_place *place) {
    struct tls_library *l = tls_main_library();
    d->ops = ops;
    d->fingerprint = *fingerprint;
    d->serial = ++next_serial;
    d->holders = 1;
    atomic_store(&d->references, 1);
    d->contexts = hg_calloc(tls_slot_count(), sizeof(SSL_CTX *));
    size_t before = place->errors->count;
    SSL_CTX *context = d->contexts && l ? make(d, l, place) : NULL;
    SSL_CTX_free(context);
    d->is_listed = context && map_set(&by_fingerprint, key_of(&d->fingerprint), d) == 0;
    if (d->is_listed)
        return 0;
    if (place->errors->count == before)
        tls_memory_fault(place);
    return -1;
}

void definition_release(struct definition *d) {
    if (!d || --d->holders > 0)
        return;
    if (d->is_listed)
        map_remove(&by_fingerprint, key_of(&d->fingerprint));
    if (by_fingerprint.count == 0) {
        map_finish(&by_fingerprint);
        by_fingerprint = (struct map){0};
    }
    for (unsigned i = 0; d->contexts && i < tls_slot_count(); i++)
        SSL_CTX_free(d->contexts[i]);
    unref(d);
}
