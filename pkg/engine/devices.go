package engine

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"tracker/pkg/seal"
	"tracker/pkg/store"
	"tracker/pkg/track"
)

const (
	maxName = 128    // bytes of a device's name
	maxBulk = 10_000 // devices in one enrolment
)

// Device is what people see of a device.
type Device struct {
	ID          track.DeviceID
	Name        string
	Created     time.Time
	Revoked     time.Time // zero while it may send
	Alarms      AlarmSet
	Credentials []Credential // newest first
	Last        track.Fix    // valid if Seen
	Seen        bool
}

// State is what people call it: active or revoked.
func (d *Device) State() string {
	if d.Revoked.IsZero() {
		return "active"
	}
	return "revoked"
}

// Credential is one key of a device, without the key.
type Credential struct {
	ID      track.DeviceID
	Suite   seal.Suite
	Flags   seal.EnrolFlags
	Created time.Time
	Expires time.Time // zero = never
}

// NewDevice asks for one enrolment.
type NewDevice struct {
	Name  string
	Suite seal.Suite // 0 = ChaCha20-Poly1305
	Flags seal.EnrolFlags
}

// Enrolled is the answer: the device, and the string that its QR code carries. The
// root in it is shown this once and never again.
type Enrolled struct {
	Device    Device
	Enrolment seal.Enrolment
}

// Enroll registers devices, all or none, and returns when they are durable.
func (e *Engine) Enroll(ctx context.Context, asked []NewDevice) ([]Enrolled, error) {
	if len(asked) == 0 || len(asked) > maxBulk {
		return nil, fmt.Errorf("enrol %d devices at once: want 1..%d: %w", len(asked), maxBulk, track.ErrInvalid)
	}
	e.enrolling.Lock() // one at a time, so that names stay unique while the store writes
	defer e.enrolling.Unlock()
	if err := e.checkNew(asked); err != nil {
		return nil, err
	}
	now := e.now().UTC().Truncate(time.Second)
	out := make([]Enrolled, len(asked))
	devices := make([]store.Device, len(asked))
	creds := make([]store.Credential, len(asked))
	for i, a := range asked {
		id := e.freshID()
		devices[i] = store.Device{ID: id, Name: a.Name, Created: now}
		out[i].Enrolment = seal.Enrolment{Device: id, Suite: a.Suite, Flags: a.Flags}
		creds[i] = e.newCredential(&out[i].Enrolment, id, now)
	}
	if err := e.store.SaveDevices(ctx, devices, creds); err != nil {
		return nil, fmt.Errorf("enrol: %w", err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := range devices {
		e.reg.addDevice(&devices[i])
		if err := e.addCred(&creds[i], now); err != nil {
			return nil, err
		}
		d, _ := e.reg.device(devices[i].ID)
		out[i].Device = e.view(d)
	}
	return out, nil
}

func (e *Engine) checkNew(asked []NewDevice) error {
	e.mu.RLock()
	defer e.mu.RUnlock()
	seen := make(map[string]bool, len(asked))
	for i := range asked {
		a := &asked[i]
		if a.Suite == 0 {
			a.Suite = seal.ChaCha20Poly1305
		}
		if a.Suite != seal.ChaCha20Poly1305 && a.Suite != seal.AES128GCM {
			return fmt.Errorf("suite %d: want 1 (ChaCha20-Poly1305) or 2 (AES-128-GCM): %w", a.Suite, track.ErrInvalid)
		}
		if both := seal.CounterEpochs | seal.RotatingIDs; a.Flags&both == both {
			return fmt.Errorf("flags %v: rotating ids (p) need a clock, and c says that there is none: %w", a.Flags, track.ErrInvalid)
		}
		if err := checkName(a.Name); err != nil {
			return err
		}
		if _, taken := e.reg.lookupName(a.Name); taken || seen[a.Name] {
			return fmt.Errorf("device %q: %w", a.Name, track.ErrExists)
		}
		seen[a.Name] = true
	}
	return nil
}

// checkName keeps names typable: one line of printable UTF-8 that is not an id.
func checkName(name string) error {
	switch {
	case name == "" || strings.TrimSpace(name) != name:
		return fmt.Errorf("name %q is empty or has blanks at its ends: %w", name, track.ErrInvalid)
	case len(name) > maxName:
		return fmt.Errorf("name %q... is longer than %d bytes: %w", name[:20], maxName, track.ErrInvalid)
	case !utf8.ValidString(name):
		return fmt.Errorf("name %q is not UTF-8: %w", name, track.ErrInvalid)
	}
	for _, c := range name {
		if !unicode.IsPrint(c) {
			return fmt.Errorf("name %q holds an unprintable character: %w", name, track.ErrInvalid)
		}
	}
	if _, err := track.ParseDeviceID(name); err == nil {
		return fmt.Errorf("name %q looks like a device id: %w", name, track.ErrInvalid)
	}
	return nil
}

// freshID draws a wire id that nobody has.
func (e *Engine) freshID() track.DeviceID {
	e.mu.RLock()
	defer e.mu.RUnlock()
	for {
		var b [6]byte
		_, _ = rand.Read(b[:]) // never fails
		id := track.DeviceIDFromWire(b[:])
		if _, taken := e.reg.deviceAt(id); taken || id == 0 {
			continue
		}
		if _, taken := e.reg.credAt(id); taken {
			continue
		}
		return id
	}
}

// newCredential draws a root into en, which is the only place that it is in, and
// returns what the store keeps of it.
func (e *Engine) newCredential(en *seal.Enrolment, device track.DeviceID, now time.Time) store.Credential {
	en.Host = e.cfg.Advertise
	_, _ = rand.Read(en.Root[:])
	c := store.Credential{ID: en.Device, Device: device, Suite: uint8(en.Suite), Flags: uint8(en.Flags), Created: now,
		Wrapped: seal.Wrap(&e.master, en.Device, &en.Root)}
	// A device without a clock counts its epochs from 1; all others must know what
	// day it is, or they would repeat keys after a restart.
	if en.Flags&seal.CounterEpochs == 0 {
		c.MinEpoch = uint32(now.Add(-24 * time.Hour).Unix())
	}
	return c
}

// addCred files a credential that the store has. Doors cache no strangers, so none
// has to be told. Caller holds mu.
func (e *Engine) addCred(c *store.Credential, now time.Time) error {
	if err := e.reg.addCred(c); err != nil {
		return err
	}
	i, _ := e.reg.credAt(c.ID)
	if rec := e.reg.creds.at(i); rec.flags&seal.RotatingIDs != 0 {
		e.addAliases(i, rec, now)
	}
	return nil
}

// Find resolves an id or a name.
func (e *Engine) Find(ref string) (Device, error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	d, err := e.reg.find(ref)
	if err != nil || d.id == e.probe {
		return Device{}, fmt.Errorf("device %q: %w", ref, track.ErrNotFound)
	}
	return e.view(d), nil
}

// Devices returns up to limit devices whose names contain match, by ascending id,
// starting behind after (zero: from the first).
func (e *Engine) Devices(match string, after track.DeviceID, limit int) []Device {
	ids := e.ordered()
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.page(ids, match, after, limit)
}

// ordered returns all ids in order. Sorting a million takes 60 ms, so it is done
// once after enrolments, not once a page.
func (e *Engine) ordered() []track.DeviceID {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.order) != e.reg.devices.len() {
		e.order = e.reg.sortedIDs()
	}
	return e.order
}

func (e *Engine) page(ids []track.DeviceID, match string, after track.DeviceID, limit int) []Device {
	out := []Device{}
	for _, id := range ids[above(ids, after):] {
		if len(out) == limit {
			break
		}
		d, err := e.reg.device(id)
		if err != nil || id == e.probe {
			continue
		}
		if match != "" && !strings.Contains(string(e.reg.nameOf(d)), match) && id.String() != match {
			continue
		}
		out = append(out, e.view(d))
	}
	return out
}

// Rename gives a device another name.
func (e *Engine) Rename(ctx context.Context, id track.DeviceID, name string) (Device, error) {
	if err := checkName(name); err != nil {
		return Device{}, err
	}
	e.enrolling.Lock()
	defer e.enrolling.Unlock()
	if err := e.checkRename(id, name); err != nil {
		return Device{}, err
	}
	if err := e.store.RenameDevice(ctx, id, name); err != nil {
		return Device{}, fmt.Errorf("rename device %s: %w", id, err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	d, err := e.reg.device(id)
	if err != nil {
		return Device{}, err
	}
	i, _ := e.reg.deviceAt(id)
	e.reg.byName.remove(i)
	e.reg.setName(d, name)
	e.reg.byName.add(i)
	return e.view(d), nil
}

func (e *Engine) checkRename(id track.DeviceID, name string) error {
	e.mu.RLock()
	defer e.mu.RUnlock()
	d, err := e.reg.device(id)
	if err != nil || id == e.probe {
		return fmt.Errorf("device %s: %w", id, track.ErrNotFound)
	}
	if d.revoked != 0 {
		return fmt.Errorf("device %s is revoked: %w", id, track.ErrInvalid)
	}
	if i, taken := e.reg.lookupName(name); taken && e.reg.devices.at(i).id != id {
		return fmt.Errorf("device %q: %w", name, track.ErrExists)
	}
	return nil
}

// Revoke ends a device: its keys are gone when it returns, its history stays, its
// name is free again, and it is on no map.
func (e *Engine) Revoke(ctx context.Context, id track.DeviceID) error {
	e.enrolling.Lock()
	defer e.enrolling.Unlock()
	e.mu.RLock()
	d, err := e.reg.device(id)
	gone := err == nil && (d.revoked != 0 || d.id == e.probe)
	e.mu.RUnlock()
	if err != nil {
		return err
	}
	if gone {
		return fmt.Errorf("device %s is revoked already: %w", id, track.ErrNotFound)
	}
	now := e.now().UTC()
	if err := e.store.RevokeDevice(ctx, id, now); err != nil {
		return fmt.Errorf("revoke device %s: %w", id, err)
	}
	e.endKeys(d, now)
	e.shun(id, now)
	e.hub.Settle() // whoever had not seen that yet has applied what it had
	e.forget(id)
	e.endMember(id)
	return nil
}

func (e *Engine) endKeys(d *deviceRec, now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	i, _ := e.reg.deviceAt(d.id)
	e.reg.byName.remove(i)
	d.revoked = seconds(now)
	e.reg.active--
	e.reg.credsOf(d, func(i uint32, _ *credRec) {
		e.changed(i)
		e.reg.dropCred(i)
	})
}

// shun keeps the fixes of a revoked device out that are being read at this moment.
// Caller holds enrolling.
func (e *Engine) shun(id track.DeviceID, now time.Time) {
	next := map[track.DeviceID]time.Time{id: now}
	if old := e.revoked.Load(); old != nil {
		maps.Copy(next, *old)
	}
	e.revoked.Store(&next)
}

// forgetRevoked ends the shunning of devices whose last datagram was read long ago.
func (e *Engine) forgetRevoked(now time.Time) {
	e.enrolling.Lock()
	defer e.enrolling.Unlock()
	old := e.revoked.Load()
	if old == nil {
		return
	}
	next := maps.Clone(*old)
	maps.DeleteFunc(next, func(_ track.DeviceID, at time.Time) bool { return now.Sub(at) > time.Minute })
	if len(next) == 0 {
		e.revoked.Store(nil)
		return
	}
	e.revoked.Store(&next)
}

// Rotate gives a device a new key. The old one stays good for the grace time, and
// acks to it ask the device to provision itself again.
func (e *Engine) Rotate(ctx context.Context, id track.DeviceID) (Enrolled, error) {
	e.enrolling.Lock()
	defer e.enrolling.Unlock()
	now := e.now().UTC().Truncate(time.Second)
	newest, err := e.newestCred(id)
	if err != nil {
		return Enrolled{}, err
	}
	out := Enrolled{Enrolment: seal.Enrolment{Device: e.freshID(), Suite: newest.suite, Flags: newest.flags}}
	cred := e.newCredential(&out.Enrolment, id, now)
	expires := now.Add(e.cfg.Grace)
	if err := e.store.RotateCredential(ctx, cred, expires); err != nil {
		return Enrolled{}, fmt.Errorf("rotate device %s: %w", id, err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	d, err := e.reg.device(id)
	if err != nil {
		return Enrolled{}, err
	}
	e.reg.credsOf(d, func(i uint32, c *credRec) {
		if c.expires == 0 || c.expires > seconds(expires) {
			c.expires = max(1, seconds(expires))
		}
		e.changed(i)
	})
	if err := e.addCred(&cred, now); err != nil {
		return Enrolled{}, err
	}
	d.alarms = 0
	out.Device = e.view(d)
	return out, nil
}

// forget takes a device out of the present, and off every map that shows it.
func (e *Engine) forget(id track.DeviceID) {
	pass := e.hub.Enter()
	defer pass.Leave()
	if f, ok := e.live.Remove(id); ok {
		pass.Gone(id, f.At, f.Has&track.HasPos != 0)
	}
}

func (e *Engine) newestCred(id track.DeviceID) (credRec, error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	d, err := e.reg.device(id)
	if err != nil || id == e.probe {
		return credRec{}, fmt.Errorf("device %s: %w", id, track.ErrNotFound)
	}
	if d.cred == 0 {
		return credRec{}, fmt.Errorf("device %s is revoked: %w", id, track.ErrInvalid)
	}
	return *e.reg.creds.at(d.cred - 1), nil
}

// ErrNothingToReset says that no session of the device lies in the future.
var ErrNothingToReset = errors.New("no session of the device lies in the future")

// ResetFloor recovers a device whose clock once ran ahead: its sessions from the
// future are struck out for ever, and the floor goes back to the last sane one, so
// that the device's true clock opens sessions again.
func (e *Engine) ResetFloor(ctx context.Context, id track.DeviceID) (Device, error) {
	e.enrolling.Lock()
	defer e.enrolling.Unlock()
	c, err := e.newestCred(id)
	if err != nil {
		return Device{}, err
	}
	bad, sane := e.judgeEpochs(&c)
	if len(bad) == 0 {
		return Device{}, fmt.Errorf("reset floor of device %s: %w: %w", id, ErrNothingToReset, track.ErrInvalid)
	}
	if err := e.store.ResetFloor(ctx, c.id, sane, bad...); err != nil {
		return Device{}, fmt.Errorf("reset floor of device %s: %w", id, err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	i, _ := e.reg.credAt(c.id)
	rec := e.reg.creds.at(i)
	rec.floor = sane
	e.reg.denied[c.id] = append(slices.Clone(e.reg.denied[c.id]), bad...)
	delete(e.future, c.id)
	for j := range rec.live {
		if rec.live[j].Known && slices.Contains(bad, rec.live[j].Epoch) {
			rec.live[j] = Live{}
		}
	}
	if !rec.live[0].Known {
		rec.live[0], rec.live[1] = rec.live[1], Live{}
	}
	d := e.reg.devices.at(rec.device)
	d.alarms &^= AlarmEpochFuture
	e.changed(i)
	return e.view(d), nil
}

// judgeEpochs returns the known epochs of a credential that lie in the future, and
// the floor that is sane without them. All of them are to be struck out by name: the
// rule of Struck holds only until their time has come, and one that the store still
// counted as a session would shut the device out again after a restart.
func (e *Engine) judgeEpochs(c *credRec) (bad []uint32, sane uint32) {
	now := e.now().Unix()
	known := e.futureEpochs(c.id)
	for _, l := range c.live {
		if l.Known {
			known = append(known, l.Epoch)
		}
	}
	if f, ok := e.live.Get(e.reg.devices.at(c.device).id); ok && f.Wire == c.id {
		known = append(known, f.Epoch)
	}
	sane = c.floor
	for _, epoch := range known {
		switch ahead := int64(epoch) - now; {
		case ahead > int64(time.Hour/time.Second):
			bad = append(bad, epoch)
		case ahead <= skew:
			sane = max(sane, epoch)
		}
	}
	slices.Sort(bad)
	return slices.Compact(bad), sane
}

// view makes a Device of a record. Caller holds mu.
func (e *Engine) view(d *deviceRec) Device {
	v := Device{ID: d.id, Name: string(e.reg.nameOf(d)), Created: fromSeconds(d.created),
		Revoked: fromSeconds(d.revoked), Alarms: d.alarms}
	e.reg.credsOf(d, func(_ uint32, c *credRec) {
		v.Credentials = append(v.Credentials, Credential{ID: c.id, Suite: c.suite, Flags: c.flags,
			Created: fromSeconds(c.created), Expires: fromSeconds(c.expires)})
	})
	v.Last, v.Seen = e.live.Get(d.id)
	return v
}

// AppendName appends the name of a device, or its id if it has none.
func (e *Engine) AppendName(dst []byte, id track.DeviceID) []byte {
	e.mu.RLock()
	defer e.mu.RUnlock()
	d, err := e.reg.device(id)
	if err != nil {
		dst, _ = id.AppendText(dst)
		return dst
	}
	return append(dst, e.reg.nameOf(d)...)
}
