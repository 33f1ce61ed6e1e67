package load

import (
	"context"
	"net"
	"strconv"
	"time"
)

// MeterConfig says what stands beside a run is to look at.
type MeterConfig struct {
	// Server is the process that is measured. nil: its own metrics are asked for at Metrics.
	Server *Process
	// Metrics is HOST:PORT of a server that serves /metrics; "" asks nobody.
	Metrics string
}

// Meter stands beside a run and notes what both sides and the machine use meanwhile:
//
//	NewMeter        looks at the timer
//	Begin           the measured part begins; what was before is forgotten
//	Cut             what was used since the last Cut, for an interval
//	End             fills Resources, Calibration and Env of the result
//
// It belongs to one goroutine.
type Meter struct {
	cfg       MeterConfig
	overshoot time.Duration

	self   *Self
	vitals Vitals
	begun  time.Time
	server serverReading
	all    time.Duration // of the machine, at Begin
	cut    cut
}

// serverReading is what the server has used so far.
type serverReading struct {
	cpu             time.Duration
	writes, written int64
	counted         bool // writes and written are known
	known           bool
	asked           *serverUsage
}

type cut struct {
	at          time.Time
	own, server time.Duration
}

// Cores are processors in use, of both sides.
type Cores struct {
	Client float64
	Server float64
	Known  bool // Server is
}

// NewMeter makes a meter; it measures the timer of this machine, some 20 ms long.
func NewMeter(cfg MeterConfig) *Meter {
	return &Meter{cfg: cfg, overshoot: TimerOvershoot()}
}

// Begin forgets what was before: the measured part begins.
func (m *Meter) Begin(ctx context.Context) {
	if m.self != nil {
		m.self.Stop()
	}
	m.server = m.read(ctx)
	m.vitals = ReadVitals()
	m.all, _ = MachineCPU()
	m.begun = time.Now()
	m.cut.at = m.begun
	m.cut.own, _ = OwnCPU()
	m.cut.server = m.server.cpu
	m.self = WatchSelf()
}

func (m *Meter) read(ctx context.Context) serverReading {
	var s serverReading
	if s.cpu, s.known = m.cfg.Server.CPU(); s.known {
		s.writes, s.written, s.counted = m.cfg.Server.IO()
		return s
	}
	if m.cfg.Metrics != "" {
		s.asked = readServer(ctx, m.cfg.Metrics)
	}
	return s
}

// Cut is what was used since the last Cut, or since Begin.
func (m *Meter) Cut() Cores {
	now := time.Now()
	took := max(now.Sub(m.cut.at), time.Microsecond).Seconds()
	own, _ := OwnCPU()
	c := Cores{Client: (own - m.cut.own).Seconds() / took}
	if server, ok := m.cfg.Server.CPU(); ok {
		c.Server, c.Known = (server-m.cut.server).Seconds()/took, true
		m.cut.server = server
	}
	m.cut.at, m.cut.own = now, own
	return c
}

// End fills in what was used and how the machine was.
func (m *Meter) End(ctx context.Context, r *Result) {
	if m.self == nil { // it never came to the measured part
		m.Begin(ctx)
	}
	usage, hiccups := m.self.Stop()
	m.self = nil
	after := m.read(ctx)
	r.Resources.Client = usage
	r.Resources.Server = m.used(&after)
	r.Calibration.TimerOvershootP99, r.Calibration.Hiccup = int64(m.overshoot), hiccups
	r.Env = Describe(m.vitals, ReadVitals())
	if s := r.Resources.Server; s != nil && after.known {
		if all, ok := MachineCPU(); ok {
			others := max(0, (all-m.all).Seconds()-usage.CPUSeconds-s.CPUSeconds)
			r.Resources.Others = &others
		}
	}
}

// used is what the server used since Begin, nil if nobody tells.
func (m *Meter) used(after *serverReading) *ServerUsage {
	if !after.known || !m.server.known {
		return after.asked.since(m.server.asked)
	}
	u := &ServerUsage{CPUSeconds: (after.cpu - m.server.cpu).Seconds(), PID: m.cfg.Server.PID}
	u.RSS, _ = m.cfg.Server.RSS()
	if after.counted && m.server.counted {
		writes, written := after.writes-m.server.writes, after.written-m.server.written
		u.Writes, u.Written = &writes, &written
	}
	return u
}

// Stop ends the meter of a run that came to nothing. After End it does nothing.
func (m *Meter) Stop() {
	if m.self != nil {
		m.self.Stop()
		m.self = nil
	}
}

// ListenerAt finds the process behind an address of this machine; nil if the system
// does not tell.
func ListenerAt(addr string) *Process {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return nil
	}
	return Listener(n)
}
