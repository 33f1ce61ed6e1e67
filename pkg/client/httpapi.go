package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"tracker/pkg/geo"
	"tracker/pkg/track"
)

func (c *overHTTP) status(ctx context.Context) (Status, error) {
	return ask[Status](ctx, c, http.MethodGet, "/v1/status", nil, nil)
}

func (c *overHTTP) devices(ctx context.Context, match, after string) ([]Device, string, error) {
	q := url.Values{"limit": {"1000"}}
	if match != "" {
		q.Set("q", match)
	}
	if after != "" {
		q.Set("after", after)
	}
	page, err := ask[struct {
		Devices []Device `json:"devices"`
		Next    string   `json:"next"`
	}](ctx, c, http.MethodGet, "/v1/devices", q, nil)
	return page.Devices, page.Next, err
}

func (c *overHTTP) enroll(ctx context.Context, d NewDevice) (Enrolled, error) {
	return ask[Enrolled](ctx, c, http.MethodPost, "/v1/devices", nil, d)
}

func (c *overHTTP) enrollBatch(ctx context.Context, ds []NewDevice) ([]Enrolled, error) {
	order := struct {
		Devices []NewDevice `json:"devices"`
	}{ds}
	reply, err := ask[struct {
		Devices []Enrolled `json:"devices"`
	}](ctx, c, http.MethodPost, "/v1/devices:batch", nil, order)
	return reply.Devices, err
}

func devicePath(ref, verb string) string {
	p := "/v1/devices/" + url.PathEscape(ref)
	if verb != "" {
		p += "/" + verb
	}
	return p
}

func (c *overHTTP) device(ctx context.Context, ref string) (Device, error) {
	return ask[Device](ctx, c, http.MethodGet, devicePath(ref, ""), nil, nil)
}

func (c *overHTTP) rename(ctx context.Context, ref, name string) (Device, error) {
	order := struct {
		Name string `json:"name"`
	}{name}
	return ask[Device](ctx, c, http.MethodPatch, devicePath(ref, ""), nil, order)
}

func (c *overHTTP) revoke(ctx context.Context, ref string) error {
	return c.call(ctx, http.MethodDelete, devicePath(ref, ""), nil, nil, nil)
}

func (c *overHTTP) rotate(ctx context.Context, ref string) (Enrolled, error) {
	return ask[Enrolled](ctx, c, http.MethodPost, devicePath(ref, "rotate"), nil, nil)
}

func (c *overHTTP) resetFloor(ctx context.Context, ref string) (Device, error) {
	return ask[Device](ctx, c, http.MethodPost, devicePath(ref, "reset-floor"), nil, nil)
}

func boxText(b geo.Box) string {
	return formatFloat(float64(b.South)/geo.E7) + "," + formatFloat(float64(b.West)/geo.E7) + "," +
		formatFloat(float64(b.North)/geo.E7) + "," + formatFloat(float64(b.East)/geo.E7)
}

func (c *overHTTP) positions(ctx context.Context, a Area, after string) ([]Fix, string, error) {
	q := url.Values{"limit": {"10000"}}
	if a.Box != nil {
		q.Set("bbox", boxText(*a.Box))
	}
	if len(a.Devices) > 0 {
		q["device"] = a.Devices
	}
	if after != "" {
		q.Set("after", after)
	}
	page, err := ask[struct {
		Fixes []Fix  `json:"fixes"`
		Next  string `json:"next"`
	}](ctx, c, http.MethodGet, "/v1/positions", q, nil)
	return page.Fixes, page.Next, err
}

func (c *overHTTP) near(ctx context.Context, at geo.Point, within geo.Meters, limit int) ([]Hit, error) {
	q := url.Values{
		"at":     {formatFloat(at.LatDeg()) + "," + formatFloat(at.LonDeg())},
		"within": {formatFloat(float64(within))},
	}
	if limit > 0 {
		q.Set("limit", strconv.Itoa(limit))
	}
	reply, err := ask[struct {
		Hits []Hit `json:"hits"`
	}](ctx, c, http.MethodGet, "/v1/near", q, nil)
	return reply.Hits, err
}

func (c *overHTTP) history(ctx context.Context, hq HistoryQuery, yield func(Fix, error) bool) {
	ctx, end := c.line.within(ctx, c.life)
	defer end() // hangs up if the walk ends early
	resp, err := c.send(ctx, http.MethodGet, "/v1/history/"+url.PathEscape(hq.Device), hq.values(), nil, "application/x-ndjson")
	if err != nil {
		yield(Fix{}, err)
		return
	}
	defer resp.Body.Close()
	if ct := resp.Header.Get("Content-Type"); !strings.HasPrefix(ct, "application/x-ndjson") {
		yield(Fix{}, fmt.Errorf("the answer of %s is %q, not a history", c.line.server, ct))
		return
	}
	c.lines(ctx, resp.Body, yield)
}

func (hq *HistoryQuery) values() url.Values {
	q := url.Values{}
	if !hq.From.IsZero() {
		q.Set("from", hq.From.UTC().Format(time.RFC3339Nano))
	}
	if !hq.To.IsZero() {
		q.Set("to", hq.To.UTC().Format(time.RFC3339Nano))
	}
	if hq.Limit > 0 {
		q.Set("limit", strconv.Itoa(hq.Limit))
	}
	if hq.Heartbeats {
		q.Set("heartbeats", "1")
	}
	return q
}

// lines reads fixes one a line. A server that fails in the middle says so in the last
// line, since the status was long sent.
func (c *overHTTP) lines(ctx context.Context, body io.Reader, yield func(Fix, error) bool) {
	r := bufio.NewReaderSize(body, 64<<10)
	var d fixReader
	d.remember()
	for {
		line, err := r.ReadSlice('\n')
		if errors.Is(err, io.EOF) && len(line) == 0 {
			return
		}
		if err != nil {
			yield(Fix{}, c.line.lineError(ctx, err))
			return
		}
		if bytes.HasPrefix(line, []byte(`{"error"`)) {
			var p problem
			_ = json.Unmarshal(line, &p)
			yield(Fix{}, p.asError(http.StatusOK))
			return
		}
		var f Fix
		d.reset(line)
		d.fix(&f)
		if err := d.end(); err != nil {
			yield(Fix{}, fmt.Errorf("history of %s: %w", c.line.server, err))
			return
		}
		if !yield(f, nil) {
			return
		}
	}
}

func (c *overHTTP) tokens(ctx context.Context) ([]Token, error) {
	reply, err := ask[struct {
		Tokens []Token `json:"tokens"`
	}](ctx, c, http.MethodGet, "/v1/tokens", nil, nil)
	return reply.Tokens, err
}

func (c *overHTTP) createToken(ctx context.Context, name, role string, ttl time.Duration) (Token, string, error) {
	order := struct {
		Name string `json:"name"`
		Role string `json:"role"`
		TTL  string `json:"ttl,omitempty"`
	}{Name: name, Role: role}
	if ttl != 0 {
		order.TTL = ttl.String()
	}
	reply, err := ask[struct {
		Token
		Secret string `json:"token"`
	}](ctx, c, http.MethodPost, "/v1/tokens", nil, order)
	return reply.Token, reply.Secret, err
}

func (c *overHTTP) revokeToken(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodDelete, "/v1/tokens/"+url.PathEscape(id), nil, nil, nil)
}

func (c *overHTTP) report(context.Context, string, []Fix) (accepted, late int, err error) {
	return 0, 0, noReports(c.line.scheme, c.line.server)
}

// noReports says how to report instead: a device that speaks HTTP is nobody there.
func noReports(scheme, server string) error {
	frames := strings.Replace(scheme, "http", "ws", 1)
	return fmt.Errorf("reports do not travel over %s; give the server as %s://%s or HOST:PORT: %w", scheme, frames, server, track.ErrInvalid)
}
