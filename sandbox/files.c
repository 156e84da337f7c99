// SPDX-License-Identifier: MIT
/*
 * What a policy says of a path.  No library, no recursion: a walk down the tree of literal patterns, then each
 * pattern with wildcards.  In time: components of the path times the logarithm of siblings, and for each wildcard
 * pattern the path's bytes times the pattern's at most.
 */
#include "policy.h"

/* What a pattern has matched: the more components the better, then the more letters. */
struct match {
	unsigned int depth, letters;
};

/* The end of the component at @p. */
static const char *end_of(const char *p)
{
	while (*p && *p != '/')
		p++;
	return p;
}

static int compare(const char *a, unsigned int a_length, const char *b, unsigned int b_length)
{
	for (unsigned int i = 0; i < a_length && i < b_length; i++)
		if (a[i] != b[i])
			return (unsigned char)a[i] < (unsigned char)b[i] ? -1 : 1;
	return a_length < b_length ? -1 : a_length > b_length;
}

static const struct policy_node *child_of(const struct policy *p, const struct policy_node *nodes,
					  const struct policy_node *node, const char *name, unsigned int length)
{
	unsigned int low = 0, high = node->count;

	while (low < high) {
		const unsigned int middle = (low + high) / 2;
		const struct policy_node *child = &nodes[node->first + middle];
		const int order = compare(policy_at(p, child->name), child->length, name, length);

		if (!order)
			return child;
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

/* ---- wildcards ---- */

/* Behind the closing bracket if @p begins a set that has @c in it or, as it may say, not in it; else NULL. */
static const char *in_set(const char *p, char c)
{
	const bool negated = p[1] == '!' || p[1] == '^';
	bool found = false;

	p += negated ? 2 : 1;
	for (bool first = true; *p && (first || *p != ']'); first = false) {
		const unsigned char low = *p, high = p[1] == '-' && p[2] && p[2] != ']' ? p[2] : low;

		found |= (unsigned char)c >= low && (unsigned char)c <= high;
		p += p[1] == '-' && p[2] && p[2] != ']' ? 3 : 1;
	}
	return *p == ']' && found != negated ? p + 1 : NULL;
}

/* One component: [@text, @end) with what is in [@p, @p_end). */
static bool component_matches(const char *p, const char *p_end, const char *text, const char *end)
{
	const char *star = NULL, *star_text = NULL;

	while (text < end) {
		const char *next = NULL;

		if (p < p_end && *p == '*') {
			star = ++p;
			star_text = text;
			continue;
		}
		if (p < p_end)
			next = *p == '[' ? in_set(p, *text) : *p == '?' || *p == *text ? p + 1 : NULL;
		if (next) {
			p = next;
			text++;
		} else if (star) {
			p = star;
			text = ++star_text;
		} else {
			return false;
		}
	}
	while (p < p_end && *p == '*')
		p++;
	return p == p_end;
}

static bool is_deep(const char *p, const char *end)
{
	return end - p == 2 && p[0] == '*' && p[1] == '*';
}

/*
 * How far the components at @pattern match those at @text, both behind a '/', until the pattern or the text ends, or
 * the pattern comes to `**`: *@at is where in the text.  false: they do not.
 */
static bool run_matches(const char **pattern, const char *text, const char **at, unsigned int *depth)
{
	const char *p = *pattern;

	while (*p && *text) {
		const char *p_end = end_of(p), *t_end = end_of(text);

		if (is_deep(p, p_end))
			break;
		if (!component_matches(p, p_end, text, t_end))
			return false;
		p = *p_end ? p_end + 1 : p_end;
		text = *t_end ? t_end + 1 : t_end;
		++*depth;
	}
	*pattern = p;
	*at = text;
	return true;
}

/*
 * Does @pattern match @path, or a path above it?  *@depth: so many components.  *@leads: the path ended first, so what
 * the pattern is about may lie below.
 */
static bool path_matches(const char *pattern, const char *path, unsigned int *depth, bool *leads)
{
	const char *p = pattern + 1, *text = path + 1, *at;

	*depth = 0;
	*leads = false;
	if (!run_matches(&p, text, &at, depth))
		return false;
	if (!*p)
		return true;
	*leads = !*at;
	if (*leads || !is_deep(p, end_of(p)))
		return false;
	p = end_of(p);
	if (!*p) {		/* all that is below */
		++*depth;
		return true;
	}
	/* The shortest piece that `**` can stand for leaves the most to the rest; the longest match counts. */
	for (unsigned int skipped = 0, best = 0; ; skipped++) {
		const char *rest = p + 1, *end;
		unsigned int more = 0;

		if (run_matches(&rest, at, &end, &more) && !*rest)
			best = *depth + skipped + more;
		at = end_of(at);
		if (!*at) {
			*depth = best;
			*leads = !best;
			return best;
		}
		at++;
	}
}

bool policy_glob_matches(const char *pattern, const char *text)
{
	unsigned int depth, components = 0;
	const char *last = pattern;
	bool leads;

	if (*pattern != '/' || *text != '/')
		return !*end_of(pattern) && !*end_of(text) &&
		       component_matches(pattern, end_of(pattern), text, end_of(text));
	for (const char *t = text; *t; t = end_of(t + 1))
		components++;
	for (const char *p = pattern; *p; p = end_of(p + 1))
		last = p;
	return path_matches(pattern, text, &depth, &leads) &&
	       (depth == components || is_deep(last + 1, end_of(last + 1)));
}

/* Has it `**` before its last component? */
static bool is_deep_inside(const char *pattern)
{
	for (const char *p = pattern; *p; p = end_of(p + 1))
		if (is_deep(p + 1, end_of(p + 1)) && *end_of(p + 1))
			return true;
	return false;
}

/* ---- the rule that counts ---- */

static bool is_better(const struct match *a, uint32_t access, const struct match *b, uint32_t other)
{
	if (a->depth != b->depth)
		return a->depth > b->depth;
	if (a->letters != b->letters)
		return a->letters > b->letters;
	return access > other;
}

static void take(struct policy_verdict *v, const struct policy_rule *rule)
{
	v->access = rule->access;
	v->origin = rule->origin;
	v->data = rule->data;
	v->length = rule->length;
}

static bool is_refusal(uint32_t access)
{
	return access == ACCESS_NONE || access >= ACCESS_DENY;
}

struct policy_verdict policy_path(const struct policy *p, const struct policy_paths *paths, const char *path)
{
	const struct policy_node *nodes = policy_at(p, paths->nodes), *node = nodes;
	const struct policy_glob *globs = policy_at(p, paths->globs);
	struct policy_verdict v = { .access = ACCESS_NONE };
	struct match best = { 0, 0 };
	unsigned int depth = 0;
	const char *at = path + 1;

	while (node) {
		const char *end = end_of(at);

		if (node->rule.access) {
			best = (struct match){ depth, at - path };
			take(&v, &node->rule);
		}
		if (!*at) {
			v.leads = node->leads;
			break;
		}
		node = child_of(p, nodes, node, at, end - at);
		depth++;
		at = *end ? end + 1 : end;
	}
	for (unsigned int i = 0; i < paths->nr_globs; i++) {
		struct match match = { 0, globs[i].letters };
		bool leads;

		if (path_matches(policy_at(p, globs[i].pattern), path, &match.depth, &leads)) {
			if (is_better(&match, globs[i].rule.access, &best, v.access)) {
				best = match;
				take(&v, &globs[i].rule);
			}
		} else if (leads && !is_refusal(globs[i].rule.access)) {
			v.leads = true;
		}
	}
	return v;
}

bool policy_speaks_below(const struct policy *p, const struct policy_paths *paths, const char *path)
{
	const struct policy_node *nodes = policy_at(p, paths->nodes), *node = nodes;
	const struct policy_glob *globs = policy_at(p, paths->globs);

	for (const char *at = path + 1; node && *at; ) {
		const char *end = end_of(at);

		node = child_of(p, nodes, node, at, end - at);
		at = *end ? end + 1 : end;
	}
	if (node && node->count)
		return true;
	for (unsigned int i = 0; i < paths->nr_globs; i++) {
		const char *pattern = policy_at(p, globs[i].pattern);
		unsigned int depth;
		bool leads;

		/* With `**` inside it may match there once more. */
		if (path_matches(pattern, path, &depth, &leads) ? is_deep_inside(pattern) : leads)
			return true;
	}
	return false;
}
