package client

import (
	"context"
	"net"
	"net/http"
	"time"

	"github.com/gobwas/ws"

	"tracker/pkg/rpc"
)

// rpcProtocol names the frames of rpc among the subprotocols of WebSocket.
const rpcProtocol = "trk.v1"

// overSocket opens a WebSocket for frames. The token goes with the frames.
func (d *dialer) overSocket(ctx context.Context, userAgent string) (net.Conn, error) {
	s, err := d.openSocket(ctx, "/v1/rpc", ws.OpBinary, http.Header{"User-Agent": {userAgent}}, rpcProtocol)
	if err != nil {
		return nil, err
	}
	return rpc.OverMessages(messages{s}), nil
}

// messages makes a socket a transport of whole messages. A read that a deadline cuts
// short does not go on after another: of a client, nothing does then.
type messages struct{ *socket }

var _ rpc.Messages = messages{}

func (m messages) ReadMessage() ([]byte, error) { return m.read() }

func (m messages) WriteMessage(b []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.put(ws.OpBinary, b)
}

func (m messages) Close() error {
	m.close()
	return nil
}

func (m messages) LocalAddr() net.Addr                { return m.c.LocalAddr() }
func (m messages) RemoteAddr() net.Addr               { return m.c.RemoteAddr() }
func (m messages) SetDeadline(t time.Time) error      { return m.c.SetDeadline(t) }
func (m messages) SetReadDeadline(t time.Time) error  { return m.c.SetReadDeadline(t) }
func (m messages) SetWriteDeadline(t time.Time) error { return m.c.SetWriteDeadline(t) }
