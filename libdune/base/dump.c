// SPDX-License-Identifier: MIT
/*
 * dune_dump_trap_frame(): for people, when something has gone wrong.  So it touches no memory but its
 * own: the kernel reads the rest, and says when it cannot.
 *
 * HR3 and GR0.
 */
#include <linux/uio.h>

#include "base/base.h"

#define CODE_BEFORE	16
#define CODE_BYTES	32
#define STACK_WORDS	12
#define FRAMES_MAX	16
#define GUESS_WORDS	128

/* As much as there is of @size bytes at @from; returns how much. */
static size_t peek(void *to, unsigned long from, size_t size)
{
	struct iovec here = { to, size };
	struct iovec there[2] = { { (void *)from, size } };
	size_t first = PGSIZE - from % PGSIZE;
	unsigned int parts = 1;
	long ret;

	/* The kernel copies whole pieces: one for each page. */
	if (first < size) {
		there[0].iov_len = first;
		there[1] = (struct iovec){ (void *)(from + first), size - first };
		parts = 2;
	}
	ret = dune_syscall6(__NR_process_vm_readv, dune_syscall0(__NR_getpid), &here, 1, there, parts, 0);
	return ret > 0 ? ret : 0;
}

static void dump_registers(const struct dune_tf *tf)
{
	__dune_print_error("rax %016lx rbx %016lx rcx %016lx rdx %016lx\n"
			   "rsi %016lx rdi %016lx rbp %016lx rsp %016lx\n"
			   "r8  %016lx r9  %016lx r10 %016lx r11 %016lx\n"
			   "r12 %016lx r13 %016lx r14 %016lx r15 %016lx\n"
			   "rip %016lx rflags %08lx cs %04x ss %04x err %08x, ring %d\n",
			   tf->rax, tf->rbx, tf->rcx, tf->rdx, tf->rsi, tf->rdi, tf->rbp, tf->rsp,
			   tf->r8, tf->r9, tf->r10, tf->r11, tf->r12, tf->r13, tf->r14, tf->r15,
			   tf->rip, tf->rflags, tf->cs, tf->ss, tf->err, tf->cs & 3);
}

/* Hexadecimal bytes, the one at RIP in brackets.  Those before it may lie in a page that is not there. */
static void dump_code(unsigned long rip)
{
	static const char digits[] = "0123456789abcdef";
	char text[4 * (CODE_BEFORE + CODE_BYTES) + 1], *p = text;
	uint8_t code[CODE_BEFORE + CODE_BYTES];
	unsigned int before = CODE_BEFORE;
	size_t got = peek(code, rip - before, sizeof(code));

	if (got <= before) {
		before = 0;
		got = peek(code, rip, CODE_BYTES);
	}
	for (unsigned int i = 0; i < got; i++) {
		if (i == before)
			*p++ = '<';
		*p++ = digits[code[i] >> 4];
		*p++ = digits[code[i] & 15];
		if (i == before)
			*p++ = '>';
		*p++ = ' ';
	}
	*p = 0;
	__dune_print_error("code: %s\n", got ? text : "cannot be read");
}

static void dump_stack(unsigned long rsp)
{
	uint64_t words[STACK_WORDS];
	size_t got = peek(words, rsp, sizeof(words)) / sizeof(words[0]);

	if (!got)
		__dune_print_error("stack: cannot be read\n");
	for (size_t i = 0; i < got; i += 4)
		__dune_print_error("%s%016lx%s%016lx%s%016lx%s%016lx\n", i ? "       " : "stack: ", words[i],
				   i + 1 < got ? " " : "", i + 1 < got ? words[i + 1] : 0,
				   i + 2 < got ? " " : "", i + 2 < got ? words[i + 2] : 0,
				   i + 3 < got ? " " : "", i + 3 < got ? words[i + 3] : 0);
}

static void dump_symbol(const struct dune_procmap_entry *e, uint64_t offset, const char *label)
{
	uint64_t distance;
	char name[128];

	if (e->type == PROCMAP_TYPE_FILE && __dune_symbol(e->path, offset, name, sizeof(name), &distance))
		__dune_print_error("%s%s + %#lx\n", label, name, distance);
}

static void dump_rip(const struct dune_procmap_entry *e, void *arg)
{
	uint64_t offset = *(unsigned long *)arg - e->begin + e->offset;

	__dune_print_error("rip is in %#lx-%#lx %c%c%c%c, %s + %#lx\n", e->begin, e->end,
			   e->r ? 'r' : '-', e->w ? 'w' : '-', e->x ? 'x' : '-', e->p ? 'p' : 's',
			   *e->path ? e->path : "memory without a name", offset);
	dump_symbol(e, offset, "function: ");
}

struct caller {
	unsigned long address;		/* behind the call */
	const char *how;
	bool found;
};

/* The symbol is that of the call: behind the last one of a function another may begin. */
static void dump_caller(const struct dune_procmap_entry *e, void *arg)
{
	struct caller *c = arg;
	uint64_t offset = c->address - e->begin + e->offset;

	if (!e->x)
		return;
	c->found = true;
	__dune_print_error("%s from %#lx, %s + %#lx\n", c->how, c->address,
			   *e->path ? e->path : "memory without a name", offset);
	dump_symbol(e, offset - 1, "  in ");
}

static bool is_caller(unsigned long address, const char *how)
{
	struct caller c = { address, how, false };

	__dune_procmap_find(address, dump_caller, &c);
	return c.found;
}

/* Each frame pointer leads to the caller's and to the return address, and lies below the next.  Returns how many. */
static int dump_callers(unsigned long frame_pointer)
{
	unsigned long last = 0, frame[2];
	int count = 0;

	while (count < FRAMES_MAX && frame_pointer > last && frame_pointer % sizeof(long) == 0) {
		if (peek(frame, frame_pointer, sizeof(frame)) != sizeof(frame) || !is_caller(frame[1], "called"))
			break;
		count++;
		last = frame_pointer;
		frame_pointer = frame[0];
	}
	return count;
}

/* SDM, "CALL": by a distance, or by a register or memory, in its shorter forms. */
static bool is_behind_call(unsigned long address)
{
	uint8_t code[6];

	if (address < PGSIZE || peek(code, address - sizeof(code), sizeof(code)) != sizeof(code))
		return false;
	if (code[1] == 0xe8)
		return true;
	for (int i = 0; i < 5; i++)
		if (code[i] == 0xff && (code[i + 1] & 0x38) == 0x10 && (i == 0 || i == 3 || i == 4))
			return true;
	return false;
}

/* Without frame pointers: what looks like a return address.  Some may be of calls that are over. */
static void guess_callers(unsigned long rsp)
{
	unsigned long words[GUESS_WORDS];
	size_t got = peek(words, rsp, sizeof(words)) / sizeof(words[0]);

	for (size_t i = 0, count = 0; i < got && count < FRAMES_MAX; i++)
		if (is_behind_call(words[i]) && is_caller(words[i], "perhaps called"))
			count++;
}

void __dune_dump(const struct dune_tf *tf)
{
	unsigned long rip = tf->rip;

	dump_registers(tf);
	dump_code(rip);
	dump_stack(tf->rsp);
	if (!__dune_procmap_find(rip, dump_rip, &rip))
		__dune_print_error("rip is in no memory of the process\n");
	if (!dump_callers(tf->rbp))
		guess_callers(tf->rsp);
}

PUBLIC void dune_dump_trap_frame(struct dune_tf *tf)
{
	struct dune_tf copy;

	/* The frame may be anywhere. */
	if (peek(&copy, (unsigned long)tf, sizeof(copy)) == sizeof(copy))
		__dune_dump(&copy);
	else
		__dune_print_error("dune_dump_trap_frame: no frame at %p\n", (void *)tf);
}
