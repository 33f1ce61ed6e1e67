// Package server is the roof: it makes a running server of a config, starts the
// rooms in the order in which the river flows, and stops them against it, so that
// what was taken in is kept.
//
//	open    data directory ► store ► engine ► datagrams ► people's door ► apps' door ► TCP port
//	stop    datagrams, TCP port, people's door, apps' door ► engine ► store, which writes what is left
package server

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sync/errgroup"

	"tracker/pkg/engine"
	"tracker/pkg/gateway"
	"tracker/pkg/ingest"
	"tracker/pkg/rpc"
	"tracker/pkg/seal"
	"tracker/pkg/store/sqlite"
	"tracker/pkg/web"
)

// Server is a server between Open and the end of Run.
type Server struct {
	cfg    Config
	log    *slog.Logger
	store  *sqlite.DB
	engine *engine.Engine
	ingest *ingest.Ingest
	web    *web.Web
	apps   *gateway.Gateway
	port   *port
	probe  *probe
}

// Open acquires everything that a server needs: its directory, its database, its
// addresses. On an error nothing is left open.
func Open(ctx context.Context, cfg Config) (*Server, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	if err := seal.SelfTest(); err != nil {
		return nil, err
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{cfg: cfg, log: cfg.Logger.With("room", "server")}
	for _, step := range []func(context.Context) error{
		s.openStore, s.openEngine, s.openIngest, s.openWeb, s.openGateway, s.openPort, s.firstStart,
	} {
		if err := step(ctx); err != nil {
			return nil, errors.Join(err, s.close())
		}
	}
	return s, nil
}

func (s *Server) openStore(context.Context) (err error) {
	if err := makeDataDir(s.cfg.Data); err != nil {
		return err
	}
	sc := s.cfg.Store
	sc.Dir, sc.Logger = s.cfg.Data, s.cfg.Logger
	if s.cfg.Engine.Master, err = loadMaster(s.cfg.Data); err != nil {
		return err
	}
	s.store, err = sqlite.Open(sc)
	return err
}

func (s *Server) openEngine(ctx context.Context) (err error) {
	ec := s.cfg.Engine
	ec.Logger = s.cfg.Logger
	if s.engine, err = engine.New(ctx, ec, s.store); err != nil {
		return err
	}
	s.probe, err = newProbe(s.engine, s.log)
	return err
}

func (s *Server) openIngest(context.Context) (err error) {
	ic := s.cfg.Ingest
	ic.Addr, ic.Logger, ic.Crossing = s.cfg.UDP, s.cfg.Logger, s.engine.Crossing()
	if s.ingest, err = ingest.Listen(ic, s.engine); err != nil {
		return explainListen("udp", s.cfg.UDP, err)
	}
	s.engine.SetAdvertise(advertised(s.cfg.Advertise, s.udp()))
	return nil
}

func (s *Server) openWeb(context.Context) error {
	wc := s.cfg.Web
	wc.Logger, wc.Probe = s.cfg.Logger, s.probe.health
	wc.Ingest = s.counters
	wc.Refused = func() uint64 { return s.port.refused.Load() } // asked through the port, so it is there
	// The doors know nothing of each other; what one hands to the other goes through
	// here, where both are known. Nothing comes in before both are.
	wc.RPC = func(ctx context.Context, m web.Messages) { s.apps.ServeConn(ctx, rpc.OverMessages(m)) }
	wc.Gateway = func() []engine.Count { return s.apps.Counts() }
	s.web = web.New(wc, s.engine)
	return nil
}

func (s *Server) openGateway(context.Context) error {
	gc := s.cfg.Gateway
	gc.Version, gc.Logger, gc.Probe, gc.Ingest = s.cfg.Web.Version, s.cfg.Logger, s.probe.health, s.counters
	gc.Strangers = s.web.Gate()
	// A device may send as much by this door as by the other.
	rate := s.cfg.Ingest.Rate
	gc.Reports = gateway.Rate{Reports: rate.Datagrams, Fixes: rate.Fixes, Burst: rate.Burst}
	s.apps = gateway.New(gc, s.engine)
	return nil
}

// counters are those of the door for datagrams, with the server's own apart.
func (s *Server) counters() iter.Seq2[string, uint64] {
	probed := s.engine.Probed()
	st := s.ingest.Stats()
	st.OK -= min(st.OK, probed)
	st.Fixes -= min(st.Fixes, probed)
	return st.All()
}

func (s *Server) openPort(context.Context) error {
	ln, err := net.Listen("tcp", s.cfg.Listen)
	if err != nil {
		return explainListen("tcp", s.cfg.Listen, err)
	}
	s.port = newPort(ln, s.log)
	s.port.plain = s.cfg.TLS == TLSOff || s.cfg.TLS == TLSAuto && isLoopback(ln.Addr())
	if s.cfg.TLS == TLSOff {
		return nil
	}
	conf, fingerprint, err := loadTLS(s.cfg.Data, s.cfg.Cert, s.cfg.Key, s.hosts())
	if err != nil {
		return err
	}
	s.port.tls = conf
	s.log.Info("tls", "fingerprint", fingerprint, "required", !s.port.plain)
	return nil
}

// hosts are the names that a self-signed certificate is made out to.
func (s *Server) hosts() []string {
	out := []string{"localhost", "127.0.0.1", "::1"}
	for _, addr := range []string{s.cfg.Listen, s.cfg.Advertise} {
		if host, _, err := net.SplitHostPort(addr); err == nil {
			addr = host
		}
		if addr != "" {
			out = append(out, addr)
		}
	}
	return append(out, outwardAddr(netip.IPv4Unspecified()).String())
}

func (s *Server) udp() netip.AddrPort { return s.ingest.Addr().AddrPort() }

// Run serves until ctx ends, then stops the rooms in order and returns when the last
// fix that was taken in is on disk.
func (s *Server) Run(ctx context.Context) error {
	stored := make(chan error, 1)
	storeCtx, stopStore := context.WithCancel(context.WithoutCancel(ctx))
	go func() { stored <- s.store.Run(storeCtx) }()
	flowed := make(chan error, 1)
	engineCtx, stopEngine := context.WithCancel(context.WithoutCancel(ctx))
	go func() { flowed <- s.engine.Run(engineCtx) }()

	err := s.serve(ctx)
	stopEngine()
	err = errors.Join(err, <-flowed)
	stopStore()
	err = errors.Join(err, <-stored, s.close())
	s.log.Info("stopped")
	return err
}

// serve runs the doors.
func (s *Server) serve(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.ingest.Run(ctx) })
	g.Go(func() error { return s.port.run(ctx) })
	g.Go(func() error { return s.web.ServeListener(ctx, s.port.http) })
	g.Go(func() error { return s.apps.ServeListener(ctx, s.port.rpc) })
	g.Go(func() error { return s.probe.run(ctx, s.udp()) })
	s.log.Info("ready", "tcp", s.port.ln.Addr().String(), "udp", s.udp().String())
	if s.cfg.Ready != nil {
		s.cfg.Ready(s.port.ln.Addr(), s.ingest.Addr())
	}
	return g.Wait()
}

// close lets go of what Open acquired, as far as it came.
func (s *Server) close() error {
	var errs []error
	if s.port != nil {
		if err := s.port.ln.Close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	if s.ingest != nil {
		errs = append(errs, s.ingest.Close())
	}
	if s.store != nil {
		errs = append(errs, s.store.Close())
	}
	return errors.Join(errs...)
}

// firstStart leaves an admin token where the operator finds it, unless somebody has
// a token already.
func (s *Server) firstStart(ctx context.Context) error {
	if len(s.engine.Tokens()) > 0 {
		return nil
	}
	_, err := issueAdmin(ctx, s.engine, s.cfg.Data)
	return err
}

// NewAdminToken makes an admin token for a server that is not running, and leaves it
// in the data directory's admin.token, too.
func NewAdminToken(ctx context.Context, dir string) (token string, err error) {
	if err := existingDataDir(dir); err != nil {
		return "", err
	}
	s := &Server{cfg: Config{Data: dir}, log: slog.New(slog.DiscardHandler)}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.openStore(ctx); err != nil {
		return "", err
	}
	e, err := engine.New(ctx, s.cfg.Engine, s.store)
	if err != nil {
		return "", err
	}
	return issueAdmin(ctx, e, dir)
}

func issueAdmin(ctx context.Context, e *engine.Engine, dir string) (string, error) {
	_, token, err := e.CreateToken(ctx, "admin "+time.Now().UTC().Format(time.DateOnly), engine.RoleAdmin, 0)
	if err != nil {
		return "", err
	}
	return token, writeSecret(tokenPath(dir), []byte(token+"\n"))
}

func explainListen(network, addr string, err error) error {
	if isInUse(err) {
		return fmt.Errorf("%s address %s is taken\nhint: is another trackerd running? choose another address with --%s", network, addr,
			map[string]string{"tcp": "listen", "udp": "udp"}[network])
	}
	return err
}
