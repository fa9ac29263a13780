/* records_private.h — the inside of records.c, for kernel_records.c. */
#pragma once

#include "dataplane/tls/keys.h"
#include "dataplane/tls/records.h"

enum {
    CONTENT_MAX = 16384,                       /* RFC 8446 section 5.1 */
    RECORD_OVERHEAD = RECORD_HEADER + 1 + TAG_SIZE,
    KEY_UPDATE_SIZE = 5,
    REKEY_AT = 1 << 24,                        /* records under one key, section 5.5 */
};

enum content_type { CONTENT_ALERT = 21, CONTENT_HANDSHAKE = 22, CONTENT_DATA = 23 };

struct records {
    struct traffic_keys read, write;           /* in the kernel: of `write` only the secret, and our count of records */
    const EVP_MD       *digest;
    uint8_t             header[RECORD_HEADER]; /* of a record that came in part */
    uint8_t             header_n;
    uint8_t             message[KEY_UPDATE_SIZE];
    uint8_t             message_n;             /* of a handshake message that came in part */
    uint8_t             idle_messages;
    bool                owes_update;           /* the peer asked us to update our key */
    bool                is_in_kernel;          /* the kernel makes the records that we send */
    bool                was_offered;           /* to the kernel: once is enough */
    bool                is_settled;            /* in the kernel: all of it was seen to be with TCP */
    uint8_t            *body;                  /* of a record that came in part */
    uint32_t            body_n;
    uint8_t            *rest;                  /* decrypted, and not yet taken */
    uint32_t            rest_at, rest_n;
    /* In the kernel: after N records of this key, with wire_content bytes in them, TCP's stream is at
     * wire_base + N * RECORD_OVERHEAD + wire_content. */
    uint64_t            wire_base, wire_content;
};

/* The message: our key changes, the peer's need not. */
extern const uint8_t records_key_update[KEY_UPDATE_SIZE];
