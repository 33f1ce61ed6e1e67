package report

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// packed writes a histogram of some values as result files have it.
func packed(t testing.TB, lowest, highest int64, digits int, values ...int64) (string, *hdrhistogram.Histogram) {
	t.Helper()
	h := hdrhistogram.New(lowest, highest, digits)
	for _, v := range values {
		if err := h.RecordValue(v); err != nil {
			t.Fatal(err)
		}
	}
	b, err := h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	if err != nil {
		t.Fatal(err)
	}
	return string(b), h
}

func TestHistAgreesWithWhoWroteIt(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 1))
	for _, g := range []struct {
		lowest, highest int64
		digits          int
	}{{1000, 60e9, 3}, {1, 60e9, 3}, {1, 3600e9, 2}, {1, 2, 1}, {1 << 20, 1 << 40, 5}} {
		for _, n := range []int{0, 1, 2, 10, 5000} {
			var values []int64
			for range n {
				values = append(values, int64(math.Pow(float64(g.highest), rnd.Float64())))
			}
			text, want := packed(t, g.lowest, g.highest, g.digits, values...)
			got, err := parseHist(text)
			if err != nil {
				t.Fatalf("%+v, %d values: %v", g, n, err)
			}
			if got.total != want.TotalCount() || n > 0 && got.max() != want.Max() {
				t.Fatalf("%+v, %d values: total %d max %d, want %d and %d", g, n, got.total, got.max(), want.TotalCount(), want.Max())
			}
			for _, p := range []float64{1, 25, 50, 90, 99, 99.9, 100} {
				if got.at(p) != want.ValueAtQuantile(p) {
					t.Errorf("%+v, %d values: p%g is %d, want %d", g, n, p, got.at(p), want.ValueAtQuantile(p))
				}
			}
		}
	}
}

func TestMergeIsTheHistogramOfAll(t *testing.T) {
	var all []int64
	var parts []hist
	for i := range 5 {
		var some []int64
		for j := range 100 {
			some = append(some, int64(1000*(i+1)*(j+1)))
		}
		text, _ := packed(t, 1000, 60e9, 3, some...)
		h, err := parseHist(text)
		if err != nil {
			t.Fatal(err)
		}
		all, parts = append(all, some...), append(parts, h)
	}
	text, _ := packed(t, 1000, 60e9, 3, all...)
	want, _ := parseHist(text)
	if got := merge(parts...); got.total != want.total || !slices.Equal(got.bars, want.bars) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestSpreadKeepsEveryValue(t *testing.T) {
	text, _ := packed(t, 1, 1e9, 1, 1, 5, 77, 80, 1000, 12345, 1e6, 9e8)
	h, err := parseHist(text)
	if err != nil {
		t.Fatal(err)
	}
	edges, cells := []float64{10, 79, 1e4, 1e6}, make([]float64, 4)
	h.spread(edges, cells)
	sum := 0.0
	for _, c := range cells {
		sum += c
	}
	if math.Abs(sum-8) > 1e-9 || cells[0] < 1.9 || cells[3] < 1.9 {
		t.Errorf("cells %v, want eight values in all", cells)
	}
}

func TestBrokenHistsAreRefused(t *testing.T) {
	good, _ := packed(t, 1000, 60e9, 3, 5000, 6000)
	for _, bad := range []string{"x", "HIST", good[:len(good)/2], good[:40] + "AAAA", "HISTFAAAAAA="} {
		if h, err := parseHist(bad); err == nil {
			t.Errorf("%q gave %v", bad, h)
		}
	}
}

func FuzzHist(f *testing.F) {
	for _, v := range [][]int64{nil, {1}, {5000, 6000, 7e9}} {
		text, _ := packed(f, 1000, 60e9, 3, v...)
		f.Add(text)
	}
	f.Add("HISTFAAAAAA=")
	f.Fuzz(func(t *testing.T, text string) {
		h, err := parseHist(text)
		if err != nil {
			return
		}
		var sum, edge int64 = 0, -1
		for _, b := range h.bars {
			if b.lo <= edge || b.hi < b.lo || b.n <= 0 {
				t.Fatalf("bar %v after %d", b, edge)
			}
			sum, edge = sum+b.n, b.hi
		}
		if sum != h.total {
			t.Fatalf("%d in bars, %d in all", sum, h.total)
		}
		_, _ = h.at(50), merge(h, h)
	})
}

// FuzzBars goes past the envelope, whose checksum keeps the fuzzer out.
func FuzzBars(f *testing.F) {
	for _, v := range [][]int64{{1}, {5000, 6000, 7e9}} {
		text, _ := packed(f, 1000, 60e9, 3, v...)
		h, err := parseRaw(text)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(h)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if h, err := parseBars(raw); err == nil && h.total > 0 && (h.at(0) < h.min() || h.at(100) != h.max()) {
			t.Fatalf("p0 %d, min %d, p100 %d, max %d", h.at(0), h.min(), h.at(100), h.max())
		}
	})
}
