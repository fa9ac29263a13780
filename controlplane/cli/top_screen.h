/* top_screen.h — a view as lines for a terminal. No I/O. Thread: any. */
#pragma once

#include "controlplane/cli/top_rates.h"

struct top_screen {
    unsigned       width, height;      /* height 0: all lines */
    size_t         first;              /* cluster that is shown first; corrected where it is beyond the end */
    enum top_order order;
    bool           has_colour, has_keys; /* the second: say which there are */
    const char    *trouble;            /* NULL: none */
};

/* Lines without control characters but colours, each at most `width` characters and at most `height` lines, with '\n'.
 * Columns that do not fit are left out from the right. */
void top_screen_render(struct top_screen *s, const struct top_view *v, struct strbuf *out);
