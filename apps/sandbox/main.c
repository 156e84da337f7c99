// SPDX-License-Identifier: MIT
/*
 * dune-sandbox [OPTION...] [--] PROGRAM [ARGUMENT...]: run a program that may do only what a policy permits.  This is
 * its command line: policies are in sandbox/, what runs is started by run.c.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launch/launch.h"
#include "sandbox.h"
#include "sandbox/build.h"

#define REFUSED		1	/* explain's exit status */

void die(const char *format, ...)
{
	va_list args;

	fputs("dune-sandbox: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(EXIT_OURS);
}

static const char usage[] =
	"usage: dune-sandbox [OPTION]... [--] PROGRAM [ARGUMENT...]\n"
	"       dune-sandbox check POLICY\n"
	"       dune-sandbox explain POLICY CALL...\n"
	"       dune-sandbox learn [-o POLICY] [--] PROGRAM [ARGUMENT...]\n";

static const char help[] =
	"Run PROGRAM, and let it, and all that it starts, do only what is permitted. Without -p that is what a\n"
	"program needs to run: libraries, locales, /dev/null and the like. No network, no other program.\n\n"
	"  -p, --policy POLICY    what is permitted (man dune-sandbox.policy)\n"
	"      --ro PATH          it may be read, and all below it\n"
	"      --rw PATH          it may be read and changed\n"
	"      --hide PATH        it is not there\n"
	"      --exec PATH        it may be executed, if it may be read\n"
	"      --net RULE         as 'connect tcp 10.0.0.0/8 443'\n"
	"      --env NAME[=VALUE] a variable of the environment\n"
	"      --limit NAME=VALUE wall, cpu, memory, file-size, processes, threads or descriptors\n"
	"      --log FILE|FD      what is refused, one line of JSON each\n"
	"      --seccomp FILE     a profile of Docker's: calls that it refuses are refused too\n"
	"      --second-wall=WHAT none (the default), landlock or seccomp\n"
	"      --soak             refuse nothing; the log has what would be refused\n"
	"      --help, --version\n\n"
	"  check    is POLICY in order? Print what it says, with the places\n"
	"  explain  is it permitted: read, write, name, look or execute PATH; connect or bind tcp or udp ADDRESS\n"
	"           PORT; connect or bind unix NAME; call NAME [ARGUMENT...]?\n"
	"  learn    run PROGRAM, refuse nothing, and write a policy that permits what it has done\n\n"
	"The exit status is PROGRAM's; 128 and a signal's number; 120: a rule has killed it; 124: its time was over;\n"
	"125: dune-sandbox has failed; 126: PROGRAM cannot be run; 127: it is not found.\n"
	"The manuals: man dune-sandbox, man dune-sandbox.policy\n";

/* ---- the program ---- */

static void permit(struct builder *b, enum path_set set, const char *path)
{
	const struct place place = { .rank = 1 };

	if (!builder_path(b, &place, set, path, ACCESS_RO, NULL, 0))
		die("%s: %s", path, builder_error(b));
}

/* A script's interpreter is executed with it. */
static void permit_interpreter(struct builder *b, const char *script)
{
	char line[256], path[PATH_MAX], *name, *next;
	FILE *file = fopen(script, "re");

	if (file && fgets(line, sizeof(line), file) && !strncmp(line, "#!", 2)) {
		name = strtok_r(line + 2, " \t\n", &next);
		if (name && realpath(name, path)) {
			permit(b, SET_FILES, path);
			permit(b, SET_EXEC, path);
		}
	}
	if (file)
		fclose(file);
}

void permit_program(struct builder *b, const char *name)
{
	char found[PATH_MAX], path[PATH_MAX];

	__dune_launch_find(name, found);
	if (!realpath(found, path))
		die("%s: %s", found, strerror(errno));
	permit(b, SET_FILES, path);
	permit(b, SET_EXEC, path);
	permit_interpreter(b, path);
}

/* NAME is as it is here, where it is. */
char **make_environment(const struct policy *p)
{
	const uint32_t *texts = policy_at(p, p->environment);
	char **environment = calloc(p->nr_environment + 1, sizeof(*environment)), **to = environment;

	for (uint32_t i = 0; environment && i < p->nr_environment; i++) {
		const char *text = policy_at(p, texts[i]), *value = strchr(text, '=') ? NULL : getenv(text);

		if (strchr(text, '='))
			*to++ = (char *)text;
		else if (value && asprintf(to++, "%s=%s", text, value) < 0)
			die("%s", strerror(ENOMEM));
	}
	if (!environment)
		die("%s", strerror(ENOMEM));
	return environment;
}

static void refuse_what_is_missing(const struct policy *p, uint32_t number)
{
	const struct policy_node *node = (const struct policy_node *)policy_at(p, p->files.nodes) + number;

	if (node->rule.access == ACCESS_TMP || node->rule.access == ACCESS_DATA)
		die("'%s' is said of a path: that is not there yet (ro, rw, hide and deny are)",
		    policy_access_name(node->rule.access));
	for (uint32_t i = 0; i < node->count; i++)
		refuse_what_is_missing(p, node->first + i);
}

/* ---- check, explain ---- */

/* A policy that is installed can be said by its name alone.  What is a file here is that. */
static const char *find_policy(const char *name)
{
	static const char *const folders[] = { "/usr/local/share/dune/policies", "/usr/share/dune/policies" };
	static char path[PATH_MAX];

	if (strchr(name, '/') || !access(name, F_OK))
		return name;
	for (unsigned int i = 0; i < sizeof(folders) / sizeof(folders[0]); i++)
		if (snprintf(path, sizeof(path), "%s/%s.yaml", folders[i], name) < (int)sizeof(path) &&
		    !access(path, F_OK))
			return path;
	return name;
}

static struct policy *read_policy(const char *file)
{
	struct builder *b = builder_new();
	struct policy *p;

	if (!builder_refusals(b))
		die("%s", builder_error(b));
	if (!policy_read_file(b, find_policy(file)))
		exit(EXIT_OURS);
	p = builder_finish(b);
	builder_free(b);
	return p;
}

static int check(int argc, char **argv)
{
	struct policy *p;

	if (argc != 1)
		die("check POLICY\n%s", usage);
	p = read_policy(argv[0]);
	policy_print(stdout, p);
	refuse_what_is_missing(p, 0);
	free(p);
	return fflush(stdout) ? EXIT_OURS : 0;
}

static int say(const struct policy *p, bool permitted, bool by_rule, uint32_t number, const char *error)
{
	const struct policy_origin *o = (const struct policy_origin *)policy_at(p, p->origins) + number;

	printf("%s", permitted ? "permitted" : "refused");
	if (!permitted)
		printf(" (%s)", error);
	if (!by_rule)
		puts(permitted ? ": no rule speaks of it" : ": no rule permits it");
	else if (o->file && o->line)
		printf(": %s:%u: %s\n", (const char *)policy_at(p, o->file), o->line,
		       (const char *)policy_at(p, o->text));
	else
		printf(": %s: %s\n", o->file ? (const char *)policy_at(p, o->file) : "command line",
		       (const char *)policy_at(p, o->text));
	return permitted ? 0 : REFUSED;
}

static int explain_file(const struct policy *p, unsigned int access, const char *path)
{
	struct policy_verdict v = policy_path(p, &p->files, path);
	const int64_t error = access_error(&v, access & ~DUNE_RING3_EXECUTE);

	if (!error && access & DUNE_RING3_EXECUTE) {
		v = policy_path(p, &p->exec, path);
		return say(p, v.access == ACCESS_RO, v.access, v.origin, "EACCES");
	}
	return say(p, !error, v.access, v.origin, error ? strerrorname_np(-error) : NULL);
}

static int explain_address(const struct policy *p, unsigned int operation, char **words)
{
	const unsigned int protocol = !strcmp(words[0], "udp") ? PROTOCOL_UDP : PROTOCOL_TCP;
	uint8_t address[16] = { [10] = 0xff, 0xff };
	const struct policy_network *n;

	if (!strcmp(words[0], "unix")) {
		n = policy_unix(p, operation, words[1]);
	} else {
		if (inet_pton(AF_INET, words[1], address + 12) != 1 && inet_pton(AF_INET6, words[1], address) != 1)
			die("'%s' is no address of IPv4 or IPv6", words[1]);
		n = policy_internet(p, operation, protocol, address, atoi(words[2]));
	}
	return say(p, n && !n->deny, n, n ? n->origin : 0, "EACCES");
}

static int explain_call(const struct policy *p, char **words)
{
	const char *error;
	uint64_t arguments[6] = { 0 };
	const struct policy_call *rule;
	unsigned int nr;

	if (!policy_call_number(words[0], &nr))
		die("there is no system call '%s'", words[0]);
	for (int i = 0; i < 6 && words[1 + i]; i++)
		arguments[i] = strtoull(words[1 + i], NULL, 0);
	rule = policy_call(p, nr, arguments);
	error = rule->action == ACTION_KILL ? "kill" : strerrorname_np(rule->error);
	return say(p, rule->action == ACTION_NONE || rule->action == ACTION_ALLOW, rule->action, rule->origin,
		   error ? error : "an error without a name");
}

static int explain(int argc, char **argv)
{
	static const struct {
		const char *word;
		unsigned int access;
	} accesses[] = {
		{ "look", DUNE_RING3_LOOK }, { "read", DUNE_RING3_READ }, { "write", DUNE_RING3_WRITE },
		{ "name", DUNE_RING3_NAME }, { "execute", DUNE_RING3_READ | DUNE_RING3_EXECUTE },
	};
	struct policy *p;

	if (argc < 3)
		die("explain POLICY CALL...\n%s", usage);
	p = read_policy(argv[0]);
	for (unsigned int i = 0; i < sizeof(accesses) / sizeof(accesses[0]); i++)
		if (!strcmp(argv[1], accesses[i].word) && argc == 3 && *argv[2] == '/')
			return explain_file(p, accesses[i].access, argv[2]);
	if ((!strcmp(argv[1], "connect") || !strcmp(argv[1], "bind")) &&
	    argc == 4 + !!strcmp(argv[2], "unix"))
		return explain_address(p, *argv[1] == 'b' ? NETWORK_BIND : NETWORK_CONNECT, argv + 2);
	if (!strcmp(argv[1], "call"))
		return explain_call(p, argv + 2);
	die("'%s' is not known: look, read, write, name or execute PATH; connect or bind PROTOCOL ADDRESS [PORT]; "
	    "call NAME [ARGUMENT...]", argv[1]);
}

/* ---- run ---- */

static int open_log(const char *name)
{
	char *end;
	const long number = strtol(name, &end, 10);
	int fd = *end || end == name ? open(name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) :
		 fcntl(number, F_DUPFD_CLOEXEC, 3);

	if (fd < 0)
		die("--log %s: %s", name, strerror(errno));
	return fd;
}

static void add_path(struct builder *b, enum path_set set, const char *path, enum policy_access access)
{
	const struct place place = { .rank = RANK_COMMAND };
	char resolved[PATH_MAX];

	/* What is not there yet keeps its name. */
	if (!builder_path(b, &place, set, realpath(path, resolved) ? resolved : path, access, NULL, 0))
		die("%s", builder_error(b));
}

static void add_limit(struct builder *b, char *text)
{
	char *value = strchr(text, '=');

	if (!value)
		die("--limit %s: it is NAME=VALUE", text);
	*value++ = '\0';
	if (!builder_limit(b, text, value))
		die("%s", builder_error(b));
}

enum option_number { RO = 256, RW, HIDE, TMP, EXEC, NET, ENV, LIMIT, LOG, SOAK, WALL, SECCOMP };

static const struct option options[] = {
	{ "policy", required_argument, NULL, 'p' }, { "ro", required_argument, NULL, RO },
	{ "rw", required_argument, NULL, RW }, { "hide", required_argument, NULL, HIDE },
	{ "tmp", required_argument, NULL, TMP }, { "exec", required_argument, NULL, EXEC },
	{ "net", required_argument, NULL, NET }, { "env", required_argument, NULL, ENV },
	{ "limit", required_argument, NULL, LIMIT }, { "log", required_argument, NULL, LOG },
	{ "soak", no_argument, NULL, SOAK }, { "second-wall", required_argument, NULL, WALL },
	{ "seccomp", required_argument, NULL, SECCOMP }, { NULL, 0, NULL, 0 },
};

static int run(int argc, char **argv)
{
	const struct place place = { .rank = RANK_COMMAND };
	struct builder *b = builder_new();
	struct run run = { .log = -1 };
	bool has_policy = false;
	struct policy *p;
	int letter;

	if (!builder_refusals(b))
		die("%s", builder_error(b));
	while ((letter = getopt_long(argc, argv, "+p:", options, NULL)) != -1) {
		switch (letter) {
		case 'p':
			if (has_policy)
				die("-p is there twice: a policy can include others");
			if (!policy_read_file(b, find_policy(optarg)))
				exit(EXIT_OURS);
			has_policy = true;
			break;
		case RO:
		case RW:
		case HIDE:
		case TMP:
			add_path(b, SET_FILES, optarg, letter == RO ? ACCESS_RO : letter == RW ? ACCESS_RW :
				 letter == HIDE ? ACCESS_HIDE : ACCESS_TMP);
			break;
		case EXEC:
			add_path(b, SET_EXEC, optarg, ACCESS_RO);
			break;
		case NET:
			if (!builder_network(b, &place, optarg))
				die("--net %s: %s", optarg, builder_error(b));
			break;
		case ENV:
			if (!builder_environment(b, optarg))
				die("--env %s: %s", optarg, builder_error(b));
			break;
		case LIMIT:
			add_limit(b, optarg);
			break;
		case LOG:
			run.log = open_log(optarg);
			break;
		case SOAK:
			run.soak = true;
			break;
		case SECCOMP:
			if (!policy_read_profile(b, optarg))
				exit(EXIT_OURS);
			break;
		case WALL:
			if (!find_wall(optarg, &run.wall))
				die("--second-wall=%s: it is none, landlock or seccomp", optarg);
			break;
		default:
			fprintf(stderr, "%sdune-sandbox --help says more\n", usage);
			return EXIT_OURS;
		}
	}
	if (optind == argc)
		die("no program\n%sdune-sandbox --help says more", usage);
	if (!has_policy && !builder_default(b, 1))
		die("%s", builder_error(b));
	permit_program(b, argv[optind]);
	p = builder_finish(b);
	refuse_what_is_missing(p, 0);
	run.policy = p;
	run.argv = argv + optind;
	run.environment = make_environment(p);
	return run_sandbox(&run);
}

int main(int argc, char **argv)
{
	const char *word = argc > 1 ? argv[1] : "";

	for (int fd = 0; fd < 3; fd++)		/* what is opened later gets none of these */
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd)
			exit(EXIT_OURS);
	if (!strcmp(word, "--help"))
		return printf("%s%s", usage, help) < 0 || fflush(stdout) ? EXIT_OURS : 0;
	if (!strcmp(word, "--version"))
		return puts("dune-sandbox (Dune) " DUNE_VERSION) < 0 || fflush(stdout) ? EXIT_OURS : 0;
	if (!strcmp(word, "check"))
		return check(argc - 2, argv + 2);
	if (!strcmp(word, "explain"))
		return explain(argc - 2, argv + 2);
	if (!strcmp(word, "learn"))
		return learn(argc - 1, argv + 1);
	return run(argc, argv);
}
