/* terminal.h — the whole screen of a terminal for a while: keys at once, no echo, and everything as it was afterwards,
 * also after SIGINT, SIGTERM and SIGHUP. Thread: main; one at a time. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <termios.h>

#include "common/str.h"

struct terminal {
    struct termios before;
    bool           is_open;
    char           pending[8];          /* an escape sequence that has not come to its end */
    size_t         pending_count;
};

enum terminal_key {
    KEY_NONE,        /* the time is up */
    KEY_OTHER,
    KEY_UP, KEY_DOWN, KEY_PAGE_UP, KEY_PAGE_DOWN, KEY_HOME, KEY_END,
    KEY_RESIZED,     /* the window has another size */
    KEY_ENDED,       /* a signal, or the terminal is gone */
    KEY_FIRST_CHARACTER = 256, /* + the character */
};

/* 0, or -1: standard input and output are not both a terminal. */
int  terminal_open(struct terminal *t);
/* Puts everything back; also of one that is not open. */
void terminal_close(struct terminal *t);
/* Of standard output; 80 and 24 where it does not say. */
void terminal_size(unsigned *ret_width, unsigned *ret_height);
/* Waits for a key, at most so long. */
int  terminal_key(struct terminal *t, uint64_t timeout_us);
/* Shows these lines, and nothing else. */
void terminal_show(const struct strbuf *lines);
