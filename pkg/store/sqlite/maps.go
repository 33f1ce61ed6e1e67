package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"tracker/pkg/store"
	"tracker/pkg/track"
)

// mapSchema is in files from version 2 on.
const mapSchema = `
CREATE TABLE map (
	id      INTEGER PRIMARY KEY,
	name    TEXT NOT NULL,
	created INTEGER NOT NULL
);
CREATE UNIQUE INDEX map_name ON map (name);
CREATE TABLE map_member (
	map    INTEGER NOT NULL,
	device INTEGER NOT NULL,
	PRIMARY KEY (map, device)
) WITHOUT ROWID;
CREATE INDEX map_member_device ON map_member (device);
CREATE TABLE map_viewer (
	map   INTEGER NOT NULL,
	token INTEGER NOT NULL,
	PRIMARY KEY (map, token)
) WITHOUT ROWID;
CREATE INDEX map_viewer_token ON map_viewer (token);
`

// SaveMap implements store.Store.
func (d *DB) SaveMap(ctx context.Context, m store.Map) error {
	if m.ID == 0 || m.Name == "" {
		return fmt.Errorf("map %s named %q: %w", m.ID, m.Name, track.ErrInvalid)
	}
	return d.change(ctx, func(c *conn) error {
		err := c.exec("INSERT INTO map (id, name, created) VALUES (?,?,?)", int64(m.ID), m.Name, toMillis(m.Created))
		switch byName, byID := taken(err); {
		case byName:
			return fmt.Errorf("map named %q: %w", m.Name, track.ErrExists)
		case byID:
			return fmt.Errorf("map %s: %w", m.ID, track.ErrExists)
		}
		return err
	})
}

// DeleteMap implements store.Store.
func (d *DB) DeleteMap(ctx context.Context, id track.MapID) error {
	return d.change(ctx, func(c *conn) error {
		n, err := c.change("DELETE FROM map WHERE id = ?", int64(id))
		if err := found(n, err, "map", id); err != nil {
			return err
		}
		if err := c.exec("DELETE FROM map_member WHERE map = ?", int64(id)); err != nil {
			return err
		}
		return c.exec("DELETE FROM map_viewer WHERE map = ?", int64(id))
	})
}

// JoinMap implements store.Store.
func (d *DB) JoinMap(ctx context.Context, id track.MapID, devices []track.DeviceID) error {
	return d.change(ctx, func(c *conn) error {
		if err := exists(c, "map", id, "SELECT 1 FROM map WHERE id = ?", int64(id)); err != nil {
			return err
		}
		for _, device := range devices {
			if err := exists(c, "device", device, "SELECT 1 FROM device WHERE id = ? AND revoked = 0", int64(device)); err != nil {
				return err
			}
			if err := c.exec("INSERT OR IGNORE INTO map_member (map, device) VALUES (?,?)", int64(id), int64(device)); err != nil {
				return err
			}
		}
		return nil
	})
}

// exists makes an error of a query that finds nothing.
func exists(c *conn, kind string, id fmt.Stringer, query string, args ...any) error {
	var one int
	err := c.row(&one)(query, args...)
	if errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("%s %s: %w", kind, id, track.ErrNotFound)
	}
	return err
}

// PartMap implements store.Store.
func (d *DB) PartMap(ctx context.Context, id track.MapID, devices []track.DeviceID) error {
	return d.change(ctx, func(c *conn) error {
		if err := exists(c, "map", id, "SELECT 1 FROM map WHERE id = ?", int64(id)); err != nil {
			return err
		}
		for _, device := range devices {
			if err := c.exec("DELETE FROM map_member WHERE map = ? AND device = ?", int64(id), int64(device)); err != nil {
				return err
			}
		}
		return nil
	})
}

// GrantMap implements store.Store.
func (d *DB) GrantMap(ctx context.Context, id track.MapID, token uint64) error {
	return d.change(ctx, func(c *conn) error {
		if err := exists(c, "map", id, "SELECT 1 FROM map WHERE id = ?", int64(id)); err != nil {
			return err
		}
		if err := exists(c, "token", hexID(token), "SELECT 1 FROM token WHERE id = ?", int64(token)); err != nil {
			return err
		}
		return c.exec("INSERT OR IGNORE INTO map_viewer (map, token) VALUES (?,?)", int64(id), int64(token))
	})
}

// UngrantMap implements store.Store.
func (d *DB) UngrantMap(ctx context.Context, id track.MapID, token uint64) error {
	return d.change(ctx, func(c *conn) error {
		n, err := c.change("DELETE FROM map_viewer WHERE map = ? AND token = ?", int64(id), int64(token))
		return found(n, err, fmt.Sprintf("viewer of map %s: token", id), hexID(token))
	})
}

// Maps implements store.Store.
func (d *DB) Maps(ctx context.Context, yield func(*store.Map) error) error {
	var m store.Map
	var id, created int64
	return d.list(ctx, func(c *conn, each func(func() error) func() error) error {
		return c.rows(&id, &m.Name, &created)(each(func() error {
			m.ID, m.Created = track.MapID(id), fromMillis(created)
			return yield(&m)
		}), "SELECT id, name, created FROM map")
	})
}

// MapMembers implements store.Store.
func (d *DB) MapMembers(ctx context.Context, yield func(track.MapID, track.DeviceID) error) error {
	return d.mapPairs(ctx, "SELECT map, device FROM map_member ORDER BY map, device", func(id track.MapID, n int64) error {
		return yield(id, track.DeviceID(n))
	})
}

// MapViewers implements store.Store.
func (d *DB) MapViewers(ctx context.Context, yield func(track.MapID, uint64) error) error {
	// Ids of tokens have 64 bits, of which SQLite takes the first for a sign.
	return d.mapPairs(ctx, "SELECT map, token FROM map_viewer ORDER BY map, token < 0, token", func(id track.MapID, n int64) error {
		return yield(id, uint64(n))
	})
}

func (d *DB) mapPairs(ctx context.Context, query string, yield func(track.MapID, int64) error) error {
	var id, n int64
	return d.list(ctx, func(c *conn, each func(func() error) func() error) error {
		return c.rows(&id, &n)(each(func() error { return yield(track.MapID(id), n) }), query)
	})
}
