// SPDX-License-Identifier: MIT
/*
 * Calls and their arguments as text.  Called by callbacks: no C library.
 */
#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "launch/launch.h"
#include "decode.h"

#define STRING_SHOWN	32
#define STRINGS_SHOWN	32

/* ---- text ---- */

void put_char(struct line *line, char c)
{
	if (line->length < sizeof(line->text))
		line->text[line->length++] = c;
}

void put(struct line *line, const char *text)
{
	while (*text)
		put_char(line, *text++);
}

static void put_digits(struct line *line, uint64_t number, unsigned int base)
{
	char digits[24], *p = digits + sizeof(digits);

	*--p = '\0';
	do
		*--p = "0123456789abcdef"[number % base];
	while (number /= base);
	put(line, p);
}

void put_number(struct line *line, int64_t number)
{
	if (number < 0)
		put_char(line, '-');
	put_digits(line, number < 0 ? -(uint64_t)number : (uint64_t)number, 10);
}

void put_hex(struct line *line, uint64_t number)
{
	if (number)
		put(line, "0x");
	put_digits(line, number, 16);
}

static void put_octal(struct line *line, unsigned int number)
{
	put(line, number < 8 ? "00" : "0");
	put_digits(line, number, 8);
}

static void put_address(struct line *line, uint64_t address)
{
	if (address)
		put_hex(line, address);
	else
		put(line, "NULL");
}

/* ---- names of numbers ---- */

struct name {
	uint64_t value;
	const char *name;
};

#define N(value)	{ value, #value }
#define END		{ 0, NULL }

static const struct name open_flags[] = {
	N(O_CREAT), N(O_EXCL), N(O_NOCTTY), N(O_TRUNC), N(O_APPEND), N(O_NONBLOCK), N(O_SYNC), N(O_DSYNC), N(O_ASYNC),
	N(O_DIRECT), N(O_NOFOLLOW), N(O_NOATIME), N(O_CLOEXEC), N(O_PATH), N(O_TMPFILE), N(O_DIRECTORY), END };
static const struct name rename_flags[] = {
	{ 1, "RENAME_NOREPLACE" }, { 2, "RENAME_EXCHANGE" }, { 4, "RENAME_WHITEOUT" }, END };
static const struct name protections[] = { N(PROT_READ), N(PROT_WRITE), N(PROT_EXEC), N(PROT_GROWSDOWN), END };
static const struct name map_flags[] = {
	N(MAP_FIXED), N(MAP_ANONYMOUS), { 0x100000, "MAP_FIXED_NOREPLACE" }, N(MAP_GROWSDOWN),
	{ 0x800, "MAP_DENYWRITE" }, N(MAP_LOCKED), N(MAP_NORESERVE), N(MAP_POPULATE), N(MAP_STACK), N(MAP_HUGETLB),
	END };
static const struct name access_modes[] = { N(R_OK), N(W_OK), N(X_OK), END };
static const struct name whences[] = { N(SEEK_SET), N(SEEK_CUR), N(SEEK_END), N(SEEK_DATA), N(SEEK_HOLE), END };
static const struct name mask_changes[] = { N(SIG_BLOCK), N(SIG_UNBLOCK), N(SIG_SETMASK), END };
static const struct name futex_operations[] = {
	N(FUTEX_WAIT), N(FUTEX_WAKE), N(FUTEX_REQUEUE), N(FUTEX_CMP_REQUEUE), N(FUTEX_WAKE_OP), N(FUTEX_LOCK_PI),
	N(FUTEX_UNLOCK_PI), N(FUTEX_TRYLOCK_PI), N(FUTEX_WAIT_BITSET), N(FUTEX_WAKE_BITSET), END };
static const struct name commands[] = {
	N(F_DUPFD), N(F_GETFD), N(F_SETFD), N(F_GETFL), N(F_SETFL), { 5, "F_GETLK" }, { 6, "F_SETLK" },
	{ 7, "F_SETLKW" }, N(F_DUPFD_CLOEXEC), END };
static const struct name requests[] = {
	{ 0x5401, "TCGETS" }, { 0x5402, "TCSETS" }, { 0x5403, "TCSETSW" }, { 0x5404, "TCSETSF" },
	N(TIOCGPGRP), N(TIOCSPGRP), N(TIOCGWINSZ), N(FIONREAD), N(FIONBIO), END };
static const struct name at_flags[] = {
	{ AT_SYMLINK_NOFOLLOW, "AT_SYMLINK_NOFOLLOW" }, { AT_SYMLINK_FOLLOW, "AT_SYMLINK_FOLLOW" },
	{ 0x800, "AT_NO_AUTOMOUNT" }, { AT_EMPTY_PATH, "AT_EMPTY_PATH" }, END };
static const struct name clone_flags[] = {
	N(CLONE_VM), N(CLONE_FS), N(CLONE_FILES), N(CLONE_SIGHAND), N(CLONE_VFORK), N(CLONE_THREAD), N(CLONE_SYSVSEM),
	N(CLONE_SETTLS), N(CLONE_PARENT_SETTID), N(CLONE_CHILD_CLEARTID), N(CLONE_CHILD_SETTID), END };
static const struct name domains[] = { N(AF_UNSPEC), N(AF_UNIX), N(AF_INET), N(AF_NETLINK), N(AF_INET6), END };
static const struct name socket_types[] = { N(SOCK_STREAM), N(SOCK_DGRAM), N(SOCK_RAW), N(SOCK_SEQPACKET), END };

static const char *find(const struct name *names, uint64_t value)
{
	for (; names->name; names++)
		if (names->value == value)
			return names->name;
	return NULL;
}

static void put_name(struct line *line, const struct name *names, uint64_t value)
{
	const char *name = find(names, value);

	if (name)
		put(line, name);
	else
		put_hex(line, value);
}

/* @first has been written already: bits that are left go behind it. */
static void put_flags(struct line *line, const struct name *names, uint64_t flags, bool first)
{
	for (; names->name; names++) {
		if (!names->value || (flags & names->value) != names->value)
			continue;
		flags &= ~names->value;
		if (first)
			put_char(line, '|');
		put(line, names->name);
		first = true;
	}
	if (!flags && first)
		return;
	if (first)
		put_char(line, '|');
	put_hex(line, flags);
}

static void put_open_flags(struct line *line, uint64_t flags)
{
	const unsigned int mode = flags & O_ACCMODE;

	put(line, mode == O_RDONLY ? "O_RDONLY" : mode == O_WRONLY ? "O_WRONLY" : "O_RDWR");
	put_flags(line, open_flags, (uint32_t)flags & ~O_ACCMODE, true);
}

static void put_signal(struct line *line, uint64_t signo)
{
	if (signo < SIGNALS && decode_names()->signal[signo][0])
		put(line, decode_names()->signal[signo]);
	else
		put_number(line, (int)signo);
}

/* ---- memory ---- */

static void put_byte(struct line *line, unsigned char c, unsigned char next)
{
	static const char letters[] = "abtnvfr";

	if (c == '"' || c == '\\') {
		put_char(line, '\\');
		put_char(line, c);
	} else if (c >= ' ' && c < 127) {
		put_char(line, c);
	} else if (c >= 7 && c <= 13 && c != 7 && c != 8) {
		put_char(line, '\\');
		put_char(line, letters[c - 7]);
	} else {
		/* As few digits as will do. */
		put_char(line, '\\');
		if (next >= '0' && next <= '9') {
			put_char(line, '0' + (c >> 6));
			put_char(line, '0' + (c >> 3 & 7));
			put_char(line, '0' + (c & 7));
		} else {
			put_digits(line, c, 8);
		}
	}
}

static void put_bytes(struct line *line, const char *bytes, size_t size, bool more)
{
	put_char(line, '"');
	for (size_t i = 0; i < size; i++)
		put_byte(line, bytes[i], i + 1 < size ? bytes[i + 1] : 0);
	put(line, more ? "\"..." : "\"");
}

static void put_buffer(struct dune_ring3_thread *t, struct line *line, uint64_t address, uint64_t size)
{
	char bytes[STRING_SHOWN];
	const bool more = size > sizeof(bytes);

	if (more)
		size = sizeof(bytes);
	if (!address || dune_ring3_read(t, bytes, address, size))
		put_address(line, address);
	else
		put_bytes(line, bytes, size, more);
}

/* @address is what the kernel gets, @given what the program has given. */
static void put_string(struct dune_ring3_thread *t, struct line *line, uint64_t address, uint64_t given, size_t most)
{
	char text[1024];
	long length = address ? dune_ring3_read_string(t, text, address, sizeof(text)) : -1;

	if (length < 0)
		put_address(line, given);
	else
		put_bytes(line, text, (size_t)length < most ? (size_t)length : most, (size_t)length > most);
}

static void put_strings(struct dune_ring3_thread *t, struct line *line, uint64_t address, uint64_t given)
{
	uint64_t pointer;

	if (!address || dune_ring3_read(t, &pointer, address, sizeof(pointer))) {
		put_address(line, given);
		return;
	}
	put_char(line, '[');
	for (int i = 0; !dune_ring3_read(t, &pointer, address + i * sizeof(pointer), sizeof(pointer)) && pointer; i++) {
		if (i)
			put(line, ", ");
		if (i == STRINGS_SHOWN) {
			put(line, "...");
			break;
		}
		put_string(t, line, pointer, pointer, STRING_SHOWN);
	}
	put_char(line, ']');
}

static void put_environment(struct dune_ring3_thread *t, struct line *line, uint64_t address, uint64_t given)
{
	uint64_t pointer;
	int count = 0;

	while (address && !dune_ring3_read(t, &pointer, address + count * sizeof(pointer), sizeof(pointer)) && pointer)
		count++;
	put_address(line, given);
	if (!address)
		return;
	put(line, " /* ");
	put_number(line, count);
	put(line, count == 1 ? " var */" : " vars */");
}

static void put_pair(struct dune_ring3_thread *t, struct line *line, uint64_t address, bool made)
{
	int pair[2];

	if (!made || dune_ring3_read(t, pair, address, sizeof(pair))) {
		put_address(line, address);
		return;
	}
	put_char(line, '[');
	put_number(line, pair[0]);
	put(line, ", ");
	put_number(line, pair[1]);
	put_char(line, ']');
}

static void put_status(struct dune_ring3_thread *t, struct line *line, uint64_t address, bool made)
{
	int status;

	if (!address || !made || dune_ring3_read(t, &status, address, sizeof(status))) {
		put_address(line, address);
	} else if (!(status & 0x7f)) {
		put(line, "[{WIFEXITED(s) && WEXITSTATUS(s) == ");
		put_number(line, status >> 8 & 0xff);
		put(line, "}]");
	} else if ((status & 0xff) != 0x7f && status != 0xffff) {
		put(line, "[{WIFSIGNALED(s) && WTERMSIG(s) == ");
		put_signal(line, status & 0x7f);
		put(line, status & 0x80 ? " && WCOREDUMP(s)}]" : "}]");
	} else {
		put_char(line, '[');
		put_hex(line, status);
		put_char(line, ']');
	}
}

/* ---- calls ---- */

static const char *const formats[DUNE_RING3_CALLS] = {
#define FORMAT(name, letters)	[SYS_##name] = letters,
#include "formats.h"
#undef FORMAT
};

const char *call_name(unsigned int nr)
{
	return nr < DUNE_RING3_CALLS ? __dune_call_names[nr] : NULL;
}

/* What libdune's table says of argument @i; 0: there are no more that it knows. */
static char letter_of(unsigned int nr, unsigned int i)
{
	char letter = 0;

	if (formats[nr])
		return formats[nr][i];
	for_each_operand(o, call_of(nr)) {
		if (o->arg == i)
			return o->kind == DESCRIPTOR ? 'f' : o->size == SIZE_STRING && o->kind == READ ? 'p' : 'a';
		if (o->arg > i)
			letter = 'x';
	}
	return letter;
}

/* Is it known only when the call was made? */
static bool is_written(char letter)
{
	return letter == 'r' || letter == 'R' || letter == 'I' || letter == 'l';
}

static void put_argument(struct dune_ring3_thread *t, struct line *line, const struct dune_ring3_call *call,
			 unsigned int i, char letter, int64_t result)
{
	const uint64_t value = call->args[i], given = call->given[i];
	const bool worked = result >= 0;

	switch (letter) {
	case 'd':
		put_number(line, call->nr == SYS_lseek || call->nr == SYS_pread64 ? (int64_t)value : (int)value);
		break;
	case 'f':
		put_number(line, (int)value);
		break;
	case 'D':
		if ((int)value == AT_FDCWD)
			put(line, "AT_FDCWD");
		else
			put_number(line, (int)value);
		break;
	case 'u':
		put_digits(line, value, 10);
		break;
	case 'x':
		put_hex(line, value);
		break;
	case 'm':
		put_octal(line, value);
		break;
	case 'p':
		put_string(t, line, value, given, sizeof(line->text));
		break;
	case 'w':
		put_buffer(t, line, value, call->args[i + 1]);
		break;
	case 'r':
		if (worked)
			put_buffer(t, line, given, result);
		else
			put_address(line, given);
		break;
	case 'R':
		if (worked)
			put_string(t, line, given, given, sizeof(line->text));
		else
			put_address(line, given);
		break;
	case 'v':
		put_strings(t, line, value, given);
		break;
	case 'e':
		put_environment(t, line, value, given);
		break;
	case 'I':
		put_pair(t, line, given, worked);
		break;
	case 'l':
		put_status(t, line, given, result > 0);
		break;
	case 'O':
		if (call->nr == SYS_pipe2 || call->nr == SYS_dup3)
			put_flags(line, open_flags, value, false);
		else
			put_open_flags(line, value);
		break;
	case 'P':
		if (value)
			put_flags(line, protections, value, false);
		else
			put(line, "PROT_NONE");
		break;
	case 'M':
		put(line, (value & 3) == MAP_SHARED ? "MAP_SHARED" : (value & 3) == MAP_PRIVATE ? "MAP_PRIVATE" :
		    "MAP_SHARED_VALIDATE");
		put_flags(line, map_flags, value & ~3UL, true);
		break;
	case 'A':
		if (value)
			put_flags(line, access_modes, value, false);
		else
			put(line, "F_OK");
		break;
	case 'W':
		put_name(line, whences, value);
		break;
	case 'H':
		put_name(line, mask_changes, value);
		break;
	case 'S':
		put_signal(line, value);
		break;
	case 'F':
		put_name(line, futex_operations, value & FUTEX_CMD_MASK);
		if (value & FUTEX_PRIVATE_FLAG)
			put(line, "_PRIVATE");
		if (value & FUTEX_CLOCK_REALTIME)
			put(line, "|FUTEX_CLOCK_REALTIME");
		break;
	case 'K':
		put_name(line, commands, value);
		break;
	case 'T':
		put_name(line, requests, (uint32_t)value);
		break;
	case 'Q':
		put_flags(line, at_flags, (uint32_t)value, false);
		break;
	case 'Z':
		put_flags(line, rename_flags, (uint32_t)value, false);
		break;
	case 'C':
		put_flags(line, clone_flags, value & ~0xffUL, false);
		if (value & 0xff) {
			put_char(line, '|');
			put_signal(line, value & 0xff);
		}
		break;
	case 'N':
		put_name(line, domains, value);
		break;
	case 'Y':
		put_name(line, socket_types, value & 15);
		if (value & SOCK_CLOEXEC)
			put(line, "|SOCK_CLOEXEC");
		if (value & SOCK_NONBLOCK)
			put(line, "|SOCK_NONBLOCK");
		break;
	default:
		put_address(line, given);
	}
}

/* The mode of an open() that makes nothing, and what fcntl() ignores. */
static bool is_left_out(const struct dune_ring3_call *call, unsigned int i, char letter)
{
	if (letter == 'o')
		return !(call->args[i - 1] & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY)));
	return call->nr == SYS_fcntl && i == 2 && (call->args[1] == F_GETFD || call->args[1] == F_GETFL);
}

void put_arguments(struct dune_ring3_thread *t, struct line *line, const struct dune_ring3_call *call,
		   unsigned int *next, bool made, int64_t result)
{
	for (unsigned int i = *next; i < 6; *next = ++i) {
		const char letter = letter_of(call->nr, i);

		if (!letter || is_left_out(call, i, letter)) {
			*next = 6;
			return;
		}
		if (!made && is_written(letter))
			return;
		if (i)
			put(line, ", ");
		put_argument(t, line, call, i, letter == 'o' ? 'm' : letter, result);
	}
}

void put_result(struct line *line, const struct dune_ring3_call *call, int64_t result)
{
	const uint64_t error = -result;

	put(line, "= ");
	if (result == DUNE_RING3_RESTART) {
		put(line, "? ERESTARTSYS (To be restarted if SA_RESTART is set)");
	} else if (error < ERRORS && error) {
		put(line, "-1 ");
		put(line, decode_names()->error[error]);
		put(line, " (");
		put(line, decode_names()->error_text[error]);
		put_char(line, ')');
	} else if (call->nr == SYS_mmap || call->nr == SYS_brk || call->nr == SYS_mremap || call->nr == SYS_shmat) {
		put_hex(line, result);
	} else if (call->nr == SYS_umask) {
		put_octal(line, result);
	} else if (call->nr == SYS_fcntl && call->args[1] == F_GETFD && result & FD_CLOEXEC) {
		put_hex(line, result);
		put(line, " (flags FD_CLOEXEC)");
	} else if (call->nr == SYS_fcntl && call->args[1] == F_GETFL) {
		put_hex(line, result);
		put(line, " (flags ");
		put_open_flags(line, result);
		put_char(line, ')');
	} else {
		put_number(line, result);
	}
}
