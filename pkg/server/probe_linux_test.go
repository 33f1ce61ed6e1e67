package server

import (
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"unsafe"
)

// TestProbeWithoutIPv6 runs itself again in a network of its own, whose loopback has
// no ::1, as in many containers. There [::] can be listened on, but not dialled.
func TestProbeWithoutIPv6(t *testing.T) {
	if os.Getenv("TRACKER_TEST_NO_IPV6") != "" {
		dialWithoutIPv6(t)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestProbeWithoutIPv6$")
	cmd.Env = append(os.Environ(), "TRACKER_TEST_NO_IPV6=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	if err := cmd.Start(); err != nil {
		t.Skip("no network of our own here:", err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error("the probe does not reach its server:", err)
	}
}

func dialWithoutIPv6(t *testing.T) {
	if err := os.WriteFile("/proc/sys/net/ipv6/conf/all/disable_ipv6", []byte("1"), 0); err != nil {
		t.Skip("no IPv6 to switch off:", err)
	}
	raiseLoopback(t)
	server, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv6unspecified})
	if err != nil {
		t.Skip("[::] cannot be listened on:", err)
	}
	defer server.Close()
	c, err := dialOwn(server.LocalAddr().(*net.UDPAddr).AddrPort())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	var b [8]byte
	if n, _, err := server.ReadFromUDPAddrPort(b[:]); err != nil || string(b[:n]) != "hello" {
		t.Fatalf("%q, %v", b[:n], err)
	}
}

// raiseLoopback is "ip link set lo up".
func raiseLoopback(t *testing.T) {
	s, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
	if err != nil {
		t.Skip(err)
	}
	defer func() { _ = syscall.Close(s) }()
	var request struct {
		name  [syscall.IFNAMSIZ]byte
		flags uint16
		_     [22]byte
	}
	copy(request.name[:], "lo")
	request.flags = syscall.IFF_UP
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(s), syscall.SIOCSIFFLAGS, uintptr(unsafe.Pointer(&request))); errno != 0 {
		t.Skip("loopback:", errno)
	}
}
