// SPDX-License-Identifier: MIT
/*
 * ioctl() as ordinary programs use it: of network interfaces, sockets, terminals, files and namespaces.
 */
#include <linux/fs.h>
#include <linux/nsfs.h>
#include <linux/random.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "proc.h"

static void interfaces(void)
{
	struct ifreq lo = { .ifr_name = "lo" }, listed[8];
	struct ifconf conf = { .ifc_len = sizeof(listed), .ifc_req = listed };
	int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	char name[IF_NAMESIZE] = "";

	CHECK_EQUAL(ioctl(s, SIOCGIFFLAGS, &lo), 0, "SIOCGIFFLAGS");
	CHECK(lo.ifr_flags & IFF_LOOPBACK, "flags of lo: %#hx", lo.ifr_flags);
	lo.ifr_flags |= IFF_UP;
	CHECK_EQUAL(ioctl(s, SIOCSIFFLAGS, &lo), 0, "SIOCSIFFLAGS");
	CHECK_EQUAL(ioctl(s, SIOCGIFMTU, &lo), 0, "SIOCGIFMTU");
	CHECK_EQUAL(lo.ifr_mtu, 65536, "MTU of lo");
	CHECK_EQUAL(ioctl(s, SIOCGIFADDR, &lo), 0, "SIOCGIFADDR");
	CHECK_EQUAL(((struct sockaddr_in *)&lo.ifr_addr)->sin_addr.s_addr, htonl(INADDR_LOOPBACK), "address of lo");
	CHECK_EQUAL(if_nametoindex("lo"), 1, "if_nametoindex");
	CHECK(if_indextoname(1, name) == name && !strcmp(name, "lo"), "if_indextoname: %s", name);
	CHECK_EQUAL(if_nametoindex("none0"), 0, "if_nametoindex of none");
	CHECK_EQUAL(errno, ENODEV, "error of none");
	CHECK_EQUAL(ioctl(s, SIOCGIFCONF, &conf), 0, "SIOCGIFCONF");
	CHECK_EQUAL(conf.ifc_len, sizeof(listed[0]), "length of the list");
	CHECK(!strcmp(listed[0].ifr_name, "lo"), "first of the list: %s", listed[0].ifr_name);
	conf = (struct ifconf){ .ifc_len = 12345 };
	CHECK_EQUAL(ioctl(s, SIOCGIFCONF, &conf), 0, "SIOCGIFCONF without a list");
	CHECK_EQUAL(conf.ifc_len, sizeof(listed[0]), "length that the list would have");
	conf = (struct ifconf){ .ifc_len = sizeof(listed), .ifc_buf = (void *)8 };
	CHECK_ERRNO(ioctl(s, SIOCGIFCONF, &conf), EFAULT, "SIOCGIFCONF with a bad list");
	CHECK_ERRNO(ioctl(s, SIOCGIFCONF, 8), EFAULT, "SIOCGIFCONF at a bad address");
	CHECK_ERRNO(ioctl(s, SIOCGIFINDEX, 8), EFAULT, "SIOCGIFINDEX at a bad address");
	CHECK_ERRNO(ioctl(0, SIOCGIFINDEX + 0x50000, &lo), ENOTTY, "no number");
	close(s);
}

static void sockets(void)
{
	int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), value = -1, own = getpid();

	CHECK_EQUAL(ioctl(s, SIOCSPGRP, &own), 0, "SIOCSPGRP");
	CHECK_EQUAL(ioctl(s, SIOCGPGRP, &value), 0, "SIOCGPGRP");
	CHECK_EQUAL(value, own, "owner");
	value = -1;
	CHECK_EQUAL(ioctl(s, SIOCATMARK, &value), 0, "SIOCATMARK");
	CHECK_EQUAL(value, 0, "at the mark");
	close(s);
}

static void terminals(void)
{
	int master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC), value = 1;

	CHECK(master >= 0, "/dev/ptmx: %s", strerror(errno));
	CHECK_EQUAL(ioctl(master, TIOCPKT, &value), 0, "TIOCPKT");
	value = 0;
	CHECK_EQUAL(ioctl(master, TIOCGPKT, &value), 0, "TIOCGPKT");
	CHECK_EQUAL(value, 1, "packet mode");
	value = -1;
	CHECK_EQUAL(ioctl(master, TIOCGPTLCK, &value), 0, "TIOCGPTLCK");
	CHECK_EQUAL(value, 1, "lock");
	value = -1;
	CHECK_EQUAL(ioctl(master, TIOCGEXCL, &value), 0, "TIOCGEXCL");
	CHECK_EQUAL(value, 0, "exclusive");
	value = -1;
	CHECK_EQUAL(ioctl(master, TIOCGETD, &value), 0, "TIOCGETD");
	CHECK_EQUAL(value, 0, "line discipline");
	close(master);
}

static void files(void)
{
	int value = 0, fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	CHECK_EQUAL(ioctl(fd, FIGETBSZ, &value), 0, "FIGETBSZ");
	CHECK_EQUAL(value, 4096, "size of a block");
	close(fd);
	fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
	value = -1;
	CHECK_EQUAL(ioctl(fd, RNDGETENTCNT, &value), 0, "RNDGETENTCNT");
	CHECK(value >= 0, "entropy: %d", value);
	close(fd);
	fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	CHECK_EQUAL(ioctl(fd, NS_GET_NSTYPE), CLONE_NEWNET, "NS_GET_NSTYPE");
	close(fd);
}

int main(int argc, char **argv)
{
	proc_begin(argc, argv);
	interfaces();
	sockets();
	terminals();
	files();
	return check_result();
}
