// SPDX-License-Identifier: MIT
/* Policies of the sandbox: what is read, what is refused and where, what counts for a path, an address and a call. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "sandbox/build.h"

static char folder[] = "/tmp/policy-XXXXXX";

static const char *write_file(const char *name, const char *text, size_t length)
{
	static char path[200];
	FILE *out;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	out = fopen(path, "w");
	assert_non_null(out);
	assert_int_equal(fwrite(text, 1, length, out), length);
	fclose(out);
	return path;
}

/* stderr goes to @said meanwhile. */
static char said[4000];

static struct policy *read_text(const char *text, size_t length)
{
	struct builder *b = builder_new();
	const char *file = write_file("policy", text, length);
	FILE *errors = tmpfile();
	int old = dup(STDERR_FILENO);
	struct policy *p = NULL;
	size_t n;

	fflush(stderr);
	dup2(fileno(errors), STDERR_FILENO);
	if (policy_read_file(b, file))
		p = builder_finish(b);
	fflush(stderr);
	dup2(old, STDERR_FILENO);
	close(old);
	rewind(errors);
	n = fread(said, 1, sizeof(said) - 1, errors);
	said[n] = '\0';
	fclose(errors);
	builder_free(b);
	return p;
}

static struct policy *good(const char *text)
{
	struct policy *p = read_text(text, strlen(text));

	if (!p)
		fail_msg("refused: %s", said);
	return p;
}

/* ---- paths ---- */

static enum policy_access access_of(const struct policy *p, const char *path)
{
	return policy_path(p, &p->files, path).access;
}

static void the_deepest_rule_counts(void **state)
{
	struct policy *p = good("files:\n"
				"  /usr: ro\n"
				"  /home/me: rw\n"
				"  /home/me/secret: hide\n"
				"  /home/me/secret/public: ro\n"
				"  /home/me/*.key: deny\n"
				"  /srv/**/cache: rw\n"
				"  /srv: ro\n"
				"  /var/log/**: ro\n"
				"...\n");

	(void)state;
	assert_int_equal(access_of(p, "/usr"), ACCESS_RO);
	assert_int_equal(access_of(p, "/usr/lib/x"), ACCESS_RO);
	assert_int_equal(access_of(p, "/usrlib"), ACCESS_NONE);
	assert_int_equal(access_of(p, "/"), ACCESS_NONE);
	assert_int_equal(access_of(p, "/home/me/a"), ACCESS_RW);
	assert_int_equal(access_of(p, "/home/me/secret/a"), ACCESS_HIDE);
	assert_int_equal(access_of(p, "/home/me/secret/public/a"), ACCESS_RO);
	assert_int_equal(access_of(p, "/home/me/id.key"), ACCESS_DENY);
	assert_int_equal(access_of(p, "/home/me/id.key/below"), ACCESS_DENY);
	assert_int_equal(access_of(p, "/home/me/sub/id.key"), ACCESS_RW);
	assert_int_equal(access_of(p, "/srv/a/b"), ACCESS_RO);
	assert_int_equal(access_of(p, "/srv/cache"), ACCESS_RW);
	assert_int_equal(access_of(p, "/srv/a/b/cache/c"), ACCESS_RW);
	assert_int_equal(access_of(p, "/var/log"), ACCESS_NONE);
	assert_int_equal(access_of(p, "/var/log/a/b"), ACCESS_RO);
	free(p);
}

static void the_way_to_it_may_be_seen(void **state)
{
	struct policy *p = good("files:\n  /a/b/c: ro\n  /d/e: hide\n  /f/*/g: rw\n...\n");

	(void)state;
	assert_true(policy_path(p, &p->files, "/").leads);
	assert_true(policy_path(p, &p->files, "/a").leads);
	assert_true(policy_path(p, &p->files, "/a/b").leads);
	assert_false(policy_path(p, &p->files, "/a/x").leads);
	assert_false(policy_path(p, &p->files, "/d").leads);
	assert_true(policy_path(p, &p->files, "/f/anything").leads);
	assert_false(policy_path(p, &p->files, "/f/anything/else").leads);
	free(p);
}

static void wildcards(void **state)
{
	static const struct {
		const char *pattern, *text;
		bool matches;
	} cases[] = {
		{ "a*c", "abc", true }, { "a*c", "ac", true }, { "a*c", "abcd", false }, { "*", "", true },
		{ "*a*b*", "xaxbx", true }, { "?", "", false }, { "[a-c]x", "bx", true }, { "[!a-c]x", "bx", false },
		{ "[]]", "]", true }, { "[a-]", "-", true }, { "a[", "a[", false }, { "/a/*", "/a/b", true },
		{ "/a/*", "/a/b/c", false }, { "/a/**", "/a/b/c", true }, { "/**/c", "/a/b/c", true },
		{ "/**/c", "/c", true }, { "/a/**/c", "/a/c", true }, { "/a/**/c", "/a/b/d", false },
		{ "@tmp*", "@tmp.X", true }, { "/a*", "@a", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (policy_glob_matches(cases[i].pattern, cases[i].text) != cases[i].matches)
			fail_msg("'%s' and '%s'", cases[i].pattern, cases[i].text);
}

/* By the definition: does @pattern match the first components of @path, and how many at most? */
static int slow_depth(const char *pattern, const char *path)
{
	const char *p_end = pattern + 1 + strcspn(pattern + 1, "/"), *t_end;
	char one[300], text[300];
	int best = -1;

	if (!*pattern)
		return 0;
	if (p_end - pattern == 3 && !memcmp(pattern, "/**", 3)) {
		if (!*p_end)
			return *path ? 1 : -1;
		for (int skipped = 0; ; skipped++) {
			int rest = slow_depth(p_end, path);

			if (rest >= 0)
				best = skipped + rest;
			if (!*path)
				return best;
			path += 1 + strcspn(path + 1, "/");
		}
	}
	if (!*path)
		return -1;
	t_end = path + 1 + strcspn(path + 1, "/");
	snprintf(one, sizeof(one), "%.*s", (int)(p_end - pattern - 1), pattern + 1);
	snprintf(text, sizeof(text), "%.*s", (int)(t_end - path - 1), path + 1);
	if (!policy_glob_matches(one, text))
		return -1;
	best = slow_depth(p_end, t_end);
	return best < 0 ? -1 : best + 1;
}

/* A folder with such names does not become another one: what is said of them would not go with it. */
static void what_is_said_of_names_below(void **state)
{
	static const struct {
		const char *path;
		bool below;
	} paths[] = {
		{ "/", true }, { "/home", true }, { "/home/me", true }, { "/home/me/a", false },
		{ "/home/me/secret", false }, { "/home/me/secret/x", false }, { "/home/you", false }, { "/w", true },
		{ "/w/x", true }, { "/w/x/y", true }, { "/w/x.key", true }, { "/other", true }, { "/other/x", false },
		{ "/deep", true }, { "/deep/x", false }, { "/else", false },
	};
	struct policy *p = good("files:\n"
				"  /home/me: rw\n"
				"  /home/me/secret: hide\n"
				"  /w: rw\n"
				"  /w/**/*.key: deny\n"
				"  /other/*: ro\n"
				"  /deep/**: rw\n"
				"...\n");

	(void)state;
	for (unsigned int i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
		if (policy_speaks_below(p, &p->files, paths[i].path) != paths[i].below)
			fail_msg("%s", paths[i].path);
	free(p);
}

static void random_path(char *to, bool pattern)
{
	static const char *const names[] = { "a", "b", "ab", "abc", "*", "a*", "?b", "[ab]", "**" };
	int n = 1 + rand() % 4;
	bool deep = false;

	for (*to = '\0'; n--; ) {
		int which = rand() % (pattern ? 9 : 4);

		if (which == 8 && deep)
			which = 0;
		deep |= which == 8;
		strcat(strcat(to, "/"), names[which]);
	}
}

static unsigned int letters_of(const char *pattern)
{
	unsigned int n = 0;

	for (const char *p = pattern; *p; p++) {
		if (*p == '[')
			p = strchr(p, ']');
		else
			n += *p != '*' && *p != '?';
	}
	return n;
}

/* Random policies: what counts is what a slow look at each rule finds. */
static void as_each_rule_says(void **state)
{
	const struct place place = { 0 };

	(void)state;
	srand(1);
	for (int round = 0; round < 2000; round++) {
		struct builder *b = builder_new();
		char patterns[8][40], path[40];
		enum policy_access access[8];
		struct policy *p;
		int nr = 1 + rand() % 8;

		for (int i = 0; i < nr; i++) {
			random_path(patterns[i], true);
			access[i] = rand() % 2 ? ACCESS_RO : ACCESS_HIDE;
			if (!builder_path(b, &place, SET_FILES, patterns[i], access[i], NULL, 0))
				access[i] = ACCESS_NONE;	/* it was said otherwise */
		}
		p = builder_finish(b);
		for (int i = 0; i < 50; i++) {
			enum policy_access expected = ACCESS_NONE;
			int depth = 0;
			unsigned int letters = 0;

			random_path(path, false);
			for (int k = 0; k < nr; k++) {
				int d = access[k] ? slow_depth(patterns[k], path) : -1;
				unsigned int l = letters_of(patterns[k]);
				bool plain = !strpbrk(patterns[k], "*?[");

				/* A plain pattern that is the whole path counts the '/' behind it that is not there. */
				l += plain && d > 0 && strlen(path) > strlen(patterns[k]);
				if (d <= 0 || d < depth || (d == depth && l < letters) ||
				    (d == depth && l == letters && access[k] < expected))
					continue;
				depth = d;
				letters = l;
				expected = access[k];
			}
			if (access_of(p, path) != expected) {
				for (int k = 0; k < nr; k++)
					print_message("%s: %s\n", patterns[k], policy_access_name(access[k]));
				fail_msg("%s is %s, not %s", path, policy_access_name(access_of(p, path)),
					 policy_access_name(expected));
			}
		}
		free(p);
		builder_free(b);
	}
}

/* ---- addresses ---- */

static bool may(const struct policy *p, unsigned int operation, unsigned int protocol, const char *v4,
		unsigned int port)
{
	uint8_t address[16] = { [10] = 0xff, 0xff };
	const struct policy_network *n;
	unsigned int a[4];

	assert_int_equal(sscanf(v4, "%u.%u.%u.%u", &a[0], &a[1], &a[2], &a[3]), 4);
	for (int i = 0; i < 4; i++)
		address[12 + i] = a[i];
	n = policy_internet(p, operation, protocol, address, port);
	return n && !n->deny;
}

static void addresses(void **state)
{
	struct policy *p = good("net:\n"
				"- connect tcp 10.0.0.0/8 443\n"
				"- connect udp * 53\n"
				"- deny connect any 10.1.0.0/16\n"
				"- bind tcp 127.0.0.1 8000-8010\n"
				"- connect unix /run/*.sock\n"
				"- bind unix @mine-*\n"
				"- connect tcp 2001:db8::/33 80\n"
				"...\n");
	uint8_t six[16] = { 0x20, 0x01, 0x0d, 0xb8, 0x7f };

	(void)state;
	assert_true(may(p, NETWORK_CONNECT, PROTOCOL_TCP, "10.2.3.4", 443));
	assert_false(may(p, NETWORK_CONNECT, PROTOCOL_TCP, "10.1.3.4", 443));
	assert_false(may(p, NETWORK_CONNECT, PROTOCOL_TCP, "10.2.3.4", 444));
	assert_false(may(p, NETWORK_CONNECT, PROTOCOL_TCP, "11.2.3.4", 443));
	assert_false(may(p, NETWORK_BIND, PROTOCOL_TCP, "10.2.3.4", 443));
	assert_true(may(p, NETWORK_CONNECT, PROTOCOL_UDP, "8.8.8.8", 53));
	assert_false(may(p, NETWORK_CONNECT, PROTOCOL_UDP, "10.1.8.8", 53));
	assert_true(may(p, NETWORK_BIND, PROTOCOL_TCP, "127.0.0.1", 8010));
	assert_false(may(p, NETWORK_BIND, PROTOCOL_TCP, "127.0.0.1", 8011));
	assert_non_null(policy_unix(p, NETWORK_CONNECT, "/run/x.sock"));
	assert_null(policy_unix(p, NETWORK_CONNECT, "/run/x/y.sock"));
	assert_null(policy_unix(p, NETWORK_BIND, "/run/x.sock"));
	assert_non_null(policy_unix(p, NETWORK_BIND, "@mine-1"));
	assert_non_null(policy_internet(p, NETWORK_CONNECT, PROTOCOL_TCP, six, 80));
	six[4] = 0x80;
	assert_null(policy_internet(p, NETWORK_CONNECT, PROTOCOL_TCP, six, 80));
	free(p);
}

/* ---- calls ---- */

static void calls(void **state)
{
	struct policy *p = good("calls:\n"
				"  \"@mount\": ENOSYS\n"
				"  mount: kill\n"
				"  ioctl:\n"
				"    - { if: arg1 == 0x5401 and arg2 & 0xff00 == 0x1200, do: allow }\n"
				"    - { if: arg1 < 10, do: EACCES }\n"
				"    - { do: deny }\n"
				"  39: EBUSY\n"
				"  \"*\": allow\n"
				"...\n");
	uint64_t args[6] = { 0, 0x5401, 0x1234 };

	(void)state;
	assert_int_equal(policy_call(p, 165, args)->action, ACTION_KILL);
	assert_int_equal(policy_call(p, 166, args)->error, 38);
	assert_int_equal(policy_call(p, 16, args)->action, ACTION_ALLOW);
	args[2] = 0x1334;
	assert_int_equal(policy_call(p, 16, args)->error, 1);
	args[1] = 9;
	assert_int_equal(policy_call(p, 16, args)->error, 13);
	assert_int_equal(policy_call(p, 39, args)->error, 16);
	assert_int_equal(policy_call(p, 0, args)->action, ACTION_ALLOW);
	assert_int_equal(policy_call(p, 1UL << 40, args)->action, ACTION_ALLOW);
	free(p);
	p = good("{}\n...\n");
	assert_int_equal(policy_call(p, 0, args)->action, ACTION_NONE);
	assert_int_equal(access_of(p, "/"), ACCESS_NONE);
	assert_null(policy_unix(p, NETWORK_CONNECT, "/x"));
	free(p);
}

/* ---- files ---- */

/* What each policy refuses, unless it says otherwise itself; it has no say in what is not its own. */
static void what_is_refused_anyway(void **state)
{
	static const char text[] = "calls:\n"
				   "  \"@sysv\": allow\n"
				   "  socket: [ { if: arg0 == 16, do: allow } ]\n"
				   "  \"@network\": kill\n"
				   "...\n";
	struct builder *b = builder_new();
	struct policy *p, *q;

	(void)state;
	assert_true(builder_refusals(b));
	p = builder_finish(b);
	assert_true(policy_read_file(b, write_file("more", text, strlen(text))));
	q = builder_finish(b);
	/* mount, keyctl, shmget; ioctl(TIOCSTI), also with bits that the kernel ignores; chmod(04755), chmod(0755) */
	assert_int_equal(policy_call(p, 165, (uint64_t[6]){ 0 })->error, 1);
	assert_int_equal(policy_call(p, 250, (uint64_t[6]){ 0 })->error, 38);
	assert_int_equal(policy_call(p, 29, (uint64_t[6]){ 0 })->error, 38);
	assert_int_equal(policy_call(p, 16, (uint64_t[6]){ 0, 0x5412 })->error, 1);
	assert_int_equal(policy_call(p, 16, (uint64_t[6]){ 0, 0xff00005412 })->error, 1);
	assert_int_equal(policy_call(p, 16, (uint64_t[6]){ 0, 0x5401 })->action, ACTION_NONE);
	assert_int_equal(policy_call(p, 90, (uint64_t[6]){ 0, 04755 })->error, 1);
	assert_int_equal(policy_call(p, 90, (uint64_t[6]){ 0, 0755 })->action, ACTION_NONE);
	/* socket(): UNIX, TCP; netlink, raw, SCTP */
	assert_int_equal(policy_call(p, 41, (uint64_t[6]){ 1, 5, 0 })->action, ACTION_NONE);
	assert_int_equal(policy_call(p, 41, (uint64_t[6]){ 2, 1, 6 })->action, ACTION_NONE);
	assert_int_equal(policy_call(p, 41, (uint64_t[6]){ 16, 3, 0 })->error, 97);
	assert_int_equal(policy_call(p, 41, (uint64_t[6]){ 2, 3, 0 })->error, 1);
	assert_int_equal(policy_call(p, 41, (uint64_t[6]){ 2, 1, 132 })->error, 97);
	/* A policy's own rules come first, those for groups too. */
	assert_int_equal(policy_call(q, 29, (uint64_t[6]){ 0 })->action, ACTION_ALLOW);
	assert_int_equal(policy_call(q, 41, (uint64_t[6]){ 16, 3, 0 })->action, ACTION_ALLOW);
	assert_int_equal(policy_call(q, 41, (uint64_t[6]){ 2, 3, 0 })->action, ACTION_KILL);
	assert_int_equal(policy_call(q, 165, (uint64_t[6]){ 0 })->error, 1);
	builder_free(b);
	free(p);
	free(q);
}

static void the_default(void **state)
{
	struct policy *p = good("files: { /usr/lib: hide, /dev/null: ro }\ninclude: [default]\n...\n");

	(void)state;
	assert_int_equal(access_of(p, "/usr/lib/libc.so.6"), ACCESS_HIDE);	/* who includes has the last word */
	assert_int_equal(access_of(p, "/dev/null"), ACCESS_RO);
	assert_int_equal(access_of(p, "/dev/zero"), ACCESS_RW);
	assert_int_equal(access_of(p, "/proc/self/maps"), ACCESS_RO);
	assert_int_equal(access_of(p, "/proc/1/maps"), ACCESS_NONE);
	assert_int_equal(access_of(p, "/etc/passwd"), ACCESS_NONE);
	assert_true(policy_path(p, &p->files, "/etc").leads);
	assert_int_equal(p->nr_network, 0);
	assert_int_equal(policy_path(p, &p->exec, "/usr/lib/x").access, ACCESS_NONE);
	free(p);
}

static void refused(void **state)
{
	static const struct {
		const char *text, *error;
	} cases[] = {
		{ "", "the file is empty" },
		{ "files:\n  /a: ro\n", "is the file whole?" },
		{ "file:\n  /a: ro\n...\n", "policy:1:1: 'file' is not known" },
		{ "files:\n  /a: rx\n...\n", "policy:2:7: 'rx' is not known" },
		{ "files:\n  a: ro\n...\n", "policy:2:3: 'a' is no absolute path" },
		{ "files:\n  /a/../b: ro\n...\n", "policy:2:3: '/a/../b' has '.' or '..'" },
		{ "files:\n  /a/: ro\n...\n", "empty name" },
		{ "files:\n  /a[b: ro\n...\n", "'[' without ']'" },
		{ "files:\n  /**/a/**: ro\n...\n", "more than one '**'" },
		{ "files:\n  /a: ro\n  /a: rw\n...\n", "policy:3:3: '/a' is there twice" },
		{ "files: [/a]\n...\n", "policy:1:8: files is a mapping" },
		{ "files:\n  /a: { text: x }\n...\n", "policy:2:9: 'text' is not known here" },
		{ "files:\n  /a*: tmp\n...\n", "has wildcards" },
		{ "exec: /bin/sh\n...\n", "policy:1:7: exec is a list" },
		{ "net:\n- listen tcp *\n...\n", "policy:2:3: a network rule begins with" },
		{ "net:\n- connect tcp example.org 80\n...\n", "no address" },
		{ "net:\n- connect tcp 1.2.3.4/33\n...\n", "no number of bits up to 32" },
		{ "net:\n- connect tcp 1.2.3.4 80-70\n...\n", "above the last" },
		{ "net:\n- connect unix /a 80\n...\n", "no port" },
		{ "env:\n- =x\n...\n", "NAME or NAME=VALUE" },
		{ "limits:\n  memory: 5x\n...\n", "policy:2:11: '5x' is no limit for memory" },
		{ "limits:\n  cpu: 5\n...\n", "a number with ms, s, m or h" },
		{ "limits:\n  memory: 99999999999999999999\n...\n", "is no limit" },
		{ "limits:\n  memory: 17179869184G\n...\n", "is no limit" },
		{ "limits:\n  disk: 5\n...\n", "there is no limit 'disk'" },
		{ "calls:\n  opne: deny\n...\n", "policy:2:3: there is no system call 'opne'" },
		{ "calls:\n  open: EFOO\n...\n", "'EFOO' is no action" },
		{ "calls:\n  open:\n  - { if: arg6 == 1, do: deny }\n...\n", "arg0 to arg5" },
		{ "calls:\n  open:\n  - { if: arg1 = 1, do: deny }\n...\n", "after arg1 comes" },
		{ "calls:\n  open:\n  - { if: arg1 == x, do: deny }\n...\n", "comes a number" },
		{ "calls:\n  open:\n  - { if: arg1 == 1 }\n...\n", "does not say what to do" },
		{ "include: [missing.yaml]\n...\n", "missing.yaml: No such file" },
		{ "include: [policy]\n...\n", "does a file include itself?" },
		{ "files: {\n...\n", "policy:2:1" },
		{ "files:\n\t/a: ro\n...\n", "policy:2:1" },
		{ "{}\n...\n---\n{}\n...\n", "there is more behind" },
		{ "- a\n...\n", "a policy is a mapping" },
		{ "files: { ? [a] : ro }\n...\n", "a key is a word here" },
		{ "files: \x80\n...\n", "policy: byte 7" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct policy *p = read_text(cases[i].text, strlen(cases[i].text));

		if (p)
			fail_msg("it was read:\n%s", cases[i].text);
		if (!strstr(said, cases[i].error))
			fail_msg("of\n%s\nis said: %s\nnot: %s", cases[i].text, said, cases[i].error);
	}
}

/* Each beginning of a policy is refused, or is one with the same rules. */
static void cut_short(void **state)
{
	static const char text[] = "files:\n  /usr: ro\n  /usr/secret: hide\nnet:\n- connect tcp * 443\n"
				   "- deny connect any 10.0.0.0/8\n...\n";

	(void)state;
	for (size_t n = 0; n < sizeof(text) - 2; n++) {
		struct policy *p = read_text(text, n);

		if (p)
			fail_msg("the first %zu bytes are a policy", n);
	}
}

static void with_nuls_and_marks(void **state)
{
	static const char nul[] = "files:\n  \"/a\\0b\": ro\n...\n";
	static const char crlf[] = "\xef\xbb\xbf""files:\r\n  /a: ro\r\n...\r\n";
	struct policy *p;

	(void)state;
	assert_null(read_text(nul, sizeof(nul) - 1));
	assert_non_null(strstr(said, "has a NUL in it"));
	assert_null(read_text("files:\n  /a\0: ro\n...\n", 21));
	p = good(crlf);
	assert_int_equal(access_of(p, "/a"), ACCESS_RO);
	free(p);
}

static void includes(void **state)
{
	static const char base[] = "files:\n  /usr: ro\n  /etc: ro\ncalls:\n  getpid: deny\n...\n";
	struct policy *p;

	(void)state;
	write_file("base", base, sizeof(base) - 1);
	p = good("include: [base]\nfiles:\n  /etc: hide\ncalls:\n  getpid: allow\n...\n");
	assert_int_equal(access_of(p, "/usr"), ACCESS_RO);
	assert_int_equal(access_of(p, "/etc"), ACCESS_HIDE);
	assert_int_equal(policy_call(p, 39, (uint64_t[6]){ 0 })->action, ACTION_ALLOW);
	free(p);
}

static char *printed(const struct policy *p)
{
	char *text, *to;
	size_t n;
	FILE *out = open_memstream(&text, &n);

	policy_print(out, p);
	fclose(out);
	/* without the places */
	to = text;
	for (char *from = text; *from; from++) {
		if (*from == '\t')
			from += strcspn(from, "\n");
		*to++ = *from;
	}
	*to = '\0';
	return text;
}

static void what_is_printed_says_the_same(void **state)
{
	struct policy *p = good("files:\n  /usr: ro\n  /: hide\n  /a b\": { data: \"x\\0\\ny\" }\n"
				"  /t: tmp\n  /**/*.c: rw\n"
				"exec: [/bin/sh, /opt/*]\nnet:\n- deny connect tcp ::1 1-2\n- bind unix @x\n"
				"env: [A, B=\"c d\"]\nlimits: { wall: 10s, memory: 5M, threads: 7 }\n"
				"calls:\n  open:\n  - { if: arg1 & 3 == 1 and arg0 != 5, do: EROFS }\n"
				"  - { do: kill }\n"
				"  \"@sysv\": deny\n  \"*\": allow\n...\n");
	char *once = printed(p), *twice;
	struct policy *again = good(once);

	(void)state;
	twice = printed(again);
	assert_string_equal(once, twice);
	assert_non_null(strstr(once, "wall: 10000ms"));
	free(once);
	free(twice);
	free(p);
	free(again);
}

static int make_folder(void **state)
{
	(void)state;
	return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
	char command[100];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf %s", folder);
	return system(command);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_deepest_rule_counts),
		cmocka_unit_test(the_way_to_it_may_be_seen),
		cmocka_unit_test(wildcards),
		cmocka_unit_test(what_is_said_of_names_below),
		cmocka_unit_test(as_each_rule_says),
		cmocka_unit_test(addresses),
		cmocka_unit_test(calls),
		cmocka_unit_test(what_is_refused_anyway),
		cmocka_unit_test(the_default),
		cmocka_unit_test(refused),
		cmocka_unit_test(cut_short),
		cmocka_unit_test(with_nuls_and_marks),
		cmocka_unit_test(includes),
		cmocka_unit_test(what_is_printed_says_the_same),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
