/* Stage 1: where a head ends. See parser.h. */
#include "dataplane/codec/h1/bytes.h"
#include "dataplane/codec/h1/lines.h"
#include "dataplane/codec/h1/parser.h"

/* What a start line may hold beside its target: method, two spaces, version, and some room to see what else is wrong. */
enum { START_LINE_REST = H1_METHOD_MAX + 32 };

static enum h1_scan_result fail(struct h1_scan *s, enum h1_error error) {
    s->error = error;
    return H1_SCAN_ERROR;
}

/* Limits are checked in the order of the bytes and before anything that stands behind them, so that the outcome is the
 * same however the bytes were split. */
static enum h1_error check_size(const struct h1_scan *s, const struct h1_limits *limits, size_t at) {
    if (s->section == H1_REQUEST && s->lines == 0 && at - s->line > (size_t)limits->uri_bytes + START_LINE_REST)
        return H1_TARGET_TOO_LONG;
    if (s->section == H1_TRAILERS)
        return at > (size_t)limits->trailer_bytes + 2 ? H1_TRAILER_TOO_LARGE : H1_OK;
    return at - s->start > limits->header_bytes ? H1_HEAD_TOO_LARGE : H1_OK;
}

/* Before this place check_size() finds nothing on the present line. */
static size_t size_bound(const struct h1_scan *s, const struct h1_limits *limits) {
    if (s->section == H1_TRAILERS)
        return (size_t)limits->trailer_bytes + 2;
    size_t whole = (size_t)s->start + limits->header_bytes;
    size_t line = (size_t)s->line + limits->uri_bytes + START_LINE_REST;
    return s->section == H1_REQUEST && s->lines == 0 && line < whole ? line : whole;
}

/* The first byte of a line tells whether it can be one. */
static enum h1_error check_first_byte(const struct h1_scan *s, char c) {
    if (h1_is_token_byte(c))
        return H1_OK;
    if (c == '\r')
        return H1_OK; /* the end, or an empty line: for take_line to judge */
    bool is_start_line = s->lines == 0 && s->section != H1_TRAILERS;
    if (!is_start_line && (c == ' ' || c == '\t'))
        return H1_OBS_FOLD;
    if (field_is_control(c))
        return c == '\n' ? H1_BARE_LF : H1_CONTROL_BYTE;
    return is_start_line ? H1_START_LINE : H1_FIELD_NAME;
}

static enum h1_error control_error(char c) {
    return c == '\n' ? H1_BARE_LF : H1_CONTROL_BYTE;
}

/* A line has ended at `next`, one past its LF. */
static enum h1_scan_result take_line(struct h1_scan *s, const struct h1_limits *limits, size_t next) {
    bool is_empty = next - s->line == 2;
    if (is_empty && (s->lines > 0 || s->section == H1_TRAILERS)) {
        s->end = (uint32_t)next;
        return H1_SCAN_DONE;
    }
    if (is_empty && (s->section == H1_RESPONSE || s->start > 0))
        return fail(s, H1_EMPTY_LINES);
    if (is_empty)
        s->start = (uint32_t)next;
    else
        s->lines++;
    s->line = (uint32_t)next;
    uint32_t start_lines = s->section == H1_TRAILERS ? 0 : 1;
    if (s->lines > start_lines && s->lines - start_lines > limits->headers)
        return fail(s, H1_TOO_MANY_FIELDS);
    return H1_SCAN_MORE;
}

/* Walks the control bytes from s->looked on. On MORE, s->looked is where to go on; a CR at the very end waits for its LF. */
static enum h1_scan_result walk(struct h1_scan *s, const struct h1_limits *limits, const char *bytes, size_t n) {
    enum h1_error error;
    size_t bound = size_bound(s, limits);
    for (;;) {
        if (s->looked == s->line && s->looked < n && (error = check_first_byte(s, bytes[s->looked])))
            return fail(s, error);
        size_t at = (size_t)(field_find_control(bytes + s->looked, bytes + n) - bytes);
        s->looked = (uint32_t)at;
        if (at > bound)
            return fail(s, check_size(s, limits, at));
        if (at == n)
            return H1_SCAN_MORE;
        if (bytes[at] == '\t') {
            s->looked++;
            continue;
        }
        if (bytes[at] != '\r')
            return fail(s, control_error(bytes[at]));
        if (at + 2 > bound) /* the LF needs room too */
            return fail(s, check_size(s, limits, at + 2));
        if (at + 1 == n)
            return H1_SCAN_MORE;
        if (bytes[at + 1] != '\n')
            return fail(s, H1_BARE_CR);
        s->looked = (uint32_t)at + 2;
        enum h1_scan_result result = take_line(s, limits, at + 2);
        if (result != H1_SCAN_MORE)
            return result;
        bound = size_bound(s, limits);
    }
}

/* A start line that came whole, with the head still incomplete or wrong behind it, is looked at on its own: what is not
 * HTTP is refused at once, and its error comes before those of later lines. */
static enum h1_scan_result check_start_line(struct h1_scan *s, const struct h1_limits *limits, const char *bytes,
                                            enum h1_scan_result result) {
    if (s->checked || s->lines == 0 || s->section == H1_TRAILERS)
        return result;
    s->checked = true;
    const char *line = bytes + s->start;
    const char *end = memchr(line, '\r', s->line - s->start);
    struct head scratch;
    head_init(&scratch);
    enum h1_error error = s->section == H1_REQUEST ? h1_read_request_line(line, end, limits, &scratch)
                                                   : h1_read_status_line(line, end, &scratch);
    return error ? fail(s, error) : result;
}

size_t h1_guess_head(const struct h1_limits *limits, const char *bytes, size_t n) {
    size_t room = n < limits->header_bytes ? n : limits->header_bytes;
    const char *end = bytes + room, *at = bytes;
    if (n == 0 || !h1_is_token_byte(bytes[0]))
        return 0;
    for (; end - at >= 4 && (at = memchr(at, '\r', (size_t)(end - at) - 3)); at++)
        if (memcmp(at, "\r\n\r\n", 4) == 0)
            return (size_t)(at + 4 - bytes);
    return 0;
}

bool h1_judge_guess(enum h1_section section, const struct h1_limits *limits, const char *bytes, size_t n,
                    enum h1_error *error) {
    struct h1_scan scan = {.section = section};
    if (*error == H1_MEMORY || h1_scan_head(&scan, limits, bytes, n) != H1_SCAN_ERROR)
        return false;
    *error = scan.error;
    return true;
}

enum h1_scan_result h1_scan_head(struct h1_scan *s, const struct h1_limits *limits, const char *bytes, size_t n) {
    if (s->error)
        return H1_SCAN_ERROR;
    if (n > UINT32_MAX / 2)
        return fail(s, H1_HEAD_TOO_LARGE);
    enum h1_scan_result result = walk(s, limits, bytes, n);
    return result == H1_SCAN_DONE ? result : check_start_line(s, limits, bytes, result);
}
