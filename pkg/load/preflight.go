package load

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"tracker/pkg/track"
)

// Need is what a run asks of this machine. Preflight finds out beforehand whether there
// is enough: a run that ends at its ten thousandth connection has measured nothing.
type Need struct {
	Conns   int            // connections open at once
	PerSec  float64        // connections opened a second, beyond those that stay
	For     time.Duration  // for so long
	Target  netip.AddrPort // where they all go; its zero value leaves ports alone
	Sources *Sources       // where they come from; nil: wherever the system likes
}

// Spare is how many files a run has open beside its connections.
const Spare = 64

// ErrShort says that this machine lacks what a run needs. The error is a *Shortage.
var ErrShort = errors.New("too little for the run")

// Shortage is what is missing, and what to do about it.
type Shortage struct{ What, Fix string }

func (s *Shortage) Error() string { return s.What }

// Unwrap makes it an ErrShort.
func (s *Shortage) Unwrap() error { return ErrShort }

// Preflight makes sure that the run can be had. It raises this process's soft limit of
// open files where the hard one allows it, and refuses with a *Shortage where nothing
// that it may do is enough.
func Preflight(n Need) error {
	if err := raiseFiles(int64(n.Conns) + int64(n.churning()) + Spare); err != nil {
		return err
	}
	if err := n.Sources.check(); err != nil {
		return err
	}
	return n.ports()
}

// churning is how many of the connections that come and go are open at a time, with room
// for a second of standstill.
func (n *Need) churning() int { return int(n.PerSec) }

// raiseFiles sees to it that this process may have so many files open.
func raiseFiles(want int64) error {
	soft, hard, known := fileLimits()
	switch {
	case !known || soft >= want:
		return nil
	case hard < want:
		return &Shortage{
			What: fmt.Sprintf("this process may open %d files, and the run needs %d", hard, want),
			Fix:  fmt.Sprintf("as root: prlimit --pid $$ --nofile=%d:%d, in the shell that starts it", want, want),
		}
	}
	if err := setSoftFiles(want); err != nil {
		return &Shortage{What: fmt.Sprintf("this process may open %d files, and the run needs %d: %v", soft, want, err), Fix: fmt.Sprintf("ulimit -n %d", want)}
	}
	return nil
}

// timeWait is how long a port that was closed cannot be used for the same target again.
const timeWait = 60 * time.Second

// ports holds the connections against the ports that a source has for one target.
func (n *Need) ports() error {
	first, last, known := portRange()
	if !known || !n.Target.IsValid() || n.Conns == 0 && n.PerSec == 0 {
		return nil
	}
	need := float64(n.Conns + n.churning())
	resting := !portsAreReused(n.Target.Addr())
	if resting {
		need += n.PerSec * min(n.For, timeWait).Seconds()
	}
	most := last - first + 1
	free := 0
	for _, source := range n.Sources.list() {
		free += max(0, most-portsTaken(source, n.Target, first, last, resting))
	}
	if need <= float64(free) {
		return nil
	}
	return &Shortage{
		What: fmt.Sprintf("the run needs %.0f local ports towards %v, and %d are free", need, n.Target, free),
		Fix:  n.morePorts(need-float64(free), most),
	}
}

// morePorts says how to come by the ports that are missing.
func (n *Need) morePorts(missing float64, each int) string {
	if !n.Target.Addr().IsLoopback() || !n.Target.Addr().Is4() {
		return "--source-ips A,B spreads the connections over several addresses of this machine; sysctl net.ipv4.ip_local_port_range='1024 65535' gives each more"
	}
	have := n.Sources.list()
	if n.Sources == nil {
		have = nil // a source that was not named may serve under its name
	}
	var names []string
	for _, a := range have {
		names = append(names, a.String())
	}
	more := int(missing)/each + 1
	if have == nil {
		more++
	}
	for next := netip.AddrFrom4([4]byte{127, 0, 0, 2}); more > 0; next = next.Next() {
		if s := next.String(); !strings.Contains(","+strings.Join(names, ",")+",", ","+s+",") {
			names = append(names, s)
			more--
		}
	}
	return "--source-ips " + strings.Join(names, ",")
}

// Sources are local addresses that connections come from in turn, as each has only some
// 28,000 ports for one target. A nil *Sources leaves it to the system.
type Sources struct {
	addrs []netip.Addr
	next  atomic.Uint32
}

// ParseSources reads addresses with commas between them; "" makes nil.
func ParseSources(s string) (*Sources, error) {
	if s == "" {
		return nil, nil
	}
	var out Sources
	for part := range strings.SplitSeq(s, ",") {
		a, err := netip.ParseAddr(strings.TrimSpace(part))
		if err != nil {
			return nil, fmt.Errorf("%q is no address such as 127.0.0.2: %w", part, track.ErrInvalid)
		}
		out.addrs = append(out.addrs, a)
	}
	return &out, nil
}

// list is what a run counts with: an invalid address stands for whichever the system
// takes.
func (s *Sources) list() []netip.Addr {
	if s == nil {
		return []netip.Addr{{}}
	}
	return s.addrs
}

// check finds out whether this machine has the addresses.
func (s *Sources) check() error {
	if s == nil {
		return nil
	}
	for _, a := range s.addrs {
		l, err := net.Listen("tcp", netip.AddrPortFrom(a, 0).String())
		if err != nil {
			return &Shortage{What: fmt.Sprintf("%v is no address of this machine", a), Fix: fmt.Sprintf("ip addr add %v dev lo, or leave it out of --source-ips", a)}
		}
		_ = l.Close()
	}
	return nil
}

// DialContext opens a connection from the next of the addresses.
func (s *Sources) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: dialPatience}
	if s != nil {
		at := s.addrs[int(s.next.Add(1)-1)%len(s.addrs)]
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(at, 0))
		d.Control = latePort
	}
	return d.DialContext(ctx, network, addr)
}

const dialPatience = 10 * time.Second

// TargetOf is the address that a run connects to, for Need; its zero value if that is a
// name, whose address nobody knows before it is asked for.
func TargetOf(addr string) netip.AddrPort {
	if host, port, err := net.SplitHostPort(addr); err == nil && strings.EqualFold(host, "localhost") {
		addr = net.JoinHostPort("127.0.0.1", port)
	}
	a, err := netip.ParseAddrPort(addr)
	if err != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// portRange is where the system takes ports for connections from.
func portRange() (first, last int, known bool) {
	f := strings.Fields(line("/proc/sys/net/ipv4/ip_local_port_range"))
	if len(f) != 2 {
		return 0, 0, false
	}
	a, errA := strconv.Atoi(f[0])
	b, errB := strconv.Atoi(f[1])
	return a, b, errA == nil && errB == nil && a <= b
}

// portsAreReused tells whether a port that rests can be taken a second later. With the
// usual setting of 2 that is so for targets on this machine.
func portsAreReused(target netip.Addr) bool {
	how := number(line("/proc/sys/net/ipv4/tcp_tw_reuse"))
	return how != nil && (*how == 1 || *how == 2 && target.IsLoopback())
}

// portsTaken counts the ports of a source that connections to the target use, with those
// that rest, if they cannot be taken again.
func portsTaken(source netip.Addr, target netip.AddrPort, first, last int, resting bool) (n int) {
	const timeWaitState = "06"
	for _, path := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		for l := range strings.Lines(string(file(path))) {
			f := strings.Fields(l)
			if len(f) < 4 || f[3] == timeWaitState && !resting {
				continue
			}
			local, ok := parseSocket(f[1])
			remote, ok2 := parseSocket(f[2])
			if !ok || !ok2 || remote != target || source.IsValid() && local.Addr() != source {
				continue
			}
			if p := int(local.Port()); p >= first && p <= last {
				n++
			}
		}
	}
	return n
}

// parseSocket reads an address as /proc/net/tcp has it: words of the machine's order in
// hex, here little endian, and the port.
func parseSocket(s string) (netip.AddrPort, bool) {
	host, port, ok := strings.Cut(s, ":")
	p, err := strconv.ParseUint(port, 16, 16)
	if !ok || err != nil || len(host) != 8 && len(host) != 32 {
		return netip.AddrPort{}, false
	}
	b := make([]byte, 0, 16)
	for ; host != ""; host = host[8:] {
		w, err := strconv.ParseUint(host[:8], 16, 32)
		if err != nil {
			return netip.AddrPort{}, false
		}
		b = append(b, byte(w), byte(w>>8), byte(w>>16), byte(w>>24))
	}
	a, _ := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(a.Unmap(), uint16(p)), true
}
