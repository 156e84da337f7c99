// SPDX-License-Identifier: MIT
/*
 * A policy's file: YAML, as libyaml reads it.  What is not known is an error, with file, line and column; so is a file
 * without its last line, `...`, for then it may have lost rules that refuse.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include <yaml.h>

#include "build.h"

#define INCLUDES_MAX	8	/* one in another */
#define DEFAULT		"default"

struct reader {
	struct builder *builder;
	const char *file;
	yaml_document_t document;
	unsigned int depth;
};

static bool read_at_depth(struct builder *b, const char *file, unsigned int depth);

static bool complain(const struct reader *r, const yaml_mark_t *mark, const char *text)
{
	fprintf(stderr, "%s:%zu:%zu: %s\n", r->file, mark->line + 1, mark->column + 1, text);
	return false;
}

static bool complain_of(const struct reader *r, const yaml_node_t *node, const char *format, const char *word)
{
	char text[400];

	snprintf(text, sizeof(text), format, word);
	return complain(r, &node->start_mark, text);
}

/* What the builder says, if it says something. */
static bool judged(const struct reader *r, const yaml_node_t *node, bool good)
{
	return good || complain(r, &node->start_mark, builder_error(r->builder));
}

static struct place place_of(const struct reader *r, const yaml_node_t *node)
{
	return (struct place){ .file = r->file, .line = node->start_mark.line + 1, .rank = RANK_MAX - r->depth };
}

/* Text without NULs; or NULL, and it was complained of. */
static const char *text_of(const struct reader *r, const yaml_node_t *node, const char *what)
{
	if (node->type != YAML_SCALAR_NODE) {
		complain_of(r, node, "%s is a word here, not a list or a mapping", what);
		return NULL;
	}
	if (strlen((char *)node->data.scalar.value) != node->data.scalar.length) {
		complain_of(r, node, "%s has a NUL in it", what);
		return NULL;
	}
	return (char *)node->data.scalar.value;
}

typedef bool (*pair_fn)(struct reader *r, yaml_node_t *key, const char *name, yaml_node_t *value);
typedef bool (*item_fn)(struct reader *r, yaml_node_t *item);

static bool is_again(struct reader *r, const yaml_node_t *mapping, const yaml_node_pair_t *pair, const char *name)
{
	const yaml_node_pair_t *other = mapping->data.mapping.pairs.start;

	for (; other < pair; other++)
		if (!strcmp((char *)yaml_document_get_node(&r->document, other->key)->data.scalar.value, name))
			return true;
	return false;
}

static bool each_pair(struct reader *r, yaml_node_t *node, const char *what, pair_fn each)
{
	if (node->type != YAML_MAPPING_NODE)
		return complain_of(r, node, "%s is a mapping: lines of KEY: VALUE", what);
	for (yaml_node_pair_t *p = node->data.mapping.pairs.start; p < node->data.mapping.pairs.top; p++) {
		yaml_node_t *key = yaml_document_get_node(&r->document, p->key);
		const char *name = text_of(r, key, "a key");

		if (!name)
			return false;
		if (is_again(r, node, p, name))
			return complain_of(r, key, "'%s' is there twice", name);
		if (!each(r, key, name, yaml_document_get_node(&r->document, p->value)))
			return false;
	}
	return true;
}

static bool each_item(struct reader *r, yaml_node_t *node, const char *what, item_fn each)
{
	if (node->type != YAML_SEQUENCE_NODE)
		return complain_of(r, node, "%s is a list: lines that begin with '- '", what);
	for (yaml_node_item_t *i = node->data.sequence.items.start; i < node->data.sequence.items.top; i++)
		if (!each(r, yaml_document_get_node(&r->document, *i)))
			return false;
	return true;
}

/* ---- files ---- */

static bool read_data(struct reader *r, yaml_node_t *key, const char *name, yaml_node_t *value)
{
	(void)value;
	return !strcmp(name, "data") || complain_of(r, key, "'%s' is not known here: only data is", name);
}

static bool read_path(struct reader *r, yaml_node_t *key, const char *name, yaml_node_t *value)
{
	const struct place place = place_of(r, key);
	const char *word;

	if (value->type == YAML_MAPPING_NODE) {
		yaml_node_t *data;

		if (!each_pair(r, value, name, read_data))
			return false;
		if (value->data.mapping.pairs.start == value->data.mapping.pairs.top)
			return complain_of(r, value, "what is '%s' to have?", name);
		data = yaml_document_get_node(&r->document, value->data.mapping.pairs.start->value);
		if (data->type != YAML_SCALAR_NODE)
			return complain_of(r, data, "the data of '%s' are a text", name);
		return judged(r, key, builder_path(r->builder, &place, SET_FILES, name, ACCESS_DATA,
						   (char *)data->data.scalar.value, data->data.scalar.length));
	}
	word = text_of(r, value, name);
	if (!word)
		return false;
	for (unsigned int access = ACCESS_NONE + 1; access < NR_ACCESSES; access++)
		if (access != ACCESS_DATA && !strcmp(policy_access_name(access), word))
			return judged(r, key, builder_path(r->builder, &place, SET_FILES, name, access, NULL, 0));
	return complain_of(r, value, "'%s' is not known: ro, rw, tmp, deny, hide, or a mapping with data", word);
}

static bool read_exec(struct reader *r, yaml_node_t *item)
{
	const struct place place = place_of(r, item);
	const char *text = text_of(r, item, "a program's path");

	return text && judged(r, item, builder_path(r->builder, &place, SET_EXEC, text, ACCESS_RO, NULL, 0));
}

/* ---- the others ---- */

static bool read_network(struct reader *r, yaml_node_t *item)
{
	const struct place place = place_of(r, item);
	const char *text = text_of(r, item, "a network rule");

	return text && judged(r, item, builder_network(r->builder, &place, text));
}

static bool read_environment(struct reader *r, yaml_node_t *item)
{
	const char *text = text_of(r, item, "a variable");

	return text && judged(r, item, builder_environment(r->builder, text));
}

static bool read_limit(struct reader *r, yaml_node_t *key, const char *name, yaml_node_t *value)
{
	const char *text = text_of(r, value, name);

	(void)key;
	return text && judged(r, value, builder_limit(r->builder, name, text));
}

/* One of a call's rules: { if: CONDITIONS, do: ACTION } */
static bool read_conditional(struct reader *r, const char *call, yaml_node_t *item)
{
	const struct place place = place_of(r, item);
	const char *conditions = NULL, *action = NULL;

	if (item->type != YAML_MAPPING_NODE)
		return complain_of(r, item, "a rule of %s is { if: CONDITIONS, do: ACTION }", call);
	for (yaml_node_pair_t *p = item->data.mapping.pairs.start; p < item->data.mapping.pairs.top; p++) {
		yaml_node_t *key = yaml_document_get_node(&r->document, p->key);
		const char *name = text_of(r, key, "a key");
		const char *text = name ? text_of(r, yaml_document_get_node(&r->document, p->value), name) : NULL;

		if (!text)
			return false;
		if (!strcmp(name, "if") && !conditions)
			conditions = text;
		else if (!strcmp(name, "do") && !action)
			action = text;
		else
			return complain_of(r, key, "'%s' is not known here, or there twice: if, do", name);
	}
	if (!action)
		return complain_of(r, item, "a rule of %s does not say what to do", call);
	return judged(r, item, builder_call(r->builder, &place, call, action, conditions));
}

static bool read_call(struct reader *r, yaml_node_t *key, const char *name, yaml_node_t *value)
{
	const struct place place = place_of(r, key);
	const char *action;

	if (value->type == YAML_SEQUENCE_NODE) {
		for (yaml_node_item_t *i = value->data.sequence.items.start; i < value->data.sequence.items.top; i++)
			if (!read_conditional(r, name, yaml_document_get_node(&r->document, *i)))
				return false;
		return true;
	}
	action = text_of(r, value, name);
	return action && judged(r, key, builder_call(r->builder, &place, name, action, NULL));
}

/* ---- the file ---- */

/* Names are from the folder of the file that says them. */
static bool read_include(struct reader *r, yaml_node_t *item)
{
	const char *text = text_of(r, item, "a file's name"), *slash = strrchr(r->file, '/');
	char path[PATH_MAX];

	if (!text)
		return false;
	if (r->depth == INCLUDES_MAX)
		return complain_of(r, item, "'%s' is included too deep: does a file include itself?", text);
	if (!strcmp(text, DEFAULT))
		return judged(r, item, builder_default(r->builder, RANK_MAX - r->depth - 1));
	if (*text == '/' || !slash)
		snprintf(path, sizeof(path), "%s", text);
	else
		snprintf(path, sizeof(path), "%.*s/%s", (int)(slash - r->file), r->file, text);
	return read_at_depth(r->builder, path, r->depth + 1) || complain_of(r, item, "'%s' is included here", text);
}

static bool read_section(struct reader *r, yaml_node_t *key, const char *name, yaml_node_t *value)
{
	if (!strcmp(name, "include"))
		return each_item(r, value, name, read_include);
	if (!strcmp(name, "files"))
		return each_pair(r, value, name, read_path);
	if (!strcmp(name, "exec"))
		return each_item(r, value, name, read_exec);
	if (!strcmp(name, "net"))
		return each_item(r, value, name, read_network);
	if (!strcmp(name, "env"))
		return each_item(r, value, name, read_environment);
	if (!strcmp(name, "limits"))
		return each_pair(r, value, name, read_limit);
	if (!strcmp(name, "calls"))
		return each_pair(r, value, name, read_call);
	return complain_of(r, key, "'%s' is not known: include, files, exec, net, env, limits, calls", name);
}

static bool read_document(struct reader *r)
{
	yaml_node_t *root = yaml_document_get_root_node(&r->document);

	if (!root) {
		fprintf(stderr, "%s: the file is empty: a policy that permits nothing is '{}' and '...'\n", r->file);
		return false;
	}
	if (r->document.end_implicit) {
		fprintf(stderr, "%s: the last line is not '...': is the file whole?\n", r->file);
		return false;
	}
	return each_pair(r, root, "a policy", read_section);
}

static bool syntax_error(const struct reader *r, const yaml_parser_t *parser)
{
	if (parser->error == YAML_READER_ERROR)
		fprintf(stderr, "%s: byte %zu: %s\n", r->file, parser->problem_offset, parser->problem);
	else
		complain(r, &parser->problem_mark, parser->problem ? parser->problem : "this is no YAML");
	return false;
}

static bool is_end(const struct reader *r, yaml_parser_t *parser)
{
	yaml_document_t more;
	bool good;

	if (!yaml_parser_load(parser, &more))
		return syntax_error(r, parser);
	good = !yaml_document_get_root_node(&more);
	if (!good)
		complain(r, &more.start_mark, "there is more behind the '...'");
	yaml_document_delete(&more);
	return good;
}

static bool read_stream(struct reader *r, FILE *in)
{
	yaml_parser_t parser;
	bool good = false;

	if (!yaml_parser_initialize(&parser)) {
		fprintf(stderr, "%s: out of memory\n", r->file);
		return false;
	}
	yaml_parser_set_input_file(&parser, in);
	if (!yaml_parser_load(&parser, &r->document)) {
		syntax_error(r, &parser);
	} else {
		good = read_document(r) && is_end(r, &parser);
		yaml_document_delete(&r->document);
	}
	if (ferror(in)) {
		fprintf(stderr, "%s: cannot be read: %s\n", r->file, strerror(errno));
		good = false;
	}
	yaml_parser_delete(&parser);
	return good;
}

static bool read_at_depth(struct builder *b, const char *file, unsigned int depth)
{
	struct reader r = { .builder = b, .file = file, .depth = depth };
	FILE *in = fopen(file, "re");
	bool good;

	if (!in) {
		fprintf(stderr, "%s: %s\n", file, strerror(errno));
		return false;
	}
	good = read_stream(&r, in);
	fclose(in);
	return good;
}

bool policy_read_file(struct builder *b, const char *file)
{
	return read_at_depth(b, file, 0);
}
