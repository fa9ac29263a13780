/* chunked.h — the chunked transfer coding (RFC 9112 section 7.1), strictly.
 *
 * Incremental: bytes in, spans of data out; data is never copied. A size is 1 to 16 hexadecimal digits and fits 63 bits.
 * Extensions are checked against the grammar, without the optional white space around ";" and "=", and dropped. Every line
 * ends in exactly CRLF. Thread: one at a time.
 *
 * Bounds: the extensions of a chunk take at most CHUNK_EXTENSION_MAX bytes. Of a size line, 16 bytes + twice the data of its
 * chunk are free; what goes beyond adds up, is paid back by chunks that take less, and may reach
 * CHUNK_OVERHEAD_MAX. So a body of d bytes in k chunks is at most 3d + 16k + 16 KiB long. The trailer section
 * has limits->trailer_bytes and limits->headers. */
#pragma once

#include "dataplane/codec/h1/parser.h"

enum { CHUNK_EXTENSION_MAX = 256, CHUNK_OVERHEAD_MAX = 16384, CHUNK_SIZE_LINE_MAX = 18 };

enum chunked_state {
    CHUNKED_SIZE,
    CHUNKED_EXTENSION,
    CHUNKED_SIZE_LF,
    CHUNKED_IN_DATA,
    CHUNKED_DATA_CR,
    CHUNKED_DATA_LF,
    CHUNKED_TRAILERS,
    CHUNKED_DONE,
    CHUNKED_FAILED,
};

struct chunked {
    enum chunked_state      state;
    enum h1_error           error;
    uint64_t                left;      /* data bytes of this chunk still to come; the size while it is read */
    uint32_t                overhead;  /* see above */
    uint16_t                extension_bytes;
    uint8_t                 digits;
    uint8_t                 extension; /* where in the grammar of extensions */
    const struct h1_limits *limits;
    struct arena           *arena;
    struct h1_scan          scan;      /* of the trailer section */
    char                   *held;      /* what came of it so far */
    uint32_t                held_bytes, held_capacity;
    struct fields           trailers;  /* after CHUNKED_EVENT_END; names that RFC 9110 section 6.5.1 forbids are left out */
};

enum chunked_event {
    CHUNKED_EVENT_MORE, /* all input is used and nothing came of it */
    CHUNKED_EVENT_DATA, /* *ret_data lies inside the input; never empty */
    CHUNKED_EVENT_END, /* the message is complete; chunked->trailers is set; the rest of the input belongs to the next one */
    CHUNKED_EVENT_ERROR, /* chunked->error: answer and close */
};

/* `limits` and `arena` stay as long as the decoder; `arena` is touched by a trailer section only. */
void chunked_init(struct chunked *chunked, const struct h1_limits *limits, struct arena *arena);
/* Reads on; *ret_used is how much of the input has been taken (a data span is taken as a whole). Call again with the rest
 * until MORE, END or ERROR. After END and ERROR further calls repeat the event and take nothing. */
enum chunked_event chunked_next(struct chunked *chunked, const char *bytes, size_t n, size_t *ret_used,
                                struct str *ret_data);

/* Writes "1f4\r\n" into out and returns its length. What follows the data is "\r\n"; the last chunk is "0\r\n" + trailers +
 * "\r\n". */
size_t chunked_write_size(uint64_t size, char out[CHUNK_SIZE_LINE_MAX]);
