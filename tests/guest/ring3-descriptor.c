// SPDX-License-Identifier: MIT
/*
 * Ring 3 cannot use libdune's descriptor, in whatever call that is passed on for it, nor get another one for the same
 * file; ring 0 can.
 */
#include <fcntl.h>
#include <linux/io_uring.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "base/syscalls.h"
#include "ring3.h"

#include <linux/dune.h>

#define PASSED	1002	/* ring 3 says what a call has returned */
#define NO_CALL	500

static const char *const names[NR_SYSCALLS] = {
#define CALL(number, name, ...)	[number] = #name,
#include "base/syscalls-table.h"
#undef CALL
};

RING3_CODE(call_once, "mov %r15, %rax; syscall; mov %rax, %rdi; mov $1002, %eax; syscall; hlt");

static struct ring3 ring3;
static long result;
static int ours = -1;

static void on_call(struct dune_tf *tf)
{
	if (tf->rax == PASSED) {
		result = tf->rdi;
		dune_ret_from_user(0);
	}
	dune_passthrough_syscall(tf);
}

static long from_ring3(long nr, const uint64_t args[6])
{
	struct dune_tf tf = RING3_FRAME(&ring3, call_once);

	tf.r15 = nr;
	tf.rdi = args[0];
	tf.rsi = args[1];
	tf.rdx = args[2];
	tf.r10 = args[3];
	tf.r8 = args[4];
	tf.r9 = args[5];
	CHECK_EQUAL(dune_jump_to_user(&tf), 0, "dune_jump_to_user");
	return result;
}

#define FROM_RING3(nr, ...)	from_ring3(nr, (uint64_t[6]){ __VA_ARGS__ })

/* ---- by its number ---- */

/* Each argument of each call that is a descriptor, whatever the others are. */
static void arguments(void)
{
	unsigned int n = 0;

	for (unsigned int nr = 0; nr < NR_SYSCALLS; nr++) {
		for_each_operand(o, call_of(nr)) {
			uint64_t args[6] = { 0 };

			if (o->kind != DESCRIPTOR || call_of(nr)->flags & CALL_NOSYS)
				continue;
			if (o->if_arg)
				args[o->if_arg - 1] = o->if_value;
			args[o->arg] = ours;
			n++;
			CHECK(from_ring3(nr, args) == (call_of(nr)->flags & CALL_PERM ? -EPERM : -EBADF),
			      "%s(), argument %u: %ld", names[nr], o->arg, result);
		}
	}
	CHECK(n > 130, "%u descriptors", n);
}

/* What runs ring 0, and what shows its registers. */
static void attacks(void)
{
	CHECK_EQUAL(FROM_RING3(SYS_mmap, 0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, ours, 0), -EBADF, "a run page");
	CHECK_EQUAL(FROM_RING3(SYS_lseek, ours, (uint64_t)DUNE_SEEK_VCPU(7), DUNE_SEEK_RUN), -EBADF,
		    "DUNE_RUN by lseek");
	CHECK_EQUAL(FROM_RING3(SYS_ioctl, ours, DUNE_RUN, 0), -EBADF, "DUNE_RUN by ioctl");
	CHECK_EQUAL(FROM_RING3(SYS_lseek, ours | 1ul << 32, (uint64_t)DUNE_SEEK_VCPU(7), DUNE_SEEK_RUN), -EBADF,
		    "with other upper bits");
}

static void others(void)
{
	struct pollfd *polled = (struct pollfd *)ring3.stack;
	char path[32];

	CHECK_EQUAL(FROM_RING3(SYS_pidfd_getfd, 0, 0, 0), -EPERM, "pidfd_getfd");
	CHECK_EQUAL(FROM_RING3(SYS_io_uring_setup, 1, (uint64_t)ring3.stack), -ENOSYS, "io_uring_setup");
	CHECK_EQUAL(FROM_RING3(SYS_io_uring_enter, 0, 0, 0, 0, 0, 0), -ENOSYS, "io_uring_enter");
	CHECK_EQUAL(FROM_RING3(SYS_io_uring_register, 0, IORING_REGISTER_FILES, 0, 0), -ENOSYS, "io_uring_register");
	CHECK_EQUAL(FROM_RING3(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0), -ENOSYS, "a common descriptor table");
	/* SECCOMP_IOCTL_NOTIF_ADDFD, whatever size it is said to have. */
	CHECK_EQUAL(FROM_RING3(SYS_ioctl, 0, 0x40182103, (uint64_t)ring3.stack), -EPERM,
		    "a descriptor for another process");
	CHECK_EQUAL(FROM_RING3(SYS_ioctl, 0, 0x2103, (uint64_t)ring3.stack), -EPERM, "the same without a size");
	CHECK_EQUAL(FROM_RING3(NO_CALL, 0), -ENOSYS, "a call without a row");
	/* Ring 3 may close all others. */
	CHECK_EQUAL(FROM_RING3(SYS_close_range, 200, ~0u, 0), 0, "close_range");
	CHECK(dune_fd_is_ours(ours), "after close_range");
	sprintf(path, "/proc/self/fd/%d", ours);
	CHECK_EQUAL(access(path, F_OK), 0, "it is open");
	/* The file cannot be had again by its name. */
	strcpy(ring3.stack, path);
	CHECK(FROM_RING3(SYS_open, (uint64_t)ring3.stack, O_RDWR) < 0, "open() of its link: %ld", result);
	strcpy(ring3.stack, "/dev/dune");
	CHECK_EQUAL(FROM_RING3(SYS_open, (uint64_t)ring3.stack, O_RDWR), -EBUSY, "open() of the device");
	/* That says only that it is there. */
	*polled = (struct pollfd){ .fd = ours, .events = POLLIN };
	CHECK(FROM_RING3(SYS_poll, (uint64_t)polled, 1, 0) >= 0, "poll(): %ld", result);
}

/* ---- in messages ---- */

#define SPACE	CMSG_SPACE(sizeof(int))

struct letter {
	struct mmsghdr m[3];
	struct iovec v;
	char text[8];
	char control[2 * SPACE];
};

static int sockets[2];

static struct cmsghdr *put_descriptor(void *at, int fd)
{
	struct cmsghdr *c = at;

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	return c;
}

static void write_letter(struct letter *l, int first, int second)
{
	memset(l, 0, sizeof(*l));
	l->v = (struct iovec){ l->text, 1 };
	put_descriptor(l->control, first);
	if (second >= 0)
		put_descriptor(l->control + SPACE, second);
	for (int i = 0; i < 3; i++)
		l->m[i].msg_hdr = (struct msghdr){ .msg_iov = &l->v, .msg_iovlen = 1, .msg_control = l->control,
						   .msg_controllen = second >= 0 ? 2 * SPACE : SPACE };
}

/* The descriptors that have come, and how many. */
static int receive(int fds[8])
{
	char text[8], control[256];
	struct iovec v = { text, sizeof(text) };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control) };
	int n = 0;

	if (recvmsg(sockets[1], &m, MSG_DONTWAIT) < 0)
		return -1;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
		unsigned int more = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		memcpy(fds + n, CMSG_DATA(c), more * sizeof(int));
		n += more;
	}
	return n;
}

static bool is_dune(int fd)
{
	char path[32], target[64] = "";

	sprintf(path, "/proc/self/fd/%d", fd);
	return readlink(path, target, sizeof(target) - 1) > 0 && strstr(target, "dune");
}

static void messages(void)
{
	struct letter *l = (struct letter *)ring3.stack;
	uint64_t at = (uint64_t)l;
	int fds[8];

	write_letter(l, ours, -1);
	CHECK_EQUAL(FROM_RING3(SYS_sendmsg, sockets[0], at, 0), -EBADF, "sendmsg of it");
	CHECK_EQUAL(FROM_RING3(SYS_sendmmsg, sockets[0], at, 1, 0), -EBADF, "sendmmsg of it");
	write_letter(l, 0, ours);
	CHECK_EQUAL(FROM_RING3(SYS_sendmsg, sockets[0], at, 0), -EBADF, "sendmsg, the second one");
	CHECK_EQUAL(FROM_RING3(SYS_sendmmsg, sockets[0], at, 3, 0), -EBADF, "sendmmsg, the second one");
	/* In the second message: one has gone. */
	write_letter(l, 0, ours);
	l->m[0].msg_hdr.msg_controllen = SPACE;
	CHECK_EQUAL(FROM_RING3(SYS_sendmmsg, sockets[0], at, 2, 0), 1, "sendmmsg, the second message");
	CHECK_EQUAL(l->m[0].msg_len, 1, "the first one's length");
	CHECK_EQUAL(receive(fds), 1, "the first message");
	CHECK(!is_dune(fds[0]), "its descriptor");
	close(fds[0]);
	CHECK_EQUAL(receive(fds), -1, "no other message");
	/* Others pass. */
	write_letter(l, 0, 1);
	CHECK_EQUAL(FROM_RING3(SYS_sendmsg, sockets[0], at, 0), 1, "sendmsg of others");
	CHECK_EQUAL(receive(fds), 2, "their number");
	close(fds[0]);
	close(fds[1]);
	write_letter(l, 0, -1);
	CHECK_EQUAL(FROM_RING3(SYS_sendmmsg, sockets[0], at, 3, 0), 3, "sendmmsg of others");
	for (int i = 0; i < 3; i++) {
		CHECK_EQUAL(l->m[i].msg_len, 1, "a length");
		CHECK_EQUAL(receive(fds), 1, "a message");
		close(fds[0]);
	}
	CHECK_EQUAL(FROM_RING3(SYS_sendmmsg, sockets[0], at, 0, 0), 0, "sendmmsg of none");
	CHECK_EQUAL(FROM_RING3(SYS_sendmsg, sockets[0], 8, 0), -EFAULT, "sendmsg of what is nowhere");
	l->m[0].msg_hdr.msg_control = (void *)8;
	CHECK_EQUAL(FROM_RING3(SYS_sendmsg, sockets[0], at, 0), -EFAULT, "control messages that are nowhere");
	l->m[0].msg_hdr.msg_controllen = 1 << 20;
	CHECK_EQUAL(FROM_RING3(SYS_sendmsg, sockets[0], at, 0), -ENOBUFS, "too many");
	l->m[0].msg_hdr.msg_control = l->control;
	l->m[0].msg_hdr.msg_controllen = SPACE;
	((struct cmsghdr *)l->control)->cmsg_len = 3;
	CHECK_EQUAL(FROM_RING3(SYS_sendmsg, sockets[0], at, 0), -EINVAL, "a bad length");
	/* From ring 0 as ever. */
	write_letter(l, ours, -1);
	CHECK_EQUAL(sendmsg(sockets[0], &l->m[0].msg_hdr, 0), 1, "sendmsg in ring 0");
	CHECK_EQUAL(receive(fds), 1, "it has come");
	CHECK(is_dune(fds[0]), "it is the file");
	CHECK_EQUAL(ioctl(fds[0], DUNE_DESTROY_VCPU, 12345) == -1 && errno != EIO && errno != EBADF, true, "it works");
	close(fds[0]);
}

/* Another thread, as it could be in ring 3, puts it into the message while that is sent. */
static atomic_bool done;

static void *flip(void *arg)
{
	struct letter *l = arg;
	int *fd = (int *)CMSG_DATA((struct cmsghdr *)l->control);

	while (!done) {
		*(volatile int *)fd = ours;
		*(volatile int *)fd = 0;
	}
	return NULL;
}

static void races(void)
{
	struct letter *l = (struct letter *)ring3.stack;
	unsigned int sent = 0, refused = 0;
	pthread_t thread;
	int fds[8];

	write_letter(l, 0, -1);
	pthread_create(&thread, NULL, flip, l);
	for (int i = 0; i < 3000; i++) {
		long ret = i & 1 ? FROM_RING3(SYS_sendmmsg, sockets[0], (uint64_t)l, 1, 0) :
				   FROM_RING3(SYS_sendmsg, sockets[0], (uint64_t)l, 0);

		if (ret == -EBADF) {
			refused++;
			continue;
		}
		sent++;
		CHECK_EQUAL(ret, 1, "a message");
		CHECK_EQUAL(receive(fds), 1, "its descriptor");
		CHECK(!is_dune(fds[0]), "ring 3 has got the file, after %d messages", i);
		close(fds[0]);
	}
	done = true;
	pthread_join(thread, NULL);
	CHECK(sent && refused, "%u sent, %u refused", sent, refused);
}

/* ---- ring 0 ---- */

static void ring0(void)
{
	struct dune_info info;
	int n = 0;

	CHECK_EQUAL(ioctl(ours, DUNE_GET_INFO, &info), 0, "ioctl");
	for (int fd = -1; fd < 2048; fd++)
		n += dune_fd_is_ours(fd);
	CHECK_EQUAL(n, 1, "descriptors of libdune's");
	CHECK(is_dune(ours), "it is the device's");
}

int main(void)
{
	CHECK(!dune_fd_is_ours(0) && !dune_fd_is_ours(300), "before dune_init()");
	DIE_UNLESS(!mode_enter(), "Dune mode");
	for (int fd = 0; fd < 2048 && ours < 0; fd++)
		if (dune_fd_is_ours(fd))
			ours = fd;
	DIE_UNLESS(ours >= 0, "libdune's descriptor");
	DIE_UNLESS(!socketpair(AF_UNIX, SOCK_DGRAM, 0, sockets), "socketpair");
	ring3 = ring3_make();
	dune_register_syscall_handler(on_call);
	attacks();
	arguments();
	others();
	messages();
	races();
	ring0();
	return check_result();
}
