package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"tracker/pkg/load"
)

// prom serves the figures of a run to Prometheus while it runs.
type prom struct {
	addr string // where it listens
	srv  *http.Server
	done sync.WaitGroup

	mu   sync.Mutex
	tick load.Tick
}

// servePrometheus listens at addr. Only this machine may be told by default, as by its
// address: nobody proves who he is.
func servePrometheus(addr string) (*prom, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	p := &prom{addr: l.Addr().String()}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", p.metrics)
	p.srv = &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 5 * time.Second}
	p.done.Go(func() { // ends with close
		if err := p.srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return // the figures are not served then; the run goes on
		}
	})
	return p, nil
}

func (p *prom) close() {
	if p == nil {
		return
	}
	_ = p.srv.Close()
	p.done.Wait()
}

// set takes the figures of an interval or of the moment.
func (p *prom) set(t load.Tick) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tick = t
}

func (p *prom) metrics(w http.ResponseWriter, _ *http.Request) {
	p.mu.Lock()
	t := p.tick
	p.mu.Unlock()
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	for _, m := range []struct {
		name, kind, help string
		value            float64
	}{
		{"sent_total", "counter", "Sends since the beginning.", float64(t.AllSent)},
		{"received_total", "counter", "Answers or deliveries since the beginning.", float64(t.AllReceived)},
		{"lost_total", "counter", "Known to be lost since the beginning.", float64(t.Lost)},
		{"elapsed_seconds", "gauge", "How long the run goes.", t.At.Seconds()},
		{"rate", "gauge", "Answers, deliveries or sends a second, in the last interval.", t.Rate},
		{"latency_p50_seconds", "gauge", "Median from the moment due, in the last interval.", t.P50.Seconds()},
		{"latency_p99_seconds", "gauge", "99th percentile from the moment due, in the last interval.", t.P99.Seconds()},
		{"late", "gauge", "Sends of the last interval more than 1 ms after they were due.", float64(t.Late)},
		{"waiting", "gauge", "Sends that wait in the client.", float64(t.Queued)},
		{"client_cores", "gauge", "Processors that this program uses.", t.ClientCPU},
		{"server_cores", "gauge", "Processors that the server uses; 0 if unknown.", t.Server},
	} {
		fmt.Fprintf(w, "# HELP trackbench_%s %s\n# TYPE trackbench_%s %s\ntrackbench_%s %g\n", m.name, m.help, m.name, m.kind, m.name, m.value)
	}
}
