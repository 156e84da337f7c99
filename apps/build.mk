# SPDX-License-Identifier: MIT
#
# Programs: build/bin/hello, build/bin/dune-run with build/lib/dune-preload.so

PROGRAMS += $(B)/bin/hello $(B)/bin/dune-run
LIBS += $(B)/lib/dune-preload.so

$(B)/bin/hello: $(B)/obj/apps/hello/hello.o $(B)/lib/libdune.a
	$(call say,LINK)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^

$(B)/bin/dune-run: $(B)/obj/apps/run/run.o | $(B)/lib/dune-preload.so
	$(call say,LINK)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.o,$^)

$(B)/pic/apps/run/preload.o: CPPFLAGS += $(LIBDUNE_CPPFLAGS)
$(B)/pic/apps/run/preload.o: CFLAGS += $(LIBDUNE_CFLAGS)

# First of all initializers, no library needed, nothing exported.
$(B)/lib/dune-preload.so: $(B)/pic/apps/run/preload.o $(B)/lib/libdune.a
	$(call say,LINK)
	@mkdir -p $(@D)
	$(Q)$(CC) -shared -nostdlib $(LDFLAGS) -Wl,-z,initfirst -Wl,-z,now -Wl,-z,relro -Wl,-z,nodelete \
		-Wl,--exclude-libs,ALL -Wl,-Bsymbolic -o $@ $^
