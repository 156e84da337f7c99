// SPDX-License-Identifier: MIT
/*
 * Ways round a decision by path (tests/link/paths.c): to read /tmp/secret/file, or to change /tmp/ro/file or the folder
 * that it is in.  Each is tried from /tmp/work, which the program may do with as it likes.
 *
 *	climber free|confined ROUNDS
 *	climber serve
 *
 * free: each way must lead there, but for races, which take time.  confined: none may.  serve: takes what is sent to
 * /tmp/secret/socket.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static bool is_secret(int fd)
{
	char text[16] = "";
	bool found = fd >= 0 && read(fd, text, sizeof(text) - 1) > 0 && !strncmp(text, "secret", 6);

	if (fd >= 0)
		close(fd);
	return found;
}

static int link_to(const char *target)
{
	unlink("way");
	return symlink(target, "way");
}

/* ---- sockets ---- */

#define SECRET_SOCKET	"/tmp/secret/socket"

static int new_socket(int type)
{
	return socket(AF_UNIX, type, 0);
}

static struct sockaddr_un address_of(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	strncpy(a.sun_path, path, sizeof(a.sun_path) - 1);
	return a;
}

static int bind_to(int fd, const char *path)
{
	const struct sockaddr_un a = address_of(path);

	return bind(fd, (const struct sockaddr *)&a, sizeof(a));
}

static int connect_to(int fd, const char *path)
{
	const struct sockaddr_un a = address_of(path);

	return connect(fd, (const struct sockaddr *)&a, sizeof(a));
}

static bool connects(const char *path)
{
	int fd = new_socket(SOCK_DGRAM);
	bool done = !connect_to(fd, path);

	close(fd);
	return done;
}

static bool sends(const char *path, unsigned int messages)
{
	struct sockaddr_un a = address_of(path);
	struct iovec v = { "text", 4 };
	struct mmsghdr m[2] = { 0 };
	int fd = new_socket(SOCK_DGRAM);
	bool done;

	for (int i = 0; i < 2; i++)
		m[i].msg_hdr = (struct msghdr){ .msg_name = &a, .msg_namelen = sizeof(a), .msg_iov = &v,
						.msg_iovlen = 1 };
	done = messages == 0 ? sendto(fd, "text", 4, 0, (struct sockaddr *)&a, sizeof(a)) == 4 :
	       messages == 1 ? sendmsg(fd, &m[0].msg_hdr, 0) == 4 :
	       sendmmsg(fd, m, 2, 0) == 2 && m[0].msg_len == 4 && m[1].msg_len == 4;
	close(fd);
	return done;
}

static int serve(void)
{
	int fd = new_socket(SOCK_DGRAM);
	char text[8];

	if (bind_to(fd, SECRET_SOCKET))
		return 1;
	while (recv(fd, text, sizeof(text), 0) >= 0)
		;
	return 1;
}

static int listener;

static void *accept_later(void *unused)
{
	usleep(100000);
	while (accept(listener, NULL, NULL) >= 0)
		;
	return unused;
}

static void *receive_later(void *fd)
{
	char text[8];

	usleep(100000);
	for (int i = 0; i < 100; i++)
		if (recv(*(int *)fd, text, sizeof(text), 0) != 4)
			return fd;
	return NULL;
}

static void on_alarm(int signal)
{
	(void)signal;
}

/* What blocks outside does so here, until it can be done, or until a signal. */
static const char *wrong_with_sockets(void)
{
	const struct sigaction action = { .sa_handler = on_alarm };
	struct sockaddr_un a = address_of("own"), peer;
	socklen_t length = sizeof(peer);
	int fd, to = new_socket(SOCK_DGRAM), full;
	pthread_t thread;
	void *failed;

	unlink("own");
	unlink("full");
	if (bind_to(to, "/tmp/work/own") || !bind_to(new_socket(SOCK_DGRAM), "own") || errno != EADDRINUSE)
		return "bind";
	pthread_create(&thread, NULL, receive_later, &to);
	fd = new_socket(SOCK_DGRAM);
	for (int i = 0; i < 100; i++)
		if (sendto(fd, "text", 4, 0, (struct sockaddr *)&a, sizeof(a)) != 4)
			return "sendto";
	pthread_join(thread, &failed);
	if (failed || connect_to(fd, "../work/own") || getpeername(fd, (struct sockaddr *)&peer, &length))
		return "a datagram";
	close(to);
	if (!connect_to(fd, "own") || errno != ECONNREFUSED || !connect_to(fd, "none") || errno != ENOENT)
		return "nobody";
	listener = new_socket(SOCK_STREAM);
	if (bind_to(listener, "full") || listen(listener, 0))
		return "listen";
	full = new_socket(SOCK_STREAM | SOCK_NONBLOCK);
	while (!connect_to(full, "full"))
		full = new_socket(SOCK_STREAM | SOCK_NONBLOCK);
	if (errno != EAGAIN)
		return "a listener that has enough";
	fd = new_socket(SOCK_STREAM);
	sigaction(SIGALRM, &action, NULL);
	ualarm(50000, 50000);
	if (!connect_to(fd, "full") || errno != EINTR)
		return "a signal";
	ualarm(0, 0);
	pthread_create(&thread, NULL, accept_later, NULL);
	return connect_to(fd, "full") || write(fd, "text", 4) != 4 ? "connect" : NULL;
}

/* ---- to read what is hidden ---- */

static bool by_path(void)
{
	return is_secret(open("/tmp/secret/file", O_RDONLY));
}

static bool by_dots(void)
{
	return is_secret(open("folder/../../secret/./file", O_RDONLY));
}

static bool by_link(void)
{
	return !link_to("/tmp/secret/file") && is_secret(open("way", O_RDONLY));
}

static bool by_folder_link(void)
{
	return !link_to("../secret") && is_secret(open("way//file", O_RDONLY));
}

static bool by_chain(void)
{
	unlink("second");
	return !link_to("second/file") && !symlink("../secret", "second") && is_secret(open("way", O_RDONLY));
}

static bool by_working_folder(void)
{
	bool found = !chdir("/tmp/secret") && is_secret(open("file", O_RDONLY));

	return !chdir("/tmp/work") && found;
}

static bool by_folder(void)
{
	int folder = open("/tmp/secret", O_PATH | O_DIRECTORY);
	bool found = is_secret(openat(folder, "file", O_RDONLY));

	close(folder);
	return found;
}

static bool by_folder_above(void)
{
	int folder = open("/tmp", O_RDONLY | O_DIRECTORY);
	bool found = is_secret(openat(folder, "secret/file", O_RDONLY));

	close(folder);
	return found;
}

static bool by_proc(const char *link)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/%s/tmp/secret/file", link);
	return is_secret(open(path, O_RDONLY));
}

static bool by_proc_root(void)
{
	return by_proc("root");
}

static bool by_proc_cwd(void)
{
	return by_proc("cwd/../..");
}

static bool by_path_descriptor(void)
{
	char path[64];
	int fd = open("/tmp/secret/file", O_PATH);
	bool found;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	found = fd >= 0 && is_secret(open(path, O_RDONLY));
	close(fd);
	return found;
}

static bool by_hard_link(void)
{
	unlink("name");
	return !link("/tmp/secret/file", "name") && is_secret(open("name", O_RDONLY));
}

static bool by_rename(void)
{
	bool found = !rename("/tmp/secret/file", "name") && is_secret(open("name", O_RDONLY));

	return found && !rename("name", "/tmp/secret/file");
}

static bool by_rename_of_folder(void)
{
	bool found = !rename("/tmp/secret", "moved") && is_secret(open("moved/file", O_RDONLY));

	return found && !rename("moved", "/tmp/secret");
}

static bool by_exchange(void)
{
	bool found;

	mkdir("empty", 0755);
	found = !syscall(SYS_renameat2, AT_FDCWD, "empty", AT_FDCWD, "/tmp/secret", 2) &&
		is_secret(open("empty/file", O_RDONLY));
	return found && !syscall(SYS_renameat2, AT_FDCWD, "empty", AT_FDCWD, "/tmp/secret", 2);
}

static bool by_status(void)
{
	struct stat st;

	return !stat("/tmp/work/../secret/file", &st);
}

static bool by_link_text(void)
{
	char text[16];

	return readlink("/tmp/secret/link", text, sizeof(text)) > 0;
}

static bool by_exec(void)
{
	int status = -1;
	pid_t child = fork();

	if (!child) {
		execl("/tmp/secret/program", "program", NULL);
		_exit(99);
	}
	waitpid(child, &status, 0);
	return WIFEXITED(status) && WEXITSTATUS(status) == 7;
}

static bool by_script(void)
{
	static const char line[] = "#!/tmp/secret/program\n";
	int status = -1, fd = open("script", O_CREAT | O_TRUNC | O_WRONLY, 0755);
	pid_t child;

	if (write(fd, line, sizeof(line) - 1) < 0)
		return false;
	close(fd);
	child = fork();
	if (!child) {
		execl("./script", "script", NULL);
		_exit(99);
	}
	waitpid(child, &status, 0);
	return WIFEXITED(status) && WEXITSTATUS(status) == 7;
}

static bool by_connecting(void)
{
	return connects(SECRET_SOCKET);
}

static bool by_connecting_through_link(void)
{
	return !link_to(SECRET_SOCKET) && connects("way");
}

static bool by_connecting_to_descriptor(void)
{
	char path[64];
	int fd = open(SECRET_SOCKET, O_PATH);
	bool done;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	done = fd >= 0 && connects(path);
	close(fd);
	return done;
}

static bool by_sending(void)
{
	return sends("../secret/socket", 0);
}

static bool by_message(void)
{
	return !link_to("/tmp/secret") && sends("way/socket", 1);
}

static bool by_messages(void)
{
	return sends(SECRET_SOCKET, 2);
}

/* ---- to change what may only be read ---- */

static bool by_binding(void)
{
	int fd = new_socket(SOCK_STREAM);
	bool done = !bind_to(fd, "/tmp/ro/new") && !unlink("/tmp/ro/new");

	close(fd);
	return done;
}

static bool by_binding_through_folder(void)
{
	int fd = new_socket(SOCK_DGRAM);
	bool done = !link_to("../ro") && !bind_to(fd, "way/new") && !unlink("/tmp/ro/new");

	close(fd);
	return done;
}

static bool by_writing(void)
{
	int fd = open("/tmp/ro/file", O_RDWR);

	return fd >= 0 && !close(fd);
}

static bool by_truncating(void)
{
	return !link_to("/tmp/ro/file") && !truncate("way", 2);
}

static bool by_truncating_open(void)
{
	int fd = open("/tmp/ro/file", O_RDONLY | O_TRUNC);

	return fd >= 0 && !close(fd);
}

static bool by_making(void)
{
	int fd = open("../ro/new", O_CREAT | O_RDONLY, 0644);

	return fd >= 0 && !close(fd) && !unlink("/tmp/ro/new");
}

static bool by_making_through_link(void)
{
	int fd;

	if (link_to("/tmp/ro/new"))
		return false;
	fd = open("way", O_CREAT | O_WRONLY, 0644);
	return fd >= 0 && !close(fd) && !unlink("/tmp/ro/new");
}

static bool by_unnamed(void)
{
	int fd = open("/tmp/ro", O_TMPFILE | O_RDWR, 0600);

	return fd >= 0 && !close(fd);
}

static bool by_reopening(void)
{
	char path[64];
	int fd = open("/tmp/ro/file", O_RDONLY), again;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	again = open(path, O_RDWR);
	close(fd);
	return again >= 0 && !close(again);
}

static bool by_mode(void)
{
	return !chmod("/tmp/ro/file", 0644);
}

static bool by_mode_of_descriptor(void)
{
	int fd = open("/tmp/ro/file", O_RDONLY);
	bool done = !fchmod(fd, 0644);

	close(fd);
	return done;
}

static bool by_mode_of_link(void)
{
	char path[64];
	int fd = open("/tmp/ro/file", O_PATH);
	bool done;

	snprintf(path, sizeof(path), "/dev/fd/%d", fd);
	done = fd >= 0 && !chmod(path, 0644);
	close(fd);
	return done;
}

static bool by_owner(void)
{
	int fd = open("/tmp/ro/file", O_PATH);
	bool done = !fchownat(fd, "", getuid(), getgid(), AT_EMPTY_PATH);

	close(fd);
	return done;
}

static bool by_times(void)
{
	int fd = open("/tmp/ro/file", O_RDONLY);
	bool done = !futimens(fd, NULL);

	close(fd);
	return done;
}

static bool by_folder_made(void)
{
	return !mkdir("/tmp/ro/new", 0755) && !rmdir("/tmp/ro/new");
}

static bool by_removing(void)
{
	return !unlink("/tmp/ro/victim") && !close(open("/tmp/ro/victim", O_CREAT | O_WRONLY, 0644));
}

static bool by_second_name(void)
{
	unlink("name");
	return !link("/tmp/ro/file", "name") && !close(open("name", O_WRONLY));
}

static bool by_second_name_of_descriptor(void)
{
	char path[64];
	int fd = open("/tmp/ro/file", O_RDONLY);
	bool done;

	unlink("name");
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	done = !linkat(AT_FDCWD, path, AT_FDCWD, "name", AT_SYMLINK_FOLLOW) && !close(open("name", O_WRONLY));
	close(fd);
	return done;
}

static bool by_moving_in(void)
{
	return !close(open("name", O_CREAT | O_WRONLY, 0644)) && !rename("name", "/tmp/ro/new") &&
	       !unlink("/tmp/ro/new");
}

static bool by_link_made(void)
{
	return !symlink("anywhere", "/tmp/ro/new") && !unlink("/tmp/ro/new");
}

static bool by_pipe_made(void)
{
	return !mkfifo("/tmp/ro/new", 0600) && !unlink("/tmp/ro/new");
}

static const struct way {
	const char *name;
	bool (*go)(void);
} ways[] = {
#define WAY(name) { #name, name }
	WAY(by_path), WAY(by_dots), WAY(by_link), WAY(by_folder_link), WAY(by_chain), WAY(by_working_folder),
	WAY(by_folder), WAY(by_folder_above), WAY(by_proc_root), WAY(by_proc_cwd), WAY(by_path_descriptor),
	WAY(by_hard_link), WAY(by_rename), WAY(by_rename_of_folder), WAY(by_exchange), WAY(by_status),
	WAY(by_link_text), WAY(by_exec), WAY(by_script), WAY(by_writing), WAY(by_truncating), WAY(by_truncating_open),
	WAY(by_making), WAY(by_making_through_link), WAY(by_unnamed), WAY(by_reopening), WAY(by_mode),
	WAY(by_mode_of_descriptor), WAY(by_mode_of_link), WAY(by_owner), WAY(by_times), WAY(by_folder_made),
	WAY(by_removing), WAY(by_second_name), WAY(by_second_name_of_descriptor), WAY(by_moving_in), WAY(by_link_made),
	WAY(by_pipe_made), WAY(by_connecting), WAY(by_connecting_through_link), WAY(by_connecting_to_descriptor),
	WAY(by_sending), WAY(by_message), WAY(by_messages), WAY(by_binding), WAY(by_binding_through_folder),
};

/* ---- races ---- */

static volatile bool over;
static int ro_folder, spare;

/* `swap` is a folder of the program's own, and then a link. */
static void *swap(void *target)
{
	mkdir("real", 0755);
	close(open("real/file", O_CREAT | O_WRONLY, 0644));
	close(open("real/victim", O_CREAT | O_WRONLY, 0644));
	while (!over) {
		unlink("other");
		if (symlink(target, "other"))
			continue;
		rename("real", "swap");
		syscall(SYS_renameat2, AT_FDCWD, "other", AT_FDCWD, "swap", 2);
		syscall(SYS_renameat2, AT_FDCWD, "other", AT_FDCWD, "swap", 2);
		rename("swap", "real");
		mkdir("swap", 0755);
		rmdir("swap");
	}
	return NULL;
}

/* The number that a new descriptor gets is another folder's. */
static void *replace(void *unused)
{
	(void)unused;
	while (!over) {
		dup2(ro_folder, spare);
		close(spare);
	}
	return NULL;
}

static bool secret_seen;

static void race_to_read(void)
{
	secret_seen |= is_secret(open("swap/file", O_RDONLY));
}

static void race_to_remove(void)
{
	unlink("swap/victim");
}

static void race_to_change(void)
{
	chmod("swap/file", 0601);
}

static void race_to_make(void)
{
	mkdir("swap/made", 0700);
}

static bool secret_reached;

static void race_to_connect(void)
{
	secret_reached |= connects("swap/socket");
}

static void race_to_bind(void)
{
	int fd = new_socket(SOCK_DGRAM);

	bind_to(fd, "swap/bound");
	close(fd);
}

static bool was_read(void)
{
	return secret_seen;
}

static bool was_reached(void)
{
	return secret_reached;
}

static bool is_bound(void)
{
	return !access("/tmp/ro/bound", F_OK);
}

static bool is_removed(void)
{
	return access("/tmp/ro/victim", F_OK);
}

static bool is_changed(void)
{
	struct stat st;

	return stat("/tmp/ro/file", &st) || (st.st_mode & 07777) == 0601;
}

static bool is_made(void)
{
	return !access("/tmp/ro/made", F_OK);
}

/* What came of it is looked at when nobody can disturb that any more. */
static const struct race {
	const char *name, *target;
	void (*go)(void);
	bool (*is_won)(void);
} races[] = {
	{ "race_to_read", "/tmp/secret", race_to_read, was_read },
	{ "race_to_remove", "/tmp/ro", race_to_remove, is_removed },
	{ "race_to_change", "/tmp/ro", race_to_change, is_changed },
	{ "race_to_make", "/tmp/ro", race_to_make, is_made },
	{ "race_to_connect", "/tmp/secret", race_to_connect, was_reached },
	{ "race_to_bind", "/tmp/ro", race_to_bind, is_bound },
};

#define PATIENCE	100	/* how often that many rounds, until it is won */

static bool is_won(const struct race *race, long rounds, bool confined)
{
	pthread_t threads[2];

	over = false;
	pthread_create(&threads[0], NULL, swap, (void *)race->target);
	pthread_create(&threads[1], NULL, replace, NULL);
	for (int patience = confined ? 1 : PATIENCE; patience-- > 0 && (confined || !race->is_won());)
		for (long i = 0; i < rounds; i++)
			race->go();
	over = true;
	pthread_join(threads[0], NULL);
	pthread_join(threads[1], NULL);
	return race->is_won();
}

int main(int argc, char **argv)
{
	const bool confined = argc > 2 && !strcmp(argv[1], "confined");
	const long rounds = argc > 2 ? atol(argv[2]) : 0;
	const char *what;
	int wrong = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc == 2 && !strcmp(argv[1], "serve"))
		return serve();
	if (argc < 3 || chdir("/tmp/work"))
		return 2;
	mkdir("folder", 0755);
	what = wrong_with_sockets();
	if (what) {
		printf("sockets: %s: %s\n", what, strerrorname_np(errno));
		wrong++;
	}
	for (unsigned int i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		if (ways[i].go() == confined) {
			printf("%s: %s\n", ways[i].name, confined ? "leads there" : strerrorname_np(errno));
			wrong++;
		}
	}
	ro_folder = open("/tmp/ro", O_RDONLY | O_DIRECTORY);
	spare = dup(ro_folder);
	close(spare);
	for (unsigned int i = 0; i < sizeof(races) / sizeof(races[0]); i++) {
		if (is_won(&races[i], rounds, confined) == confined) {
			printf("%s: %s\n", races[i].name, confined ? "is won" : "is never won");
			wrong++;
		}
	}
	return wrong != 0;
}
