/* udp_options.h — what every UDP socket of ours is set to, wherever it is made. Thread: any. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Nothing is fragmented, path MTU discovery is the user's (IP_PMTUDISC_PROBE); ECN bits come with each datagram; trains are
 * joined where the kernel can (UDP_GRO). `with_destination`: the address that it was sent to comes as well. `family`:
 * AF_INET or AF_INET6; of the latter what comes by IPv4, too. 0, or -1 with errno. */
int    udp_set_options(int fd, int family, bool with_destination);
/* Asks for `wanted` bytes of buffer (SO_RCVBUF or SO_SNDBUF; 0: leaves it) and returns what there is: less where the
 * kernel's limit (net.core.rmem_max, wmem_max) is lower. Never needs a privilege. */
size_t udp_set_buffer(int fd, int option, size_t wanted);
