package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"tracker/pkg/geo"
	"tracker/pkg/track"
)

// Device is what a server tells of a device.
type Device struct {
	ID          track.DeviceID `json:"id"`
	Name        string         `json:"name"`
	State       string         `json:"state"` // "active" or "revoked"
	Created     time.Time      `json:"created"`
	Revoked     time.Time      `json:"revoked,omitzero"`
	Alarms      []string       `json:"alarms,omitempty"`
	Credentials []Credential   `json:"credentials"` // newest first
	Last        *Fix           `json:"last,omitempty"`
}

// Credential is one key of a device, without the key.
type Credential struct {
	ID      track.DeviceID `json:"id"` // what its datagrams carry
	Suite   int            `json:"suite"`
	Flags   string         `json:"flags"`
	Created time.Time      `json:"created"`
	Expires time.Time      `json:"expires,omitzero"`
}

// NewDevice asks for one enrolment.
type NewDevice struct {
	Name  string `json:"name"`
	Suite int    `json:"suite,omitempty"` // 0 = 1, ChaCha20-Poly1305
	Flags string `json:"flags,omitempty"` // letters of c, p, m
}

// Enrolled is a device and the string of its QR code, which holds the secret and is
// told this once.
type Enrolled struct {
	Device    Device `json:"device"`
	Enrolment string `json:"enrolment"`
}

// Status is how a server is.
type Status struct {
	Version string            `json:"version"`
	Uptime  float64           `json:"uptime_s"`
	Devices int               `json:"devices"` // enrolled and not revoked
	Live    int               `json:"live"`    // with a latest fix
	Lineage string            `json:"lineage"` // 16 hex digits; another number is another database
	Ingest  map[string]uint64 `json:"ingest"`
	Store   StoreStatus       `json:"store"`
	Hub     map[string]uint64 `json:"hub"`
	Alarms  []Alarm           `json:"alarms"`
	Probe   Probe             `json:"probe"`
}

// StoreStatus is how the keeping of fixes goes.
type StoreStatus struct {
	State   string `json:"state"` // "ok" or "degraded"
	Reason  string `json:"reason,omitempty"`
	Stored  uint64 `json:"stored"`
	Lost    uint64 `json:"lost"`
	Pending uint64 `json:"pending"`
	Bytes   uint64 `json:"bytes"`
}

// Alarm is something that a person should look at.
type Alarm struct {
	Time   time.Time      `json:"time"`
	Kind   string         `json:"kind"`
	Device track.DeviceID `json:"device"`
	Epoch  uint32         `json:"epoch"`
}

// Probe is the server's own fix, sent through itself from time to time.
type Probe struct {
	OK  bool  `json:"ok"`
	Age int64 `json:"age_ms"` // since it last arrived
}

// Status asks how the server is.
func (c *Conn) Status(ctx context.Context) (Status, error) {
	return ask[Status](ctx, c, http.MethodGet, "/v1/status", nil, nil)
}

// Devices walks all devices whose names contain match, by ascending id; it asks for
// a page at a time, as the walk comes to it.
func (c *Conn) Devices(ctx context.Context, match string) iter.Seq2[Device, error] {
	return func(yield func(Device, error) bool) {
		q := url.Values{"limit": {"1000"}}
		if match != "" {
			q.Set("q", match)
		}
		for {
			page, err := ask[struct {
				Devices []Device `json:"devices"`
				Next    string   `json:"next"`
			}](ctx, c, http.MethodGet, "/v1/devices", q, nil)
			if err != nil {
				yield(Device{}, err)
				return
			}
			for _, d := range page.Devices {
				if !yield(d, nil) {
					return
				}
			}
			if page.Next == "" {
				return
			}
			q.Set("after", page.Next)
		}
	}
}

// Enroll registers one device.
func (c *Conn) Enroll(ctx context.Context, d NewDevice) (Enrolled, error) {
	return ask[Enrolled](ctx, c, http.MethodPost, "/v1/devices", nil, d)
}

// MaxBatch is how many devices one EnrollBatch takes.
const MaxBatch = 10_000

// EnrollBatch registers up to MaxBatch devices, all or none, and returns them in the
// order asked.
func (c *Conn) EnrollBatch(ctx context.Context, ds []NewDevice) ([]Enrolled, error) {
	order := struct {
		Devices []NewDevice `json:"devices"`
	}{ds}
	reply, err := ask[struct {
		Devices []Enrolled `json:"devices"`
	}](ctx, c, http.MethodPost, "/v1/devices:batch", nil, order)
	if err != nil {
		return nil, err
	}
	if len(reply.Devices) != len(ds) {
		return nil, fmt.Errorf("the server enrolled %d devices of %d", len(reply.Devices), len(ds))
	}
	return reply.Devices, nil
}

func devicePath(ref, verb string) string {
	p := "/v1/devices/" + url.PathEscape(ref)
	if verb != "" {
		p += "/" + verb
	}
	return p
}

// Device asks for one device. Here and below, ref is an id or a name.
func (c *Conn) Device(ctx context.Context, ref string) (Device, error) {
	return onDevice[Device](ctx, c, http.MethodGet, ref, "", nil)
}

// onDevice asks about one device; an empty ref would ask about all of them.
func onDevice[T any](ctx context.Context, c *Conn, method, ref, verb string, body any) (T, error) {
	if err := checkRef(ref); err != nil {
		var none T
		return none, err
	}
	return ask[T](ctx, c, method, devicePath(ref, verb), nil, body)
}

func checkRef(ref string) error {
	if ref == "" {
		return fmt.Errorf("device %q: want an id or a name: %w", ref, track.ErrInvalid)
	}
	return nil
}

// Rename gives a device another name.
func (c *Conn) Rename(ctx context.Context, ref, name string) (Device, error) {
	order := struct {
		Name string `json:"name"`
	}{name}
	return onDevice[Device](ctx, c, http.MethodPatch, ref, "", order)
}

// Revoke ends a device: its keys are gone, its history stays.
func (c *Conn) Revoke(ctx context.Context, ref string) error {
	if err := checkRef(ref); err != nil {
		return err
	}
	return c.call(ctx, http.MethodDelete, devicePath(ref, ""), nil, nil, nil)
}

// Rotate gives a device a new key; the old one stays good for a grace time.
func (c *Conn) Rotate(ctx context.Context, ref string) (Enrolled, error) {
	return onDevice[Enrolled](ctx, c, http.MethodPost, ref, "rotate", nil)
}

// ResetFloor recovers a device whose clock once ran ahead.
func (c *Conn) ResetFloor(ctx context.Context, ref string) (Device, error) {
	return onDevice[Device](ctx, c, http.MethodPost, ref, "reset-floor", nil)
}

// Area is what to look at: some devices, a box, or, the zero value, everything.
type Area struct {
	Devices []string // ids or names
	Box     *geo.Box
}

func boxText(b geo.Box) string {
	return formatFloat(float64(b.South)/geo.E7) + "," + formatFloat(float64(b.West)/geo.E7) + "," +
		formatFloat(float64(b.North)/geo.E7) + "," + formatFloat(float64(b.East)/geo.E7)
}

// Positions walks the latest fix of each device in the area.
func (c *Conn) Positions(ctx context.Context, a Area) iter.Seq2[Fix, error] {
	q := url.Values{"limit": {"10000"}}
	if a.Box != nil {
		q.Set("bbox", boxText(*a.Box))
	}
	if len(a.Devices) > 0 {
		q["device"] = a.Devices
	}
	return func(yield func(Fix, error) bool) {
		for {
			page, err := ask[fixPage](ctx, c, http.MethodGet, "/v1/positions", q, nil)
			if err != nil {
				yield(Fix{}, err)
				return
			}
			for i := range page.Fixes {
				if !yield(page.Fixes[i], nil) {
					return
				}
			}
			if page.Next == "" {
				return
			}
			q.Set("after", page.Next)
		}
	}
}

type fixPage struct {
	Fixes []Fix  `json:"fixes"`
	Next  string `json:"next"`
}

// Hit is a device near a place.
type Hit struct {
	Distance geo.Meters `json:"distance_m"`
	Bearing  float64    `json:"bearing_deg"` // from the place to the device
	Fix      Fix        `json:"fix"`
}

// Near lists up to limit devices within a distance of a place, nearest first.
func (c *Conn) Near(ctx context.Context, at geo.Point, within geo.Meters, limit int) ([]Hit, error) {
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

// HistoryQuery asks where one device was. Zero times are open ends.
type HistoryQuery struct {
	Device     string // id or name
	From, To   time.Time
	Limit      int // 0 = all
	Heartbeats bool
}

// History walks what was kept of a device, by the time of the fixes. The server sends
// as fast as the walk goes; nothing piles up on either side. An error ends the walk.
func (c *Conn) History(ctx context.Context, hq HistoryQuery) iter.Seq2[Fix, error] {
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
	return func(yield func(Fix, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel() // hangs up if the walk ends early
		if hq.Device == "" {
			yield(Fix{}, fmt.Errorf("device %q: want an id or a name: %w", hq.Device, track.ErrInvalid))
			return
		}
		resp, err := c.send(ctx, http.MethodGet, "/v1/history/"+url.PathEscape(hq.Device), q, nil, "application/x-ndjson")
		if err != nil {
			yield(Fix{}, err)
			return
		}
		defer resp.Body.Close()
		if ct := resp.Header.Get("Content-Type"); !strings.HasPrefix(ct, "application/x-ndjson") {
			yield(Fix{}, fmt.Errorf("the answer of %s is %q, not a history", c.base.Host, ct))
			return
		}
		c.lines(ctx, resp.Body, yield)
	}
}

// lines reads fixes one a line. A server that fails in the middle says so in the last
// line, since the status was long sent.
func (c *Conn) lines(ctx context.Context, body io.Reader, yield func(Fix, error) bool) {
	r := bufio.NewReaderSize(body, 64<<10)
	var d fixReader
	d.remember()
	for {
		line, err := r.ReadSlice('\n')
		if errors.Is(err, io.EOF) && len(line) == 0 {
			return
		}
		if err != nil {
			yield(Fix{}, c.lineError(ctx, err))
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
			yield(Fix{}, fmt.Errorf("history of %s: %w", c.base.Host, err))
			return
		}
		if !yield(f, nil) {
			return
		}
	}
}

// Token is what a server tells of a bearer token: never the token itself.
type Token struct {
	ID      string    `json:"id"`
	Name    string    `json:"name"`
	Role    string    `json:"role"` // "admin" or "viewer"
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires,omitzero"`
}

// Tokens lists the tokens, oldest first.
func (c *Conn) Tokens(ctx context.Context) ([]Token, error) {
	reply, err := ask[struct {
		Tokens []Token `json:"tokens"`
	}](ctx, c, http.MethodGet, "/v1/tokens", nil, nil)
	return reply.Tokens, err
}

// CreateToken makes a token and returns its secret, which is told this once. A ttl of
// 0 lives until it is revoked.
func (c *Conn) CreateToken(ctx context.Context, name, role string, ttl time.Duration) (Token, string, error) {
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

// RevokeToken ends a token and every connection that it opened.
func (c *Conn) RevokeToken(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodDelete, "/v1/tokens/"+url.PathEscape(id), nil, nil, nil)
}
