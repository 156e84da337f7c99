// SPDX-License-Identifier: MIT
/*
 * PID 1 of the testbed's machine.
 *
 * Sets the machine up, loads the modules listed in /testbed/modules, runs the
 * command in /testbed/command, sends its output, the kernel's log and its exit
 * status through the channel (channel.h), and powers the machine off.
 *
 * Kernel command line words it knows:
 *	testbed.channel=parport|debugcon	the device to speak through
 *	testbed.shell				an interactive shell on the console instead
 *	testbed.spare_first_cpu			only the kernel may use CPU 0
 *	testbed.rtc				have the real-time clock interrupt all the time
 *	testbed.patience=N			all that it waits for may take N times as long
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <linux/kvm.h>
#include <sys/io.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "channel.h"
#include "leaks.h"

#define MODULE_UNDER_TEST	"dune"
#define KILL_SECONDS		10	/* for killed processes to be gone */
#define UNLOAD_SECONDS		10	/* for the module's last references to be gone */
#define CLOCK_MILLISECONDS	200	/* in which the machine's clock is told to others */

static bool use_parport;
static int patience = 1;
static int kmsg_fd = -1;

/* ---- speaking ---- */

static void put_bytes(const void *data, size_t length)
{
	const uint8_t *byte = data;

	if (!use_parport) {
		outsb(DEBUGCON_PORT, data, length);
		return;
	}
	for (; length; length--, byte++) {
		outb(*byte, PARPORT_DATA);
		outb(PARPORT_IDLE | PARPORT_STROBE, PARPORT_CONTROL);
		outb(PARPORT_IDLE, PARPORT_CONTROL);
	}
}

static void send_frame(enum frame_type type, const void *data, size_t length)
{
	uint8_t header[FRAME_HEADER] = { type, length, length >> 8, length >> 16, length >> 24 };

	put_bytes(header, sizeof(header));
	put_bytes(data, length);
}

__attribute__((format(printf, 2, 3)))
static void say(enum frame_type type, const char *format, ...)
{
	char line[1024];
	va_list arguments;
	int length;

	va_start(arguments, format);
	length = vsnprintf(line, sizeof(line), format, arguments);
	va_end(arguments);
	if (length >= (int)sizeof(line))
		length = sizeof(line) - 1;
	send_frame(type, line, length);
}

/* Without ACPI nothing switches the power off: then the emulator ends when the machine wants to start anew. */
static _Noreturn void power_off(void)
{
	reboot(access("/sys/firmware/acpi", F_OK) ? RB_AUTOBOOT : RB_POWER_OFF);
	for (;;)
		pause();
}

/* ---- the machine's clock ---- */

static volatile const struct shared_clock *host_clock;
static volatile struct shared_clock *told_clock;

static unsigned long read_number(const char *folder, const char *device, const char *name)
{
	char path[512];
	unsigned long number = 0;
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s/%s", folder, device, name);
	file = fopen(path, "re");
	if (file && fscanf(file, "%li", &number) != 1)
		number = 0;
	if (file)
		fclose(file);
	return number;
}

static void *map_file(const char *path, int flags, int protection)
{
	int fd = open(path, flags | O_CLOEXEC, 0644);
	void *page = MAP_FAILED;

	if (fd >= 0 && (!(flags & O_CREAT) || !ftruncate(fd, SHARED_CLOCK_SIZE)))
		page = mmap(NULL, SHARED_CLOCK_SIZE, protection, MAP_SHARED, fd, 0);
	if (fd >= 0)
		close(fd);
	return page == MAP_FAILED ? NULL : page;
}

/* SeaBIOS has found a place for the device's memory. A word of its configuration is asked for by ports. */
static uint32_t pci_word(unsigned int device, unsigned int offset)
{
	outl(0x80000000 | device << 11 | offset, 0xcf8);
	return inl(0xcfc);
}

/* The debug kernel knows nothing of PCI. */
static void find_clock_by_ports(void)
{
	unsigned int device, bar = 0x10 + 4 * SHARED_CLOCK_BAR;
	uint64_t address;
	int fd = -1;

	for (device = 0; device < 32; device++) {
		if (pci_word(device, 0) != (SHARED_CLOCK_DEVICE << 16 | SHARED_CLOCK_VENDOR))
			continue;
		address = (uint64_t)pci_word(device, bar + 4) << 32 | (pci_word(device, bar) & ~0xfU);
		fd = open("/dev/mem", O_RDONLY | O_CLOEXEC);
		host_clock = mmap(NULL, SHARED_CLOCK_SIZE, PROT_READ, MAP_SHARED, fd, address);
		if (host_clock == MAP_FAILED)
			host_clock = NULL;
		close(fd);
	}
	if (host_clock)
		told_clock = map_file(SHARED_CLOCK_FILE, O_RDWR | O_CREAT, PROT_READ | PROT_WRITE);
	if (fd >= 0 && !told_clock)
		say(FRAME_MESSAGE, "the host's clock: %s\n", strerror(errno));
}

static void find_clock(void)
{
	static const char folder[] = "/sys/bus/pci/devices";
	DIR *devices = opendir(folder);
	struct dirent *entry;
	char path[512];

	while (devices && (entry = readdir(devices))) {
		if (read_number(folder, entry->d_name, "vendor") != SHARED_CLOCK_VENDOR ||
		    read_number(folder, entry->d_name, "device") != SHARED_CLOCK_DEVICE)
			continue;
		snprintf(path, sizeof(path), "%s/%s/resource%d", folder, entry->d_name, SHARED_CLOCK_BAR);
		host_clock = map_file(path, O_RDONLY, PROT_READ);
		if (host_clock)
			told_clock = map_file(SHARED_CLOCK_FILE, O_RDWR | O_CREAT, PROT_READ | PROT_WRITE);
		if (!told_clock)
			say(FRAME_MESSAGE, "the host's clock: %s\n", strerror(errno));
	}
	if (devices)
		closedir(devices);
}

static void tell_clock(void)
{
	if (told_clock)
		told_clock->nanoseconds = host_clock->nanoseconds;
}

/* For limits. */
static double now(void)
{
	struct timespec t;

	if (host_clock)
		return host_clock->nanoseconds / 1e9;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

/* ---- setting up ---- */

struct mount_point {
	const char *type, *where, *options;
	unsigned long flags;
};

static const struct mount_point mount_points[] = {
	{ "proc", "/proc", NULL, 0 },
	{ "sysfs", "/sys", NULL, 0 },
	{ "devtmpfs", "/dev", "mode=0755", 0 },
	{ "devpts", "/dev/pts", "mode=0620,ptmxmode=0666", 0 },
	{ "tmpfs", "/dev/shm", "mode=1777", 0 },
	{ "tmpfs", "/tmp", "mode=1777", 0 },
	{ "tmpfs", "/run", "mode=0755", 0 },
	{ "cgroup2", "/sys/fs/cgroup", NULL, 0 },
	{ "debugfs", "/sys/kernel/debug", NULL, 0 },
	{ "tracefs", "/sys/kernel/tracing", NULL, 0 },
};

static void mount_all(void)
{
	const struct mount_point *m;
	size_t i;

	for (i = 0; i < sizeof(mount_points) / sizeof(mount_points[0]); i++) {
		m = &mount_points[i];
		mkdir(m->where, 0755);
		if (mount(m->type, m->where, m->type, m->flags, m->options) && errno != EBUSY)
			say(FRAME_MESSAGE, "cannot mount %s: %s\n", m->where, strerror(errno));
	}
	symlink("/proc/self/fd", "/dev/fd");
	symlink("/proc/self/fd/0", "/dev/stdin");
	symlink("/proc/self/fd/1", "/dev/stdout");
	symlink("/proc/self/fd/2", "/dev/stderr");
}

static void loopback_up(void)
{
	struct ifreq request = { .ifr_name = "lo" };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return;
	request.ifr_flags = IFF_UP | IFF_RUNNING;
	ioctl(fd, SIOCSIFFLAGS, &request);
	close(fd);
}

static char *read_file(const char *path, size_t *length)
{
	size_t room = 65536, used = 0;
	char *text = malloc(room + 1);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0 || !text) {
		free(text);
		return NULL;
	}
	while (used < room && (n = read(fd, text + used, room - used)) > 0)
		used += n;
	close(fd);
	text[used] = '\0';
	if (length)
		*length = used;
	return text;
}

/* What the kernel's command line says of the module under test, as modprobe has it: NAME.PARAMETER=VALUE. */
static char *parameters_under_test(void)
{
	static const char prefix[] = MODULE_UNDER_TEST ".";
	char *line = read_file("/proc/cmdline", NULL), *rest = line, *word;
	static char parameters[512];

	while (line && (word = strsep(&rest, " \n")))
		if (!strncmp(word, prefix, strlen(prefix)) &&
		    strlen(parameters) + strlen(word) + 2 < sizeof(parameters))
			strcat(strcat(parameters, word + strlen(prefix)), " ");
	free(line);
	return parameters;
}

static bool load_module(const char *path, const char *parameters)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int error;

	if (fd < 0) {
		say(FRAME_MESSAGE, "cannot open module %s: %s\n", path, strerror(errno));
		return false;
	}
	error = syscall(SYS_finit_module, fd, parameters, 0) ? errno : 0;
	close(fd);
	if (error && error != EEXIST) {
		say(FRAME_MESSAGE, "cannot load module %s: %s\n", path, strerror(error));
		return false;
	}
	return true;
}

static bool load_modules(const char *list, const char *parameters)
{
	char *text = read_file(list, NULL), *path, *rest = text;
	bool loaded = true;

	while (text && (path = strsep(&rest, "\n")))
		if (*path)
			loaded &= load_module(path, parameters);
	free(text);
	return loaded;
}

/* ---- the kernel's log ---- */

static void open_kernel_log(void)
{
	kmsg_fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	lseek(kmsg_fd, 0, SEEK_END);
}

/* Where things lie this time: with that, addresses of a machine that hangs say something. */
static void say_addresses(void)
{
	FILE *symbols = fopen("/proc/kallsyms", "re");
	char *module = read_file("/sys/module/" MODULE_UNDER_TEST "/sections/.text", NULL);
	char line[512];

	while (symbols && fgets(line, sizeof(line), symbols)) {
		if (!strstr(line, " _text\n"))
			continue;
		say(FRAME_KLOG, "testbed: kernel's .text at 0x%.16s, module's at %s\n", line,
		    module ? strtok(module, "\n") : "none");
		break;
	}
	if (symbols)
		fclose(symbols);
	free(module);
}

/* A record reads "priority,sequence,microseconds,flags;text\n" and lines of tags. */
static void send_kernel_log(void)
{
	char record[8192], *text, *end;
	unsigned long long when;
	ssize_t n;

	for (;;) {
		n = read(kmsg_fd, record, sizeof(record) - 1);
		if (n < 0 && errno == EPIPE)
			continue;	/* records were lost: go on with the next */
		if (n <= 0)
			return;
		record[n] = '\0';
		text = strchr(record, ';');
		if (!text || sscanf(record, "%*u,%*u,%llu", &when) != 1)
			continue;
		end = strchr(++text, '\n');
		if (end)
			*end = '\0';
		say(FRAME_KLOG, "[%5llu.%06llu] %s\n", when / 1000000, when % 1000000, text);
	}
}

static void print_leak(const char *line)
{
	say(FRAME_KLOG, "%s\n", line);
}

/* ---- the command ---- */

struct command {
	pid_t pid;
	int output[2];		/* our ends of its stdout and stderr; -1: closed */
	int status;		/* as a shell would say it */
	bool ended;
};

static char **split_command(void)
{
	size_t length = 0, count = 0, i;
	char *text = read_file("/testbed/command", &length);
	char **argv, *word;

	if (!text || !length)
		return NULL;
	for (i = 0; i < length; i++)
		count += !text[i];
	argv = calloc(count + 1, sizeof(*argv));
	for (i = 0, word = text; argv && i < count; i++, word += strlen(word) + 1)
		argv[i] = word;
	return argv;
}

static _Noreturn void become_command(char **argv, int out, int err)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	ioperm(0, 0x400, 0);
	iopl(0);
	setsid();
	dup2(open("/dev/null", O_RDONLY), 0);
	dup2(out, 1);
	dup2(err, 2);
	syscall(SYS_close_range, 3U, ~0U, 0U);
	if (chdir("/root"))
		perror("/root");
	execvp(argv[0], argv);
	dprintf(2, "testbed: cannot run %s: %s\n", argv[0], strerror(errno));
	_exit(errno == ENOENT ? 127 : 126);
}

static void start_command(struct command *c, char **argv)
{
	int out[2], err[2];

	if (pipe2(out, O_CLOEXEC) || pipe2(err, O_CLOEXEC))
		power_off();
	fcntl(out[0], F_SETPIPE_SZ, 1 << 20);
	c->pid = fork();
	if (!c->pid)
		become_command(argv, out[1], err[1]);
	close(out[1]);
	close(err[1]);
	c->output[0] = out[0];
	c->output[1] = err[0];
	c->ended = false;
}

/* Reads once; false when there is nothing more to come. */
static bool pass_output(struct command *c, int which)
{
	static const enum frame_type types[] = { FRAME_STDOUT, FRAME_STDERR };
	static char buffer[FRAME_MAX];
	ssize_t n = read(c->output[which], buffer, sizeof(buffer));

	if (n > 0) {
		send_frame(types[which], buffer, n);
		return true;
	}
	if (n < 0 && errno == EINTR)
		return true;
	close(c->output[which]);
	c->output[which] = -1;
	return false;
}

static void reap(struct command *c)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid != c->pid)
			continue;
		c->status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
		c->ended = true;
	}
}

/* Whatever the command left behind must go before its pipes can be empty. */
static void kill_the_rest(void)
{
	double end = now() + KILL_SECONDS * patience;

	for (;;) {
		kill(-1, SIGKILL);
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		if (waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD)
			return;
		if (now() > end) {
			say(FRAME_KLOG, "BUG: testbed: a process outlives SIGKILL\n");
			return;
		}
		usleep(10000);
	}
}

static void run_command(struct command *c, char **argv)
{
	struct pollfd fds[4];
	sigset_t child;
	int signals;
	char buffer[sizeof(struct signalfd_siginfo)];
	int i;

	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, NULL);
	signals = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
	start_command(c, argv);

	while (!c->ended) {
		fds[0] = (struct pollfd){ .fd = c->output[0], .events = POLLIN };
		fds[1] = (struct pollfd){ .fd = c->output[1], .events = POLLIN };
		fds[2] = (struct pollfd){ .fd = signals, .events = POLLIN };
		fds[3] = (struct pollfd){ .fd = kmsg_fd, .events = POLLIN };
		if (!poll(fds, 4, told_clock ? CLOCK_MILLISECONDS : 1000))
			send_frame(FRAME_ALIVE, NULL, 0);
		tell_clock();
		for (i = 0; i < 2; i++)
			if (fds[i].revents)
				pass_output(c, i);
		if (fds[3].revents)
			send_kernel_log();
		if (fds[2].revents) {
			while (read(signals, buffer, sizeof(buffer)) > 0)
				;
			reap(c);
		}
	}
	/* The log and the output that are there already, then what comes with the end. */
	send_kernel_log();
	kill_the_rest();
	for (i = 0; i < 2; i++)
		while (c->output[i] >= 0 && pass_output(c, i))
			;
	close(signals);
}

static void unload_module_under_test(void)
{
	double end = now() + UNLOAD_SECONDS * patience;

	leaks_note_module(MODULE_UNDER_TEST);

	while (syscall(SYS_delete_module, MODULE_UNDER_TEST, O_NONBLOCK)) {
		if (errno == ENOENT)
			return;
		if (now() > end || (errno != EAGAIN && errno != EBUSY)) {
			say(FRAME_KLOG, "BUG: testbed: module %s cannot be unloaded: %s\n",
			    MODULE_UNDER_TEST, strerror(errno));
			return;
		}
		usleep(10000);
	}
}

static void run_shell(void)
{
	pid_t pid = fork();
	int fd;

	if (!pid) {
		setsid();
		fd = open("/dev/ttyS0", O_RDWR);
		ioctl(fd, TIOCSCTTY, 1);
		dup2(fd, 0);
		dup2(fd, 1);
		dup2(fd, 2);
		if (fd > 2)
			close(fd);
		if (chdir("/root"))
			perror("/root");
		execlp("sh", "-sh", (char *)NULL);
		_exit(127);
	}
	while (waitpid(-1, NULL, 0) != pid)
		;
}

static void set_environment(void)
{
	char text[16];

	clearenv();
	setenv("PATH", "/root:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 1);
	setenv("LD_LIBRARY_PATH", "/usr/local/lib", 1);
	setenv("HOME", "/root", 1);
	setenv("USER", "root", 1);
	setenv("LANG", "C.UTF-8", 1);
	setenv("TERM", "linux", 1);
	setenv("TESTBED", "1", 1);
	/* What a checked program must not reach is tested on vmx as well, whose CPU has Meltdown. */
	setenv("DUNE_LEAKY_CPU", "1", 1);
	snprintf(text, sizeof(text), "%d", patience);
	setenv("TESTBED_PATIENCE", text, 1);
}

/* What is started from here on inherits it. Returns the number of CPUs. */
static int leave_first_cpu(void)
{
	cpu_set_t cpus;
	int count;

	if (sched_getaffinity(0, sizeof(cpus), &cpus))
		return 1;
	count = CPU_COUNT(&cpus);
	CPU_CLR(0, &cpus);
	sched_setaffinity(0, sizeof(cpus), &cpus);
	return count;
}

/* Has each of the @cpus other than ours do nothing but spin, in processes of their own, which go into @spinners. */
static void spin_elsewhere(int cpus, int ours, pid_t *spinners)
{
	static const struct sched_param priority = { .sched_priority = 1 };
	int ready[2];
	cpu_set_t one;
	char byte;

	if (pipe(ready))
		return;
	for (int cpu = 0; cpu < cpus; cpu++) {
		spinners[cpu] = cpu == ours ? 0 : fork();
		if (spinners[cpu] || cpu == ours)
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		sched_setaffinity(0, sizeof(one), &one);
		sched_setscheduler(0, SCHED_FIFO, &priority);
		write(ready[1], "", 1);
		for (;;)
			;
	}
	for (int cpu = 1; cpu < cpus; cpu++)
		read(ready[0], &byte, 1);
	close(ready[0]);
	close(ready[1]);
}

/*
 * Returns a guest of KVM's, to be closed when the module under test has one. Before the first guest KVM changes an
 * instruction of the scheduler by a breakpoint. While QEMU translates code it has no lock on its page (before 8.0): a
 * CPU that meets the breakpoint just when another one takes it away keeps it, and goes round in the kernel's handler
 * for ever. So no other CPU comes near the scheduler meanwhile.
 */
static int first_kvm_guest(int cpus)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC), guest, ours = sched_getcpu();
	pid_t spinners[CPU_SETSIZE] = { 0 };
	cpu_set_t before, one;

	if (kvm < 0)
		return -1;
	sched_getaffinity(0, sizeof(before), &before);
	CPU_ZERO(&one);
	CPU_SET(ours, &one);
	sched_setaffinity(0, sizeof(one), &one);
	spin_elsewhere(cpus, ours, spinners);
	guest = ioctl(kvm, KVM_CREATE_VM, 0);
	for (int cpu = 0; cpu < cpus; cpu++) {
		if (spinners[cpu] > 0) {
			kill(spinners[cpu], SIGKILL);
			waitpid(spinners[cpu], NULL, 0);
		}
	}
	sched_setaffinity(0, sizeof(before), &before);
	close(kvm);
	return guest;
}

/*
 * An interrupt that QEMU has lost comes with the next one (doc/emulators.md); the timer of an
 * idle CPU sends none. While an alarm is set, the kernel has the HPET interrupt 64 times in a
 * second to compare the time.
 */
static void rtc_on(void)
{
	static const char alarm[] = "+86000";	/* seconds; the clock cannot be set to more than a day */
	int fd = open("/sys/class/rtc/rtc0/wakealarm", O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, alarm, strlen(alarm)) < 0)
		say(FRAME_MESSAGE, "no interrupts of the real-time clock: %s\n", strerror(errno));
	if (fd >= 0)
		close(fd);
}

/*
 * They go to one CPU. Each gets them for a while, by a process on the first one, whose timer is not lost as no guest
 * runs there.
 */
static void rtc_to_each(int cpus)
{
	cpu_set_t first;
	int fd, cpu;

	if (cpus == 1 || fork())
		return;
	CPU_ZERO(&first);
	CPU_SET(0, &first);
	sched_setaffinity(0, sizeof(first), &first);
	fd = open("/proc/irq/8/smp_affinity_list", O_WRONLY | O_CLOEXEC);
	for (cpu = 0; fd >= 0; cpu = (cpu + 1) % cpus) {
		/* It fails for a CPU that is off. */
		usleep(dprintf(fd, "%d\n", cpu) > 0 ? 50000 : 10000);
	}
	_exit(0);
}

int main(void)
{
	struct command command = { .status = 255 };
	char **argv, *command_line, *word;
	bool shell, ready;
	int cpus = 1, guest = -1;

	iopl(3);
	mount_all();
	command_line = read_file("/proc/cmdline", NULL);
	use_parport = command_line && strstr(command_line, "testbed.channel=parport");
	shell = command_line && strstr(command_line, "testbed.shell");
	word = command_line ? strstr(command_line, "testbed.patience=") : NULL;
	if (word)
		patience = atoi(strchr(word, '=') + 1);
	if (command_line && strstr(command_line, "testbed.spare_first_cpu"))
		cpus = leave_first_cpu();
	if (use_parport)
		outb(PARPORT_IDLE, PARPORT_CONTROL);
	send_frame(FRAME_BOOTED, NULL, 0);

	sethostname("testbed", 7);
	loopback_up();
	set_environment();
	if (access("/sys/bus/pci", F_OK) && !use_parport)
		find_clock_by_ports();
	else
		find_clock();
	tell_clock();
	ready = load_modules("/testbed/modules", "");
	if (cpus > 1)
		guest = first_kvm_guest(cpus);
	if (command_line && strstr(command_line, "testbed.rtc")) {
		rtc_on();
		rtc_to_each(cpus);
	}
	leaks_begin();
	open_kernel_log();
	if (!load_modules("/testbed/module-under-test", parameters_under_test())) {
		ready = false;
		usleep(100000);
	}
	if (guest >= 0)
		close(guest);
	say_addresses();

	if (shell) {
		run_shell();
		command.status = 0;
	} else if (!ready) {
		say(FRAME_KLOG, "BUG: testbed: the machine could not be set up\n");
	} else {
		argv = split_command();
		if (argv)
			run_command(&command, argv);
	}

	unload_module_under_test();
	usleep(20000);		/* frees put off by RCU may still complain */
	send_kernel_log();
	leaks_report(print_leak);
	say(FRAME_STATUS, "%d\n", command.status);
	power_off();
}
