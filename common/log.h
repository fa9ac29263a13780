/* log.h — structured log of the daemons on standard error.
 *
 * One record is one line: time, level, component, message, then key/value pairs. Text for a terminal, JSON
 * otherwise (or as HEADGATE_LOG=text|json says; HEADGATE_LOG_LEVEL=debug|info|warning|error). Not for the
 * request path: access records have their own writer. Thread: any; a record is one write(2).
 *
 * Nobody waits for who reads a pipe or a socket: what that holds (64 kB, unless it was set otherwise) is the reader's time.
 * Beyond it records are dropped and counted; before the next one that is written their number is told. A record is cut to
 * PIPE_BUF bytes there, so that none is mixed with another process's. Where such a process takes the last room in the same
 * moment, a write may still wait. */
#pragma once

#include <stdint.h>

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARNING, LOG_LEVEL_ERROR };

/* Call once at the start; `component` is kept ("dataplane", "holder", ...). */
void log_init(const char *component);
void log_set_level(enum log_level level);

enum log_value_type { LOG_END, LOG_STR, LOG_INT, LOG_UINT };
struct log_value {
    const char         *key;
    enum log_value_type type;
    union {
        const char *s;
        int64_t     i;
        uint64_t    u;
    } value;
};

#define LOG_S(k, v) ((struct log_value){.key = (k), .type = LOG_STR, .value.s = (v)})
#define LOG_I(k, v) ((struct log_value){.key = (k), .type = LOG_INT, .value.i = (v)})
#define LOG_U(k, v) ((struct log_value){.key = (k), .type = LOG_UINT, .value.u = (v)})

void log_write(enum log_level level, const char *message, const struct log_value *values);

/* log_info("listener bound", LOG_S("name", name), LOG_U("workers", n)); */
#define LOG_VALUES(...) ((const struct log_value[]){__VA_ARGS__ __VA_OPT__(, )(struct log_value){0}})
#define log_debug(message, ...) log_write(LOG_LEVEL_DEBUG, message, LOG_VALUES(__VA_ARGS__))
#define log_info(message, ...) log_write(LOG_LEVEL_INFO, message, LOG_VALUES(__VA_ARGS__))
#define log_warning(message, ...) log_write(LOG_LEVEL_WARNING, message, LOG_VALUES(__VA_ARGS__))
#define log_error(message, ...) log_write(LOG_LEVEL_ERROR, message, LOG_VALUES(__VA_ARGS__))
