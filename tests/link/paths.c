// SPDX-License-Identifier: MIT
/*
 * path() of dune-ring3.h: runs a program and decides about the files that it names.
 *
 *	paths allow|confine PROGRAM [ARGUMENT...]
 *
 * allow: all of them; each text is looked at.  confine: nothing of /tmp/secret, and of /tmp/ro only what reads.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include <dune-ring3.h>

struct seen {
	int confine, asked, bad;
	char text[256];
};

static struct seen *seen_by(void)
{
	return dune_ring3_shared();
}

static int begins(const char *text, const char *start)
{
	while (*start && *text == *start)
		text++, start++;
	return !*start && (!*text || *text == '/');
}

/* Absolute, and no name in it is empty or dots. */
static int is_canonical(const char *p)
{
	if (*p != '/')
		return 0;
	if (!p[1])
		return 1;
	for (; *p; p++) {
		if (*p != '/')
			continue;
		if (!p[1] || p[1] == '/' || (p[1] == '.' && (!p[2] || p[2] == '/' ||
							     (p[2] == '.' && (!p[3] || p[3] == '/')))))
			return 0;
	}
	return 1;
}

static int64_t path(struct dune_ring3_thread *t, const struct dune_ring3_call *call, const char *path,
		    unsigned int access)
{
	struct seen *s = seen_by();

	(void)t;
	(void)call;
	__atomic_fetch_add(&s->asked, 1, __ATOMIC_RELAXED);
	if (!is_canonical(path)) {
		s->bad = 1;
		dune_ring3_format(s->text, sizeof(s->text), "%s", path);
	}
	if (!s->confine)
		return DUNE_RING3_GO;
	if (begins(path, "/tmp/secret"))
		return -EACCES;
	if (begins(path, "/tmp/ro") && access & (DUNE_RING3_WRITE | DUNE_RING3_NAME))
		return -EACCES;
	return DUNE_RING3_GO;
}

static const struct dune_ring3_callbacks callbacks = { .path = path };

int main(int argc, char **argv)
{
	static const uint64_t none[DUNE_RING3_CALLS / 64];
	const struct dune_ring3_options options = { .argv = argv + 2, .calls = none };
	struct seen *s = dune_ring3_share(sizeof(*s));
	int status;

	if (argc < 3 || !s)
		return 2;
	s->confine = !strcmp(argv[1], "confine");
	status = dune_ring3_run(&options, &callbacks);
	if (s->bad || !s->asked) {
		fprintf(stderr, "paths: asked %d times, text %s\n", s->asked, s->text);
		return 1;
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
