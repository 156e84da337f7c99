// SPDX-License-Identifier: MIT
/*
 * The registers that gdb knows, in its order; gdb's manual, "i386 Features".
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "regs.h"

/* Offsets in struct user_fpregs_struct, which is FXSAVE's image: SDM, "Layout of the 64-bit Mode FXSAVE Map". */
#define FX_CONTROL	0
#define FX_STATUS	2
#define FX_TAGS		4
#define FX_OPCODE	6
#define FX_RIP		8
#define FX_RDP		16
#define FX_MXCSR	24
#define FX_ST(n)	(32 + 16 * (n))
#define FX_XMM(n)	(160 + 16 * (n))

#define TAG_EMPTY	3

enum place { GUEST, HOST, VECTOR, TAGS, VALUE };

static const struct reg {
	const char *name, *type;
	uint8_t size;		/* for gdb, in bytes */
	uint8_t place;		/* enum place */
	uint8_t stored;		/* bytes that there are of it */
	uint16_t at;		/* offset, or the value itself */
	const char *feature;	/* that begins with it */
} regs[] = {
#define G(reg, type)		{ #reg, type, 8, GUEST, 8, offsetof(struct debug_regs, reg), NULL }
#define S(name, value)		{ name, "int32", 4, VALUE, 4, value, NULL }
#define ST(n)			{ "st" #n, "i387_ext", 10, VECTOR, 10, FX_ST(n), NULL }
#define F(name, at, stored)	{ name, "int", 4, VECTOR, stored, at, NULL }
#define XMM(n)			{ "xmm" #n, "vec128", 16, VECTOR, 16, FX_XMM(n), NULL }
#define H(name, member, feature) { name, "int", 8, HOST, 8, offsetof(struct user_regs_struct, member), feature }
	{ "rax", "int64", 8, GUEST, 8, offsetof(struct debug_regs, rax), "core" },
	G(rbx, "int64"), G(rcx, "int64"), G(rdx, "int64"), G(rsi, "int64"), G(rdi, "int64"),
	G(rbp, "data_ptr"), G(rsp, "data_ptr"), G(r8, "int64"), G(r9, "int64"), G(r10, "int64"), G(r11, "int64"),
	G(r12, "int64"), G(r13, "int64"), G(r14, "int64"), G(r15, "int64"), G(rip, "code_ptr"),
	{ "eflags", "i386_eflags", 4, GUEST, 4, offsetof(struct debug_regs, rflags), NULL },
	/* As a program sees them outside Dune mode. */
	S("cs", 0x33), S("ss", 0x2b), S("ds", 0), S("es", 0), S("fs", 0), S("gs", 0),
	ST(0), ST(1), ST(2), ST(3), ST(4), ST(5), ST(6), ST(7),
	F("fctrl", FX_CONTROL, 2), F("fstat", FX_STATUS, 2),
	{ "ftag", "int", 4, TAGS, 1, FX_TAGS, NULL },
	F("fiseg", FX_RIP + 4, 2), F("fioff", FX_RIP, 4), F("foseg", FX_RDP + 4, 2), F("fooff", FX_RDP, 4),
	F("fop", FX_OPCODE, 2),
	{ "xmm0", "vec128", 16, VECTOR, 16, FX_XMM(0), "sse" },
	XMM(1), XMM(2), XMM(3), XMM(4), XMM(5), XMM(6), XMM(7), XMM(8), XMM(9), XMM(10), XMM(11), XMM(12),
	XMM(13), XMM(14), XMM(15),
	{ "mxcsr", "int", 4, VECTOR, 4, FX_MXCSR, NULL },
	H("orig_rax", orig_rax, "linux"),
	H("fs_base", fs_base, "segments"), H("gs_base", gs_base, NULL),
};

/* Types that a feature's registers have, before them. */
static const struct {
	const char *feature, *text;
} types[] = {
	{ "core",
	  "<flags id='i386_eflags' size='4'>"
	  "<field name='CF' start='0' end='0'/><field name='' start='1' end='1'/><field name='PF' start='2' end='2'/>"
	  "<field name='AF' start='4' end='4'/><field name='ZF' start='6' end='6'/><field name='SF' start='7' end='7'/>"
	  "<field name='TF' start='8' end='8'/><field name='IF' start='9' end='9'/><field name='DF' start='10' "
	  "end='10'/>"
	  "<field name='OF' start='11' end='11'/><field name='AC' start='18' end='18'/><field name='ID' start='21' "
	  "end='21'/>"
	  "</flags>" },
	{ "sse", "<vector id='v4f' type='ieee_single' count='4'/><vector id='v2d' type='ieee_double' count='2'/>"
		 "<vector id='v16i8' type='int8' count='16'/><vector id='v8i16' type='int16' count='8'/>"
		 "<vector id='v4i32' type='int32' count='4'/><vector id='v2i64' type='int64' count='2'/>"
		 "<union id='vec128'><field name='v4_float' type='v4f'/><field name='v2_double' type='v2d'/>"
		 "<field name='v16_int8' type='v16i8'/><field name='v8_int16' type='v8i16'/>"
		 "<field name='v4_int32' type='v4i32'/><field name='v2_int64' type='v2i64'/>"
		 "<field name='uint128' type='uint128'/></union>" },
};

#define NR_REGS		(sizeof(regs) / sizeof(regs[0]))

unsigned int regs_count(void)
{
	return NR_REGS;
}

unsigned int regs_size(unsigned int n)
{
	return regs[n].size;
}

static char *place_of(const struct registers *r, const struct reg *reg)
{
	const void *base = reg->place == GUEST ? (const void *)&r->guest : reg->place == HOST ? (const void *)&r->host :
			   (const void *)&r->vector;

	return (char *)base + reg->at;
}

/* The CPU keeps one bit for each register: is it in use? */
static uint32_t tag_word(uint8_t used)
{
	uint32_t word = 0;

	for (int i = 0; i < 8; i++)
		if (!(used & 1 << i))
			word |= TAG_EMPTY << 2 * i;
	return word;
}

void regs_get(const struct registers *r, unsigned int n, void *to)
{
	const struct reg *reg = &regs[n];
	uint32_t word = reg->at;

	memset(to, 0, reg->size);
	if (reg->place == TAGS)
		word = tag_word(*place_of(r, reg));
	if (reg->place == TAGS || reg->place == VALUE)
		memcpy(to, &word, reg->size);
	else
		memcpy(to, place_of(r, reg), reg->stored);
}

void regs_set(struct registers *r, unsigned int n, const void *from)
{
	const struct reg *reg = &regs[n];

	/* The kernel's number of the call that HR3 is in. */
	if (reg->place == TAGS || reg->place == VALUE || !strcmp(reg->name, "orig_rax"))
		return;
	memcpy(place_of(r, reg), from, reg->stored);
}

const char *regs_description(void)
{
	static char *text;
	size_t size;
	FILE *f;

	if (text)
		return text;
	f = open_memstream(&text, &size);
	if (!f)
		return "";
	fputs("<?xml version='1.0'?><!DOCTYPE target SYSTEM 'gdb-target.dtd'><target>"
	      "<architecture>i386:x86-64</architecture><osabi>GNU/Linux</osabi>", f);
	for (size_t i = 0; i < NR_REGS; i++) {
		if (regs[i].feature) {
			fprintf(f, "%s<feature name='org.gnu.gdb.i386.%s'>", i ? "</feature>" : "", regs[i].feature);
			for (size_t j = 0; j < sizeof(types) / sizeof(types[0]); j++)
				if (!strcmp(types[j].feature, regs[i].feature))
					fputs(types[j].text, f);
		}
		fprintf(f, "<reg name='%s' bitsize='%d' type='%s'/>", regs[i].name, regs[i].size * 8, regs[i].type);
	}
	fputs("</feature></target>", f);
	fclose(f);
	return text;
}
