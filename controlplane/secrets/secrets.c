#include "controlplane/secrets/secrets.h"

#include <limits.h>
#include <stdlib.h>

#include <openssl/rand.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/map.h"
#include "common/secret_memory.h"
#include "controlplane/secrets/load.h"

enum { SALT_SIZE = 32 };

struct making {
    struct loading               loading;
    const struct config_secrets *want;
    struct loaded               *items;         /* as in want->items */
    struct secret_set            set;
    struct error_list            faults;        /* of one secret, until it is known what becomes of them */
};

static const struct config_resource *find_previous(const struct making *m, const char *name) {
    return config_resources_find(m->loading.source->previous, HEADGATE__KIND__KIND_SECRET, str_of(name));
}

static int out_of_memory(struct error_list *errors) {
    error_addf(errors, ERROR_MEMORY, "no memory for secrets");
    return -1;
}

/* ---- files that have not changed ---- */

void secret_stamps_finish(struct secret_stamps *stamps) {
    map_finish(&stamps->by_name);
    arena_finish(&stamps->arena);
    *stamps = (struct secret_stamps){0};
}

static struct secret_stamp stamp_of(const struct secret_source *source, const struct config_secret *want) {
    const char *names[SECRET_FILES_TOGETHER] = {want->certificate, want->key, want->ocsp};
    struct secret_stamp stamp = {0};
    char path[PATH_MAX];
    if (want->is_given)
        return stamp;
    if (want->what == CONFIG_SECRET_SYSTEM_TRUST)
        names[0] = secrets_system_bundle();
    for (int i = 0; i < SECRET_FILES_TOGETHER; i++)
        if (names[i] && secret_file_path(source->root, names[i], path, sizeof path) == 0)
            stamp.files[i] = file_stamp_of(path);
    return stamp;
}

static bool is_embedded(const struct config_secret *want) {
    struct str mark = str_of(CONFIG_EMBEDDED);
    const char *files[] = {want->certificate, want->key, want->ocsp};
    for (int i = 0; i < 3; i++)
        if (files[i] && str_starts(str_of(files[i]), mark))
            return true;
    return false;
}

static const struct secret_stamp *stamp_before(const struct secret_source *source, const struct config_secret *want) {
    return source->stamps ? map_get(&source->stamps->by_name, str_of(want->name)) : NULL;
}

static bool is_unchanged(const struct secret_source *source, const struct config_secret *want,
                         const struct secret_stamp *stamp) {
    const struct secret_stamp *before = stamp_before(source, want);
    for (int i = 0; before && i < SECRET_FILES_TOGETHER; i++)
        if (!file_stamp_equal(&before->files[i], &stamp->files[i]))
            before = NULL;
    return before && !is_embedded(want);
}

/* Whether what a server has given is what the secret was made of. */
static bool is_given_as_before(const struct secret_source *source, const struct config_secret *want) {
    const struct secret_stamp *before = stamp_before(source, want);
    const struct config_resource *r =
        source->given ? config_resources_find(source->given, HEADGATE__KIND__KIND_SECRET, str_of(want->name)) : NULL;
    return before && before->has_content && r && memcmp(before->content, r->id.bytes, sizeof before->content) == 0;
}

static bool has_files(const struct config_secret *want) {
    return want->what != CONFIG_SECRET_TICKET_KEYS && !want->is_given;
}

bool secrets_are_current(const struct secret_source *source, const struct config_secrets *want, uint64_t due) {
    if (due && source->now >= due)
        return false;
    for (size_t i = 0; i < want->count; i++) {
        const struct config_secret *w = &want->items[i];
        struct secret_stamp stamp = stamp_of(source, w);
        bool is_on_disk = has_files(w) && !is_embedded(w);
        if (!config_resources_find(source->previous, HEADGATE__KIND__KIND_SECRET, str_of(w->name)) ||
            (is_on_disk && !is_unchanged(source, w, &stamp)) || (w->is_given && !is_given_as_before(source, w)))
            return false;
    }
    return true;
}

static void remember(struct making *m, const struct loaded *l, const struct secret_stamp *stamp) {
    struct secret_stamps *s = &m->set.stamps;
    struct secret_stamp *copy = arena_memdup(&s->arena, stamp, sizeof *stamp);
    const char *name = arena_strdup(&s->arena, l->want->name);
    if (copy) {
        copy->has_content = l->has_content;
        memcpy(copy->content, l->content, sizeof copy->content);
    }
    if (copy && name)
        (void)map_set(&s->by_name, str_of(name), copy); /* without memory the files are read again */
}

/* ---- contents ---- */

static void note_time(struct making *m, uint64_t when) {
    if (when && (m->set.next == 0 || when < m->set.next))
        m->set.next = when;
}

static void note_expiry(struct making *m, const struct loaded *l) {
    uint64_t when = l->facts.not_after;
    if (when && (m->set.expires == 0 || when < m->set.expires))
        m->set.expires = when;
}

static int load(struct making *m, struct loaded *l) {
    uint64_t next = 0;
    int status;
    if (l->want->is_given)
        return load_given(&m->loading, l);
    switch (l->want->what) {
    case CONFIG_SECRET_KEY_PAIR:
        status = load_pair(&m->loading, l);
        next = l->facts.ocsp_until;
        break;
    case CONFIG_SECRET_TRUST: status = load_trust(&m->loading, l); break;
    case CONFIG_SECRET_SYSTEM_TRUST: status = load_system_trust(&m->loading, l); break;
    default: status = load_tickets(&m->loading, l, m->want, &next);
    }
    note_time(m, next);
    return status;
}

static void move_faults(struct making *m, struct error_list *to) {
    for (size_t i = 0; i < m->faults.count; i++)
        error_list_add(to, &m->faults.items[i]);
}

/* From the bytes of before, without a look at the files. */
static bool reuse(struct making *m, struct loaded *l, const struct secret_stamp *stamp) {
    const struct config_resource *previous = l->previous;
    if (!previous || !has_files(l->want) || !is_unchanged(m->loading.source, l->want, stamp) ||
        load_previous(&m->loading, l, previous) < 0)
        return false;
    if (l->want->what == CONFIG_SECRET_KEY_PAIR && !load_is_current(l, m->loading.source->now))
        return false;
    note_time(m, l->facts.ocsp_until);
    return true;
}

/* What came with an earlier push is in no file: as long as it is known, it stays without a word. */
static int load_or_keep(struct making *m, struct loaded *l, struct error_list *errors, struct error_list *warnings) {
    m->faults = (struct error_list){0};
    int status = load(m, l);
    const struct config_resource *previous = l->previous;
    bool is_missing = status < 0 && is_embedded(l->want) && m->faults.count == 1 &&
                      m->faults.items[0].code == ERROR_REFERENCE;
    bool may_keep = previous && (is_missing || m->loading.source->keep_old);
    if (status < 0 && may_keep && load_previous(&m->loading, l, previous) == 0) {
        status = 0;
        if (!is_missing)
            move_faults(m, warnings);
    } else {
        move_faults(m, errors);
    }
    error_list_finish(&m->faults);
    return status;
}

/* What the secret was, and was made of. */
static void recall(const struct making *m, struct loaded *l) {
    l->previous = find_previous(m, l->want->name);
    l->known = l->previous ? stamp_before(m->loading.source, l->want) : NULL;
    if (!l->known)
        return;
    l->has_content = l->known->has_content;
    memcpy(l->content, l->known->content, sizeof l->content);
}

static int load_all(struct making *m, struct error_list *errors, struct error_list *warnings) {
    int status = 0;
    m->loading.errors = &m->faults;
    m->loading.warnings = warnings;
    for (size_t i = 0; i < m->want->count; i++) {
        struct loaded *l = &m->items[i];
        l->want = &m->want->items[i];
        struct secret_stamp stamp = stamp_of(m->loading.source, l->want);
        size_t said = errors->count + warnings->count;
        headgate__secret__init(&l->message);
        recall(m, l);
        if (m->loading.source->trusts_absent && (is_embedded(l->want) || l->want->is_given))
            continue;
        if (!reuse(m, l, &stamp))
            status |= load_or_keep(m, l, errors, warnings);
        note_expiry(m, l);
        if (errors->count + warnings->count == said)
            remember(m, l, &stamp);
    }
    return status < 0 ? -1 : 0;
}

/* ---- RSA beside ECDSA ---- */

static bool has_same_names(const struct certificate_facts *a, const struct certificate_facts *b) {
    if (a->name_count != b->name_count || a->name_count == 0)
        return false;
    for (size_t i = 0; i < a->name_count; i++)
        if (strcmp(a->names[i], b->names[i]) != 0)
            return false;
    return true;
}

/* The pair without its own `other`, as the other of another. */
static Headgate__KeyPair *copy_pair(struct making *m, const Headgate__KeyPair *from) {
    Headgate__KeyPair *copy = arena_memdup(m->loading.arena, from, sizeof *from);
    if (copy)
        copy->other = NULL;
    return copy;
}

static int pair_up(struct making *m, struct loaded *a, struct loaded *b) {
    bool are_pairs = a->message.kind_case == HEADGATE__SECRET__KIND_KEY_PAIR &&
                     b->message.kind_case == HEADGATE__SECRET__KIND_KEY_PAIR;
    if (!are_pairs || a->pair.other || b->pair.other || a->facts.is_rsa == b->facts.is_rsa ||
        !has_same_names(&a->facts, &b->facts))
        return 0;
    Headgate__KeyPair *first = copy_pair(m, &a->pair), *second = copy_pair(m, &b->pair);
    a->pair.other = second;
    b->pair.other = first;
    return first && second ? 0 : -1;
}

/* In one listener, by the first of their names. */
static int pair_up_list(struct making *m, const struct config_secret_list *list) {
    struct map by_name = {0};
    int status = 0;
    for (size_t i = 0; i < list->count && status == 0; i++) {
        struct loaded *l = &m->items[list->items[i]];
        if (l->facts.name_count == 0)
            continue;
        struct str name = str_of(l->facts.names[0]);
        struct loaded *earlier = map_get(&by_name, name);
        if (earlier && earlier != l)
            status = pair_up(m, earlier, l);
        else if (!earlier)
            status = map_set(&by_name, name, l);
    }
    map_finish(&by_name);
    return status;
}

/* ---- bytes ---- */

/* Packs with that salt into secret memory. */
static int pack(Headgate__Secret *message, const uint8_t salt[SALT_SIZE], uint8_t **ret_bytes, size_t *ret_size) {
    message->has_salt = 1;
    message->salt = (ProtobufCBinaryData){SALT_SIZE, (uint8_t *)salt};
    size_t size = headgate__secret__get_packed_size(message);
    uint8_t *bytes = secret_alloc(size);
    if (!bytes)
        return -1;
    headgate__secret__pack(message, bytes);
    *ret_bytes = bytes;
    *ret_size = size;
    return 0;
}

/* The salt of an encoded secret. */
static bool salt_of(const struct config_resource *r, uint8_t salt[SALT_SIZE]) {
    Headgate__Secret *m = headgate__secret__unpack(NULL, r->size, r->bytes);
    bool has = m && m->salt.len == SALT_SIZE;
    if (has)
        memcpy(salt, m->salt.data, SALT_SIZE);
    if (m) {
        secret_message_clear(m);
        headgate__secret__free_unpacked(m, NULL);
    }
    return has;
}

int secret_encode(Headgate__Secret *message, const struct config_resource *previous, struct config_resource *r) {
    uint8_t salt[SALT_SIZE], *bytes = NULL;
    if (previous && salt_of(previous, salt) && pack(message, salt, &bytes, &r->size) == 0) {
        r->bytes = bytes;
        if (r->size == previous->size && memcmp(bytes, previous->bytes, r->size) == 0)
            return 0;
        secret_free(bytes);
        r->bytes = NULL;
    }
    if (RAND_bytes(salt, SALT_SIZE) != 1 || pack(message, salt, &bytes, &r->size) < 0)
        return -1;
    r->bytes = bytes;
    return 0;
}

static int compare(const void *a, const void *b) {
    const struct config_resource *x = a, *y = b;
    return strcmp(x->name, y->name);
}

static int encode_all(struct making *m) {
    m->set.items = hg_calloc(m->want->count + 1, sizeof *m->set.items);
    if (!m->set.items)
        return -1;
    for (size_t i = 0; i < m->want->count; i++) {
        struct config_resource *r = &m->set.items[m->set.count++];
        r->kind = HEADGATE__KIND__KIND_SECRET;
        r->name = arena_strdup(&m->set.arena, m->want->items[i].name);
        if (!r->name || secret_encode(&m->items[i].message, find_previous(m, r->name), r) < 0 ||
            resource_id_of(r->bytes, r->size, &r->id) < 0)
            return -1;
    }
    qsort(m->set.items, m->set.count, sizeof *m->set.items, compare);
    return 0;
}

/* ---- all ---- */

static int make(struct making *m, struct error_list *errors, struct error_list *warnings) {
    if (load_all(m, errors, warnings) < 0)
        return -1;
    for (size_t i = 0; i < m->want->listener_count; i++)
        if (pair_up_list(m, &m->want->listeners[i]) < 0)
            return out_of_memory(errors);
    return encode_all(m) < 0 ? out_of_memory(errors) : 0;
}

int secrets_make(const struct secret_source *source, const struct config_secrets *want, struct secret_set *ret,
                 struct error_list *errors, struct error_list *warnings) {
    struct arena arena = {0};
    struct making m = {.loading = {.source = source, .arena = &arena}, .want = want};
    m.items = hg_calloc(want->count + 1, sizeof *m.items);
    int status = m.items ? make(&m, errors, warnings) : out_of_memory(errors);
    for (size_t i = 0; m.items && i < want->count; i++)
        if (m.items[i].message.base.descriptor)
            secret_message_clear(&m.items[i].message);
    hg_free(m.items);
    arena_finish(&arena);
    if (status == 0)
        *ret = m.set;
    else
        secret_set_finish(&m.set);
    return status;
}

void secret_set_finish(struct secret_set *set) {
    for (size_t i = 0; i < set->count; i++)
        secret_free((void *)(uintptr_t)set->items[i].bytes);
    hg_free(set->items);
    secret_stamps_finish(&set->stamps);
    arena_finish(&set->arena);
    *set = (struct secret_set){0};
}

int secrets_check(const struct config_resources *set, const char *base, const struct config_places *places,
                  struct error_list *errors, struct error_list *warnings) {
    const struct config_resources nothing = {0};
    struct config_secrets want = {0};
    struct secret_set made = {0};
    struct secret_root root = {.fd = -1};
    size_t first = errors->count, first_warning = warnings->count;
    int status = secret_root_open("/", base, &root, errors);
    const struct secret_source source = {
        .root = &root, .previous = &nothing, .trusts_absent = true, .now = clock_realtime_us()};
    if (status == 0)
        status = config_secrets_collect(set, &want, errors);
    if (status == 0)
        status = secrets_make(&source, &want, &made, errors, warnings);
    config_places_locate(places, errors, first);
    config_places_locate(places, warnings, first_warning);
    secret_set_finish(&made);
    config_secrets_finish(&want);
    secret_root_close(&root);
    return status;
}
