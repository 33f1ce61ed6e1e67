package ingest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"tracker/pkg/seal"
)

// pause is how long a reader lets datagrams gather after a batch that was less than
// half full. Without it a moderate load is read two or three datagrams at a time,
// and wake-ups cost more than the work. It comes after the batch was handled, so a
// lone datagram never waits for it.
const pause = 50 * time.Microsecond

const controlLen = 64 // one IPV6_PKTINFO is 40

// batchSocket reads up to 64 datagrams with one recvmmsg, answers with one
// sendmmsg, and allocates for neither. Package net has no such calls, and those of
// x/net allocate twice a datagram; so the system calls are made here, on a
// connection that the runtime polls like any other.
type batchSocket struct {
	conn *net.UDPConn
	raw  syscall.RawConn

	in   [batchLen]mmsghdr
	iov  [batchLen]unix.Iovec
	buf  [batchLen][(longest + 15) &^ 15]byte
	name [batchLen]unix.RawSockaddrInet6 // large enough for IPv4, too
	ctrl [batchLen][controlLen]byte
	got  [batchLen][]byte
	n    int // of the last batch; also how many headers the kernel has written to

	out    [batchLen]mmsghdr
	outIov [batchLen]unix.Iovec
	outAck [batchLen][seal.AckLen]byte
	queued int

	read, write func(fd uintptr) bool // made once: a closure a call would be an allocation a call
	errno       unix.Errno
	sent        int
	family      int
	pktinfo     bool // bound to every address: answer from the one that was asked

	mu       sync.Mutex // guards what the drops are counted with
	shielded bool
	lastDrop uint32
	full     uint64
	filtered uint64
}

type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
}

// openBatched opens n sockets on one port. The kernel hands each datagram to the
// socket whose number is the last byte of the wire id modulo n, so that all
// datagrams of a device are read by one goroutine and its replay state needs no
// lock.
func openBatched(network, addr string, n int) ([]socket, error) {
	// The first binds alone, so that a port which somebody else has, perhaps another
	// trackerd, is an error and not a share of his datagrams.
	first, err := openOne(network, addr, false)
	if err != nil {
		return nil, err
	}
	sockets := []socket{first}
	fail := func(err error) ([]socket, error) {
		for _, s := range sockets {
			_ = s.close()
		}
		return nil, err
	}
	if n == 1 {
		return sockets, nil
	}
	if err := first.setInt(unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
		return fail(fmt.Errorf("share the port: %w", err))
	}
	for len(sockets) < n {
		s, err := openOne(network, first.conn.LocalAddr().String(), true)
		if err != nil {
			return fail(err)
		}
		sockets = append(sockets, s)
	}
	if err := first.attach(unix.SO_ATTACH_REUSEPORT_CBPF, steering(n)); err != nil {
		return fail(fmt.Errorf("steer datagrams: %w", err))
	}
	return sockets, nil
}

func openOne(network, addr string, share bool) (*batchSocket, error) {
	lc := net.ListenConfig{}
	if share {
		lc.Control = func(_, _ string, c syscall.RawConn) error {
			var err error
			if e := c.Control(func(fd uintptr) {
				err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
			}); e != nil {
				return e
			}
			return err
		}
	}
	conn, err := lc.ListenPacket(context.Background(), network, addr)
	if err != nil {
		return nil, err
	}
	s := &batchSocket{conn: conn.(*net.UDPConn)}
	if err := s.prepare(); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return s, nil
}

func (s *batchSocket) prepare() error {
	raw, err := s.conn.SyscallConn()
	if err != nil {
		return err
	}
	s.raw = raw
	if err := s.askForLocalAddress(); err != nil {
		return err
	}
	for i := range s.in {
		s.iov[i].Base = &s.buf[i][0]
		s.iov[i].SetLen(longest)
		h := &s.in[i].hdr
		h.Name, h.Iov = (*byte)(unsafe.Pointer(&s.name[i])), &s.iov[i]
		h.SetIovlen(1)
		if s.pktinfo {
			h.Control = &s.ctrl[i][0]
		}
		s.outIov[i].Base = &s.outAck[i][0]
		s.outIov[i].SetLen(seal.AckLen)
		o := &s.out[i].hdr
		o.Iov = &s.outIov[i]
		o.SetIovlen(1)
	}
	s.n = batchLen // all headers need their lengths
	s.read, s.write = s.recvmmsg, s.sendmmsg
	// Asking for no datagrams at all shows whether the system lets us ask.
	return s.control(func(fd int) error {
		_, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&s.in[0])), 0, unix.MSG_DONTWAIT, 0, 0)
		if errno != 0 && errno != unix.EAGAIN {
			return fmt.Errorf("recvmmsg: %w", errno)
		}
		return nil
	})
}

// askForLocalAddress makes the kernel tell to which of the host's addresses a
// datagram came, if it can be more than one: a device behind a NAT only ever hears
// answers from the address that it wrote to.
func (s *batchSocket) askForLocalAddress() error {
	var err error
	if s.family, err = s.getInt(unix.SOL_SOCKET, unix.SO_DOMAIN); err != nil {
		return fmt.Errorf("address family: %w", err)
	}
	if local, ok := s.conn.LocalAddr().(*net.UDPAddr); !ok || !local.IP.IsUnspecified() {
		return nil
	}
	s.pktinfo = true
	if s.family == unix.AF_INET {
		return s.setInt(unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
	}
	return s.setInt(unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
}

func (s *batchSocket) receive(wait bool) ([][]byte, error) {
	var err error
	if wait {
		if s.n < batchLen/2 {
			takeBreath()
		}
		err = s.raw.Read(s.read)
	} else {
		err = s.raw.Control(func(fd uintptr) { s.recvmmsg(fd) })
	}
	switch {
	case err != nil:
		return nil, err
	case s.errno == unix.EAGAIN:
		return nil, nil
	case s.errno != 0:
		return nil, s.errno
	}
	return s.got[:s.n], nil
}

// takeBreath lets others run first: whoever has just been given a fix should not wait
// for the processor that sleeps here. The runtime's own timers are too coarse.
func takeBreath() {
	runtime.Gosched()
	nap := unix.NsecToTimespec(int64(pause))
	_ = unix.Nanosleep(&nap, nil)
}

// recvmmsg returns false when it would have to wait.
func (s *batchSocket) recvmmsg(fd uintptr) bool {
	for i := range s.n { // the kernel has written over these
		h := &s.in[i].hdr
		h.Namelen = unix.SizeofSockaddrInet6
		if s.pktinfo {
			h.SetControllen(controlLen)
		}
	}
	s.n = 0
	for {
		n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&s.in[0])), batchLen, unix.MSG_DONTWAIT, 0, 0)
		if errno == unix.EINTR {
			continue
		}
		if s.errno = errno; errno != 0 {
			return errno != unix.EAGAIN
		}
		s.n = int(n)
		break
	}
	for i := range s.n {
		s.got[i] = s.buf[i][:s.in[i].len]
	}
	return true
}

func (s *batchSocket) sender(i int) netip.AddrPort {
	n := &s.name[i]
	port := binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&n.Port))[:])
	if n.Family == unix.AF_INET {
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(n))
		return netip.AddrPortFrom(netip.AddrFrom4(v4.Addr), port)
	}
	return netip.AddrPortFrom(netip.AddrFrom16(n.Addr).Unmap(), port)
}

func (s *batchSocket) answer(i int, ack []byte) {
	in, out := &s.in[i].hdr, &s.out[s.queued].hdr
	copy(s.outAck[s.queued][:], ack)
	out.Name, out.Namelen = in.Name, in.Namelen
	out.Control = nil
	out.SetControllen(0)
	if s.pktinfo && in.Controllen > 0 {
		s.forgetInterface(i)
		out.Control = in.Control
		out.SetControllen(int(in.Controllen))
	}
	s.queued++
}

// forgetInterface keeps the address that a datagram came to and lets the routes
// decide which way the answer leaves. Only link-local addresses mean nothing
// without their interface.
func (s *batchSocket) forgetInterface(i int) {
	data := s.ctrl[i][unix.CmsgLen(0):]
	if s.family == unix.AF_INET {
		clear(data[:4]) // struct in_pktinfo starts with it
		return
	}
	if !netip.AddrFrom16([16]byte(data[:16])).IsLinkLocalUnicast() {
		clear(data[16:20]) // struct in6_pktinfo ends with it
	}
}

func (s *batchSocket) flush() (sent, failed int) {
	if s.queued == 0 {
		return 0, 0
	}
	s.sent = 0
	if err := s.raw.Write(s.write); err != nil {
		s.sent = 0
	}
	sent, failed = s.sent, s.queued-s.sent
	s.queued = 0
	return sent, failed
}

// sendmmsg sends what is queued, as far as it goes without waiting. The kernel stops
// at the first answer that it cannot send and says why only if asked again; that
// one is skipped.
func (s *batchSocket) sendmmsg(fd uintptr) bool {
	for next := 0; next < s.queued; {
		n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&s.out[next])), uintptr(s.queued-next), unix.MSG_DONTWAIT, 0, 0)
		switch {
		case errno == unix.EINTR:
		case errno == unix.EAGAIN:
			return true // no room; an ack that comes late is worth nothing
		case errno != 0:
			next++
		default:
			next += int(n)
			s.sent += int(n)
		}
	}
	return true
}

// steering: A = payload[6], the last byte of the id; return A mod n. A datagram too
// short to have one goes to socket 0.
func steering(n int) []unix.SockFilter {
	return []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: steerByte},
		{Code: unix.BPF_ALU | unix.BPF_MOD | unix.BPF_K, K: uint32(n)},
		{Code: unix.BPF_RET | unix.BPF_A},
	}
}

// junkFilter lets only pass what has the length and the first byte of a report. It
// sees the UDP header, too.
func junkFilter() []unix.SockFilter {
	const header, pass, drop = 8, 6, 7
	jump := func(at int, op uint16, k uint32, yes, no int) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | op | unix.BPF_K, K: k, Jt: uint8(yes - at - 1), Jf: uint8(no - at - 1)}
	}
	return []unix.SockFilter{
		0:    {Code: unix.BPF_LD | unix.BPF_W | unix.BPF_LEN},
		1:    jump(1, unix.BPF_JGE, header+seal.MinDatagram, 2, drop),
		2:    jump(2, unix.BPF_JGT, header+seal.MaxDatagram, drop, 3),
		3:    {Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: header},
		4:    jump(4, unix.BPF_JEQ, 0x11, pass, 5),
		5:    jump(5, unix.BPF_JEQ, 0x12, pass, drop),
		pass: {Code: unix.BPF_RET | unix.BPF_K, K: ^uint32(0)},
		drop: {Code: unix.BPF_RET | unix.BPF_K, K: 0},
	}
}

func (s *batchSocket) shield(on bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.countDrops()
	var err error
	if on {
		err = s.attach(unix.SO_ATTACH_FILTER, junkFilter())
	} else {
		err = s.setInt(unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0)
	}
	if err == nil {
		s.shielded = on
	}
	return err == nil
}

func (s *batchSocket) drops() (full, filtered uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.countDrops()
	return s.full, s.filtered
}

const memInfoDrops = 8 // SK_MEMINFO_DROPS of linux/sock_diag.h

// countDrops reads the kernel's one counter of both kinds of drops. What was lost
// while the shield was up counts as filtered.
func (s *batchSocket) countDrops() {
	var info [16]uint32
	size := uint32(unsafe.Sizeof(info))
	var errno unix.Errno
	err := s.raw.Control(func(fd uintptr) {
		_, _, errno = unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_MEMINFO,
			uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	})
	if err != nil || errno != 0 || size <= 4*memInfoDrops {
		return // closed, or a kernel before 4.12
	}
	now := info[memInfoDrops]
	fresh := uint64(now - s.lastDrop) // right across the wrap
	s.lastDrop = now
	if s.shielded {
		s.filtered += fresh
	} else {
		s.full += fresh
	}
}

func (s *batchSocket) interrupt() { _ = s.conn.SetReadDeadline(time.Unix(1, 0)) }

func (s *batchSocket) close() error { return s.conn.Close() }

func (s *batchSocket) udp() *net.UDPConn { return s.conn }

func (s *batchSocket) attach(option int, prog []unix.SockFilter) error {
	fprog := unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}
	return s.control(func(fd int) error { return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, option, &fprog) })
}

func (s *batchSocket) setInt(level, option, value int) error {
	return s.control(func(fd int) error { return unix.SetsockoptInt(fd, level, option, value) })
}

func (s *batchSocket) getInt(level, option int) (v int, err error) {
	err = s.control(func(fd int) (err error) {
		v, err = unix.GetsockoptInt(fd, level, option)
		return err
	})
	return v, err
}

func (s *batchSocket) control(fn func(fd int) error) error {
	var err error
	return errors.Join(s.raw.Control(func(fd uintptr) { err = fn(int(fd)) }), err)
}

// receiveBuffer sets the size of a socket's buffer and returns what the kernel
// granted. It is told in the kernel's own terms, before it doubles the number for
// its book-keeping.
func receiveBuffer(conn *net.UDPConn, want int) (granted int, err error) {
	if err := conn.SetReadBuffer(want); err != nil {
		return 0, err
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var e error
	err = raw.Control(func(fd uintptr) {
		granted, e = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF)
	})
	return granted / 2, errors.Join(err, e)
}
