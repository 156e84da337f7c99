// SPDX-License-Identifier: MIT
/* A finished policy in words: what counts, in the form of a file, with the places where it is said. */
#include <arpa/inet.h>
#include <string.h>

#include "build.h"

const char *policy_access_name(enum policy_access access)
{
	static const char *const names[NR_ACCESSES] = { "nothing", "rw", "ro", "tmp", "data", "deny", "hide" };

	return names[access];
}

static void print_origin(FILE *out, const struct policy *p, uint32_t number)
{
	const struct policy_origin *o = (const struct policy_origin *)policy_at(p, p->origins) + number;

	if (o->file)
		fprintf(out, "\t# %s:%u\n", (const char *)policy_at(p, o->file), o->line);
	else
		fputs("\t# command line\n", out);
}

void policy_print_quoted(FILE *out, const char *text, size_t length)
{
	fputc('"', out);
	for (size_t i = 0; i < length; i++) {
		const unsigned char c = text[i];

		if (c == '"' || c == '\\')
			fprintf(out, "\\%c", c);
		else if (c < ' ' || c == 0x7f)
			fprintf(out, "\\x%02x", c);
		else
			fputc(c, out);
	}
	fputc('"', out);
}

static void print_rule(FILE *out, const struct policy *p, const char *path, const struct policy_rule *rule, bool exec)
{
	fputs(exec ? "  - " : "  ", out);
	policy_print_quoted(out, path, strlen(path));
	if (!exec && rule->access == ACCESS_DATA) {
		fputs(": { data: ", out);
		policy_print_quoted(out, policy_at(p, rule->data), rule->length);
		fputs(" }", out);
	} else if (!exec) {
		fprintf(out, ": %s", policy_access_name(rule->access));
	}
	print_origin(out, p, rule->origin);
}

static void print_node(FILE *out, const struct policy *p, const struct policy_paths *paths, uint32_t number,
		       char *path, size_t length, bool exec)
{
	const struct policy_node *node = (const struct policy_node *)policy_at(p, paths->nodes) + number;

	if (node->name) {
		path[length++] = '/';
		memcpy(path + length, policy_at(p, node->name), node->length);
		length += node->length;
	}
	path[length] = '\0';
	if (node->rule.access)
		print_rule(out, p, length ? path : "/", &node->rule, exec);
	for (uint32_t i = 0; i < node->count; i++)
		print_node(out, p, paths, node->first + i, path, length, exec);
}

static void print_paths(FILE *out, const struct policy *p, const struct policy_paths *paths, const char *key)
{
	const struct policy_glob *globs = policy_at(p, paths->globs);
	const struct policy_node *root = policy_at(p, paths->nodes);
	const bool exec = !strcmp(key, "exec");
	char path[POLICY_PATH_MAX];

	if (!root->count && !root->rule.access && !paths->nr_globs)
		return;
	fprintf(out, "%s:\n", key);
	print_node(out, p, paths, 0, path, 0, exec);
	for (uint32_t i = 0; i < paths->nr_globs; i++)
		print_rule(out, p, policy_at(p, globs[i].pattern), &globs[i].rule, exec);
}

static const char *text_of(const struct policy *p, uint32_t origin)
{
	return policy_at(p, ((const struct policy_origin *)policy_at(p, p->origins))[origin].text);
}

static void print_condition(FILE *out, const struct policy_condition *c)
{
	static const char *const signs[] = { "==", "!=", "<", "<=", ">", ">=" };

	if (c->comparison == COMPARE_MASKED)
		fprintf(out, "arg%u & %#llx == %#llx", c->argument, (unsigned long long)c->mask,
			(unsigned long long)c->value);
	else
		fprintf(out, "arg%u %s %#llx", c->argument, signs[c->comparison], (unsigned long long)c->value);
}

static void print_action(FILE *out, const struct policy_call *call)
{
	const char *name = policy_error_name(call->error);

	if (call->action == ACTION_ERRNO && name)
		fputs(name, out);
	else if (call->action == ACTION_ERRNO)
		fprintf(out, "%u", call->error);
	else
		fputs(call->action == ACTION_KILL ? "kill" : "allow", out);
}

static void print_call(FILE *out, const struct policy *p, const struct policy_call *call)
{
	const struct policy_condition *c = policy_at(p, call->conditions);

	fputs("    - { ", out);
	for (uint32_t i = 0; i < call->nr_conditions; i++) {
		fputs(i ? " and " : "if: \"", out);
		print_condition(out, &c[i]);
	}
	if (call->nr_conditions)
		fputs("\", ", out);
	fputs("do: ", out);
	print_action(out, call);
	fputs(" }", out);
	print_origin(out, p, call->origin);
}

static void print_calls(FILE *out, const struct policy *p)
{
	bool any = p->other_calls.action;

	for (unsigned int nr = 0; nr < POLICY_CALLS; nr++)
		any |= p->calls[nr];
	if (!any)
		return;
	fputs("calls:\n", out);
	for (unsigned int nr = 0; nr < POLICY_CALLS; nr++) {
		const char *name = policy_call_name(nr);

		if (p->calls[nr] && name)
			fprintf(out, "  %s:\n", name);
		else if (p->calls[nr])
			fprintf(out, "  %u:\n", nr);
		for (uint32_t at = p->calls[nr]; at; at = ((const struct policy_call *)policy_at(p, at))->next)
			print_call(out, p, policy_at(p, at));
	}
	if (p->other_calls.action) {
		fputs("  \"*\": ", out);
		print_action(out, &p->other_calls);
		print_origin(out, p, p->other_calls.origin);
	}
}

void policy_print(FILE *out, const struct policy *p)
{
	const struct policy_network *network = policy_at(p, p->network);
	const uint32_t *environment = policy_at(p, p->environment);
	bool any = false;

	print_paths(out, p, &p->files, "files");
	print_paths(out, p, &p->exec, "exec");
	if (p->nr_network)
		fputs("net:\n", out);
	for (uint32_t i = 0; i < p->nr_network; i++) {
		fprintf(out, "  - %s", text_of(p, network[i].origin));
		print_origin(out, p, network[i].origin);
	}
	if (p->nr_environment)
		fputs("env:\n", out);
	for (uint32_t i = 0; i < p->nr_environment; i++) {
		const char *text = policy_at(p, environment[i]);

		fputs("  - ", out);
		policy_print_quoted(out, text, strlen(text));
		fputc('\n', out);
	}
	for (unsigned int i = 0; i < NR_LIMITS; i++) {
		if (p->limits[i] == NO_LIMIT)
			continue;
		if (!any)
			fputs("limits:\n", out);
		any = true;
		fprintf(out, "  %s: %llu%s\n", policy_limit_name(i), (unsigned long long)p->limits[i],
			i <= LIMIT_CPU ? "ms" : "");
	}
	print_calls(out, p);
	fputs("...\n", out);
}
