#include "dataplane/codec/h1/bytes.h"

enum { ALL = H1_TARGET_BYTE | H1_QUOTED_BYTE | H1_TEXT_BYTE, TEXT = H1_QUOTED_BYTE | H1_TEXT_BYTE };

/* The ranges are GNU C, known to gcc and clang. */
const uint8_t h1_byte_class[256] = {
    ['\t'] = TEXT,
    [' '] = TEXT,
    ['!'] = ALL,
    ['"'] = H1_TARGET_BYTE | H1_TEXT_BYTE,
    ['#'] = TEXT,
    ['$' ... '['] = ALL,
    ['\\'] = H1_TARGET_BYTE | H1_TEXT_BYTE,
    [']' ... '~'] = ALL,
    [0x80 ... 0xff] = TEXT,
};
