/* frame_script.h — frames written as text, for tests: words separated by spaces, each TYPE FLAGS @ID PAYLOAD.
 *
 * TYPE is a name (below) or x and two hexadecimal digits. FLAGS are letters: e END_STREAM, a ACK, h END_HEADERS, p PADDED,
 * P PRIORITY. PAYLOAD is =HEX or *COUNT (zero bytes), or nothing. A first word "preface" is the preface of a client.
 *   "preface settings headers+eh@1=828684 data+e@1*100 rst@1=00000008" */
#pragma once

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/str.h"

static inline int script_type(const char *name, size_t n) {
    static const char *const names[] = {"data", "headers", "priority", "rst", "settings", "push", "ping", "goaway", "window",
                                        "continuation"};
    for (int i = 0; i < (int)(sizeof names / sizeof *names); i++)
        if (strlen(names[i]) == n && memcmp(names[i], name, n) == 0)
            return i;
    if (n == 6 && memcmp(name, "update", 6) == 0)
        return 0x10;
    return n == 3 && *name == 'x' ? (int)strtol(name + 1, NULL, 16) : -1;
}

static inline unsigned script_flag(char letter) {
    switch (letter) {
    case 'e':
    case 'a': return 1;
    case 'h': return 4;
    case 'p': return 8;
    case 'P': return 0x20;
    default: abort();
    }
}

static inline size_t script_payload(const char *p, size_t n, uint8_t *at) {
    size_t size = 0;
    if (n && *p == '*') {
        size = (size_t)strtoul(p + 1, NULL, 10);
        memset(at, 0, size);
    } else if (n && *p == '=') {
        for (unsigned byte; size < (n - 1) / 2 && sscanf(p + 1 + 2 * size, "%2x", &byte) == 1; size++)
            at[size] = (uint8_t)byte;
    }
    return size;
}

static inline void script_frame(struct strbuf *out, const char *word, size_t n) {
    static uint8_t payload[1 << 21];
    size_t name = strcspn(word, "+@=* "), at = name;
    unsigned flags = 0;
    if (word[at] == '+')
        while (at++, strchr("eahpP", word[at]) && word[at])
            flags |= script_flag(word[at]);
    uint32_t id = word[at] == '@' ? (uint32_t)strtoul(word + at + 1, NULL, 10) : 0;
    at += strcspn(word + at, "=* ");
    int type = script_type(word, name);
    size_t size = script_payload(word + at, at < n ? n - at : 0, payload);
    if (type < 0)
        abort();
    const uint8_t head[9] = {(uint8_t)(size >> 16), (uint8_t)(size >> 8), (uint8_t)size, (uint8_t)type, (uint8_t)flags,
                             (uint8_t)(id >> 24), (uint8_t)(id >> 16), (uint8_t)(id >> 8), (uint8_t)id};
    strbuf_add(out, head, sizeof head);
    strbuf_add(out, payload, size);
}

/* Appends the bytes. */
static inline void script_bytes(struct strbuf *out, const char *script) {
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    while (*script) {
        size_t n = strcspn(script, " ");
        if (n == 7 && memcmp(script, "preface", 7) == 0)
            strbuf_add(out, preface, sizeof preface - 1);
        else if (n)
            script_frame(out, script, n);
        script += n + (script[n] == ' ');
    }
}
