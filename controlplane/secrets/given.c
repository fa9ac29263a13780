#include "controlplane/secrets/given.h"

#include <stdio.h>

#include "common/clock.h"
#include "common/secret_memory.h"
#include "controlplane/secrets/load.h"
#include "proto/message.h"

bool given_name_is_valid(const char *name) {
    struct str prefix = str_of(CONFIG_GIVEN), text = str_of(name);
    struct config_kubernetes_secret ignored;
    bool has_prefix = (text.n > prefix.n && str_starts(text, prefix)) || config_kubernetes_secret(text, &ignored);
    return has_prefix && resource_name_is_valid(text) && name[text.n - 1] != '*';
}

/* ---- what is given ---- */

/* What a peer must be, beside signed by the authorities. */
static int take_rules(struct loading *loading, struct loaded *l, struct str rules) {
    ProtobufCMessage *m = NULL;
    if (!rules.n)
        return 0;
    if (message_unpack(&headgate__trust__descriptor, loading->arena, rules, &m) < 0) {
        load_fault(loading, l->want, "", ERROR_MEMORY, "no memory for secrets");
        return -1;
    }
    l->trust.match_names = ((Headgate__Trust *)m)->match_names;
    l->trust.n_match_names = ((Headgate__Trust *)m)->n_match_names;
    l->trust.pins = ((Headgate__Trust *)m)->pins;
    return 0;
}

/* Authorities and revocation lists are one file elsewhere. */
static int join_trust(struct loading *loading, struct loaded *l, const struct given_secret *content) {
    struct str text = content->certificate;
    struct strbuf all = {0};
    if (content->crl.n) {
        strbuf_add(&all, text.p, text.n);
        strbuf_puts(&all, "\n");
        strbuf_add(&all, content->crl.p, content->crl.n);
        text = strbuf_str(&all);
    }
    int status = all.failed ? -1 : load_trust_text(loading, l, text);
    if (all.failed)
        load_fault(loading, l->want, "", ERROR_MEMORY, "no memory for secrets");
    strbuf_finish(&all);
    return status == 0 ? take_rules(loading, l, content->rules) : status;
}

static ProtobufCBinaryData part_of(struct str key, size_t from, size_t n) {
    return (ProtobufCBinaryData){n, (uint8_t *)(uintptr_t)key.p + from};
}

/* The parts are copied, since they are cleared with the message. */
static int take_ticket_key(struct loading *loading, struct str key, Headgate__TicketKey *to) {
    enum { NAME = 16, KEY = 32 };
    struct str copy = arena_str(loading->arena, key);
    headgate__ticket_key__init(to);
    if (!copy.p || key.n != NAME + 2 * KEY)
        return -1;
    to->has_name = to->has_mac_key = to->has_encryption_key = 1;
    to->name = part_of(copy, 0, NAME);
    to->mac_key = part_of(copy, NAME, KEY);
    to->encryption_key = part_of(copy, NAME + KEY, KEY);
    return 0;
}

static int take_ticket_keys(struct loading *loading, struct loaded *l, const struct given_secret *content) {
    size_t count = content->ticket_key_count;
    Headgate__TicketKey *keys = arena_calloc(loading->arena, count + 1, sizeof *keys);
    Headgate__TicketKey **list = arena_calloc(loading->arena, count + 1, sizeof *list);
    bool is_good = keys && list && count > 0 && count <= GIVEN_TICKET_KEYS_MAX;
    headgate__ticket_keys__init(&l->tickets);
    for (size_t i = 0; is_good && i < count; i++) {
        list[i] = &keys[i];
        is_good = take_ticket_key(loading, content->ticket_keys[i], &keys[i]) == 0;
    }
    if (!is_good) {
        load_fault(loading, l->want, "", ERROR_RANGE, "there must be 1 to %d keys of tickets, of 80 bytes each",
                   GIVEN_TICKET_KEYS_MAX);
        return -1;
    }
    l->tickets.keys = list;
    l->tickets.n_keys = count;
    l->message.kind_case = HEADGATE__SECRET__KIND_TICKET_KEYS;
    l->message.ticket_keys = &l->tickets;
    return 0;
}

static int load(struct loading *loading, struct loaded *l, const struct given_secret *content) {
    const struct str nothing = {NULL, 0}, ocsp = content->ocsp.n ? content->ocsp : nothing;
    const struct str files[3] = {content->certificate, content->key, ocsp};
    headgate__secret__init(&l->message);
    switch (content->what) {
    case CONFIG_SECRET_KEY_PAIR: return load_pair_text(loading, l, files);
    case CONFIG_SECRET_TRUST: return join_trust(loading, l, content);
    case CONFIG_SECRET_TICKET_KEYS: return take_ticket_keys(loading, l, content);
    default:
        load_fault(loading, l->want, "", ERROR_UNSUPPORTED,
                   "only certificates with their keys, authorities, and keys of tickets can be given");
        return -1;
    }
}

static int encode(Headgate__Secret *message, const struct config_resource *previous, struct config_resource *ret) {
    return secret_encode(message, previous, ret) < 0 ? -1 : resource_id_of(ret->bytes, ret->size, &ret->id);
}

static void move_errors(const struct error_list *from, struct error_list *to) {
    for (size_t i = 0; i < from->count; i++)
        error_list_add(to, &from->items[i]);
}

int given_secret_make(const char *name, const struct given_secret *content, const struct config_resource *previous,
                      struct config_resource *ret, struct error_list *errors) {
    char resource[RESOURCE_NAME_MAX + 32];
    struct arena arena = {0};
    struct error_list faults = {0}, warnings = {0};
    struct config_resource made = {.kind = HEADGATE__KIND__KIND_SECRET, .name = name};
    const struct secret_source source = {.now = clock_realtime_us()};
    struct loading loading = {.source = &source, .arena = &arena, .errors = &faults, .warnings = &warnings};
    snprintf(resource, sizeof resource, "secret/%.*s", RESOURCE_NAME_MAX, name);
    const struct config_secret want = {.name = name, .what = content->what, .certificate = "the certificate",
                                       .key = "the key", .ocsp = "the OCSP response", .resource = resource, .path = "",
                                       .is_given = true};
    struct loaded l = {.want = &want};
    int status = load(&loading, &l, content);
    if (status == 0 && encode(&l.message, previous, &made) < 0) {
        error_addf(&faults, ERROR_MEMORY, "no memory for secrets");
        status = -1;
    }
    move_errors(&faults, errors);
    if (status == 0)
        *ret = made;
    else
        secret_free((void *)(uintptr_t)made.bytes);
    secret_message_clear(&l.message);
    error_list_finish(&faults);
    error_list_finish(&warnings);
    arena_finish(&arena);
    return status;
}
