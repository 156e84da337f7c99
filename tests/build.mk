# SPDX-License-Identifier: MIT
#
# Tests. Every tests/unit/*.c is a cmocka program for this machine; sources and
# objects that it tests are stated as further prerequisites:
#
#	build/tests/unit/tdp: kern/mmu/tdp.c
#
# Programs for the testbed's machines are those that tests/list names: static,
# with libdune where there is one. Further sources and flags likewise, as
# prerequisites and target-specific CFLAGS, LDFLAGS and LDLIBS.

T := $(B)/tests
LIBDUNE_A := $(filter %/libdune.a,$(LIBS))

UNIT_TESTS += $(patsubst tests/%.c,$(T)/%,$(wildcard tests/unit/*.c))

listed_programs := $(shell sed 's/\#.*//' tests/list 2>/dev/null | awk '$$1 != "default" && NF > 1 { print $$2 }' | sort -u)
GUEST_TESTS += $(patsubst tests/%.c,$(T)/%,$(wildcard $(listed_programs:%=tests/%.c)))

$(T)/%: CPPFLAGS += -Itests/include
$(T)/%: CFLAGS += -pthread

# Of one compilation of several sources -MMD tells of the last one only.
define find_headers
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -MM -MP -MT $@ $(filter %.c %.S,$^) >$@.d
	$(call headers_only,$@.d)
endef

$(T)/unit/%: tests/unit/%.c
	$(call say,UNIT)
	@mkdir -p $(@D)
	$(find_headers)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -o $@ $(filter %.c %.S %.o %.a,$^) $(LDFLAGS) -lcmocka $(LDLIBS)

STATIC := -static

define guest_program
	$(call say,TEST)
	@mkdir -p $(@D)
	$(find_headers)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $(STATIC) -o $@ $(filter %.c %.S %.o,$^) $(LDFLAGS) $(filter %.a,$^) $(LDLIBS)
endef

$(T)/guest/%: tests/guest/%.c $(LIBDUNE_A)
	$(guest_program)

$(T)/abi/%: tests/abi/%.c $(LIBDUNE_A)
	$(guest_program)

# Wherever the kernel puts it.
$(T)/guest/mem-aslr: CFLAGS += -fPIE
$(T)/guest/mem-aslr: STATIC := -static-pie

# It walks libdune's table of system calls.
$(T)/guest/ring3-descriptor: CPPFLAGS += -Ilibdune

# Ordinary programs that do so.
$(T)/check/%: tests/check/%.c libdune/base/syscalls.c
	$(guest_program)
$(T)/check/%: CPPFLAGS += -Ilibdune

$(T)/guest/elf: LDLIBS += -lelf -lz
$(T)/guest/gc: $(B)/lib/libdune-gc.a
$(T)/guest/gc: LDLIBS += $(LIBDUNE_A) -lgc

# Guests made directly on the ABI.
RAW_TESTS := $(filter $(T)/abi/% $(T)/guest/hostile-% $(T)/guest/cpu-% $(T)/guest/life-kvm,$(GUEST_TESTS))
$(RAW_TESTS): tests/lib/raw.c tests/lib/raw-stubs.S
$(RAW_TESTS): CFLAGS += -Wno-missing-field-initializers

$(T)/guest-runner: tests/runner/guest-runner.c
	$(guest_program)
GUEST_TESTS += $(T)/guest-runner $(T)/guest/life-reboot

# A copy of the module for process/cpuid.
NOCPUID := $(B)/modules/6.1/with-nocpuid/dune.ko
$(NOCPUID): tests/module/nocpuid.c scripts/module kern/Kbuild $(wildcard kern/*.[chS] kern/*/*.[chS] kern/uapi/linux/*.h) | modules
	$(call say,MODULE)
	$(Q)scripts/module --with $< 6.1 >/dev/null
	@touch $@
GUEST_TESTS += $(NOCPUID)

# The testbed's clock, and the runner's limits by it.
$(T)/limit: tests/runner/limit.c scripts/testbed.d/clock.c
	$(guest_program)
UNIT_TESTS += $(T)/limit
$(T)/unit/test_clock: scripts/testbed.d/clock.c

# Pure parts of kern/, with stand-ins for the kernel's headers.
KERN_UNITS := $(T)/unit/test_tdp $(T)/unit/test_granule $(T)/unit/test_choice
$(KERN_UNITS): CPPFLAGS += -Itests/unit/stubs
$(KERN_UNITS): CFLAGS += -fsanitize=address,undefined -fno-sanitize-recover=all
$(KERN_UNITS): tests/unit/stubs/memory.c
$(T)/unit/test_tdp: kern/mmu/tdp.c kern/vmx/ept.c kern/svm/npt.c
$(T)/unit/test_granule: kern/mmu/granule.c
$(T)/unit/test_choice: kern/choice.c

$(T)/unit/test_bench_check: bench/check.c

# Pure parts of libdune.
LIBDUNE_UNITS := $(T)/unit/test_format $(T)/unit/test_error $(T)/unit/test_layout $(T)/unit/test_syscalls $(T)/unit/test_signals
$(LIBDUNE_UNITS): CPPFLAGS += -Ilibdune
$(T)/unit/test_format: CFLAGS += -fsanitize=address,undefined -fno-sanitize-recover=all -Wno-parentheses
$(T)/unit/test_format: libdune/base/format.c
$(T)/unit/test_error: libdune/base/error.c
$(T)/unit/test_error: CFLAGS += -Wno-parentheses
$(T)/unit/test_signals: $(B)/lib/libdune.a
$(T)/unit/test_syscalls: $(B)/lib/libdune.a $(T)/unit/numbers.h
$(T)/unit/test_syscalls: CPPFLAGS += -I$(T)/unit

# CALL(NAME, NUMBER) for each system call that this system's headers know.
$(T)/unit/numbers.h: tests/build.mk
	@mkdir -p $(@D)
	$(Q)echo '#include <asm/unistd.h>' | $(CC) -E -dM - | \
		sed -n 's/^#define __NR_\([a-z0-9_]*\) \([0-9]*\)$$/CALL(\1, \2)/p' > $@

# Its page tables, with stand-ins for the rest of it. AddressSanitizer has something at PAGEBASE.
PAGE_UNITS := $(T)/unit/test_pool $(T)/unit/test_vm $(T)/unit/test_vm_model $(T)/unit/test_precise $(T)/unit/test_dirty
$(PAGE_UNITS): CPPFLAGS += -Ilibdune -Itests/unit -DPAGEBASE=0x200000000000UL '-Ddune_in_guest()=false'
$(PAGE_UNITS): CFLAGS += -fsanitize=address,undefined -fno-sanitize-recover=all -Wno-parentheses
$(PAGE_UNITS): tests/unit/stubs/dune.c tests/unit/stubs/walker.c libdune/threads/lock.c \
	libdune/memory/page.c libdune/memory/granule.c libdune/memory/walk.c \
	libdune/memory/precise.c libdune/memory/map.c libdune/memory/lookup.c libdune/memory/merge.c libdune/memory/cow.c libdune/memory/scan.c libdune/memory/dirty.c libdune/memory/space.c libdune/threads/region.c

# Policies of the sandbox.
$(T)/unit/test_policy: CPPFLAGS += -I. -Ilibdune
$(T)/unit/test_policy: CFLAGS += -fsanitize=address,undefined -fno-sanitize-recover=all
$(T)/unit/test_policy: LDLIBS += -lyaml -ljson-c
$(T)/unit/test_policy: sandbox/files.c sandbox/network.c sandbox/calls.c sandbox/build.c sandbox/default.c \
	sandbox/read.c sandbox/profile.c sandbox/print.c

$(T)/unit/test_profile: CPPFLAGS += -I. -Ilibdune
$(T)/unit/test_profile: CFLAGS += -fsanitize=address,undefined -fno-sanitize-recover=all
$(T)/unit/test_profile: LDLIBS += -ljson-c
$(T)/unit/test_profile: sandbox/profile.c sandbox/build.c sandbox/calls.c sandbox/default.c sandbox/print.c

$(T)/unit/test_wall: CPPFLAGS += -I. -Ilibdune -Ilibdune/include
$(T)/unit/test_wall: sandbox/build.c sandbox/print.c apps/sandbox/wall.c libdune/launch/names.c

$(T)/unit/test_procmap: CPPFLAGS += -Ilibdune
$(T)/unit/test_procmap: CFLAGS += -fsanitize=address,undefined -fno-sanitize-recover=all
$(T)/unit/test_procmap: libdune/base/procmap-line.c

$(T)/unit/test_symbol: CPPFLAGS += -Ilibdune
$(T)/unit/test_symbol: CFLAGS += -fsanitize=address,undefined -fno-sanitize-recover=all
$(T)/unit/test_symbol: libdune/base/symbol.c

# Programs for the first libdune: by its headers' names.
$(T)/compat/%: tests/compat/%.c $(LIBDUNE_A)
	$(guest_program)
$(T)/compat/%: LDLIBS += -lelf -lz
# Where the process has nothing else, and with segments that begin and end anywhere.
GUEST_TESTS += $(T)/compat/boxed
$(T)/compat/boxed: tests/compat/boxed.c
	$(call say,TEST)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) -ffreestanding -fno-stack-protector -fno-pie -no-pie -nostdlib -static \
		-Wl,-Ttext-segment=0x10000000 -o $@ $<

# The ways to link a program with libdune.
LINK_TESTS := $(addprefix $(T)/link/hello-,shared musl-static musl-shared)
GUEST_TESTS += $(LINK_TESTS)
$(T)/link/hello-shared: LINK = $(CC) $(CFLAGS) -L$(B)/lib -Wl,-rpath,/usr/lib -ldune
$(T)/link/hello-musl-static: LINK = musl-gcc $(CFLAGS) -static
$(T)/link/hello-musl-shared: LINK = musl-gcc $(CFLAGS)
$(LINK_TESTS): apps/hello/hello.c $(LIBDUNE_A) | $(B)/lib/libdune.so
	$(call say,TEST)
	@mkdir -p $(@D)
	$(Q)$(firstword $(LINK)) -Ilibdune/include $< -o $@ $(wordlist 2,99,$(LINK)) $(if $(findstring -ldune,$(LINK)),,$(LIBDUNE_A))

# Each inline function of the headers, FUNCTION(NAME), for a program that cannot read them.
INLINE_TESTS := $(addprefix $(T)/link/inline-,shared static)
GUEST_TESTS += $(INLINE_TESTS)
# Those of libdune itself: what dune-ring3.h has inline sets a bit, for programs in C.
INLINE_HEADERS := $(filter-out %/dune-ring3.h,$(wildcard libdune/include/*.h libdune/include/libdune/*.h))
$(T)/link/inline-functions.h: $(INLINE_HEADERS) tests/build.mk
	@mkdir -p $(@D)
	$(Q)sed -nE 's/^(static inline|DUNE_INLINE) .*\b(dune_[a-z0-9_]*)\(.*/FUNCTION(\2)/p' $(filter %.h,$^) > $@
	$(Q)[ $$(wc -l < $@) -ge 10 ] || { echo 'few inline functions: are headers written in another way?' >&2; false; }
$(T)/link/inline-shared: LINK = -L$(B)/lib -Wl,-rpath,/usr/lib -ldune
$(T)/link/inline-static: LINK = -static -DSTATIC $(LIBDUNE_A)
$(INLINE_TESTS): tests/link/inline.c $(T)/link/inline-functions.h $(LIBDUNE_A) | $(B)/lib/libdune.so
	$(call say,TEST)
	@mkdir -p $(@D)
	$(Q)$(CC) -I$(T)/link -Itests/include $(CFLAGS) -o $@ $< $(LINK)

# Programs with names of their own that libdune has, or had.
OWN_NAMES := $(addprefix $(T)/link/own-names-,shared static)
GUEST_TESTS += $(OWN_NAMES)
$(T)/link/own-names-shared: LINK = -DOWN_FUNCTIONS -L$(B)/lib -Wl,-rpath,/usr/lib -ldune
$(T)/link/own-names-static: LINK = -static $(LIBDUNE_A)
$(OWN_NAMES): tests/link/own-names.c tests/link/own-variables.c $(LIBDUNE_A) | $(B)/lib/libdune.so
	$(call say,TEST)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -o $@ $(filter %.c,$^) $(LINK)

# What `make install` puts somewhere else, and a program that is built with that.
INSTALLED := $(T)/installed/opt/dune
GUEST_TESTS += $(T)/link/hello-installed
$(INSTALLED)/lib/pkgconfig/libdune.pc: scripts/install $(LIBS) $(PROGRAMS) $(wildcard libdune/include/*.h libdune/*.pc.in)
	$(call say,INSTALL)
	$(Q)DESTDIR=$(T)/installed PREFIX=/opt/dune scripts/install $(B)
$(T)/link/hello-installed: apps/hello/hello.c $(INSTALLED)/lib/pkgconfig/libdune.pc
	$(call say,TEST)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) -o $@ $< -Wl,-rpath,/opt/dune/lib \
		$$(PKG_CONFIG_LIBDIR=$(INSTALLED)/lib/pkgconfig PKG_CONFIG_SYSROOT_DIR=$(T)/installed pkg-config --cflags --libs libdune)

PLAIN_TESTS := $(addprefix $(T)/link/,where spinner respawn storm asan lsan instructions own-fault escape watchee names climber refused limited)
GUEST_TESTS += $(PLAIN_TESTS)
$(T)/link/spinner: CFLAGS += -fno-omit-frame-pointer
$(T)/link/asan: CFLAGS += -fsanitize=address -O0 -Wno-use-after-free
$(T)/link/lsan: CFLAGS += -fsanitize=leak -O1
$(T)/link/escape $(T)/link/watchee $(T)/link/climber $(T)/link/limited: CFLAGS += -pthread
$(PLAIN_TESTS): $(T)/link/%: tests/link/%.c tests/include/world.h
	$(call say,TEST)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) -D_GNU_SOURCE -Itests/include -o $@ $<
$(T)/link/respawn: tests/include/kept-pages.h

# Programs that watch others, as their users build them.
WATCHERS := $(T)/link/watch $(T)/link/paths $(T)/link/tracer $(T)/bench/allow
GUEST_TESTS += $(WATCHERS)
# The example of doc/howto.md.
$(T)/link/tracer.c: doc/howto.md
	@mkdir -p $(@D)
	$(Q)awk '/^## /{ on = $$0 == "## A program that watches another" } on && /^```/ { code = !code; next } on && code' $< >$@
	$(Q)[ "$$(grep -c . $@)" -le 40 ]
$(T)/link/tracer: $(T)/link/tracer.c
$(T)/link/watch: tests/link/watch.c
$(T)/link/paths: tests/link/paths.c
$(T)/bench/allow: tests/bench/allow.c
$(WATCHERS): $(B)/lib/libdune-ring3.a $(B)/lib/libdune.a $(B)/lib/pkgconfig/libdune-ring3.pc
	$(call say,TEST)
	@mkdir -p $(@D)
	$(Q)$(CC) -Wall -Wextra -Werror -g -o $@ $(filter %.c,$^) $$(PKG_CONFIG_LIBDIR=$(B)/lib/pkgconfig pkg-config --cflags --libs libdune-ring3)

# Tests as ordinary programs, for dune-run: without the note that they have libdune.
RING3_TESTS := $(addprefix $(T)/ring3/proc-,threads many crowd fork stopped signals killed every-instruction longjmp locks interrupts fault-storm frames beside storm calls timers tsc jobs listing maps dirty survivors ranges futex dispatch confined fd-limit seccomp ioctls links spawn lent)
GUEST_TESTS += $(RING3_TESTS)
$(RING3_TESTS): $(T)/ring3/%: $(T)/guest/%
	@mkdir -p $(@D)
	$(Q)objcopy --remove-section .note.dune $< $@

GUEST_TESTS += $(T)/check/filters
GUEST_TESTS += $(T)/fuzz/calls $(T)/fuzz/watch $(T)/bench/rings
$(T)/fuzz/calls $(T)/fuzz/watch $(T)/bench/rings: $(T)/%: tests/%.c
	$(call say,TEST)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) -pthread -o $@ $<

# One program with sanitizers, with musl, and statically linked.
THREADS_TESTS := $(addprefix $(T)/threads/,glibc-static-pie musl musl-static address thread)
GUEST_TESTS += $(THREADS_TESTS)
$(T)/threads/%: LINK = $(CC) -fsanitize=$*
$(T)/threads/glibc-static-pie: LINK = $(CC) -static-pie -fPIE
$(T)/threads/musl: LINK = musl-gcc
$(T)/threads/musl-static: LINK = musl-gcc -static
$(THREADS_TESTS): $(T)/threads/%: tests/realworld/threads.c
	$(call say,TEST)
	@mkdir -p $(@D)
	$(Q)$(LINK) -g -O1 -Wall -Wextra -pthread -o $@ $<

SHOW_TESTS := $(T)/link/show $(addprefix $(T)/link/show,-static -static-pie -musl -musl-shared)
GUEST_TESTS += $(SHOW_TESTS)
$(T)/link/show: LINK = $(CC)
$(T)/link/show-static: LINK = $(CC) -static
$(T)/link/show-static-pie: LINK = $(CC) -static-pie
$(T)/link/show-musl: LINK = musl-gcc -static
$(T)/link/show-musl-shared: LINK = musl-gcc
$(SHOW_TESTS): tests/link/show.c tests/include/world.h
	$(call say,TEST)
	@mkdir -p $(@D)
	$(Q)$(LINK) $(CFLAGS) -D_GNU_SOURCE -Itests/include -o $@ $<

GUEST_TESTS += $(T)/link/aborting
$(T)/link/aborting: tests/link/aborting.c $(LIBDUNE_A)
	$(call say,TEST)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -O0 -pthread -o $@ $^

# A library that enters Dune mode, and a program that unloads it.
ENTERING := $(T)/link/entering-static.so $(T)/link/entering-shared.so
GUEST_TESTS += $(T)/link/unloading $(ENTERING)
$(T)/link/entering-static.so: LINK = $(LIBDUNE_A)
$(T)/link/entering-shared.so: LINK = -L$(B)/lib -ldune
$(ENTERING): tests/link/entering.c $(LIBDUNE_A) | $(B)/lib/libdune.so
	$(call say,TEST)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -fPIC -shared -Wl,-rpath,/usr/lib -o $@ $< $(LINK)
$(T)/link/unloading: tests/link/unloading.c
	$(call say,TEST)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -Itests/include -pthread -o $@ $<

# Programs that enter Dune mode themselves, for dune-run.
OWN := $(addprefix $(T)/link/own-,static shared musl-static)
GUEST_TESTS += $(OWN)
$(T)/link/own-static: LINK = $(CC) $(CFLAGS)
$(T)/link/own-shared: LINK = $(CC) $(CFLAGS) -L$(B)/lib -Wl,-rpath,/usr/lib -ldune
$(T)/link/own-musl-static: LINK = musl-gcc $(CFLAGS) -static
$(OWN): tests/link/own.c $(LIBDUNE_A) | $(B)/lib/libdune.so
	$(call say,TEST)
	@mkdir -p $(@D)
	$(Q)$(firstword $(LINK)) -Ilibdune/include $< -o $@ $(wordlist 2,99,$(LINK)) \
		$(if $(findstring -ldune,$(LINK)),,$(LIBDUNE_A))

# With symbols, and as it is written.
DEBUGGEES := $(T)/link/debuggee $(T)/link/debuggee-static
GUEST_TESTS += $(DEBUGGEES)
$(T)/link/debuggee-static: LINK = -static
$(DEBUGGEES): tests/link/debuggee.c
	$(call say,TEST)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) -D_GNU_SOURCE -O0 -pthread $(LINK) -o $@ $<
