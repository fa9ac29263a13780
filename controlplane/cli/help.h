/* help.h — the table of commands as text for people. Thread: main. */
#pragma once

#include "common/str.h"

struct command;

void help_add_overview(struct strbuf *out);
void help_add_command(const struct command *c, struct strbuf *out);
void help_add_man(struct strbuf *out);
void help_add_markdown(struct strbuf *out);
