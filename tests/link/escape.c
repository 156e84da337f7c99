// SPDX-License-Identifier: MIT
/*
 * Attacks on libdune's memory, and ways out of Dune mode, from ring 3: "NAME: succeeded" or "NAME: refused" for each.
 * One that is refused under `dune-run --check` succeeds under `dune-run`, else it would show nothing
 * (tests/process/checked).
 *
 *	escape [ROUNDS [PART]]	of each race; only those attacks that have PART in their names
 */
#include <arpa/inet.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <net/if.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include "world.h"

#define GRANULE		(1UL << 30)
#define PAGE		4096UL
#define TOP		(1UL << 47)

/* In libdune's granule: where nothing is lost if it is written to (copies of a call's memory), and its code. */
#define SCRATCH		0x25000UL
#define CODE		0x150000UL

/* The file that the kernel starts for each program that one in ring 3 executes. */
#define LOADER		"/usr/local/lib/dune-preload.so"

static unsigned long granule;
static unsigned long rounds = 20000;

static bool can_read(unsigned long address)
{
	pid_t child = fork();
	int status;

	if (!child) {
		signal(SIGSEGV, SIG_DFL);
		_exit(*(volatile char *)address & 0);
	}
	waitpid(child, &status, 0);
	return WIFEXITED(status);
}

/* The kernel says that something is there, but ring 3 faults. */
static unsigned long find_granule(void)
{
	for (unsigned long at = TOP - GRANULE; at > TOP - 4096 * GRANULE; at -= GRANULE) {
		void *p = mmap((void *)(at + SCRATCH), PAGE, PROT_NONE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

		if (p != MAP_FAILED)
			munmap(p, PAGE);
		else if (errno == EEXIST && !can_read(at + SCRATCH) && !can_read(at + CODE))
			return at;
	}
	return 0;
}

/* ---- system calls with addresses ---- */

static bool read_into(void)
{
	int fd = open("/dev/zero", O_RDONLY);
	bool done = read(fd, (void *)(granule + SCRATCH), 64) == 64;

	close(fd);
	return done;
}

static bool write_from(void)
{
	char buffer[64];
	int ends[2];
	bool done;

	if (pipe(ends))
		return false;
	done = write(ends[1], (void *)(granule + CODE), sizeof(buffer)) == sizeof(buffer);
	close(ends[0]);
	close(ends[1]);
	return done;
}

static bool write_from_before(void)
{
	/* It begins in memory of ours, if there can be any right before the granule. */
	void *before = mmap((void *)(granule - PAGE), PAGE, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	int ends[2];
	bool done;

	if (before == MAP_FAILED || pipe(ends))
		return write_from();
	done = write(ends[1], (void *)(granule - 8), 16) > 8;
	close(ends[0]);
	close(ends[1]);
	munmap(before, PAGE);
	return done;
}

static bool readv_into(void)
{
	char own[8];
	struct iovec v[2] = { { own, sizeof(own) }, { (void *)(granule + SCRATCH), 8 } };
	int fd = open("/dev/zero", O_RDONLY);
	bool done = readv(fd, v, 2) > 8;

	close(fd);
	return done;
}

/* Of the number of vectors the kernel looks at 32 bits. */
static bool readv_too_many_into(void)
{
	struct iovec v = { (void *)(granule + SCRATCH), 8 };
	int fd = open("/dev/zero", O_RDONLY);
	bool done = syscall(SYS_readv, fd, &v, (1UL << 32) + 1) == 8;

	close(fd);
	return done;
}

static bool send_from(void)
{
	struct iovec v = { (void *)(granule + CODE), 16 };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };
	int ends[2];
	bool done;

	if (socketpair(AF_UNIX, SOCK_DGRAM, 0, ends))
		return false;
	done = sendmsg(ends[0], &m, 0) == 16;
	close(ends[0]);
	close(ends[1]);
	return done;
}

static bool send_mmsg_from(void)
{
	struct iovec v = { (void *)(granule + CODE), 16 };
	struct mmsghdr m = { .msg_hdr = { .msg_iov = &v, .msg_iovlen = 1 } };
	int ends[2];
	bool done;

	if (socketpair(AF_UNIX, SOCK_DGRAM, 0, ends))
		return false;
	done = sendmmsg(ends[0], &m, 1, 0) == 1;
	close(ends[0]);
	close(ends[1]);
	return done;
}

static bool splice_from(void)
{
	struct iovec v = { (void *)(granule + CODE), 16 };
	int ends[2];
	bool done;

	if (pipe(ends))
		return false;
	done = vmsplice(ends[1], &v, 1, 0) == 16;
	close(ends[0]);
	close(ends[1]);
	return done;
}

/* There is no such operation; but the event is read first. */
static bool event_from(void)
{
	int epoll = epoll_create1(0);
	long ret = syscall(SYS_epoll_ctl, epoll, 77, 0, granule + CODE);
	bool done = ret < 0 && errno != EFAULT;

	close(epoll);
	return done;
}

/* There is no such queue, and the attributes would be for a new one. */
static bool attributes_from(void)
{
	return syscall(SYS_mq_open, "none", O_RDONLY, 0, granule + CODE) < 0 && errno != EFAULT;
}

static bool old_action_into(void)
{
	return !syscall(SYS_rt_sigaction, SIGUSR1, NULL, granule + SCRATCH, 8);
}

static bool cpu_into(void)
{
	return !syscall(SYS_getcpu, granule + SCRATCH, NULL, NULL);
}

static bool thread_number_into(void)
{
	long child = syscall(SYS_clone, SIGCHLD | CLONE_PARENT_SETTID, 0, granule + SCRATCH, 0, 0);

	if (!child)
		_exit(0);
	return child > 0 && wait(NULL) == child;
}

static bool cleared_at_exit(void)
{
	int status;
	pid_t child = fork();

	if (!child)
		_exit(syscall(SYS_set_tid_address, granule + SCRATCH) < 0);
	return waitpid(child, &status, 0) == child && !status;
}

/* A thread that the kernel clears a word of when it ends; two ways to say so. */
static bool cleared_by_clone(bool clone3)
{
	struct { uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls; } args = {
		.flags = CLONE_CHILD_CLEARTID, .child_tid = granule + SCRATCH, .exit_signal = SIGCHLD,
	};
	long child = clone3 ? syscall(SYS_clone3, &args, sizeof(args)) :
		     syscall(SYS_clone, SIGCHLD | CLONE_CHILD_CLEARTID, 0, 0, granule + SCRATCH, 0);

	if (!child)
		_exit(0);
	return child > 0 && wait(NULL) == child;
}

static bool cleared_of_clone(void)
{
	return cleared_by_clone(false);
}

static bool cleared_of_clone3(void)
{
	return cleared_by_clone(true);
}

static bool robust_list_in(void)
{
	int status;
	pid_t child = fork();
	void *head, *now;
	size_t size;

	if (!child) {
		head = (void *)(granule + SCRATCH);
		if (syscall(SYS_set_robust_list, head, 24))
			_exit(1);
		_exit(syscall(SYS_get_robust_list, 0, &now, &size) || now != head);
	}
	return waitpid(child, &status, 0) == child && !status;
}

static bool argument_from(void)
{
	char name[] = "true";
	char *arguments[] = { name, (char *)(granule + CODE), NULL };
	int status;
	pid_t child = fork();

	if (!child) {
		execve("/proc/self/exe", arguments, NULL);
		_exit(77);
	}
	return waitpid(child, &status, 0) == child && status != 77 << 8;
}

static bool frame_into(void)
{
	stack_t stack = { .ss_sp = (void *)(granule + SCRATCH), .ss_size = 0x6000 };
	int status;
	pid_t child = fork();

	if (!child) {
		struct sigaction action = { .sa_handler = (void (*)(int))_exit, .sa_flags = SA_ONSTACK };

		/* The handler's frame is where it can only fault: which death tells whether it was built. */
		sigaction(SIGUSR1, &action, NULL);
		if (sigaltstack(&stack, NULL))
			_exit(0);
		raise(SIGUSR1);
		_exit(0);
	}
	waitpid(child, &status, 0);
	return WIFEXITED(status) && WEXITSTATUS(status) == SIGUSR1;
}

/* What a message queue sends when there is a message: SIGEV_THREAD, by a socket of netlink. */
static bool notified_from(void)
{
	struct sigevent event = { .sigev_notify = SIGEV_THREAD, .sigev_value.sival_ptr = (void *)(granule + CODE) };
	struct { long flags, most, size, now; } limits = { 0, 1, 8, 0 };
	long queue = syscall(SYS_mq_open, "escape", O_RDWR | O_CREAT, 0600, &limits);
	bool done;

	event.sigev_signo = socket(AF_NETLINK, SOCK_RAW, 0);
	done = !syscall(SYS_mq_notify, queue, &event);
	close(event.sigev_signo);
	close(queue);
	syscall(SYS_mq_unlink, "escape");
	return done;
}

/* Who may not ask how many semaphores there are may set them all the same. */
static bool semaphores_from(void)
{
	int status;
	pid_t child = fork();

	if (!child) {
		int id;

		if (setuid(65534))
			_exit(1);
		id = semget(IPC_PRIVATE, 4, 0222);
		status = semctl(id, 0, SETALL, granule + SCRATCH + 5 * PAGE);
		semctl(id, 0, IPC_RMID);
		_exit(status);
	}
	return waitpid(child, &status, 0) == child && !status;
}

/*
 * So many results that the last ones are in it, though they begin 3 GiB before.  It would take minutes: whether the
 * call is refused for that, or because there is no such process, is enough.
 */
static bool pages_told_into(void)
{
	return syscall(SYS_move_pages, 0x3fffffff, 1UL << 30, granule - 12 * GRANULE, NULL, granule - 3 * GRANULE, 0) &&
	       errno != EFAULT;
}

/* The sources of a multicast group: the kernel writes as many as the structure says, whatever its length is. */
static bool sources_into(void)
{
	struct { uint32_t group, interface, mode, count, sources[2]; } filter = {
		.group = htonl(0xe8000001), .interface = htonl(0x7f000001), .mode = 1, .count = 2, .sources = { 1, 2 },
	};
	const int msfilter = 41;
	socklen_t length = 16;
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	bool done;

	setsockopt(fd, 0, 35, &filter, 8);		/* IP_ADD_MEMBERSHIP */
	setsockopt(fd, 0, msfilter, &filter, sizeof(filter));
	/* It may be no memory of the program's that lies before it: what is told is that the option is known. */
	done = !getsockopt(fd, 0, msfilter, &filter, &length) || errno != ENOPROTOOPT;
	close(fd);
	return done;
}

/* But for the page that it shares with the module, which has the program's registers. */
static bool is_in_core(const char *name)
{
	Elf64_Ehdr header;
	Elf64_Phdr segment;
	int fd = open(name, O_RDONLY);
	bool found = false;

	if (fd < 0 || pread(fd, &header, sizeof(header), 0) != sizeof(header))
		return false;
	for (int i = 0; i < header.e_phnum; i++)
		if (pread(fd, &segment, sizeof(segment), header.e_phoff + i * sizeof(segment)) == sizeof(segment))
			found |= segment.p_type == PT_LOAD && segment.p_vaddr - granule - PAGE < GRANULE - PAGE &&
				 segment.p_filesz;
	close(fd);
	return found;
}

static bool core_file(void)
{
	const struct rlimit all = { RLIM_INFINITY, RLIM_INFINITY };
	bool done;
	pid_t child = fork();

	if (!child) {
		if (setrlimit(RLIMIT_CORE, &all) || chdir("/tmp"))
			_exit(1);
		abort();
	}
	waitpid(child, NULL, 0);
	done = is_in_core("/tmp/core");
	unlink("/tmp/core");
	return done;
}

/* Frames of a socket of AF_XDP, in which the kernel puts packets and from which it sends them. */
static bool packets_in(void)
{
	struct { uint64_t address, length; uint32_t chunk, headroom, flags; } memory = {
		.address = granule + SCRATCH, .length = PAGE, .chunk = PAGE,
	};
	const int xdp = 44, level = 283, umem = 4;
	int fd = socket(xdp, SOCK_RAW, 0);
	bool done = !setsockopt(fd, level, umem, &memory, sizeof(memory));

	close(fd);
	return done;
}

/*
 * A structure that leads to libdune's copy of itself, which the kernel is about to read: at some address from where
 * copies begin.
 */
#define COPIES		0x24000UL

static bool vector_of_itself(void)
{
	int ends[2];
	bool done = false;

	if (pipe(ends))
		return false;
	for (unsigned long at = COPIES; !done && at < COPIES + 256; at += 8) {
		struct iovec v = { (void *)(granule + at), 16 };

		done = writev(ends[1], &v, 1) == 16;
	}
	close(ends[0]);
	close(ends[1]);
	return done;
}

/* What the first message brings lies where the second one says where its bytes go. */
static bool message_over_itself(void)
{
	int ends[2];
	bool done = false;

	if (socketpair(AF_UNIX, SOCK_DGRAM, 0, ends))
		return false;
	for (unsigned long at = COPIES; !done && at < COPIES + 512; at += 8) {
		struct iovec v = { (void *)(granule + at), 8 };
		struct mmsghdr m = { .msg_hdr = { .msg_iov = &v, .msg_iovlen = 1 } };
		uint64_t nothing = 0;

		done = send(ends[0], &nothing, sizeof(nothing), 0) == sizeof(nothing) &&
		       recvmmsg(ends[1], &m, 1, MSG_DONTWAIT, NULL) == 1;
		while (recv(ends[1], &nothing, sizeof(nothing), MSG_DONTWAIT) > 0)
			;
	}
	close(ends[0]);
	close(ends[1]);
	return done;
}

/* ---- other ways ---- */

static bool own_memory_file(const char *path)
{
	int fd = open(path, O_RDWR);
	char buffer[16];
	bool done = fd >= 0 && pread(fd, buffer, sizeof(buffer), granule + CODE) == sizeof(buffer);

	if (fd >= 0)
		close(fd);
	return done;
}

static bool memory_file(void)
{
	return own_memory_file("/proc/self/mem");
}

static bool memory_file_by_link(void)
{
	bool done;

	unlink("/tmp/escape-link");
	if (symlink("/proc/self/mem", "/tmp/escape-link"))
		return false;
	done = own_memory_file("/tmp/escape-link");
	unlink("/tmp/escape-link");
	return done;
}

static bool memory_file_from_there(void)
{
	int here = open(".", O_PATH);
	bool done;

	if (chdir("/proc/thread-self"))
		return false;
	done = own_memory_file("mem");
	if (fchdir(here))
		return true;
	close(here);
	return done;
}

static bool memory_file_by_descriptor(void)
{
	char path[64];
	int fd = open("/proc/self/mem", O_PATH);
	bool done;

	if (fd < 0)
		return false;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	done = own_memory_file(path);
	close(fd);
	return done;
}

static bool remote_read(void)
{
	char buffer[16];
	struct iovec here = { buffer, sizeof(buffer) }, there = { (void *)(granule + CODE), sizeof(buffer) };

	return process_vm_readv(getpid(), &here, 1, &there, 1, 0) == sizeof(buffer);
}

static bool traced_by_child(void)
{
	int status;
	pid_t parent = getpid(), child = fork();

	if (!child) {
		if (ptrace(PTRACE_SEIZE, parent, NULL, NULL))
			_exit(1);
		ptrace(PTRACE_DETACH, parent, NULL, NULL);
		_exit(0);
	}
	return waitpid(child, &status, 0) == child && !status;
}

static bool store_by_emulation(void)
{
	struct sigaction fatal = { .sa_handler = SIG_DFL };
	int status;
	pid_t child = fork();

	if (!child) {
		sigaction(SIGSEGV, &fatal, NULL);
		__asm__ volatile("sgdt (%0)" : : "r"(granule + SCRATCH) : "memory");
		_exit(0);
	}
	return waitpid(child, &status, 0) == child && !status;
}

static int device(void)
{
	char path[64], target[64];

	for (int fd = 3; fd < 4096; fd++) {
		ssize_t n;

		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		n = readlink(path, target, sizeof(target) - 1);
		if (n > 0 && !strncmp(target, "/dev/dune", 9))
			return fd;
	}
	return 300;
}

static bool interfaces_into(void)
{
	struct ifconf conf = { .ifc_len = 8 * sizeof(struct ifreq), .ifc_buf = (char *)(granule + SCRATCH) };
	int s = socket(AF_INET, SOCK_DGRAM, 0);
	bool done = !ioctl(s, SIOCGIFCONF, &conf);

	close(s);
	return done;
}

static bool device_call(void)
{
	return ioctl(device(), 0xdead0000) < 0 && errno == ENOTTY;
}

/* A child with the same descriptors, but not the same memory, makes others of them: a page of the vCPU's is mapped. */
static bool device_by_child(void)
{
	const int first = 1000, last = 1060, to = 100;
	long child = syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);
	bool done = false;

	if (!child) {
		for (int fd = first; fd < last; fd++)
			dup2(fd, to + fd - first);
		_exit(0);
	}
	if (child < 0 || waitpid(child, NULL, 0) != child)
		return false;
	for (int fd = to; fd < to + last - first; fd++) {
		done |= mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) != MAP_FAILED;
		close(fd);
	}
	return done;
}

static bool device_sent(void)
{
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof(int))];
	} control = { .header = { CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS } };
	char byte = 0;
	struct iovec v = { &byte, 1 };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = &control,
			    .msg_controllen = sizeof(control) };
	int ends[2], fd = device();
	bool done;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends))
		return false;
	memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
	done = sendmsg(ends[0], &m, 0) == 1;
	close(ends[0]);
	close(ends[1]);
	return done;
}

/* Of what changes the process, only the result comes back. */
static bool in_child(bool (*succeeds)(void))
{
	int status;
	pid_t child = fork();

	if (!child)
		_exit(!succeeds());
	return waitpid(child, &status, 0) == child && !status;
}

static bool memory_file_of_root(void)
{
	return !chroot("/proc") && own_memory_file("/self/mem");
}

static bool memory_file_by_root(void)
{
	return in_child(memory_file_of_root);
}

static bool memory_file_in_root(void)
{
	struct open_how how = { .flags = O_RDWR, .resolve = RESOLVE_IN_ROOT };
	int root = open("/proc", O_PATH), fd = syscall(SYS_openat2, root, "/self/mem", &how, sizeof(how));

	close(root);
	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static bool mount_of_memory_file(void)
{
	const unsigned int create = 6;		/* FSCONFIG_CMD_CREATE */
	int context = syscall(SYS_fsopen, "proc", 0);

	return !syscall(SYS_fsconfig, context, create, NULL, NULL, 0) && syscall(SYS_fsmount, context, 0, 0) >= 0;
}

static bool root_of_namespace(void)
{
	return !setns(syscall(SYS_pidfd_open, getppid(), 0), CLONE_NEWNS);
}

static bool other_namespace(void)
{
	return in_child(root_of_namespace);
}

/* ---- programs outside Dune mode ---- */

/* exit(@status) by INT 0x80, which only a process outside survives; with @note one that enters Dune mode itself. */
static bool write_program(const char *path, unsigned char status, bool note)
{
	static const unsigned char code[] = { 0xb8, 1, 0, 0, 0, 0xbb, 0, 0, 0, 0, 0xcd, 0x80 };
	const unsigned long base = 0x10000;
	struct {
		Elf64_Ehdr header;
		Elf64_Phdr segments[2];
		struct { unsigned int name_size, size, type; char name[8]; } note;
		unsigned char code[sizeof(code)];
	} file = {
		.header = { .e_ident = ELFMAG "\x02\x01\x01", .e_type = ET_EXEC, .e_machine = EM_X86_64,
			    .e_version = 1, .e_phoff = sizeof(Elf64_Ehdr), .e_ehsize = sizeof(Elf64_Ehdr),
			    .e_phentsize = sizeof(Elf64_Phdr), .e_phnum = note ? 2 : 1 },
		.segments = { { .p_type = PT_LOAD, .p_flags = PF_R | PF_X, .p_vaddr = base, .p_align = PAGE },
			      { .p_type = PT_NOTE, .p_flags = PF_R, .p_align = 4 } },
		.note = { 5, 0, 1, "Dune" },
	};
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0755);
	bool done;

	memcpy(file.code, code, sizeof(code));
	file.code[6] = status;
	file.header.e_entry = base + (file.code - (unsigned char *)&file);
	file.segments[0].p_filesz = file.segments[0].p_memsz = sizeof(file);
	file.segments[1].p_offset = (char *)&file.note - (char *)&file;
	file.segments[1].p_vaddr = base + file.segments[1].p_offset;
	file.segments[1].p_filesz = file.segments[1].p_memsz = sizeof(file.note);
	done = write(fd, &file, sizeof(file)) == sizeof(file);
	close(fd);
	return done;
}

/* What the kernel is to start is there, but another one. */
static bool loader_of_root(void)
{
	const int loaded = 7, itself = 8;
	int status;
	pid_t child;

	mkdir("/tmp/escape", 0755);
	if (chdir("/tmp/escape"))
		return false;
	mkdir("usr", 0755);
	mkdir("usr/local", 0755);
	mkdir("usr/local/lib", 0755);
	if (!write_program(LOADER + 1, loaded, false) || !write_program("program", itself, false))
		return false;
	child = fork();
	if (!child) {
		char *arguments[] = { "program", NULL };

		if (!chroot("."))
			execv("/program", arguments);
		_exit(1);
	}
	return waitpid(child, &status, 0) == child && status == loaded << 8;
}

static bool loader_by_root(void)
{
	return in_child(loader_of_root);
}

/* The file that libdune's loader was made of is another one while a program is executed. */
static bool loader_by_file(void)
{
	static const char kept[] = LOADER ".kept";
	const int loaded = 7, itself = 8;
	int status = 0;
	pid_t child = -1;

	if (!write_program("/tmp/escape-program", itself, false) || rename(LOADER, kept))
		return false;
	if (write_program(LOADER, loaded, false))
		child = fork();
	if (!child) {
		char *arguments[] = { "program", NULL };

		execv("/tmp/escape-program", arguments);
		_exit(1);
	}
	waitpid(child, &status, 0);
	return !rename(kept, LOADER) && status == loaded << 8;
}

/* A program that enters Dune mode itself is outside until it does. */
static bool enters_itself(void)
{
	const int status = 7;
	int ended;
	pid_t child;

	if (!write_program("/tmp/escape-noted", status, true))
		return false;
	child = fork();
	if (!child) {
		char *arguments[] = { "noted", NULL };

		execv("/tmp/escape-noted", arguments);
		_exit(1);
	}
	return waitpid(child, &ended, 0) == child && ended == status << 8;
}

/* ---- what the kernel or libdune does for the process ---- */

/* TCP_ZEROCOPY_RECEIVE, where there is too little for a page: it is copied to where the option says. */
static bool received_in(void)
{
	const int zero_copy_receive = 35;
	struct {
		uint64_t address;
		uint32_t length, skip, queued;
		int32_t error;
		uint64_t copy;
		int32_t copy_length;
		uint32_t flags;
	} receive = { .length = PAGE, .copy = granule + SCRATCH, .copy_length = PAGE };
	struct ifreq up = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	int listening = socket(AF_INET, SOCK_STREAM, 0), sender = socket(AF_INET, SOCK_STREAM, 0), receiver;
	socklen_t length = sizeof(address);
	bool done;

	ioctl(listening, SIOCSIFFLAGS, &up);
	if (bind(listening, (void *)&address, length) || listen(listening, 1) ||
	    getsockname(listening, (void *)&address, &length) || connect(sender, (void *)&address, length))
		return false;
	receiver = accept(listening, NULL, NULL);
	if (write(sender, "message", 8) != 8 || recv(receiver, &done, 1, MSG_PEEK) != 1)
		return false;
	receive.address = (uint64_t)mmap(NULL, PAGE, PROT_READ, MAP_SHARED, receiver, 0);
	length = sizeof(receive);
	done = !getsockopt(receiver, IPPROTO_TCP, zero_copy_receive, &receive, &length) && receive.copy_length == 8;
	close(listening);
	close(sender);
	close(receiver);
	return done;
}

static unsigned long state_at;

static void change_state(int signal, siginfo_t *info, void *frame)
{
	(void)signal, (void)info;
	((ucontext_t *)frame)->uc_mcontext.fpregs = (void *)state_at;
}

/* The handler's frame has its vector registers in libdune's memory: they come from there. */
static bool returns_with_state(void)
{
	struct sigaction action = { .sa_sigaction = change_state, .sa_flags = SA_SIGINFO };
	uint64_t vectors[4];

	sigaction(SIGUSR1, &action, NULL);
	signal(SIGSEGV, SIG_DFL);
	__asm__ volatile("pxor %%xmm0, %%xmm0\n\tpxor %%xmm1, %%xmm1\n\tsyscall\n\t"
			 "movdqu %%xmm0, (%3)\n\tmovdqu %%xmm1, 16(%3)"
			 : : "a"(SYS_kill), "D"((long)getpid()), "S"((long)SIGUSR1), "r"(vectors)
			 : "rcx", "r11", "xmm0", "xmm1", "memory");
	return vectors[0] || vectors[1] || vectors[2] || vectors[3];
}

static bool state_from(void)
{
	for (state_at = granule + CODE; state_at < granule + CODE + 0x400; state_at += 0x40)
		if (in_child(returns_with_state))
			return true;
	return false;
}

static bool store_by_base(void)
{
	/* arch_prctl(ARCH_SET_FS); exit_group() */
	__asm__ volatile("mov %0, %%rsi\n\tmov $0x1002, %%edi\n\tmov $158, %%eax\n\tsyscall\n\t"
			 "sgdt %%fs:0x40\n\txor %%edi, %%edi\n\tmov $231, %%eax\n\tsyscall"
			 : : "r"(granule + SCRATCH - 0x40) : "rax", "rcx", "rdi", "rsi", "r11", "memory");
	return false;
}

static bool store_by_emulation_at_base(void)
{
	signal(SIGSEGV, SIG_DFL);
	return in_child(store_by_base);
}

/* The kernel looks at 32 bits only. */
#define MORE_BITS	(1UL << 32)

static bool name_with_more_bits(void)
{
	return !syscall(SYS_prctl, MORE_BITS | PR_SET_NAME, granule + CODE);
}

static bool number_with_more_bits(void)
{
	return !syscall(MORE_BITS | SYS_getcpu, granule + SCRATCH, NULL, NULL);
}

static bool queued_with_more_bits(void)
{
	int ends[2];
	bool done;

	if (pipe(ends))
		return false;
	done = !syscall(SYS_ioctl, ends[0], MORE_BITS | FIONREAD, granule + SCRATCH);
	close(ends[0]);
	close(ends[1]);
	return done;
}

/* ---- races ---- */

static volatile struct iovec raced;
static volatile bool racing;

static void *race(void *own)
{
	while (racing) {
		raced.iov_base = own;
		raced.iov_base = (void *)(granule + CODE);
	}
	return NULL;
}

/* Does a byte of libdune's come out? */
static bool raced_vector(void)
{
	static char own[64];
	char buffer[64];
	pthread_t thread;
	int ends[2];
	bool leaked = false;

	memset(own, 'o', sizeof(own));
	raced.iov_base = own;
	raced.iov_len = sizeof(own);
	racing = true;
	if (pipe(ends) || pthread_create(&thread, NULL, race, own))
		return false;
	for (unsigned long i = 0; i < rounds && !leaked; i++) {
		if (writev(ends[1], (const struct iovec *)&raced, 1) != sizeof(own))
			continue;
		leaked = read(ends[0], buffer, sizeof(buffer)) > 0 && memcmp(buffer, own, sizeof(own));
	}
	racing = false;
	pthread_join(thread, NULL);
	close(ends[0]);
	close(ends[1]);
	return leaked;
}

/* Something flips between what is harmless and what is not, by a thread or by another process, until this ends. */
static void (*flip)(bool bad);
static volatile bool *flipping;

static void *flips(void *unused)
{
	(void)unused;
	for (bool bad = false; *flipping; bad = !bad)
		flip(bad);
	return NULL;
}

static bool race_against(void (*flipper)(bool bad), bool by_process, bool (*wins)(void))
{
	pthread_t thread;
	pid_t child = 0;
	bool won = false;

	if (!flipping)
		flipping = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	flip = flipper;
	*flipping = true;
	flip(false);
	if (by_process) {
		child = fork();
		if (!child) {
			flips(NULL);
			_exit(0);
		}
	} else if (pthread_create(&thread, NULL, flips, NULL)) {
		return false;
	}
	for (unsigned long i = 0; i < rounds && !won; i++)
		won = wins();
	*flipping = false;
	if (by_process)
		waitpid(child, NULL, 0);
	else
		pthread_join(thread, NULL);
	return won;
}

/* A byte of libdune's among those that @send has sent. */
static int ends[2];
static char owns[64];

static bool sends_others(ssize_t sent)
{
	char buffer[64];

	return sent == sizeof(owns) && read(ends[0], buffer, sizeof(buffer)) > 0 &&
	       memcmp(buffer, owns, sizeof(owns));
}

static bool race_of_sending(void (*flipper)(bool bad), bool by_process, bool (*wins)(void), bool sockets)
{
	bool won;

	memset(owns, 'o', sizeof(owns));
	if (sockets ? socketpair(AF_UNIX, SOCK_DGRAM, 0, ends) : pipe(ends))
		return false;
	won = race_against(flipper, by_process, wins);
	close(ends[0]);
	close(ends[1]);
	return won;
}

/* In memory that is shared with another process. */
static volatile struct iovec *shared;

static void flip_shared(bool bad)
{
	shared->iov_base = bad ? (void *)(granule + CODE) : owns;
	shared->iov_len = sizeof(owns);
}

static bool writev_of_shared(void)
{
	return sends_others(writev(ends[1], (const struct iovec *)shared, 1));
}

static bool raced_by_process(void)
{
	shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return race_of_sending(flip_shared, true, writev_of_shared, false);
}

/* The message leads to one vector or to another. */
static struct iovec good_vector, bad_vector;
static volatile struct msghdr raced_header;

static void flip_message(bool bad)
{
	raced_header.msg_iov = bad ? &bad_vector : &good_vector;
}

static bool sendmsg_of_raced(void)
{
	return sends_others(sendmsg(ends[1], (const struct msghdr *)&raced_header, 0));
}

static bool raced_message(void)
{
	good_vector = (struct iovec){ owns, sizeof(owns) };
	bad_vector = (struct iovec){ (void *)(granule + CODE), sizeof(owns) };
	raced_header.msg_iovlen = 1;
	return race_of_sending(flip_message, false, sendmsg_of_raced, true);
}

/* The second half of a vector lies in a page that is another one now and then. */
static char *pages;
static int page_files[2];

static void flip_page(bool bad)
{
	mmap(pages + PAGE, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, page_files[bad], 0);
}

static bool writev_across(void)
{
	ssize_t sent = writev(ends[1], (const struct iovec *)(pages + PAGE - sizeof(struct iovec)), 2);
	char buffer[2 * sizeof(owns)];

	return sent == 2 * sizeof(owns) && read(ends[0], buffer, sizeof(buffer)) == sizeof(buffer) &&
	       memcmp(buffer + sizeof(owns), owns, sizeof(owns));
}

/* The first half is there, and the second one is in either file. */
static bool make_pages(const void *first, const void *good, const void *bad, size_t size)
{
	pages = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memcpy(pages + PAGE - size, first, size);
	for (int i = 0; i < 2; i++) {
		page_files[i] = memfd_create("page", 0);
		if (ftruncate(page_files[i], PAGE) || pwrite(page_files[i], i ? bad : good, size, 0) != (ssize_t)size)
			return false;
	}
	return true;
}

static const struct iovec *vectors(void)
{
	static struct iovec v[2];

	v[0] = (struct iovec){ owns, sizeof(owns) };
	v[1] = (struct iovec){ (void *)(granule + CODE), sizeof(owns) };
	return v;
}

static bool make_vectors(void)
{
	const struct iovec *v = vectors();

	return make_pages(&v[0], &v[0], &v[1], sizeof(*v));
}

static bool raced_page(void)
{
	return make_vectors() && race_of_sending(flip_page, false, writev_across, false);
}

/* What was written to a page of a file's goes away, and the file is seen again. */
static void flip_dropped(bool bad)
{
	if (bad)
		memcpy(pages + PAGE, &vectors()[1], sizeof(struct iovec));
	else
		madvise(pages + PAGE, PAGE, MADV_DONTNEED);
}

static bool raced_dropping(void)
{
	if (!make_vectors() || mmap(pages + PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, page_files[0],
				    0) == MAP_FAILED)
		return false;
	return race_of_sending(flip_dropped, false, writev_across, false);
}

/* The file ends before that page, now and then. */
static void flip_truncated(bool bad)
{
	if (bad && (ftruncate(page_files[0], 0) || ftruncate(page_files[0], PAGE)))
		return;
	if (pwrite(page_files[0], &vectors()[bad], sizeof(struct iovec), 0) < 0)
		return;
}

static bool raced_truncating(void)
{
	if (!make_vectors() || mmap(pages + PAGE, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, page_files[0], 0) ==
	    MAP_FAILED)
		return false;
	return race_of_sending(flip_truncated, false, writev_across, false);
}

/* The second half of a name. */
#define NAME_BEGINS	"/proc/self/"
#define NAME_SIZE	(sizeof(NAME_BEGINS) - 1)

static bool opened_across(void)
{
	return own_memory_file(pages + PAGE - NAME_SIZE);
}

static bool raced_name(void)
{
	static const char good[NAME_SIZE] = "exe", bad[NAME_SIZE] = "mem";

	return make_pages(NAME_BEGINS, good, bad, NAME_SIZE) && race_against(flip_page, false, opened_across);
}

/* The first message may be sent, and is. */
static bool send_mmsg_partly_from(void)
{
	struct iovec v[2] = { { owns, sizeof(owns) }, { (void *)(granule + CODE), 16 } };
	struct mmsghdr m[2] = {
		{ .msg_hdr = { .msg_iov = &v[0], .msg_iovlen = 1 } },
		{ .msg_hdr = { .msg_iov = &v[1], .msg_iovlen = 1 } },
	};
	bool done;

	if (socketpair(AF_UNIX, SOCK_DGRAM, 0, ends))
		return false;
	done = sendmmsg(ends[0], m, 2, 0) == 2;
	/* Whatever was refused, the next call is made. */
	done |= sendmmsg(ends[0], m, 1, 0) != 1 || m[0].msg_len != sizeof(owns);
	close(ends[0]);
	close(ends[1]);
	return done;
}

/* Memory whose content comes at a moment of the program's choice, in the middle of a copy of libdune's. */
static bool late_pages(void)
{
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/* A name leads to the memory file now and then: by its last link, or by a folder in it. */
#define LINK	"/tmp/escape-raced"
#define NEXT	"/tmp/escape-next"
#define FOLDER	"/tmp/escape-folder"

static const char *link_targets[2];

static void flip_link(bool bad)
{
	unlink(NEXT);
	if (!symlink(link_targets[bad], NEXT))
		rename(NEXT, LINK);
}

static bool opened_link(void)
{
	return own_memory_file(LINK);
}

static bool opened_folder(void)
{
	return own_memory_file(LINK "/mem");
}

static bool raced_link(void)
{
	link_targets[0] = "/dev/null";
	link_targets[1] = "/proc/self/mem";
	return race_against(flip_link, false, opened_link);
}

static bool raced_folder(void)
{
	int fd;

	mkdir(FOLDER, 0700);
	fd = open(FOLDER "/mem", O_CREAT | O_RDWR, 0600);
	close(fd);
	link_targets[0] = FOLDER;
	link_targets[1] = "/proc/self";
	return race_against(flip_link, true, opened_folder);
}

/* ---- other programs ---- */

static bool other_names(void)
{
	static const char *const names[] = {
		"/proc/self/./mem", "//proc//self//mem", "/proc/self/task/../mem", "/proc/self/fd/../mem",
		"/proc/self/root/proc/self/mem", "/dev/fd/../mem", "/proc/self/fd/../task/../mem",
	};
	bool done = false;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		done |= own_memory_file(names[i]);
	return done;
}

/* A copy of this program, which says where it runs. */
static bool copy_runs_outside(int mode, int user)
{
	static const char copy[] = "/tmp/escape-copy";
	char *arguments[] = { "where", "x", NULL }, bytes[PAGE];
	int from = open("/proc/self/exe", O_RDONLY), to = open(copy, O_CREAT | O_WRONLY | O_TRUNC, 0755), status;
	ssize_t n;
	pid_t child;

	while ((n = read(from, bytes, sizeof(bytes))) > 0)
		if (write(to, bytes, n) != n)
			return false;
	close(from);
	close(to);
	chmod(copy, mode);
	child = vfork();
	if (!child) {
		if (syscall(SYS_setresuid, user, user, user))
			_exit(2);
		execv(copy, arguments);
		_exit(3);
	}
	waitpid(child, &status, 0);
	unlink(copy);
	return !status;
}

static bool privileged_program(void)
{
	return copy_runs_outside(04755, 65534);
}

/* What refuses in a child that shares its parent's memory leaves both in order; so the last one counts. */
static bool in_vfork_child(void)
{
	int status;
	pid_t child = vfork();

	if (!child) {
		long done = syscall(SYS_getcpu, granule + SCRATCH, NULL, NULL);

		_exit(done ? 1 : 0);
	}
	return waitpid(child, &status, 0) == child && !status && cpu_into();
}

/* A folder of the attacker's takes the place of a descriptor that libdune may have on one of /proc's. */
static int evil;

static void *replace_descriptors(void *first)
{
	while (racing)
		for (int fd = (long)first; fd < (long)first + 3; fd++) {
			dup2(evil, fd);
			close(fd);
		}
	return NULL;
}

static bool is_memory(int fd)
{
	char buffer[16];

	return fd >= 0 && pread(fd, buffer, sizeof(buffer), granule + CODE) == sizeof(buffer);
}

static bool raced_proc_link(void)
{
	pthread_t thread;
	bool opened = false;
	long first;

	mkdir("/tmp/escape-links", 0755);
	if (symlink("/proc/self/mem", "/tmp/escape-links/net") && errno != EEXIST)
		return false;
	evil = open("/tmp/escape-links", O_PATH);
	first = evil + 1;
	racing = true;
	if (evil < 0 || pthread_create(&thread, NULL, replace_descriptors, (void *)first))
		return false;
	for (unsigned long i = 0; i < rounds && !opened; i++) {
		int fd = open(i % 2 ? "/proc/self/ns/net" : "/tmp/escape-links/net", O_RDONLY);

		opened = is_memory(fd) || is_memory(first) || is_memory(first + 1) || is_memory(first + 2);
		close(fd);
	}
	racing = false;
	pthread_join(thread, NULL);
	close(evil);
	return opened;
}

static const struct attack {
	const char *name;
	bool (*succeeds)(void);
} attacks[] = {
	{ "read() into it", read_into },
	{ "write() from it", write_from },
	{ "write() from before it", write_from_before },
	{ "readv() into it", readv_into },
	{ "readv() into it, of 2^32 + 1 vectors", readv_too_many_into },
	{ "sendmsg() from it", send_from },
	{ "sendmmsg() from it", send_mmsg_from },
	{ "vmsplice() from it", splice_from },
	{ "epoll_ctl() from it", event_from },
	{ "mq_open() from it", attributes_from },
	{ "rt_sigaction() into it", old_action_into },
	{ "getcpu() into it", cpu_into },
	{ "clone() into it", thread_number_into },
	{ "a thread's end", cleared_at_exit },
	{ "the end of clone()'s", cleared_of_clone },
	{ "the end of clone3()'s", cleared_of_clone3 },
	{ "a robust list in it", robust_list_in },
	{ "an argument of execve() from it", argument_from },
	{ "a signal's frame in it", frame_into },
	{ "a vector that leads to itself", vector_of_itself },
	{ "a message over itself", message_over_itself },
	{ "mq_notify() from it", notified_from },
	{ "semctl() from it", semaphores_from },
	{ "packets in it", packets_in },
	{ "multicast sources into it", sources_into },
	{ "a core file", core_file },
	{ "move_pages() into it, from far", pages_told_into },
	{ "/proc/self/mem", memory_file },
	{ "/proc/self/mem by a link", memory_file_by_link },
	{ "mem in /proc/thread-self", memory_file_from_there },
	{ "/proc/self/mem by a descriptor", memory_file_by_descriptor },
	{ "process_vm_readv()", remote_read },
	{ "a child that traces", traced_by_child },
	{ "SGDT into it", store_by_emulation },
	{ "a list of interfaces into it", interfaces_into },
	{ "ioctl() of the device", device_call },
	{ "the device sent", device_sent },
	{ "the device by a child", device_by_child },
	{ "mem by other names", other_names },
	{ "a program with rights of its own", privileged_program },
	{ "getcpu() in a child of vfork()", in_vfork_child },
	{ "/proc/self/mem by chroot()", memory_file_by_root },
	{ "/proc/self/mem by RESOLVE_IN_ROOT", memory_file_in_root },
	{ "a mount of /proc", mount_of_memory_file },
	{ "another mount namespace", other_namespace },
	{ "another loader by chroot()", loader_by_root },
	{ "another loader by its file", loader_by_file },
	{ "a program that enters Dune mode itself", enters_itself },
	{ "TCP_ZEROCOPY_RECEIVE into it", received_in },
	{ "a frame's vector registers from it", state_from },
	{ "SGDT by a base into it", store_by_emulation_at_base },
	{ "PR_SET_NAME from it, with more bits", name_with_more_bits },
	{ "getcpu() into it, with more bits", number_with_more_bits },
	{ "FIONREAD into it, with more bits", queued_with_more_bits },
	{ "writev() against a thread", raced_vector },
	{ "writev() against a process", raced_by_process },
	{ "sendmsg() against a thread", raced_message },
	{ "writev() against a page that changes", raced_page },
	{ "writev() against MADV_DONTNEED", raced_dropping },
	{ "writev() against a file that is truncated", raced_truncating },
	{ "a name against a page that changes", raced_name },
	{ "sendmmsg() of which a part is from it", send_mmsg_partly_from },
	{ "pages that come when the program likes", late_pages },
	{ "a link against a thread", raced_link },
	{ "a link of /proc against a thread", raced_proc_link },
	{ "a folder against a process", raced_folder },
};

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc > 1 && !strcmp(argv[0], "true"))
		return 0;
	if (argc > 1 && !strcmp(argv[0], "where"))
		return strcmp(world(), "no guest") != 0;
	if (argc > 1)
		rounds = strtoul(argv[1], NULL, 0);
	granule = find_granule();
	if (!granule) {
		puts("libdune's memory: not found");
		return 1;
	}
	for (size_t i = 0; i < sizeof(attacks) / sizeof(attacks[0]); i++)
		if ((argc < 3 || strstr(attacks[i].name, argv[2])) &&
		    /* Not every kernel can. */
		    (attacks[i].succeeds != late_pages || !access("/proc/sys/vm/unprivileged_userfaultfd", F_OK)))
			printf("%s: %s\n", attacks[i].name, attacks[i].succeeds() ? "succeeded" : "refused");
	return 0;
}
