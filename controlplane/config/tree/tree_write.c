#include <ctype.h>
#include <stdlib.h>

#include "controlplane/config/tree/tree.h"

enum { FLOW_WIDTH = 76, FLOW_HEIGHT = 2, INDENT = 2 };

/* ---- scalars ---- */

/* What YAML 1.2 or 1.1 reads as something else than text, so that older readers agree, too. */
static bool looks_like_no_text(struct str text) {
    static const char *const words[] = {"",  "~",  "null", "true", "false", "yes", "no",
                                        "y", "n",  "on",   "off",  ".inf",  "-.inf", ".nan"};
    char *end;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (str_eq_nocase(text, str_of(words[i])))
            return true;
    if (!isdigit((unsigned char)text.p[0]) && !strchr("+-.", text.p[0]))
        return false;
    (void)strtod(text.p, &end);
    return end == text.p + text.n || str_starts(text, STR("0x")) || str_starts(text, STR("0o"));
}

/* Its characters need no quotes anywhere, also not inside of [] and {}. */
static bool has_plain_characters(struct str text) {
    if (text.n == 0 || !(isalnum((unsigned char)text.p[0]) || (text.p[0] && strchr("/_.", text.p[0]))))
        return false;
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        bool is_inner_colon = c == ':' && i + 1 < text.n && isalnum((unsigned char)text.p[i + 1]);
        if (!isalnum((unsigned char)c) && !is_inner_colon && !(c && strchr("_-./@+=~^()", c)))
            return false;
    }
    return true;
}

static unsigned code_point(const char *p, size_t n) {
    unsigned code = (unsigned char)p[0] & (n == 1 ? 0x7fu : 0x7fu >> n);
    for (size_t i = 1; i < n; i++)
        code = code << 6 | ((unsigned char)p[i] & 0x3f);
    return code;
}

/* Code points that YAML does not take as they are, or reads as line ends. */
static bool must_escape(unsigned code) {
    return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0x2028 || code == 0x2029 || code == 0xfeff ||
           code == 0xfffe || code == 0xffff;
}

static void add_escape(unsigned code, struct strbuf *out) {
    switch (code) {
    case '\n': strbuf_puts(out, "\\n"); break;
    case '\t': strbuf_puts(out, "\\t"); break;
    case '\r': strbuf_puts(out, "\\r"); break;
    default: strbuf_printf(out, "\\u%04x", code);
    }
}

/* Quoted so that YAML and JSON read it alike. "${" is escaped in a value, where it would be a variable; a key is never
 * expanded. */
static void add_quoted(struct str text, bool is_value, struct strbuf *out) {
    strbuf_putc(out, '"');
    for (size_t i = 0; i < text.n;) {
        size_t n = utf8_length(text.p + i, text.n - i);
        unsigned code = n ? code_point(text.p + i, n) : 0xfffd;
        if (code == '"' || code == '\\')
            strbuf_printf(out, "\\%c", (char)code);
        else if (n == 0 || must_escape(code))
            add_escape(code, out);
        else {
            if (is_value && code == '$' && i + 1 < text.n && text.p[i + 1] == '{')
                strbuf_putc(out, '$');
            strbuf_add(out, text.p + i, n);
        }
        i += n ? n : 1;
    }
    strbuf_putc(out, '"');
}

static void add_scalar(const struct tree_node *node, struct strbuf *out) {
    if (node->is_quoted && (!has_plain_characters(node->text) || looks_like_no_text(node->text)))
        add_quoted(node->text, true, out);
    else
        strbuf_add_str(out, node->text);
}

/* A key is text whatever it looks like ("on"). */
static void add_key(struct str key, struct strbuf *out) {
    if (has_plain_characters(key))
        strbuf_add_str(out, key);
    else
        add_quoted(key, false, out);
}

/* ---- YAML ---- */

static void write_flow_items(const struct tree_node *node, struct strbuf *out) {
    for (const struct tree_item *i = node->first; i; i = i->next) {
        if (i != node->first)
            strbuf_puts(out, ", ");
        if (i->key.p) {
            add_key(i->key, out);
            strbuf_puts(out, ": ");
        }
        tree_write_flow(i->node, out);
    }
}

void tree_write_flow(const struct tree_node *node, struct strbuf *out) {
    if (node->type == TREE_SCALAR) {
        add_scalar(node, out);
        return;
    }
    strbuf_putc(out, node->type == TREE_LIST ? '[' : '{');
    write_flow_items(node, out);
    strbuf_putc(out, node->type == TREE_LIST ? ']' : '}');
}

/* Whether the node is small and shallow enough for one line; *left is the width that remains, estimated. */
static bool fits(const struct tree_node *node, unsigned height, size_t *left) {
    if (node->type != TREE_SCALAR && height == 0 && node->first)
        return false;
    size_t own = node->text.n + 2;
    if (own > *left)
        return false;
    *left -= own;
    for (const struct tree_item *i = node->first; i; i = i->next) {
        size_t key = i->key.n + 2;
        if (key > *left)
            return false;
        *left -= key;
        if (!fits(i->node, height - 1, left))
            return false;
    }
    return true;
}

static bool is_one_line(const struct tree_node *node) {
    size_t left = FLOW_WIDTH;
    return node->type == TREE_SCALAR || !node->first || fits(node, FLOW_HEIGHT, &left);
}

static void write_block(const struct tree_node *node, unsigned indent, bool is_begun, struct strbuf *out);

static void add_indent(unsigned indent, struct strbuf *out) {
    for (unsigned i = 0; i < indent; i++)
        strbuf_putc(out, ' ');
}

/* A list of things with names is what people look through: each key gets its line. */
static bool has_names(const struct tree_node *node) {
    const struct tree_node *first = node->type == TREE_LIST && node->first ? node->first->node : NULL;
    return first && first->type == TREE_MAP && tree_find(first, "name");
}

static void write_value(const struct tree_node *node, unsigned indent, bool is_top, struct strbuf *out) {
    if (is_one_line(node) && !(is_top && has_names(node))) {
        strbuf_putc(out, ' ');
        tree_write_flow(node, out);
        strbuf_putc(out, '\n');
    } else {
        strbuf_putc(out, '\n');
        write_block(node, indent + INDENT, false, out);
    }
}

static void write_list_item(const struct tree_node *node, unsigned indent, bool is_spread, struct strbuf *out) {
    strbuf_puts(out, "-");
    bool is_block_map = node->type == TREE_MAP && node->first && (is_spread || node->count == 1 || !is_one_line(node));
    if (is_block_map) {
        strbuf_putc(out, ' ');
        write_block(node, indent + INDENT, true, out);
    } else {
        write_value(node, indent, false, out);
    }
}

/* `is_begun`: the first line's indentation is already there. */
static void write_block(const struct tree_node *node, unsigned indent, bool is_begun, struct strbuf *out) {
    bool is_spread = indent == INDENT && has_names(node);
    for (const struct tree_item *i = node->first; i; i = i->next) {
        if (!is_begun)
            add_indent(indent, out);
        is_begun = false;
        if (!i->key.p) {
            write_list_item(i->node, indent, is_spread, out);
            continue;
        }
        add_key(i->key, out);
        strbuf_putc(out, ':');
        write_value(i->node, indent, indent == 0, out);
    }
}

void tree_write_yaml(const struct tree_node *node, struct strbuf *out) {
    if (node->type != TREE_SCALAR && node->first) {
        write_block(node, 0, false, out);
        return;
    }
    tree_write_flow(node, out);
    strbuf_putc(out, '\n');
}

/* ---- JSON ---- */

static bool is_json_word(const struct tree_node *node) {
    uint64_t number;
    if (node->is_quoted)
        return false;
    return str_eq(node->text, STR("true")) || str_eq(node->text, STR("false")) || str_to_uint64(node->text, &number) == 0;
}

static void write_json(const struct tree_node *node, unsigned indent, struct strbuf *out) {
    if (node->type == TREE_SCALAR) {
        is_json_word(node) ? strbuf_add_str(out, node->text) : add_quoted(node->text, true, out);
        return;
    }
    bool is_list = node->type == TREE_LIST;
    strbuf_putc(out, is_list ? '[' : '{');
    for (const struct tree_item *i = node->first; i; i = i->next) {
        strbuf_puts(out, i == node->first ? "\n" : ",\n");
        add_indent(indent + INDENT, out);
        if (i->key.p) {
            add_quoted(i->key, false, out);
            strbuf_puts(out, ": ");
        }
        write_json(i->node, indent + INDENT, out);
    }
    if (node->first) {
        strbuf_putc(out, '\n');
        add_indent(indent, out);
    }
    strbuf_putc(out, is_list ? ']' : '}');
}

void tree_write_json(const struct tree_node *node, struct strbuf *out) {
    write_json(node, 0, out);
    strbuf_putc(out, '\n');
}
