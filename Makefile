# SPDX-License-Identifier: MIT
#
# Everything is built into build/: programs in build/bin, libraries in
# build/lib, the module in build/modules/RELEASE/dune.ko, tests in build/tests.
#
# This file holds what all parts share; each part's build.mk adds to
#	PROGRAMS	build/bin/...		what people run
#	LIBS		build/lib/...
#	UNIT_TESTS	build/tests/unit/...	cmocka programs, run on this machine
#	GUEST_TESTS	build/tests/...		programs that tests/list runs in the testbed
#	BENCHES		build/bench/...
# and states its own rules. Objects come from the pattern rules below: the name
# of an object is its source's under build/obj (for programs and libdune.a) or
# build/pic (for libdune.so); what a target's objects need is said with
# target-specific CFLAGS or CPPFLAGS.

.DELETE_ON_ERROR:
.SECONDARY:
MAKEFLAGS += --no-builtin-rules
ifeq ($(filter -j% --jobserver%,$(MAKEFLAGS)),)
MAKEFLAGS += -j$(shell nproc)
endif

KERNEL ?= 6.1
KERNELS ?= 5.10 6.1 6.12 7.2
B := build
Q := $(if $(V),,@)

CC := gcc
CFLAGS := -std=gnu11 -O2 -g -Wall -Wextra -Werror
CPPFLAGS := -D_GNU_SOURCE -Ilibdune/include -Ikern/uapi
LDFLAGS :=

PROGRAMS :=
LIBS :=
UNIT_TESTS :=
GUEST_TESTS :=
BENCHES :=

.PHONY: all
all: libs programs modules

# A fresh machine gets its packages before anything is built, but for what takes no more than a compiler.
GOALS_WITHOUT_SETUP := clean distclean help libs programs install uninstall modules_install
ifneq ($(filter-out $(GOALS_WITHOUT_SETUP),$(or $(MAKECMDGOALS),all)),)
ifneq ($(shell scripts/setup >&2 && echo done),done)
$(error scripts/setup failed)
endif
endif

-include libdune/build.mk
-include apps/build.mk
-include tests/build.mk
-include bench/build.mk

.PHONY: libs programs
libs: $(LIBS)
programs: $(PROGRAMS)

# ---- installing ----

PREFIX ?= /usr/local
DESTDIR ?=
RELEASE ?= $(shell uname -r)

.PHONY: install uninstall modules_install
install: libs programs
install uninstall:
	$(Q)DESTDIR='$(DESTDIR)' PREFIX='$(PREFIX)' scripts/install $(if $(filter uninstall,$@),--uninstall) $(B)

modules_install:
	$(Q)DESTDIR='$(DESTDIR)' scripts/module --install $(RELEASE)

# ---- objects ----

# What is included is in files *.d, with an empty rule for each (-MP), so that one that is no more does not stop make.
# Sources are not: they stand in the makefiles, and one that has another name now would stop it.
headers_only = $(Q)sed -i 's/ [^ ]*\.[cS]\b//g' $(1)

# Kept on every compiler run; $(call say,WORD) shows one line for each.
say = @printf '  %-7s %s\n' '$(1)' '$(@:$(B)/%=%)'

$(B)/obj/%.o: %.c
	$(call say,CC)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<
	$(call headers_only,$(@:.o=.d))

$(B)/obj/%.o: %.S
	$(call say,AS)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) -D__ASSEMBLY__ $(CFLAGS) -MMD -MP -c -o $@ $<
	$(call headers_only,$(@:.o=.d))

$(B)/pic/%.o: %.c
	$(call say,CC)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -fPIC -MMD -MP -c -o $@ $<
	$(call headers_only,$(@:.o=.d))

$(B)/pic/%.o: %.S
	$(call say,AS)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) -D__ASSEMBLY__ $(CFLAGS) -fPIC -MMD -MP -c -o $@ $<
	$(call headers_only,$(@:.o=.d))

-include $(shell [ ! -d $(B) ] || find $(B)/obj $(B)/pic $(B)/tests $(B)/bench -name '*.d' -type f 2>/dev/null)

# ---- the module ----

.PHONY: modules modules-all clang sparse checkpatch shellcheck
modules:
	$(Q)scripts/module $(KERNEL)

modules-all:
	$(Q)failed=; for version in $(KERNELS); do scripts/module --strict $$version || failed="$$failed $$version"; done; \
		[ -z "$$failed" ] || { echo "modules-all: not clean:$$failed" >&2; exit 1; }

clang:
	$(Q)scripts/clang

sparse:
	$(Q)scripts/sparse $(KERNEL)

checkpatch:
	$(Q)scripts/checkpatch

shellcheck:
	$(Q)scripts/setup shellcheck
	$(Q)git ls-files -z scripts tests apps bench .ci | xargs -0 grep -lE '^#!/bin/(ba)?sh' | xargs shellcheck -x

# ---- using it ----

.PHONY: check check-deep matrix tests demo bench bench-check fuzz realworld
tests: all $(UNIT_TESTS) $(GUEST_TESTS)

# Asked for one kernel, it tests that one only.
check: tests
	$(Q)tests/run $(if $(filter-out file,$(origin KERNEL)),--kernel $(KERNEL)) $(TESTS)

# What takes too long for each change (doc/long-runs.md).
check-deep: tests
	$(Q)failed=; tests/run deep || failed=' 6.1'; for kernel in debug kcsan; do $(MAKE) check KERNEL=$$kernel || failed="$$failed $$kernel"; done; \
		[ -z "$$failed" ] || { echo "check-deep: failed on:$$failed" >&2; exit 1; }

# MACHINES, KERNELS and TESTS choose a part.
matrix: tests
	$(Q)KERNELS='$(KERNELS)' MACHINES='$(MACHINES)' scripts/matrix $(TESTS)

demo: $(if $(NATIVE),libs programs,all)
	$(Q)scripts/demo $(if $(NATIVE),--native)

bench: $(if $(NATIVE),libs programs,all) $(BENCHES)
	$(Q)scripts/bench $(if $(NATIVE),--native) $(ONLY)

bench-check: all $(BENCHES)
	$(Q)scripts/bench --check $(ONLY)

# System calls by chance, outside and in Dune mode, for TIME seconds of the machine; SEED chooses others. CHECK=1: by
# dune-run --check.
TIME = 3600
fuzz: all $(B)/tests/fuzz/calls $(B)/tests/fuzz/watch
	$(Q)scripts/testbed run --machine svm --smp 2 --timeout $$(($(TIME) * 2 + 600)) \
		--deb bash --deb coreutils --deb diffutils --add $(B)/tests/fuzz/calls:/tests/fuzz/calls \
		--add $(B)/tests/fuzz/watch:/tests/fuzz/watch --add tests/fuzz/differ:/tests/fuzz/differ \
		-- /tests/fuzz/differ $(if $(CHECK),--check) $(TIME) $(SEED)

# MACHINE is svm or vmx, ONLY some of the programs, OPTIONS are dune-run's.
realworld: all
	$(Q)scripts/realworld $(if $(MACHINE),--machine $(MACHINE)) $(if $(OPTIONS),--options "$(OPTIONS)") $(ONLY)

.PHONY: clean distclean help
clean:
	rm -rf $(B)/obj $(B)/pic $(B)/bin $(B)/lib $(B)/tests $(B)/bench $(B)/modules
	rm -rf $(B)/testbed/run.* $(B)/testbed/timeout.* $(B)/testbed/base-*.cpio

distclean:
	$(Q)! grep -qs "$(CURDIR)/$(B)/" /proc/mounts || { echo 'a chroot under $(B) is still mounted' >&2; exit 1; }
	rm -rf $(B)

help:
	@echo 'make                    libraries, programs and the module for 6.1'
	@echo 'make modules KERNEL=V   the module for Debian kernel V: $(KERNELS), or debug, or kcsan'
	@echo 'make modules-all        the module for all of them, anew; a warning fails'
	@echo 'make install            programs, libraries, headers, man pages; make uninstall takes them away. DESTDIR= PREFIX='
	@echo 'make modules_install    the module, for the running kernel; for others RELEASE=R or =6.1. DESTDIR='
	@echo 'make clang              the module for 6.1 by clang; a warning fails'
	@echo 'make tests              build what make check runs'
	@echo 'make check              all tests; TESTS="NAME|GROUP..." for some'
	@echo 'make check KERNEL=V     on one kernel; V may also be debug: 6.1 with KASAN, lockdep and more; or kcsan'
	@echo 'make check-deep         what takes hours: longer runs of some tests, and both of these kernels (built once:'
	@echo '                        10 minutes of CPU each)'
	@echo 'make fuzz TIME=S        system calls by chance, outside and under dune-run, for so many seconds; SEED=N;'
	@echo '                        CHECK=1: by dune-run --check, against the memory of libdune too'
	@echo 'make matrix             the tests of tests/list on all kernels in both machines, and a table;'
	@echo '                        KERNELS="V..." MACHINES="svm" TESTS="..." for a part'
	@echo 'make demo [NATIVE=1]    Dune at work, in the testbed or on this machine'
	@echo 'make bench              the benchmarks; ONLY="micro|baseline|GROUP|CASE..." for some, NATIVE=1 on this machine'
	@echo 'make bench-check        has a path become longer than bench/baseline.tsv says?'
	@echo 'make realworld          real programs, compared with themselves outside Dune mode;'
	@echo '                        ONLY="redis git" MACHINE=vmx for a part, OPTIONS=--check for dune-run --check'
	@echo 'make sparse checkpatch  look over kern/; make shellcheck: over the scripts'
	@echo 'make clean              remove what was built; distclean: downloads too'
	@echo 'scripts/testbed run ... run anything in a machine with the module'
	@echo 'V=1 shows the commands.'
