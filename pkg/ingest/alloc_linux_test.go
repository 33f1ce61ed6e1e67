package ingest

import (
	"net"
	"testing"
	"time"

	"tracker/pkg/seal"
	"tracker/pkg/track"
)

// From the system call to the river and back to the ack, a datagram allocates
// nothing, be it welcome or not.
func TestDatagramsAllocateNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	river := newBareRiver()
	river.forget = true
	clock := epoch0
	in, err := Listen(Config{Addr: "127.0.0.1:0", Readers: 1, Rate: Rate{Datagrams: 1e4, Burst: 1e6, Fixes: 1e4},
		Now: func() time.Time { return clock }}, river)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = in.Close() }()
	r := in.readers[0]
	defer r.release()
	c, err := net.DialUDP("udp", nil, in.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	var fleet []*device
	for i := range track.DeviceID(batchLen) {
		fleet = append(fleet, river.enroll(0xa110c0+i, seal.Suite(1)).start(seconds(clock)))
	}
	stranger := newBareRiver().enroll(0xa11fff, seal.Suite(1)).start(1)

	report, trail, ask := bodyOf(clock, 1, false), bodyOf(clock, 20, false), bodyOf(clock, 1, true)
	var buf [seal.MaxDatagram]byte
	for _, row := range []struct {
		name string
		step time.Duration // between two datagrams of a device
		make func(d *device) []byte
	}{
		{"report", time.Millisecond, func(d *device) []byte { return d.sealInto(buf[:0], report) }},
		{"trail", time.Millisecond, func(d *device) []byte { return d.sealInto(buf[:0], trail) }},
		{"ack", 2 * time.Second, func(d *device) []byte { return d.sealInto(buf[:0], ask) }},
		{"replay", time.Millisecond, func(d *device) []byte { d.pid--; return d.sealInto(buf[:0], report) }},
		{"forgery", time.Millisecond, func(d *device) []byte {
			pkt := d.sealInto(buf[:0], report)
			pkt[20] ^= 1
			return pkt
		}},
		{"stranger", time.Millisecond, func(*device) []byte { return stranger.sealInto(buf[:0], report) }},
		{"junk", time.Millisecond, func(*device) []byte { return buf[:100] }},
	} {
		t.Run(row.name, func(t *testing.T) {
			round := func() {
				clock = clock.Add(row.step)
				for _, d := range fleet {
					if _, err := c.Write(row.make(d)); err != nil {
						t.Fatal(err)
					}
				}
				for left := batchLen; left > 0; {
					pkts, err := r.socket.receive(true)
					if err != nil {
						t.Fatal(err)
					}
					r.handle(pkts)
					left -= len(pkts)
				}
			}
			for range 3 {
				round() // sessions open, maps and buffers grow
			}
			if n := testing.AllocsPerRun(20, round); n != 0 {
				t.Errorf("%v allocations for %d datagrams", n, batchLen)
			}
		})
	}
	if s := in.Stats(); s.AcksFailed != 0 || s.Acks < 20*batchLen {
		t.Errorf("acks were not sent: %+v", s)
	}
}

// sealInto seals into the caller's memory.
func (d *device) sealInto(dst, body []byte) []byte {
	pkt, err := seal.Seal(dst, seal.Header{Suite: d.suite, Device: d.id, Epoch: d.epoch, PID: d.pid}, &d.keys, body)
	if err != nil {
		panic(err)
	}
	d.pid++
	return pkt
}
