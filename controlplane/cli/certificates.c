/* The certificates of `headgate status`. */
#include <inttypes.h>

#include "common/clock.h"
#include "controlplane/cli/command.h"
#include "controlplane/cli/certificates.h"

enum { SHOWN = 50, WARN_DAYS = 30, URGENT_DAYS = 7 }; /* --output json has all */

static const uint64_t DAY = 86400000000;

static void add_names(struct table *t, const Headgate__CertificateStatus *s) {
    enum { MOST = 3 };
    struct strbuf text = {0};
    for (size_t i = 0; i < s->n_names && i < MOST; i++)
        strbuf_printf(&text, "%s%s", i ? " " : "", s->names[i]);
    if (s->n_names > MOST)
        strbuf_printf(&text, " and %zu more", s->n_names - MOST);
    table_add(t, STYLE_PLAIN, "%s", text.p ? text.p : s->subject ? s->subject : "");
    strbuf_finish(&text);
}

static void add_users(struct table *t, const Headgate__CertificateStatus *s) {
    enum { MOST = 2 };
    struct strbuf text = {0};
    for (size_t i = 0; i < s->n_used_by && i < MOST; i++)
        strbuf_printf(&text, "%s%s", i ? " " : "", s->used_by[i]);
    if (s->n_used_by > MOST)
        strbuf_printf(&text, " and %zu more", s->n_used_by - MOST);
    table_add(t, STYLE_PLAIN, "%s", text.p ? text.p : "");
    strbuf_finish(&text);
}

static void add_row(struct table *t, const Headgate__CertificateStatus *s, uint64_t now) {
    uint64_t days = s->not_after > now ? (s->not_after - now) / DAY : 0;
    enum style style = days < URGENT_DAYS ? STYLE_BAD : days < WARN_DAYS ? STYLE_WARN : STYLE_GOOD;
    table_add(t, STYLE_NAME, "  %s", s->name ? s->name : "");
    if (s->not_after > now)
        table_add(t, style, "%" PRIu64, days);
    else
        table_add(t, STYLE_BAD, "expired");
    table_add(t, STYLE_PLAIN, "%s%s%s", s->key ? s->key : "", s->other_key ? ", " : "", s->other_key ? s->other_key : "");
    add_names(t, s);
    add_users(t, s);
}

void print_certificates(const struct cli *cli, const Headgate__StatusReply *r) {
    static const char *const titles[] = {"  CERTIFICATE", "DAYS LEFT", "KEY", "NAMES", "USED BY"};
    struct table t;
    uint64_t now = clock_realtime_us();
    if (r->n_certificates == 0)
        return;
    cli_print(cli, STYLE_TITLE, "certificates\n");
    table_init(&t, sizeof titles / sizeof *titles);
    for (size_t i = 0; i < t.columns; i++)
        table_add(&t, STYLE_DIM, "%s", titles[i]);
    for (size_t i = 0; i < r->n_certificates && i < SHOWN; i++)
        add_row(&t, r->certificates[i], now);
    table_print(cli, &t);
    table_finish(&t);
    if (r->n_certificates > SHOWN)
        cli_print(cli, STYLE_DIM, "  and %zu more that expire later\n", r->n_certificates - SHOWN);
}
