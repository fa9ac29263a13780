/* cases.h — translations as a file of texts: what a server sends, and what it becomes or why not. HEADGATE_UPDATE=1 writes
 * what comes out into the file.
 *
 *   === what it is about
 *   name: r
 *   --->
 *   name: r */
#pragma once

#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/controlplane/xds/translate/translating.h"

/* Every input in turn; what comes out is compared, or written. Returns how many there are. */
static inline size_t check_cases(const char *path, const struct translating *t) {
    struct strbuf text = {0}, found = {0};
    size_t count = 0;
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    for (int c; (c = fgetc(file)) != EOF;)
        strbuf_putc(&text, (char)c);
    fclose(file);
    struct str rest = strbuf_str(&text);
    const char *at = rest.p;
    while (at && (at = strstr(at, "=== "))) {
        const char *end = strchr(at, '\n'), *arrow = strstr(at, "\n--->\n"), *next = strstr(at, "\n=== ");
        assert_true(end && arrow && (!next || arrow < next));
        char *yaml = hg_strndup(end + 1, arrow > end ? (size_t)(arrow - end) : 0);
        char *out = translated(t, yaml);
        strbuf_printf(&found, "%s%.*s\n--->\n%s", count ? "\n" : "", (int)(arrow - at), at, out);
        hg_free(yaml);
        hg_free(out);
        count++;
        at = next ? next + 1 : NULL;
    }
    if (getenv("HEADGATE_UPDATE")) {
        file = fopen(path, "w");
        assert_non_null(file);
        fputs(strbuf_str(&found).p, file);
        fclose(file);
    } else {
        assert_string_equal(strbuf_str(&found).p, strbuf_str(&text).p);
    }
    strbuf_finish(&text);
    strbuf_finish(&found);
    return count;
}
