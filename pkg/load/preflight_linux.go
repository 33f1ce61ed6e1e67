package load

import "syscall"

// bindAddressNoPort is IP_BIND_ADDRESS_NO_PORT, which package syscall does not know.
const bindAddressNoPort = 24

// latePort lets the system choose the port when it connects and knows the target. A port
// that is chosen before may be shared with no other target, nor taken while it rests.
func latePort(_, _ string, raw syscall.RawConn) error {
	return raw.Control(func(fd uintptr) {
		// A kernel without it chooses early, which is only worse.
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IP, bindAddressNoPort, 1)
	})
}
