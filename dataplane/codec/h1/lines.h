/* lines.h — the lines of a head, each by itself. Internal to the codec: parser.h is what others use. Thread: any. */
#pragma once

#include "dataplane/codec/h1/parser.h"

/* A start line without its CRLF. These change no byte and take no memory. The request line sets method,
 * method_text, target, form, version and, for TARGET_ORIGIN, path and query; the authority of the other
 * forms is not looked at. */
enum h1_error h1_read_request_line(const char *line, const char *end, const struct h1_limits *limits, struct head *head);
enum h1_error h1_read_status_line(const char *line, const char *end, struct head *head);

/* The field lines from p up to and with the empty line that ends at `end`. Names become lower-case in place. */
struct h1_field_section {
    struct arena  *arena;
    struct fields *fields;
    uint32_t       limit;    /* number of fields */
    uint64_t       seen;     /* FIELD_BIT() of what came, */
    uint64_t       repeated; /* and of what came more than once */
};
enum h1_error h1_read_fields(char *p, char *end, struct h1_field_section *section);
