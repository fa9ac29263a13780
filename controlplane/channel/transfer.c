#include "controlplane/channel/transfer.h"

#include "common/alloc.h"
#include "common/map.h"

enum {
    ENTRY_OVERHEAD = 8,     /* tag and length of an entry or body inside its Prepare */
    BODY_OVERHEAD = 64,     /* of a body besides its bytes: tags, lengths, id, flag */
    PREPARE_OVERHEAD = 512, /* nonce, snapshot id, flags */
    PART_ROOM = TRANSFER_PART_MAX - PREPARE_OVERHEAD,
    FEW_BODIES = 4,
    SMALL_BODIES = 64 << 10, /* bytes, together */
};

/* Borrowed entries, sent from the front. */
struct entry_queue {
    Headgate__Entry **items;
    size_t count, capacity, sent;
};

enum { UPSERT_INTENT, UPSERT_STATE, REMOVE_INTENT, REMOVE_STATE, QUEUES };

struct transfer {
    struct snapshot *base, *target;
    struct entry_queue queues[QUEUES];
    struct blob **bodies; /* that the data plane lacks, each once */
    size_t body_count, body_capacity;
    size_t body_at, body_offset; /* the next piece to send */
    bool has_begun, is_complete;
    struct arena arena; /* removed entries, cut down to kind and name */
    /* The part that was given last. */
    Headgate__Prepare prepare;
    Headgate__SnapshotId id;
    Headgate__Body *pieces;
    Headgate__Body **piece_list;
    size_t piece_count, piece_capacity, list_capacity;
};

/* ---- the delta ---- */

static int queue_add(struct entry_queue *q, Headgate__Entry *e) {
    if (hg_grow(&q->items, &q->capacity, q->count + 1, sizeof(Headgate__Entry *)) < 0)
        return -1;
    q->items[q->count++] = e;
    return 0;
}

static int queue_removal(struct transfer *t, struct entry_queue *q, const Headgate__Entry *held) {
    Headgate__Entry *e = arena_alloc(&t->arena, sizeof *e);
    if (!e)
        return -1;
    headgate__entry__init(e);
    e->has_kind = true;
    e->kind = held->kind;
    e->name = held->name; /* of base, which lives as long as the transfer */
    return queue_add(q, e);
}

static struct str id_key(const Headgate__Entry *e) {
    return (struct str){(const char *)e->id.data, e->id.len};
}

static int want_body(struct transfer *t, struct blob *body) {
    if (hg_grow(&t->bodies, &t->body_capacity, t->body_count + 1, sizeof *t->bodies) < 0)
        return -1;
    t->bodies[t->body_count++] = body;
    return 0;
}

/* Parts that follow from each other have most entries in common, which need not be looked at. */
static void skip_shared(const struct part *from, size_t *i, const struct part *to, size_t *j) {
    while (from && *i < from->count && *j < to->count && from->entries[*i] == to->entries[*j])
        ++*i, ++*j;
}

static int compare_part(struct transfer *t, const struct part *from, const struct part *to, struct entry_queue *upsert,
                        struct entry_queue *removal) {
    size_t i = 0, j = 0, from_count = from ? from->count : 0;
    int status = 0;
    if (from == to)
        return 0;
    while (skip_shared(from, &i, to, &j), status == 0 && (i < from_count || j < to->count)) {
        int order = i == from_count  ? 1
                    : j == to->count ? -1
                                     : entry_compare(from->entries[i], to->entries[j]);
        if (order < 0) {
            status = queue_removal(t, removal, from->entries[i]);
        } else if (order > 0 || !str_eq(id_key(from->entries[i]), id_key(to->entries[j]))) {
            status = queue_add(upsert, to->entries[j]);
            if (status == 0)
                status = want_body(t, part_body(to, j));
        }
        i += order <= 0;
        j += order >= 0;
    }
    return status;
}

static int add_known(struct map *known, const struct part *p) {
    for (size_t i = 0; i < p->count; i++)
        if (map_set(known, id_key(p->entries[i]), p->entries[i]) < 0)
            return -1;
    return 0;
}

static bool is_before(const struct transfer *t, size_t count, const struct blob *body) {
    for (size_t i = 0; i < count; i++)
        if (resource_id_equal(&t->bodies[i]->id, &body->id))
            return true;
    return false;
}

/* Mostly one, and small: to look whether the data plane has it under another name would take longer than to send it. */
static bool are_few(const struct transfer *t) {
    size_t size = 0;
    for (size_t i = 0; i < t->body_count; i++)
        size += t->bodies[i]->size;
    return t->body_count <= FEW_BODIES && size <= SMALL_BODIES;
}

static void drop_doubles_of_few(struct transfer *t) {
    size_t kept = 0;
    for (size_t i = 0; i < t->body_count; i++)
        if (!is_before(t, kept, t->bodies[i]))
            t->bodies[kept++] = t->bodies[i];
    t->body_count = kept;
}

/* Bodies that the data plane has, under whatever names, go out of the list where that saves something, and those that stand
 * there twice. */
static int drop_known_bodies(struct transfer *t) {
    struct map known = {0};
    size_t kept = 0;
    int status = 0;
    if (are_few(t)) {
        drop_doubles_of_few(t);
        return 0;
    }
    if (t->base)
        status = add_known(&known, t->base->intent) < 0 || add_known(&known, t->base->state) < 0 ? -1 : 0;
    for (size_t i = 0; i < t->body_count && status == 0; i++) {
        struct blob *body = t->bodies[i];
        struct str id = {(const char *)body->id.bytes, RESOURCE_ID_SIZE};
        if (map_get(&known, id))
            continue;
        t->bodies[kept++] = body;
        status = map_set(&known, id, body);
    }
    t->body_count = kept;
    map_finish(&known);
    return status;
}

static int compare(struct transfer *t) {
    const struct snapshot *base = t->base, *target = t->target;
    if (compare_part(t, base ? base->intent : NULL, target->intent, &t->queues[UPSERT_INTENT],
                     &t->queues[REMOVE_INTENT]) < 0 ||
        compare_part(t, base ? base->state : NULL, target->state, &t->queues[UPSERT_STATE], &t->queues[REMOVE_STATE]) < 0)
        return -1;
    return drop_known_bodies(t);
}

struct transfer *transfer_create(uint64_t nonce, struct snapshot *base, struct snapshot *target,
                                 bool is_dry_run) {
    struct transfer *t = hg_calloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->base = base ? snapshot_ref(base) : NULL;
    t->target = snapshot_ref(target);
    arena_init(&t->arena, NULL, 0, 0);
    headgate__prepare__init(&t->prepare);
    t->prepare.has_nonce = true;
    t->prepare.nonce = nonce;
    t->prepare.has_dry_run = t->prepare.dry_run = is_dry_run;
    if (compare(t) == 0)
        return t;
    transfer_destroy(t);
    return NULL;
}

void transfer_destroy(struct transfer *t) {
    if (!t)
        return;
    for (int i = 0; i < QUEUES; i++)
        hg_free(t->queues[i].items);
    hg_free(t->bodies);
    hg_free(t->pieces);
    hg_free(t->piece_list);
    arena_finish(&t->arena);
    snapshot_unref(t->base);
    snapshot_unref(t->target);
    hg_free(t);
}

/* ---- parts ---- */

/* How many entries from the front of the queue fit; takes their bytes from *room. */
static size_t take_entries(struct entry_queue *q, size_t *room, Headgate__Entry ***ret) {
    *ret = q->items ? q->items + q->sent : NULL;
    size_t count = 0;
    while (q->sent < q->count) {
        size_t size = headgate__entry__get_packed_size(q->items[q->sent]) + ENTRY_OVERHEAD;
        if (size > *room)
            break;
        *room -= size;
        q->sent++;
        count++;
    }
    return count;
}

static int add_piece(struct transfer *t, const struct blob *body, size_t offset, size_t size) {
    if (hg_grow(&t->pieces, &t->piece_capacity, t->piece_count + 1, sizeof *t->pieces) < 0)
        return -1;
    Headgate__Body *piece = &t->pieces[t->piece_count++];
    headgate__body__init(piece);
    piece->has_id = piece->has_bytes = true;
    piece->id = (ProtobufCBinaryData){RESOURCE_ID_SIZE, (uint8_t *)body->id.bytes};
    piece->bytes = (ProtobufCBinaryData){size, (uint8_t *)body->bytes + offset};
    piece->has_more = piece->more = offset + size < body->size;
    return 0;
}

/* Bodies up to the room that is left. One that is larger than a whole part goes in pieces. */
static int take_bodies(struct transfer *t, size_t *room) {
    t->piece_count = 0;
    while (t->body_at<t->body_count && * room> BODY_OVERHEAD) {
        const struct blob *body = t->bodies[t->body_at];
        size_t left = body->size - t->body_offset, size = *room - BODY_OVERHEAD;
        bool is_divisible = body->size > PART_ROOM - BODY_OVERHEAD;
        if (left > size && !is_divisible)
            return 0;
        if (left < size)
            size = left;
        if (add_piece(t, body, t->body_offset, size) < 0)
            return -1;
        *room -= size + BODY_OVERHEAD;
        t->body_offset += size;
        if (t->body_offset == body->size) {
            t->body_at++;
            t->body_offset = 0;
        }
    }
    return 0;
}

/* The list of pointers is made last, because the pieces move while they grow. */
static int list_pieces(struct transfer *t) {
    if (hg_grow(&t->piece_list, &t->list_capacity, t->piece_count, sizeof(Headgate__Body *)) < 0)
        return -1;
    for (size_t i = 0; i < t->piece_count; i++)
        t->piece_list[i] = &t->pieces[i];
    t->prepare.n_bodies = t->piece_count;
    t->prepare.bodies = t->piece_list;
    return 0;
}

static bool is_all_sent(const struct transfer *t) {
    for (int i = 0; i < QUEUES; i++)
        if (t->queues[i].sent < t->queues[i].count)
            return false;
    return t->body_at == t->body_count;
}

const Headgate__Prepare *transfer_next(struct transfer *t, bool *ret_failed) {
    Headgate__Prepare *p = &t->prepare;
    size_t room = PART_ROOM;
    if (t->is_complete)
        return NULL;
    p->n_remove_intent = take_entries(&t->queues[REMOVE_INTENT], &room, &p->remove_intent);
    p->n_remove_state = take_entries(&t->queues[REMOVE_STATE], &room, &p->remove_state);
    p->n_upsert_intent = take_entries(&t->queues[UPSERT_INTENT], &room, &p->upsert_intent);
    p->n_upsert_state = take_entries(&t->queues[UPSERT_STATE], &room, &p->upsert_state);
    if (take_bodies(t, &room) < 0 || list_pieces(t) < 0) {
        *ret_failed = true;
        return NULL;
    }
    snapshot_id_fill(t->target, &t->id);
    p->id = t->has_begun ? NULL : &t->id;
    t->has_begun = true;
    t->is_complete = is_all_sent(t);
    p->has_last = p->last = t->is_complete;
    return p;
}

bool transfer_is_complete(const struct transfer *t) {
    return t->is_complete;
}

bool transfer_has_begun(const struct transfer *t) {
    return t->has_begun;
}
