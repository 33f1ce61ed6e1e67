package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"tracker/pkg/store"
	"tracker/pkg/track"
)

// Times are unix milliseconds, 0 for the zero time.
const registrySchema = `
CREATE TABLE device (
	id      INTEGER PRIMARY KEY,
	name    TEXT NOT NULL,
	created INTEGER NOT NULL,
	revoked INTEGER NOT NULL
);
CREATE UNIQUE INDEX device_name ON device (name) WHERE revoked = 0;
CREATE TABLE credential (
	id        INTEGER PRIMARY KEY, -- wire id
	device    INTEGER NOT NULL,
	wrapped   BLOB NOT NULL,
	suite     INTEGER NOT NULL,
	flags     INTEGER NOT NULL,
	min_epoch INTEGER NOT NULL,
	created   INTEGER NOT NULL,
	expires   INTEGER NOT NULL
);
CREATE INDEX credential_rotated ON credential (device) WHERE id <> device; -- all but the first
CREATE TABLE token (
	id      INTEGER PRIMARY KEY,
	name    TEXT NOT NULL,
	role    TEXT NOT NULL,
	hash    BLOB NOT NULL,
	created INTEGER NOT NULL,
	expires INTEGER NOT NULL
);
CREATE TABLE denied (
	credential INTEGER NOT NULL,
	epoch      INTEGER NOT NULL,
	PRIMARY KEY (credential, epoch)
) WITHOUT ROWID;
`

func toMillis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func fromMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// taken tells which kind of uniqueness an insert broke.
func taken(err error) (byName, byID bool) {
	if e := (*sqlite.Error)(nil); errors.As(err, &e) {
		switch e.Code() {
		case sqlite3.SQLITE_CONSTRAINT_UNIQUE:
			return true, false
		case sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_ROWID:
			return false, true
		}
	}
	return false, false
}

// SaveDevices implements store.Store.
func (d *DB) SaveDevices(ctx context.Context, devices []store.Device, credentials []store.Credential) error {
	return d.change(ctx, func(c *conn) error {
		for i := range devices {
			if err := insertDevice(c, &devices[i]); err != nil {
				return err
			}
		}
		for i := range credentials {
			if err := insertCredential(c, &credentials[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

// change is update for callers who may have gone away.
func (d *DB) change(ctx context.Context, fn func(c *conn) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return d.reg.update(fn)
}

func insertDevice(c *conn, v *store.Device) error {
	if v.ID == 0 || v.ID > track.MaxDeviceID || v.Name == "" {
		return fmt.Errorf("device %s named %q: %w", v.ID, v.Name, track.ErrInvalid)
	}
	err := c.exec("INSERT INTO device (id, name, created, revoked) VALUES (?,?,?,?)",
		int64(v.ID), v.Name, toMillis(v.Created), toMillis(v.Revoked))
	switch byName, byID := taken(err); {
	case byName:
		return fmt.Errorf("device named %q: %w", v.Name, track.ErrExists)
	case byID:
		return fmt.Errorf("device %s: %w", v.ID, track.ErrExists)
	}
	return err
}

func insertCredential(c *conn, v *store.Credential) error {
	if v.ID == 0 || v.ID > track.MaxDeviceID {
		return fmt.Errorf("credential %s: %w", v.ID, track.ErrInvalid)
	}
	err := c.exec("INSERT INTO credential (id, device, wrapped, suite, flags, min_epoch, created, expires) VALUES (?,?,?,?,?,?,?,?)",
		int64(v.ID), int64(v.Device), v.Wrapped[:], v.Suite, v.Flags, v.MinEpoch, toMillis(v.Created), toMillis(v.Expires))
	if _, byID := taken(err); byID {
		return fmt.Errorf("credential %s: %w", v.ID, track.ErrExists)
	}
	return err
}

// Devices implements store.Store.
func (d *DB) Devices(ctx context.Context, yield func(*store.Device) error) error {
	var v store.Device
	var id, created, revoked int64
	return d.list(ctx, func(c *conn, each func(func() error) func() error) error {
		return c.rows(&id, &v.Name, &created, &revoked)(each(func() error {
			v.ID = track.DeviceID(id)
			v.Created, v.Revoked = fromMillis(created), fromMillis(revoked)
			return yield(&v)
		}), "SELECT id, name, created, revoked FROM device")
	})
}

// Credentials implements store.Store.
func (d *DB) Credentials(ctx context.Context, yield func(*store.Credential) error) error {
	var v store.Credential
	var id, device, suite, flags, minEpoch, created, expires int64
	var wrapped sql.RawBytes
	return d.list(ctx, func(c *conn, each func(func() error) func() error) error {
		return c.rows(&id, &device, &wrapped, &suite, &flags, &minEpoch, &created, &expires)(each(func() error {
			v.ID, v.Device = track.DeviceID(id), track.DeviceID(device)
			v.Suite, v.Flags, v.MinEpoch = uint8(suite), uint8(flags), uint32(minEpoch)
			if copy(v.Wrapped[:], wrapped) != len(v.Wrapped) {
				return fmt.Errorf("credential %s: %w", v.ID, errDamaged)
			}
			v.Created, v.Expires = fromMillis(created), fromMillis(expires)
			return yield(&v)
		}), "SELECT id, device, wrapped, suite, flags, min_epoch, created, expires FROM credential")
	})
}

// list runs a query over the registry. What goes through each ends when ctx does.
func (d *DB) list(ctx context.Context, query func(c *conn, each func(func() error) func() error) error) error {
	return d.reg.read(func(c *conn) error {
		return query(c, func(fn func() error) func() error {
			return func() error {
				if err := ctx.Err(); err != nil {
					return err
				}
				return fn()
			}
		})
	})
}

// RenameDevice implements store.Store.
func (d *DB) RenameDevice(ctx context.Context, id track.DeviceID, name string) error {
	if name == "" {
		return fmt.Errorf("device %s: empty name: %w", id, track.ErrInvalid)
	}
	return d.change(ctx, func(c *conn) error {
		n, err := c.change("UPDATE device SET name = ? WHERE id = ? AND revoked = 0", name, int64(id))
		if byName, _ := taken(err); byName {
			return fmt.Errorf("device named %q: %w", name, track.ErrExists)
		}
		return found(n, err, "device", id)
	})
}

// found makes an error of a change that found nothing to change.
func found(n int64, err error, kind string, id fmt.Stringer) error {
	if err == nil && n == 0 {
		return fmt.Errorf("%s %s: %w", kind, id, track.ErrNotFound)
	}
	return err
}

// RevokeDevice implements store.Store.
func (d *DB) RevokeDevice(ctx context.Context, id track.DeviceID, at time.Time) error {
	return d.change(ctx, func(c *conn) error {
		n, err := c.change("UPDATE device SET revoked = CASE revoked WHEN 0 THEN ? ELSE revoked END WHERE id = ?", toMillis(at), int64(id))
		if err := found(n, err, "device", id); err != nil {
			return err
		}
		if err := c.exec("DELETE FROM map_member WHERE device = ?", int64(id)); err != nil {
			return err
		}
		return expire(c, id, at)
	})
}

// expire lets the credentials of a device end at that time, unless they end earlier.
func expire(c *conn, device track.DeviceID, at time.Time) error {
	for _, which := range []string{"id = ?1 AND device = ?1", "device = ?1 AND id <> device"} {
		err := c.exec("UPDATE credential SET expires = ?2 WHERE "+which+" AND (expires = 0 OR expires > ?2)", int64(device), toMillis(at))
		if err != nil {
			return err
		}
	}
	return nil
}

// RotateCredential implements store.Store.
func (d *DB) RotateCredential(ctx context.Context, next store.Credential, at time.Time) error {
	return d.change(ctx, func(c *conn) error {
		var one int
		err := c.row(&one)("SELECT 1 FROM device WHERE id = ? AND revoked = 0", int64(next.Device))
		if errors.Is(err, sql.ErrNoRows) {
			return fmt.Errorf("device %s: %w", next.Device, track.ErrNotFound)
		}
		if err != nil {
			return err
		}
		if err := expire(c, next.Device, at); err != nil {
			return err
		}
		return insertCredential(c, &next)
	})
}

// DropCredentials implements store.Store.
func (d *DB) DropCredentials(ctx context.Context, expired time.Time) (n int, err error) {
	err = d.change(ctx, func(c *conn) error {
		dropped, err := c.change("DELETE FROM credential WHERE expires <> 0 AND expires < ?", toMillis(expired))
		n = int(dropped)
		return err
	})
	return n, err
}

// ResetFloor implements store.Store.
func (d *DB) ResetFloor(ctx context.Context, credential track.DeviceID, minEpoch uint32, deny ...uint32) error {
	d.denyMu.Lock()
	defer d.denyMu.Unlock()
	err := d.change(ctx, func(c *conn) error {
		n, err := c.change("UPDATE credential SET min_epoch = ? WHERE id = ?", minEpoch, int64(credential))
		if err := found(n, err, "credential", credential); err != nil {
			return err
		}
		for _, epoch := range deny {
			if err := c.exec("INSERT OR IGNORE INTO denied (credential, epoch) VALUES (?,?)", int64(credential), epoch); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	all := maps.Clone(*d.deny.Load())
	for _, epoch := range deny {
		all[deniedEpoch{credential, epoch}] = struct{}{}
	}
	d.deny.Store(&all)
	return nil
}

func (d *DB) loadDenied(c *conn) error {
	all := make(denied)
	var key deniedEpoch
	err := c.rows(&key.wire, &key.epoch)(func() error {
		all[key] = struct{}{}
		return nil
	}, "SELECT credential, epoch FROM denied")
	d.deny.Store(&all)
	return err
}

// SaveToken implements store.Store.
func (d *DB) SaveToken(ctx context.Context, t store.Token) error {
	return d.change(ctx, func(c *conn) error {
		return c.exec("INSERT OR REPLACE INTO token (id, name, role, hash, created, expires) VALUES (?,?,?,?,?,?)",
			int64(t.ID), t.Name, t.Role, t.Hash[:], toMillis(t.Created), toMillis(t.Expires))
	})
}

// Tokens implements store.Store.
func (d *DB) Tokens(ctx context.Context, yield func(*store.Token) error) error {
	var v store.Token
	var id, created, expires int64
	var hash sql.RawBytes
	return d.list(ctx, func(c *conn, each func(func() error) func() error) error {
		return c.rows(&id, &v.Name, &v.Role, &hash, &created, &expires)(each(func() error {
			if copy(v.Hash[:], hash) != len(v.Hash) {
				return fmt.Errorf("token %q: %w", v.Name, errDamaged)
			}
			v.ID, v.Created, v.Expires = uint64(id), fromMillis(created), fromMillis(expires)
			return yield(&v)
		}), "SELECT id, name, role, hash, created, expires FROM token")
	})
}

// DeleteToken implements store.Store.
func (d *DB) DeleteToken(ctx context.Context, id uint64) error {
	return d.change(ctx, func(c *conn) error {
		n, err := c.change("DELETE FROM token WHERE id = ?", int64(id))
		if err := found(n, err, "token", hexID(id)); err != nil {
			return err
		}
		return c.exec("DELETE FROM map_viewer WHERE token = ?", int64(id))
	})
}

// hexID prints ids as people see them.
type hexID uint64

func (id hexID) String() string { return fmt.Sprintf("%016x", uint64(id)) }
