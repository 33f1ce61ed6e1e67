package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// scale puts values on a line of pixels, evenly or by their logarithm.
type scale struct {
	lo, hi   float64 // values
	from, to float64 // pixels
	log      bool
}

func (s scale) at(v float64) float64 {
	a, b := s.lo, s.hi
	if s.log {
		v, a, b = math.Log(max(v, s.lo)), math.Log(a), math.Log(b)
	}
	return s.from + (min(max(v, a), b)-a)/(b-a)*(s.to-s.from)
}

// ticks are round values on the scale, about n of them.
func (s scale) ticks(n int) []float64 {
	if s.log {
		return logTicks(s.lo, s.hi, n)
	}
	step := niceStep((s.hi - s.lo) / float64(n))
	var t []float64
	for i := math.Ceil(s.lo/step - 1e-9); i*step <= s.hi*(1+1e-9) && len(t) < 100; i++ {
		t = append(t, i*step)
	}
	return t
}

// niceStep is the least of 1, 2, 5 times a power of ten that is not below v.
func niceStep(v float64) float64 {
	if !(v > 0) {
		return 1
	}
	p := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 2, 5} {
		if v <= m*p*(1+1e-9) {
			return m * p
		}
	}
	return 10 * p
}

// logTicks takes every 1-2-5 if those are few enough, else every power of ten, else
// every so many of those.
func logTicks(lo, hi float64, n int) []float64 {
	for _, mults := range [][]float64{{1, 2, 5}, {1}} {
		var t []float64
		for e := math.Floor(math.Log10(lo)); e <= math.Log10(hi)+1e-9; e++ {
			for _, m := range mults {
				if v := m * math.Pow(10, e); v >= lo*(1-1e-9) && v <= hi*(1+1e-9) {
					t = append(t, v)
				}
			}
		}
		if len(t) <= n+1 || len(mults) == 1 {
			return thin(t, n+1)
		}
	}
	return nil
}

func thin(t []float64, most int) []float64 {
	every := (len(t) + most - 1) / most
	if every < 2 {
		return t
	}
	var kept []float64
	for i := 0; i < len(t); i += every {
		kept = append(kept, t[i])
	}
	return kept
}

// upTo is a scale from nothing to a round value above hi.
func upTo(hi, from, to float64, ticks int) scale {
	if !(hi > 0) {
		hi = 1
	}
	step := niceStep(hi * 1.04 / float64(ticks))
	return scale{lo: 0, hi: math.Ceil(hi*1.04/step) * step, from: from, to: to}
}

// around is a logarithmic scale with round ends.
func around(lo, hi, from, to float64) scale {
	lo, hi = max(lo, 1), max(hi, 2)
	a, b := roundDown(lo), niceStep(hi)
	if b <= a {
		b = niceStep(a * 1.5)
	}
	return scale{lo: a, hi: b, from: from, to: to, log: true}
}

func roundDown(v float64) float64 {
	p := math.Pow(10, math.Floor(math.Log10(v)+1e-9))
	for _, m := range []float64{5, 2} {
		if m*p <= v*(1+1e-9) {
			return m * p
		}
	}
	return p
}

// timeStep is a round number of seconds.
func timeStep(v float64) float64 {
	for _, s := range []float64{15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400} {
		if v > 10 && v <= s {
			return s
		}
	}
	if v > 86400 {
		return 86400 * niceStep(v/86400)
	}
	return niceStep(v)
}

const thinSpace = "\u202f" // narrow, and no line ends there

// count is a whole number in groups of three.
func count(n int64) string {
	s := strconv.FormatInt(n, 10)
	sign := ""
	if strings.HasPrefix(s, "-") {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + thinSpace + s[i:]
	}
	return sign + s
}

// three is a number in three digits, without an exponent, and without the noughts at
// its end.
func three(v float64) string {
	switch a := math.Abs(v); {
	case v == 0:
		return "0"
	case a >= 99.95:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case a < 0.0005:
		return strconv.FormatFloat(v, 'e', 1, 64)
	}
	s := strconv.FormatFloat(v, 'f', 2-int(math.Floor(math.Log10(math.Abs(v))+1e-9)), 64)
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return s
}

var siUnits = []struct {
	from float64
	name string
}{{1e12, " T"}, {1e9, " G"}, {1e6, " M"}, {1e3, " k"}}

// si is a number with a prefix: 12.3 k.
func si(v float64) string {
	for _, u := range siUnits {
		if math.Abs(v) >= u.from*0.9995 {
			return strings.Replace(three(v/u.from)+u.name, " ", thinSpace, 1)
		}
	}
	return three(v)
}

// per is a rate: 12.3 k/s.
func per(v float64) string { return si(v) + "/s" }

// dur is a number of nanoseconds in its unit.
func dur(ns float64) string {
	switch a := math.Abs(ns); {
	case a >= 0.9995e9:
		return three(ns/1e9) + " s"
	case a >= 0.9995e6:
		return three(ns/1e6) + " ms"
	case a >= 0.9995e3:
		return three(ns/1e3) + " µs"
	}
	return three(ns) + " ns"
}

// clock is a number of seconds of a run: 90 s, 5 min, 1 h 30 min.
func clock(s float64) string {
	switch {
	case s >= 3600 && math.Mod(s, 3600) == 0:
		return three(s/3600) + " h"
	case s > 3600:
		return fmt.Sprintf("%.0f h %.0f min", math.Floor(s/3600), math.Mod(s, 3600)/60)
	case s >= 120 && math.Mod(s, 60) == 0:
		return three(s/60) + " min"
	}
	return three(s) + " s"
}

// size is a number of bytes.
func size(n float64) string {
	for _, u := range []struct {
		from float64
		name string
	}{{1 << 40, "TiB"}, {1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}} {
		if n >= u.from {
			return three(n/u.from) + " " + u.name
		}
	}
	return three(n) + " B"
}

// share is a part of one in percent. It says 100 % and 0 % only of what is exactly
// that.
func share(v float64) string {
	switch {
	case v == 0 || v == 1:
		return three(100*v) + " %"
	case v > 0.999 && v < 1:
		return strconv.FormatFloat(math.Floor(v*1e7)/1e5, 'f', -1, 64) + " %"
	case v < 0.00001 && v > 0:
		return "< 0.001 %"
	}
	return three(100*v) + " %"
}

// nines names a percentile: p50, p99.9.
func nines(p float64) string { return "p" + strconv.FormatFloat(p, 'f', -1, 64) }
