package sim

import (
	"strings"
	"testing"
	"time"

	"tracker/pkg/geo"
)

func fleet(t testing.TB, n int, seed uint64) *Fleet {
	t.Helper()
	f, err := New(Config{Devices: n, Seed: seed})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestSameSeedMovesTheSame(t *testing.T) {
	a, b, other := fleet(t, 200, 7), fleet(t, 500, 7), fleet(t, 200, 8)
	differ := 0
	for i := range a.Len() {
		// b is asked often, a once: the place must not depend on it.
		for s := range 100 {
			b.At(i, time.Duration(s)*30*time.Second)
		}
		at := 100 * 30 * time.Second
		if x, y := a.At(i, at), b.At(i, at); x != y {
			t.Fatalf("%s: %+v, and asked often %+v", a.Name(i), x, y)
		}
		if a.At(i, at) != other.At(i, at) {
			differ++
		}
	}
	if differ < 190 {
		t.Errorf("only %d of 200 vehicles differ with another seed", differ)
	}
}

func TestVehiclesMoveLikeTheirKind(t *testing.T) {
	f := fleet(t, 120, 1)
	const step = 10 * time.Second
	for i := range f.Len() {
		k := f.vehicles[i].kind
		moved, last := geo.Meters(0), f.At(i, 0)
		for at := step; at <= 6*time.Hour; at += step {
			s := f.At(i, at)
			d := geo.Distance(last.At, s.At)
			moved += d
			// Both ends may be off by half the accuracy, and speed changes in between.
			if most := geo.Meters(k.fast*step.Seconds()) + s.Accuracy + 1; d > most {
				t.Fatalf("%s jumped %.0f m in %v at %v, at most %.0f", f.Name(i), d, step, at, most)
			}
			check(t, f.Name(i), k, s)
			last = s
		}
		if moved < 100 && k != &ship {
			t.Errorf("%s moved %.0f m in six hours", f.Name(i), moved)
		}
	}
}

func check(t *testing.T, name string, k *kind, s State) {
	t.Helper()
	switch {
	case !s.At.Valid(), s.Course < 0, s.Course >= 360, s.Speed < 0, s.Speed > k.fast:
		t.Fatalf("%s: %+v", name, s)
	case k.flies != s.HasAlt, s.Alt < 0, s.Alt > 12_000:
		t.Fatalf("%s: altitude %+v", name, s)
	case k.battery != (s.Battery >= 20 && s.Battery <= 100):
		t.Fatalf("%s: battery %d", name, s.Battery)
	}
}

func TestVansStayInTheirCity(t *testing.T) {
	f := fleet(t, 100, 3)
	for i := range f.Len() {
		v := &f.vehicles[i]
		for at := time.Duration(0); at < 24*time.Hour; at += 5 * time.Minute {
			s := f.At(i, at)
			if d := geo.Distance(cities[v.home].at, s.At); v.kind == &van && d > 20_000 {
				t.Fatalf("%s is %.0f m from %s", f.Name(i), d, cities[v.home].name)
			}
		}
	}
}

func TestLegArrivesAndStops(t *testing.T) {
	from, to := geo.Deg(48, 11), geo.Deg(48.1, 11)
	l := newLeg([]geo.Point{from, to}, 100, 20, 1, 60)
	if s := l.at(0); s.At != from || s.Speed != 0 || s.Course > 0.01 {
		t.Errorf("begins with %+v", s)
	}
	if s := l.at(10); s.Speed != 10 {
		t.Errorf("after 10 s at 1 m/s² it goes %v m/s", s.Speed)
	}
	if s := l.at(l.driving / 2); s.Speed != 20 || geo.Distance(s.At, geo.Deg(48.05, 11)) > 5 {
		t.Errorf("half way: %+v", s)
	}
	if s := l.at(l.driving + 1); s.At != to || s.Speed != 0 {
		t.Errorf("ends with %+v", s)
	}
	if want := 100 + l.driving + 60; l.end() != want {
		t.Errorf("ends at %v, want %v", l.end(), want)
	}
}

func TestShortLegNeverReachesCruise(t *testing.T) {
	l := newLeg([]geo.Point{geo.Deg(0, 0), geo.Deg(0, 0.001)}, 0, 1000, 1, 0)
	if peak := l.at(l.driving / 2).Speed; peak < 10 || peak > 11 {
		t.Errorf("111 m at 1 m/s² peak at %v m/s, want 10.5", peak)
	}
}

func TestLegWithoutLengthIsAStop(t *testing.T) {
	p := geo.Deg(1, 1)
	l := newLeg([]geo.Point{p, p}, 0, 10, 1, 60)
	if s := l.at(1); s.At != p || s.Speed != 0 || l.end() != 60 {
		t.Errorf("got %+v until %v", s, l.end())
	}
}

func TestShipsCrossTheDateLine(t *testing.T) {
	lane := lanes[8] // Tokyo, Los Angeles
	var path []geo.Point
	for _, p := range lane {
		path = append(path, geo.Deg(p[0], p[1]))
	}
	l := newLeg(path, 0, 10, 1, 0)
	last := l.at(0)
	for at := 0.0; at < l.driving; at += 600 {
		s := l.at(at)
		if d := geo.Distance(last.At, s.At); d > 6100 {
			t.Fatalf("jumped %.0f m from %v to %v", d, last.At, s.At)
		}
		last = s
	}
	if geo.Distance(last.At, path[len(path)-1]) > 6100 {
		t.Errorf("arrived at %v", last.At)
	}
}

func TestFleetRefusesToBeEmpty(t *testing.T) {
	if _, err := New(Config{}); err == nil || !strings.Contains(err.Error(), "at least 1") {
		t.Errorf("got %v", err)
	}
}

func BenchmarkAt(b *testing.B) {
	f := fleet(b, 10_000, 1)
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		f.At(n%f.Len(), time.Duration(n/f.Len())*time.Second)
	}
}
