#include "controlplane/cli/top_screen.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "common/plural.h"

enum { CELL_MAX = 160, NAME_LEAST = 12, NAME_MOST = 40 };

static const char plain[] = "", bold[] = "\033[1m", dim[] = "\033[2m", red[] = "\033[31m", yellow[] = "\033[33m";

/* ---- lines ---- */

/* One line that is being made; what goes beyond the width is cut. */
struct line {
    const struct top_screen *screen;
    struct strbuf *out;
    unsigned used;
};

static bool is_continuation(char c) {
    return ((unsigned char)c & 0xc0) == 0x80;
}

/* Names come from a configuration: nothing in them may move the cursor. */
static void add_text(struct line *l, const char *style, const char *text) {
    bool is_coloured = l->screen->has_colour && *style;
    if (is_coloured)
        strbuf_puts(l->out, style);
    for (; *text; text++) {
        if (!is_continuation(*text) && l->used++ >= l->screen->width)
            break;
        strbuf_putc(l->out, (unsigned char)*text < 32 || *text == 127 ? '?' : *text);
    }
    if (is_coloured)
        strbuf_puts(l->out, "\033[0m");
}

static void add(struct line *l, const char *style, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void add(struct line *l, const char *style, const char *format, ...) {
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    add_text(l, style, text);
}

static void end_line(struct line *l) {
    strbuf_putc(l->out, '\n');
    l->used = 0;
}

/* ---- numbers ---- */

static void format_rate(double rate, char text[CELL_MAX]) {
    if (rate >= 1e6)
        snprintf(text, CELL_MAX, "%.2fM", rate / 1e6);
    else if (rate >= 1e4)
        snprintf(text, CELL_MAX, "%.1fk", rate / 1e3);
    else if (rate >= 100 || rate == 0)
        snprintf(text, CELL_MAX, "%.0f", rate);
    else
        snprintf(text, CELL_MAX, "%.1f", rate);
}

static void format_time(uint64_t us, char text[CELL_MAX]) {
    if (us == 0)
        snprintf(text, CELL_MAX, "-");
    else if (us < 1000)
        snprintf(text, CELL_MAX, "%" PRIu64 " us", us);
    else if (us < 1000000)
        snprintf(text, CELL_MAX, us < 100000 ? "%.1f ms" : "%.0f ms", (double)us / 1e3);
    else
        snprintf(text, CELL_MAX, "%.1f s", (double)us / 1e6);
}

/* ---- data planes ---- */

static void add_plane(struct line *l, const struct top_plane *p) {
    char requests[CELL_MAX], refused[CELL_MAX], failed[CELL_MAX];
    add(l, plain, "%-*.*s", NAME_LEAST, NAME_MOST, p->node);
    add(l, strcmp(p->sync, "in-sync") == 0 ? dim : yellow, " %-8s", p->sync);
    if (p->state == TOP_TOO_OLD)
        add(l, yellow, " its version cannot be watched");
    else if (!p->is_counted)
        add(l, dim, " waiting for its first numbers");
    else {
        format_rate(p->requests_rate, requests);
        format_rate(p->responses_4xx_rate, refused);
        format_rate(p->responses_5xx_rate, failed);
        if (p->state == TOP_MEASURED) {
            add(l, plain, " %7s req/s %6s 4xx/s", requests, refused);
            add(l, p->responses_5xx_rate > 0 ? red : plain, " %6s 5xx/s", failed);
        } else
            add(l, yellow, p->state == TOP_SILENT ? " no answer in this interval" : " measuring");
        add(l, plain, " %7" PRIu64 " conns", p->connections);
        if (p->quic_connections)
            add(l, plain, " (%" PRIu64 " QUIC)", p->quic_connections);
        add(l, plain, " %6" PRIu64 " under way", p->exchanges);
        if (p->left_out)
            add(l, yellow, " (%" PRIu64 " cluster%s left out)", p->left_out, plural(p->left_out));
    }
    end_line(l);
}

/* At most a third of the screen. Returns the number of lines. */
static unsigned add_planes(struct line *l, const struct top_view *v) {
    unsigned most = l->screen->height ? l->screen->height / 3 : UINT32_MAX, lines = 0;
    size_t away = v->reply->n_away, shown = 0;
    for (; shown < v->plane_count && lines + 1 < most; shown++, lines++)
        add_plane(l, &v->planes[shown]);
    if (shown < v->plane_count || away || v->plane_count == 0) {
        if (v->plane_count == 0)
            add(l, yellow, "no data plane%s is connected", v->reply->n_data_planes ? " of that name" : "");
        else if (shown < v->plane_count)
            add(l, dim, "and %zu more data plane%s", v->plane_count - shown, plural(v->plane_count - shown));
        if (away)
            add(l, yellow, "%s%zu away: %s%s", v->plane_count == 0 || shown < v->plane_count ? ", " : "", away,
                v->reply->away[0]->node ? v->reply->away[0]->node : "", away > 1 ? ", ..." : "");
        end_line(l);
        lines++;
    }
    return lines;
}

/* ---- clusters ---- */

struct column {
    const char *title;
    unsigned width;
    void (*format)(const struct top_cluster *c, char text[CELL_MAX]);
    const char *(*style)(const struct top_cluster *c); /* NULL: plain */
};

static void format_requests(const struct top_cluster *c, char text[CELL_MAX]) {
    format_rate(c->attempts_rate, text);
}

static void format_errors(const struct top_cluster *c, char text[CELL_MAX]) {
    format_rate(c->errors_rate, text);
}

static const char *errors_style(const struct top_cluster *c) {
    return c->errors_rate > 0 ? red : plain;
}

static void format_p50(const struct top_cluster *c, char text[CELL_MAX]) {
    format_time(c->p50, text);
}

static void format_p99(const struct top_cluster *c, char text[CELL_MAX]) {
    format_time(c->p99, text);
}

static void format_under_way(const struct top_cluster *c, char text[CELL_MAX]) {
    snprintf(text, CELL_MAX, "%" PRIu64, c->under_way);
}

static void format_connections(const struct top_cluster *c, char text[CELL_MAX]) {
    snprintf(text, CELL_MAX, "%" PRIu64, c->connections);
}

static void format_endpoints(const struct top_cluster *c, char text[CELL_MAX]) {
    snprintf(text, CELL_MAX, "%" PRIu32, c->endpoints);
}

static const char *endpoints_style(const struct top_cluster *c) {
    return c->endpoints ? plain : yellow;
}

static const struct column columns[] = {
    {"REQ/S", 8, format_requests, NULL},     {"ERR/S", 8, format_errors, errors_style},
    {"P50", 9, format_p50, NULL},            {"P99", 9, format_p99, NULL},
    {"UNDER WAY", 10, format_under_way, NULL}, {"CONNS", 7, format_connections, NULL},
    {"ENDPOINTS", 10, format_endpoints, endpoints_style},
};
enum { COLUMNS = sizeof columns / sizeof *columns };

static unsigned name_width(const struct top_screen *s, const struct top_view *v) {
    unsigned wanted = NAME_LEAST, all = 0;
    for (int i = 0; i < COLUMNS; i++)
        all += columns[i].width;
    for (size_t i = 0; i < v->cluster_count; i++) {
        size_t n = strlen(v->clusters[i].name);
        wanted = n > wanted ? n < NAME_MOST ? (unsigned)n : NAME_MOST : wanted;
    }
    unsigned room = s->width > all ? s->width - all : 0;
    return wanted <= room || room < NAME_LEAST ? (wanted < NAME_LEAST || room < NAME_LEAST ? NAME_LEAST : wanted) : room;
}

static unsigned columns_that_fit(const struct top_screen *s, unsigned name) {
    unsigned n = 0, used = name;
    while (n < COLUMNS && used + columns[n].width <= s->width)
        used += columns[n++].width;
    return n;
}

static void add_count(struct line *l, const char *style, uint32_t count, const char *what, bool *is_first) {
    if (count == 0)
        return;
    add(l, style, "%s%" PRIu32 " %s", *is_first ? "  " : ", ", count, what);
    *is_first = false;
}

/* How many, and as many addresses as there is room for. */
static void add_unwell(struct line *l, const struct top_cluster *c) {
    bool is_first = true;
    if (c->waiting)
        add(l, yellow, "  %" PRIu64 " waiting", c->waiting);
    add_count(l, red, c->unhealthy, "unhealthy", &is_first);
    add_count(l, red, c->ejected, "ejected", &is_first);
    add_count(l, yellow, c->draining, "draining", &is_first);
    for (size_t i = 0; c->worst && i < c->worst->n_unwell; i++)
        add(l, dim, "%s%s", i ? " " : ": ", c->worst->unwell[i]->address ? c->worst->unwell[i]->address : "");
}

static void add_cluster(struct line *l, const struct top_cluster *c, unsigned name, unsigned count) {
    char text[CELL_MAX];
    add(l, c->attempts_rate > 0 ? plain : dim, "%-*.*s", (int)name, (int)name, c->name);
    for (unsigned i = 0; i < count; i++) {
        columns[i].format(c, text);
        add(l, columns[i].style ? columns[i].style(c) : plain, "%*s", (int)columns[i].width, text);
    }
    if (count == COLUMNS)
        add_unwell(l, c);
    end_line(l);
}

static void add_titles(struct line *l, unsigned name, unsigned count) {
    add(l, bold, "%-*s", (int)name, "CLUSTER");
    for (unsigned i = 0; i < count; i++)
        add(l, bold, "%*s", (int)columns[i].width, columns[i].title);
    end_line(l);
}

static void add_clusters(struct line *l, struct top_screen *s, const struct top_view *v, unsigned used) {
    unsigned name = name_width(s, v), count = columns_that_fit(s, name);
    size_t room = s->height > used + 1 ? s->height - used - 1 : 0;
    if (s->height == 0)
        room = v->cluster_count;
    if (s->first + room > v->cluster_count)
        s->first = v->cluster_count > room ? v->cluster_count - room : 0;
    if (s->height && s->height <= used)
        return;
    add_titles(l, name, count);
    for (size_t i = s->first; i < v->cluster_count && i < s->first + room; i++)
        add_cluster(l, &v->clusters[i], name, count);
}

/* ---- all of it ---- */

static void add_head(struct line *l, const struct top_screen *s, const struct top_view *v) {
    add(l, bold, "headgate top");
    if (s->trouble)
        add(l, red, "  %s", s->trouble);
    if (v->reply->has_version)
        add(l, plain, "  version %" PRIu64, v->reply->version);
    else
        add(l, yellow, "  no version yet");
    add(l, plain, "  %zu cluster%s by %s", v->cluster_count, plural(v->cluster_count), top_order_name(s->order));
    if (s->has_keys)
        add(l, dim, "  q: quit  s: sort  arrows: scroll");
    end_line(l);
}

void top_screen_render(struct top_screen *s, const struct top_view *v, struct strbuf *out) {
    struct line l = {.screen = s, .out = out};
    add_head(&l, s, v);
    if (s->height == 1)
        return;
    unsigned used = 1 + add_planes(&l, v);
    add_clusters(&l, s, v, used);
}
