#include "dataplane/codec/h1/bytes.h"

#define T(c) [c] = c
#define U(c) [c] = (c) | 0x20

const uint8_t h1_token_lower[256] = {
    T('!'), T('#'), T('$'), T('%'), T('&'), T('\''), T('*'), T('+'), T('-'), T('.'), T('^'), T('_'), T('`'), T('|'), T('~'),
    T('0'), T('1'), T('2'), T('3'), T('4'), T('5'), T('6'), T('7'), T('8'), T('9'),
    T('a'), T('b'), T('c'), T('d'), T('e'), T('f'), T('g'), T('h'), T('i'), T('j'), T('k'), T('l'), T('m'),
    T('n'), T('o'), T('p'), T('q'), T('r'), T('s'), T('t'), T('u'), T('v'), T('w'), T('x'), T('y'), T('z'),
    U('A'), U('B'), U('C'), U('D'), U('E'), U('F'), U('G'), U('H'), U('I'), U('J'), U('K'), U('L'), U('M'),
    U('N'), U('O'), U('P'), U('Q'), U('R'), U('S'), U('T'), U('U'), U('V'), U('W'), U('X'), U('Y'), U('Z'),
};

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
