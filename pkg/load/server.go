package load

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// serverUsage is a reading of a server's own metrics.
type serverUsage struct {
	cpu float64
	rss int64
}

// readServer asks a server for its metrics, in the clear: that is how they are served
// on loopback, and elsewhere the figures are left out. nil if it does not tell.
func readServer(ctx context.Context, addr string) *serverUsage {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/metrics", nil)
	if err != nil {
		return nil
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil
	}
	return parseUsage(io.LimitReader(resp.Body, 1<<20))
}

func parseUsage(r io.Reader) *serverUsage {
	var u serverUsage
	found := false
	for lines := bufio.NewScanner(r); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), " ")
		v, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
		if err != nil {
			continue
		}
		switch name {
		case "process_cpu_seconds_total":
			u.cpu, found = v, true
		case "process_resident_memory_bytes":
			u.rss = int64(v)
		}
	}
	if !found {
		return nil
	}
	return &u
}

// since is what was used between two readings.
func (u *serverUsage) since(before *serverUsage) *ServerUsage {
	if u == nil || before == nil || u.cpu < before.cpu {
		return nil
	}
	return &ServerUsage{CPUSeconds: u.cpu - before.cpu, RSS: u.rss}
}
