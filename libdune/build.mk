# SPDX-License-Identifier: MIT
#
# libdune: build/lib/libdune.a, build/lib/libdune.so, build/lib/pkgconfig/libdune.pc; libdune-elf is the part with
# libelf, libdune-gc that with libgc

LIBDUNE_VERSION := 1.0
LIBDUNE_SONAME := libdune.so.$(basename $(LIBDUNE_VERSION))
# The rooms, from the top: each may use those behind it (scripts/layers).
LIBDUNE_COMPAT := compat/compat-inline.c compat/full.c compat/ranges.c compat/variables.c compat/iterate.c \
	compat/apic.c
LIBDUNE_API := api/inline.c api/init.c api/pin.c api/outside.c api/enter.c api/leave.S api/handlers.c
LIBDUNE_HOST := host/run.S host/vcpu.c host/exits.c host/emulate.c host/debug.c host/report.c \
	host/calls/table.c host/calls/mappings.c host/calls/operands.c host/calls/uaccess.c host/calls/check.c \
	host/calls/resolve.c host/calls/paths.c \
	host/calls/robust.c host/calls/callbacks.c host/calls/filters.c host/calls/self.c host/calls/clone.c \
	host/calls/exec.c host/calls/seccomp.c host/calls/dispatch.c host/calls/listing.c host/calls/maps.c \
	host/calls/pagemap.c \
	host/calls/mlock.c host/calls/ptrace.c host/calls/tid.c host/calls/limits.c \
	host/signals/actions.c host/signals/doing.c host/signals/deliver.c host/signals/sigreturn.c
LIBDUNE_GUEST := guest/entry.S guest/handlers.c guest/trap.c guest/ring3.c guest/desc.c
LIBDUNE_MEMORY := memory/walk.c memory/page.c memory/granule.c memory/map.c memory/precise.c memory/cow.c \
	memory/merge.c memory/lookup.c memory/scan.c memory/dirty.c memory/written.c memory/space.c
LIBDUNE_THREADS := threads/region.c threads/area.c threads/lock.c
LIBDUNE_ENGINE := engine/dune.c engine/gate.S
LIBDUNE_BASE := base/sys.S base/state.c base/memory.c base/fd.c base/mask.c base/die.c base/copy.c base/traced.c \
	base/print.c base/error.c base/format.c base/symbol.c base/dump.c base/procmap.c base/procmap-line.c base/program.c base/object.c base/syscalls.c
LIBDUNE_SRC := $(LIBDUNE_COMPAT) $(LIBDUNE_API) $(LIBDUNE_HOST) $(LIBDUNE_GUEST) $(LIBDUNE_MEMORY) $(LIBDUNE_THREADS) \
	$(LIBDUNE_ENGINE) $(LIBDUNE_BASE)
LIBDUNE_OBJ := $(addprefix $(B)/pic/libdune/,$(addsuffix .o,$(basename $(LIBDUNE_SRC))))
LIBDUNE_OFFSETS := $(B)/libdune/asm-offsets.h

# The program's vector registers, red zone and thread-local storage are live whenever libdune
# runs, and it must do without any C library.
LIBDUNE_CPPFLAGS := -Ilibdune -I$(B)/libdune
LIBDUNE_CFLAGS := -ffreestanding -mgeneral-regs-only -mno-red-zone -fno-stack-protector \
	-fcf-protection=none -fno-tree-loop-distribute-patterns -fvisibility=hidden -Wno-parentheses

# The same objects make both libraries: there is nothing that -fPIC would cost here.
$(LIBDUNE_OBJ): CPPFLAGS += $(LIBDUNE_CPPFLAGS)
$(LIBDUNE_OBJ): CFLAGS += $(LIBDUNE_CFLAGS)
$(LIBDUNE_OBJ): | $(LIBDUNE_OFFSETS)
$(patsubst %.S,$(B)/pic/libdune/%.o,$(filter %.S,$(LIBDUNE_SRC))): $(LIBDUNE_OFFSETS)

$(LIBDUNE_OFFSETS): libdune/asm-offsets.c $(wildcard libdune/*/*.h libdune/include/*.h)
	$(call say,GEN)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(LIBDUNE_CPPFLAGS) $(CFLAGS) $(LIBDUNE_CFLAGS) -S -o $@.s $<
	$(Q)sed -n 's/^->\([^ ]*\) \$$*\(.*\)/#define \1 \2/p' $@.s > $@

# With libelf and the C library: in the static library a member that is linked when it is used, and not
# in the shared one. Where there is no libelf, the rest is built.
LIBDUNE_ELF := $(if $(shell echo '#include <libelf.h>' | $(CC) -E - 2>&1 >/dev/null),,$(addprefix $(B)/pic/libdune/,api/elf.o compat/segment.o))
$(LIBDUNE_ELF): CPPFLAGS += -Ilibdune

# With libgc and the C library: in a library of its own alone.
LIBDUNE_GC := $(if $(shell echo '#include <gc/gc.h>' | $(CC) -E - 2>&1 >/dev/null),,$(B)/pic/libdune/api/gc.o)

LIBS += $(B)/lib/libdune.a $(B)/lib/libdune.so $(B)/lib/pkgconfig/libdune.pc
LIBS += $(if $(LIBDUNE_ELF),$(B)/lib/libdune-elf.a $(B)/lib/pkgconfig/libdune-elf.pc)
LIBS += $(if $(LIBDUNE_GC),$(B)/lib/libdune-gc.a $(B)/lib/pkgconfig/libdune-gc.pc)

$(B)/lib/libdune.a: $(LIBDUNE_OBJ) $(LIBDUNE_ELF)
$(B)/lib/libdune-elf.a: $(LIBDUNE_ELF)
$(B)/lib/libdune.a $(B)/lib/libdune-elf.a:
	$(call say,AR)
	$(if $(LIBDUNE_ELF),,@echo '  without dune_elf_...(): there is no libelf.h (libelf-dev)')
	@mkdir -p $(@D)
	$(Q)rm -f $@
	$(Q)$(AR) rcs $@ $^

$(B)/lib/libdune-gc.a: $(LIBDUNE_GC)
	$(call say,AR)
	@mkdir -p $(@D)
	$(Q)rm -f $@
	$(Q)$(AR) rcs $@ $^

$(B)/lib/libdune.so.$(LIBDUNE_VERSION): $(LIBDUNE_OBJ) libdune/libdune.map
	$(call say,LINK)
	@mkdir -p $(@D)
	$(Q)$(CC) -shared -nostdlib $(LDFLAGS) -Wl,-soname,$(LIBDUNE_SONAME) -Wl,-z,defs -Wl,-z,nodelete -Wl,-z,now -Wl,-z,relro -Wl,-Bsymbolic-functions \
		-Wl,--version-script=libdune/libdune.map -o $@ $(LIBDUNE_OBJ)

$(B)/lib/libdune.so: $(B)/lib/libdune.so.$(LIBDUNE_VERSION)
	$(Q)ln -sfn $(<F) $(@D)/$(LIBDUNE_SONAME)
	$(Q)ln -sfn $(LIBDUNE_SONAME) $@

# They lead to where things are built; scripts/install puts other paths in.
$(B)/lib/pkgconfig/%.pc: libdune/%.pc.in libdune/build.mk
	$(call say,GEN)
	@mkdir -p $(@D)
	$(Q)sed -e 's|@PREFIX@|$(CURDIR)|' -e 's|@LIBDIR@|$${pcfiledir}/..|' \
		-e 's|@INCLUDEDIR@|$(abspath libdune/include)|' -e 's|@VERSION@|$(LIBDUNE_VERSION)|' $< > $@

# What programs are started in Dune mode with: build/lib/dune-preload.so, the room "launch" with all below it.
LOADER_OBJ := $(addprefix $(B)/pic/libdune/launch/,begin.o image.o start.o environment.o monitor.o ring3.o)
LAUNCH_OBJ := $(addprefix $(B)/pic/libdune/launch/,preload.o alone.o) $(LOADER_OBJ)
# What programs are linked with that watch others (dune-ring3.h): the same as a loader, and an ordinary program's code.
WATCH_OBJ := $(addprefix $(B)/pic/libdune/launch/,watched.o names.o) $(LOADER_OBJ)
FIND_OBJ := $(addprefix $(B)/pic/libdune/launch/,find.o leak.o sealed.o watch.o)
LIBS += $(B)/lib/dune-preload.so $(B)/lib/libdune-ring3.a $(B)/lib/pkgconfig/libdune-ring3.pc
$(LAUNCH_OBJ) $(WATCH_OBJ): CPPFLAGS += $(LIBDUNE_CPPFLAGS)
$(LAUNCH_OBJ) $(WATCH_OBJ): CFLAGS += $(LIBDUNE_CFLAGS)
$(LAUNCH_OBJ) $(WATCH_OBJ): | $(LIBDUNE_OFFSETS)
$(FIND_OBJ): CPPFLAGS += -Ilibdune
$(FIND_OBJ): CFLAGS += -fvisibility=hidden

# What libdune-ring3.pc says.
WATCHER_CFLAGS := $(shell sed -n 's/^Cflags: -I[^ ]* //p' libdune/libdune-ring3.pc.in)
WATCHER_LDFLAGS := $(shell sed -n 's/^Libs: \(.*\) -L.*/\1/p' libdune/libdune-ring3.pc.in)

$(B)/lib/libdune-ring3.a: $(WATCH_OBJ) $(FIND_OBJ)
	$(call say,AR)
	@mkdir -p $(@D)
	$(Q)rm -f $@
	$(Q)$(AR) rcs $@ $^

# First of all initializers, no library needed, nothing exported; as a program it begins at dune_load.  Code and
# constants are one mapping, as each costs every fork of the program (some 4,000 instructions).
$(B)/lib/dune-preload.so: $(LAUNCH_OBJ) $(B)/lib/libdune.a
	$(call say,LINK)
	@mkdir -p $(@D)
	$(Q)$(CC) -shared -nostdlib $(LDFLAGS) -Wl,-z,initfirst -Wl,-z,now -Wl,-z,relro -Wl,-z,nodelete \
		-Wl,-z,noseparate-code -Wl,-e,dune_load \
		-Wl,--exclude-libs,ALL -Wl,-Bsymbolic -o $@ $^
