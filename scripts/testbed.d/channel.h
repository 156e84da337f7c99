/* SPDX-License-Identifier: MIT */
/*
 * The channel: what the machine's PID 1 says to the monitor on the host.
 *
 * A one-way stream of frames: one byte of type, four bytes of length (little
 * endian), then the payload. It travels byte by byte through a device that
 * costs the emulator nothing: a parallel port under Bochs, a debug console
 * under QEMU. The serial console stays for the kernel's last words.
 */
#ifndef TESTBED_CHANNEL_H
#define TESTBED_CHANNEL_H

enum frame_type {
	FRAME_BOOTED = 'B',	/* PID 1 runs; empty; comes exactly once */
	FRAME_ALIVE = 'A',	/* some time passed in the machine; empty */
	FRAME_STDOUT = 'O',	/* what the command wrote */
	FRAME_STDERR = 'E',
	FRAME_KLOG = 'K',	/* kernel log, as text lines, since module load */
	FRAME_MESSAGE = 'M',	/* PID 1 itself has something to say */
	FRAME_STATUS = 'S',	/* exit status in decimal; the last frame */
};

#define FRAME_HEADER	5
#define FRAME_MAX	65536

/* QEMU: isa-debugcon takes one byte per OUT. SeaBIOS speaks at 0x402. */
#define DEBUGCON_PORT	0x4e9

/* Bochs: parport1. A byte is taken when STROBE rises. */
#define PARPORT_DATA	0x378
#define PARPORT_CONTROL	0x37a
#define PARPORT_IDLE	0x0c	/* printer selected, not in reset */
#define PARPORT_STROBE	0x01

/*
 * The machine's clock, as the host keeps it (clock.h): the page of memory that is QEMU's device for memory between
 * machines, and a file with the same, which PID 1 keeps up to date for all others. Bochs has neither: there, time goes
 * by instructions.
 */
#define SHARED_CLOCK_FILE	"/run/testbed-clock"
#define SHARED_CLOCK_SIZE	4096
#define SHARED_CLOCK_VENDOR	0x1af4
#define SHARED_CLOCK_DEVICE	0x1110
#define SHARED_CLOCK_BAR	2

struct shared_clock {
	uint64_t nanoseconds;
};

#endif
