/* resource.h — resources and manifests: kinds, identity, hashing, strict decoding. Exactly what both planes
 * must agree on.
 *
 * Thread: any, nothing is shared. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

#include "common/arena.h"
#include "common/error.h"
#include "common/str.h"
#include "proto/resources.pb-c.h"
#include "proto/snapshot.pb-c.h"

enum {
    SCHEMA_LEVEL = 17,            /* raised by every new kind, field or enum value in resources.proto */
    RESOURCE_ID_SIZE = 32,        /* SHA-256 */
    LINEAGE_SIZE = 16,
    RESOURCE_NAME_MAX = 253,
    RESOURCE_BYTES_MAX = 64 << 20,/* one encoded resource */
    MESSAGE_MAX = 4 << 20,        /* one message on the channel; senders cut at half of it */
    RESOURCES_MAX = 1 << 20,      /* entries of one manifest */
};

struct resource_id {
    uint8_t bytes[RESOURCE_ID_SIZE];
};

/* "listener", "route-table", ...; NULL for a kind that this build does not know. */
const char *kind_name(Headgate__Kind kind);
/* The kind of that name, or KIND_UNSPECIFIED. */
Headgate__Kind kind_from_name(struct str name);
/* The message type of a kind, or NULL. */
const ProtobufCMessageDescriptor *kind_descriptor(Headgate__Kind kind);
/* All known kinds in order; *ret_count is their number. */
const Headgate__Kind *kind_all(size_t *ret_count);

/* Letters, digits and - _ . : / @ *, one to RESOURCE_NAME_MAX bytes. */
bool resource_name_is_valid(struct str name);

/* SHA-256 of the bytes. Returns 0, or -1 when the library fails (memory). */
int resource_id_of(const void *bytes, size_t size, struct resource_id *ret);
bool resource_id_equal(const struct resource_id *a, const struct resource_id *b);
/* 64 lower-case hex digits and a NUL. */
void resource_id_format(const struct resource_id *id, char text[2 * RESOURCE_ID_SIZE + 1]);
/* From a bytes field of a message; -1 when it has another length. */
int resource_id_from_bytes(const ProtobufCBinaryData *bytes, struct resource_id *ret);

/* Decodes and checks one resource: well-formed, no unknown field, no unknown enum value, no nesting beyond
 * 32, within RESOURCE_BYTES_MAX. Every fault is added to `errors` with resource ("cluster/web") and field
 * path. Does not check what needs other resources or libraries (references, regular expressions). Returns the
 * message, to be freed with protobuf_c_message_free_unpacked(m, NULL), or NULL. */
ProtobufCMessage *resource_decode(Headgate__Kind kind, struct str name, const void *bytes, size_t size,
                                  struct error_list *errors);
/* The same into arena memory, which has the message's as long as it lives. NULL `arena`: into the heap, as above. */
ProtobufCMessage *resource_decode_into(struct arena *arena, Headgate__Kind kind, struct str name, const void *bytes,
                                       size_t size, struct error_list *errors);
/* Encodes; the bytes are the caller's (hg_free). Returns 0 or -1 (memory). */
int resource_encode(const ProtobufCMessage *m, uint8_t **ret_bytes, size_t *ret_size);

/* The strictness of resource_decode for any message, e.g. one that came over the channel: unknown fields and
 * enum values anywhere are added to `errors` with the path below `path`. Returns the number of faults. */
size_t message_check_known(const ProtobufCMessage *m, const char *resource, const char *path,
                           struct error_list *errors);

/* ---- manifests: sorted lists of entries ---- */

/* One entry of a list, whatever it is kept in. */
struct entry_key {
    Headgate__Kind kind;
    const char    *name;
    const uint8_t *id;                  /* RESOURCE_ID_SIZE bytes */
};

/* Order of manifests: kind, then name in byte order. */
int entry_compare(const Headgate__Entry *a, const Headgate__Entry *b);
int entry_key_compare(const struct entry_key *a, const struct entry_key *b);
/* Lists are hashed by groups, so that a change of one entry among many need not hash the others again. A group begins with
 * the first entry, and with each whose XXH64 of the name, seeded with the kind, is divisible by 32. */
bool entry_begins_group(const struct entry_key *key);

/* The hash of one group: SHA-256 over, for each entry, kind as 4 bytes big-endian, length of the name as 4 bytes big-endian,
 * name, id. */
struct entry_hasher {
    struct evp_md_ctx_st *digest;
    struct entry_key      last;         /* name NULL: none yet */
    size_t                count;        /* of bytes that wait: a call for each small piece takes longer than the hashing */
    uint8_t               bytes[4096];
};

/* Each 0, or -1 when the library fails; adding refuses (-1) what does not come after the last, whose name must still be
 * there. To be ended in any case. */
int entry_hasher_begin(struct entry_hasher *h);
int entry_hasher_add(struct entry_hasher *h, const struct entry_key *key);
int entry_hasher_end(struct entry_hasher *h, struct resource_id *ret);

/* The hash of a list: SHA-256 over the hashes of its groups. Refuses (-1) lists that are not strictly sorted or have ids of
 * another size, and failures of memory or library. */
int manifest_hash(Headgate__Entry *const *entries, size_t count, struct resource_id *ret);
/* 1: `hash` is that of the list, or the one of schema levels up to 4, which is that of one group of all; 0: it is another's;
 * -1 as above. */
int manifest_hash_matches(Headgate__Entry *const *entries, size_t count, const struct resource_id *hash);
