#include "controlplane/store/internal.h"

#include <inttypes.h>
#include <stdio.h>

void path_of_version(uint64_t number, char path[PATH_SIZE]) {
    snprintf(path, PATH_SIZE, VERSIONS_FOLDER "/%" PRIu64, number);
}

uint64_t version_of_name(const char *name) {
    uint64_t number;
    if (name[0] == '0' || str_to_uint64(str_of(name), &number) < 0)
        return 0;
    return number;
}

void path_of_fan_out(unsigned digit, char path[PATH_SIZE]) {
    snprintf(path, PATH_SIZE, OBJECTS_FOLDER "/%x", digit);
}

void path_of_object(const struct resource_id *id, char path[PATH_SIZE]) {
    char text[2 * RESOURCE_ID_SIZE + 1];
    resource_id_format(id, text);
    snprintf(path, PATH_SIZE, OBJECTS_FOLDER "/%.1s/%s", text, text + 1);
}

int report_memory(const struct store *s, struct error_list *errors) {
    disk_report(&s->disk, NULL, ERROR_MEMORY, "out of memory", errors);
    return -1;
}

int check_writable(const struct store *s, struct error_list *errors) {
    if (!s->is_uncertain)
        return 0;
    disk_report(
        &s->disk, NULL, ERROR_STATE,
        "an earlier write may or may not be stored; nothing is written until the store is opened again",
        errors);
    return -1;
}

int replace_file(struct store *s, const char *name, const struct str *parts, size_t count,
                 struct error_list *errors) {
    char temporary[PATH_SIZE];
    snprintf(temporary, sizeof temporary, TEMPORARY_FOLDER "/%s", name);
    if (disk_write_file(&s->disk, temporary, parts, count, true, errors) < 0)
        return -1;
    if (disk_rename(&s->disk, temporary, name, errors) < 0) {
        disk_remove(&s->disk, temporary, errors);
        return -1;
    }
    if (disk_sync_folder(&s->disk, ".", errors) < 0) {
        s->is_uncertain = true;
        disk_report(&s->disk, name, ERROR_IO, "may or may not be stored; open the store again", errors);
        return -1;
    }
    return 0;
}

int head_write(struct store *s, const struct head *head, struct error_list *errors) {
    Headgate__Store__Head m = HEADGATE__STORE__HEAD__INIT;
    uint8_t room[1024];
    struct arena arena;
    struct resource_id newest_hash = head->newest_hash, hash;
    struct str frame;
    m.has_lineage = m.has_newest = m.has_oldest = m.has_newest_hash = m.has_pinned = true;
    m.lineage = (ProtobufCBinaryData){LINEAGE_SIZE, s->lineage};
    m.newest = head->newest;
    m.oldest = head->oldest;
    m.newest_hash = (ProtobufCBinaryData){RESOURCE_ID_SIZE, newest_hash.bytes};
    m.pinned = head->pinned;
    m.has_whole_from = head->whole_from != head->oldest;
    m.whole_from = head->whole_from;
    arena_init(&arena, room, sizeof room, 0);
    int status = frame_encode(&arena, FRAME_HEAD, &m.base, &frame, &hash);
    status = status < 0 ? report_memory(s, errors) : replace_file(s, HEAD_FILE, &frame, 1, errors);
    arena_finish(&arena);
    if (status == 0)
        s->head = *head;
    return status;
}

static int head_from_message(const Headgate__Store__Head *m, struct head *ret_head,
                             uint8_t ret_lineage[LINEAGE_SIZE]) {
    struct head head = {.newest = m->newest, .oldest = m->oldest, .pinned = m->pinned};
    head.whole_from = m->has_whole_from ? m->whole_from : m->oldest;
    if (m->lineage.len != LINEAGE_SIZE || resource_id_from_bytes(&m->newest_hash, &head.newest_hash) < 0)
        return MESSAGE_MALFORMED;
    if (head.whole_from < head.oldest || head.whole_from > head.newest)
        return MESSAGE_MALFORMED;
    if (head.oldest > head.newest || (head.oldest == 0) != (head.newest == 0))
        return MESSAGE_MALFORMED;
    *ret_head = head;
    memcpy(ret_lineage, m->lineage.data, LINEAGE_SIZE);
    return 0;
}

int head_read(const struct store *s, struct head *ret_head, uint8_t ret_lineage[LINEAGE_SIZE],
              struct error_list *errors) {
    struct str file;
    struct frame frame;
    struct arena arena = {0};
    ProtobufCMessage *m;
    int status = disk_read_file(&s->disk, HEAD_FILE, HEAD_FILE_MAX, &file, NULL, errors);
    if (status != 0) {
        if (status > 0)
            disk_report(&s->disk, HEAD_FILE, ERROR_INTEGRITY, "missing: it names the newest version", errors);
        return -1;
    }
    status = frame_decode(FRAME_HEAD, file, &headgate__store__head__descriptor, &arena, &frame, &m);
    if (status == 0 && frame.size != file.n)
        status = MESSAGE_MALFORMED;
    if (status == 0)
        status = head_from_message((Headgate__Store__Head *)m, ret_head, ret_lineage);
    if (status == MESSAGE_MALFORMED)
        disk_report(&s->disk, HEAD_FILE, ERROR_INTEGRITY, "damaged: it names the newest version", errors);
    else if (status == MESSAGE_MEMORY)
        report_memory(s, errors);
    arena_finish(&arena);
    hg_free((void *)file.p);
    return status < 0 ? -1 : 0;
}

void format_text(const struct store *s, char text[128]) {
    char lineage[2 * LINEAGE_SIZE + 1];
    hex_encode(s->lineage, LINEAGE_SIZE, lineage);
    snprintf(text, 128, "headgate store\nformat %d\nlineage %s\n", s->format, lineage);
}
