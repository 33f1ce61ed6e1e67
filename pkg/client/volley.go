package client

import (
	"fmt"
	"net"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"

	"tracker/pkg/seal"
	"tracker/pkg/track"
)

// Volley is the datagrams of many devices, sealed before the moment at which they leave:
// for measuring a server beside which the sealing would be seen. It has one socket, no
// goroutine, no queue and no mercy; the limits are left to the server.
//
//	Add, Add, …      Seal, Seal, … ──► one slab ──► Send: sendmmsg, as many as are told
//
// Nobody else may send as its devices: their epoch begins with the volley, and with the
// same second it would be the same. It belongs to one goroutine.
type Volley struct {
	conn    *net.UDPConn
	write   func([]ipv4.Message, int) (int, error)
	epoch   uint32
	devices []volleyDevice
	pack    packer
	one     [1]track.Fix // what is being packed
	keys    seal.Keys
	slab    []byte // of all that were sealed, one behind the other
	ends    []int  // where each of them ends
	sent    int    // so many of them have left
	msgs    []ipv4.Message
}

// volleyDevice is one device, without pointers.
type volleyDevice struct {
	up    [32]byte
	wire  track.DeviceID
	pid   uint32
	suite seal.Suite
}

// NewVolley opens a socket that sends to addr, HOST:PORT.
func NewVolley(addr string) (*Volley, error) {
	to, err := net.ResolveUDPAddr("udp", addr)
	if err != nil {
		return nil, fmt.Errorf("volley: %w", err)
	}
	conn, err := net.DialUDP("udp", nil, to)
	if err != nil {
		return nil, fmt.Errorf("volley: %w", err)
	}
	_ = conn.SetWriteBuffer(4 << 20)
	v := &Volley{conn: conn, epoch: uint32(time.Now().Unix()), write: ipv4.NewPacketConn(conn).WriteBatch, msgs: make([]ipv4.Message, batchSize)}
	if to.IP.To4() == nil {
		v.write = ipv6.NewPacketConn(conn).WriteBatch
	}
	for i := range v.msgs {
		v.msgs[i].Buffers = make([][]byte, 1)
	}
	return v, nil
}

// Add takes a device by its enrolment, and returns its number: 0, 1, 2 and so on.
func (v *Volley) Add(enrolment string) (int, error) {
	e, err := seal.ParseEnrolment(enrolment)
	if err != nil {
		return 0, fmt.Errorf("volley: %w", err)
	}
	d := volleyDevice{wire: e.Device, suite: e.Suite}
	if e.Flags&seal.RotatingIDs != 0 {
		d.wire = seal.RotatingID(&e.Root, v.epoch>>16)
	}
	d.up = seal.Derive(&e.Root, e.Suite, d.wire, v.epoch).Up
	v.devices = append(v.devices, d)
	return len(v.devices) - 1, nil
}

// Len is the number of devices.
func (v *Volley) Len() int { return len(v.devices) }

// Seal makes a datagram of one fix of device i and puts it behind those that wait.
func (v *Volley) Seal(i int, fix *track.Fix) error {
	if i < 0 || i >= len(v.devices) {
		return fmt.Errorf("volley: no device %d: %w", i, track.ErrInvalid)
	}
	v.forget()
	d := &v.devices[i]
	v.one[0] = *fix
	body, _, err := v.pack.pack(v.one[:], 0, false)
	if err != nil {
		return fmt.Errorf("volley: %w", err)
	}
	h := seal.Header{Suite: d.suite, Device: d.wire, Epoch: v.epoch, PID: d.pid}
	d.pid++ // before anything can fail
	v.keys.Up = d.up
	if v.slab, err = seal.Seal(v.slab, h, &v.keys, body); err != nil {
		return fmt.Errorf("volley: %w", err)
	}
	v.ends = append(v.ends, len(v.slab))
	return nil
}

// forget makes room when all that was sealed has left.
func (v *Volley) forget() {
	if v.sent > 0 && v.sent == len(v.ends) {
		v.slab, v.ends, v.sent = v.slab[:0], v.ends[:0], 0
	}
}

// Waiting is how many were sealed and have not left.
func (v *Volley) Waiting() int { return len(v.ends) - v.sent }

// Send gives the next n of those that wait to the kernel, fewer if fewer wait. It stops
// at the first that the socket does not take, which waits on.
func (v *Volley) Send(n int) error {
	for n = min(n, v.Waiting()); n > 0; {
		k, err := v.write(v.next(min(n, batchSize)), 0)
		if err != nil {
			return fmt.Errorf("volley: %w", err)
		}
		v.sent += k
		n -= k
	}
	return nil
}

// next lays out the next n as messages.
func (v *Volley) next(n int) []ipv4.Message {
	for i := range n {
		v.msgs[i].Buffers[0] = v.slab[v.start(v.sent+i):v.ends[v.sent+i]]
	}
	return v.msgs[:n]
}

func (v *Volley) start(i int) int {
	if i == 0 {
		return 0
	}
	return v.ends[i-1]
}

// Close closes the socket.
func (v *Volley) Close() error { return v.conn.Close() }
