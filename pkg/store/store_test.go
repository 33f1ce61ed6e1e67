package store

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"tracker/pkg/geo"
	"tracker/pkg/track"
)

func TestCompareOrdersByTimeThenArrivalThenAsSent(t *testing.T) {
	base := track.Fix{Time: 1000, Arrived: 2000, Epoch: 7, PID: 5, Sub: 3, Wire: 9, At: geo.Point{Lat: 1, Lon: 1}}
	with := func(change func(*track.Fix)) track.Fix { f := base; change(&f); return f }
	// Each fix comes after the one above it, whatever its lesser fields say.
	want := []track.Fix{
		base,
		with(func(f *track.Fix) { f.At.Lon = 2 }),
		with(func(f *track.Fix) { f.At = geo.Point{Lat: 2, Lon: -5} }),
		with(func(f *track.Fix) { f.Wire = 10 }),
		with(func(f *track.Fix) { f.Sub = 2 }),
		with(func(f *track.Fix) { f.PID, f.Sub = 6, 200 }),
		with(func(f *track.Fix) { f.Epoch, f.PID = 8, 0 }),
		with(func(f *track.Fix) { f.Arrived, f.Epoch = 2001, 0 }),
		with(func(f *track.Fix) { f.Time, f.Arrived = 1001, 0 }),
	}
	got := slices.Clone(want)
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(got), func(i, j int) { got[i], got[j] = got[j], got[i] })
	slices.SortFunc(got, func(a, b track.Fix) int { return Compare(&a, &b) })
	if !slices.Equal(got, want) {
		t.Fatalf("sorted:\ngot  %v\nwant %v", got, want)
	}
	for i := range want {
		c := Behind(&want[i])
		for j := range want {
			if c.Passed(&want[j]) != (j <= i) {
				t.Errorf("cursor behind fix %d: Passed(fix %d) = %v", i, j, !(j <= i))
			}
		}
	}
}

func TestZeroCursorHasPassedNothing(t *testing.T) {
	var c Cursor
	if !c.IsZero() || c.Passed(&track.Fix{Time: -1 << 62}) || c.String() != "" {
		t.Fatalf("zero cursor: IsZero %v, String %q", c.IsZero(), c.String())
	}
	if got, err := ParseCursor(""); err != nil || got != c {
		t.Fatalf("ParseCursor(\"\") = %v, %v", got, err)
	}
}

func TestForeignCursorIsInvalid(t *testing.T) {
	good := func() string { c := Behind(&track.Fix{Time: 5}); return c.String() }()
	for _, s := range []string{"x", "====", good[:len(good)-1], good + "A", strings.Repeat("A", 51) + "="} {
		if _, err := ParseCursor(s); !errors.Is(err, track.ErrInvalid) {
			t.Errorf("ParseCursor(%q): got %v, want ErrInvalid", s, err)
		}
	}
}

func FuzzCursor(f *testing.F) {
	c := Behind(&track.Fix{Time: 1_700_000_000_123, Arrived: 1_700_000_000_200, Epoch: 3, PID: 77, Sub: 1, Wire: 0xabcdef,
		At: geo.Point{Lat: -5, Lon: 1_800_000_000}})
	f.Add(c.String())
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		c, err := ParseCursor(s)
		if err != nil {
			return
		}
		if got := c.String(); got != s {
			t.Fatalf("ParseCursor(%q).String() = %q", s, got)
		}
	})
}
