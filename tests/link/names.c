// SPDX-License-Identifier: MIT
/*
 * Calls that name files, made by chance in a folder of its own: what they say, to be compared with what they say
 * elsewhere.
 *
 *	names FOLDER SEED CALLS
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

static uint64_t state;
static const char *root;

static unsigned int chance(unsigned int n)
{
	state = state * 6364136223846793005ULL + 1442695040888963407ULL;
	return (state >> 33) % n;
}

static const char *const parts[] = {
	"a", "b", "c", "d", "file", "other", "link", "up", "loop", "dangling", "absolute", "deep", "..", "..", ".",
	"fifo",
};

/* A path of up to 6 components, which begins at the folder, or anywhere in it. */
static const char *some_path(char to[4096])
{
	unsigned int n = chance(6);
	char *p = to;

	*p = '\0';
	if (!chance(4))
		p += sprintf(p, "%s/", root);
	else if (!chance(12))
		p += sprintf(p, "/proc/self/%s/", chance(2) ? "cwd" : "fd/3");
	for (unsigned int i = 0; i <= n; i++) {
		p += sprintf(p, "%s", parts[chance(sizeof(parts) / sizeof(parts[0]))]);
		if (i < n || !chance(6))
			p += sprintf(p, "%s", chance(10) ? "/" : "//");
	}
	if (!chance(60))
		p += sprintf(p, "%0300d", 0);
	if (!chance(100))
		*to = '\0';
	return to;
}

/* A folder's descriptor, or what is none. */
static int some_folder(void)
{
	switch (chance(5)) {
	case 0:
		return 3;
	case 1:
		return 4;
	case 2:
		return chance(8) ? 3 : 99;
	default:
		return AT_FDCWD;
	}
}

static void say(const char *call, const char *path, long result)
{
	/* Of two errors that a call could have the kernel chooses; so does libdune, in another order here and there. */
	printf("%s(%s) = %s\n", call, path, result < 0 ? strerrorname_np(errno) : "0");
}

static void say_opened(const char *call, const char *path, unsigned int flags, int fd)
{
	struct stat st;
	char link[64], text[4096] = "";

	printf("%s(%s, %#x) = %s", call, path, flags, fd < 0 ? strerrorname_np(errno) : "fd");
	if (fd >= 0 && !fstat(fd, &st)) {
		sprintf(link, "/proc/self/fd/%d", fd);
		if (readlink(link, text, sizeof(text) - 1) < 0)
			strcpy(text, "?");
		printf(" mode %o size %ld", st.st_mode, S_ISREG(st.st_mode) ? (long)st.st_size : 0L);
		if (!strchr(text, '#'))		/* of O_TMPFILE */
			printf(" %s", text);
		if (!(flags & O_PATH) && S_ISREG(st.st_mode) && write(fd, "text", 4) < 0)
			printf(" %s", strerrorname_np(errno));
	}
	putchar('\n');
	if (fd >= 0)
		close(fd);
}

static void say_status(const char *call, const char *path, long result, const struct stat *st)
{
	if (result)
		say(call, path, result);
	else
		printf("%s(%s) = mode %o links %lu size %ld\n", call, path, st->st_mode, (unsigned long)st->st_nlink,
		       S_ISREG(st->st_mode) ? (long)st->st_size : 0L);
}

static unsigned int some_flags(void)
{
	static const unsigned int modes[] = { O_RDONLY, O_WRONLY, O_RDWR, O_RDONLY };
	static const unsigned int more[] = {
		O_CREAT, O_EXCL, O_TRUNC, O_DIRECTORY, O_NOFOLLOW, O_PATH, O_APPEND, O_CREAT | O_EXCL,
	};
	unsigned int flags = modes[chance(4)] | O_NONBLOCK;

	while (chance(2))
		flags |= more[chance(8)];
	if (!chance(20))
		flags = O_TMPFILE | O_RDWR;
	return flags;
}

static int at_flags(void)
{
	return (chance(2) ? AT_SYMLINK_NOFOLLOW : 0) | (chance(5) ? 0 : AT_EMPTY_PATH);
}

/* What is longer is cut off: no name of more than 89 bytes can be bound to where path() decides. */
#define ADDRESS_MAX	80

static socklen_t address_of(struct sockaddr_un *to, const char *path)
{
	size_t n = strlen(path);

	n = n < ADDRESS_MAX ? n : ADDRESS_MAX;
	*to = (struct sockaddr_un){ .sun_family = AF_UNIX };
	memcpy(to->sun_path, path, n);
	return offsetof(struct sockaddr_un, sun_path) + n;
}

static void say_sent(const char *path)
{
	struct sockaddr_un address;
	socklen_t length = address_of(&address, path);
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

	say("sendto", path, sendto(fd, "text", 4, MSG_DONTWAIT, (struct sockaddr *)&address, length));
	say("connect", path, connect(fd, (struct sockaddr *)&address, length));
	close(fd);
}

static void call(unsigned int which)
{
	char first[4096], second[4096], text[4096] = "";
	const char *path = some_path(first), *other = some_path(second);
	const int folder = some_folder(), flags = at_flags();
	const unsigned int open_flags = some_flags();
	const struct timespec times[2] = { { 1000, 0 }, { 2000, 0 } };
	struct open_how how = { .flags = open_flags & ~O_LARGEFILE, .mode = open_flags & O_CREAT ? 0644 : 0 };
	struct sockaddr_un address;
	socklen_t length;
	struct statfs fs;
	struct statx sx;
	struct stat st;
	long ret;
	int fd;

	switch (which) {
	case 0:
		say_opened("open", path, open_flags, syscall(SYS_open, path, open_flags, 0644));
		break;
	case 1:
		say_opened("openat", path, open_flags, openat(folder, path, open_flags, 0644));
		break;
	case 2:
		if (!chance(2))
			how.resolve = chance(2) ? RESOLVE_BENEATH : RESOLVE_NO_SYMLINKS;
		if (how.flags & O_TMPFILE & ~O_DIRECTORY)
			how.mode = 0600;
		say_opened("openat2", path, open_flags, syscall(SYS_openat2, folder, path, &how, sizeof(how)));
		break;
	case 3:
		say_status("stat", path, syscall(SYS_stat, path, &st), &st);
		break;
	case 4:
		say_status("lstat", path, syscall(SYS_lstat, path, &st), &st);
		break;
	case 5:
		say_status("fstatat", path, syscall(SYS_newfstatat, folder, path, &st, flags), &st);
		break;
	case 6:
		ret = statx(folder, path, flags, STATX_BASIC_STATS, &sx);
		printf("statx(%s) = %s %o\n", path, ret ? strerrorname_np(errno) : "0", ret ? 0 : sx.stx_mode);
		break;
	case 7:
		say("access", path, access(path, chance(8)));
		break;
	case 8:
		say("faccessat2", path, syscall(SYS_faccessat2, folder, path, chance(8), flags));
		break;
	case 9:
		ret = readlink(path, text, 100);
		say("readlink", path, ret);
		if (ret >= 0 && !strstr(path, "self"))
			puts(text);
		break;
	case 10:
		ret = readlinkat(folder, path, text, 5);
		say("readlinkat", path, ret);
		if (ret >= 0)
			puts(text);
		break;
	case 11:
		say("statfs", path, statfs(path, &fs));
		break;
	case 12:
		ret = chdir(path);
		say("chdir", path, ret);
		if (!ret) {
			puts(getcwd(text, sizeof(text)) ? text : "?");
			if (chance(4))
				ret = chdir(root);
		}
		break;
	case 13:
		say("getxattr", path, getxattr(path, "user.dune", text, sizeof(text)));
		say("lgetxattr", path, lgetxattr(path, "user.dune", text, sizeof(text)));
		break;
	case 14:
		fd = inotify_init();
		say("inotify", path, inotify_add_watch(fd, path, IN_CREATE | (chance(2) ? IN_DONT_FOLLOW : 0)));
		close(fd);
		break;
	case 15:
		say("truncate", path, truncate(path, chance(100)));
		break;
	case 16:
		say("chmod", path, chmod(path, chance(2) ? 0755 : 0700));
		break;
	case 17:
		say("fchmodat", path, syscall(SYS_fchmodat, folder, path, 0744));
		break;
	case 18:
		say("chown", path, chance(2) ? chown(path, 0, 0) : lchown(path, 0, 0));
		break;
	case 19:
		say("fchownat", path, fchownat(folder, path, 0, 0, flags));
		break;
	case 20:
		say("utimensat", path, utimensat(folder, path, times, flags & AT_SYMLINK_NOFOLLOW));
		break;
	case 21:
		say("setxattr", path, setxattr(path, "user.dune", "value", 5, 0));
		break;
	case 22:
		say("mkdir", path, mkdir(path, 0755));
		break;
	case 23:
		say("mkdirat", path, mkdirat(folder, path, 0755));
		break;
	case 24:
		say("mknod", path, mknod(path, chance(2) ? S_IFIFO | 0600 : S_IFREG | 0600, 0));
		break;
	case 25:
		say("rmdir", path, chance(3) ? rmdir(path) : unlinkat(folder, path, AT_REMOVEDIR));
		break;
	case 26:
		say("unlink", path, chance(2) ? unlink(path) : unlinkat(folder, path, 0));
		break;
	case 27:
		say("symlink", path, symlink(other, path));
		break;
	case 28:
		say("symlinkat", path, symlinkat(other, folder, path));
		break;
	case 29:
		printf("to %s: ", other);
		say("rename", path, rename(path, other));
		break;
	case 30:
		printf("to %s: ", other);
		say("renameat2", path, syscall(SYS_renameat2, folder, path, some_folder(), other, chance(3)));
		break;
	case 31:
		printf("to %s: ", other);
		say("link", path, link(path, other));
		break;
	case 32:
		printf("to %s: ", other);
		say("linkat", path, linkat(folder, path, some_folder(), other, chance(2) ? AT_SYMLINK_FOLLOW : 0));
		break;
	case 34:
		/* A socket that is bound, and goes away: its name stays. */
		fd = socket(AF_UNIX, SOCK_DGRAM, 0);
		length = address_of(&address, path);
		say("bind", path, bind(fd, (struct sockaddr *)&address, length));
		say_sent(path);
		close(fd);
		break;
	case 35:
		say_sent(path);
		break;
	case 33:
		fd = open("file", O_RDONLY);
		if (fd >= 0) {
			say("fchmod", "file", fchmod(fd, 0640));
			close(fd);
		}
		break;
	}
}

#define CALLS	34	/* and two of sockets behind them */
#define OTHER_CALLS	18	/* between those */

static void make(void)
{
	int fd;

	if (mkdir(root, 0755) || chdir(root)) {
		perror(root);
		exit(1);
	}
	mkdir("a", 0755);
	mkdir("a/b", 0755);
	mkdir("a/b/c", 0755);
	mkdir("d", 0755);
	close(open("file", O_CREAT | O_WRONLY, 0644));
	close(open("a/file", O_CREAT | O_WRONLY, 0644));
	if (symlink("a/b", "link") || symlink("../d", "a/up") || symlink("loop", "loop") ||
	    symlink("nowhere", "dangling") ||
	    symlink(root, "d/absolute") || symlink("../link/c", "a/deep") || mkfifo("fifo", 0600))
		perror("symlink");
	/* What some_folder() and some_path() name. */
	fd = open(".", O_RDONLY | O_DIRECTORY);
	if (fd != 3)
		dup2(fd, 3);
	fd = open("a", O_PATH | O_DIRECTORY);
	if (fd != 4)
		dup2(fd, 4);
}

int main(int argc, char **argv)
{
	if (argc < 4)
		return 2;
	setvbuf(stdout, NULL, _IOLBF, 0);
	root = argv[1];
	state = strtoull(argv[2], NULL, 0);
	make();
	for (long i = strtol(argv[3], NULL, 0); i-- > 0;) {
		/* What is gone comes back now and then. */
		if (!chance(50)) {
			if (chdir(root))
				return 1;
			mkdir("a", 0755);
			mkdir("a/b", 0755);
			mkdir("d", 0755);
			close(open("file", O_CREAT | O_WRONLY | O_NONBLOCK, 0644));
			if (symlink("a/b", "link"))
				errno = 0;
		}
		if (i % OTHER_CALLS == 0) {
			const uint64_t others = state;

			call(CALLS + i / OTHER_CALLS % 2);
			state = others;
		}
		call(chance(CALLS));
	}
	return 0;
}
