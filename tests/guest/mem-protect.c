// SPDX-License-Identifier: MIT
/*
 * mprotect() from every protection to every other, for memory without and with a file,
 * touched before or not; then a read, a write, a jump: each does what it does to an ordinary process.
 * And what one thread does to protections holds for the guest at once.
 */
#include "outcome.h"

static const int protections[] = {
	PROT_NONE, PROT_READ, PROT_WRITE, PROT_EXEC, PROT_READ | PROT_WRITE, PROT_READ | PROT_EXEC,
	PROT_READ | PROT_WRITE | PROT_EXEC,
};

#define N_PROTECTIONS	N_ELEMENTS(protections)

enum action { ACTION_READ, ACTION_WRITE, ACTION_UPDATE, ACTION_JUMP, N_ACTIONS };
enum memory { MEMORY_ANON, MEMORY_PRIVATE, MEMORY_SHARED, N_MEMORIES };

#define COUNT	(N_PROTECTIONS * N_PROTECTIONS * N_ACTIONS * N_MEMORIES)

/* mov $0x1234, %eax; ret */
static const uint8_t code[] = { 0xb8, 0x34, 0x12, 0, 0, 0xc3, 0, 0 };

struct where {
	char *p;
	int fd;
};

static void take_apart(unsigned int number, int *from, int *to, enum action *action, enum memory *memory)
{
	*from = protections[number % N_PROTECTIONS];
	number /= N_PROTECTIONS;
	*to = protections[number % N_PROTECTIONS];
	number /= N_PROTECTIONS;
	*action = number % N_ACTIONS;
	*memory = number / N_ACTIONS;
}

static const char *name(unsigned int number)
{
	static const char *const actions[] = { "read", "write", "update", "jump" };
	static const char *const memories[] = { "anonymous", "private", "shared" };
	static char text[100];
	enum action action;
	enum memory memory;
	int from, to;

	take_apart(number, &from, &to, &action, &memory);
	snprintf(text, sizeof(text), "%s of %s memory, protection %d to %d", actions[action],
		 memories[memory], from, to);
	return text;
}

static uint64_t act(char *p, enum action action)
{
	switch (action) {
	case ACTION_READ:
		return *(volatile uint64_t *)p;
	case ACTION_WRITE:
		*(volatile uint64_t *)(p + 16) = 1;
		return 1;
	case ACTION_UPDATE:
		return __atomic_add_fetch((uint64_t *)(p + 24), 1, __ATOMIC_SEQ_CST);
	default:
		return ((int (*)(void))p)();
	}
}

/* All that @prot allows, so that it is mapped for the guest. */
static void touch(char *p, int prot)
{
	if (prot & PROT_READ)
		act(p, ACTION_READ);
	if (prot & PROT_WRITE)
		act(p, ACTION_WRITE);
	if (prot & PROT_EXEC)
		act(p, ACTION_JUMP);
}

static uint64_t change_and_access(unsigned int number, void *argument)
{
	struct where *w = argument;
	enum action action;
	enum memory memory;
	uint64_t zero = 0;
	int from, to;

	take_apart(number, &from, &to, &action, &memory);
	CHECK(pwrite(w->fd, &zero, sizeof(zero), 24) == sizeof(zero));
	if (memory == MEMORY_ANON) {
		map(w->p, PAGE, RW, ANON, -1);
		memcpy(w->p, code, sizeof(code));
	} else {
		map(w->p, PAGE, RW, memory == MEMORY_PRIVATE ? MAP_PRIVATE : MAP_SHARED, w->fd);
	}
	CHECK(!mprotect(w->p, PAGE, from));
	/*
	 * With protection keys PROT_EXEC cannot be read; but what the guest has executed, it can: second-level tables
	 * know no less.
	 */
	if (from != PROT_EXEC || to != PROT_EXEC || action != ACTION_READ)
		touch(w->p, from);
	CHECK(!mprotect(w->p, PAGE, to));
	return act(w->p, action);
}

/* ---- by another thread, while the guest has it mapped ---- */

static struct ordinary *outside;

static void by_another_thread(void)
{
	int pipe_end = outside->to[1];
	int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	char *p = map_anon(4 * PAGE);

	memcpy(p, code, sizeof(code));
	for (int i = 0; i < 50; i++) {
		put(HERE, p + 16, i);
		CHECK_EQ(ask(outside, job_mprotect, (long)p, PAGE, PROT_READ | PROT_EXEC), 0);
		CHECK_EQ(act(p, ACTION_JUMP), 0x1234);
		/* The kernel refuses to write there, for the guest as for all. */
		CHECK(read(zero, p + 16, 8) == -1 && errno == EFAULT);
		CHECK_EQ(ask(outside, job_mprotect, (long)p, PAGE, PROT_NONE), 0);
		CHECK(write(pipe_end, p, 8) == -1 && errno == EFAULT);
		CHECK_EQ(ask(outside, job_mprotect, (long)p, PAGE, RW), 0);
		BOTH_SEE(outside, p + 16, i);
	}
	munmap(p, 4 * PAGE);
	close(zero);
}

/* Code that one side writes and the other runs. */
static long job_call(long p, long b, long c)
{
	(void)b;
	(void)c;
	return ((int (*)(void))p)();
}

static void code_written_by_the_other(void)
{
	char *p = map_anon(PAGE);
	uint8_t changed[8];

	CHECK(!mprotect(p, PAGE, RW | PROT_EXEC));
	for (unsigned int i = 0; i < 100; i++) {
		uint64_t word;

		memcpy(changed, code, 8);
		changed[1] = i;
		memcpy(&word, changed, 8);
		put(i & 1 ? outside : HERE, p, word);
		CHECK_EQ(ask(i & 1 ? HERE : outside, job_call, (long)p, 0, 0), 0x1200 + i);
		CHECK_EQ(ask(i & 1 ? outside : HERE, job_call, (long)p, 0, 0), 0x1200 + i);
	}
	munmap(p, PAGE);
}

/* Two mappings of one page: written through one, run through the other, as JITs do. */
static void two_mappings(void)
{
	int fd = memfd_create("code", MFD_CLOEXEC);
	char *data, *text;

	CHECK(!ftruncate(fd, PAGE));
	data = map(NULL, PAGE, RW, MAP_SHARED, fd);
	text = map(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_SHARED, fd);
	for (unsigned int i = 0; i < 50; i++) {
		memcpy(data, code, 8);
		data[1] = i;
		__builtin_ia32_mfence();
		CHECK_EQ(job_call((long)text, 0, 0), 0x1200 + i);
		CHECK_EQ(ask(outside, job_call, (long)text, 0, 0), 0x1200 + i);
	}
	munmap(data, PAGE);
	munmap(text, PAGE);
	close(fd);
}

int main(void)
{
	struct outcome *outcomes;
	struct where where;
	unsigned int done = 0;

	where.p = map_anon(4 * PAGE) + PAGE;
	where.fd = memfd_create("protect", MFD_CLOEXEC);
	CHECK(!ftruncate(where.fd, PAGE));
	CHECK(pwrite(where.fd, code, sizeof(code), 0) == sizeof(code));
	outcomes = outcomes_alike(change_and_access, &where, COUNT, name);
	for (unsigned int i = 0; i < COUNT; i++)
		done += outcomes[i].done;
	CHECK(done > COUNT / 3 && done < COUNT);

	outside = ordinary_thread();
	enter();
	by_another_thread();
	code_written_by_the_other();
	two_mappings();
	return 0;
}
