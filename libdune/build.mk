# SPDX-License-Identifier: MIT
#
# libdune: build/lib/libdune.a, build/lib/libdune.so, build/lib/pkgconfig/libdune.pc

LIBDUNE_VERSION := 1.0
LIBDUNE_SRC := init.c region.c enter.c pgtable.c page.c walk.c precise.c vm.c lookup.c merge.c cow.c scan.c space.c \
	trap.c user.c syscall.c output.c thread.c exec.c program.c signal.c sigframe.c sigreturn.c seccomp.c dispatch.c listing.c \
	format.c log.c handlers.c debug.c dump.c symbol.c procmap.c procmap-line.c \
	x86_64/desc.c x86_64/entry.S x86_64/trampoline.S
LIBDUNE_OBJ := $(addprefix $(B)/pic/libdune/,$(addsuffix .o,$(basename $(LIBDUNE_SRC))))
LIBDUNE_OFFSETS := $(B)/libdune/asm-offsets.h

# The program's vector registers, red zone and thread-local storage are live whenever libdune
# runs, and it must do without any C library.
LIBDUNE_CPPFLAGS := -Ilibdune -Ilibdune/x86_64 -I$(B)/libdune
LIBDUNE_CFLAGS := -ffreestanding -mgeneral-regs-only -mno-red-zone -fno-stack-protector \
	-fcf-protection=none -fno-tree-loop-distribute-patterns -fvisibility=hidden -Wno-parentheses

# The same objects make both libraries: there is nothing that -fPIC would cost here.
$(LIBDUNE_OBJ): CPPFLAGS += $(LIBDUNE_CPPFLAGS)
$(LIBDUNE_OBJ): CFLAGS += $(LIBDUNE_CFLAGS)
$(LIBDUNE_OBJ): | $(LIBDUNE_OFFSETS)
$(B)/pic/libdune/x86_64/entry.o $(B)/pic/libdune/x86_64/trampoline.o: $(LIBDUNE_OFFSETS)

$(LIBDUNE_OFFSETS): libdune/asm-offsets.c libdune/internal.h libdune/layout.h libdune/include/dune.h libdune/include/dune-vm.h kern/uapi/linux/dune.h
	$(call say,GEN)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(LIBDUNE_CPPFLAGS) $(CFLAGS) $(LIBDUNE_CFLAGS) -S -o $@.s $<
	$(Q)sed -n 's/^->\([^ ]*\) \$$*\(.*\)/#define \1 \2/p' $@.s > $@

# With libelf and the C library: in the static library a member that is linked when it is used, and not
# in the shared one.
LIBDUNE_ELF := $(B)/pic/libdune/elf.o
$(LIBDUNE_ELF): CPPFLAGS += -Ilibdune

LIBS += $(B)/lib/libdune.a $(B)/lib/libdune-elf.a $(B)/lib/libdune.so $(B)/lib/pkgconfig/libdune.pc

$(B)/lib/libdune.a: $(LIBDUNE_OBJ) $(LIBDUNE_ELF)
$(B)/lib/libdune-elf.a: $(LIBDUNE_ELF)
$(B)/lib/libdune.a $(B)/lib/libdune-elf.a:
	$(call say,AR)
	@mkdir -p $(@D)
	$(Q)rm -f $@
	$(Q)$(AR) rcs $@ $^

$(B)/lib/libdune.so: $(LIBDUNE_OBJ) libdune/libdune.map
	$(call say,LINK)
	@mkdir -p $(@D)
	$(Q)$(CC) -shared -nostdlib $(LDFLAGS) -Wl,-soname,libdune.so.1 -Wl,-z,defs -Wl,-z,now -Wl,-z,relro \
		-Wl,--version-script=libdune/libdune.map -o $@ $(LIBDUNE_OBJ)
	$(Q)ln -sf libdune.so $(@D)/libdune.so.1

PREFIX ?= /usr/local
$(B)/lib/pkgconfig/libdune.pc: libdune/libdune.pc.in libdune/build.mk
	$(call say,GEN)
	@mkdir -p $(@D)
	$(Q)sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@VERSION@|$(LIBDUNE_VERSION)|' $< > $@
