#include "common/log.h"

#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/str.h"

static const char *log_component = "headgate";
static _Atomic int log_threshold = LOG_LEVEL_INFO;
static bool log_json;

static const char *const level_names[] = {"debug", "info", "warning", "error"};

void log_set_level(enum log_level level) {
    atomic_store(&log_threshold, (int)level);
}

void log_init(const char *component) {
    log_component = component;
    const char *form = getenv("HEADGATE_LOG"), *level = getenv("HEADGATE_LOG_LEVEL");
    log_json = form ? strcmp(form, "json") == 0 : !isatty(STDERR_FILENO);
    for (int i = 0; level && i < 4; i++)
        if (strcmp(level, level_names[i]) == 0)
            log_set_level((enum log_level)i);
}

static void add_time(struct strbuf *b) {
    struct timespec now;
    struct tm utc;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    strbuf_printf(b, "%04d-%02d-%02dT%02d:%02d:%02d.%03ldZ", utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday,
                  utc.tm_hour, utc.tm_min, utc.tm_sec, now.tv_nsec / 1000000);
}

static void add_value(struct strbuf *b, const struct log_value *v) {
    if (v->type == LOG_STR)
        strbuf_add_json(b, str_of(v->value.s ? v->value.s : ""));
    else if (v->type == LOG_INT)
        strbuf_printf(b, "%" PRId64, v->value.i);
    else
        strbuf_printf(b, "%" PRIu64, v->value.u);
}

static void format_json(struct strbuf *b, enum log_level level, const char *message,
                        const struct log_value *values) {
    strbuf_puts(b, "{\"time\":\"");
    add_time(b);
    strbuf_printf(b, "\",\"level\":\"%s\",\"component\":\"%s\",\"message\":", level_names[level],
                  log_component);
    strbuf_add_json(b, str_of(message));
    for (; values->type != LOG_END; values++) {
        strbuf_printf(b, ",\"%s\":", values->key);
        add_value(b, values);
    }
    strbuf_puts(b, "}\n");
}

static void format_text(struct strbuf *b, enum log_level level, const char *message,
                        const struct log_value *values) {
    add_time(b);
    strbuf_printf(b, " %-7s %s: %s", level_names[level], log_component, message);
    for (; values->type != LOG_END; values++) {
        strbuf_printf(b, " %s=", values->key);
        add_value(b, values);
    }
    strbuf_putc(b, '\n');
}

/* Whether a write would not wait. A pipe that is writable has room for PIPE_BUF bytes, a socket for more. */
static bool has_room(void) {
    struct pollfd output = {.fd = STDERR_FILENO, .events = POLLOUT};
    return poll(&output, 1, 0) == 1 && (output.revents & POLLOUT);
}

/* A plain file takes every line, whole. */
static bool write_line(char *line, size_t size) {
    struct stat st;
    bool is_file = fstat(STDERR_FILENO, &st) == 0 && S_ISREG(st.st_mode);
    if (!is_file && !has_room())
        return false;
    if (!is_file && size > PIPE_BUF) {
        size = PIPE_BUF;
        line[size - 1] = '\n';
    }
    return write(STDERR_FILENO, line, size) >= 0;
}

static bool write_record(enum log_level level, const char *message, const struct log_value *values) {
    struct strbuf line = {0};
    if (log_json)
        format_json(&line, level, message, values);
    else
        format_text(&line, level, message, values);
    bool is_written = !line.failed && write_line(line.p, line.n);
    strbuf_finish(&line);
    return is_written;
}

void log_write(enum log_level level, const char *message, const struct log_value *values) {
    /* Otherwise two threads could find the same room. */
    static pthread_mutex_t writing = PTHREAD_MUTEX_INITIALIZER;
    static uint64_t dropped;
    if ((int)level < atomic_load_explicit(&log_threshold, memory_order_relaxed))
        return;
    pthread_mutex_lock(&writing);
    if (dropped && write_record(LOG_LEVEL_WARNING, "records before this one were dropped",
                                LOG_VALUES(LOG_U("count", dropped))))
        dropped = 0;
    if (!write_record(level, message, values))
        dropped++;
    pthread_mutex_unlock(&writing);
}
