// SPDX-License-Identifier: MIT
/*
 * Instructions that an ordinary program cannot make, or that the kernel makes for it, and exceptions of all kinds: what
 * comes of each, with all that a signal handler is told. It prints the same wherever it runs.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

static sigjmp_buf back;
static siginfo_t info;
static greg_t trap, error, cr2;

static void on_signal(int signo, siginfo_t *i, void *context)
{
	const greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;

	(void)signo;
	info = *i;
	trap = r[REG_TRAPNO];
	error = r[REG_ERR];
	cr2 = trap == 14 ? r[REG_CR2] : 0;
	siglongjmp(back, 1);
}

#define TRY(name, ...) do {											\
	if (!sigsetjmp(back, 1)) {										\
		__VA_ARGS__;											\
		printf("%s: goes on\n", name);									\
	} else {												\
		printf("%s: signal %d code %d trap %llu error %#llx%s\n", name, info.si_signo, info.si_code,	\
		       trap, error, trap == 14 && (void *)cr2 != info.si_addr ? ", another address" : "");	\
	}													\
} while (0)

#define ONE(text, ...)	TRY(text, __asm__ volatile(text : : __VA_ARGS__ : "rax", "rcx", "rdx", "memory"))

struct table_register {
	uint16_t limit;
	uint64_t base;
} __attribute__((packed));

/* Else the CPU's own values are seen, but for VT-x, where libdune has the CPU forbid these in ring 3 too. */
static bool kernel_has_umip(void)
{
	FILE *cpus = fopen("/proc/cpuinfo", "re");
	bool found = false;
	char line[8192];

	while (cpus && !found && fgets(line, sizeof(line), cpus))
		found = strstr(line, " umip") != NULL;
	if (cpus)
		fclose(cpus);
	return found;
}

/* Behind a page that can be written comes one that cannot. */
static uint16_t *page_end(void)
{
	char *p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	mprotect(p + 4096, 4096, PROT_NONE);
	return (uint16_t *)(p + 4096);
}

static void descriptor_tables(void)
{
	struct table_register t;
	static struct table_register at[2];
	static const uint16_t constant[4] = { 1 };
	uint16_t *end = page_end();
	uint64_t word, words[2];
	uint16_t half;

	TRY("sgdt", __asm__ volatile("sgdt %0" : "=m"(t)); printf("%x %lx\n", t.limit, t.base));
	TRY("sidt", __asm__ volatile("sidt %0" : "=m"(t)); printf("%x %lx\n", t.limit, t.base));
	TRY("sidt, SIB", __asm__ volatile("sidt 16(%0,%1,8)" : : "r"((unsigned long)at - 24), "r"(1L) : "memory");
	    printf("%x %lx\n", at[0].limit, at[0].base));
	TRY("sgdt, RIP", __asm__ volatile("sgdt %0" : "=m"(at[1])); printf("%x %lx\n", at[1].limit, at[1].base));
	TRY("sldt", word = -1; __asm__ volatile("sldt %0" : "+r"(word)); printf("%lx\n", word));
	TRY("str", word = -1; __asm__ volatile("str %w0" : "+r"(word)); printf("%lx\n", word));
	TRY("smsw", word = -1; __asm__ volatile("smsw %0" : "+r"(word)); printf("%lx\n", word));
	TRY("smsw, 32", word = -1; __asm__ volatile("smsw %k0" : "+r"(word)); printf("%lx\n", word));
	TRY("smsw, 16", word = -1; __asm__ volatile("smsw %w0" : "+r"(word)); printf("%lx\n", word));
	TRY("smsw, r10", __asm__ volatile("mov $-1, %%r10; smsw %%r10; mov %%r10, %0" : "=r"(word) : : "r10");
	    printf("%lx\n", word));
	TRY("smsw, memory", half = 0; __asm__ volatile("smsw %0" : "+m"(half)); printf("%x\n", half));
	words[0] = -1;
	words[1] = -1;
	TRY("smsw beside others", __asm__ volatile("smsw (%0)" : : "r"(words) : "memory");
	    printf("%lx %lx\n", words[0], words[1]));
	TRY("sldt, str at a page's end", __asm__ volatile("sldt %0; str %1" : "=m"(end[-1]), "=m"(end[-2]));
	    printf("%x %x\n", end[-1], end[-2]));
	TRY("sgdt across it", __asm__ volatile("sgdt (%0)" : : "r"(end - 2) : "memory"));
	TRY("smsw to a constant", __asm__ volatile("smsw (%0)" : : "r"(constant) : "memory"));
	TRY("smsw, not canonical", __asm__ volatile("smsw (%0)" : : "r"(1L << 62) : "memory"));
	TRY("smsw, nowhere", __asm__ volatile("smsw (%0)" : : "r"(64L) : "memory"));
	TRY("sgdt, FS", __asm__ volatile("sgdt %%fs:(%0)" : : "r"(-4096L * 4096) : "memory"));
}

static void privileged(void)
{
	uint64_t word;

	ONE("cli");
	ONE("sti");
	ONE("hlt");
	ONE("clts");
	ONE("invd");
	ONE("wbinvd");
	ONE("swapgs");
	ONE("mov %%cr0, %%rax");
	ONE("mov %%cr3, %%rax");
	ONE("mov %%cr4, %%rax");
	ONE("mov %%dr7, %%rax");
	ONE("mov %0, %%cr3", "r"(0L));
	ONE("invlpg (%0)", "r"(&word));
	ONE("lidt (%0)", "r"(&word));
	ONE("ltr %w0", "r"(0L));
	ONE("mov $0x10, %%ecx; rdmsr");
	ONE("mov $0x10, %%ecx; xor %%eax, %%eax; xor %%edx, %%edx; wrmsr");
	ONE("xor %%ecx, %%ecx; rdpmc");
	ONE("outb %%al, $0x80");
	ONE("inb $0x80, %%al");
	ONE("sysretq");
	TRY("popf", __asm__ volatile("pushf; xorl $0x3200, (%%rsp); popf; pushf; pop %0" : "=r"(word));
	    printf("%lx\n", word & 0x3200));
}

static void exceptions(void)
{
	static const char constant[] = "text";
	volatile unsigned long low = 0;	/* the compiler knows that nothing is at 8 */

	ONE("int3");
	ONE("int $0");
	ONE("int $1");
	ONE("int $2");
	ONE("int $8");
	ONE("int $13");
	ONE("int $14");
	ONE("int $18");
	ONE("int $0x20");
	ONE("int $0xff");
	ONE("ud2");
	ONE("div %0", "r"(0));
	TRY("read", (void)*(volatile int *)(low + 8));
	TRY("write", *(volatile int *)(low + 8) = 1);
	TRY("execute", ((void (*)(void))16)());
	TRY("read the kernel", (void)*(volatile int *)0xffffffff81000000);
	TRY("write to the kernel", *(volatile int *)0xffff888000000000 = 1);
	TRY("execute the kernel", ((void (*)(void))0xffffffff81000000)());
	TRY("write to a constant", *(volatile char *)constant = 1);
	TRY("execute the stack", char code[8] = { 0xc3 }; __asm__ volatile("call *%0" : : "r"(code) : "memory"));
	TRY("not canonical", (void)*(volatile int *)0x8000000000000000);
	TRY("jump to not canonical", ((void (*)(void))0x8000000000000000)());
	TRY("read the vsyscall page", (void)*(volatile int *)0xffffffffff600400);
	TRY("time() there", printf("%d\n", ((long (*)(long *))0xffffffffff600400)(NULL) > 1000000));
	TRY("gettimeofday() there", long t[2];
	    printf("%ld\n", ((long (*)(long *, long *))0xffffffffff600000)(t, NULL)));
	/* Kernels differ in what they tell the handler. */
	if (!sigsetjmp(back, 1))
		printf("gettimeofday() to nowhere: %ld\n", ((long (*)(long, long *))0xffffffffff600000)(8, NULL));
	else
		printf("gettimeofday() to nowhere: signal %d\n", info.si_signo);
}

/* Bochs 2.7 raises the step's exception in the kernel's entry of system calls, which complains. */
static bool is_bochs(void)
{
	FILE *version = fopen("/sys/class/dmi/id/bios_version", "re");
	char line[64] = "";

	if (version) {
		if (!fgets(line, sizeof(line), version))
			line[0] = '\0';
		fclose(version);
	}
	return strstr(line, "Bochs");
}

static void steps(void)
{
	ONE("pushf; orl $0x100, (%%rsp); popf; nop; nop");
	if (is_bochs())
		return;
	TRY("a step over a call", __asm__ volatile("pushf; orl $0x100, (%%rsp); popf; syscall; nop; nop"
						   : : "a"(SYS_getpid) : "rcx", "r11", "memory"));
}

static long call_with_flags(unsigned long flags)
{
	long ret;

	__asm__ volatile("pushf; orq %2, (%%rsp); popf; syscall; pushf; andl $~0x44400, (%%rsp); popf"
			 : "=a"(ret) : "0"(SYS_getpid), "r"(flags) : "rcx", "r11", "memory", "cc");
	return ret;
}

/* State of the thread's own that whoever makes its calls may trip over. */
static void own_state(void)
{
	static const struct {
		const char *name;
		unsigned long bits;
	} flags[] = { { "DF", 0x400 }, { "NT", 0x4000 }, { "AC", 0x40000 }, { "all of them", 0x44400 } };
	unsigned long fs, gs;
	long ret;

	for (volatile unsigned int i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
		TRY("a call with flags", printf("%s: %d\n", flags[i].name, call_with_flags(flags[i].bits) == getpid()));
	TRY("a call with other bases",
	    __asm__ volatile("rdfsbase %0; rdgsbase %1; wrfsbase %3; wrgsbase %3; syscall; wrfsbase %0; wrgsbase %1"
			     : "=&r"(fs), "=&r"(gs), "=a"(ret)
			     : "r"(0x7ffffffff000), "2"(SYS_getpid) : "rcx", "r11", "memory");
	    printf("%d\n", ret == getpid()));
	ONE("wrgsbase %0", "r"(1UL << 63));
	ONE("xor %%ecx, %%ecx; xgetbv; xsetbv");
	ONE("mov $1, %%ecx; xor %%eax, %%eax; xor %%edx, %%edx; xsetbv");
	TRY("a call behind MOV SS", __asm__ volatile("mov %%ss, %%ecx; mov %%ecx, %%ss; syscall" : "=a"(ret)
						     : "0"(SYS_getpid) : "rcx", "r11", "memory");
	    printf("%d\n", ret == getpid()));
	ONE("mov %%ss, %%eax; mov %%eax, %%ss; int3");
	ONE("mov %%ss, %%eax; mov %%eax, %%ss; ud2");
	TRY("unaligned", __asm__ volatile("pushf; orl $0x40000, (%%rsp); popf; mov 1(%%rsp), %%rax; pushf;"
					  "andl $~0x40000, (%%rsp); popf" : : : "rax", "memory", "cc"));
	/* It is there or not; in either case calls go on. */
	if (!sigsetjmp(back, 1))
		__asm__ volatile("wrpkru" : : "a"(0), "c"(0), "d"(0));
	TRY("a call behind WRPKRU", printf("%d\n", call_with_flags(0) == getpid()));
}

/* Each leads to the next instruction, by Linux's own selectors. */
static void far(void)
{
	TRY("iretq",
	    __asm__ volatile("mov %%rsp, %%rax; push $0x2b; push %%rax; pushf; push $0x33; lea 1f(%%rip), %%rax;"
			     "push %%rax; iretq; 1:"
			     :
			     :
			     : "rax", "memory"));
	TRY("far ret", __asm__ volatile("push $0x33; lea 1f(%%rip), %%rax; push %%rax; lretq; 1:"
					:
					:
					: "rax", "memory"));
	TRY("far jmp", struct { uint64_t to; uint16_t cs; } __attribute__((packed)) p = { 0, 0x33 };
	    __asm__ volatile("lea 1f(%%rip), %%rax; mov %%rax, %0; rex.w ljmp *%0; 1:" : "+m"(p) : : "rax", "memory"));
	TRY("iretq to ring 0", __asm__ volatile("mov %%rsp, %%rax; push $0; push %%rax; pushf; push $0x10;"
						"lea 1f(%%rip), %%rax; push %%rax; iretq; 1:" : : : "rax", "memory"));
	TRY("iretq to not canonical", __asm__ volatile("mov %%rsp, %%rax; push $0x2b; push %%rax; pushf; push $0x33;"
						       "push %0; iretq" : : "r"(1UL << 63) : "rax", "memory"));
	TRY("segments", unsigned int cs, ss; __asm__("mov %%cs, %0; mov %%ss, %1" : "=r"(cs), "=r"(ss));
	    printf("%x %x\n", cs, ss));
}

/* Numbers that libdune has for itself in ring 0. */
static void numbers(void)
{
	for (unsigned long i = 0; i < 8; i++) {
		long ret;

		__asm__ volatile("syscall" : "=a"(ret) : "0"(0x6c69624400000000 + i), "D"(0), "S"(0), "d"(0)
				 : "rcx", "r11", "memory");
		printf("number %lx: %s\n", 0x6c69624400000000 + i, ret < 0 ? "refused" : "done");
	}
}

int main(void)
{
	const struct sigaction action = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO };
	static const int signals[] = { SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV };

	setvbuf(stdout, NULL, _IONBF, 0);
	for (unsigned int i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		sigaction(signals[i], &action, NULL);
	if (kernel_has_umip())
		descriptor_tables();
	privileged();
	exceptions();
	steps();
	own_state();
	far();
	numbers();
	return 0;
}
