package main

import (
	"fmt"
	"strings"

	"tracker/pkg/load"
	"tracker/pkg/load/rpcload"
)

// rpcHeader tells what calls are about to be made.
func (b *bench) rpcHeader(f *rpcFlags, cfg *rpcload.Config, s *site, target load.Target) {
	if f.asJSON {
		return
	}
	what := []string{"method=" + cfg.Method.String()}
	switch cfg.Method {
	case rpcload.Sleep:
		what = append(what, fmt.Sprintf("sleep=%v share=%v", cfg.Sleep, cfg.Share))
	case rpcload.Echo:
		what = append(what, fmt.Sprintf("payload=%d", cfg.Payload))
	}
	if s.target.TLS {
		what = append(what, "tls=1.3")
	}
	what = append(what, fmt.Sprintf("conns=%d depth=%d", cfg.Conns, cfg.Depth))
	if f.rate != "" {
		what = append(what, "rate="+f.rate)
	}
	what = append(what, fmt.Sprintf("warmup=%v %s", f.warm, f.length()))
	t := b.text(&f.runFlags)
	t.header("rpc", strings.Join(what, " "), target, machine())
	if s.own != nil {
		fmt.Fprintf(t.w, "server %s\n", s.words)
	}
}
