package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"tracker/pkg/rpc"
	"tracker/pkg/web"
)

// port is the one TCP address of a server. It reads the first bytes of every
// connection and hands it to the room that speaks that language:
//
//	0x16     TLS: handshake, then look again inside
//	TRK1     RPC
//	letters  HTTP and WebSocket
//
// Before a connection has said what it is, it may send first4 bytes, take
// sniffTime, and share maxPending with others from its address. Nothing is
// answered to what no room understands.
type port struct {
	ln      net.Listener
	tls     *tls.Config // nil: no TLS
	plain   bool        // speak HTTP and RPC without TLS too
	http    *handover
	rpc     *handover
	log     *slog.Logger
	pending *web.Gate // of those that have not said what they are
	refused atomic.Uint64
	wg      sync.WaitGroup
}

const (
	sniffTime  = 5 * time.Second
	maxPending = 256 // connections of one address that have not said what they are
)

var (
	errSilent   = errors.New("said nothing in time")
	errLanguage = errors.New("speaks neither TLS nor HTTP nor RPC")
	errPlain    = errors.New("plain text on a TLS port")
)

func newPort(ln net.Listener, log *slog.Logger) *port {
	return &port{ln: ln, log: log, http: newHandover(ln.Addr()), rpc: newHandover(ln.Addr()), pending: web.NewGate(maxPending)}
}

// run accepts until the listener closes, and returns when no connection is left in
// its hands. Those that it handed over belong to their rooms.
func (p *port) run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = p.ln.Close() })
	defer stop()
	defer p.http.Close()
	defer p.rpc.Close()
	defer p.wg.Wait()
	for {
		c, err := p.ln.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() || isTransient(err) {
				p.log.Warn("accept", "err", err)
				select {
				case <-ctx.Done():
				case <-time.After(50 * time.Millisecond):
				}
				continue
			}
			return fmt.Errorf("accept: %w", err)
		}
		from := c.RemoteAddr()
		if !p.pending.Enter(from) {
			p.refused.Add(1)
			_ = c.Close()
			continue
		}
		p.wg.Go(func() {
			defer p.pending.Leave(from)
			if err := p.sort(ctx, c); err != nil {
				p.refused.Add(1)
				p.log.Debug("connection refused", "remote", from.String(), "err", err)
				_ = c.Close()
			}
		})
	}
}

func (p *port) sort(ctx context.Context, c net.Conn) error {
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := c.SetDeadline(time.Now().Add(sniffTime)); err != nil {
		return err
	}
	first, err := sniff(c)
	if err != nil {
		return err
	}
	secure := first[0] == 0x16
	conn := net.Conn(&replayed{Conn: c, head: first})
	if secure {
		if p.tls == nil {
			return errLanguage
		}
		t := tls.Server(conn, p.tls)
		if err := t.HandshakeContext(ctx); err != nil {
			return fmt.Errorf("tls: %w", err)
		}
		if first, err = sniff(t); err != nil {
			return err
		}
		conn = &replayed{Conn: t, head: first}
	}
	if !secure && !p.plain {
		sayTLS(c, first)
		return errPlain
	}
	if !stop() {
		return ctx.Err()
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return err
	}
	return p.hand(ctx, conn, first)
}

func (p *port) hand(ctx context.Context, c net.Conn, first []byte) error {
	switch {
	case string(first) == rpc.Preamble:
		return p.rpc.give(ctx, c)
	case first[0] >= 'A' && first[0] <= 'Z':
		return p.http.give(ctx, c)
	}
	return errLanguage
}

// sniff reads as little as tells the language: one byte, or four if it is a letter.
func sniff(c net.Conn) ([]byte, error) {
	var b [4]byte
	if _, err := io.ReadFull(c, b[:1]); err != nil {
		return nil, errSilent
	}
	if b[0] < 'A' || b[0] > 'Z' {
		return b[:1], nil
	}
	if _, err := io.ReadFull(c, b[1:]); err != nil {
		return nil, errSilent
	}
	return b[:], nil
}

// sayTLS helps the person who typed http://, and the program that was not told of TLS;
// nobody else.
func sayTLS(c net.Conn, first []byte) {
	switch {
	case string(first) == rpc.Preamble:
		_, _ = c.Write(rpc.AppendGoAway(nil, &rpc.Error{Status: rpc.FailedPrecondition, Reason: "tls", Message: "this port speaks TLS", NotRun: true}))
	case first[0] >= 'A' && first[0] <= 'Z':
		const body = "this port speaks TLS: use https://\n"
		_, _ = fmt.Fprintf(c, "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(body), body)
	default:
		return
	}
	// To close with bytes unread would be a reset, which overtakes the answer.
	if half, ok := c.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		_ = c.SetReadDeadline(time.Now().Add(lastWords))
		_, _ = io.Copy(io.Discard, io.LimitReader(c, unreadBytes))
	}
}

// What still comes from somebody who was told to speak TLS is thrown away for a
// moment.
const (
	lastWords   = 200 * time.Millisecond
	unreadBytes = 64 << 10
)

// replayed is a connection whose first bytes were read already.
type replayed struct {
	net.Conn
	head []byte
}

func (r *replayed) Read(b []byte) (int, error) {
	if len(r.head) > 0 {
		n := copy(b, r.head)
		r.head = r.head[n:]
		return n, nil
	}
	return r.Conn.Read(b)
}

// CloseWrite says that nothing more comes, where the connection beneath can say so.
func (r *replayed) CloseWrite() error {
	if half, ok := r.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// NetConn is the connection beneath, for rooms that ask for its file descriptor
// and take care of the replayed bytes first.
func (r *replayed) NetConn() net.Conn { return r.Conn }

// handover is a net.Listener fed by the port.
type handover struct {
	addr  net.Addr
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newHandover(addr net.Addr) *handover {
	return &handover{addr: addr, conns: make(chan net.Conn), done: make(chan struct{})}
}

func (h *handover) give(ctx context.Context, c net.Conn) error {
	select {
	case h.conns <- c:
		return nil
	case <-h.done:
		return net.ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (h *handover) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.done:
		return nil, net.ErrClosed
	}
}

func (h *handover) Close() error {
	h.once.Do(func() { close(h.done) })
	return nil
}

func (h *handover) Addr() net.Addr { return h.addr }
