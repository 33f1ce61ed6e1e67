package client

import (
	"context"
	"fmt"
	"iter"
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
	RPC     map[string]uint64 `json:"rpc"`
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
func (c *Conn) Status(ctx context.Context) (Status, error) { return c.wire.status(ctx) }

// Devices walks all devices whose names contain match, by ascending id; it asks for
// a page at a time, as the walk comes to it.
func (c *Conn) Devices(ctx context.Context, match string) iter.Seq2[Device, error] {
	return pages(func(after string) ([]Device, string, error) { return c.wire.devices(ctx, match, after) })
}

// pages walks all pages there are; next asks for the one behind a mark.
func pages[T any](next func(after string) ([]T, string, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for after := ""; ; {
			page, behind, err := next(after)
			if err != nil {
				var none T
				yield(none, err)
				return
			}
			for i := range page {
				if !yield(page[i], nil) {
					return
				}
			}
			if behind == "" {
				return
			}
			after = behind
		}
	}
}

// Enroll registers one device.
func (c *Conn) Enroll(ctx context.Context, d NewDevice) (Enrolled, error) {
	return c.wire.enroll(ctx, d)
}

// MaxBatch is how many devices one EnrollBatch takes.
const MaxBatch = 10_000

// EnrollBatch registers up to MaxBatch devices, all or none, and returns them in the
// order asked.
func (c *Conn) EnrollBatch(ctx context.Context, ds []NewDevice) ([]Enrolled, error) {
	done, err := c.wire.enrollBatch(ctx, ds)
	if err != nil {
		return nil, err
	}
	if len(done) != len(ds) {
		return nil, fmt.Errorf("the server enrolled %d devices of %d", len(done), len(ds))
	}
	return done, nil
}

// Device asks for one device. Here and below, ref is an id or a name.
func (c *Conn) Device(ctx context.Context, ref string) (Device, error) {
	if err := checkRef(ref); err != nil {
		return Device{}, err
	}
	return c.wire.device(ctx, ref)
}

// checkRef stops an empty ref, which in a path would mean all devices.
func checkRef(ref string) error {
	if ref == "" {
		return fmt.Errorf("device %q: want an id or a name: %w", ref, track.ErrInvalid)
	}
	return nil
}

// Rename gives a device another name.
func (c *Conn) Rename(ctx context.Context, ref, name string) (Device, error) {
	if err := checkRef(ref); err != nil {
		return Device{}, err
	}
	return c.wire.rename(ctx, ref, name)
}

// Revoke ends a device: its keys are gone, its history stays.
func (c *Conn) Revoke(ctx context.Context, ref string) error {
	if err := checkRef(ref); err != nil {
		return err
	}
	return c.wire.revoke(ctx, ref)
}

// Rotate gives a device a new key; the old one stays good for a grace time.
func (c *Conn) Rotate(ctx context.Context, ref string) (Enrolled, error) {
	if err := checkRef(ref); err != nil {
		return Enrolled{}, err
	}
	return c.wire.rotate(ctx, ref)
}

// ResetFloor recovers a device whose clock once ran ahead.
func (c *Conn) ResetFloor(ctx context.Context, ref string) (Device, error) {
	if err := checkRef(ref); err != nil {
		return Device{}, err
	}
	return c.wire.resetFloor(ctx, ref)
}

// Area is what to look at: some devices, a box, a map, or, the zero value, everything.
type Area struct {
	Devices []string // ids or names
	Box     *geo.Box
	Map     string // id or name; to watch
}

// Positions walks the latest fix of each device in the area.
func (c *Conn) Positions(ctx context.Context, a Area) iter.Seq2[Fix, error] {
	return pages(func(after string) ([]Fix, string, error) {
		if a.Map != "" {
			return nil, "", fmt.Errorf("map %q: a map is watched: %w", a.Map, track.ErrInvalid)
		}
		if len(a.Devices) > 0 && a.Box != nil {
			return nil, "", fmt.Errorf("area: want devices or a box, not both: %w", track.ErrInvalid)
		}
		return c.wire.positions(ctx, a, after)
	})
}

// Hit is a device near a place.
type Hit struct {
	Distance geo.Meters `json:"distance_m"`
	Bearing  float64    `json:"bearing_deg"` // from the place to the device
	Fix      Fix        `json:"fix"`
}

// Near lists up to limit devices within a distance of a place, nearest first.
func (c *Conn) Near(ctx context.Context, at geo.Point, within geo.Meters, limit int) ([]Hit, error) {
	return c.wire.near(ctx, at, within, limit)
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
	return func(yield func(Fix, error) bool) {
		if err := checkRef(hq.Device); err != nil {
			yield(Fix{}, err)
			return
		}
		c.wire.history(ctx, hq, yield)
	}
}

// Token is what a server tells of a bearer token: never the token itself.
type Token struct {
	ID      string    `json:"id"`
	Name    string    `json:"name"`
	Role    string    `json:"role"` // "admin", "viewer" or "member"
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires,omitzero"`
}

// Tokens lists the tokens, oldest first.
func (c *Conn) Tokens(ctx context.Context) ([]Token, error) { return c.wire.tokens(ctx) }

// CreateToken makes a token and returns its secret, which is told this once. A ttl of
// 0 lives until it is revoked.
func (c *Conn) CreateToken(ctx context.Context, name, role string, ttl time.Duration) (Token, string, error) {
	return c.wire.createToken(ctx, name, role, ttl)
}

// RevokeToken ends a token and every connection that it opened.
func (c *Conn) RevokeToken(ctx context.Context, id string) error { return c.wire.revokeToken(ctx, id) }

// Report sends fixes of one device, oldest first, of which it takes what a device says:
// Time, At and what Has names, Power and Event. The server takes all of them or none.
// accepted are those that it has now, late those of them that are older than the
// present, and are history only.
//
// device is whose fixes they are, id or name, when an admin reports. A Conn that
// speaks as a device, see Config.Device, reports its own.
func (c *Conn) Report(ctx context.Context, device string, fixes []Fix) (accepted, late int, err error) {
	return c.wire.report(ctx, device, fixes)
}
