// SPDX-License-Identifier: MIT
/*
 * The module where the machine is not as it should be: KVM's device faked or gone, no descriptors, a
 * loader that is under attack; who may open /dev/dune; and when the module can be unloaded.
 */
#include <fcntl.h>
#include <glob.h>
#include <linux/kvm.h>
#include <grp.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <sys/wait.h>

#include "check.h"
#include "patience.h"
#include "raw.h"

#define MODULE		"/testbed/dune.ko"
#define RULES		"/tests/60-dune.rules"
#define KVM_GROUP	104

static void *module;
static size_t module_size;
static int kmsg;

/* ---- modules ------------------------------------------------------------------ */

static void *read_file(const char *path, size_t *size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	void *text;

	DIE_UNLESS(fd >= 0 && !fstat(fd, &st), path);
	text = mmap(NULL, st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	DIE_UNLESS(text != MAP_FAILED, path);
	close(fd);
	*size = st.st_size;
	return text;
}

static int load(void)
{
	return syscall(SYS_init_module, module, module_size, "") ? -errno : 0;
}

static int unload(const char *name)
{
	return syscall(SYS_delete_module, name, O_NONBLOCK) ? -errno : 0;
}

/* The last references go asynchronously. */
static void unload_soon(const char *after)
{
	double end = patience_seconds() + 5;
	int error;

	while ((error = unload("dune")) == -EWOULDBLOCK && patience_seconds() < end)
		usleep(10000);
	CHECK(!error, "unloading after %s: %s", after, strerrorname_np(-error));
}

static const char *vendor_module(void)
{
	FILE *file = fopen("/proc/cpuinfo", "re");
	const char *name = "kvm_amd";
	char line[4096];

	while (file && fgets(line, sizeof(line), file))
		if (!strncmp(line, "flags", 5) && strstr(line, " vmx"))
			name = "kvm_intel";
	fclose(file);
	return name;
}

static void load_kvm(void)
{
	glob_t found;
	size_t size;
	void *text;

	DIE_UNLESS(!glob(!strcmp(vendor_module(), "kvm_intel") ? "/lib/modules/*/kernel/arch/x86/kvm/kvm-intel.ko" :
			 "/lib/modules/*/kernel/arch/x86/kvm/kvm-amd.ko", 0, NULL, &found), "KVM's module");
	text = read_file(found.gl_pathv[0], &size);
	if (syscall(SYS_init_module, text, size, ""))
		CHECK(errno == EEXIST, "loading KVM: %s", strerrorname_np(errno));
	munmap(text, size);
	globfree(&found);
}

/* ---- the kernel's log ------------------------------------------------------------- */

/* Lines of ours since the last call; the last one is in @text. */
static unsigned int log_lines(char text[256])
{
	char record[8192];
	unsigned int lines = 0;
	ssize_t length;

	for (;;) {
		length = read(kmsg, record, sizeof(record) - 1);
		if (length < 0 && errno == EPIPE)
			continue;
		if (length <= 0)
			return lines;
		record[length] = '\0';
		char *message = strchr(record, ';');

		if (!message || strncmp(message, ";dune: ", 7))
			continue;
		snprintf(text, 256, "%.*s", (int)strcspn(message + 1, "\n"), message + 1);
		lines++;
	}
}

static void refused(const char *where, int error, const char *says)
{
	char text[256] = "";
	unsigned int lines;
	int result;

	log_lines(text);
	result = load();
	lines = log_lines(text);
	CHECK(result == error, "loading with %s: %s, expected %s", where,
	      result ? strerrorname_np(-result) : "succeeds", strerrorname_np(-error));
	CHECK(lines == 1 && strstr(text, says), "loading with %s: %u lines in the log, \"%s\"", where, lines, text);
	CHECK(access("/dev/dune", F_OK), "loading with %s leaves /dev/dune", where);
	if (!result)
		unload_soon(where);
}

static void loads(const char *when)
{
	int error = load(), fd;

	CHECK(!error, "loading %s: %s", when, strerrorname_np(-error));
	fd = open("/dev/dune", O_RDWR | O_CLOEXEC);
	CHECK(fd >= 0, "opening %s: %s", when, strerrorname_np(errno));
	close(fd);
}

/* Some kernels let only KVM switch VT-x on. */
static bool can_be_alone(void)
{
	struct utsname name;

	return strcmp(vendor_module(), "kvm_intel") || (!uname(&name) && atoi(name.release) < 7);
}

/* Later kernels have it on as soon as KVM is loaded, not only while it has a VM. */
static bool kvm_keeps_it_on(void)
{
	char value = 'N', vendor[64];
	int fd = open("/sys/module/kvm/parameters/enable_virt_at_load", O_RDONLY | O_CLOEXEC);

	if (fd >= 0)
		DIE_UNLESS(read(fd, &value, 1) == 1, "enable_virt_at_load");
	close(fd);
	snprintf(vendor, sizeof(vendor), "/sys/module/%s", vendor_module());
	return value == 'Y' && !access(vendor, F_OK);
}

/* Virtualization is switched on by the module itself, where that can be. */
static void loads_alone(const char *where)
{
	char text[256] = "";
	int error;

	if (!can_be_alone()) {
		refused(where, -EOPNOTSUPP, "lets no module but KVM");
		return;
	}
	if (kvm_keeps_it_on()) {
		refused(where, -EBUSY, "somebody else has");
		return;
	}
	log_lines(text);
	error = load();
	CHECK(!error, "loading with %s: %s", where, strerrorname_np(-error));
	CHECK(log_lines(text) == 1 && strstr(text, "without KVM"), "loading with %s: \"%s\"", where, text);
	if (!error)
		unload_soon(where);
}

/* ---- the tests ------------------------------------------------------------------------ */

static int open_as(uid_t user, gid_t group, gid_t more)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		int fd;

		if (setgroups(more != (gid_t)-1, &more) || setgid(group) || setuid(user))
			_exit(255);
		fd = open("/dev/dune", O_RDWR | O_CLOEXEC);
		_exit(fd < 0 ? errno : 0);
	}
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

static void check_access(void)
{
	size_t size;
	const char *rules = read_file(RULES, &size);
	struct stat st;

	CHECK(!stat("/dev/dune", &st) && S_ISCHR(st.st_mode), "/dev/dune is a device");
	CHECK_EQUAL(st.st_mode & 07777, 0660, "mode of /dev/dune");
	CHECK_EQUAL(st.st_uid, 0, "owner of /dev/dune");
	CHECK_EQUAL(open_as(1000, 1000, -1), EACCES, "open by a user");
	CHECK_EQUAL(open_as(1000, 1000, KVM_GROUP), EACCES, "open by a user of the group kvm, without udev");
	/* As udev does it. */
	CHECK(memmem(rules, size, "KERNEL==\"dune\"", 14) && memmem(rules, size, "GROUP=\"kvm\"", 11) &&
	      memmem(rules, size, "MODE=\"0660\"", 11), "the rule for udev");
	CHECK(!chown("/dev/dune", 0, KVM_GROUP) && !chmod("/dev/dune", 0660), "chown");
	CHECK_EQUAL(open_as(1000, 1000, -1), EACCES, "open by a user");
	CHECK_EQUAL(open_as(65534, 65534, -1), EACCES, "open by nobody");
	CHECK_EQUAL(open_as(1000, 1000, KVM_GROUP), 0, "open by a user of the group kvm");
	CHECK_EQUAL(open_as(1000, KVM_GROUP, -1), 0, "open by a user whose group is kvm");
}

static void check_unload(void)
{
	struct raw_vcpu vcpu;
	struct raw_vm vm;
	int go[2], status;
	char byte = 0;
	pid_t pid;

	CHECK_EQUAL(unload(vendor_module()), -EWOULDBLOCK, "unloading KVM below Dune");
	raw_open(&vm);
	CHECK_EQUAL(unload("dune"), -EWOULDBLOCK, "unloading with a file open");
	raw_vcpu(&vm, &vcpu, 0);
	raw_load(&vcpu, "\x90", 1, 0);
	CHECK_EQUAL(raw_run(&vcpu), DUNE_EXIT_SYSCALL, "a guest");
	CHECK_EQUAL(unload("dune"), -EWOULDBLOCK, "unloading with a vCPU");
	DIE_UNLESS(!pipe(go), "pipe");
	pid = fork();
	if (!pid) {
		int fd = ioctl(vm.fd, DUNE_ATTACH, O_CLOEXEC);

		close(vm.fd);
		(void)!read(go[0], &byte, 1);
		_exit(fd < 0);
	}
	close(vm.fd);
	CHECK_EQUAL(unload("dune"), -EWOULDBLOCK, "unloading with a run page mapped");
	munmap(vcpu.run, RAW_PAGE);
	usleep(20000);
	CHECK_EQUAL(unload("dune"), -EWOULDBLOCK, "unloading with a child's file");
	(void)!write(go[1], "x", 1);
	waitpid(pid, &status, 0);
	CHECK_EQUAL(status, 0, "the child");
	unload_soon("all has ended");
	CHECK(access("/dev/dune", F_OK) && errno == ENOENT, "/dev/dune without the module");
}

static void check_fakes(void)
{
	static const char *const fakes[] = {
		"/dev/null", "/dev/zero", "/dev/tty", "/tmp/fake", "/tmp/fifo", "/dev/full"
	};

	close(open("/tmp/fake", O_CREAT | O_RDWR, 0600));
	mkfifo("/tmp/fifo", 0600);
	for (unsigned int i = 0; i < sizeof(fakes) / sizeof(fakes[0]); i++) {
		if (access(fakes[i], F_OK))
			continue;
		CHECK(!mount(fakes[i], "/dev/kvm", NULL, MS_BIND, NULL), "mount of %s: %s", fakes[i],
		      strerrorname_np(errno));
		if (!strcmp(fakes[i], "/dev/tty"))
			refused(fakes[i], -ENXIO, "cannot open /dev/kvm");	/* no terminal */
		else
			refused(fakes[i], -ENODEV, "is not KVM's device");
		CHECK(!umount("/dev/kvm"), "umount");
	}
	loads("after fakes");
	unload_soon("fakes");

	CHECK(!rename("/dev/kvm", "/dev/kvm-hidden"), "rename");
	loads_alone("no /dev/kvm");
	int kvm = open("/dev/kvm-hidden", O_RDWR | O_CLOEXEC), vm = ioctl(kvm, KVM_CREATE_VM, 0);

	CHECK(vm >= 0, "a VM of KVM's: %s", strerrorname_np(errno));
	if (can_be_alone())
		refused("no /dev/kvm, but a VM", -EBUSY, "somebody else has");
	close(vm);
	close(kvm);
	/* Another name of the right device is as good. */
	CHECK(!mknod("/dev/kvm", S_IFCHR | 0600, makedev(10, 232)), "mknod");
	loads("with a device of its own");
	unload_soon("a device of its own");
	unlink("/dev/kvm");
	CHECK(!mkdir("/dev/kvm", 0700), "mkdir");
	refused("a folder", -EISDIR, "cannot open /dev/kvm");
	rmdir("/dev/kvm");
	CHECK(!symlink("kvm", "/dev/kvm"), "symlink");
	refused("a link to itself", -ELOOP, "cannot open /dev/kvm");
	unlink("/dev/kvm");
	CHECK(!rename("/dev/kvm-hidden", "/dev/kvm"), "rename");
}

/* The driver is not there: it is asked for; where that brings nothing, the module does without it. */
static void check_no_kvm(void)
{
	int error = unload(vendor_module());

	CHECK(!error, "unloading KVM: %s", strerrorname_np(-error));
	if (error)
		return;
	CHECK(access("/dev/kvm", F_OK), "/dev/kvm without KVM");
	CHECK(!mknod("/dev/kvm", S_IFCHR | 0600, makedev(10, 232)) || errno == EEXIST, "mknod");
	loads_alone("a device without driver");
	unlink("/dev/kvm");
	loads_alone("no KVM");
	load_kvm();
	loads("with KVM again");
	unload_soon("KVM came back");
}

static void check_limits(void)
{
	int next = dup(0), status;
	pid_t pid;

	close(next);
	pid = fork();
	if (!pid) {
		for (int limit = 0; limit <= next; limit++) {
			struct rlimit few = { .rlim_cur = limit, .rlim_max = 1024 };

			setrlimit(RLIMIT_NOFILE, &few);
			refused("too few descriptors", -EMFILE, "KVM does not create a VM");
		}
		fflush(stdout);
		_exit(check_failures != 0);
	}
	waitpid(pid, &status, 0);
	CHECK_EQUAL(status, 0, "loading with too few descriptors");
	/* An open file of the loader's is not needed. */
	loads("with descriptors");
	unload_soon("descriptors");
}

/* ---- a loader one of whose threads replaces descriptors ------------------------------------ */

static atomic_bool stop;
static int null_fd;

static void *storm(void *unused)
{
	while (!stop)
		for (int fd = 3; fd < 12; fd++)
			if (fd != kmsg) {
				dup2(null_fd, fd);
				if (fd & 1)
					close(fd);
			}
	return unused;
}

static void check_storm(void)
{
	unsigned int loaded = 0, failed = 0;
	pthread_t threads[2];

	null_fd = fcntl(open("/dev/null", O_RDWR), F_DUPFD, 100);
	for (int i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, storm, NULL);
	for (unsigned int i = 0; i < 25; i++) {
		int error = load();

		if (!error) {
			loaded++;
			unload_soon("a storm");
			continue;
		}
		failed++;
		CHECK(error == -EBADF || error == -EMFILE, "loading in a storm: %s", strerrorname_np(-error));
	}
	stop = true;
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	for (int fd = 3; fd < 12; fd++)
		if (fd != kmsg)
			close(fd);
	printf("in a storm: %u loaded, %u refused\n", loaded, failed);
	CHECK(loaded, "it never loaded in a storm");
}

int main(void)
{
	char text[256];

	setvbuf(stdout, NULL, _IOLBF, 0);
	module = read_file(MODULE, &module_size);
	kmsg = fcntl(open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC), F_DUPFD_CLOEXEC, 50);
	DIE_UNLESS(kmsg >= 0 && lseek(kmsg, 0, SEEK_END) >= 0, "/dev/kmsg");
	close(3);
	check_access();
	check_unload();
	check_fakes();
	check_limits();
	check_storm();
	check_no_kvm();
	log_lines(text);
	loads("at the end");
	CHECK_EQUAL(log_lines(text), 1, "lines that a good load logs");
	return check_result();
}
