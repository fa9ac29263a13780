#include "common/udp_options.h"

#include <limits.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>

static int set(int fd, int level, int option, int value) {
    return setsockopt(fd, level, option, &value, sizeof value);
}

static int set_ipv4(int fd, bool with_destination) {
    if (set(fd, IPPROTO_IP, IP_RECVTOS, 1) < 0 || set(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE) < 0)
        return -1;
    return with_destination ? set(fd, IPPROTO_IP, IP_PKTINFO, 1) : 0;
}

static int set_ipv6(int fd, bool with_destination) {
    if (set(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 1) < 0 || set(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE) < 0)
        return -1;
    return with_destination ? set(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1) : 0;
}

int udp_set_options(int fd, int family, bool with_destination) {
    set(fd, IPPROTO_UDP, UDP_GRO, 1); /* without, each datagram comes by itself */
    if (family == AF_INET6 && set_ipv6(fd, with_destination) < 0)
        return -1;
    return set_ipv4(fd, with_destination);
}

size_t udp_set_buffer(int fd, int option, size_t wanted) {
    int size = 0;
    if (wanted)
        set(fd, SOL_SOCKET, option, wanted < INT_MAX / 2 ? (int)wanted : INT_MAX / 2);
    if (getsockopt(fd, SOL_SOCKET, option, &size, &(socklen_t){sizeof size}) < 0)
        return 0;
    return (size_t)size / 2; /* the kernel doubles what it is asked for, for its own use (socket(7)) */
}
