package sqlite

import (
	"database/sql"
	"encoding/binary"
	"math"
	"slices"
	"sort"

	"tracker/pkg/store"
	"tracker/pkg/track"
)

// The state is what a start has to know of every device without reading its
// history: the newest fix, and how far the epochs of its credentials have come. It
// is derived from the fixes and may lag behind them. day.stated says how far it has
// come; what is newer is in runs that wait for their turn and in the tails.
//
// It lies in track.db in blocks of some hundred devices, in the order of ids. Runs
// come in the same order, so taking a run in is a walk along both, and touches no
// block without need.

const stateBlock = 128 // entries of a block, up to twice as many before it is cut

// entry is the state of one device.
type entry struct {
	device   track.DeviceID
	place    track.Fix // newest with a place
	beat     track.Fix // newest without
	hasPlace bool
	hasBeat  bool
	creds    []credential // ordered by wire
}

// credential is the two newest epochs that fixes of it came in, the newest first.
type credential struct {
	wire   track.DeviceID
	epochs [2]epoch
	n      int
}

type epoch struct{ number, pid uint32 }

// denied are the epochs that do not count.
type denied map[deniedEpoch]struct{}

type deniedEpoch struct {
	wire  track.DeviceID
	epoch uint32
}

func (d denied) has(wire track.DeviceID, epoch uint32) bool {
	if len(d) == 0 {
		return false
	}
	_, ok := d[deniedEpoch{wire, epoch}]
	return ok
}

func (e *entry) reset(device track.DeviceID) { *e = entry{device: device, creds: e.creds[:0]} }

// see takes fixes of the device into account, in the order of store.Compare.
func (e *entry) see(fixes []track.Fix, deny denied) {
	e.seeNewest(fixes, track.HasPos, e.seePlace)
	e.seeNewest(fixes, 0, e.seeBeat)
	for i := 0; i < len(fixes); {
		wire, number, pid := fixes[i].Wire, fixes[i].Epoch, fixes[i].PID
		for i++; i < len(fixes) && fixes[i].Wire == wire && fixes[i].Epoch == number; i++ {
			pid = max(pid, fixes[i].PID)
		}
		e.seeEpoch(wire, epoch{number, pid}, deny)
	}
}

// seeNewest shows take what may be the newest fix with a place, or without. That is
// the last one, unless its clock ran ahead: such a fix counts from when it arrived, so
// the ones before it have to be looked at, down to one whose clock was right.
func (e *entry) seeNewest(fixes []track.Fix, place track.Has, take func(*track.Fix)) {
	for i := len(fixes) - 1; i >= 0; i-- {
		if fixes[i].Has&track.HasPos != place {
			continue
		}
		if take(&fixes[i]); fixes[i].Flags&track.Suspect == 0 {
			return
		}
	}
}

func (e *entry) seePlace(f *track.Fix) {
	if !e.hasPlace || store.Newer(f, &e.place) {
		e.place, e.hasPlace = *f, true
		e.place.Ext, e.place.ExtLen = 0, 0
	}
}

func (e *entry) seeBeat(f *track.Fix) {
	if !e.hasBeat || store.Newer(f, &e.beat) {
		e.beat, e.hasBeat = *f, true
		e.beat.Ext, e.beat.ExtLen = 0, 0
	}
}

func (e *entry) seeEpoch(wire track.DeviceID, ep epoch, deny denied) {
	if deny.has(wire, ep.number) {
		return
	}
	i := sort.Search(len(e.creds), func(i int) bool { return e.creds[i].wire >= wire })
	if i == len(e.creds) || e.creds[i].wire != wire {
		e.creds = slices.Insert(e.creds, i, credential{wire: wire})
	}
	e.creds[i].see(ep)
}

func (c *credential) see(ep epoch) {
	for i := range c.epochs[:c.n] {
		if c.epochs[i].number == ep.number {
			c.epochs[i].pid = max(c.epochs[i].pid, ep.pid)
			return
		}
	}
	switch {
	case c.n == 0 || ep.number > c.epochs[0].number:
		c.epochs[1] = c.epochs[0]
		c.epochs[0] = ep
	case c.n == 1 || ep.number > c.epochs[1].number:
		c.epochs[1] = ep
	}
	c.n = min(c.n+1, 2)
}

// merge takes another entry of the same device into account.
func (e *entry) merge(o *entry, deny denied) {
	if o.hasPlace {
		e.seePlace(&o.place)
	}
	if o.hasBeat {
		e.seeBeat(&o.beat)
	}
	for i := range o.creds {
		for _, ep := range o.creds[i].epochs[:o.creds[i].n] {
			e.seeEpoch(o.creds[i].wire, ep, deny)
		}
	}
}

// forget drops epochs that were denied since they were seen.
func (e *entry) forget(deny denied) {
	if len(deny) == 0 {
		return
	}
	for i := range e.creds {
		c := &e.creds[i]
		was := *c
		c.n = 0
		for _, ep := range was.epochs[:was.n] {
			if !deny.has(c.wire, ep.number) {
				c.see(ep)
			}
		}
	}
}

// append writes everything but the device.
func (e *entry) append(dst []byte) []byte {
	var r row
	base := row{colDevice: int64(e.device)}
	for _, p := range []struct {
		fix *track.Fix
		has bool
	}{{&e.place, e.hasPlace}, {&e.beat, e.hasBeat}} {
		if !p.has {
			dst = append(dst, 0)
			continue
		}
		dst = append(dst, 1)
		r.load(p.fix)
		dst = r.append(dst, &base)
		base = r
	}
	dst = binary.AppendUvarint(dst, uint64(len(e.creds)))
	for _, c := range e.creds {
		dst = binary.AppendVarint(dst, int64(c.wire)-int64(e.device))
		dst = binary.AppendUvarint(dst, uint64(c.n))
		for _, ep := range c.epochs[:c.n] {
			dst = binary.AppendUvarint(dst, uint64(ep.number))
			dst = binary.AppendUvarint(dst, uint64(ep.pid))
		}
	}
	return dst
}

func (e *entry) parse(device track.DeviceID, src []byte) error {
	e.reset(device)
	r := row{colDevice: int64(device)}
	for _, p := range []struct {
		fix *track.Fix
		has *bool
	}{{&e.place, &e.hasPlace}, {&e.beat, &e.hasBeat}} {
		if len(src) == 0 {
			return errDamaged
		}
		has := src[0]
		src = src[1:]
		if has == 0 {
			continue
		}
		var ok bool
		if src, ok = r.parse(src); !ok || !r.store(p.fix) {
			return errDamaged
		}
		*p.has = true
	}
	in := numbers{src: src}
	for range in.uint(math.MaxUint16) {
		c := credential{wire: track.DeviceID(in.int() + int64(device))}
		c.n = int(in.uint(2))
		for i := range c.n {
			c.epochs[i] = epoch{uint32(in.uint(math.MaxUint32)), uint32(in.uint(math.MaxUint32))}
		}
		if in.bad {
			return errDamaged
		}
		e.creds = append(e.creds, c)
	}
	if in.bad || len(in.src) != 0 {
		return errDamaged
	}
	return nil
}

// numbers reads one number after the other and remembers whether one was wrong.
type numbers struct {
	src []byte
	bad bool
}

func (n *numbers) uint(most uint64) uint64 {
	v, k := binary.Uvarint(n.src)
	if k <= 0 || v > most {
		n.bad, n.src = true, nil
		return 0
	}
	n.src = n.src[k:]
	return v
}

func (n *numbers) int() int64 {
	v, k := binary.Varint(n.src)
	if k <= 0 {
		n.bad, n.src = true, nil
		return 0
	}
	n.src = n.src[k:]
	return v
}

// packed is an entry as it lies in a block.
type packed struct {
	device track.DeviceID
	data   []byte
}

// appendStateBlock writes entries, ordered by device: format, then device distance
// and length and data of each, then the checksum.
func appendStateBlock(dst []byte, entries []packed) []byte {
	dst = append(dst, blockFormat)
	prev := track.DeviceID(0)
	for _, e := range entries {
		dst = binary.AppendUvarint(dst, uint64(e.device-prev))
		dst = binary.AppendUvarint(dst, uint64(len(e.data)))
		dst = append(dst, e.data...)
		prev = e.device
	}
	return seal(dst)
}

// parseStateBlock appends the entries of a block, whose data stay where they are.
func parseStateBlock(rec []byte, entries []packed) ([]packed, error) {
	body, err := unseal(rec)
	if err != nil || len(body) == 0 || body[0] != blockFormat {
		return entries, errDamaged
	}
	in := numbers{src: body[1:]}
	device := track.DeviceID(0)
	for len(in.src) > 0 {
		device += track.DeviceID(in.uint(math.MaxUint64))
		n := in.uint(uint64(len(in.src)))
		if in.bad || n > uint64(len(in.src)) {
			return entries, errDamaged
		}
		entries = append(entries, packed{device, in.src[:n]})
		in.src = in.src[n:]
	}
	return entries, nil
}

const stateSchema = `
CREATE TABLE state (
	device INTEGER PRIMARY KEY, -- first device in the block
	data   BLOB NOT NULL
);
`

const (
	stateRows  = 256  // blocks that one transaction of the state writes
	stateFresh = 4096 // entries that are held back for one block before it is cut
)

// stateWriter takes entries into the state. They come in the order of devices.
type stateWriter struct {
	file *file
	deny denied

	first int64    // key of the block at hand, -1 while there is none
	limit int64    // first device that belongs behind it
	old   []packed // its entries
	fresh []packed // what comes for it
	arena []byte   // holds fresh's data, and what is merged
	entry entry

	drop   []int64 // blocks to replace
	insert []packed
}

func newStateWriter(f *file, deny denied) *stateWriter {
	return &stateWriter{file: f, deny: deny, first: -1, limit: math.MinInt64}
}

func (w *stateWriter) add(e *entry) error {
	if int64(e.device) >= w.limit || len(w.fresh) >= stateFresh {
		if err := w.cut(e.device); err != nil {
			return err
		}
	}
	at := len(w.arena)
	w.arena = e.append(w.arena)
	w.fresh = append(w.fresh, packed{e.device, w.arena[at:len(w.arena):len(w.arena)]})
	return nil
}

// cut puts out what came, and makes the block that holds device the one at hand.
func (w *stateWriter) cut(device track.DeviceID) error {
	if err := w.endBlock(); err != nil {
		return err
	}
	if len(w.insert) >= stateRows {
		if err := w.flush(nil); err != nil {
			return err
		}
	}
	if int64(device) < w.limit {
		return nil
	}
	w.putRest()
	return w.seek(int64(device))
}

// seek finds the block that device belongs to.
func (w *stateWriter) seek(device int64) error {
	w.first, w.limit, w.old = -1, math.MaxInt64, nil
	return w.file.read(func(c *conn) error {
		var key sql.NullInt64
		err := c.row(&key)("SELECT coalesce((SELECT max(device) FROM state WHERE device <= ?), (SELECT min(device) FROM state))", device)
		if err != nil || !key.Valid {
			return err
		}
		w.first = key.Int64
		var data []byte
		if err := c.row(&data)("SELECT data FROM state WHERE device = ?", w.first); err != nil {
			return err
		}
		// A damaged block is lost, and made anew from what comes.
		w.old, _ = parseStateBlock(data, nil)
		if err := c.row(&key)("SELECT min(device) FROM state WHERE device > max(?, ?)", w.first, device); err != nil {
			return err
		}
		if key.Valid {
			w.limit = key.Int64
		}
		return nil
	})
}

// endBlock merges what came into the block at hand and puts it out, up to the last
// that came. The rest of the block stays at hand.
func (w *stateWriter) endBlock() error {
	if len(w.fresh) == 0 {
		return nil
	}
	merged, err := w.mergeBlock()
	if err != nil {
		return err
	}
	if w.first >= 0 {
		w.drop = append(w.drop, w.first)
		w.first = -1
	}
	w.put(merged)
	w.fresh, w.arena = w.fresh[:0], w.arena[:0]
	return nil
}

// putRest puts out the rest of a block that is to be replaced.
func (w *stateWriter) putRest() {
	if w.first < 0 && len(w.old) > 0 {
		w.first = w.put(w.old)
	}
}

// put makes blocks of entries and returns the key of the first.
func (w *stateWriter) put(entries []packed) int64 {
	first := int64(entries[0].device)
	for len(entries) > 0 {
		n := len(entries)
		if n > 2*stateBlock {
			n = stateBlock
		}
		w.insert = append(w.insert, packed{entries[0].device, appendStateBlock(nil, entries[:n])})
		entries = entries[n:]
	}
	return first
}

func (w *stateWriter) mergeBlock() ([]packed, error) {
	merged := make([]packed, 0, len(w.old)+len(w.fresh))
	for _, f := range w.fresh {
		for len(w.old) > 0 && w.old[0].device < f.device {
			merged = append(merged, w.old[0])
			w.old = w.old[1:]
		}
		if len(w.old) > 0 && w.old[0].device == f.device {
			data, err := w.mergeEntry(w.old[0], f)
			if err != nil {
				return nil, err
			}
			f.data = data
			w.old = w.old[1:]
		}
		merged = append(merged, f)
	}
	return merged, nil
}

func (w *stateWriter) mergeEntry(old, fresh packed) ([]byte, error) {
	var was entry
	if err := was.parse(old.device, old.data); err != nil {
		return fresh.data, nil
	}
	if err := w.entry.parse(fresh.device, fresh.data); err != nil {
		return nil, err
	}
	was.forget(w.deny)
	was.merge(&w.entry, w.deny)
	at := len(w.arena)
	w.arena = was.append(w.arena)
	return w.arena[at:len(w.arena):len(w.arena)], nil
}

// flush writes the blocks that were put out, in one transaction with also.
func (w *stateWriter) flush(also func(c *conn) error) error {
	w.putRest()
	err := w.file.update(func(c *conn) error {
		for _, key := range w.drop {
			if err := c.exec("DELETE FROM state WHERE device = ?", key); err != nil {
				return err
			}
		}
		for _, b := range w.insert {
			if err := c.exec("INSERT INTO state (device, data) VALUES (?,?)", int64(b.device), b.data); err != nil {
				return err
			}
		}
		if also == nil {
			return nil
		}
		return also(c)
	})
	w.drop, w.insert = w.drop[:0], w.insert[:0]
	return err
}

// finish writes what is left.
func (w *stateWriter) finish(also func(c *conn) error) error {
	if err := w.endBlock(); err != nil {
		return err
	}
	return w.flush(also)
}

// summary makes entries of pieces.
type summary struct {
	deny  denied
	entry entry
	any   bool
	emit  func(*entry) error
}

func (s *summary) add(fixes []track.Fix, _ []byte) error {
	if s.any && s.entry.device != fixes[0].Device {
		if err := s.finish(); err != nil {
			return err
		}
	}
	if !s.any {
		s.entry.reset(fixes[0].Device)
		s.any = true
	}
	s.entry.see(fixes, s.deny)
	return nil
}

func (s *summary) finish() error {
	if !s.any {
		return nil
	}
	s.any = false
	return s.emit(&s.entry)
}
