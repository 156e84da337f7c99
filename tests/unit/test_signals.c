// SPDX-License-Identifier: MIT
/*
 * Signals: what a thread is doing when one comes, by each address at which it can stand, and what becomes of each pair
 * (doing, kind of signal). doc/design/signals.md has the table as it is; `test_signals --write` puts it there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "host/host.h"
#include "host/signals.h"

#define DOCUMENT	"doc/design/signals.md"
#define BEGIN_TABLE	"<!-- made by build/tests/unit/test_signals --write -->\n"
#define END_TABLE	"<!-- until here -->\n"

static const char *const kind_names[] = {
#define SIGNAL(name, text)	#name,
	SIGNAL_KINDS(SIGNAL)
#undef SIGNAL
};

static const char *const action_names[] = {
#define ACTION(name, text)	#name,
	SIGNAL_ACTIONS(ACTION)
#undef ACTION
};

static const char *const settle_names[] = {
#define SETTLE(name, text)	#name,
	SETTLES(SETTLE)
#undef SETTLE
};

static const char *const doing_names[] = {
#define DOING(name, ...)	#name,
	DOINGS(DOING)
#undef DOING
};

static unsigned long address(const void *label)
{
	return (unsigned long)label;
}

/* ---- what the loop does at each of its instructions ---- */

static size_t nr_parts(void)
{
	return __dune_loop_parts_end - __dune_loop_parts;
}

static unsigned long begin_of(size_t part)
{
	return address(__dune_run_loop) + __dune_loop_parts[part].start;
}

/* The last one, C code, is all that lies outside the loop too. */
static unsigned long end_of(size_t part)
{
	return part + 1 < nr_parts() ? begin_of(part + 1) : begin_of(part) + 1000;
}

static enum doing doing_at(unsigned long rip, enum run_result result)
{
	return doing_when(&(struct stopped){ .rip = rip, .result = result, .doing = DOING_LOOP });
}

/* The guest has come out, and nobody has looked yet. */
static const struct { enum run_result result; enum doing doing; } reasons[] = {
	{ RUN_CALL, DOING_CALL },
	{ RUN_INTR, DOING_GUEST },
	{ RUN_WINDOW, DOING_GUEST },
	{ RUN_FAULT, DOING_GUEST },	/* it makes the access again */
	{ RUN_SHUTDOWN, DOING_CODE },
	{ RUN_BAD_RIP, DOING_CODE },
	{ RUN_FAILED, DOING_CODE },
};

static void each_instruction(void **state)
{
	(void)state;
	assert_int_equal(__dune_loop_parts[0].start, 0);
	for (size_t i = 0; i < nr_parts(); i++) {
		enum doing doing = __dune_loop_parts[i].doing;

		assert_true(doing == DOING_LOOP || doing >= DOING_GUEST);
		assert_true(begin_of(i) < end_of(i));
		for (unsigned long rip = begin_of(i); rip < end_of(i); rip++)
			for (size_t k = 0; k < ARRAY_SIZE(reasons); k++)
				assert_int_equal(doing_at(rip, reasons[k].result),
						 doing == DOING_LOOP ? reasons[k].doing : doing);
	}
	assert_int_equal(doing_at(address(__dune_run_loop) - 1, 0), DOING_CODE);
	assert_int_equal(doing_at(address(__dune_touch_read), 0), DOING_CODE);
	assert_int_equal(doing_at(address(__dune_copy), 0), DOING_CODE);
	assert_int_equal(doing_at(0, 0), DOING_CODE);
	assert_int_equal(doing_at(~0UL, 0), DOING_CODE);
}

/* Is there a call of @to before @rip? */
static bool behind_call(unsigned long rip, const char *to)
{
	const uint8_t *call = (const uint8_t *)rip - 5;
	int32_t distance;

	memcpy(&distance, call + 1, sizeof(distance));
	return call[0] == 0xe8 && rip + distance == address(to);
}

/* A result is there behind the call, until it has been stored; and nowhere else. */
static void parts_of_the_loop(void **state)
{
	static const uint8_t store[] = { 0x48, 0x89, 0x03 };	/* mov %rax, (%rbx) */
	unsigned int seen[NR_DOINGS] = { 0 };

	(void)state;
	for (size_t i = 0; i < nr_parts(); i++) {
		enum doing doing = __dune_loop_parts[i].doing;
		bool result = doing == DOING_RESULT || doing == DOING_OUTPUT_RESULT;

		seen[doing]++;
		assert_int_equal(result, behind_call(begin_of(i), __dune_syscall_site));
		assert_int_equal(doing == DOING_LOOP, behind_call(begin_of(i), __dune_own_site));
		if (!result)
			continue;
		assert_int_equal(__dune_loop_parts[i - 1].doing, doing == DOING_RESULT ? DOING_CALL : DOING_OUTPUT);
		assert_int_equal(end_of(i) - begin_of(i), sizeof(store));
		assert_memory_equal((const void *)begin_of(i), store, sizeof(store));
	}
	assert_int_equal(seen[DOING_LOOP], 1);
	assert_int_equal(seen[DOING_RESULT], 1);
	assert_int_equal(seen[DOING_OUTPUT_RESULT], 1);
}

/* At a syscall instruction: before it, on it again to restart, or behind it. */
static void syscall_instructions(void **state)
{
	static const char *const sites[] = { __dune_own_site, __dune_syscall_site };

	(void)state;
	for (size_t i = 0; i < 2 * nr_parts(); i++) {
		const char *site = sites[i % 2];
		unsigned long caller = begin_of(i / 2);
		struct stopped s = { .rip = address(site), .caller = caller, .result = RUN_CALL };

		if (!behind_call(caller, site))
			continue;
		assert_true(at_syscall(s.rip));
		assert_int_equal(doing_when(&s), doing_at(caller - 1, 0));
		s.rip += SYSCALL_LENGTH;
		assert_true(at_syscall(s.rip));
		for (size_t k = 0; k < ARRAY_SIZE(reasons); k++) {
			s.result = reasons[k].result;
			assert_int_equal(doing_when(&s), doing_at(caller, s.result));
		}
		assert_false(at_syscall(s.rip + 1));
		assert_false(at_syscall(address(site) - 1));
	}
	/* Called by C code. */
	for (int i = 0; i < 4; i++) {
		struct stopped s = { .rip = address(sites[i % 2]) + i / 2 * SYSCALL_LENGTH,
				     .caller = address(__dune_copy) + 7, .result = RUN_CALL };

		assert_int_equal(doing_when(&s), DOING_CODE);
	}
}

/* What the thread says comes before what its registers say. */
static void what_the_thread_says(void **state)
{
	(void)state;
	for (enum doing said = DOING_LOOP + 1; said < DOING_GUEST; said++) {
		for (size_t i = 0; i < nr_parts(); i++) {
			struct stopped s = { .rip = begin_of(i), .doing = said };

			assert_int_equal(doing_when(&s), said);
			s.caller = begin_of(i);
			s.rip = address(__dune_syscall_site) + SYSCALL_LENGTH;
			assert_int_equal(doing_when(&s), said);
		}
	}
	/* The kernel has made it, and the thread has not said so yet. */
	assert_int_equal(doing_when(&(struct stopped){ .rip = address(__dune_sigreturned), .doing = DOING_SIGRETURN }),
			 DOING_SIGRETURNED);
}

/* ---- kinds of signals ---- */

static enum signal_kind kind(int signo, int code, const void *rip)
{
	siginfo_t info = { .si_signo = signo, .si_code = code };

	return kind_of(&info, address(rip));
}

#define DISPATCHED	2

static void kinds(void **state)
{
	static const int faults[] = { SIGSEGV, SIGBUS };
	const char *const behind = __dune_syscall_site + SYSCALL_LENGTH;

	(void)state;
	assert_int_equal(kind(SIGSYS, SECCOMP_TRAP, behind), SIGNAL_TRAP);
	assert_int_equal(kind(SIGSYS, SECCOMP_TRAP, __dune_run_loop), SIGNAL_SENT);
	assert_int_equal(kind(SIGSYS, SECCOMP_TRAP, __dune_own_site + SYSCALL_LENGTH), SIGNAL_SENT);
	assert_int_equal(kind(SIGSYS, DISPATCHED, behind), SIGNAL_SENT);
	assert_int_equal(kind(SIGSYS, SI_USER, behind), SIGNAL_SENT);
	assert_int_equal(kind(SIGUSR1, SECCOMP_TRAP, behind), SIGNAL_SENT);
	for (int i = 0; i < 2; i++) {
		for (const char *p = (const char *)__dune_touch_read; p < (const char *)__dune_touch_end; p++)
			assert_int_equal(kind(faults[i], SEGV_MAPERR, p), SIGNAL_ACCESS);
		for (const char *p = (const char *)__dune_copy; p < __dune_copy_failed; p++)
			assert_int_equal(kind(faults[i], SEGV_ACCERR, p), SIGNAL_COPY);
		assert_int_equal(kind(faults[i], SEGV_MAPERR, __dune_copy_failed), SIGNAL_SENT);
		assert_int_equal(kind(faults[i], SEGV_MAPERR, __dune_touch_end), SIGNAL_SENT);
		assert_int_equal(kind(faults[i], SEGV_MAPERR, __dune_peek), SIGNAL_PEEK);
		/* kill(2) at that moment */
		assert_int_equal(kind(faults[i], SI_USER, __dune_touch_read), SIGNAL_SENT);
		assert_int_equal(kind(faults[i], SI_TKILL, __dune_copy), SIGNAL_SENT);
		assert_int_equal(kind(faults[i], SI_QUEUE, __dune_peek), SIGNAL_SENT);
	}
	/* The kernel sends others with codes of their own. */
	assert_int_equal(kind(SIGCHLD, 1, __dune_peek), SIGNAL_SENT);
	assert_int_equal(kind(SIGIO, 1, __dune_touch_read), SIGNAL_SENT);
	assert_int_equal(kind(SIGTRAP, 1, __dune_copy), SIGNAL_SENT);
}

/* ---- the table ---- */

static bool waits(enum signal_action action)
{
	return action == ACTION_DEFER || action == ACTION_REFUSE;
}

/* What holds for every pair. */
static void pairs(void **state)
{
	(void)state;
	for (enum doing doing = 0; doing < NR_DOINGS; doing++) {
		const struct doing_row *row = &__dune_doings[doing];

		for (enum signal_kind kind = 0; kind < NR_SIGNAL_KINDS; kind++) {
			enum signal_action action = row->actions[kind];

			assert_true(action < ARRAY_SIZE(action_names));
			assert_true(row->settle < ARRAY_SIZE(settle_names));
			/* The registers never say this. */
			if (doing == DOING_LOOP) {
				assert_int_equal(action, ACTION_DIE);
				continue;
			}
			/* A guest that cannot be settled calls no handler; one that can is not left waiting. */
			if (row->settle == SETTLE_NEVER)
				assert_true(waits(action) || action == ACTION_FAIL || action == ACTION_DIE);
			else
				assert_true(!waits(action) || (doing == DOING_EXEC && kind == SIGNAL_TRAP));
			switch (kind) {
			case SIGNAL_SENT:	/* comes anywhere, and respects that the guest has interrupts off */
				assert_true(action == ACTION_DELIVER || action == ACTION_DEFER);
				break;
			case SIGNAL_TRAP:	/* is about a call of the guest's, or about one that HR3 needs */
				assert_true(action == ACTION_FORCE || action == ACTION_REFUSE);
				break;
			case SIGNAL_ACCESS:	/* is about one access */
				assert_int_equal(action, doing == DOING_TOUCH ? ACTION_FAULT : ACTION_DIE);
				break;
			case SIGNAL_COPY:	/* goes on in the function itself */
				assert_int_equal(action, ACTION_FAIL);
				break;
			default:
				assert_int_equal(action, ACTION_DIE);
			}
		}
	}
}

/* Each doing that is not a call, or that has been made, adds what it alone has. */
static void settled(void **state)
{
	static const enum settle wanted[NR_DOINGS] = {
		[DOING_LOOP] = SETTLE_NEVER, [DOING_EXEC] = SETTLE_AGAIN, [DOING_OWN_CALL] = SETTLE_NEVER,
		[DOING_FAULT] = SETTLE_NOTHING, [DOING_TOUCH] = SETTLE_ACCESS, [DOING_RAISE] = SETTLE_NOTHING,
		[DOING_SIGRETURN] = SETTLE_RETURN, [DOING_SIGRETURNED] = SETTLE_RETURNED,
		[DOING_MASK] = SETTLE_NOTHING, [DOING_GUEST] = SETTLE_NOTHING,
		[DOING_CALL] = SETTLE_AGAIN, [DOING_RESULT] = SETTLE_RESULT, [DOING_OUTPUT] = SETTLE_AGAIN,
		[DOING_OUTPUT_RESULT] = SETTLE_OUTPUT, [DOING_CODE] = SETTLE_NEVER,
	};

	(void)state;
	for (enum doing doing = 0; doing < NR_DOINGS; doing++)
		assert_int_equal(__dune_doings[doing].settle, wanted[doing]);
}

/* ---- the document ---- */

static void print_table(FILE *f)
{
	fprintf(f, "\n| doing | the thread does | settled by |\n|---|---|---|\n");
#define DOING(name, settle, sent, trap, access, copy, peek, text)			\
	if (DOING_##name != DOING_LOOP)							\
		fprintf(f, "| %s | %s | %s |\n", #name, text, #settle);
	DOINGS(DOING)
#undef DOING
	fprintf(f, "\n| settled by | how |\n|---|---|\n");
#define SETTLE(name, text)	fprintf(f, "| %s | %s |\n", #name, text);
	SETTLES(SETTLE)
#undef SETTLE
	fprintf(f, "\n| kind | the signal is |\n|---|---|\n");
#define SIGNAL(name, text)	fprintf(f, "| %s | %s |\n", #name, text);
	SIGNAL_KINDS(SIGNAL)
#undef SIGNAL
	fprintf(f, "\n| doing |");
	for (enum signal_kind k = 0; k < NR_SIGNAL_KINDS; k++)
		fprintf(f, " %s |", kind_names[k]);
	fprintf(f, "\n|---|");
	for (enum signal_kind k = 0; k < NR_SIGNAL_KINDS; k++)
		fprintf(f, "---|");
	for (enum doing d = DOING_LOOP + 1; d < NR_DOINGS; d++) {
		fprintf(f, "\n| %s |", doing_names[d]);
		for (enum signal_kind k = 0; k < NR_SIGNAL_KINDS; k++)
			fprintf(f, " %s |", action_names[__dune_doings[d].actions[k]]);
	}
	fprintf(f, "\n\n| action | what is done |\n|---|---|\n");
#define ACTION(name, text)	fprintf(f, "| %s | %s |\n", #name, text);
	SIGNAL_ACTIONS(ACTION)
#undef ACTION
	fprintf(f, "\n");
}

static char is[100000], wanted[100000];

/* The document, and what it would be with the table as it is now. */
static bool read_document(void)
{
	FILE *f = fopen(DOCUMENT, "r");
	const char *begin, *end;

	if (!f)
		return false;
	is[fread(is, 1, sizeof(is) - 1, f)] = '\0';
	fclose(f);
	begin = strstr(is, BEGIN_TABLE);
	end = begin ? strstr(begin, END_TABLE) : NULL;
	f = end ? fmemopen(wanted, sizeof(wanted), "w") : NULL;
	if (!f)
		return false;
	fprintf(f, "%.*s" BEGIN_TABLE, (int)(begin - is), is);
	print_table(f);
	fprintf(f, "%s", end);
	return !fclose(f);
}

static void document(void **state)
{
	(void)state;
	assert_true(read_document());
	if (strcmp(is, wanted))
		print_error(DOCUMENT " is not what `build/tests/unit/test_signals --write` makes of it\n");
	assert_string_equal(is, wanted);
}

static int write_document(void)
{
	FILE *f = read_document() ? fopen(DOCUMENT, "w") : NULL;

	if (f && fputs(wanted, f) >= 0 && !fclose(f))
		return 0;
	perror(DOCUMENT);
	return 1;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_instruction),
		cmocka_unit_test(parts_of_the_loop),
		cmocka_unit_test(syscall_instructions),
		cmocka_unit_test(what_the_thread_says),
		cmocka_unit_test(kinds),
		cmocka_unit_test(pairs),
		cmocka_unit_test(settled),
		cmocka_unit_test(document),
	};

	if (argc > 1 && !strcmp(argv[1], "--write"))
		return write_document();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
