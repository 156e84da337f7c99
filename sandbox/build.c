// SPDX-License-Identifier: MIT
/* What people say of a policy, rule by rule, and the one piece of memory that is made of it. */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/syscalls.h"
#include "build.h"

#define MESSAGE_MAX	400
#define ERROR_MAX	4095	/* the kernel's MAX_ERRNO */

struct path {
	enum path_set set;
	char *pattern;
	char *data;
	size_t length;
	enum policy_access access;
	unsigned int origin, rank;
};

struct call {
	unsigned int nr;	/* POLICY_CALLS: all that have no rule that applies */
	bool group;		/* of a group, or a profile's of all: what is said of the call itself comes first */
	unsigned int rank, order;
	struct policy_call rule;
	struct policy_condition *conditions;
};

struct origin {
	char *file, *text;
	unsigned int line;
};

struct builder {
	char message[MESSAGE_MAX];
	struct path *paths;
	unsigned int nr_paths;
	struct policy_network *network;
	char **names;		/* of their UNIX rules, or NULL */
	unsigned int nr_network;
	struct call *calls;
	unsigned int nr_calls;
	char **environment;
	unsigned int nr_environment;
	struct origin *origins;
	unsigned int nr_origins;
	uint64_t limits[NR_LIMITS];
};

static void *enough(void *memory)
{
	if (memory)
		return memory;
	fputs("dune-sandbox: out of memory\n", stderr);
	exit(125);
}

/* One more element; @n is counted up. */
#define MORE(array, n) ({								\
	(array) = enough(realloc((array), ((n) + 1) * sizeof(*(array))));		\
	&(array)[(n)++];								\
})

static bool __attribute__((format(printf, 2, 3))) fails(struct builder *b, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(b->message, sizeof(b->message), format, args);
	va_end(args);
	return false;
}

static unsigned int new_origin(struct builder *b, const struct place *place, const char *text)
{
	struct origin *o = MORE(b->origins, b->nr_origins);

	*o = (struct origin){ .line = place->line };
	o->file = place->file ? enough(strdup(place->file)) : NULL;
	o->text = enough(strdup(text));
	return b->nr_origins - 1;
}

struct builder *builder_new(void)
{
	struct builder *b = enough(calloc(1, sizeof(*b)));

	for (unsigned int i = 0; i < NR_LIMITS; i++)
		b->limits[i] = NO_LIMIT;
	return b;
}

void builder_free(struct builder *b)
{
	for (unsigned int i = 0; i < b->nr_paths; i++) {
		free(b->paths[i].pattern);
		free(b->paths[i].data);
	}
	for (unsigned int i = 0; i < b->nr_network; i++)
		free(b->names[i]);
	for (unsigned int i = 0; i < b->nr_calls; i++)
		free(b->calls[i].conditions);
	for (unsigned int i = 0; i < b->nr_environment; i++)
		free(b->environment[i]);
	for (unsigned int i = 0; i < b->nr_origins; i++) {
		free(b->origins[i].file);
		free(b->origins[i].text);
	}
	free(b->paths);
	free(b->network);
	free(b->names);
	free(b->calls);
	free(b->environment);
	free(b->origins);
	free(b);
}

const char *builder_error(const struct builder *b)
{
	return b->message;
}

/* ---- paths ---- */

static bool has_wildcard(const char *pattern)
{
	return strpbrk(pattern, "*?[");
}

static bool set_is_closed(const char *p)
{
	const char *end = p + 1;

	if (*end == '!' || *end == '^')
		end++;
	return strchr(*end ? end + 1 : end, ']');
}

static bool check_pattern(struct builder *b, const char *pattern)
{
	unsigned int deep = 0;

	if (*pattern != '/')
		return fails(b, "'%s' is no absolute path: begin it with '/'", pattern);
	if (strlen(pattern) >= POLICY_PATH_MAX)
		return fails(b, "a path has less than %d bytes", POLICY_PATH_MAX);
	if (!pattern[1])
		return true;
	for (const char *p = pattern; *p; ) {
		const char *name = p + 1, *end = name + strcspn(name, "/");
		const size_t n = end - name;

		if (!n)
			return fails(b, "'%s' has an empty name: write each '/' once, and none at the end", pattern);
		if ((n == 1 && *name == '.') || (n == 2 && !memcmp(name, "..", 2)))
			return fails(b, "'%s' has '.' or '..' in it: write the path that is meant", pattern);
		if (n > 255)
			return fails(b, "a name in a path has at most 255 bytes");
		if (n == 2 && !memcmp(name, "**", 2))
			deep++;
		for (const char *c = name; c < end; c++)
			if (*c == '[' && !set_is_closed(c))
				return fails(b, "'%s' has a '[' without ']'", pattern);
		p = end;
	}
	if (deep > 1)
		return fails(b, "'%s' has more than one '**'", pattern);
	return true;
}

bool builder_path(struct builder *b, const struct place *place, enum path_set set, const char *pattern,
		  enum policy_access access, const char *data, size_t length)
{
	struct path path = { .set = set, .access = access, .length = length, .rank = place->rank };
	char text[POLICY_PATH_MAX + 32];
	struct path *old = NULL;

	if (!check_pattern(b, pattern))
		return false;
	if ((access == ACCESS_TMP || access == ACCESS_DATA) && has_wildcard(pattern))
		return fails(b, "'%s' has wildcards: there is only one file or directory that is new", pattern);
	for (unsigned int i = 0; i < b->nr_paths; i++)
		if (b->paths[i].set == set && !strcmp(b->paths[i].pattern, pattern))
			old = &b->paths[i];
	if (old && old->rank == path.rank && old->access != access)
		return fails(b, "'%s' was said to be %s before", pattern, policy_access_name(old->access));
	if (old && old->rank > path.rank)	/* a file that includes this one has said it */
		return true;
	snprintf(text, sizeof(text), "%s: %s", pattern, policy_access_name(access));
	path.origin = new_origin(b, place, text);
	path.pattern = enough(strdup(pattern));
	if (data) {
		path.data = enough(malloc(length + 1));
		memcpy(path.data, data, length);
	}
	if (old) {		/* this file includes the other */
		free(old->pattern);
		free(old->data);
		*old = path;
	} else {
		*MORE(b->paths, b->nr_paths) = path;
	}
	return true;
}

/* ---- network ---- */

#define MAPPED_PREFIX	96

struct word {
	const char *name;
	unsigned int value;
};

static bool find_word(const struct word *words, const char *name, unsigned int *value)
{
	for (; words->name; words++) {
		if (!strcmp(words->name, name)) {
			*value = words->value;
			return true;
		}
	}
	return false;
}

static bool parse_number(const char *text, uint64_t max, uint64_t *value)
{
	char *end;

	errno = 0;
	*value = strtoull(text, &end, 0);
	return isdigit((unsigned char)*text) && !*end && !errno && *value <= max;
}

static bool parse_address(struct builder *b, char *text, struct policy_network *n)
{
	static const uint8_t mapped[12] = { [10] = 0xff, 0xff };
	char *slash = strchr(text, '/');
	struct in_addr v4;
	uint64_t prefix;
	bool is_v4;

	if (!strcmp(text, "*"))
		return true;
	if (slash)
		*slash = '\0';
	is_v4 = inet_pton(AF_INET, text, &v4) == 1;
	if (is_v4) {
		memcpy(n->address, mapped, sizeof(mapped));
		memcpy(n->address + sizeof(mapped), &v4, sizeof(v4));
	} else if (inet_pton(AF_INET6, text, n->address) != 1) {
		return fails(b, "'%s' is no address of IPv4 or IPv6, and not '*'", text);
	}
	if (slash && !parse_number(slash + 1, is_v4 ? 32 : 128, &prefix))
		return fails(b, "'/%s' is no number of bits up to %d", slash + 1, is_v4 ? 32 : 128);
	n->prefix = slash ? prefix + (is_v4 ? MAPPED_PREFIX : 0) : 128;
	return true;
}

static bool parse_ports(struct builder *b, char *text, struct policy_network *n)
{
	char *dash = strchr(text, '-');
	uint64_t low, high;

	if (dash)
		*dash = '\0';
	if (!parse_number(text, 65535, &low) || (dash && !parse_number(dash + 1, 65535, &high)))
		return fails(b, "a port is a number up to 65535, or two with '-' between them");
	if (dash && high < low)
		return fails(b, "the first port of the range is above the last");
	n->low = low;
	n->high = dash ? high : low;
	return true;
}

static bool parse_network(struct builder *b, char *text, struct policy_network *n, char **name)
{
	static const struct word operations[] = {
		{ "connect", NETWORK_CONNECT }, { "bind", NETWORK_BIND }, { "any", NETWORK_CONNECT | NETWORK_BIND }, { }
	};
	static const struct word protocols[] = {
		{ "tcp", PROTOCOL_TCP }, { "udp", PROTOCOL_UDP }, { "unix", PROTOCOL_UNIX },
		{ "any", PROTOCOL_TCP | PROTOCOL_UDP }, { }
	};
	char *next = NULL, *word = strtok_r(text, " \t", &next), *where, *ports;
	unsigned int value;

	if (word && !strcmp(word, "deny")) {
		n->deny = true;
		word = strtok_r(NULL, " \t", &next);
	}
	if (!word || !find_word(operations, word, &value))
		return fails(b, "a network rule begins with connect, bind or any, not with '%s'", word ? word : "");
	n->operations = value;
	word = strtok_r(NULL, " \t", &next);
	if (!word || !find_word(protocols, word, &value))
		return fails(b, "after the operation comes tcp, udp, unix or any, not '%s'", word ? word : "");
	n->protocols = value;
	where = strtok_r(NULL, " \t", &next);
	ports = strtok_r(NULL, " \t", &next);
	if (!where)
		return fails(b, "an address is missing, or '*' for all");
	if (strtok_r(NULL, " \t", &next))
		return fails(b, "there are too many words: OPERATION PROTOCOL ADDRESS [PORT[-PORT]]");
	n->high = 65535;
	if (n->protocols == PROTOCOL_UNIX) {
		if (ports)
			return fails(b, "a UNIX socket has no port");
		if (*where != '@' && !check_pattern(b, where))
			return false;
		*name = where;
		return true;
	}
	return parse_address(b, where, n) && (!ports || parse_ports(b, ports, n));
}

bool builder_network(struct builder *b, const struct place *place, const char *rule)
{
	struct policy_network n = { 0 };
	char *text = enough(strdup(rule)), *name = NULL;
	const bool good = parse_network(b, text, &n, &name);

	if (good) {
		n.origin = new_origin(b, place, rule);
		b->names = enough(realloc(b->names, (b->nr_network + 1) * sizeof(*b->names)));
		b->names[b->nr_network] = name ? enough(strdup(name)) : NULL;
		*MORE(b->network, b->nr_network) = n;
	}
	free(text);
	return good;
}

/* ---- calls ---- */

static const struct {
	unsigned int nr;
	const char *name;
} names[] = {
#define CALL(number, name, ...)	{ number, #name },
#include "base/syscalls-table.h"
#undef CALL
};

static const struct {
	const char *name;
	int error;
} errors[] = {
#define E(name)	{ #name, name }
	E(EPERM), E(ENOENT), E(EIO), E(ENXIO), E(EAGAIN), E(ENOMEM), E(EACCES), E(EBUSY), E(EEXIST), E(ENODEV),
	E(ENOTDIR), E(EINVAL), E(EMFILE), E(ENOTTY), E(EFBIG), E(ENOSPC), E(EROFS), E(ENOSYS), E(EOPNOTSUPP),
	E(EAFNOSUPPORT), E(ECONNREFUSED), E(ENETUNREACH), E(EHOSTUNREACH), E(ENOTSUP),
#undef E
};

#define G(group, ...)	{ "@" group, (const char *const[]){ __VA_ARGS__, NULL } }
static const struct {
	const char *name;
	const char *const *calls;
} groups[] = {
	G("clock", "clock_settime", "clock_adjtime", "adjtimex", "settimeofday"),
	G("module", "init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load"),
	G("mount", "mount", "umount2", "move_mount", "open_tree", "fsopen", "fsmount", "fsconfig", "fspick",
	  "mount_setattr", "pivot_root", "chroot"),
	G("namespace", "unshare", "setns"),
	G("network", "socket", "socketpair", "connect", "bind", "listen", "accept", "accept4", "sendto", "recvfrom",
	  "sendmsg", "recvmsg", "sendmmsg", "recvmmsg", "shutdown", "getsockname", "getpeername", "setsockopt",
	  "getsockopt"),
	G("privilege", "setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid", "setfsuid", "setfsgid",
	  "setgroups", "capset"),
	G("process", "fork", "vfork", "clone", "clone3", "execve", "execveat"),
	G("reboot", "reboot", "swapon", "swapoff"),
	G("sysv", "shmget", "shmat", "shmctl", "shmdt", "semget", "semop", "semtimedop", "semctl", "msgget", "msgsnd",
	  "msgrcv", "msgctl"),
};
#undef G

bool policy_call_number(const char *name, unsigned int *nr)
{
	uint64_t value;

	if (parse_number(name, POLICY_CALLS - 1, &value)) {
		*nr = value;
		return true;
	}
	for (unsigned int i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (*names[i].name == *name && !strcmp(names[i].name, name)) {
			*nr = names[i].nr;
			return true;
		}
	}
	return false;
}

const char *policy_call_name(unsigned int nr)
{
	for (unsigned int i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (names[i].nr == nr)
			return names[i].name;
	return NULL;
}

const char *policy_error_name(unsigned int error)
{
	for (unsigned int i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
		if ((unsigned int)errors[i].error == error)
			return errors[i].name;
	return NULL;
}

unsigned int policy_error_number(const char *name)
{
	for (unsigned int i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
		if (!strcmp(errors[i].name, name))
			return errors[i].error;
	return 0;
}

static bool parse_action(struct builder *b, const char *text, struct policy_call *rule)
{
	uint64_t number;

	rule->error = 0;
	if (!strcmp(text, "allow") || !strcmp(text, "kill")) {
		rule->action = *text == 'a' ? ACTION_ALLOW : ACTION_KILL;
		return true;
	}
	rule->action = ACTION_ERRNO;
	if (!strcmp(text, "deny"))
		rule->error = EPERM;
	else if (parse_number(text, ERROR_MAX, &number))
		rule->error = number;
	else
		rule->error = policy_error_number(text);
	return rule->error ||
	       fails(b, "'%s' is no action: allow, deny, kill, or an error: its name as EPERM, or number", text);
}

static bool parse_condition(struct builder *b, char *text, struct policy_condition *c)
{
	static const struct word comparisons[] = {
		{ "==", COMPARE_EQ }, { "!=", COMPARE_NE }, { "<", COMPARE_LT }, { "<=", COMPARE_LE },
		{ ">", COMPARE_GT }, { ">=", COMPARE_GE }, { "&", COMPARE_MASKED }, { }
	};
	char *next = NULL, *argument = strtok_r(text, " \t", &next), *how = strtok_r(NULL, " \t", &next);
	char *value = strtok_r(NULL, " \t", &next), *equals, *masked;
	unsigned int comparison;

	*c = (struct policy_condition){ 0 };
	if (!argument || strncmp(argument, "arg", 3) || argument[3] < '0' || argument[3] > '5' || argument[4])
		return fails(b, "a condition begins with arg0 to arg5, not with '%s'", argument ? argument : "");
	c->argument = argument[3] - '0';
	if (!how || !find_word(comparisons, how, &comparison))
		return fails(b, "after %s comes ==, !=, <, <=, >, >= or &", argument);
	c->comparison = comparison;
	if (!value || !parse_number(value, UINT64_MAX, comparison == COMPARE_MASKED ? &c->mask : &c->value))
		return fails(b, "after '%s' comes a number", how);
	if (comparison == COMPARE_MASKED) {
		equals = strtok_r(NULL, " \t", &next);
		masked = strtok_r(NULL, " \t", &next);
		if (!equals || strcmp(equals, "==") || !masked || !parse_number(masked, UINT64_MAX, &c->value))
			return fails(b, "a mask is written 'arg0 & MASK == VALUE'");
	}
	if (strtok_r(NULL, " \t", &next))
		return fails(b, "two conditions have 'and' between them");
	return true;
}

static bool parse_conditions(struct builder *b, const char *text, struct call *call)
{
	char *copy = enough(strdup(text)), *piece = copy, *next;
	bool good = true;

	while (good && piece) {
		next = strstr(piece, " and ");
		if (next) {
			*next = '\0';
			next += 5;
		}
		good = parse_condition(b, piece, MORE(call->conditions, call->rule.nr_conditions));
		piece = next;
	}
	free(copy);
	return good;
}

static bool add_call(struct builder *b, struct call call, const char *conditions)
{
	call.order = b->nr_calls;

	if (conditions && !parse_conditions(b, conditions, &call)) {
		free(call.conditions);
		return false;
	}
	*MORE(b->calls, b->nr_calls) = call;
	return true;
}

bool builder_call(struct builder *b, const struct place *place, const char *name, const char *action,
		  const char *conditions)
{
	struct call call = { .rank = place->rank };
	char text[MESSAGE_MAX];

	if (!parse_action(b, action, &call.rule))
		return false;
	snprintf(text, sizeof(text), "%s: %s%s%s", name, action, conditions ? " if " : "",
		 conditions ? conditions : "");
	call.rule.origin = new_origin(b, place, text);
	if (!strcmp(name, "*")) {
		call.nr = POLICY_CALLS;
		return conditions ? fails(b, "what is said of all other calls has no conditions") :
				    add_call(b, call, NULL);
	}
	for (unsigned int i = 0; i < sizeof(groups) / sizeof(groups[0]); i++) {
		if (strcmp(groups[i].name, name))
			continue;
		call.group = true;
		for (const char *const *member = groups[i].calls; *member; member++)
			if (policy_call_number(*member, &call.nr) && !add_call(b, call, conditions))
				return false;
		return true;
	}
	if (!policy_call_number(name, &call.nr))
		return fails(b, "there is no system call '%s', and no group of that name", name);
	/* Of a profile the order is no rule's business: what has conditions comes first. */
	call.group = place->rank == RANK_PROFILE && !conditions;
	return add_call(b, call, conditions);
}

bool builder_others(struct builder *b, const struct place *place, const char *action)
{
	struct call call = { .rank = place->rank, .group = true };
	char text[64];

	if (!parse_action(b, action, &call.rule))
		return false;
	snprintf(text, sizeof(text), "all others: %s", action);
	call.rule.origin = new_origin(b, place, text);
	for (call.nr = 0; call.nr < POLICY_CALLS; call.nr++)
		add_call(b, call, NULL);
	return true;
}

/* ---- environment, limits ---- */

bool builder_environment(struct builder *b, const char *text)
{
	if (!*text || *text == '=')
		return fails(b, "a variable is NAME or NAME=VALUE");
	*MORE(b->environment, b->nr_environment) = enough(strdup(text));
	return true;
}

enum unit { UNIT_NONE, UNIT_TIME, UNIT_BYTES };

static const struct {
	const char *name;
	enum unit unit;
} limits[NR_LIMITS] = {
	[LIMIT_WALL] = { "wall", UNIT_TIME },
	[LIMIT_CPU] = { "cpu", UNIT_TIME },
	[LIMIT_MEMORY] = { "memory", UNIT_BYTES },
	[LIMIT_FILE_SIZE] = { "file-size", UNIT_BYTES },
	[LIMIT_PROCESSES] = { "processes", UNIT_NONE },
	[LIMIT_THREADS] = { "threads", UNIT_NONE },
	[LIMIT_DESCRIPTORS] = { "descriptors", UNIT_NONE },
};

const char *policy_limit_name(enum policy_limit limit)
{
	return limits[limit].name;
}

static bool find_unit(enum unit kind, const char *name, uint64_t *factor)
{
	static const struct {
		enum unit kind;
		const char *name;
		uint64_t factor;
	} units[] = {
		{ UNIT_NONE, "", 1 },
		{ UNIT_TIME, "ms", 1 }, { UNIT_TIME, "s", 1000 }, { UNIT_TIME, "m", 60000 },
		{ UNIT_TIME, "h", 3600000 },
		{ UNIT_BYTES, "", 1 }, { UNIT_BYTES, "K", 1 << 10 }, { UNIT_BYTES, "M", 1 << 20 },
		{ UNIT_BYTES, "G", 1 << 30 },
	};

	for (unsigned int i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (units[i].kind == kind && !strcmp(units[i].name, name)) {
			*factor = units[i].factor;
			return true;
		}
	}
	return false;
}

bool builder_limit(struct builder *b, const char *name, const char *value)
{
	static const char *const forms[] = {
		[UNIT_NONE] = "a number", [UNIT_TIME] = "a number with ms, s, m or h behind it",
		[UNIT_BYTES] = "a number, or one with K, M or G behind it",
	};
	uint64_t n, factor;
	char *end;

	for (unsigned int i = 0; i < NR_LIMITS; i++) {
		if (strcmp(limits[i].name, name))
			continue;
		errno = 0;
		n = strtoull(value, &end, 10);
		if (!isdigit((unsigned char)*value) || errno || !find_unit(limits[i].unit, end, &factor) ||
		    __builtin_mul_overflow(n, factor, &n))
			return fails(b, "'%s' is no limit for %s: it is %s", value, name, forms[limits[i].unit]);
		b->limits[i] = n;
		return true;
	}
	return fails(b, "there is no limit '%s': wall, cpu, memory, file-size, processes, threads, descriptors", name);
}

/* ---- the finished policy ---- */

struct image {
	char *data;
	size_t size;
};

/* Aligned, zeroed where @from is NULL; its position. */
static uint32_t put(struct image *image, const void *from, size_t length)
{
	const size_t at = (image->size + 7) & -8UL, size = at + length;

	if (size > UINT32_MAX)
		enough(NULL);
	image->data = enough(realloc(image->data, size + 1));
	memset(image->data + image->size, 0, size - image->size);
	if (from)
		memcpy(image->data + at, from, length);
	image->size = size;
	return at;
}

static uint32_t put_string(struct image *image, const char *text)
{
	return put(image, text, strlen(text) + 1);
}

/* The tree of literal patterns, until it is put. */
struct tree {
	char *name;
	struct tree **children;
	unsigned int nr_children, number;
	struct policy_rule rule;
	bool leads;
};

static struct tree *branch(struct tree *t, const char *name, size_t length)
{
	struct tree *child;

	for (unsigned int i = 0; i < t->nr_children; i++)
		if (strlen(t->children[i]->name) == length && !memcmp(t->children[i]->name, name, length))
			return t->children[i];
	child = enough(calloc(1, sizeof(*child)));
	child->name = enough(strndup(name, length));
	*MORE(t->children, t->nr_children) = child;
	return child;
}

static int by_name(const void *a, const void *b)
{
	return strcmp((*(struct tree *const *)a)->name, (*(struct tree *const *)b)->name);
}

static void put_tree(struct image *image, uint32_t nodes, unsigned int *used, struct tree *t)
{
	struct policy_node *node;
	uint32_t name = t->name ? put_string(image, t->name) : 0;
	const unsigned int first = *used;

	if (t->nr_children)
		qsort(t->children, t->nr_children, sizeof(*t->children), by_name);
	for (unsigned int i = 0; i < t->nr_children; i++)
		t->children[i]->number = (*used)++;
	node = (struct policy_node *)(image->data + nodes) + t->number;
	*node = (struct policy_node){ .name = name, .length = t->name ? strlen(t->name) : 0, .leads = t->leads,
				      .first = first, .count = t->nr_children, .rule = t->rule };
	for (unsigned int i = 0; i < t->nr_children; i++) {
		put_tree(image, nodes, used, t->children[i]);
		free(t->children[i]->name);
		free(t->children[i]->children);
		free(t->children[i]);
	}
}

static struct policy_rule put_rule(struct image *image, const struct path *path)
{
	return (struct policy_rule){ .access = path->access, .origin = path->origin, .length = path->length,
				     .data = path->data ? put(image, path->data, path->length) : 0 };
}

static unsigned int count_letters(const char *pattern)
{
	unsigned int n = 0;

	for (const char *p = pattern; *p; p++) {
		if (*p == '[')
			p = strchr(p + 2, ']');
		else if (*p != '*' && *p != '?')
			n++;
	}
	return n;
}

static void put_paths(struct builder *b, struct image *image, enum path_set set, struct policy_paths *to)
{
	struct tree root = { 0 };
	unsigned int nr_nodes = 1, used = 1;
	struct policy_glob *globs = NULL;

	for (unsigned int i = 0; i < b->nr_paths; i++) {
		const struct path *path = &b->paths[i];
		const bool leads = path->access && path->access < ACCESS_DENY;
		struct tree *t = &root;

		if (path->set != set)
			continue;
		if (has_wildcard(path->pattern)) {
			*MORE(globs, to->nr_globs) = (struct policy_glob){
				.pattern = put_string(image, path->pattern), .letters = count_letters(path->pattern),
				.rule = put_rule(image, path) };
			continue;
		}
		for (const char *p = path->pattern + 1; *p; ) {
			const size_t n = strcspn(p, "/");
			const unsigned int before = t->nr_children;
			struct tree *parent = t;

			t->leads |= leads;
			t = branch(t, p, n);
			nr_nodes += parent->nr_children - before;
			p += n + (p[n] == '/');
		}
		t->leads |= leads;
		t->rule = put_rule(image, path);
	}
	to->globs = put(image, globs, to->nr_globs * sizeof(*globs));
	free(globs);
	to->nodes = put(image, NULL, nr_nodes * sizeof(struct policy_node));
	put_tree(image, to->nodes, &used, &root);
	free(root.children);
}

static void put_network(struct builder *b, struct image *image, struct policy *p)
{
	struct policy_network *copy = enough(malloc((b->nr_network + 1) * sizeof(*copy)));

	for (unsigned int i = 0; i < b->nr_network; i++) {
		copy[i] = b->network[i];
		copy[i].name = b->names[i] ? put_string(image, b->names[i]) : 0;
	}
	p->network = put(image, copy, b->nr_network * sizeof(*copy));
	p->nr_network = b->nr_network;
	free(copy);
}

static unsigned int kind_of_rank(unsigned int rank)
{
	return rank == RANK_PROFILE ? 0 : rank ? 2 : 1;
}

/*
 * What counts last comes first: of a profile before of the default, that before of all others, of groups before of the
 * call itself, of included files before of those that include.
 */
static int last_first(const void *a, const void *b)
{
	const struct call *x = a, *y = b;

	if (kind_of_rank(x->rank) != kind_of_rank(y->rank))
		return kind_of_rank(x->rank) < kind_of_rank(y->rank) ? -1 : 1;
	if (x->group != y->group)
		return y->group - x->group;
	if (x->rank != y->rank)
		return x->rank < y->rank ? -1 : 1;
	return x->order < y->order ? 1 : -1;
}

static void put_calls(struct builder *b, struct image *image, struct policy *p)
{
	if (b->nr_calls)
		qsort(b->calls, b->nr_calls, sizeof(*b->calls), last_first);
	for (unsigned int i = 0; i < b->nr_calls; i++) {
		const struct call *call = &b->calls[i];
		struct policy_call rule = call->rule;

		if (call->nr == POLICY_CALLS) {
			p->other_calls = rule;
			continue;
		}
		rule.next = p->calls[call->nr];
		rule.conditions = put(image, call->conditions, rule.nr_conditions * sizeof(*call->conditions));
		p->calls[call->nr] = put(image, &rule, sizeof(rule));
	}
}

static void put_origins(struct builder *b, struct image *image, struct policy *p)
{
	struct policy_origin *origins = enough(malloc((b->nr_origins + 1) * sizeof(*origins)));

	for (unsigned int i = 0; i < b->nr_origins; i++) {
		const struct origin *o = &b->origins[i];

		origins[i] = (struct policy_origin){ .file = o->file ? put_string(image, o->file) : 0, .line = o->line,
						     .text = put_string(image, o->text) };
	}
	p->origins = put(image, origins, b->nr_origins * sizeof(*origins));
	p->nr_origins = b->nr_origins;
	free(origins);
}

static void put_environment(struct builder *b, struct image *image, struct policy *p)
{
	uint32_t *texts = enough(malloc((b->nr_environment + 1) * sizeof(*texts)));

	for (unsigned int i = 0; i < b->nr_environment; i++)
		texts[i] = put_string(image, b->environment[i]);
	p->environment = put(image, texts, b->nr_environment * sizeof(*texts));
	p->nr_environment = b->nr_environment;
	free(texts);
}

struct policy *builder_finish(struct builder *b)
{
	struct policy p = { .magic = POLICY_MAGIC };
	struct image image = { 0 };

	put(&image, NULL, sizeof(p));
	put_origins(b, &image, &p);
	put_paths(b, &image, SET_FILES, &p.files);
	put_paths(b, &image, SET_EXEC, &p.exec);
	put_network(b, &image, &p);
	put_calls(b, &image, &p);
	put_environment(b, &image, &p);
	memcpy(p.limits, b->limits, sizeof(p.limits));
	p.size = image.size;
	memcpy(image.data, &p, sizeof(p));
	return (struct policy *)image.data;
}
