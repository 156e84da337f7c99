// SPDX-License-Identifier: MIT
/*
 * What the kernel does for programs at exceptions of ring 3, and so libdune where the program is in ring 3 of the
 * guest: the instructions that UMIP forbids, and the vsyscall page.  HR3.
 */
#include "host/calls.h"
#include "host/host.h"
#include "host/signals.h"

/* ---- SGDT, SIDT, SLDT, SMSW, STR ---- */

/* What they give on Linux (arch/x86's documentation of UMIP): addresses that no program could use. */
#define GDT_BASE	0xfffffffffffe0000UL
#define IDT_BASE	0xffffffffffff0000UL
#define TASK_REGISTER	0x40
#define MACHINE_STATUS	0x80050033UL	/* PG AM WP NE ET MP PE */

#define INSTRUCTION_MAX	15

struct table_register {
	uint16_t limit;
	uint64_t base;
} __attribute__((packed));

/* An instruction of 64-bit code while it is decoded.  SDM, "Instruction Format". */
struct instruction {
	uint8_t bytes[INSTRUCTION_MAX];
	unsigned int size;	/* that could be read */
	unsigned int at;
	bool operand16, address32;
	unsigned long base;	/* of its segment */
	uint8_t rex, modrm;
};

#define REX_W	8
#define REX_R	4
#define REX_X	2
#define REX_B	1

static unsigned int mod(const struct instruction *i)
{
	return i->modrm >> 6;
}

static unsigned int register_of(const struct instruction *i, unsigned int number, unsigned int rex_bit)
{
	return number | (i->rex & rex_bit ? 8 : 0);
}

static bool next(struct instruction *i, uint8_t *byte)
{
	if (i->at == i->size)
		return false;
	*byte = i->bytes[i->at++];
	return true;
}

static bool next_signed(struct instruction *i, unsigned int bytes, long *value)
{
	int32_t word = 0;

	if (i->at + bytes > i->size)
		return false;
	memcpy(&word, i->bytes + i->at, bytes);
	i->at += bytes;
	*value = bytes == 1 ? (int8_t)word : word;
	return true;
}

static void read_instruction(struct instruction *i, unsigned long rip)
{
	unsigned long here = PAGE_SIZE - (rip & (PAGE_SIZE - 1));

	memset(i, 0, sizeof(*i));
	if (!__dune_copy_in(i->bytes, rip, INSTRUCTION_MAX))
		i->size = INSTRUCTION_MAX;
	else if (here < INSTRUCTION_MAX && !__dune_copy_in(i->bytes, rip, here))
		i->size = here;
}

/* Up to the first byte of the opcode, which is returned; 0: it is not one of ours. */
static uint8_t decode_prefixes(struct instruction *i)
{
	uint8_t byte;

	while (next(i, &byte)) {
		switch (byte) {
		case 0x66:
			i->operand16 = true;
			break;
		case 0x67:
			i->address32 = true;
			break;
		case 0x64:
		case 0x65:
			i->base = byte == 0x64 ? rdfsbase() : rdgsbase();
			break;
		case 0x26:
		case 0x2e:
		case 0x36:
		case 0x3e:
		case 0xf2:
		case 0xf3:
			break;
		case 0x40 ... 0x4f:
			i->rex = byte;	/* only right before the opcode */
			return next(i, &byte) ? byte : 0;
		default:
			return byte;
		}
	}
	return 0;
}

/* What comes behind ModRM; *@address is where it leads.  SDM, "Addressing-Mode Encoding of ModR/M and SIB Bytes". */
static bool decode_address(struct instruction *i, const uint64_t *registers, unsigned long *address)
{
	unsigned int rm = i->modrm & 7, index;
	unsigned long sum = 0;
	long displacement = 0;
	bool relative = false;
	uint8_t sib;

	if (rm == 4) {
		if (!next(i, &sib))
			return false;
		index = register_of(i, sib >> 3 & 7, REX_X);
		if (index != 4)
			sum = registers[index] << (sib >> 6);
		if ((sib & 7) != 5 || mod(i))
			sum += registers[register_of(i, sib & 7, REX_B)];
		else if (!next_signed(i, 4, &displacement))
			return false;
	} else if (rm == 5 && !mod(i)) {
		relative = true;
		if (!next_signed(i, 4, &displacement))
			return false;
	} else {
		sum = registers[register_of(i, rm, REX_B)];
	}
	if (mod(i) && !next_signed(i, mod(i) == 1 ? 1 : 4, &displacement))
		return false;
	sum += displacement;
	if (relative)
		sum += registers[offsetof(struct guest_regs, rip) / sizeof(uint64_t)] + i->at;
	if (i->address32)
		sum = (uint32_t)sum;
	*address = sum + i->base;
	return true;
}

/* Behind 0F: what the instruction stores, and how many bytes of it; 0: it is none of these. */
static unsigned int stored(const struct instruction *i, uint8_t opcode, void *value)
{
	unsigned int operation = i->modrm >> 3 & 7;
	unsigned int size = mod(i) != 3 || i->operand16 ? 2 : i->rex & REX_W ? 8 : 4;
	struct table_register table = { 0 };
	uint64_t word;

	if (opcode == 1 && operation < 2 && mod(i) != 3) {
		table.base = operation ? IDT_BASE : GDT_BASE;
		memcpy(value, &table, sizeof(table));
		return sizeof(table);
	}
	if (opcode == 0 && operation == 0)
		word = 0;		/* no local descriptor table */
	else if (opcode == 0 && operation == 1)
		word = TASK_REGISTER;
	else if (opcode == 1 && operation == 4)
		word = MACHINE_STATUS;
	else
		return 0;
	memcpy(value, &word, size);
	return size;
}

static bool emulate_store(struct dune_thread *t)
{
	uint64_t *registers = (uint64_t *)t->vcpu.regs;
	char value[sizeof(struct table_register)];
	unsigned long address;
	struct instruction i;
	unsigned int size;
	uint8_t opcode;

	read_instruction(&i, t->vcpu.regs->rip);
	if (decode_prefixes(&i) != 0x0f || !next(&i, &opcode) || !next(&i, &i.modrm))
		return false;
	size = stored(&i, opcode, value);
	if (!size)
		return false;
	if (mod(&i) == 3) {
		memcpy(&registers[register_of(&i, i.modrm & 7, REX_B)], value, size);
	} else if (!decode_address(&i, registers, &address)) {
		return false;
	} else if (out_of_bounds(address, size) || !__dune_copy_safely(t, (void *)address, value, size)) {
		__dune_signal_fault(t, SIGSEGV, SEGV_MAPERR, address, PF_WRITE | PF_USER);
		return true;
	}
	t->vcpu.regs->rip += i.at;
	return true;
}

/* ---- the vsyscall page ---- */

#define VSYSCALL	0xffffffffff600000UL
#define VSYSCALL_SIZE	1024
#define VSYSCALL_WRITES	16	/* at most, at each argument: struct timeval */

static bool vsyscall_seen;	/* the kernel was not told to do without it */

static void find_vsyscall(const struct dune_procmap_entry *entry, void *seen)
{
	if (entry->begin == VSYSCALL)
		*(bool *)seen = true;
}

/* Three functions, each as the call that it once was; a return address is on the stack. */
static bool emulate_vsyscall(struct dune_thread *t)
{
	static const unsigned int calls[] = { __NR_gettimeofday, __NR_time, __NR_getcpu };
	struct guest_regs *r = t->vcpu.regs;
	unsigned long number = (r->rip - VSYSCALL) / VSYSCALL_SIZE, back;
	long result;

	if (r->rip - VSYSCALL >= PAGE_SIZE)
		return false;
	if (!vsyscall_seen)
		dune_procmap_iterate(find_vsyscall, &vsyscall_seen);
	if (!vsyscall_seen)
		return false;
	result = -EFAULT;
	if (number < ARRAY_SIZE(calls) && r->rip % VSYSCALL_SIZE == 0 && !out_of_bounds(r->rsp, sizeof(back)) &&
	    !out_of_bounds(r->rdi, VSYSCALL_WRITES) && !out_of_bounds(r->rsi, VSYSCALL_WRITES) &&
	    !__dune_copy_in(&back, r->rsp, sizeof(back)))
		result = dune_syscall3(calls[number], r->rdi, r->rsi, r->rdx);
	if (result == -EFAULT) {
		__dune_signal_forced(t, "a call of the vsyscall page cannot be made");
		return true;
	}
	r->rax = result;
	r->rip = back;
	r->rsp += sizeof(back);
	return true;
}

bool __dune_emulate(struct dune_thread *t, const struct raise *raise)
{
	if (!(raise->tf->cs & 3))
		return false;
	__dune_load_trap_frame(t, raise->tf);
	if (raise->vector == T_GPFLT && !raise->tf->err)
		return emulate_store(t);
	return raise->vector == T_PGFLT && raise->addr == raise->tf->rip && emulate_vsyscall(t);
}
