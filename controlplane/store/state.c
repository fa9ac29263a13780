#include "controlplane/store/internal.h"

#include "common/clock.h"
#include "common/plural.h"

static int report_damaged(const struct store *s, struct error_list *errors) {
    disk_report(&s->disk, STATE_FILE, ERROR_INTEGRITY, "the saved state is damaged", errors);
    return -1;
}

/* ---- save ---- */

static int check_size(const struct store_state *state, struct error_list *errors) {
    uint64_t bytes = 0;
    for (size_t i = 0; i < state->count; i++)
        bytes += state->resources[i].size;
    if (state->count <= RESOURCES_MAX && bytes <= STORE_STATE_MAX)
        return 0;
    error_addf(errors, ERROR_RANGE, "a state of %zu resource%s and %llu bytes; at most %d and %d", state->count,
               plural(state->count), (unsigned long long)bytes, RESOURCES_MAX, STORE_STATE_MAX);
    return -1;
}

static void fill_resource(Headgate__Store__StateResource *message, const struct store_resource *r) {
    *message = (Headgate__Store__StateResource)HEADGATE__STORE__STATE_RESOURCE__INIT;
    message->has_kind = message->has_id = message->has_bytes = true;
    message->kind = r->kind;
    message->name = (char *)r->name;
    message->id = (ProtobufCBinaryData){RESOURCE_ID_SIZE, (uint8_t *)r->id.bytes};
    message->bytes = (ProtobufCBinaryData){r->size, (uint8_t *)r->bytes};
}

static int encode_state(const struct store *s, const struct store_state *state, struct arena *arena,
                        struct str *ret_frame) {
    Headgate__Store__State m = HEADGATE__STORE__STATE__INIT;
    struct resource_id hash;
    Headgate__Store__StateResource *resources = arena_alloc(arena, state->count * sizeof *resources);
    m.resources = arena_alloc(arena, state->count * sizeof *m.resources);
    if (!resources || !m.resources)
        return -1;
    for (size_t i = 0; i < state->count; i++) {
        fill_resource(&resources[i], &state->resources[i]);
        m.resources[i] = &resources[i];
    }
    m.n_resources = state->count;
    m.has_lineage = m.has_generation = m.has_time_us = true;
    m.lineage = (ProtobufCBinaryData){LINEAGE_SIZE, (uint8_t *)s->lineage};
    m.generation = state->generation;
    m.time_us = state->time_us ? state->time_us : clock_realtime_us();
    return frame_encode(arena, FRAME_STATE, &m.base, ret_frame, &hash);
}

int store_save_state_beside(const struct store *s, const struct store_state *state, struct error_list *errors) {
    struct arena arena = {0};
    struct str frame;
    if (check_size(state, errors) < 0)
        return -1;
    int status = encode_state(s, state, &arena, &frame);
    status = status < 0 ? report_memory(s, errors) : disk_write_file(&s->disk, STATE_ASIDE, &frame, 1, true, errors);
    if (status == 0)
        status = disk_rename(&s->disk, STATE_ASIDE, STATE_FILE, errors);
    arena_finish(&arena);
    return status;
}

int store_save_state(struct store *s, const struct store_state *state, struct error_list *errors) {
    struct arena arena = {0};
    struct str frame;
    if (check_writable(s, errors) < 0 || check_size(state, errors) < 0)
        return -1;
    int status = encode_state(s, state, &arena, &frame);
    status = status < 0 ? report_memory(s, errors) : replace_file(s, STATE_FILE, &frame, 1, errors);
    arena_finish(&arena);
    return status;
}

/* ---- load ---- */

static int resource_from_message(const Headgate__Store__StateResource *m, struct store_resource *ret) {
    struct resource_id id;
    if (!m->name || resource_id_from_bytes(&m->id, &id) < 0)
        return MESSAGE_MALFORMED;
    /* No bytes is how protobuf-c gives an empty field; NULL would mean "not given". */
    const void *bytes = m->bytes.data ? (const void *)m->bytes.data : "";
    *ret = (struct store_resource){
        .kind = m->kind, .name = m->name, .id = id, .bytes = bytes, .size = m->bytes.len};
    return 0;
}

static int state_from_message(const struct store *s, const Headgate__Store__State *m,
                              struct store_state *state) {
    if (m->lineage.len != LINEAGE_SIZE || memcmp(m->lineage.data, s->lineage, LINEAGE_SIZE) != 0)
        return MESSAGE_MALFORMED;
    struct store_resource *resources = arena_alloc(&state->arena, m->n_resources * sizeof *resources);
    if (!resources)
        return MESSAGE_MEMORY;
    for (size_t i = 0; i < m->n_resources; i++)
        if (resource_from_message(m->resources[i], &resources[i]) < 0)
            return MESSAGE_MALFORMED;
    state->generation = m->generation;
    state->time_us = m->time_us;
    state->resources = resources;
    state->count = m->n_resources;
    return 0;
}

static int decode_state(const struct store *s, struct str file, struct store_state *state) {
    struct frame frame;
    ProtobufCMessage *m;
    int status = frame_decode(FRAME_STATE, file, &headgate__store__state__descriptor, &state->arena, &frame,
                              &m);
    if (status == 0 && frame.size != file.n)
        status = MESSAGE_MALFORMED;
    return status < 0 ? status : state_from_message(s, (Headgate__Store__State *)m, state);
}

int store_load_state(struct store *s, struct store_state *ret_state, struct error_list *errors) {
    struct store_state state = {0};
    struct str file;
    /* Names, ids and keys come on top of the bytes that STORE_STATE_MAX bounds. */
    int status = disk_read_file(&s->disk, STATE_FILE, 2 * (size_t)STORE_STATE_MAX, &file, NULL, errors);
    if (status != 0)
        return status > 0 ? 0 : -1;
    status = decode_state(s, file, &state);
    hg_free((void *)file.p);
    if (status == 0) {
        *ret_state = state;
        return 1;
    }
    store_state_finish(&state);
    return status == MESSAGE_MEMORY ? report_memory(s, errors) : report_damaged(s, errors);
}

void store_state_finish(struct store_state *state) {
    arena_finish(&state->arena);
    *state = (struct store_state){0};
}
