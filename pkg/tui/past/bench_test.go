package past

import (
	"fmt"
	"testing"

	"tracker/pkg/geo"
	"tracker/pkg/track"
	"tracker/pkg/tui/fleet"
)

// parade is a film of n devices that report every ten seconds.
func parade(n int, at int64) *film {
	who := make([]device, n)
	for i := range who {
		who[i] = device{track.DeviceID(i + 1), fmt.Sprintf("van-%d", i)}
	}
	f := newFilm(around(at, at+maxReach, maxReach, minLookback.Milliseconds()), who)
	pieces := make([]piece, n)
	for i := range pieces {
		pieces[i].id = who[i].id
		place := geo.Deg(float64(i%120)-60, float64(i%359)-179)
		for t := f.from + int64(i%10)*1000; t < f.to; t += 10_000 {
			place.Lon += 10_000
			pieces[i].recs = f.keep(pieces[i].recs, record{at: t, lat: place.Lat, lon: place.Lon, has: track.HasPos | track.HasVel, speed: 900})
		}
	}
	f.add(pieces, f.to)
	return f
}

// BenchmarkRewind is a step back.
func BenchmarkRewind(b *testing.B) {
	at := epoch.UnixMilli()
	f, live := parade(5000, at), fleet.New(fleet.Config{})
	var sp spool
	b.ReportAllocs()
	for b.Loop() {
		r := newReel(live, f.from)
		f.rewind()
		sp.roll(r, f, at, nil)
	}
}

// BenchmarkRoll is a beat of playing at sixty times the speed of life.
func BenchmarkRoll(b *testing.B) {
	at := epoch.UnixMilli()
	f, live := parade(5000, at), fleet.New(fleet.Config{})
	var sp spool
	var r *reel
	now := f.to
	b.ReportAllocs()
	for b.Loop() {
		if now += 6000; now >= f.to {
			now = at
			r = newReel(live, f.from)
			f.rewind()
			sp.roll(r, f, now, nil)
		}
		sp.roll(r, f, now, nil)
	}
}

// BenchmarkTrim is what making the film longer costs before anything is asked for.
func BenchmarkTrim(b *testing.B) {
	at := epoch.UnixMilli()
	f := parade(5000, at)
	b.ReportAllocs()
	for b.Loop() {
		f.trim(f.span, at)
	}
}
