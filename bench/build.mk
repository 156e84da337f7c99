# SPDX-License-Identifier: MIT
#
# Benchmarks: build/bench/run measures each case as an ordinary Linux program and in Dune mode, in one boot.

BENCHES += $(B)/bench/run $(B)/bench/run-dynamic

BENCH_OBJECTS := $(patsubst %.c,$(B)/obj/%.o,$(wildcard bench/*.c bench/cases/*.c))

$(BENCH_OBJECTS): CFLAGS += -pthread -Wno-missing-field-initializers

$(B)/bench/run: $(BENCH_OBJECTS) $(B)/lib/libdune-gc.a $(B)/lib/libdune.a
	$(call say,LINK)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) -pthread -static $(LDFLAGS) -o $@ $^ -lgc

# The program of cases for which dune-run is to start an ordinary one: without what says that it enters by itself.
$(B)/bench/run-dynamic: $(BENCH_OBJECTS) $(B)/lib/libdune-gc.a $(B)/lib/libdune.a bench/build.mk
	$(call say,LINK)
	$(Q)$(CC) $(CFLAGS) -pthread $(LDFLAGS) -o $@ $(filter %.o %.a,$^) -Wl,-Bstatic -lgc -Wl,-Bdynamic
	$(Q)objcopy --remove-section=.note.dune $@

# As a test: bench-check.
$(B)/tests/bench/check: $(B)/bench/run
	@mkdir -p $(@D)
	$(Q)cp $< $@
GUEST_TESTS += $(B)/tests/bench/check $(B)/bench/run-dynamic
