// SPDX-License-Identifier: MIT
/* Seccomp profiles of container runtimes: what becomes of them, and which are refused, with what message. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "sandbox/build.h"

static char file[] = "/tmp/profile-XXXXXX";
static char said[4000];		/* on stderr */

/* NULL: it is refused. @own: a policy's rule for ptrace, too. */
static struct policy *read_bytes(const char *text, size_t length, bool own)
{
	const struct place place = { .rank = RANK_MAX };
	struct builder *b = builder_new();
	FILE *out = fopen(file, "w"), *errors = tmpfile();
	const int old = dup(STDERR_FILENO);
	struct policy *p = NULL;

	assert_non_null(out);
	assert_non_null(errors);
	assert_int_equal(fwrite(text, 1, length, out), length);
	fclose(out);
	assert_true(builder_refusals(b));
	if (own)
		assert_true(builder_call(b, &place, "ptrace", "allow", NULL));
	fflush(stderr);
	dup2(fileno(errors), STDERR_FILENO);
	if (policy_read_profile(b, file))
		p = builder_finish(b);
	fflush(stderr);
	dup2(old, STDERR_FILENO);
	close(old);
	rewind(errors);
	said[fread(said, 1, sizeof(said) - 1, errors)] = '\0';
	fclose(errors);
	builder_free(b);
	return p;
}

static struct policy *good(const char *text, bool own)
{
	struct policy *p = read_bytes(text, strlen(text), own);

	if (!p)
		fail_msg("refused: %s", said);
	return p;
}

#define CALL(p, nr, ...)	policy_call(p, nr, (uint64_t[6]){ __VA_ARGS__ })

static void as_docker_has_it(void **state)
{
	static const char text[] =
		"{ \"defaultAction\": \"SCMP_ACT_ERRNO\", \"defaultErrnoRet\": 38,\n"
		"\t\"archMap\": [ { \"architecture\": \"SCMP_ARCH_X86_64\","
		" \"subArchitectures\": [\"SCMP_ARCH_X86\"] } ],\n"
		"\t\"syscalls\": [\n"
		"\t{ \"names\": [\"read\", \"write\", \"no_such_call\", \"ioctl\", \"keyctl\"],"
		"   \"action\": \"SCMP_ACT_ALLOW\" },\n"
		"\t{ \"names\": [\"personality\"], \"action\": \"SCMP_ACT_ALLOW\", \"comment\": \"\","
		"   \"args\": [ { \"index\": 0, \"value\": 8, \"op\": \"SCMP_CMP_EQ\" } ] },\n"
		"\t{ \"names\": [\"personality\"], \"action\": \"SCMP_ACT_ALLOW\", \"args\": ["
		"     { \"index\": 0, \"value\": 131072, \"valueTwo\": 0, \"op\": \"SCMP_CMP_EQ\" },"
		"     { \"index\": 0, \"value\": 131080, \"op\": \"SCMP_CMP_EQ\" } ], \"includes\": {},"
		" \"excludes\": {} },\n"
		"\t{ \"names\": [\"clone\"], \"action\": \"SCMP_ACT_ALLOW\", \"args\": ["
		"     { \"index\": 0, \"value\": 2114060288, \"valueTwo\": 0, \"op\": \"SCMP_CMP_MASKED_EQ\" },"
		"     { \"index\": 1, \"value\": 4, \"op\": \"SCMP_CMP_GE\" } ] },\n"
		"\t{ \"names\": [\"socket\"], \"action\": \"SCMP_ACT_ERRNO\", \"errnoRet\": 95,"
		"   \"args\": [ { \"index\": 0, \"value\": 10, \"op\": \"SCMP_CMP_EQ\" } ] },\n"
		"\t{ \"names\": [\"socket\"], \"action\": \"SCMP_ACT_ALLOW\", \"args\": null },\n"
		"\t{ \"names\": [\"clone3\"], \"action\": \"SCMP_ACT_ERRNO\", \"errnoRet\": 22,"
		" \"errno\": \"ENOSYS\" },\n"
		"\t{ \"names\": [\"ptrace\"], \"action\": \"SCMP_ACT_KILL\" },\n"
		"\t{ \"name\": \"pause\", \"action\": \"SCMP_ACT_ALLOW\","
		" \"includes\": { \"arches\": [\"arm64\"] } },\n"
		"\t{ \"name\": \"alarm\", \"action\": \"SCMP_ACT_ALLOW\", \"includes\": { \"arches\": [\"amd64\"],"
		"   \"minKernel\": \"4.8\" }, \"excludes\": { \"arches\": [\"s390\"] } },\n"
		"\t{ \"name\": \"sync\", \"action\": \"SCMP_ACT_ALLOW\", \"excludes\": { \"minKernel\": \"4.8\" } },\n"
		"\t{ \"name\": \"times\", \"action\": \"SCMP_ACT_ALLOW\","
		" \"includes\": { \"minKernel\": \"999.0\" } }\n"
		"] }\n";
	struct policy *p = good(text, false);

	(void)state;
	assert_non_null(strstr(said, "1 names of calls are not known and left out: no_such_call\n"));
	assert_int_equal(CALL(p, SYS_read, 0)->action, ACTION_ALLOW);
	assert_int_equal(CALL(p, SYS_getpid, 0)->error, 38);
	assert_int_equal(CALL(p, 500, 0)->error, 38);
	/* Conditions for the same argument: one has to hold; for different ones: all. */
	assert_int_equal(CALL(p, SYS_personality, 8)->action, ACTION_ALLOW);
	assert_int_equal(CALL(p, SYS_personality, 131072)->action, ACTION_ALLOW);
	assert_int_equal(CALL(p, SYS_personality, 131080)->action, ACTION_ALLOW);
	assert_int_equal(CALL(p, SYS_personality, 9)->error, 38);
	assert_int_equal(CALL(p, SYS_clone, 17, 4)->action, ACTION_ALLOW);
	assert_int_equal(CALL(p, SYS_clone, 17, 3)->error, 38);
	assert_int_equal(CALL(p, SYS_clone, 0x10000000, 4)->error, 38);
	/* With conditions comes first; refusals of every policy before all, a profile permits nothing. */
	assert_int_equal(CALL(p, SYS_socket, 10)->error, 95);
	assert_int_equal(CALL(p, SYS_socket, 1)->action, ACTION_ALLOW);
	assert_int_equal(CALL(p, SYS_socket, 16)->error, 97);
	assert_int_equal(CALL(p, SYS_ioctl, 0, 0x5412)->error, 1);
	assert_int_equal(CALL(p, SYS_ioctl, 0, 0x5401)->action, ACTION_ALLOW);
	assert_int_equal(CALL(p, SYS_keyctl, 0)->error, 38);
	assert_int_equal(CALL(p, 435, 0)->error, 38);
	assert_int_equal(CALL(p, SYS_ptrace, 0)->error, 1);
	/* For whom it is. */
	assert_int_equal(CALL(p, SYS_pause, 0)->error, 38);
	assert_int_equal(CALL(p, SYS_alarm, 0)->action, ACTION_ALLOW);
	assert_int_equal(CALL(p, SYS_sync, 0)->error, 38);
	assert_int_equal(CALL(p, SYS_times, 0)->error, 38);
	free(p);
	/* What a policy says of a call itself counts before the profile. */
	p = good("{\"defaultAction\": \"SCMP_ACT_KILL_PROCESS\"}", true);
	assert_int_equal(CALL(p, SYS_ptrace, 0)->action, ACTION_ALLOW);
	assert_int_equal(CALL(p, SYS_read, 0)->action, ACTION_KILL);
	free(p);
	p = good("{\"defaultAction\": \"SCMP_ACT_ALLOW\", \"architectures\": [\"SCMP_ARCH_X32\", \"SCMP_ARCH_X86_64\"],"
		 " \"syscalls\": [{\"names\": [\"uname\"], \"action\": \"SCMP_ACT_TRACE\"}]}", false);
	assert_int_equal(CALL(p, SYS_uname, 0)->error, 38);
	assert_int_equal(CALL(p, SYS_read, 0)->action, ACTION_ALLOW);
	free(p);
}

static void refused(void **state)
{
#define ENTRY(more)	"{\"defaultAction\": \"SCMP_ACT_ALLOW\", \"syscalls\": [{" more "}]}"
#define ARGS(more)	ENTRY("\"name\": \"read\", \"action\": \"SCMP_ACT_ALLOW\", \"args\": [" more "]")
	static const struct {
		const char *text, *message;
	} cases[] = {
		{ "", "the file is empty" },
		{ "{", "" },
		{ "{}", "defaultAction is no text" },
		{ "[]", "a profile is no object" },
		{ "{\"defaultAction\":\n \"SCMP_ACT_ALLOW\",\n}", ":3: " },
		{ "{\"defaultAction\": \"SCMP_ACT_ALLOW\"} {}", "" },
		{ "{\"defaultAction\": \"ALLOW\"}", "'ALLOW' is no action" },
		{ "{\"defaultAction\": \"SCMP_ACT_NOTIFY\"}", "SCMP_ACT_NOTIFY asks another program" },
		{ "{\"defaultAction\": \"SCMP_ACT_ERRNO\", \"defaultErrnoRet\": 5000}", "no number up to 4095" },
		{ "{\"defaultAction\": \"SCMP_ACT_ERRNO\", \"defaultErrno\": \"EWHAT\"}", "no error 'EWHAT'" },
		{ "{\"defaultAction\": \"SCMP_ACT_ALLOW\", \"syscall\": []}", "'syscall' is not known in a profile" },
		{ "{\"defaultAction\": \"SCMP_ACT_ALLOW\", \"syscalls\": {}}", "syscalls is no list" },
		{ "{\"defaultAction\": \"SCMP_ACT_ALLOW\", \"architectures\": [\"SCMP_ARCH_ARM\"]}",
		  "not for SCMP_ARCH_X86_64" },
		{ ENTRY("\"action\": \"SCMP_ACT_ALLOW\""), "syscalls[0]: either names or name" },
		{ ENTRY("\"names\": [], \"name\": \"a\", \"action\": \"SCMP_ACT_ALLOW\""), "either names or name" },
		{ ENTRY("\"name\": 1, \"action\": \"SCMP_ACT_ALLOW\""), "a call's name is no text" },
		{ ENTRY("\"name\": \"read\""), "action is no text" },
		{ ENTRY("\"name\": \"read\", \"action\": \"SCMP_ACT_ALLOW\", \"arg\": []"), "'arg' is not known" },
		{ ENTRY("\"name\": \"read\", \"action\": \"SCMP_ACT_ALLOW\", \"includes\": {\"cap\": []}"),
		  "'cap' is not known in includes" },
		{ ENTRY("\"name\": \"read\", \"action\": \"SCMP_ACT_ALLOW\", \"includes\": {\"caps\": [\"CAP_X\"]}"),
		  "no capability 'CAP_X'" },
		{ ENTRY("\"name\": \"read\", \"action\": \"SCMP_ACT_ALLOW\", \"excludes\": {\"minKernel\": \"6\"}"),
		  "minKernel is as" },
		{ ARGS("{\"index\": 6, \"value\": 1, \"op\": \"SCMP_CMP_EQ\"}"), "index is no number up to 5" },
		{ ARGS("{\"index\": 0, \"value\": -1, \"op\": \"SCMP_CMP_EQ\"}"), "value is no number" },
		{ ARGS("{\"index\": 0, \"value\": 1}"), "op is no text" },
		{ ARGS("{\"index\": 0, \"value\": 1, \"op\": \"EQ\"}"), "'EQ' is no comparison" },
		{ ARGS("{\"index\": 0, \"value\": 1, \"op\": \"SCMP_CMP_EQ\", \"more\": 1}"),
		  "'more' is not known in args" },
		{ ARGS("1"), "args is no object" },
	};

	(void)state;
	for (unsigned int i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (read_bytes(cases[i].text, strlen(cases[i].text), false))
			fail_msg("permitted: %s", cases[i].text);
		if (!*said || !strstr(said, cases[i].message) || strncmp(said, file, strlen(file)))
			fail_msg("%s: %s", cases[i].text, said);
	}
	assert_null(read_bytes("{\"defaultAction\": \"SCMP_ACT_ALLOW\"}\0{", 37, false));
}

/* A profile that was cut short has no end. */
static void cut_short(void **state)
{
	static const char text[] = ARGS("{\"index\": 0, \"value\": 1, \"op\": \"SCMP_CMP_EQ\"}");

	(void)state;
	for (size_t n = 0; n < sizeof(text) - 1; n++)
		assert_null(read_bytes(text, n, false));
}

static int make_file(void **state)
{
	const int fd = mkstemp(file);

	(void)state;
	return fd < 0 || close(fd);
}

static int remove_file(void **state)
{
	(void)state;
	return unlink(file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(as_docker_has_it),
		cmocka_unit_test(refused),
		cmocka_unit_test(cut_short),
	};

	return cmocka_run_group_tests(tests, make_file, remove_file);
}
