package server

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"

	"tracker/pkg/engine"
	"tracker/pkg/gateway"
	"tracker/pkg/ingest"
	"tracker/pkg/seal"
	"tracker/pkg/store/sqlite"
	"tracker/pkg/web"
)

// Config of a server. Data is the only field without a default; rooms have theirs
// by value.
type Config struct {
	Data      string // directory; made if it is missing
	Listen    string // TCP, default 127.0.0.1:4810
	UDP       string // default: the same address as Listen
	Advertise string // host[:port] that devices send to, default: the UDP address
	TLS       TLSMode
	Cert, Key string // PEM files; default: a self-signed pair in Data

	Engine  engine.Config
	Ingest  ingest.Config
	Store   sqlite.Config
	Web     web.Config
	Gateway gateway.Config
	Logger  *slog.Logger
	Ready   func(tcp, udp net.Addr) // called once it serves
}

// TLSMode says when TCP speaks TLS.
type TLSMode string

const (
	TLSAuto TLSMode = "auto" // required off loopback, welcome on it
	TLSOn   TLSMode = "on"   // required
	TLSOff  TLSMode = "off"  // never: something in front of us does it
)

const defaultListen = "127.0.0.1:4810"

// Check fills in defaults and reports every mistake at once.
func (c *Config) Check() error {
	var wrong []error
	bad := func(setting, format string, args ...any) {
		wrong = append(wrong, fmt.Errorf("%s: %s", setting, fmt.Sprintf(format, args...)))
	}
	if c.Data == "" {
		bad("data", "want a directory, for example --data ./data")
	}
	if c.Listen == "" {
		c.Listen = defaultListen
	}
	if c.UDP == "" {
		c.UDP = c.Listen
	}
	if _, err := hostPort(c.Listen); err != nil {
		bad("listen", "%v", err)
	}
	if _, err := hostPort(c.UDP); err != nil {
		bad("udp", "%v", err)
	}
	if c.Advertise != "" {
		if err := seal.CheckHost(c.Advertise); err != nil {
			bad("advertise", "%v", err)
		}
	}
	switch c.TLS {
	case "":
		c.TLS = TLSAuto
	case TLSAuto, TLSOn, TLSOff:
	default:
		bad("tls", "%q: want auto, on or off", c.TLS)
	}
	if (c.Cert == "") != (c.Key == "") {
		bad("tls-cert, tls-key", "want both or neither")
	}
	ic := c.Ingest
	ic.Addr = c.UDP
	if err := ic.Check(); err != nil {
		wrong = append(wrong, err)
	}
	if c.Gateway.MaxWatches < 0 {
		bad("rpc-watches", "%d: want more than 0", c.Gateway.MaxWatches)
	}
	if c.Engine.Grace < 0 {
		bad("grace", "%v is negative", c.Engine.Grace)
	}
	return errors.Join(wrong...)
}

// hostPort accepts host:port, :port and [v6]:port.
func hostPort(addr string) (host string, err error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", fmt.Errorf("%q: want HOST:PORT such as 0.0.0.0:4810", addr)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", fmt.Errorf("%q: port %q is not in 0..65535", addr, port)
	} else if n == 0 && host == "" {
		return "", fmt.Errorf("%q: want a host or a port", addr)
	}
	return host, nil
}

// isLoopback tells whether only this machine can reach a listener.
func isLoopback(a net.Addr) bool {
	ap, err := netip.ParseAddrPort(a.String())
	return err == nil && ap.Addr().Unmap().IsLoopback()
}

// advertised is the host:port that enrolment strings name: what was configured, or
// the UDP address, or for a wildcard the first address of this machine that others
// might reach.
func advertised(configured string, udp netip.AddrPort) string {
	if configured != "" {
		return configured
	}
	host := udp.Addr().Unmap()
	if host.IsUnspecified() {
		host = outwardAddr(host)
	}
	return netip.AddrPortFrom(host, udp.Port()).String()
}

func outwardAddr(wildcard netip.Addr) netip.Addr {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return dialable(netip.AddrPortFrom(wildcard, 0)).Addr()
	}
	for _, a := range addrs {
		prefix, err := netip.ParsePrefix(a.String())
		if err != nil {
			continue
		}
		if ip := prefix.Addr().Unmap(); ip.IsGlobalUnicast() && ip.Is4() {
			return ip
		}
	}
	return dialable(netip.AddrPortFrom(wildcard, 0)).Addr()
}
