// SPDX-License-Identifier: MIT
/*
 * What dune-sandbox refuses unless a policy says otherwise: each attempt must succeed without it, and fail within.
 *
 *	refused free | refused refused | refused NAME	(that one must succeed)
 *
 * The parent is a process that is not of the sandbox; so is PID 1.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <linux/kcmp.h>
#include <linux/openat2.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timex.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#define CALL(...)	(syscall(__VA_ARGS__) == -1 ? errno : 0)

static int outside;		/* a process that is not of the sandbox */
static int tcp, tcp6, udp, local, terminal = -1;

static struct sockaddr_in v4(int family, unsigned int address, int port)
{
	return (struct sockaddr_in){ .sin_family = family, .sin_port = htons(port), .sin_addr.s_addr = htonl(address) };
}

/* ---- the machine ---- */

static int set_clock(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return CALL(SYS_clock_settime, CLOCK_REALTIME, &now);
}

static int host_name(void)
{
	return CALL(SYS_sethostname, "machine", 7);
}

static int domain_name(void)
{
	return CALL(SYS_setdomainname, "domain", 6);
}

static int kernel_log(void)
{
	return CALL(SYS_syslog, 10, NULL, 0);
}

static int accounting(void)
{
	return CALL(SYS_acct, NULL);
}

static int ports(void)
{
	return CALL(SYS_ioperm, 0x80, 1, 0);
}

static int namespace(void)
{
	return CALL(SYS_unshare, CLONE_NEWUTS);
}

static int namespace_of_child(void)
{
	const long child = syscall(SYS_clone, CLONE_NEWPID | SIGCHLD, 0, 0, 0, 0);

	if (!child)
		_exit(0);
	return child < 0 ? errno : waitpid(child, NULL, 0) != child;
}

static int namespace_by_structure(void)
{
	unsigned long args[8] = { CLONE_NEWPID, [4] = SIGCHLD };
	const long child = syscall(SYS_clone3, args, sizeof(args));

	if (!child)
		_exit(0);
	return child < 0 ? errno : waitpid(child, NULL, 0) != child;
}

/* Of an interface that is up it says so. */
static int interface(void)
{
	struct ifreq r = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };

	return CALL(SYS_ioctl, udp, SIOCSIFFLAGS, &r);
}

/* ---- who it is ---- */

static int user(void)
{
	return CALL(SYS_setresuid, 0, 0, 0);
}

static int groups(void)
{
	return CALL(SYS_setgroups, 0, NULL);
}

static int bits(void)
{
	return CALL(SYS_prctl, 28 /* PR_SET_SECUREBITS */, 0, 0, 0, 0);
}

/* ---- what all share ---- */

static int key(void)
{
	return CALL(SYS_add_key, "user", "a", "b", 1, -2 /* of the process */);
}

static int shared_memory(void)
{
	return CALL(SYS_shmget, 0 /* IPC_PRIVATE */, 4096, 01600 /* IPC_CREAT */);
}

static int semaphores(void)
{
	return CALL(SYS_semget, 0, 1, 01600);
}

static int messages(void)
{
	return CALL(SYS_msgget, 0, 01600);
}

static int queue(void)
{
	return CALL(SYS_mq_open, "queue", O_CREAT | O_RDWR, 0600, NULL);
}

static int handle(void)
{
	struct {
		unsigned int bytes;
		int type;
		unsigned char handle[128];
	} h = { .bytes = 128 };
	int mount;

	return CALL(SYS_name_to_handle_at, AT_FDCWD, "/root", &h, &mount, 0);
}

/* ---- terminals ---- */

static int put_input(void)
{
	return CALL(SYS_ioctl, terminal, 0x5412 /* TIOCSTI */, "x");
}

static int put_input_with_more_bits(void)
{
	return CALL(SYS_ioctl, terminal, 0xff00005412, "x");
}

static int discipline(void)
{
	return CALL(SYS_ioctl, terminal, 0x5423 /* TIOCSETD */, &(int){ 0 });
}

/* ---- devices, rights of the owner ---- */

static int device(void)
{
	unlink("device");
	return CALL(SYS_mknodat, AT_FDCWD, "device", S_IFCHR | 0600, 0x101);
}

static int block_device(void)
{
	unlink("device");
	return CALL(SYS_mknod, "device", S_IFBLK | 0600, 0x101);
}

static int mode(void)
{
	return CALL(SYS_fchmodat, AT_FDCWD, "file", 04755);
}

static int old_mode(void)
{
	return CALL(SYS_chmod, "file", 04755);
}

static int mode_of_descriptor(void)
{
	const int fd = open("file", O_RDONLY);
	const int error = CALL(SYS_fchmod, fd, 04755);

	close(fd);
	return error;
}

static int new_file(void)
{
	unlink("new");
	return CALL(SYS_openat, AT_FDCWD, "new", O_CREAT | O_WRONLY, 04755);
}

static int new_file_by_structure(void)
{
	struct open_how how = { .flags = O_CREAT | O_WRONLY, .mode = 04755 };

	unlink("new");
	return CALL(SYS_openat2, AT_FDCWD, "new", &how, sizeof(how));
}

static int old_new_file(void)
{
	unlink("new");
	return CALL(SYS_creat, "new", 04755);
}

static int new_file_as_node(void)
{
	unlink("new");
	return CALL(SYS_mknod, "new", S_IFREG | 04755, 0);
}

static int new_file_without_name(void)
{
	const int fd = open(".", O_TMPFILE | O_RDWR, 04755);
	const int error = fd < 0 ? errno : 0;

	close(fd);
	return error == EOPNOTSUPP ? 0 : error;
}

static int capabilities(void)
{
	const unsigned int rights[5] = { 0x02000001, 1 << 10 };
	const int error = setxattr("file", "security.capability", rights, sizeof(rights), 0) ? errno : 0;

	return error == EOPNOTSUPP ? 0 : error;
}

/* By a descriptor for reading; not all file systems have such attributes. */
static int attributes(void)
{
	const int fd = open("file", O_RDONLY);
	int flags = 0, error = CALL(SYS_ioctl, fd, FS_IOC_SETFLAGS, &flags);

	close(fd);
	return error == ENOTTY || error == EOPNOTSUPP ? 0 : error;
}

/* ---- sockets ---- */

static int netlink(void)
{
	return CALL(SYS_socket, AF_NETLINK, SOCK_DGRAM, 0);
}

static int raw(void)
{
	return CALL(SYS_socket, AF_INET, SOCK_RAW, IPPROTO_TCP);
}

static int raw_with_flags(void)
{
	return CALL(SYS_socket, AF_INET6, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_UDP);
}

static int packets(void)
{
	return CALL(SYS_socket, AF_PACKET, SOCK_DGRAM, 0);
}

static int source_route(void)
{
	return CALL(SYS_setsockopt, udp, IPPROTO_IP, IP_OPTIONS, "\1\1\1\1", 4);
}

static int flow_label(void)
{
	const int error = CALL(SYS_setsockopt, tcp6, IPPROTO_IPV6, 32 /* IPV6_FLOWLABEL_MGR */, "", 0);

	return error == EINVAL ? 0 : error;
}

/* Where SCTP or DCCP are loaded that is one of these. */
static int other_type(void)
{
	const int error = CALL(SYS_socket, AF_INET, SOCK_SEQPACKET, 0);

	return error == ESOCKTNOSUPPORT ? 0 : error;
}

static int connect_tcp(void)
{
	struct sockaddr_in a = v4(AF_INET, INADDR_LOOPBACK, 7);
	const int error = CALL(SYS_connect, tcp, &a, sizeof(a));

	return error == ECONNREFUSED ? 0 : error;
}

static int connect_any(void)
{
	struct sockaddr_in a = v4(AF_INET, INADDR_ANY, 7);
	const int error = CALL(SYS_connect, tcp, &a, sizeof(a));

	return error == ECONNREFUSED ? 0 : error;
}

static int connect_mapped(void)
{
	struct sockaddr_in6 a = { .sin6_family = AF_INET6, .sin6_port = htons(7) };
	int error;

	memcpy(&a.sin6_addr, "\0\0\0\0\0\0\0\0\0\0\377\377\177\0\0\1", 16);
	error = CALL(SYS_connect, tcp6, &a, sizeof(a));
	return error == ECONNREFUSED ? 0 : error;
}

static int send_to(void)
{
	struct sockaddr_in a = v4(AF_INET, INADDR_LOOPBACK, 7);

	return CALL(SYS_sendto, udp, "x", 1, 0, &a, sizeof(a));
}

/* The kernel takes it for IPv4. */
static int send_to_unspecified(void)
{
	struct sockaddr_in a = v4(AF_UNSPEC, INADDR_LOOPBACK, 7);

	return CALL(SYS_sendto, udp, "x", 1, 0, &a, sizeof(a));
}

static int send_fast(void)
{
	struct sockaddr_in a = v4(AF_INET, INADDR_LOOPBACK, 7);
	const int fd = socket(AF_INET, SOCK_STREAM, 0);
	const int error = CALL(SYS_sendto, fd, "x", 1, 0x20000000 /* MSG_FASTOPEN */, &a, sizeof(a));

	close(fd);
	return error == ECONNREFUSED || error == EINPROGRESS ? 0 : error;
}

static int send_message(void)
{
	struct sockaddr_in a = v4(AF_INET, INADDR_LOOPBACK, 7);
	struct iovec v = { "x", 1 };
	struct msghdr m = { .msg_name = &a, .msg_namelen = sizeof(a), .msg_iov = &v, .msg_iovlen = 1 };

	return CALL(SYS_sendmsg, udp, &m, 0);
}

static int send_messages(void)
{
	struct sockaddr_in a = v4(AF_INET, INADDR_LOOPBACK, 7);
	struct iovec v = { "x", 1 };
	struct mmsghdr m[2] = {
		{ .msg_hdr = { .msg_name = &a, .msg_namelen = sizeof(a), .msg_iov = &v, .msg_iovlen = 1 } },
		{ .msg_hdr = { .msg_name = &a, .msg_namelen = sizeof(a), .msg_iov = &v, .msg_iovlen = 1 } },
	};

	return CALL(SYS_sendmmsg, udp, m, 2, 0);
}

static int bind_tcp(void)
{
	struct sockaddr_in a = v4(AF_INET, INADDR_LOOPBACK, 0);

	return CALL(SYS_bind, socket(AF_INET, SOCK_STREAM, 0), &a, sizeof(a));
}

static int bind_unspecified(void)
{
	struct sockaddr_in a = v4(AF_UNSPEC, INADDR_ANY, 0);

	return CALL(SYS_bind, socket(AF_INET, SOCK_DGRAM, 0), &a, sizeof(a));
}

static int listen_without_address(void)
{
	return CALL(SYS_listen, socket(AF_INET, SOCK_STREAM, 0), 1);
}

static int bind_abstract(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX, .sun_path = "\0refused" };

	return CALL(SYS_bind, local, &a, sizeof(sa_family_t) + 8);
}

static int connect_abstract(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX, .sun_path = "\0nobody" };
	const int error = CALL(SYS_connect, local, &a, sizeof(sa_family_t) + 7);

	return error == ECONNREFUSED ? 0 : error;
}

/* By a link, so that it is another path that counts. */
static int bind_named(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX, .sun_path = "way/named" };

	unlink("way");
	unlink("named");
	return symlink(".", "way") ? errno :
	       CALL(SYS_bind, socket(AF_UNIX, SOCK_STREAM, 0), &a, sizeof(a));
}

static int connect_named(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX, .sun_path = "way/nobody" };
	const int error = CALL(SYS_connect, local, &a, sizeof(a));

	return error == ENOENT ? 0 : error;
}

/* A name that may be written becomes a link to somebody's socket. */
static int connect_linked(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX, .sun_path = "/srv/linked" };
	int error;

	unlink(a.sun_path);
	/* Where the folder is not to be seen the link is refused already. */
	if (symlink("/nowhere", a.sun_path) && errno != EEXIST)
		return EACCES;
	error = CALL(SYS_connect, local, &a, sizeof(a));
	return error == ENOENT ? 0 : error;
}

/* ---- other processes ---- */

static int signal_one(void)
{
	return CALL(SYS_kill, outside, 0);
}

static int signal_thread(void)
{
	return CALL(SYS_tkill, outside, 0);
}

static int signal_thread_of(void)
{
	return CALL(SYS_tgkill, outside, outside, 0);
}

static int queue_signal(void)
{
	siginfo_t info = { .si_signo = SIGCONT, .si_code = -1 };

	return CALL(SYS_rt_sigqueueinfo, outside, SIGCONT, &info);
}

static int open_process(void)
{
	return CALL(SYS_pidfd_open, outside, 0);
}

/* The kernel takes that for a pidfd. */
static int signal_by_folder(void)
{
	char path[32];
	int fd, error;

	snprintf(path, sizeof(path), "/proc/%d", outside);
	fd = open(path, O_RDONLY | O_DIRECTORY);
	if (fd < 0)
		return errno;
	error = CALL(SYS_pidfd_send_signal, fd, 0, NULL, 0);
	close(fd);
	return error;
}

/* As soon as it lives on without our own process. */
static int death_of_parent(void)
{
	int signal = 0;

	prctl(PR_SET_PDEATHSIG, 0);
	prctl(PR_GET_PDEATHSIG, &signal);
	return signal ? EPERM : 0;
}

static int limits(void)
{
	struct rlimit limit;

	return CALL(SYS_prlimit64, outside, RLIMIT_CORE, NULL, &limit);
}

static int raise_limit(void)
{
	struct rlimit limit = { RLIM_INFINITY, RLIM_INFINITY }, low = { 7, 7 };

	setrlimit(RLIMIT_MSGQUEUE, &low);
	return CALL(SYS_prlimit64, 0, RLIMIT_MSGQUEUE, &limit, NULL);
}

static int raise_limit_the_old_way(void)
{
	struct rlimit limit = { RLIM_INFINITY, RLIM_INFINITY }, low = { 7, 7 };

	setrlimit(RLIMIT_RTPRIO, &low);
	return CALL(SYS_setrlimit, RLIMIT_RTPRIO, &limit);
}

static int raise_limit_of_descriptors(void)
{
	struct rlimit limit;

	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_max++;
	return CALL(SYS_setrlimit, RLIMIT_NOFILE, &limit);
}

static int affinity(void)
{
	unsigned long all = ~0UL;

	return CALL(SYS_sched_setaffinity, outside, sizeof(all), &all);
}

static int priority(void)
{
	return CALL(SYS_setpriority, PRIO_PROCESS, outside, 0);
}

static int priority_of_user(void)
{
	return CALL(SYS_setpriority, PRIO_USER, 0, 0);
}

static int priority_of_input(void)
{
	return CALL(SYS_ioprio_set, 1, outside, 0);
}

static int compare(void)
{
	return CALL(SYS_kcmp, getpid(), outside, KCMP_VM, 0, 0);
}

static int owner(void)
{
	return CALL(SYS_fcntl, udp, F_SETOWN, outside);
}

static int owner_by_structure(void)
{
	struct f_owner_ex who = { F_OWNER_PID, outside };

	return CALL(SYS_fcntl, udp, F_SETOWN_EX, &who);
}

static int owner_by_ioctl(void)
{
	return CALL(SYS_ioctl, udp, 0x8901 /* FIOSETOWN */, &outside);
}

static const struct attempt {
	const char *name;
	int (*try)(void);
	int error;
} attempts[] = {
	{ "set-clock", set_clock, EPERM }, { "host-name", host_name, EPERM }, { "domain-name", domain_name, EPERM },
	{ "kernel-log", kernel_log, EPERM }, { "accounting", accounting, EPERM }, { "ports", ports, EPERM },
	{ "namespace", namespace, EPERM }, { "namespace-of-child", namespace_of_child, EPERM },
	{ "namespace-by-structure", namespace_by_structure, EPERM }, { "interface", interface, EPERM },
	{ "user", user, EPERM }, { "groups", groups, EPERM },
	{ "bits", bits, EPERM }, { "key", key, ENOSYS }, { "shared-memory", shared_memory, ENOSYS },
	{ "semaphores", semaphores, ENOSYS }, { "messages", messages, ENOSYS }, { "queue", queue, ENOSYS },
	{ "handle", handle, EOPNOTSUPP }, { "put-input", put_input, EPERM },
	{ "put-input-with-more-bits", put_input_with_more_bits, EPERM }, { "discipline", discipline, EPERM },
	{ "device", device, EPERM }, { "block-device", block_device, EPERM }, { "mode", mode, EPERM },
	{ "old-mode", old_mode, EPERM }, { "mode-of-descriptor", mode_of_descriptor, EPERM },
	{ "new-file", new_file, EPERM }, { "new-file-by-structure", new_file_by_structure, EPERM },
	{ "old-new-file", old_new_file, EPERM }, { "new-file-as-node", new_file_as_node, EPERM },
	{ "new-file-without-name", new_file_without_name, EPERM }, { "capabilities", capabilities, EPERM },
	{ "attributes", attributes, EPERM }, { "flow-label", flow_label, EPERM },
	{ "other-type", other_type, EAFNOSUPPORT }, { "netlink", netlink, EAFNOSUPPORT }, { "raw", raw, EPERM },
	{ "raw-with-flags", raw_with_flags, EPERM }, { "packets", packets, EAFNOSUPPORT },
	{ "source-route", source_route, EPERM }, { "connect-tcp", connect_tcp, EACCES },
	{ "connect-any", connect_any, EACCES }, { "connect-mapped", connect_mapped, EACCES },
	{ "send-to", send_to, EACCES }, { "send-to-unspecified", send_to_unspecified, EACCES },
	{ "send-fast", send_fast, EACCES }, { "send-message", send_message, EACCES },
	{ "send-messages", send_messages, EACCES }, { "bind-tcp", bind_tcp, EACCES },
	{ "bind-unspecified", bind_unspecified, EACCES }, { "listen", listen_without_address, EACCES },
	{ "bind-abstract", bind_abstract, EACCES }, { "connect-abstract", connect_abstract, EACCES },
	{ "bind-named", bind_named, EACCES }, { "connect-named", connect_named, EACCES },
	{ "connect-linked", connect_linked, EACCES }, { "signal-by-folder", signal_by_folder, ENOENT },
	{ "death-of-parent", death_of_parent, EPERM }, { "signal", signal_one, EPERM },
	{ "signal-thread", signal_thread, EPERM },
	{ "signal-thread-of", signal_thread_of, EPERM }, { "queue-signal", queue_signal, EPERM },
	{ "open-process", open_process, EPERM }, { "limits", limits, EPERM }, { "raise-limit", raise_limit, EPERM },
	{ "raise-limit-the-old-way", raise_limit_the_old_way, EPERM },
	{ "raise-limit-of-descriptors", raise_limit_of_descriptors, EPERM }, { "affinity", affinity, EPERM },
	{ "priority", priority, EPERM }, { "priority-of-user", priority_of_user, EPERM },
	{ "priority-of-input", priority_of_input, EPERM }, { "compare", compare, EPERM },
	{ "owner", owner, EPERM },
	{ "owner-by-structure", owner_by_structure, EPERM }, { "owner-by-ioctl", owner_by_ioctl, EPERM },
};

/* What the sandbox's own processes may do to each other. */
static int among_us(void)
{
	int status, pipes[2], child;
	char c;

	if (pipe(pipes))
		return 1;
	setpgid(0, 0);
	child = fork();
	if (!child) {
		close(pipes[1]);
		exit(read(pipes[0], &c, 1) != 0);	/* until a signal comes */
	}
	close(pipes[0]);
	if (kill(child, 0) || kill(0, 0) || kill(-getpid(), 0) || kill(-1, 0) ||
	    syscall(SYS_tgkill, child, child, 0) || setpriority(PRIO_PROCESS, child, 1) ||
	    syscall(SYS_pidfd_open, child, 0) < 0 || fcntl(udp, F_SETOWN, child)) {
		printf("refused: a process of its own: %s\n", strerror(errno));
		return 1;
	}
	signal(SIGTERM, SIG_IGN);
	if (kill(-1, SIGTERM) || waitpid(child, &status, 0) != child || !WIFSIGNALED(status) ||
	    WTERMSIG(status) != SIGTERM) {
		printf("refused: kill(-1) has not killed the child\n");
		return 1;
	}
	if (kill(child, 0) != -1 || errno != ESRCH) {
		printf("refused: no ESRCH for a process that is gone\n");
		return 1;
	}
	return 0;
}

/* Who judges a call about a pipe does not keep the pipe. */
static int ends_of_pipe(void)
{
	int pipes[2];
	char c;

	if (pipe2(pipes, O_NONBLOCK) || fchmod(pipes[1], 0600) || close(pipes[1]) || read(pipes[0], &c, 1)) {
		printf("refused: a pipe whose other end was closed: %s\n", strerror(errno));
		return 1;
	}
	return 0;
}

#define KEPT	77

static bool is_refused(long result)
{
	return result == -1 && errno == EPERM;
}

/* What was to be undone, or given up, is still there, and all goes on. */
static int after_denials(void)
{
	int status = 0;
	pid_t child;

	if (dup2(open("file", O_RDWR), KEPT) != KEPT || !is_refused(close(KEPT)) || !is_refused(fsync(KEPT)) ||
	    !is_refused(syscall(SYS_setuid, getuid())) || write(KEPT, "kept", 4) != 4)
		return 1;
	child = vfork();
	if (!child)
		_exit(!is_refused(close(KEPT)) || getuid() != geteuid());
	if (waitpid(child, &status, 0) != child || status || fcntl(KEPT, F_GETFD) || close(dup(KEPT)))
		return 1;
	return 0;
}

#define HIDDEN	20

/*
 * A user's processes of which the kernel says nothing to each other: how many there are is counted all the same.
 * 0: there are less than HIDDEN.
 */
static int are_counted(void)
{
	int pipes[2], n;
	char c;

	if (pipe(pipes) || syscall(SYS_setresuid, 1000, 1000, 1000))
		return 1;
	for (n = 0; n < HIDDEN; n++) {
		const int child = fork();

		if (child < 0)
			break;
		if (!child) {
			close(pipes[1]);
			prctl(PR_SET_DUMPABLE, 0);
			exit(read(pipes[0], &c, 1) != 0);
		}
		usleep(50000);
	}
	close(pipes[1]);
	while (wait(NULL) > 0)
		;
	if (n == HIDDEN)
		printf("refused: %d processes that hide\n", n);
	return n == HIDDEN;
}

int main(int argc, char **argv)
{
	const char *wanted = argc > 1 ? argv[1] : "free";
	int failures = 0;

	if (!strcmp(wanted, "hidden"))
		return are_counted();
	if (!strcmp(wanted, "denied"))
		return after_denials();
	outside = getppid();
	tcp = socket(AF_INET, SOCK_STREAM, 0);
	tcp6 = socket(AF_INET6, SOCK_STREAM, 0);
	udp = socket(AF_INET, SOCK_DGRAM, 0);
	local = socket(AF_UNIX, SOCK_STREAM, 0);
	terminal = argc > 2 ? atoi(argv[2]) : 0;
	close(open("file", O_CREAT | O_RDONLY, 0644));
	for (const struct attempt *a = attempts; a < attempts + sizeof(attempts) / sizeof(attempts[0]); a++) {
		const bool named = !strcmp(a->name, wanted);
		const int error = strcmp(wanted, "free") && strcmp(wanted, "refused") && !named ? -1 : a->try();
		const int right = strcmp(wanted, "refused") ? 0 : a->error;

		if (error < 0 || error == right)
			continue;
		printf("refused: %s: %s, not %s\n", a->name, strerror(error), strerror(right));
		failures++;
	}
	if (!strcmp(wanted, "refused"))
		failures += among_us() + ends_of_pipe();
	return failures != 0;
}
