package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"tracker/pkg/engine"
	"tracker/pkg/geo"
	"tracker/pkg/hub"
	"tracker/pkg/seal"
	"tracker/pkg/track"
	"tracker/pkg/wire"
)

// probe proves that the river flows: once a second it sends a real datagram, sealed
// under a key of its own, to the server's own UDP address, and waits for the fix to
// come out at a watcher. A server whose connections stand and whose positions do
// not move is not healthy.
type probe struct {
	engine *engine.Engine
	keys   seal.Keys
	id     track.DeviceID
	suite  seal.Suite
	epoch  uint32
	pid    uint32
	log    *slog.Logger

	// When a probe last arrived, nil = never: a time that no clock can set back, or a
	// river that stands still would be healthy until the clock has caught up.
	last atomic.Pointer[time.Time]
}

const (
	probeEvery = time.Second
	probeStale = 5 * time.Second
)

func newProbe(e *engine.Engine, log *slog.Logger) (*probe, error) {
	enrolment, err := e.EnrollProbe()
	if err != nil {
		return nil, fmt.Errorf("enrol the probe: %w", err)
	}
	p := &probe{engine: e, id: enrolment.Device, suite: enrolment.Suite, log: log}
	return p, p.newEpoch(time.Now())
}

// newEpoch keeps to the rules for devices: another key at the latest after a day.
func (p *probe) newEpoch(now time.Time) error {
	p.epoch, p.pid = max(p.epoch+1, uint32(now.Unix())), 0
	return p.engine.WithRoot(p.id, func(root *seal.Root) {
		p.keys = seal.Derive(root, p.suite, p.id, p.epoch)
	})
}

// health tells how long ago a probe last arrived, and why that is too long, if it is.
// The age is negative if none ever did.
func (p *probe) health() (age time.Duration, err error) {
	last := p.last.Load()
	if last == nil {
		return -time.Millisecond, errors.New("no probe fix has made its way from ingest to a watcher yet")
	}
	age = time.Since(*last)
	if age > probeStale {
		return age, fmt.Errorf("the last probe fix made its way from ingest to a watcher %v ago", age.Round(time.Second))
	}
	return age, nil
}

func (p *probe) run(ctx context.Context, udp netip.AddrPort) error {
	conn, err := dialOwn(udp)
	if err != nil {
		return fmt.Errorf("probe: %w", err)
	}
	defer func() { _ = conn.Close() }()
	watching := make(chan error, 1)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { watching <- p.watch(ctx) }()
	p.send(conn)
	t := time.NewTicker(probeEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			<-watching
			return nil
		case err := <-watching:
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("probe: %w", err)
		case <-t.C:
			p.send(conn)
		}
	}
}

func (p *probe) send(conn *net.UDPConn) {
	now := time.Now()
	fix := track.Fix{Time: now.UnixMilli() / 1000 * 1000, At: geo.Deg(0, 0), Has: track.HasPos}
	body, err := wire.AppendBody(nil, &wire.Body{Fixes: []track.Fix{fix}})
	if err != nil {
		p.log.Error("probe body", "err", err)
		return
	}
	if now.Unix()-int64(p.epoch) >= 24*60*60 {
		if err := p.newEpoch(now); err != nil {
			p.log.Error("probe epoch", "err", err)
			return
		}
	}
	h := seal.Header{Suite: p.suite, Device: p.id, Epoch: p.epoch, PID: p.pid}
	p.pid++
	pkt, err := seal.Seal(nil, h, &p.keys, body)
	if err != nil {
		p.log.Error("probe seal", "err", err)
		return
	}
	if _, err := conn.Write(pkt); err != nil {
		p.log.Debug("probe send", "err", err)
	}
}

func (p *probe) watch(ctx context.Context) error {
	v, err := p.engine.Watch(hub.Devices(p.id), hub.Options{})
	if err != nil {
		return err
	}
	defer v.Close()
	frames := make([]*hub.Frame, 0, 4)
	for {
		got, err := v.Next(ctx, frames)
		if err != nil {
			return err
		}
		for _, f := range got {
			if len(f.Fixes) > 0 {
				now := time.Now()
				p.last.Store(&now)
			}
		}
	}
}

// dialOwn connects to our own datagram port. A machine whose IPv6 is switched off, as
// in many containers, listens on [::] all the same, but has no ::1 to be reached at.
func dialOwn(udp netip.AddrPort) (*net.UDPConn, error) {
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(dialable(udp)))
	if err != nil && udp.Addr().IsUnspecified() {
		v4 := netip.AddrPortFrom(netip.IPv4Unspecified(), udp.Port())
		return net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(dialable(v4)))
	}
	return conn, err
}

// dialable turns the wildcard address of a listener into one that can be sent to.
func dialable(a netip.AddrPort) netip.AddrPort {
	if !a.Addr().IsUnspecified() {
		return a
	}
	if a.Addr().Is4() {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), a.Port())
	}
	return netip.AddrPortFrom(netip.IPv6Loopback(), a.Port())
}
