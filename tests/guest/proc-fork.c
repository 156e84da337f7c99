// SPDX-License-Identifier: MIT
/*
 * Processes: fork, vfork, posix_spawn, exec and wait, from the first thread and from others; what
 * comes out of them in every way to end.
 */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <linux/sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>

#include "proc.h"

extern char **environ;

/* The compiler must not know. */
static int *volatile nowhere = (int *)8;

static const char self[] = "/proc/self/exe";

/* What this program does when it is started by itself. */
static int started(int argc, char **argv)
{
	const char *variable = getenv("PROC_FORK");

	if (!strcmp(argv[1], "status"))
		return atoi(argv[2]);
	if (!strcmp(argv[1], "arguments"))
		return argc == 5 && !*argv[2] && !strcmp(argv[3], "a b") && strlen(argv[4]) == 100000 &&
		       variable && !strcmp(variable, "here") ? 51 : 1;
	if (!strcmp(argv[1], "descriptors"))
		return fcntl(atoi(argv[2]), F_GETFD) >= 0 && fcntl(atoi(argv[3]), F_GETFD) < 0 ? 52 : 1;
	if (!strcmp(argv[1], "mask")) {
		sigset_t mask;

		sigprocmask(SIG_BLOCK, NULL, &mask);
		return sigismember(&mask, SIGUSR1) && !sigismember(&mask, SIGUSR2) ? 53 : 1;
	}
	if (!strcmp(argv[1], "enter"))
		return dune_in_dune_mode() || dune_init_and_enter() || !dune_in_dune_mode() ? 1 : 54;
	return 1;
}

/* ---- fork ---- */

static void in_each_other(unsigned int depth)
{
	int status;

	CHECK_WORLD("a child");
	if (!depth)
		return;
	status = IN_CHILD(in_each_other(depth - 1); _exit(check_failures ? 1 : depth));
	CHECK_EQUAL(status, EXITED(depth), "a child's child");
}

static void loop(unsigned int count)
{
	for (unsigned int i = 0; i < count; i++)
		CHECK_EQUAL(IN_CHILD(_exit(i & 0xff)), EXITED(i & 0xff), "fork, exit, wait");
}

static void *forks(void *arg)
{
	for (unsigned long i = 0; i < 5; i++)
		CHECK_EQUAL(IN_CHILD(CHECK_WORLD("a thread's child"); _exit(check_failures ? 1 : 20 + i)),
			    EXITED(20 + i), "a thread's child");
	return arg;
}

static void *threads_forks_threads(void *arg)
{
	pthread_t thread;

	CHECK_EQUAL(IN_CHILD(
		CHECK(!pthread_create(&thread, NULL, forks, NULL), "a thread in a thread's child");
		CHECK(!pthread_join(thread, NULL), "joining it");
		_exit(check_failures ? 1 : 30)
	), EXITED(30), "a thread's child with threads");
	return arg;
}

static void from_threads(void)
{
	pthread_t threads[4];

	for (int i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, i < 3 ? forks : threads_forks_threads, NULL);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
}

static void memory(void)
{
	volatile int *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	volatile int *own = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	*shared = *own = 1;
	CHECK_EQUAL(IN_CHILD(*shared = 2; *own = 2; _exit(*own)), EXITED(2), "the child's own memory");
	CHECK_EQUAL(*shared, 2, "shared memory");
	CHECK_EQUAL(*own, 1, "the parent's own memory");
}

/* ---- endings ---- */

static void signalled(void)
{
	static const int fatal[] = { SIGHUP, SIGINT, SIGQUIT, SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGKILL,
				     SIGUSR1, SIGSEGV, SIGUSR2, SIGPIPE, SIGALRM, SIGTERM, SIGXCPU, SIGSYS };
	const struct rlimit no_core = { 0, 0 };
	int status;

	setrlimit(RLIMIT_CORE, &no_core);
	for (unsigned int i = 0; i < sizeof(fatal) / sizeof(fatal[0]); i++) {
		status = IN_CHILD(signal(fatal[i], SIG_DFL); kill(getpid(), fatal[i]); _exit(1));
		CHECK_EQUAL(status, fatal[i], strsignal(fatal[i]));
	}
	status = IN_CHILD(*nowhere = 1);
	CHECK_EQUAL(status, SIGSEGV, "a null pointer");
	status = IN_CHILD(__asm__ volatile("ud2"));
	CHECK_EQUAL(status, SIGILL, "ud2");
	status = IN_CHILD(__asm__ volatile("xor %%edx, %%edx; xor %%ecx, %%ecx; div %%ecx" : : : "rax", "rcx", "rdx"));
	CHECK_EQUAL(status, SIGFPE, "a division by zero");
	status = IN_CHILD(__asm__ volatile("int3"));
	CHECK_EQUAL(status, SIGTRAP, "int3");
	status = IN_CHILD(__asm__ volatile("int $0x90"));
	CHECK_EQUAL(status, SIGSEGV, "INT n");
	status = IN_CHILD(((void (*)(void))(unsigned long)nowhere)());
	CHECK_EQUAL(status, SIGSEGV, "a jump to nowhere");
	status = IN_CHILD(signal(SIGSEGV, SIG_IGN); *nowhere = 1);
	CHECK_EQUAL(status, SIGSEGV, "a null pointer with SIGSEGV ignored");
	status = IN_CHILD(sigset_t all; sigfillset(&all); sigprocmask(SIG_BLOCK, &all, NULL); *nowhere = 1);
	CHECK_EQUAL(status, SIGSEGV, "a null pointer with SIGSEGV blocked");
	status = IN_CHILD(abort());
	CHECK_EQUAL(status, SIGABRT, "abort()");
}

static void nothing(int signo)
{
	(void)signo;
}

/* An exit status must be what was said, whatever came before. */
static void status_after_signal(void)
{
	for (int i = 0; i < 50; i++)
		CHECK_EQUAL(IN_CHILD(signal(SIGUSR1, nothing); raise(SIGUSR1); _exit(40 + i)), EXITED(40 + i),
			    "the exit status after a signal");
}

static void stopped(void)
{
	int status = 0;
	pid_t pid = fork();

	if (!pid) {
		for (;;)
			__asm__ volatile("");
	}
	kill(pid, SIGSTOP);
	CHECK_EQUAL(waitpid(pid, &status, WUNTRACED), pid, "waitpid of a stopped child");
	CHECK(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP, "stopped: %#x", status);
	kill(pid, SIGCONT);
	CHECK_EQUAL(waitpid(pid, &status, WCONTINUED), pid, "waitpid of a child that goes on");
	CHECK(WIFCONTINUED(status), "continued: %#x", status);
	kill(pid, SIGSTOP);
	CHECK_EQUAL(waitpid(pid, &status, WUNTRACED), pid, "waitpid of a child stopped again");
	kill(pid, SIGKILL);
	CHECK_EQUAL(proc_wait(pid), SIGKILL, "a stopped child that is killed");
}

/* ---- exec ---- */

static int exec_status(char *const argv[], char *const envp[])
{
	return IN_CHILD(execve(self, argv, envp); _exit(127));
}

static void exec(unsigned int count)
{
	char status[16], *many = malloc(100001);
	char *arguments[] = { "x", "arguments", "", "a b", many, NULL };
	char *simple[] = { "x", "status", status, NULL }, *mask[] = { "x", "mask", NULL };
	char *enter[] = { "x", "enter", NULL };
	char *environment[] = { "PROC_FORK=here", NULL };
	char kept[16], closed[16], *descriptors[] = { "x", "descriptors", kept, closed, NULL };
	char *const nothing_to_start[] = { "x", NULL };
	sigset_t usr1;

	memset(many, 'y', 100000);
	many[100000] = '\0';
	CHECK_EQUAL(exec_status(arguments, environment), EXITED(51), "arguments and environment");
	for (unsigned int i = 0; i < count; i++) {
		snprintf(status, sizeof(status), "%u", i & 0xff);
		CHECK_EQUAL(exec_status(simple, environ), EXITED(i & 0xff), "fork, exec, wait");
	}
	snprintf(kept, sizeof(kept), "%d", dup(0));
	snprintf(closed, sizeof(closed), "%d", open("/dev/null", O_RDONLY | O_CLOEXEC));
	CHECK_EQUAL(exec_status(descriptors, environ), EXITED(52), "close-on-exec");
	close(atoi(kept));
	close(atoi(closed));
	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	sigprocmask(SIG_BLOCK, &usr1, NULL);
	CHECK_EQUAL(exec_status(mask, environ), EXITED(53), "the signal mask after exec");
	sigprocmask(SIG_UNBLOCK, &usr1, NULL);
	if (proc_inside)
		CHECK_EQUAL(exec_status(enter, environ), EXITED(54), "entering after exec");
	CHECK_ERRNO(execve("/nonexistent", nothing_to_start, environ), ENOENT, "exec of what is not there");
	CHECK_ERRNO(execve("/proc", nothing_to_start, environ), EACCES, "exec of a folder");
	CHECK_ERRNO(execve(self, (char **)nowhere, environ), EFAULT, "exec with bad arguments");
	CHECK_ERRNO(execve(self, simple, (char **)nowhere), EFAULT, "exec with a bad environment");
	CHECK_WORLD("the program after a failed exec");
	free(many);
}

/* The old program must be gone at once: nothing after execve() may run. */
static void exec_at_once(void)
{
	char *simple[] = { "x", "status", "5", NULL };
	volatile int *after = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	CHECK_EQUAL(IN_CHILD(execve(self, simple, environ); *after = 1; _exit(6)), EXITED(5), "exec");
	CHECK_EQUAL(*after, 0, "what ran behind a successful exec");
}

static unsigned int count_descriptors(void)
{
	unsigned int n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

/* Where an object is to be loaded first, libdune opens the program; a signal has it begin the call again. */
static void exec_interrupted(unsigned int count)
{
	void __dune_set_preload(const char *path);
	char *simple[] = { "x", NULL };
	static const struct itimerval none;
	int fd = open("no-program", O_RDWR | O_CREAT | O_TRUNC, 0600);
	unsigned int seed = 1, before;

	DIE_UNLESS(fd >= 0 && write(fd, "no program", 10) == 10, "a file");
	close(fd);
	signal(SIGALRM, nothing);
	before = count_descriptors();
	__dune_set_preload("/nonexistent");
	for (unsigned int i = 0; i < count; i++) {
		struct itimerval timer = { .it_value.tv_usec = 1 + rand_r(&seed) % 500 };

		setitimer(ITIMER_REAL, &timer, NULL);
		CHECK_ERRNO(execve("no-program", simple, environ), EACCES, "exec of what is no program");
	}
	__dune_set_preload("");
	CHECK_EQUAL(count_descriptors(), before, "open descriptors after exec has failed");
	setitimer(ITIMER_REAL, &none, NULL);
	signal(SIGALRM, SIG_DFL);
	unlink("no-program");
}

/* ---- vfork and posix_spawn ---- */

static void vforks(unsigned int count)
{
	char *simple[] = { "x", "status", "9", NULL };
	volatile int seen = 0;

	for (unsigned int i = 0; i < count; i++) {
		pid_t pid = vfork();

		if (!pid) {
			seen = i + 1;
			if (i % 2)
				execve(self, simple, environ);
			_exit(9);
		}
		CHECK_EQUAL(seen, i + 1, "what the child of vfork wrote");
		CHECK_EQUAL(proc_wait(pid), EXITED(9), "the child of vfork");
	}
}

static void *spawns(void *arg)
{
	char *simple[] = { "x", "status", "11", NULL };
	posix_spawnattr_t attr;
	sigset_t all;
	pid_t pid = 0;

	for (int i = 0; i < 5; i++) {
		posix_spawnattr_init(&attr);
		sigfillset(&all);
		posix_spawnattr_setsigdefault(&attr, &all);
		posix_spawnattr_setflags(&attr, i % 2 ? POSIX_SPAWN_SETSIGDEF : 0);
		CHECK_EQUAL(posix_spawn(&pid, self, NULL, &attr, simple, environ), 0, "posix_spawn");
		CHECK_EQUAL(proc_wait(pid), EXITED(11), "what posix_spawn started");
	}
	CHECK_EQUAL(posix_spawn(&pid, "/nonexistent", NULL, NULL, simple, environ), ENOENT, "posix_spawn of nothing");
	return arg;
}

static void handler_of_parent(int signo)
{
	_exit(signo == SIGUSR1 ? 60 : 61);
}

/* Handlers are copied by fork, and by a vfork child not shared. */
static void handlers(void)
{
	struct sigaction action = { .sa_handler = handler_of_parent }, now;
	pid_t pid;

	sigaction(SIGUSR1, &action, NULL);
	CHECK_EQUAL(IN_CHILD(raise(SIGUSR1)), EXITED(60), "the parent's handler in the child");
	CHECK_EQUAL(IN_CHILD(signal(SIGUSR1, SIG_IGN); raise(SIGUSR1); _exit(62)), EXITED(62),
		    "the child's own action");
	pid = vfork();
	if (!pid) {
		action.sa_handler = SIG_IGN;
		sigaction(SIGUSR1, &action, NULL);
		_exit(0);
	}
	proc_wait(pid);
	sigaction(SIGUSR1, NULL, &now);
	CHECK(now.sa_handler == handler_of_parent, "the child of vfork changed its parent's handler");
	signal(SIGUSR1, SIG_DFL);
}

static int clone_without_handlers(void (*fn)(void))
{
	struct clone_args args = { .flags = CLONE_CLEAR_SIGHAND, .exit_signal = SIGCHLD };
	pid_t pid = syscall(SYS_clone3, &args, sizeof(args));

	if (!pid) {
		fn();
		_exit(0);
	}
	return proc_wait(pid);
}

static void execute_ud2(void)
{
	__asm__ volatile("ud2");
}

static void write_nowhere(void)
{
	*nowhere = 1;
}

static void ask_for_action(void)
{
	struct sigaction now;

	if (sigaction(SIGILL, NULL, &now) || now.sa_handler != SIG_DFL)
		_exit(1);
}

/* The child has memory of its own, but begins without handlers. */
static void cleared_handlers(void)
{
	signal(SIGILL, handler_of_parent);
	signal(SIGSEGV, handler_of_parent);
	CHECK_EQUAL(clone_without_handlers(execute_ud2), SIGILL, "ud2 without handlers");
	CHECK_EQUAL(clone_without_handlers(write_nowhere), SIGSEGV, "a null pointer without handlers");
	CHECK_EQUAL(clone_without_handlers(ask_for_action), EXITED(0), "the action without handlers");
	signal(SIGSEGV, SIG_DFL);
	CHECK_EQUAL(clone_without_handlers(write_nowhere), SIGSEGV, "a null pointer without handlers before");
	CHECK_EQUAL(IN_CHILD(execute_ud2()), EXITED(61), "the parent's handler");
	signal(SIGILL, SIG_DFL);
}

int main(int argc, char **argv)
{
	unsigned int loops = argc > 2 ? atoi(argv[2]) : 200;
	pthread_t thread;

	if (argc > 1 && argv[0][0] == 'x')
		return started(argc, argv);
	proc_begin(argc, argv);
	in_each_other(5);
	memory();
	loop(loops);
	from_threads();
	signalled();
	status_after_signal();
	stopped();
	exec(loops);
	exec_at_once();
	exec_interrupted(10 * loops);
	vforks(20);
	spawns(NULL);
	pthread_create(&thread, NULL, spawns, NULL);
	pthread_join(thread, NULL);
	handlers();
	cleared_handlers();
	return check_result();
}
