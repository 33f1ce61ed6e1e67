package ingest

import (
	"math/rand/v2"
	"testing"

	"tracker/pkg/track"
)

// The table against a Go map: the same ids, each with its own record, through
// growth and removal.
func TestTableHoldsWhatAMapWouldHold(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	table, model := newTable(), map[track.DeviceID]uint32{}
	defer table.release()
	var ids []track.DeviceID
	for step := range uint32(300_000) {
		if len(ids) > 0 && rng.IntN(3) == 0 {
			i := rng.IntN(len(ids))
			table.remove(ids[i])
			delete(model, ids[i])
			ids[i] = ids[len(ids)-1]
			ids = ids[:len(ids)-1]
			continue
		}
		id := track.DeviceID(rng.Uint64N(1<<48-1) + 1)
		if _, ok := model[id]; ok {
			continue
		}
		table.insert(id).win.Epoch = step
		model[id] = step
		ids = append(ids, id)
	}
	if table.len() != len(model) {
		t.Fatalf("table holds %d ids, want %d", table.len(), len(model))
	}
	for id, want := range model {
		r := table.find(id)
		if r == nil || r.id() != id || r.win.Epoch != want {
			t.Fatalf("id %s: got %+v, want epoch %d", id, r, want)
		}
		ref, ok := table.guess(mix(uint64(id)))
		if !ok {
			t.Fatalf("id %s: no guess", id)
		}
		_ = table.at(ref)
	}
	for range 100_000 {
		id := track.DeviceID(rng.Uint64N(1<<48-1) + 1)
		if _, ok := model[id]; !ok && table.find(id) != nil {
			t.Fatalf("table knows a stranger %s", id)
		}
	}
}

// Sequential ids are what a test fleet has; they must not pile up in a few parts.
func TestTableSpreadsSequentialIDs(t *testing.T) {
	table := newTable()
	defer table.release()
	const n = 64_000
	for id := track.DeviceID(1); id <= n; id++ {
		table.insert(id)
	}
	for i := range table.parts {
		if got := table.parts[i].n; got < n/parts/2 || got > n/parts*2 {
			t.Errorf("part %d holds %d ids of about %d", i, got, n/parts)
		}
	}
}

func TestTableRemoveWipesTheKey(t *testing.T) {
	table := newTable()
	defer table.release()
	r := table.insert(7)
	r.key[31] = 1
	table.remove(7)
	if *r != (record{}) {
		t.Errorf("removed record still holds %+v", *r)
	}
	table.remove(7) // and again, which is nothing
	if again := table.insert(8); again != r {
		t.Error("the freed record was not used again")
	}
}

func TestTableSweepVisitsEveryRecordOnceARound(t *testing.T) {
	table := newTable()
	defer table.release()
	for id := track.DeviceID(1); id <= 1000; id++ {
		table.insert(id)
	}
	seen, cursor := map[track.DeviceID]int{}, uint32(0)
	for range 10 {
		cursor = table.sweep(cursor, 100, func(r *record) { seen[r.id()]++ })
	}
	if len(seen) != 1000 {
		t.Fatalf("visited %d records of 1000", len(seen))
	}
	for id, n := range seen {
		if n != 1 {
			t.Errorf("visited %s %d times", id, n)
		}
	}
}

func TestRecordKeepsItsSmallFieldsApart(t *testing.T) {
	table := newTable()
	defer table.release()
	r := table.insert(track.MaxDeviceID)
	r.setHint(0xffff)
	r.setDue(1<<40 - 2)
	if r.id() != track.MaxDeviceID || r.hint() != 0xffff || r.due() != 1<<40-2 || r.flags != 0 || r.fails != 0 {
		t.Errorf("got %+v", *r)
	}
	r.setHint(0)
	r.setDue(3)
	if r.id() != track.MaxDeviceID || r.hint() != 0 || r.due() != 3 {
		t.Errorf("got %+v", *r)
	}
}

func BenchmarkTableFindOneOfAMillion(b *testing.B) {
	table := newTable()
	defer table.release()
	const n = 1_000_000
	for id := range track.DeviceID(n) {
		table.insert(id + 1)
	}
	rng := rand.New(rand.NewPCG(3, 4))
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		if table.find(track.DeviceID(rng.Uint64N(n)+1)) == nil {
			b.Fatal("lost an id")
		}
	}
}
