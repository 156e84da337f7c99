// SPDX-License-Identifier: MIT
/*
 * dune-run --gdb PORT: gdb's remote protocol (gdb's manual, "Remote Protocol"), all-stop.
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "regs.h"
#include "remote.h"
#include "tracee.h"

#define PACKET_SIZE	0x4000
#define GDB_EINVAL	22	/* errors of vFile have numbers of their own */

static int gdb = -1;
static bool no_ack;
static char packet[PACKET_SIZE + 1];	/* what gdb has sent, without frame, with a NUL */
static size_t packet_length;
static char reply[2 * PACKET_SIZE];
static size_t reply_length;
static struct thread *current;		/* for registers and memory */
static const char *program;
static char stop_reply[64];
static bool finished;
static struct event end;

/* ---- bytes ---- */

static int next_byte(void)
{
	static char buffer[4096];
	static ssize_t have, used;

	/* An interrupt is read by tracee_wait(): nothing of a request is here then. */
	if (used == have) {
		do
			have = read(gdb, buffer, sizeof(buffer));
		while (have < 0 && errno == EINTR);
		used = 0;
		if (have <= 0) {
			have = 0;
			return -1;
		}
	}
	return (unsigned char)buffer[used++];
}

static int hex_digit(int c)
{
	return isdigit(c) ? c - '0' : isxdigit(c) ? tolower(c) - 'a' + 10 : -1;
}

static bool send_all(const char *data, size_t size)
{
	while (size) {
		ssize_t n = send(gdb, data, size, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		data += n;
		size -= n;
	}
	return true;
}

/* The next request into @packet; false when gdb is gone. */
static bool receive(void)
{
	unsigned int sum;
	int c, high, low;

	for (;;) {
		while ((c = next_byte()) != '$')
			if (c < 0)
				return false;
		packet_length = sum = 0;
		while ((c = next_byte()) != '#') {
			if (c < 0)
				return false;
			sum += c;
			if (c == '}') {
				c = next_byte();
				sum += c;
				c ^= 0x20;
			}
			if (packet_length < PACKET_SIZE)
				packet[packet_length++] = c;
		}
		packet[packet_length] = '\0';
		high = hex_digit(next_byte());
		low = hex_digit(next_byte());
		if (no_ack)
			return true;
		if (high < 0 || low < 0 || (sum & 0xff) != (unsigned int)(high << 4 | low)) {
			send_all("-", 1);
			continue;
		}
		return send_all("+", 1);
	}
}

static void put_byte(char c)
{
	if (reply_length < sizeof(reply))
		reply[reply_length++] = c;
}

static void __attribute__((format(printf, 1, 2))) put(const char *fmt, ...)
{
	size_t room = sizeof(reply) - reply_length;
	va_list args;
	int n;

	va_start(args, fmt);
	n = vsnprintf(reply + reply_length, room, fmt, args);
	va_end(args);
	if (n > 0)
		reply_length += (size_t)n < room ? (size_t)n : room - 1;
}

static void put_hex(const void *data, size_t size)
{
	static const char digits[] = "0123456789abcdef";

	for (const uint8_t *p = data; size--; p++) {
		put_byte(digits[*p >> 4]);
		put_byte(digits[*p & 15]);
	}
}

static void put_binary(const char *data, size_t size)
{
	for (; size--; data++) {
		if (strchr("#$}*", *data) && *data) {
			put_byte('}');
			put_byte(*data ^ 0x20);
		} else {
			put_byte(*data);
		}
	}
}

static bool send_reply(void)
{
	unsigned int sum = 0;
	char tail[4];

	for (size_t i = 0; i < reply_length; i++)
		sum += (unsigned char)reply[i];
	snprintf(tail, sizeof(tail), "#%02x", sum & 0xff);
	/* It acknowledges with a '+', which receive() skips. */
	return send_all("$", 1) && send_all(reply, reply_length) && send_all(tail, 3);
}

static bool get_hex(const char *from, void *to, size_t size)
{
	for (uint8_t *p = to; size--; from += 2, p++) {
		int high = hex_digit(from[0]), low = high < 0 ? -1 : hex_digit(from[1]);

		if (low < 0)
			return false;
		*p = high << 4 | low;
	}
	return true;
}

/* A hexadecimal number at *@p, which is moved past it and one separator. */
static uint64_t number(const char **p)
{
	char *after;
	uint64_t value = strtoull(*p, &after, 16);

	*p = *after ? after + 1 : after;
	return value;
}

/* ---- signals: gdb has numbers of its own ---- */

static const uint8_t gdb_signals[] = {
	[SIGHUP] = 1, [SIGINT] = 2, [SIGQUIT] = 3, [SIGILL] = 4, [SIGTRAP] = 5, [SIGABRT] = 6, [SIGFPE] = 8,
	[SIGKILL] = 9, [SIGBUS] = 10, [SIGSEGV] = 11, [SIGSYS] = 12, [SIGPIPE] = 13, [SIGALRM] = 14, [SIGTERM] = 15,
	[SIGURG] = 16, [SIGSTOP] = 17, [SIGTSTP] = 18, [SIGCONT] = 19, [SIGCHLD] = 20, [SIGTTIN] = 21,
	[SIGTTOU] = 22, [SIGIO] = 23, [SIGXCPU] = 24, [SIGXFSZ] = 25, [SIGVTALRM] = 26, [SIGPROF] = 27,
	[SIGWINCH] = 28, [SIGUSR1] = 30, [SIGUSR2] = 31, [SIGPWR] = 32, [SIGSTKFLT] = 143,
	[32] = 77,
};

#define FIRST_REALTIME	33
#define GDB_REALTIME	45
#define LAST_SIGNAL	64
#define GDB_LAST	78

static int to_gdb(int signo)
{
	if (signo == LAST_SIGNAL)
		return GDB_LAST;
	return signo >= FIRST_REALTIME ? signo - FIRST_REALTIME + GDB_REALTIME : gdb_signals[signo];
}

static int from_gdb(int number)
{
	for (int signo = 1; signo <= LAST_SIGNAL; signo++)
		if (to_gdb(signo) == number)
			return signo;
	return 0;
}

/* ---- registers and memory ---- */

static void read_registers(const char *args)
{
	unsigned int first = 0, last = regs_count();
	struct registers r;
	char value[16];

	if (*packet == 'p') {
		first = number(&args);
		last = first + 1;
	}
	if (!current || last > regs_count() || !tracee_get(current, &r)) {
		put("E01");
		return;
	}
	for (unsigned int n = first; n < last; n++) {
		regs_get(&r, n, value);
		put_hex(value, regs_size(n));
	}
}

static void write_registers(const char *args)
{
	unsigned int first = 0, last = regs_count();
	struct registers r;
	char value[16];

	if (*packet == 'P') {
		first = number(&args);
		last = first + 1;
	}
	if (!current || last > regs_count() || !tracee_get(current, &r)) {
		put("E01");
		return;
	}
	for (unsigned int n = first; n < last; args += 2 * regs_size(n), n++) {
		if (!get_hex(args, value, regs_size(n))) {
			put("E02");
			return;
		}
		regs_set(&r, n, value);
	}
	put(tracee_set(current, &r) ? "OK" : "E03");
}

static void read_memory(const char *args)
{
	uint64_t address = number(&args), size = number(&args);
	static char data[PACKET_SIZE / 2];
	size_t got = tracee_read(address, data, size < sizeof(data) ? size : sizeof(data));

	if (!got && size)
		put("E01");
	put_hex(data, got);
}

static void write_memory(const char *args)
{
	uint64_t address = number(&args), size = number(&args);
	static char data[PACKET_SIZE];
	bool good = size <= sizeof(data);

	if (*packet == 'M')
		good = good && get_hex(args, data, size);
	else if ((good = good && args + size <= packet + packet_length))
		memcpy(data, args, size);
	put(good && (!size || tracee_write(address, data, size)) ? "OK" : "E01");
}

static void breakpoint(const char *args)
{
	uint64_t address;

	if (*args != '0')	/* no hardware breakpoints, no watchpoints */
		return;
	args += 2;
	address = number(&args);
	put((*packet == 'Z' ? tracee_insert(address) : tracee_remove(address)) ? "OK" : "E01");
}

/* ---- objects: part of them at a time ---- */

static void thread_name(pid_t tid, char *name, size_t size)
{
	char path[64];
	int fd;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/comm", tracee_pid(), tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? 0 : read(fd, name, size - 1);
	close(fd);
	name[n > 0 ? n - 1 : 0] = '\0';
	for (char *p = name; *p; p++)
		if (strchr("<>&'\"", *p) || !isprint((unsigned char)*p))
			*p = '_';
}

static size_t make_threads(char *to, size_t size)
{
	FILE *f = fmemopen(to, size, "w");
	char name[32];
	long length;

	if (!f)
		return 0;
	fputs("<?xml version='1.0'?><threads>", f);
	for (const struct thread *t = tracee_threads(); t; t = t->next) {
		thread_name(t->tid, name, sizeof(name));
		fprintf(f, "<thread id='%x' name='%s'/>", t->tid, name);
	}
	fputs("</threads>", f);
	length = ftell(f);
	fclose(f);
	return length;
}

static size_t make_auxv(char *to, size_t size)
{
	char path[64];
	int fd;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/auxv", tracee_pid());
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? 0 : read(fd, to, size);
	close(fd);
	return n > 0 ? n : 0;
}

static size_t make_exec_file(char *to, size_t size)
{
	return snprintf(to, size, "%s", program);
}

static size_t make_features(char *to, size_t size)
{
	return snprintf(to, size, "%s", regs_description());
}

static const struct {
	const char *name;
	size_t (*make)(char *to, size_t size);
} objects[] = {
	{ "features", make_features },
	{ "threads", make_threads },
	{ "auxv", make_auxv },
	{ "exec-file", make_exec_file },
};

/* OBJECT:read:ANNEX:OFFSET,LENGTH */
static void transfer(const char *args)
{
	static char object[1 << 18];
	size_t size, name = strcspn(args, ":");
	const char *rest = args + name;
	uint64_t offset, length;

	for (size_t i = 0; i < sizeof(objects) / sizeof(objects[0]); i++) {
		if (strlen(objects[i].name) != name || memcmp(objects[i].name, args, name) || memcmp(rest, ":read:", 6))
			continue;
		rest += 6;
		rest += strcspn(rest, ":") + 1;
		offset = number(&rest);
		length = number(&rest);
		size = objects[i].make(object, sizeof(object));
		if (offset > size)
			offset = size;
		if (length > PACKET_SIZE / 2)
			length = PACKET_SIZE / 2;
		put_byte(length < size - offset ? 'm' : 'l');
		put_binary(object + offset, length < size - offset ? length : size - offset);
		return;
	}
}

/* ---- files: symbols of the program and its libraries ---- */

static void put_number(uint64_t value, int bytes)
{
	while (bytes--)
		put_binary(&(char){ value >> 8 * bytes }, 1);
}

/* gdb's manual, "struct stat" of File-I/O. */
static void file_status(int fd)
{
	struct stat st;

	if (fstat(fd, &st)) {
		put("F-1,%x", GDB_EINVAL);
		return;
	}
	put("F40;");
	put_number(0, 4);
	put_number(st.st_ino, 4);
	put_number(st.st_mode, 4);
	put_number(st.st_nlink, 4);
	put_number(st.st_uid, 4);
	put_number(st.st_gid, 4);
	put_number(0, 4);
	put_number(st.st_size, 8);
	put_number(st.st_blksize, 8);
	put_number(st.st_blocks, 8);
	put_number(st.st_atime, 4);
	put_number(st.st_mtime, 4);
	put_number(st.st_ctime, 4);
}

static bool file_name(const char *hex, char name[PATH_MAX])
{
	size_t length = strcspn(hex, ",") / 2;

	if (length >= PATH_MAX || !get_hex(hex, name, length))
		return false;
	name[length] = '\0';
	return true;
}

/* The program's files are ours: gdb may read what we may. */
static void file(const char *args)
{
	char name[PATH_MAX], data[PACKET_SIZE / 2];
	const char *rest = strchr(args, ':');
	ssize_t n = -1;
	int fd;

	if (!rest)
		return;
	rest++;
	if (!strncmp(args, "setfs:", 6)) {
		n = 0;
	} else if (!strncmp(args, "open:", 5)) {
		if (file_name(rest, name))
			n = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	} else if (!strncmp(args, "close:", 6)) {
		fd = number(&rest);
		if (fd > gdb)
			n = close(fd);
	} else if (!strncmp(args, "fstat:", 6)) {
		file_status(number(&rest));
		return;
	} else if (!strncmp(args, "pread:", 6)) {
		size_t size;

		fd = number(&rest);
		size = number(&rest);
		n = pread(fd, data, size < sizeof(data) ? size : sizeof(data), number(&rest));
	} else if (!strncmp(args, "readlink:", 9)) {
		if (file_name(rest, name))
			n = readlink(name, data, sizeof(data));
	} else {
		return;
	}
	if (n < 0)
		put("F-1,%x", errno == ENOENT ? ENOENT : GDB_EINVAL);
	else
		put("F%zx", (size_t)n);
	if (n >= 0 && (args[0] == 'p' || args[0] == 'r')) {
		put_byte(';');
		put_binary(data, n);
	}
}

/* ---- going on ---- */

static void put_event(const struct event *event)
{
	switch (event->kind) {
	case EVENT_STOP:
		current = event->thread;
		put("T%02xthread:%x;", to_gdb(event->value), current->tid);
		break;
	case EVENT_INTERRUPT:
		if (!tracee_thread(current ? current->tid : 0))
			current = tracee_threads();
		put("T%02xthread:%x;", to_gdb(SIGINT), current->tid);
		break;
	case EVENT_EXIT:
		put("W%02x", event->value);
		break;
	case EVENT_DEATH:
		put("X%02x", to_gdb(event->value));
		break;
	case EVENT_EXEC:
		fprintf(stderr, "dune-run: the program has called execve(), and is no longer debugged\n");
		put("W00");
		break;
	case EVENT_HANGUP:
		break;
	}
	snprintf(stop_reply, sizeof(stop_reply), "%.*s", (int)reply_length, reply);
}

static void go_on(void)
{
	pid_t tid = current ? current->tid : 0;
	struct event event;

	tracee_wait(gdb, &event);
	current = tracee_thread(tid);
	put_event(&event);
	if (event.kind == EVENT_STOP || event.kind == EVENT_INTERRUPT)
		return;
	finished = true;
	end = event;
	if (event.kind == EVENT_HANGUP || event.kind == EVENT_EXEC) {
		tracee_detach();
		send_reply();
		reply_length = 0;
		tracee_reap(&end);
	}
}

/* "ACTION[SIGNAL][:THREAD];...": for each thread the first that fits. */
static void resume(const char *actions)
{
	for (struct thread *t = tracee_threads(); t; t = t->next) {
		const char *p = actions;

		while (*p) {
			char action = *p++;
			int signo = 0;
			long tid = -1;

			if (action == 'C' || action == 'S')
				signo = from_gdb(strtoul(p, (char **)&p, 16));
			if (*p == ':')
				tid = strtol(p + 1, (char **)&p, 16);
			if (tid <= 0 || tid == t->tid) {
				tracee_resume(t, signo, action == 's' || action == 'S');
				break;
			}
			p += strcspn(p, ";");
			p += *p == ';';
		}
	}
	go_on();
}

static void verb(const char *args)
{
	if (!strcmp(args, "Cont?")) {
		put("vCont;c;C;s;S");
	} else if (!strncmp(args, "Cont;", 5)) {
		resume(args + 5);
	} else if (!strncmp(args, "File:", 5)) {
		file(args + 5);
	} else if (!strncmp(args, "Kill", 4)) {
		tracee_kill();
		put("OK");
		finished = true;
		end = (struct event){ .kind = EVENT_DEATH, .value = SIGKILL };
	}
}

/* ---- questions ---- */

static void pass_signals(const char *list)
{
	uint64_t mask = 0;
	int signo;

	while (*list) {
		signo = from_gdb(number(&list));
		if (signo)
			mask |= 1UL << (signo - 1);
	}
	tracee_pass_signals(mask);
	put("OK");
}

static void list_threads(const char *args)
{
	(void)args;
	put_byte('m');
	for (const struct thread *t = tracee_threads(); t; t = t->next)
		put("%s%x", t == tracee_threads() ? "" : ",", t->tid);
}

static void supported(const char *args)
{
	(void)args;
	put("PacketSize=%x;QStartNoAckMode+;QPassSignals+;vContSupported+;qXfer:features:read+;qXfer:threads:read+;"
	    "qXfer:auxv:read+;qXfer:exec-file:read+", PACKET_SIZE);
}

static void answer_last(const char *args)	{ (void)args; put("l"); }
static void answer_zero(const char *args)	{ (void)args; put("0"); }
static void answer_ok(const char *args)		{ (void)args; put("OK"); }
static void answer_thread(const char *args)	{ (void)args; put("QC%x", current ? current->tid : 0); }

static void start_no_ack(const char *args)
{
	(void)args;
	put("OK");
	no_ack = true;
}

static void choose_thread(const char *args)
{
	long tid = strtol(args + 1, NULL, 16);
	struct thread *t = tid > 0 ? tracee_thread(tid) : current ? current : tracee_threads();

	if (t && *args == 'g')
		current = t;
	put(t ? "OK" : "E01");
}

static void is_alive(const char *args)
{
	put(tracee_thread(strtol(args, NULL, 16)) ? "OK" : "E01");
}

static void last_stop(const char *args)
{
	(void)args;
	put("%s", stop_reply);
}

static void detach(const char *args)
{
	(void)args;
	tracee_detach();
	put("OK");
	send_reply();
	close(gdb);
	finished = true;
	reply_length = 0;
	tracee_reap(&end);
}

static void kill_program(const char *args)
{
	(void)args;
	verb("Kill");
	reply_length = 0;
}

/* An answer of nothing: not supported. */
static const struct {
	const char *start;
	void (*answer)(const char *args);
} requests[] = {
	{ "qSupported", supported },
	{ "QStartNoAckMode", start_no_ack },
	{ "QPassSignals:", pass_signals },
	{ "qXfer:", transfer },
	{ "qfThreadInfo", list_threads },
	{ "qsThreadInfo", answer_last },
	{ "qAttached", answer_zero },
	{ "qSymbol", answer_ok },
	{ "qC", answer_thread },
	{ "?", last_stop },
	{ "g", read_registers },
	{ "p", read_registers },
	{ "G", write_registers },
	{ "P", write_registers },
	{ "m", read_memory },
	{ "M", write_memory },
	{ "X", write_memory },
	{ "Z", breakpoint },
	{ "z", breakpoint },
	{ "H", choose_thread },
	{ "T", is_alive },
	{ "v", verb },
	{ "D", detach },
	{ "k", kill_program },
};

static void answer(void)
{
	for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
		size_t length = strlen(requests[i].start);

		if (!strncmp(packet, requests[i].start, length)) {
			requests[i].answer(packet + length);
			return;
		}
	}
}

/* ---- the connection ---- */

static void __attribute__((noreturn)) fail(const char *what)
{
	fprintf(stderr, "dune-run: %s: %s\n", what, strerror(errno));
	tracee_kill();
	exit(125);
}

static void await_gdb(int port)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_port = htons(port),
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

	if (listener < 0)
		fail("socket");
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(listener, (struct sockaddr *)&address, sizeof(address)) || listen(listener, 1) ||
	    getsockname(listener, (struct sockaddr *)&address, &size))
		fail("the port for gdb");
	fprintf(stderr, "dune-run: process %d waits for gdb: target remote :%d\n", tracee_pid(),
		ntohs(address.sin_port));
	gdb = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (gdb < 0)
		fail("the connection of gdb");
	setsockopt(gdb, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	close(listener);
}

static int __attribute__((noreturn)) end_like(const struct event *e)
{
	const struct rlimit none = { 0, 0 };
	sigset_t mask;

	if (e->kind == EVENT_EXIT)
		exit(e->value);
	setrlimit(RLIMIT_CORE, &none);
	signal(e->value, SIG_DFL);
	sigemptyset(&mask);
	sigaddset(&mask, e->value);
	sigprocmask(SIG_UNBLOCK, &mask, NULL);
	raise(e->value);
	exit(128 + e->value);
}

void remote_run(int port, const char *path, int loader, const char *file, char **argv)
{
	program = file;
	if (!tracee_start(path, loader, argv, &end))
		end_like(&end);
	current = tracee_threads();
	snprintf(stop_reply, sizeof(stop_reply), "T%02xthread:%x;", to_gdb(SIGTRAP), current->tid);
	await_gdb(port);
	while (!finished && receive()) {
		reply_length = 0;
		answer();
		if ((!finished || reply_length) && !send_reply())
			break;
	}
	if (!finished) {	/* gdb is gone */
		tracee_detach();
		tracee_reap(&end);
	}
	end_like(&end);
}
