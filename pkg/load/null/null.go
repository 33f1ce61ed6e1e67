// Package null is a server that does nothing, as cheaply as it can be done. What a
// client reaches against it is what that client can reach at all; a measurement that
// comes near says more of the instrument than of the server.
//
//	calls     ─► a ready answer, in which the number is patched
//	watches   ─► an empty snapshot, and then
//	reports   ─► collected until there are Batch of them, written once for each encoding,
//	             and sent to every watcher
//	datagrams ─► counted
//
// It knows nobody, checks no token, and keeps nothing. Everything else is what trackerd
// says on the wire, so that clients need not know the difference: frames of rpc, and the
// WebSocket at /v1/stream.
package null

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Config says how it behaves. Zero values are good.
type Config struct {
	Listen string        // 0: a free port of loopback
	Batch  int           // reports that go into one frame; 0: as many as there are
	Tick   time.Duration // how long a report waits for others; 0: 40 ms
}

// Server is a server that does nothing.
type Server struct {
	cfg    Config
	l      net.Listener
	udp    net.PacketConn
	hub    *hub
	ready  *answers
	wait   sync.WaitGroup
	taken  atomic.Uint64 // datagrams
	open   atomic.Int64  // connections
	mu     sync.Mutex
	conns  map[net.Conn]bool
	ending bool
}

// Listen opens the ports.
func Listen(cfg Config) (*Server, error) {
	if cfg.Listen == "" {
		cfg.Listen = "127.0.0.1:0"
	}
	if cfg.Tick == 0 {
		cfg.Tick = 40 * time.Millisecond
	}
	ready, err := newAnswers()
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, ready: ready, hub: newHub(&cfg), conns: map[net.Conn]bool{}}
	if s.l, err = net.Listen("tcp", cfg.Listen); err != nil {
		return nil, err
	}
	host, _, err := net.SplitHostPort(cfg.Listen)
	if err == nil {
		s.udp, err = net.ListenPacket("udp", net.JoinHostPort(host, "0"))
	}
	if err != nil {
		return nil, errors.Join(err, s.l.Close())
	}
	if u, ok := s.udp.(*net.UDPConn); ok {
		_ = u.SetReadBuffer(4 << 20) // what the system allows of it is good enough
	}
	return s, nil
}

// Addr is where calls, watches and reports go.
func (s *Server) Addr() string { return s.l.Addr().String() }

// UDP is where datagrams go.
func (s *Server) UDP() string { return s.udp.LocalAddr().String() }

// Run serves until ctx ends, and everybody has been sent away.
func (s *Server) Run(ctx context.Context) error {
	defer context.AfterFunc(ctx, s.close)()
	s.wait.Go(s.sink)
	s.wait.Go(func() { s.hub.run(ctx) })
	for {
		nc, err := s.l.Accept()
		if err != nil {
			s.close()
			s.wait.Wait()
			if errors.Is(err, net.ErrClosed) {
				return nil
			}
			return err
		}
		if !s.admit(nc) {
			continue
		}
		s.wait.Go(func() {
			defer s.forget(nc)
			s.serve(nc)
		})
	}
}

func (s *Server) admit(nc net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ending {
		_ = nc.Close()
		return false
	}
	s.conns[nc] = true
	s.open.Add(1)
	return true
}

func (s *Server) forget(nc net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, nc)
	s.open.Add(-1)
	_ = nc.Close()
}

// alone tells whether there is only one connection: then looking takes nothing from
// another.
func (s *Server) alone() bool { return s.open.Load() == 1 }

func (s *Server) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ending = true
	_, _ = s.l.Close(), s.udp.Close()
	for nc := range s.conns {
		_ = nc.Close()
	}
}

// sink counts datagrams.
func (s *Server) sink() {
	b := make([]byte, 2048)
	for {
		if _, _, err := s.udp.ReadFrom(b); err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			continue
		}
		s.taken.Add(1)
	}
}

// countQuestion asks how many datagrams came; the answer is a line.
const countQuestion = "UDP?"

// serve looks at how a connection begins.
func (s *Server) serve(nc net.Conn) {
	head := make([]byte, 4)
	if _, err := io.ReadFull(nc, head); err != nil {
		return
	}
	switch string(head) {
	case "TRK1":
		newCaller(s, nc).run()
	case "GET ":
		newSocket(s, nc).run()
	case countQuestion:
		_, _ = fmt.Fprintf(nc, "%d\n", s.taken.Load())
	}
}

// Datagrams asks a null server how many datagrams it took.
func Datagrams(ctx context.Context, addr string) (uint64, error) {
	var d net.Dialer
	nc, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return 0, err
	}
	defer func() { _ = nc.Close() }()
	_ = nc.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.WriteString(nc, countQuestion); err != nil {
		return 0, err
	}
	line, err := bufio.NewReader(nc).ReadString('\n')
	if err != nil {
		return 0, err
	}
	return strconv.ParseUint(strings.TrimSpace(line), 10, 64)
}
