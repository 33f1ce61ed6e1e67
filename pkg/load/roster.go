package load

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/track"
)

// Roster remembers the enrolments of one fleet on one server, so that a fleet which
// plays again is the same fleet. Its file holds the devices' keys: only its owner may
// read it.
//
// The devices of a fleet take their epochs from the clock, and an epoch must never come
// twice. So the file is locked from OpenRoster to Close, and it holds when the fleet
// last played: if the clock went back since, every device gets a new key.
type Roster struct {
	path   string
	file   rosterFile
	unlock func()
}

// rosterFile is the file's content.
type rosterFile struct {
	Server  string                `json:"server"`
	Lineage string                `json:"lineage"` // of the server's database; another has none of these devices
	Played  time.Time             `json:"played"`  // our clock when the fleet last began or ended
	Devices map[string]remembered `json:"devices"` // by name
}

type remembered struct {
	ID         track.DeviceID `json:"id"`
	Credential track.DeviceID `json:"credential"`
	Enrolment  string         `json:"enrolment"`
}

func remember(e *client.Enrolled) remembered {
	r := remembered{ID: e.Device.ID, Enrolment: e.Enrolment}
	if len(e.Device.Credentials) > 0 {
		r.Credential = e.Device.Credentials[0].ID
	}
	return r
}

// ErrFleetBusy says that another process plays the fleet.
var ErrFleetBusy = errors.New("another process is playing this fleet")

// OpenRoster locks and reads a roster; the file need not exist yet.
func OpenRoster(path string) (*Roster, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("keep the fleet's keys: %w", err)
	}
	unlock, err := lockFile(path + ".lock")
	if errors.Is(err, ErrLocked) {
		err = ErrFleetBusy
	}
	if err != nil {
		return nil, fmt.Errorf("keep the fleet's keys in %s: %w", path, err)
	}
	r := &Roster{path: path, unlock: unlock}
	if err := r.load(); err != nil {
		unlock()
		return nil, err
	}
	return r, nil
}

// lockFile locks a file that is there for nothing else: the roster itself is replaced when
// it is saved, and a lock would go with the old one.
func lockFile(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	release, err := TryLock(f)
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return func() { release(); _ = f.Close() }, nil
}

// Close remembers when the fleet stopped and lets others play it.
func (r *Roster) Close() error {
	if r.unlock == nil {
		return nil
	}
	defer func() { r.unlock(); r.unlock = nil }()
	if len(r.file.Devices) == 0 {
		return nil
	}
	r.file.Played = time.Now()
	return r.save()
}

// Member is one enrolled device of a fleet.
type Member struct {
	Name      string
	ID        track.DeviceID
	Enrolment string
	Fresh     bool // enrolled just now: it has no history
}

// Mustered says how a fleet came together.
type Mustered struct {
	Reused   int // remembered from before
	Enrolled int // new on the server
	Rotated  int // known to the server but not to us: they have a new key now
}

// Muster makes every name an enrolled device of the server and returns them in order.
// What was remembered is used again if the server still knows it. A name that the
// server knows and we do not gets a new key by rotation, so its old key keeps working
// for the server's grace time. progress, if not nil, is told how many are done.
func (r *Roster) Muster(ctx context.Context, conn *client.Conn, names []string, progress func(done int)) ([]Member, Mustered, error) {
	m := muster{roster: r, conn: conn, progress: progress, fresh: map[string]bool{}}
	if err := m.run(ctx, names); err != nil {
		return nil, m.how, err
	}
	members := make([]Member, len(names))
	for i, name := range names {
		d := r.file.Devices[name]
		members[i] = Member{Name: name, ID: d.ID, Enrolment: d.Enrolment, Fresh: m.fresh[name]}
	}
	return members, m.how, nil
}

// muster is one calling together of a fleet.
type muster struct {
	roster   *Roster
	conn     *client.Conn
	progress func(int)
	how      Mustered
	fresh    map[string]bool
}

func (m *muster) run(ctx context.Context, names []string) error {
	status, err := m.conn.Status(ctx)
	if err != nil {
		return err
	}
	if f := &m.roster.file; f.Lineage != status.Lineage {
		*f = rosterFile{Server: m.conn.Server(), Lineage: status.Lineage, Devices: map[string]remembered{}}
	}
	known, err := m.known(ctx, names)
	if err != nil {
		return err
	}
	now := time.Now()
	clockWentBack := now.Before(m.roster.file.Played)
	var enrol, rotate []string
	for _, name := range names {
		ours, is := m.roster.file.Devices[name], known[name]
		switch {
		case is.ID == 0:
			enrol = append(enrol, name)
		case ours.ID != is.ID || ours.Credential != is.Credential || clockWentBack:
			rotate = append(rotate, name)
		default:
			m.how.Reused++
		}
	}
	m.tell()
	if err := m.enrol(ctx, enrol); err != nil {
		return err
	}
	if err := m.rotate(ctx, rotate, known); err != nil {
		return err
	}
	m.roster.file.Played = now
	return m.roster.save()
}

func (m *muster) tell() {
	if m.progress != nil {
		m.progress(m.how.Reused + m.how.Enrolled + m.how.Rotated)
	}
}

// few is up to how many devices it is cheaper to ask for one by one than to walk
// through all that a server has.
const few = 64

// known asks the server which of the names it has, and with which newest key.
func (m *muster) known(ctx context.Context, names []string) (map[string]remembered, error) {
	known := map[string]remembered{}
	add := func(d client.Device) {
		if d.State == "active" {
			known[d.Name] = remember(&client.Enrolled{Device: d})
		}
	}
	if len(names) <= few {
		for _, name := range names {
			d, err := m.conn.Device(ctx, name)
			if err != nil && !errors.Is(err, track.ErrNotFound) {
				return nil, err
			}
			add(d)
		}
		return known, nil
	}
	wanted := make(map[string]bool, len(names))
	for _, name := range names {
		wanted[name] = true
	}
	for d, err := range m.conn.Devices(ctx, "") {
		if err != nil {
			return nil, err
		}
		if wanted[d.Name] {
			add(d)
		}
		if len(known) == len(wanted) {
			break
		}
	}
	return known, nil
}

// batch is how many enrolments one request asks for.
const batch = 2000

func (m *muster) enrol(ctx context.Context, names []string) error {
	unsaved := 0
	for len(names) > 0 {
		n := min(batch, len(names))
		ask := make([]client.NewDevice, n)
		for i := range ask {
			ask[i].Name = names[i]
		}
		got, err := m.conn.EnrollBatch(ctx, ask)
		if err != nil {
			return errors.Join(fmt.Errorf("enrol %d devices: %w", n, err), m.roster.save())
		}
		for i := range got {
			m.roster.file.Devices[names[i]] = remember(&got[i])
			m.fresh[names[i]] = true
		}
		names = names[n:]
		m.how.Enrolled += n
		m.tell()
		// A kill in between costs rotations, not devices. Saving more rarely as the file
		// grows keeps a million enrolments from writing it a thousand times.
		if unsaved += n; unsaved*4 >= len(m.roster.file.Devices) || len(names) == 0 {
			if err := m.roster.save(); err != nil {
				return err
			}
			unsaved = 0
		}
	}
	return nil
}

func (m *muster) rotate(ctx context.Context, names []string, known map[string]remembered) error {
	for i, name := range names {
		e, err := m.conn.Rotate(ctx, known[name].ID.String())
		if err != nil {
			return errors.Join(fmt.Errorf("rotate the key of %q: %w", name, err), m.roster.save())
		}
		m.roster.file.Devices[name] = remember(&e)
		m.how.Rotated++
		if left := len(names) - 1 - i; left%max(100, len(names)/10) == 0 {
			if err := m.roster.save(); err != nil {
				return err
			}
			m.tell()
		}
	}
	return nil
}

func (r *Roster) load() error {
	r.file.Devices = map[string]remembered{}
	b, err := os.ReadFile(r.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the fleet's keys: %w", err)
	}
	if err := json.Unmarshal(b, &r.file); err != nil {
		return fmt.Errorf("read the fleet's keys: %s: %w", r.path, err)
	}
	if r.file.Devices == nil {
		r.file.Devices = map[string]remembered{}
	}
	return nil
}

func (r *Roster) save() error {
	b, err := json.Marshal(r.file)
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(r.path), ".fleet-*") // 0600 by itself
	if err != nil {
		return fmt.Errorf("save the fleet's keys: %w", err)
	}
	defer func() { _ = os.Remove(tmp.Name()) }()
	_, err = tmp.Write(b)
	if err := errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return fmt.Errorf("save the fleet's keys: %w", err)
	}
	if err := os.Rename(tmp.Name(), r.path); err != nil {
		return fmt.Errorf("save the fleet's keys: %w", err)
	}
	return nil
}
