package churn

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"tracker/pkg/load"
	"tracker/pkg/track"
)

// Reading is what a server said of itself at one time: its metrics without labels, by
// name.
type Reading map[string]float64

// The metrics that are looked at.
const (
	Goroutines  = "go_goroutines"
	LiveHeap    = "tracker_heap_live_bytes" // after the last collection
	HeapInUse   = "go_memstats_heap_inuse_bytes"
	StackInUse  = "go_memstats_stack_inuse_bytes"
	Resident    = "process_resident_memory_bytes"
	Collections = "go_gc_duration_seconds_count"
	OpenFiles   = "process_open_fds"
	Viewers     = "tracker_hub_viewers"
	Connections = "tracker_rpc_connections"
	Sessions    = "tracker_web_sessions"
)

// atTheGate count connections that were refused before anybody knew who they are.
var atTheGate = []string{
	"tracker_web_connections_refused_total", "tracker_rpc_connections_refused_total", "tracker_port_refused_total",
	"tracker_rpc_fault_too_many_handshakes_total",
}

const mostMetrics = 4 << 20

// Scraper reads the metrics of the server at addr, in the clear, as they are served on
// loopback. Each reading has a connection of its own, which is gone before it returns:
// it must not be counted in the next.
func Scraper(addr, token string) func(context.Context) (Reading, error) {
	return func(ctx context.Context) (Reading, error) {
		ctx, cancel := context.WithTimeout(ctx, usualPatience)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/metrics", nil)
		if err != nil {
			return nil, err
		}
		req.Close = true
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return nil, err
		}
		defer func() { _ = resp.Body.Close() }()
		if resp.StatusCode != http.StatusOK {
			return nil, fmt.Errorf("metrics of %s: status %d: %w", addr, resp.StatusCode, track.ErrUnavailable)
		}
		return parseMetrics(io.LimitReader(resp.Body, mostMetrics))
	}
}

// parseMetrics reads the text format of Prometheus. What has labels is left out.
func parseMetrics(r io.Reader) (Reading, error) {
	out := Reading{}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 64<<10)
	for lines.Scan() {
		name, value, ok := strings.Cut(strings.TrimSpace(lines.Text()), " ")
		if !ok || name == "" || name[0] == '#' || strings.Contains(name, "{") {
			continue
		}
		value, _, _ = strings.Cut(strings.TrimSpace(value), " ") // a time may follow
		if v, err := strconv.ParseFloat(value, 64); err == nil && !math.IsNaN(v) && !math.IsInf(v, 0) {
			out[name] = v
		}
	}
	return out, lines.Err()
}

// Leak is something that a server did not give back.
type Leak struct {
	Metric string  `json:"metric"`
	Before float64 `json:"before"`
	After  float64 `json:"after"`
	Most   float64 `json:"most"` // more than this is a leak
}

func (l Leak) String() string {
	return fmt.Sprintf("%s was %.0f before and is %.0f, more than %.0f", l.Metric, l.Before, l.After, l.Most)
}

// kept says how much more than before may be left, as a share and on top: goroutines of
// a keep-alive that nobody sees, pools that have grown to what the load needed.
var kept = []struct {
	metric string
	share  float64
	more   float64
}{
	{Goroutines, 0.05, 8},
	{OpenFiles, 0, 8},
	{Viewers, 0, 0},
	{Connections, 0, 0},
	{Sessions, 0, 0},
	{LiveHeap, 0.10, 4 << 20},
}

// Compare finds what there is more of than before, beyond the tolerance. What either
// reading does not have is not compared.
func Compare(before, after Reading) (leaks []Leak) {
	for _, k := range kept {
		was, ok := before[k.metric]
		is, ok2 := after[k.metric]
		if most := was*(1+k.share) + k.more; ok && ok2 && is > most {
			leaks = append(leaks, Leak{k.metric, was, is, most})
		}
	}
	return leaks
}

// lookAgain is how long to wait between two looks at a server that settles. Looking makes
// garbage there, which is what makes it collect, so what live heap it tells is news.
const lookAgain = 100 * time.Millisecond

// collected says how many collections have to pass before live heap counts: one may have
// begun before the last visitor left.
const collected = 2

// quiet reads a server that nobody visits any more, once it has collected its garbage.
func (c *Config) quiet(ctx context.Context) (last Reading) {
	c.watchUntil(ctx, func(first, now Reading) bool {
		last = now
		return now[Viewers] == 0 && now[Collections] >= first[Collections]+collected
	})
	return last
}

// leaks waits until the server is what it was, or long enough.
func (c *Config) leaks(ctx context.Context, before Reading) (after Reading, leaks []Leak) {
	c.watchUntil(ctx, func(first, now Reading) bool {
		after, leaks = now, Compare(before, now)
		return len(leaks) == 0 && now[Collections] >= first[Collections]+collected
	})
	return after, leaks
}

// watchUntil reads the server until enough says so, ctx ends or Settle is over.
func (c *Config) watchUntil(ctx context.Context, enough func(first, now Reading) bool) {
	ctx, cancel := context.WithTimeout(ctx, c.Settle)
	defer cancel()
	var first Reading
	for {
		now, err := c.Scrape(ctx)
		if err == nil {
			if first == nil {
				first = now
			}
			if enough(first, now) {
				return
			}
		}
		if load.Pause(ctx, lookAgain) != nil {
			return
		}
	}
}
