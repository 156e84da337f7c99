// SPDX-License-Identifier: MIT
/*
 * Addresses: what a program connects to, sends to, and is there for.  Callbacks' code.
 *
 * The addresses are copies that libdune has made, and the kernel gets these.  Of a UNIX socket with a path path() is
 * asked, when it is known where that leads.
 */
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include "sandbox.h"

#define MESSAGES_MAX	1024	/* the kernel looks at no more */
#define ADDRESS_TEXT	128

/* ---- text ---- */

static const char *operation_name(unsigned int operation)
{
	return operation == NETWORK_BIND ? "bind" : "connect";
}

static size_t put_groups(char *to, size_t size, const uint8_t a[16])
{
	size_t n = 0;

	for (int i = 0; i < 16; i += 2)
		n += dune_ring3_format(to + n, size - n, i ? ":%x" : "%x", a[i] << 8 | a[i + 1]);
	return n;
}

static bool is_mapped(const uint8_t a[16])
{
	for (int i = 0; i < 10; i++)
		if (a[i])
			return false;
	return a[10] == 0xff && a[11] == 0xff;
}

/* A rule that permits just this. */
static void put_rule(char text[ADDRESS_TEXT], unsigned int operation, const char *protocol, const uint8_t a[16],
		     unsigned int port)
{
	size_t n = dune_ring3_format(text, ADDRESS_TEXT, "%s %s ", operation_name(operation), protocol);

	if (is_mapped(a))
		n += dune_ring3_format(text + n, ADDRESS_TEXT - n, "%d.%d.%d.%d", a[12], a[13], a[14], a[15]);
	else
		n += put_groups(text + n, ADDRESS_TEXT - n, a);
	dune_ring3_format(text + n, ADDRESS_TEXT - n, " %d", port);
}

/* ---- IPv4 and IPv6 ---- */

/* What a socket is: PROTOCOL_*. */
static unsigned int protocol_of(int fd)
{
	int type = 0, length = sizeof(type);

	if (raw_syscall(SYS_getsockopt, fd, SOL_SOCKET, SO_TYPE, (long)&type, (long)&length) < 0)
		return 0;
	return type == SOCK_STREAM ? PROTOCOL_TCP : PROTOCOL_UDP;
}

/* To the address without a host the kernel sends what is for the host itself. */
static void name_host(uint8_t a[16])
{
	const bool mapped = is_mapped(a);

	for (int i = mapped ? 12 : 0; i < 16; i++)
		if (a[i])
			return;
	if (mapped)
		a[12] = 127;
	a[15] = 1;
}

static int64_t judge_internet(struct dune_ring3_thread *t, const struct dune_ring3_call *call, unsigned int operation,
			      int fd, uint8_t a[16], unsigned int port)
{
	const unsigned int protocol = protocol_of(fd);
	const struct policy_network *rule;
	char text[ADDRESS_TEXT];
	struct denial why = { .origin = NO_ORIGIN, .section = "net", .line = text,
			      .access = operation_name(operation) };

	if (!protocol)
		return DUNE_RING3_GO;		/* no socket: the kernel says so */
	if (operation == NETWORK_CONNECT)
		name_host(a);
	rule = policy_internet(policy(), operation, protocol, a, port);
	if (rule && !rule->deny)
		return DUNE_RING3_GO;
	if (rule)
		why.origin = rule->origin;
	put_rule(text, operation, protocol == PROTOCOL_TCP ? "tcp" : "udp", a, port);
	return refuse(t, call, -EACCES, &why);
}

/* ---- UNIX sockets ---- */

/* '@' for each NUL: so a policy writes them. */
static int64_t judge_abstract(struct dune_ring3_thread *t, const struct dune_ring3_call *call, unsigned int operation,
			      const struct sockaddr_un *address, size_t length)
{
	const size_t begin = offsetof(struct sockaddr_un, sun_path);
	char name[sizeof(address->sun_path) + 2] = "@", text[sizeof(name) + 32];
	struct denial why = { .origin = NO_ORIGIN, .section = "net", .line = text,
			      .access = operation_name(operation) };
	const struct policy_network *rule;
	size_t n = 1;

	for (size_t i = begin + 1; i < length; i++)
		name[n++] = address->sun_path[i - begin] ? address->sun_path[i - begin] : '@';
	name[n] = '\0';
	rule = policy_unix(policy(), operation, name);
	if (rule && !rule->deny)
		return DUNE_RING3_GO;
	if (rule)
		why.origin = rule->origin;
	dune_ring3_format(text, sizeof(text), "%s unix %s", operation_name(operation), name);
	return refuse(t, call, -EACCES, &why);
}

int64_t judge_socket(struct dune_ring3_thread *t, const struct dune_ring3_call *call, const char *path, bool quiet)
{
	const unsigned int operation = call->nr == SYS_bind ? NETWORK_BIND : NETWORK_CONNECT;
	const struct policy_network *rule = policy_unix(policy(), operation, path);
	char text[POLICY_PATH_MAX];
	struct denial why = { .path = path, .origin = NO_ORIGIN, .section = "net", .line = text, .quiet = quiet,
			      .access = operation_name(operation) };

	if (rule && !rule->deny)
		return DUNE_RING3_GO;
	if (rule)
		why.origin = rule->origin;
	dune_ring3_format(text, sizeof(text), "%s unix %s", operation_name(operation), path);
	return refuse(t, call, -EACCES, &why);
}

/* ---- an address ---- */

/*
 * Of any family: what the kernel makes of AF_UNSPEC is IPv4 where a message or a bind has it, and no address where
 * connect() has it.
 */
static int64_t judge_address(struct dune_ring3_thread *t, const struct dune_ring3_call *call, unsigned int operation,
			     int fd, uint64_t at, uint64_t length)
{
	union {
		sa_family_t family;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
		struct sockaddr_un un;
		struct sockaddr_storage room;
	} u = { .family = AF_UNSPEC };
	uint8_t address[16] = { [10] = 0xff, 0xff };
	const uint8_t *from;
	unsigned int family;

	if (!at || length < sizeof(sa_family_t))
		return DUNE_RING3_GO;		/* none: the kernel says what it thinks of that */
	if (length > sizeof(u.room))
		return -EINVAL;
	if (dune_ring3_read(t, &u, at, length))
		return -EFAULT;
	family = u.family;
	if (family == AF_UNIX) {
		if (length > sizeof(u.un))
			return -EINVAL;
		/* Without a name: one that the kernel chooses. */
		return length > offsetof(struct sockaddr_un, sun_path) && u.un.sun_path[0] ? DUNE_RING3_GO :
		       judge_abstract(t, call, operation, &u.un, length);
	}
	if (family == AF_UNSPEC && call->nr == SYS_connect)
		return DUNE_RING3_GO;
	if (family == AF_INET6) {
		if (length < 24)		/* SIN6_LEN_RFC2133 */
			return -EINVAL;
		from = (const uint8_t *)&u.v6.sin6_addr;
		for (int i = 0; i < 16; i++)
			address[i] = from[i];
		return judge_internet(t, call, operation, fd, address, __builtin_bswap16(u.v6.sin6_port));
	}
	if (family != AF_INET && family != AF_UNSPEC)
		return -EAFNOSUPPORT;
	if (length < sizeof(u.v4))
		return -EINVAL;
	from = (const uint8_t *)&u.v4.sin_addr;
	for (int i = 0; i < 4; i++)
		address[12 + i] = from[i];
	return judge_internet(t, call, operation, fd, address, __builtin_bswap16(u.v4.sin_port));
}

/* ---- messages ---- */

struct message {			/* msghdr, as the kernel has it */
	uint64_t name;
	int32_t name_length;
	uint32_t pad;
	uint64_t vector, nr_vectors, control, control_length;
	uint32_t flags, pad2;
};

struct counted_message {
	struct message message;
	uint32_t length, pad;
};

struct control {			/* cmsghdr */
	uint64_t length;
	int32_t level, type;
};

/* A way of the sender's choice to the address. */
static bool is_source_route(const struct control *c)
{
	return (c->level == SOL_IP && c->type == IP_RETOPTS) ||
	       (c->level == SOL_IPV6 && (c->type == IPV6_RTHDR || c->type == IPV6_2292RTHDR));
}

static int64_t judge_control(struct dune_ring3_thread *t, const struct dune_ring3_call *call, const struct message *m)
{
	static const struct denial route = { .access = "a source route", .origin = NO_ORIGIN };
	struct control c;

	for (uint64_t at = 0; m->control && at + sizeof(c) <= m->control_length;
	     at += (c.length + 7) & -8UL) {
		if (dune_ring3_read(t, &c, m->control + at, sizeof(c)))
			return -EFAULT;
		if (c.length < sizeof(c) || c.length > m->control_length - at)
			break;			/* the kernel refuses it */
		if (is_source_route(&c))
			return refuse(t, call, -EPERM, &route);
	}
	return DUNE_RING3_GO;
}

static int64_t judge_message(struct dune_ring3_thread *t, const struct dune_ring3_call *call, uint64_t at)
{
	struct message m;
	int64_t ret;

	if (dune_ring3_read(t, &m, at, sizeof(m)))
		return -EFAULT;
	if (m.name && m.name_length < 0)
		return -EINVAL;
	/* Of what is longer the kernel takes so much. */
	if (m.name_length > (int32_t)sizeof(struct sockaddr_storage))
		return -EINVAL;
	ret = judge_address(t, call, NETWORK_CONNECT, call->args[0], m.name, m.name_length);
	return ret == DUNE_RING3_GO ? judge_control(t, call, &m) : ret;
}

static int64_t judge_messages(struct dune_ring3_thread *t, const struct dune_ring3_call *call)
{
	uint64_t n = (uint32_t)call->args[2];
	int64_t ret = DUNE_RING3_GO;

	if (n > MESSAGES_MAX)
		return -EINVAL;
	for (uint64_t i = 0; i < n && ret == DUNE_RING3_GO; i++)
		ret = judge_message(t, call, call->args[1] + i * sizeof(struct counted_message));
	return ret;
}

/* ---- listen ---- */

/* A socket without an address gets one, of all interfaces, with a port that is free. */
static int64_t judge_listen(struct dune_ring3_thread *t, const struct dune_ring3_call *call)
{
	struct sockaddr_in6 own = { 0 };
	uint8_t any[16] = { 0 };
	int length = sizeof(own);
	const int fd = call->args[0];

	if (raw_syscall(SYS_getsockname, fd, (long)&own, (long)&length, 0, 0) < 0 ||
	    (own.sin6_family != AF_INET && own.sin6_family != AF_INET6))
		return DUNE_RING3_GO;
	if (own.sin6_family == AF_INET)
		any[10] = any[11] = 0xff;
	/* One that has a port has been judged; but is it still this socket?  So somebody must be allowed to listen. */
	if (own.sin6_port) {
		const struct policy_network *rules = policy_at(policy(), policy()->network);

		for (uint32_t i = 0; i < policy()->nr_network; i++)
			if (!rules[i].deny && rules[i].operations & NETWORK_BIND && rules[i].protocols & PROTOCOL_TCP)
				return DUNE_RING3_GO;
	}
	return judge_internet(t, call, NETWORK_BIND, fd, any, own.sin6_port ? __builtin_bswap16(own.sin6_port) : 0);
}

bool is_about_network(unsigned int nr)
{
	return nr == SYS_connect || nr == SYS_bind || nr == SYS_listen || nr == SYS_sendto || nr == SYS_sendmsg ||
	       nr == SYS_sendmmsg;
}

int64_t judge_network(struct dune_ring3_thread *t, const struct dune_ring3_call *call)
{
	switch (call->nr) {
	case SYS_connect:
	case SYS_bind:
		if ((int)call->args[2] < 0)
			return -EINVAL;
		return judge_address(t, call, call->nr == SYS_bind ? NETWORK_BIND : NETWORK_CONNECT, call->args[0],
				     call->args[1], (uint32_t)call->args[2]);
	case SYS_sendto:
		if (!call->args[4])
			return DUNE_RING3_GO;
		if ((int)call->args[5] < 0)
			return -EINVAL;
		return judge_address(t, call, NETWORK_CONNECT, call->args[0], call->args[4], (uint32_t)call->args[5]);
	case SYS_sendmsg:
		return judge_message(t, call, call->args[1]);
	case SYS_sendmmsg:
		return judge_messages(t, call);
	}
	return judge_listen(t, call);
}
