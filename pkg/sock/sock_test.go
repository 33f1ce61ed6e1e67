package sock

import (
	"crypto/tls"
	"net"
	"testing"
)

// below is a connection on top of another, as a port makes that has read ahead.
type below struct{ net.Conn }

func (b below) NetConn() net.Conn { return b.Conn }

func TestSocketIsFoundButNotThroughTLS(t *testing.T) {
	tcp := new(net.TCPConn)
	pipe, other := net.Pipe()
	defer func() { _, _ = pipe.Close(), other.Close() }()
	for name, tt := range map[string]struct {
		nc   net.Conn
		want *net.TCPConn
	}{
		"bare":          {tcp, tcp},
		"wrapped":       {below{below{tcp}}, tcp},
		"tls":           {tls.Server(tcp, nil), nil},
		"wrapped tls":   {below{tls.Server(below{tcp}, nil)}, nil},
		"nothing of it": {below{pipe}, nil},
		"a pipe":        {pipe, nil},
	} {
		if got := TCPOf(tt.nc); got != tt.want {
			t.Errorf("%s: got %p, want %p", name, got, tt.want)
		}
	}
	if NewWriter(pipe) != nil || NewWriter(tls.Server(tcp, nil)) != nil {
		t.Error("a writer to something that is not a socket")
	}
}
