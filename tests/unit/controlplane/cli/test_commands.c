/* The table of commands, and the texts that are made of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "controlplane/cli/command.h"
#include "controlplane/cli/help.h"

static void table_is_complete(void **state) {
    (void)state;
    for (const struct command *c = commands; c->name; c++) {
        struct option_spec room[COMMAND_OPTIONS_MAX];
        assert_non_null(c->summary);
        assert_non_null(c->run);
        assert_non_null(command_options(c, room, COMMAND_OPTIONS_MAX));
        assert_true(c->arguments_min <= c->arguments_max);
        assert_true((c->arguments_max > 0) == (c->arguments[0] != '\0'));
        assert_ptr_equal(command_find(str_of(c->name)), c);
    }
    assert_null(command_find(STR("pus")));
    assert_string_equal(command_nearest(STR("pus")), "push");
    assert_null(command_nearest(STR("unrelated-word")));
}

/* No command gives one letter or name to two options. */
static void options_do_not_collide(void **state) {
    (void)state;
    for (const struct command *c = commands; c->name; c++) {
        struct option_spec room[COMMAND_OPTIONS_MAX];
        const struct option_spec *all = command_options(c, room, COMMAND_OPTIONS_MAX);
        for (const struct option_spec *a = all; a->name; a++)
            for (const struct option_spec *b = a + 1; b->name; b++) {
                assert_string_not_equal(a->name, b->name);
                assert_true(!a->letter || a->letter != b->letter);
            }
    }
}

static void options_need_room(void **state) {
    struct option_spec room[3];
    (void)state;
    assert_null(command_options(command_find(STR("push")), room, 3));
}

static void help_has_every_option(void **state) {
    struct strbuf text = {0}, markdown = {0}, man = {0};
    (void)state;
    help_add_command(command_find(STR("push")), &text);
    assert_non_null(strstr(text.p, "usage: headgate push [options] FILE\n"));
    assert_non_null(strstr(text.p, "-m, --message TEXT"));
    assert_non_null(strstr(text.p, "--output FORM"));
    help_add_markdown(&markdown);
    help_add_man(&man);
    for (const struct command *c = commands; c->name; c++) {
        char heading[64];
        snprintf(heading, sizeof heading, "\n## headgate %s\n", c->name);
        assert_non_null(strstr(markdown.p, heading));
        snprintf(heading, sizeof heading, ".SS \"headgate %s", c->name);
        assert_non_null(strstr(man.p, heading));
    }
    strbuf_finish(&text);
    strbuf_finish(&markdown);
    strbuf_finish(&man);
}

static void lines_are_wrapped(void **state) {
    struct strbuf text = {0};
    (void)state;
    help_add_overview(&text);
    struct str rest = strbuf_str(&text);
    while (rest.p && rest.n)
        assert_true(str_cut(&rest, '\n').n <= 100);
    strbuf_finish(&text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table_is_complete), cmocka_unit_test(options_do_not_collide),
        cmocka_unit_test(options_need_room), cmocka_unit_test(help_has_every_option),
        cmocka_unit_test(lines_are_wrapped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
