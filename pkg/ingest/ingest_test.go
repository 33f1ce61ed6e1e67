package ingest

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"tracker/pkg/engine"
	"tracker/pkg/seal"
	"tracker/pkg/track"
)

// door is an Ingest that runs on loopback.
type door struct {
	*Ingest
	t    testing.TB
	log  *lockedBuffer
	stop func()
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func openDoor(t testing.TB, e Engine, cfg Config) *door {
	t.Helper()
	log := new(lockedBuffer)
	cfg.Logger = testLogTo(log)
	if cfg.Addr == "" {
		cfg.Addr = "127.0.0.1:0"
	}
	in, err := Listen(cfg, e)
	if err != nil {
		t.Fatalf("listen: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- in.Run(ctx) }()
	d := &door{Ingest: in, t: t, log: log}
	d.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	t.Cleanup(d.stop)
	return d
}

// dial opens a sender.
func (d *door) dial(to string) *net.UDPConn {
	d.t.Helper()
	addr, err := net.ResolveUDPAddr("udp", to)
	if err != nil {
		d.t.Fatal(err)
	}
	c, err := net.DialUDP("udp", nil, addr)
	if err != nil {
		d.t.Skipf("cannot send to %s here: %v", to, err)
	}
	d.t.Cleanup(func() { _ = c.Close() })
	return c
}

func (d *door) write(c *net.UDPConn, pkt []byte) {
	d.t.Helper()
	if _, err := c.Write(pkt); err != nil {
		d.t.Fatal(err)
	}
}

// await waits until the counters satisfy the test.
func (d *door) await(what string, done func(Stats) bool) Stats {
	d.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; runtime.Gosched() {
		s := d.Stats()
		if done(s) {
			return s
		}
		if time.Now().After(deadline) {
			d.t.Fatalf("waited in vain for %s: %+v\n%s", what, s, d.log)
		}
		time.Sleep(time.Millisecond)
	}
}

// receive reads one ack.
func receive(t testing.TB, c *net.UDPConn) []byte {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
	buf := make([]byte, 100)
	n, err := c.Read(buf)
	if err != nil {
		t.Fatalf("no ack: %v", err)
	}
	return buf[:n]
}

// A report and its ack over every kind of address, and on the plain socket as well.
func TestDoorTakesAndAnswersOnEveryAddress(t *testing.T) {
	for _, row := range []struct{ listen, to string }{
		{"127.0.0.1:0", "127.0.0.1"},
		{"0.0.0.0:0", "127.0.0.1"},
		{"0.0.0.0:0", "127.0.0.2"}, // another address of the host: the ack must come from it
		{"[::1]:0", "[::1]"},
		{":0", "127.0.0.2"},
		{":0", "[::1]"},
	} {
		for _, portable := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s to %s portable=%v", row.listen, row.to, portable), func(t *testing.T) {
				if portable && row.to == "127.0.0.2" {
					t.Skip("a plain socket does not know where a datagram came to")
				}
				river := newBareRiver()
				dev := river.enroll(0xe1, seal.ChaCha20Poly1305).start(seconds(time.Now()))
				in, err := net.ListenPacket("udp", row.to+":0")
				if err != nil {
					t.Skipf("no such address here: %v", err)
				}
				_ = in.Close()
				d := openDoor(t, river, Config{Addr: row.listen, Readers: 2, Portable: portable})
				c := d.dial(fmt.Sprintf("%s:%d", row.to, d.Addr().Port))
				d.write(c, dev.ask(time.Now()))
				if a := dev.openAck(t, receive(t, c)); a.Status != seal.AckOK {
					t.Errorf("ack says %v", a.Status)
				}
				s := d.await("the report", func(s Stats) bool { return s.OK == 1 && s.Acks == 1 })
				want := uint64(2)
				if portable || runtime.GOOS != "linux" {
					want = 1
				}
				if s.Readers != want {
					t.Errorf("%d readers, want %d", s.Readers, want)
				}
			})
		}
	}
}

// 64 devices, each from 40 source ports: no datagram comes to a reader that is not
// its own.
func TestSteeringKeepsADeviceOnOneReader(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("steering needs Linux")
	}
	const devices, ports, readers = 64, 40, 4
	river := newBareRiver()
	d := openDoor(t, river, Config{Readers: readers})
	var fleet []*device
	for i := range track.DeviceID(devices) {
		fleet = append(fleet, river.enroll(0x0100_0000_0000|i*0x1f3+1, seal.ChaCha20Poly1305).start(seconds(time.Now())))
	}
	for port := range ports {
		c := d.dial(d.Addr().String())
		for _, dev := range fleet {
			d.write(c, dev.report(time.Now()))
		}
		_ = c.Close()
		want := uint64((port + 1) * devices)
		d.await("all datagrams", func(s Stats) bool { return s.Received() >= want })
	}
	s := d.Stats()
	if s.OK != devices*ports || s.Misrouted != 0 || s.Devices != devices {
		t.Errorf("got %+v", s)
	}
	for i, r := range d.readers {
		var own Stats
		r.tally.addTo(&own)
		if own.OK != devices*ports/readers {
			t.Errorf("reader %d took %d datagrams, want its share %d", i, own.OK, devices*ports/readers)
		}
	}
}

// oneAtATime is a river that notices two batches of one device at once.
type oneAtATime struct {
	*bareRiver
	mu    sync.Mutex
	open  map[track.DeviceID]int
	clash bool
}

func (o *oneAtATime) Apply(b *track.Batch) {
	o.note(b, 1)
	time.Sleep(2 * time.Millisecond) // as if the processor had been taken away
	o.note(b, -1)
	o.bareRiver.Apply(b)
}

func (o *oneAtATime) note(b *track.Batch, by int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := range b.Fixes {
		id := b.Fixes[i].Device
		o.open[id] += by
		if by > 0 && i == 0 && o.open[id] > 1 {
			o.clash = true
		}
	}
}

// While both keys of a rotated device are good, two readers may have it at once. Its
// watchers would see its fixes out of order if both went down the river together.
func TestDeviceOfTwoReadersGoesDownTheRiverOneBatchAtATime(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("steering needs Linux")
	}
	river := &oneAtATime{bareRiver: newBareRiver(), open: map[track.DeviceID]int{}}
	d := openDoor(t, river, Config{Readers: 2, Rate: Rate{Burst: 1000}})
	const id = 0x0100_0000_0002
	former := river.enroll(id, seal.ChaCha20Poly1305, func(s *engine.Session) { s.Retiring, s.Several = true, true })
	next := river.enroll(id+1, seal.ChaCha20Poly1305, func(s *engine.Session) { s.Device, s.Several = id, true })
	c := d.dial(d.Addr().String())
	for _, dev := range []*device{former, next} {
		dev.start(seconds(time.Now()))
	}
	const each = 50
	for range each {
		d.write(c, former.report(time.Now()))
		d.write(c, next.report(time.Now()))
	}
	d.await("all datagrams", func(s Stats) bool { return s.OK == 2*each })
	d.stop()
	if river.clash {
		t.Error("two batches with one device at once")
	}
}

func TestSecondDoorOnAPortIsAnError(t *testing.T) {
	river := newBareRiver()
	first := openDoor(t, river, Config{Readers: 2})
	_, err := Listen(Config{Addr: first.Addr().String(), Readers: 2}, river)
	if err == nil || !strings.Contains(err.Error(), syscall.EADDRINUSE.Error()) {
		t.Errorf("got %v, want %v", err, syscall.EADDRINUSE)
	}
}

func TestCutBufferIsToldOnceWithTheRemedy(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("asks Linux")
	}
	d := openDoor(t, newBareRiver(), Config{Readers: 2, RecvBuffer: 1 << 30})
	if n := strings.Count(d.log.String(), "sysctl -w net.core.rmem_max=1073741824"); n != 1 {
		t.Errorf("the remedy is told %d times, want once:\n%s", n, d.log)
	}
}

func TestFallbackIsToldInTheLog(t *testing.T) {
	d := openDoor(t, newBareRiver(), Config{Portable: true})
	if n := strings.Count(d.log.String(), "plain datagram socket"); n != 1 {
		t.Errorf("told %d times, want once:\n%s", n, d.log)
	}
}

// What had arrived when the door was asked to close is taken.
func TestRunTakesWhatHasArrivedBeforeItEnds(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("a plain socket cannot")
	}
	river := newBareRiver()
	in, err := Listen(Config{Addr: "127.0.0.1:0", Readers: 1, Rate: Rate{Burst: 1000}}, river)
	if err != nil {
		t.Fatal(err)
	}
	dev := river.enroll(0xe2, seal.ChaCha20Poly1305).start(seconds(time.Now()))
	c, err := net.DialUDP("udp", nil, in.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	for range 200 {
		if _, err := c.Write(dev.report(time.Now())); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // before it has read anything
	if err := in.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if s := in.Stats(); s.OK != 200 {
		t.Errorf("took %d datagrams of 200", s.OK)
	}
	if err := in.Close(); err != nil {
		t.Errorf("close after run: %v", err)
	}
}

func TestCloseEndsRun(t *testing.T) {
	for _, portable := range []bool{false, true} {
		in, err := Listen(Config{Addr: "127.0.0.1:0", Portable: portable}, newBareRiver())
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error)
		go func() { done <- in.Run(context.Background()) }()
		if err := in.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	}
}

// With the shield up the kernel drops junk, and reports still get in.
func TestShieldDropsJunkInTheKernel(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the filter needs Linux")
	}
	river := newBareRiver()
	dev := river.enroll(0xe3, seal.ChaCha20Poly1305).start(seconds(time.Now()))
	two := river.enroll(0xe4, seal.AES128GCM).start(seconds(time.Now()))
	d := openDoor(t, river, Config{Readers: 1})
	if !d.sockets[0].shield(true) {
		t.Fatal("no shield")
	}
	c := d.dial(d.Addr().String())
	good := dev.report(time.Now())
	for _, junk := range [][]byte{{}, good[:42], append([]byte{0x13}, good[1:]...), append([]byte{0x19}, good[1:]...), make([]byte, 1201), make([]byte, 1400)} {
		d.write(c, junk)
	}
	d.write(c, good)
	d.write(c, two.report(time.Now()))
	s := d.await("the reports", func(s Stats) bool { return s.OK == 2 && s.Filtered == 6 })
	if s.Received() != 2 || s.SocketDrops != 0 {
		t.Errorf("got %+v", s)
	}
	d.sockets[0].shield(false)
	d.write(c, good[:42])
	d.await("junk without a shield", func(s Stats) bool { return s.BadLen == 1 })
}

// A socket that nobody reads loses datagrams, and the loss is counted.
func TestSocketDropsAreCounted(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("asks Linux")
	}
	in, err := Listen(Config{Addr: "127.0.0.1:0", Readers: 1, RecvBuffer: 4096}, newBareRiver())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = in.Close() }()
	c, err := net.DialUDP("udp", nil, in.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	for range 100 {
		if _, err := c.Write(make([]byte, 51)); err != nil {
			t.Fatal(err)
		}
	}
	if s := in.Stats(); s.SocketDrops < 50 || s.SocketDrops > 100 {
		t.Errorf("%d datagrams lost of 100 into 4 KiB", s.SocketDrops)
	}
}

func TestSenderOfADatagram(t *testing.T) {
	for _, row := range []struct{ listen, from string }{{"127.0.0.1:0", "127.0.0.1"}, {"[::]:0", "127.0.0.1"}, {"[::1]:0", "::1"}} {
		river := newBareRiver()
		in, err := Listen(Config{Addr: row.listen, Readers: 1}, river)
		if err != nil {
			t.Skip(err)
		}
		defer func() { _ = in.Close() }()
		c, err := net.DialUDP("udp", nil, &net.UDPAddr{IP: net.ParseIP(row.from), Port: in.Addr().Port})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		if _, err := c.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		pkts, err := in.sockets[0].receive(true)
		if err != nil || len(pkts) != 1 || string(pkts[0]) != "hello" {
			t.Fatalf("received %q, %v", pkts, err)
		}
		local := c.LocalAddr().(*net.UDPAddr).AddrPort()
		if got, want := in.sockets[0].sender(0), netip.AddrPortFrom(local.Addr().Unmap(), local.Port()); got != want {
			t.Errorf("sender %v, want %v", got, want)
		}
	}
}

func TestCheckReportsEveryMistake(t *testing.T) {
	err := Config{Addr: "nowhere", Readers: 1000, RecvBuffer: -1, Rate: Rate{Datagrams: -1, Burst: -1, Fixes: 1e9}}.Check()
	if err == nil || strings.Count(err.Error(), "\n") != 5 {
		t.Errorf("got %v, want six mistakes", err)
	}
	if err := (Config{}).Check(); err != nil {
		t.Errorf("the zero value: %v", err)
	}
}
