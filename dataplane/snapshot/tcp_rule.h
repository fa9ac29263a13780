/* tcp_rule.h — a listener that relays TCP has a route table of its own, with one rule that every connection goes by. So it
 * chooses clusters, tries endpoints and inherits times as requests do. Thread: main. */
#pragma once

#include "common/error.h"
#include "proto/resources.pb-c.h"

/* The message of such a table, in one piece. */
struct tcp_rule {
    Headgate__RouteTable table;
    Headgate__Host       host, *hosts[1];
    Headgate__Rule       rule, *rules[1];
    Headgate__Forward    forward;
    Headgate__Retry      retry;
    Headgate__Timeouts   timeouts;
    char                *domains[1];
};

/* 0, or -1 after adding what is wrong with the listener's `tcp`, or beside it. */
int  tcp_rule_check(const Headgate__Listener *m, const char *name, struct error_list *errors);
/* Points into *tcp, and to itself. */
void tcp_rule_fill(struct tcp_rule *r, const Headgate__TcpProxy *tcp);
