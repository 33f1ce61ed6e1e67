// Package store is the past: the contract that every database behind the river
// keeps, and the words it is written in. The engines are rooms below this one
// (sqlite); storetest holds each of them to the same suite.
//
//	         Append (copies, never waits)
//	engine ─────────────► bounded ring ──► one transaction per 50 ms ──► disk
//	   ▲                   │ overflow: the oldest go, counted as lost
//	   │                   ▼
//	   └── History ◄── ring + what is still in memory + what is on disk
//
// Two kinds of things live here, with two promises. Fixes arrive by the hundred
// thousand a second: Append takes them without waiting and a crash may cost what
// arrived since the last commit. The registry (devices, credentials, tokens,
// maps) changes when a person does something: its methods return when the change is on
// disk, and all of a call happens or none of it.
//
// What replay protection has to know after a restart is not written apart from the
// data: it is the data. Every fix carries the credential, epoch and packet id that
// brought it, and Floors gives back the newest of them. A packet whose fix was lost
// with the last commit is acceptable again, one whose fix is stored is not.
package store

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"time"

	"tracker/pkg/geo"
	"tracker/pkg/track"
)

// Store keeps fixes and the registry. All methods may be called concurrently, in
// the life between opening and Close; after it they fail with track.ErrClosed.
//
// Errors wrap the vocabulary of track: ErrNotFound, ErrExists (naming what exists),
// ErrInvalid, ErrClosed, and ErrUnavailable when the database cannot be used now
// (full disk, locked, read-only, I/O error).
type Store interface {
	// Append takes the fixes of b to be stored. It copies, does not block, and never
	// fails: when the ring is full the oldest fixes in it are dropped and counted in
	// Status.Lost. A fix is visible to History when Append has returned and durable
	// after the next commit, see Flush.
	//
	// Each fix is to be appended once; ingest's replay window sees to that.
	Append(b *track.Batch)

	// Flush returns when everything appended before the call is durable (or was
	// lost). It waits while the store is degraded, until ctx ends it. Run must be
	// running.
	Flush(ctx context.Context) error

	// History calls yield for the fixes of one device in the order of Compare. The
	// fix and its raw TLVs (nil if it had none) belong to the store and are only
	// good during the call; Fix.Ext means nothing. An error from yield ends the walk
	// and is returned as it is. Neither yield nor the length of the range holds up
	// the writer, and memory is bounded whatever the range.
	History(ctx context.Context, q Query, yield func(f *track.Fix, ext []byte) error) error

	// Latest calls yield for each device with its newest fix by Time that has a place,
	// and then, if the device sent a newer heartbeat, with that one too. Devices come
	// in no particular order. The fix is only good during the call, and its TLVs are
	// not there (ExtLen is 0). Meant for the start: what is appended meanwhile may be
	// missing.
	Latest(ctx context.Context, yield func(*track.Fix) error) error

	// Floors calls yield for each credential's two newest epochs that fixes were
	// stored from, newest first, and for every denied epoch. Those of one credential
	// come together. Meant for the start, as Latest.
	Floors(ctx context.Context, yield func(Floor) error) error

	// SaveDevices adds new devices with their credentials. All or nothing:
	// ErrExists names the first name, device or credential that is taken.
	SaveDevices(ctx context.Context, devices []Device, credentials []Credential) error

	// Devices and Credentials walk the whole registry, revoked and expired included,
	// in no particular order. The value is only good during the call.
	Devices(ctx context.Context, yield func(*Device) error) error
	Credentials(ctx context.Context, yield func(*Credential) error) error

	// RenameDevice gives a device that is not revoked another name. ErrExists if it
	// is taken, ErrNotFound if there is no such device.
	RenameDevice(ctx context.Context, id track.DeviceID, name string) error

	// RevokeDevice marks a device as revoked at that time and ends its credentials
	// then. Its history stays, its name is free again, and it is on no map any more.
	// Revoking twice keeps the first time.
	RevokeDevice(ctx context.Context, id track.DeviceID, at time.Time) error

	// RotateCredential adds next to next.Device and lets its other credentials expire
	// at that time, unless they end earlier.
	RotateCredential(ctx context.Context, next Credential, expire time.Time) error

	// DropCredentials deletes the credentials that expired before that time and returns
	// their number. A device's history and floors are not touched.
	DropCredentials(ctx context.Context, expired time.Time) (int, error)

	// ResetFloor sets Credential.MinEpoch and denies epochs for ever: they no longer
	// count as floors, and Floors gives them with Denied.
	ResetFloor(ctx context.Context, credential track.DeviceID, minEpoch uint32, deny ...uint32) error

	// SaveToken adds a token or replaces the one with its ID.
	SaveToken(ctx context.Context, t Token) error
	Tokens(ctx context.Context, yield func(*Token) error) error
	// DeleteToken deletes a token, and takes it off all maps.
	DeleteToken(ctx context.Context, id uint64) error

	// SaveMap adds an empty map. ErrExists if its name or id is taken.
	SaveMap(ctx context.Context, m Map) error
	// DeleteMap deletes a map with its members and viewers. ErrNotFound if there is none.
	DeleteMap(ctx context.Context, id track.MapID) error
	// JoinMap puts devices on a map, and PartMap takes them off it, all of them or none.
	// Those that are there, or are not, stay so. ErrNotFound if there is no such map, or
	// a device that joins does not exist or is revoked.
	JoinMap(ctx context.Context, id track.MapID, devices []track.DeviceID) error
	PartMap(ctx context.Context, id track.MapID, devices []track.DeviceID) error
	// GrantMap lets a token see a map, twice as well as once. ErrNotFound if either does
	// not exist. UngrantMap ends that: ErrNotFound if the token could not see it.
	GrantMap(ctx context.Context, id track.MapID, token uint64) error
	UngrantMap(ctx context.Context, id track.MapID, token uint64) error

	// Maps, MapMembers and MapViewers walk all there are: maps in no particular order,
	// members and viewers each map's together, ascending. The value is only good during
	// the call.
	Maps(ctx context.Context, yield func(*Map) error) error
	MapMembers(ctx context.Context, yield func(track.MapID, track.DeviceID) error) error
	MapViewers(ctx context.Context, yield func(id track.MapID, token uint64) error) error

	// Lineage is the epoch of the database: random, made with the database, and new
	// after a restore.
	Lineage() uint64

	// Status is cheap, never blocks on the disk, and is right while degraded.
	Status() Status

	// Compact merges small pieces of stored history into big ones, now. Run does it
	// by itself when a day is over.
	Compact(ctx context.Context) error

	// Run writes until ctx ends, and then once more what is still waiting. It returns
	// nil when all of it was stored. Call it once.
	Run(ctx context.Context) error

	// Close lets go of the database. Call it after Run has returned; idempotent.
	Close() error
}

// Device is one line of the registry. Times are kept to the millisecond, in UTC.
type Device struct {
	ID      track.DeviceID
	Name    string // unique among the devices that are not revoked
	Created time.Time
	Revoked time.Time // zero: not revoked
}

// Credential is what one QR code carried: a wire id and, wrapped, its root key. The
// first credential's ID equals its device's.
type Credential struct {
	ID       track.DeviceID // wire id
	Device   track.DeviceID
	Wrapped  [48]byte // seal.Wrap: the store never sees a key
	Suite    uint8
	Flags    uint8
	MinEpoch uint32 // lowest epoch that may open a session
	Created  time.Time
	Expires  time.Time // zero: never
}

// Token is a right to use the API. The token itself is not kept, only its hash.
type Token struct {
	ID      uint64
	Name    string
	Role    string
	Hash    [32]byte
	Created time.Time
	Expires time.Time // zero: never
}

// Map is a set of devices that are seen together.
type Map struct {
	ID      track.MapID
	Name    string // unique
	Created time.Time
}

// Floor is how far an epoch of a credential has come.
type Floor struct {
	Credential track.DeviceID
	Epoch      uint32
	MaxPID     uint32 // highest packet id that a stored fix came in; not set when Denied
	Denied     bool
}

// Query asks for the fixes of one device with From <= Time < To. A zero From or To
// leaves that end open.
type Query struct {
	Device     track.DeviceID
	From, To   time.Time
	After      Cursor // go on behind this fix; zero: from the beginning
	Limit      int    // at most so many; 0: all
	Heartbeats bool   // also fixes without a place
}

// Health is whether fixes reach the disk.
type Health string

const (
	OK       Health = "ok"
	Degraded Health = "degraded" // commits fail; the ring absorbs what it can
)

// Status is a snapshot of how storing goes. Counters count since the store was
// opened.
type Status struct {
	State  Health
	Reason string    // why degraded, one sentence; empty when ok
	Since  time.Time // of State

	Stored  uint64 // fixes committed
	Lost    uint64 // fixes dropped because the ring was full
	Corrupt uint64 // fixes that a damaged record did not give back
	Pending int    // fixes in the ring, not yet durable

	Commits    uint64
	Failures   uint64        // commits that failed and were tried again
	LastCommit time.Duration // how long the last good one took
	Bytes      int64         // on disk, as of a few seconds ago
}

// Compare orders the fixes of one device as History gives them: by Time, then by
// arrival, then as the device sent them (Sub counts backwards: 0 is the newest of
// its datagram). Two fixes that compare equal are one fix.
func Compare(a, b *track.Fix) int {
	if c := cmp.Compare(a.Time, b.Time); c != 0 {
		return c
	}
	if c := cmp.Compare(a.Arrived, b.Arrived); c != 0 {
		return c
	}
	return cmp.Or(
		cmp.Compare(a.Epoch, b.Epoch),
		cmp.Compare(a.PID, b.PID),
		cmp.Compare(b.Sub, a.Sub),
		cmp.Compare(a.Wire, b.Wire),
		cmp.Compare(a.At.Lat, b.At.Lat),
		cmp.Compare(a.At.Lon, b.At.Lon),
	)
}

// Newer tells whether a is nearer to the present of its device than b: by the time
// that orders the present, see track.Fix.Present, and then as Compare has it.
func Newer(a, b *track.Fix) bool {
	return cmp.Or(cmp.Compare(a.Present(), b.Present()), Compare(a, b)) > 0
}

// Cursor is a place between two fixes in the order of Compare. It stays good across
// restarts, and whatever arrives meanwhile. The zero Cursor is before all fixes.
type Cursor struct {
	set bool
	key track.Fix // what Compare reads; the rest is zero
}

// Behind is the cursor right behind f.
func Behind(f *track.Fix) Cursor {
	return Cursor{set: true, key: track.Fix{
		Time: f.Time, Arrived: f.Arrived, Epoch: f.Epoch, PID: f.PID, Sub: f.Sub, Wire: f.Wire, At: f.At,
	}}
}

// IsZero tells whether the cursor is before all fixes.
func (c Cursor) IsZero() bool { return !c.set }

// Passed tells whether f is before the cursor.
func (c Cursor) Passed(f *track.Fix) bool { return c.set && Compare(f, &c.key) <= 0 }

// Time is the fix time that the cursor stands at, in unix milliseconds.
func (c Cursor) Time() int64 { return c.key.Time }

const cursorLen = 8 + 8 + 4 + 4 + 1 + 6 + 4 + 4

// String is the cursor as an opaque word for URLs, empty for the zero Cursor.
func (c Cursor) String() string {
	if !c.set {
		return ""
	}
	b := make([]byte, 0, cursorLen+2)
	b = binary.BigEndian.AppendUint64(b, uint64(c.key.Time))
	b = binary.BigEndian.AppendUint64(b, uint64(c.key.Arrived))
	b = binary.BigEndian.AppendUint32(b, c.key.Epoch)
	b = binary.BigEndian.AppendUint32(b, c.key.PID)
	b = append(b, c.key.Sub)
	b = append(b, 0, 0, 0, 0, 0, 0)
	c.key.Wire.PutWire(b[len(b)-6:])
	b = binary.BigEndian.AppendUint32(b, uint32(c.key.At.Lat))
	b = binary.BigEndian.AppendUint32(b, uint32(c.key.At.Lon))
	return base64.RawURLEncoding.EncodeToString(b)
}

// ParseCursor reads what String wrote.
func ParseCursor(s string) (Cursor, error) {
	if s == "" {
		return Cursor{}, nil
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	// The decoder skips line breaks wherever they stand; a cursor has none.
	if err != nil || len(b) != cursorLen || len(s) != base64.RawURLEncoding.EncodedLen(cursorLen) {
		return Cursor{}, fmt.Errorf("cursor %q: not one of ours: %w", s, track.ErrInvalid)
	}
	be := binary.BigEndian
	return Cursor{set: true, key: track.Fix{
		Time:    int64(be.Uint64(b)),
		Arrived: int64(be.Uint64(b[8:])),
		Epoch:   be.Uint32(b[16:]),
		PID:     be.Uint32(b[20:]),
		Sub:     b[24],
		Wire:    track.DeviceIDFromWire(b[25:]),
		At:      geo.Point{Lat: int32(be.Uint32(b[31:])), Lon: int32(be.Uint32(b[35:]))},
	}}, nil
}
