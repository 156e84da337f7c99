// SPDX-License-Identifier: MIT
/*
 * Seccomp profiles as Docker, Podman and the OCI's runtimes have them (JSON, by json-c): rules for calls, which count
 * after all others.  So a profile refuses more, and permits nothing that is refused without it.
 *
 * What is not known is an error, but for names of calls: profiles have those of other architectures and kernels.
 */
#include <errno.h>
#include <linux/capability.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <json-c/json.h>

#include "build.h"

#define CONDITIONS_MAX	600	/* six of them in words */

struct profile {
	struct builder *builder;
	const char *file;
	char where[64];		/* what is read: "syscalls[3]", for messages */
	unsigned int unknown;	/* names of calls that were left out */
	char names[400];	/* the first ones */
	uint64_t capabilities;
};

static bool __attribute__((format(printf, 2, 3))) complain(const struct profile *p, const char *format, ...)
{
	va_list args;

	fprintf(stderr, "%s: %s%s", p->file, p->where, *p->where ? ": " : "");
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	return false;
}

/* ---- what is in an object ---- */

static bool is_one_of(const char *name, const char *const *names)
{
	for (; *names; names++)
		if (!strcmp(*names, name))
			return true;
	return false;
}

/* Is it an object, without other keys than @keys? */
static bool check_keys(const struct profile *p, struct json_object *object, const char *what, const char *const *keys)
{
	if (!json_object_is_type(object, json_type_object))
		return complain(p, "%s is no object: {\"KEY\": VALUE}", what);
	json_object_object_foreach(object, key, value) {
		(void)value;
		if (!is_one_of(key, keys))
			return complain(p, "'%s' is not known in %s", key, what);
	}
	return true;
}

/* The value of @key, or NULL: it is not there, or null. */
static struct json_object *get(struct json_object *object, const char *key)
{
	struct json_object *value;

	return json_object_object_get_ex(object, key, &value) ? value : NULL;
}

/* Text without NULs; NULL: it is none, and that was said. */
static const char *text_of(const struct profile *p, struct json_object *value, const char *what)
{
	if (json_object_is_type(value, json_type_string) &&
	    strlen(json_object_get_string(value)) == (size_t)json_object_get_string_len(value))
		return json_object_get_string(value);
	complain(p, "%s is no text", what);
	return NULL;
}

static bool number_of(const struct profile *p, struct json_object *value, const char *what, uint64_t max, uint64_t *to)
{
	if (!json_object_is_type(value, json_type_int) || json_object_get_int64(value) < 0 ||
	    json_object_get_uint64(value) > max)
		return complain(p, "%s is no number up to %llu", what, (unsigned long long)max);
	*to = json_object_get_uint64(value);
	return true;
}

/* Of a list that may be missing; false: it is no list, and that was said. */
static bool length_of(const struct profile *p, struct json_object *list, const char *what, size_t *length)
{
	*length = 0;
	if (!list)
		return true;
	if (!json_object_is_type(list, json_type_array))
		return complain(p, "%s is no list", what);
	*length = json_object_array_length(list);
	return true;
}

/* Is @word in it? */
static bool contains(const struct profile *p, struct json_object *list, const char *what, const char *word, bool *is)
{
	size_t length;

	*is = false;
	if (!length_of(p, list, what, &length))
		return false;
	for (size_t i = 0; i < length; i++) {
		const char *text = text_of(p, json_object_array_get_idx(list, i), what);

		if (!text)
			return false;
		*is |= !strcmp(text, word);
	}
	return true;
}

/* ---- for whom an entry is ---- */

static const char *const capabilities[] = {
	"CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
	"LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
	"SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
	"SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
	"MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
	"CHECKPOINT_RESTORE",
};

static uint64_t own_capabilities(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { { 0 } };

	return syscall(SYS_capget, &header, data) ? 0 : data[0].effective | (uint64_t)data[1].effective << 32;
}

/* How many of the list the process has. */
static bool count_capabilities(const struct profile *p, struct json_object *list, size_t *has, size_t *of)
{
	*has = 0;
	if (!length_of(p, list, "caps", of))
		return false;
	for (size_t i = 0; i < *of; i++) {
		const char *text = text_of(p, json_object_array_get_idx(list, i), "a capability");
		unsigned int n = 0;

		if (!text)
			return false;
		while (n < sizeof(capabilities) / sizeof(capabilities[0]) &&
		       (strncmp(text, "CAP_", 4) || strcmp(capabilities[n], text + 4)))
			n++;
		if (n == sizeof(capabilities) / sizeof(capabilities[0]))
			return complain(p, "there is no capability '%s'", text);
		*has += p->capabilities >> n & 1;
	}
	return true;
}

static bool is_kernel(const struct profile *p, struct json_object *value, bool *is)
{
	const char *text = text_of(p, value, "minKernel");
	unsigned int major, minor, our_major = 0, our_minor = 0;
	struct utsname name;
	char behind;

	if (!text)
		return false;
	if (sscanf(text, "%u.%u%c", &major, &minor, &behind) != 2)
		return complain(p, "minKernel is as \"4.8\", not \"%s\"", text);
	uname(&name);
	sscanf(name.release, "%u.%u", &our_major, &our_minor);
	*is = our_major > major || (our_major == major && our_minor >= minor);
	return true;
}

/* Is one of what @of names true (@any), or all of it? */
static bool holds(const struct profile *p, struct json_object *of, const char *what, bool any, bool *result)
{
	static const char *const keys[] = { "caps", "arches", "minKernel", NULL };
	size_t has, nr_caps, nr_arches;
	bool is_here, is_new = !any;

	*result = !any;
	if (!of)
		return true;
	if (!check_keys(p, of, what, keys) || !count_capabilities(p, get(of, "caps"), &has, &nr_caps) ||
	    !length_of(p, get(of, "arches"), "arches", &nr_arches) ||
	    !contains(p, get(of, "arches"), "arches", "amd64", &is_here) ||
	    (get(of, "minKernel") && !is_kernel(p, get(of, "minKernel"), &is_new)))
		return false;
	*result = any ? has || is_here || is_new : has == nr_caps && (is_here || !nr_arches) && is_new;
	return true;
}

static bool is_for_us(const struct profile *p, struct json_object *entry, bool *is)
{
	bool included, excluded;

	if (!holds(p, get(entry, "includes"), "includes", false, &included) ||
	    !holds(p, get(entry, "excludes"), "excludes", true, &excluded))
		return false;
	*is = included && !excluded;
	return true;
}

/* ---- what is done ---- */

/*
 * As builder_call() has it.  A signal for the program's own handler is none of a policy's actions, so a trap kills;
 * what a tracer would be asked for is what it is without one.
 */
static bool read_action(const struct profile *p, struct json_object *object, const char *key, const char *number_key,
			const char *name_key, char to[32])
{
	static const struct {
		const char *name, *action;
	} actions[] = {
		{ "SCMP_ACT_ALLOW", "allow" }, { "SCMP_ACT_LOG", "allow" }, { "SCMP_ACT_ERRNO", NULL },
		{ "SCMP_ACT_KILL", "kill" }, { "SCMP_ACT_KILL_PROCESS", "kill" }, { "SCMP_ACT_KILL_THREAD", "kill" },
		{ "SCMP_ACT_TRAP", "kill" }, { "SCMP_ACT_TRACE", "ENOSYS" },
	};
	const char *name = text_of(p, get(object, key), key);
	uint64_t error = EPERM;

	if (!name)
		return false;
	if (!strcmp(name, "SCMP_ACT_NOTIFY"))
		return complain(p, "SCMP_ACT_NOTIFY asks another program, of which dune-sandbox has none");
	for (unsigned int i = 0; i < sizeof(actions) / sizeof(actions[0]); i++) {
		if (strcmp(actions[i].name, name))
			continue;
		if (actions[i].action) {
			strcpy(to, actions[i].action);
			return true;
		}
		if (get(object, number_key) && !number_of(p, get(object, number_key), number_key, 4095, &error))
			return false;
		snprintf(to, 32, "%u", (unsigned int)error);
		if (get(object, name_key)) {
			name = text_of(p, get(object, name_key), name_key);
			if (!name)
				return false;
			if (!policy_error_number(name))
				return complain(p, "there is no error '%s' here: write %s", name, number_key);
			snprintf(to, 32, "%s", name);
		}
		return true;
	}
	return complain(p, "'%s' is no action", name);
}

/* ---- conditions ---- */

static bool read_condition(const struct profile *p, struct json_object *object, char to[CONDITIONS_MAX],
			   uint64_t *index)
{
	static const char *const keys[] = { "index", "value", "valueTwo", "op", NULL };
	static const struct {
		const char *name, *sign;
	} operations[] = {
		{ "SCMP_CMP_NE", "!=" }, { "SCMP_CMP_LT", "<" }, { "SCMP_CMP_LE", "<=" }, { "SCMP_CMP_EQ", "==" },
		{ "SCMP_CMP_GE", ">=" }, { "SCMP_CMP_GT", ">" }, { "SCMP_CMP_MASKED_EQ", "&" },
	};
	const size_t length = strlen(to), room = CONDITIONS_MAX - length;
	const char *name, *and = length ? " and " : "";
	uint64_t value = 0, second = 0;

	if (!check_keys(p, object, "args", keys) || !number_of(p, get(object, "index"), "index", 5, index) ||
	    !number_of(p, get(object, "value"), "value", UINT64_MAX, &value) ||
	    (get(object, "valueTwo") && !number_of(p, get(object, "valueTwo"), "valueTwo", UINT64_MAX, &second)))
		return false;
	name = text_of(p, get(object, "op"), "op");
	for (unsigned int i = 0; name && i < sizeof(operations) / sizeof(operations[0]); i++) {
		const char *sign = operations[i].sign;

		if (strcmp(operations[i].name, name))
			continue;
		if (*sign == '&')
			snprintf(to + length, room, "%sarg%u & %#llx == %#llx", and, (unsigned int)*index,
				 (unsigned long long)value, (unsigned long long)second);
		else
			snprintf(to + length, room, "%sarg%u %s %#llx", and, (unsigned int)*index, sign,
				 (unsigned long long)value);
		return true;
	}
	return name && complain(p, "'%s' is no comparison", name);
}

/* ---- an entry of syscalls ---- */

static void leave_out(struct profile *p, const char *name)
{
	const size_t length = strlen(p->names);

	p->unknown++;
	snprintf(p->names + length, sizeof(p->names) - length, " %s", name);
}

static bool add_rule(struct profile *p, const char *name, const char *action, const char *conditions)
{
	const struct place place = { .file = p->file, .rank = RANK_PROFILE };

	return builder_call(p->builder, &place, name, action, conditions) ||
	       complain(p, "%s: %s", name, builder_error(p->builder));
}

/* Of conditions for the same argument one has to hold, else all: so does runc have it. */
static bool add_rules(struct profile *p, struct json_object *name_object, const char *action,
		      struct json_object *args)
{
	const char *name = text_of(p, name_object, "a call's name");
	char all[CONDITIONS_MAX] = "", one[CONDITIONS_MAX];
	unsigned int seen = 0, nr;
	bool again = false;
	uint64_t index;
	size_t n;

	if (!name || !length_of(p, args, "args", &n))
		return false;
	for (size_t i = 0; i < n; i++) {
		*one = '\0';
		if (!read_condition(p, json_object_array_get_idx(args, i), one, &index))
			return false;
		again |= seen >> index & 1;
		seen |= 1U << index;
	}
	if ((*name >= '0' && *name <= '9') || !policy_call_number(name, &nr)) {
		leave_out(p, name);
		return true;
	}
	for (size_t i = 0; i < n; i++) {
		if (!again) {
			read_condition(p, json_object_array_get_idx(args, i), all, &index);
			continue;
		}
		*one = '\0';
		read_condition(p, json_object_array_get_idx(args, i), one, &index);
		if (!add_rule(p, name, action, one))
			return false;
	}
	return again || add_rule(p, name, action, n ? all : NULL);
}

static bool read_entry(struct profile *p, struct json_object *entry)
{
	static const char *const keys[] = { "names", "name", "action", "errnoRet", "errno", "args", "comment",
					    "includes", "excludes", NULL };
	struct json_object *names, *name;
	char action[32];
	size_t length;
	bool is;

	if (!check_keys(p, entry, "an entry", keys))
		return false;
	names = get(entry, "names");
	name = get(entry, "name");
	if (!names == !name)
		return complain(p, "either names or name is there");
	if (!length_of(p, names, "names", &length) ||
	    !read_action(p, entry, "action", "errnoRet", "errno", action) || !is_for_us(p, entry, &is))
		return false;
	if (!is)
		return true;
	if (name)
		return add_rules(p, name, action, get(entry, "args"));
	for (size_t i = 0; i < length; i++)
		if (!add_rules(p, json_object_array_get_idx(names, i), action, get(entry, "args")))
			return false;
	return true;
}

/* ---- the whole ---- */

#define OUR_ARCHITECTURE	"SCMP_ARCH_X86_64"

/* Where architectures are named ours must be: else no rule is for us. */
static bool check_architectures(const struct profile *p, struct json_object *root)
{
	static const char *const keys[] = { "architecture", "subArchitectures", NULL };
	struct json_object *map = get(root, "archMap");
	size_t named, mapped;
	bool ours, sub;

	if (!length_of(p, get(root, "architectures"), "architectures", &named) ||
	    !contains(p, get(root, "architectures"), "architectures", OUR_ARCHITECTURE, &ours) ||
	    !length_of(p, map, "archMap", &mapped))
		return false;
	for (size_t i = 0; i < mapped; i++) {
		struct json_object *entry = json_object_array_get_idx(map, i);
		const char *name;

		if (!check_keys(p, entry, "archMap", keys) ||
		    !contains(p, get(entry, "subArchitectures"), "subArchitectures", OUR_ARCHITECTURE, &sub))
			return false;
		name = text_of(p, get(entry, "architecture"), "architecture");
		if (!name)
			return false;
		ours |= sub || !strcmp(name, OUR_ARCHITECTURE);
	}
	return ours || !(named || mapped) || complain(p, "the profile is not for %s", OUR_ARCHITECTURE);
}

static bool read_root(struct profile *p, struct json_object *root)
{
	static const char *const keys[] = { "defaultAction", "defaultErrnoRet", "defaultErrno", "architectures",
					    "archMap", "syscalls", "flags", "comment", NULL };
	const struct place place = { .file = p->file, .rank = RANK_PROFILE };
	struct json_object *entries;
	char action[32];
	size_t length;

	if (!check_keys(p, root, "a profile", keys) || !check_architectures(p, root) ||
	    !length_of(p, get(root, "flags"), "flags", &length) ||
	    !read_action(p, root, "defaultAction", "defaultErrnoRet", "defaultErrno", action))
		return false;
	entries = get(root, "syscalls");
	if (!length_of(p, entries, "syscalls", &length))
		return false;
	for (size_t i = 0; i < length; i++) {
		snprintf(p->where, sizeof(p->where), "syscalls[%zu]", i);
		if (!read_entry(p, json_object_array_get_idx(entries, i)))
			return false;
	}
	*p->where = '\0';
	return builder_others(p->builder, &place, action);
}

static char *read_whole(const char *file, size_t *length)
{
	FILE *in = fopen(file, "re");
	char *text = NULL;
	size_t room = 0;
	ssize_t n = -1;

	if (in)
		n = getdelim(&text, &room, '\0', in);
	if (!in || ferror(in) || n < 0)
		fprintf(stderr, "%s: %s\n", file, !in || ferror(in) ? strerror(errno) : "the file is empty");
	else if (getc(in) != EOF || !text[n - 1])
		fprintf(stderr, "%s: there is a NUL in it\n", file);
	else
		*length = n;
	if (in)
		fclose(in);
	if (*length)
		return text;
	free(text);
	return NULL;
}

static unsigned int line_of(const char *text, size_t offset)
{
	unsigned int line = 1;

	for (size_t i = 0; i < offset; i++)
		line += text[i] == '\n';
	return line;
}

bool policy_read_profile(struct builder *b, const char *file)
{
	struct profile p = { .builder = b, .file = file, .capabilities = own_capabilities() };
	struct json_tokener *parser;
	struct json_object *root;
	size_t length = 0;
	char *text = read_whole(file, &length);
	bool good = false;

	if (!text)
		return false;
	parser = json_tokener_new();
	if (!parser) {
		free(text);
		return complain(&p, "out of memory");
	}
	json_tokener_set_flags(parser, JSON_TOKENER_STRICT);
	root = json_tokener_parse_ex(parser, text, length + 1);		/* with the NUL: there is no more */
	if (json_tokener_get_error(parser) != json_tokener_success)
		fprintf(stderr, "%s:%u: %s\n", file, line_of(text, json_tokener_get_parse_end(parser)),
			json_tokener_error_desc(json_tokener_get_error(parser)));
	else
		good = read_root(&p, root);
	if (good && p.unknown)
		fprintf(stderr, "%s: %u names of calls are not known and left out:%s%s\n", file, p.unknown, p.names,
			strlen(p.names) == sizeof(p.names) - 1 ? "..." : "");
	json_object_put(root);
	json_tokener_free(parser);
	free(text);
	return good;
}
