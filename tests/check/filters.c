// SPDX-License-Identifier: MIT
/*
 * Seccomp filters by chance: what becomes of each, and of a call that it judges, on standard output.  Outside and in a
 * checked program that is the same (tests/check/filters-differ).
 *
 *	filters COUNT SEED
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define LONGEST	48

static uint64_t state;

static uint32_t chance(uint32_t n)
{
	state = state * 6364136223846793005UL + 1442695040888963407UL;
	return (state >> 33) % n;
}

static uint32_t number(void)
{
	static const uint32_t some[] = { 0, 1, 2, 31, 32, 0x7fffffff, 0x80000000, 0xffffffff };

	return chance(2) ? some[chance(8)] : chance(0x7fffffff) * 2 + chance(2);
}

/* Of the last ones the kernel accepts none. */
static const uint16_t codes[] = {
	BPF_LD | BPF_W | BPF_ABS, BPF_LD | BPF_W | BPF_LEN, BPF_LDX | BPF_W | BPF_LEN, BPF_LD | BPF_IMM,
	BPF_LDX | BPF_IMM, BPF_LD | BPF_MEM, BPF_LDX | BPF_MEM, BPF_ST, BPF_ST, BPF_STX, BPF_STX, BPF_MISC | BPF_TAX,
	BPF_MISC | BPF_TXA, BPF_RET | BPF_K, BPF_ALU | BPF_ADD | BPF_K, BPF_ALU | BPF_ADD | BPF_X,
	BPF_ALU | BPF_SUB | BPF_K, BPF_ALU | BPF_SUB | BPF_X, BPF_ALU | BPF_MUL | BPF_K, BPF_ALU | BPF_MUL | BPF_X,
	BPF_ALU | BPF_DIV | BPF_K, BPF_ALU | BPF_DIV | BPF_X, BPF_ALU | BPF_AND | BPF_K, BPF_ALU | BPF_AND | BPF_X,
	BPF_ALU | BPF_OR | BPF_K, BPF_ALU | BPF_OR | BPF_X, BPF_ALU | BPF_XOR | BPF_K, BPF_ALU | BPF_XOR | BPF_X,
	BPF_ALU | BPF_LSH | BPF_K, BPF_ALU | BPF_LSH | BPF_X, BPF_ALU | BPF_RSH | BPF_K, BPF_ALU | BPF_RSH | BPF_X,
	BPF_ALU | BPF_NEG, BPF_JMP | BPF_JA, BPF_JMP | BPF_JEQ | BPF_K, BPF_JMP | BPF_JEQ | BPF_X,
	BPF_JMP | BPF_JGE | BPF_K, BPF_JMP | BPF_JGE | BPF_X, BPF_JMP | BPF_JGT | BPF_K, BPF_JMP | BPF_JGT | BPF_X,
	BPF_JMP | BPF_JSET | BPF_K, BPF_JMP | BPF_JSET | BPF_X,
	BPF_ALU | BPF_MOD | BPF_K, BPF_LD | BPF_B | BPF_ABS, BPF_LD | BPF_W | BPF_IND, BPF_RET | BPF_X, 0xffff,
};
#define REFUSED	5

/* @left: instructions behind it. */
static struct sock_filter instruction(unsigned int left, bool valid)
{
	const unsigned int n = sizeof(codes) / sizeof(codes[0]) - (valid ? REFUSED : 0);
	struct sock_filter i = { .code = codes[chance(n)], .k = number() };

	if (valid && i.code == (BPF_RET | BPF_K))
		i.code = BPF_ALU | BPF_NEG;
	if (BPF_CLASS(i.code) == BPF_ST || BPF_CLASS(i.code) == BPF_STX || BPF_MODE(i.code) == BPF_MEM)
		i.k = BPF_CLASS(i.code) == BPF_ALU || BPF_CLASS(i.code) == BPF_JMP ? i.k : chance(valid ? 4 : 18);
	if (i.code == (BPF_LD | BPF_W | BPF_ABS))
		i.k = valid ? chance(8) * 4 + 16 : chance(80);
	if (i.code == (BPF_ALU | BPF_DIV | BPF_K) && valid)
		i.k |= 1;
	if ((i.code == (BPF_ALU | BPF_LSH | BPF_K) || i.code == (BPF_ALU | BPF_RSH | BPF_K)) && valid)
		i.k &= 31;
	if (BPF_CLASS(i.code) == BPF_JMP) {
		i.jt = chance(valid ? left : left + 2);
		i.jf = chance(valid ? left : left + 2);
		if (i.code == (BPF_JMP | BPF_JA))
			i.k = i.jt;
	}
	return i;
}

static void try(unsigned int n)
{
	struct sock_filter filter[LONGEST + 16];
	struct sock_fprog program = { .filter = filter };
	const bool valid = chance(8);
	const unsigned int length = 1 + chance(LONGEST);
	unsigned int at = 0;
	char line[80];
	long result;

	filter[at++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
	filter[at++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 1, 0);
	filter[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	/* Words that are read are mostly written. */
	for (unsigned int i = 0; i < 4 && chance(16); i++)
		filter[at++] = (struct sock_filter)BPF_STMT(BPF_ST, i);
	for (unsigned int i = 0; i < length; i++)
		filter[at++] = instruction(length - i, valid);
	filter[at++] = (struct sock_filter)BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0x7ff);
	filter[at++] = (struct sock_filter)BPF_STMT(BPF_ALU | BPF_OR | BPF_K, SECCOMP_RET_ERRNO);
	filter[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_A, 0);
	program.len = at;
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	result = prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
	if (result) {
		snprintf(line, sizeof(line), "%u: refused, %d\n", n, errno);
	} else {
		result = syscall(SYS_getppid, number(), number(), number(), number(), number(), number());
		snprintf(line, sizeof(line), "%u: %d\n", n, result < 0 ? errno : 0);
	}
	_exit(write(STDOUT_FILENO, line, strlen(line)) < 0);
}

int main(int argc, char **argv)
{
	unsigned long count = argc > 1 ? strtoul(argv[1], NULL, 0) : 100;
	unsigned long seed = argc > 2 ? strtoul(argv[2], NULL, 0) : 1;

	for (unsigned int n = 0; n < count; n++) {
		char line[80];
		int status;
		pid_t child;

		state = seed * 1000003 + n;
		child = fork();
		if (!child)
			try(n);
		waitpid(child, &status, 0);
		snprintf(line, sizeof(line), "%u: status %x\n", n, status & ~0x80);
		if (write(STDOUT_FILENO, line, strlen(line)) < 0)
			return 1;
	}
	return 0;
}
