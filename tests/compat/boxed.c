/* SPDX-License-Identifier: MIT */
/* What tests/compat/sandbox.c runs in ring 3: no library; bss, data, a stack, calls, one of which is not allowed. */
static int zero[3000], seven = 7;

static long call(long nr, long a, long b, long c)
{
	long ret;

	__asm__ volatile("syscall" : "=a"(ret) : "a"(nr), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
	return ret;
}

/* RSP: the number of arguments, and the arguments. */
__attribute__((used)) static void run(long *stack)
{
	const char *text = (const char *)stack[2];
	long length = 0, sum = 0, bad;
	char *heap;

	while (text[length])
		length++;
	for (int i = 0; i < 3000; i++)
		sum += zero[i]++;
	call(1, 1, (long)text, length);
	heap = (char *)call(9, 0, 3 << 12, 3);
	heap[2 << 12] = 5;
	bad = call(2, (long)"/etc/passwd", 0, 0);
	call(231, stack[0] == 2 && !sum && zero[2999] == 1 && bad == -1 ? seven + heap[2 << 12] : 1, 0, 0);
}

__asm__(".globl _start; _start: mov %rsp, %rdi; and $-16, %rsp; call run; hlt");
