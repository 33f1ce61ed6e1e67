package filter

import (
	"fmt"
	"math"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"tracker/pkg/geo"
	"tracker/pkg/track"
)

// meaning is a filter as a sentence of plain Go: slow, and obvious.
type meaning func(*Subject) bool

// TestMatchAgreesWithTheObvious makes random filters together with what they mean.
func TestMatchAgreesWithTheObvious(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	hits, all := 0, 0
	for range 1000 {
		text, means := anyFilter(r, 4)
		f, err := Parse(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		for range 10 {
			s := anySubject(r)
			got, want := f.Match(s), means(s)
			if got != want {
				t.Fatalf("%s (%v): got %v of %+v", text, f, got, s)
			}
			all++
			if got {
				hits++
			}
		}
	}
	if hits < all/10 || hits > all*9/10 {
		t.Errorf("%d of %d match: that says little", hits, all)
	}
}

// anyFilter writes parentheses around all that is made of more than one thing, and
// sometimes around other things.
func anyFilter(r *rand.Rand, depth int) (string, meaning) {
	if depth == 0 || r.IntN(4) == 0 {
		return anyTest(r)
	}
	left, isLeft := anyFilter(r, depth-1)
	right, isRight := anyFilter(r, depth-1)
	switch r.IntN(4) {
	case 0:
		return "!(" + left + ")", func(s *Subject) bool { return !isLeft(s) }
	case 1:
		return "((" + left + ")  " + right + ")", func(s *Subject) bool { return isLeft(s) && isRight(s) }
	case 2:
		return "(" + left + "|" + right + ")", func(s *Subject) bool { return isLeft(s) || isRight(s) }
	}
	// Without parentheses: and binds more than or.
	third, isThird := anyTest(r)
	return "(" + third + " " + left + " | " + right + ")", func(s *Subject) bool { return isThird(s) && isLeft(s) || isRight(s) }
}

var tests = []func(*rand.Rand) (string, meaning){
	textTest, globTest, regexpTest, idTest, stateTest, compareTest, equalTest, rangeTest, circleTest, boxTest, nearTest, wordTest, flagTest,
}

func anyTest(r *rand.Rand) (string, meaning) {
	text, means := pick(r, tests)(r)
	if r.IntN(5) == 0 {
		return "!" + text, func(s *Subject) bool { return !means(s) }
	}
	return text, means
}

func pick[T any](r *rand.Rand, of []T) T { return of[r.IntN(len(of))] }

var (
	modelNames = []string{"van-1", "VAN-12", "Bus 7", "ÄRGER", "straße", "", "x*y?", "0123456789ab", "Σίσυφος", "a.b"}
	fragments  = []string{"van", "N-1", "7", "är", "E", "σ", "y", "9AB", "zz", "1"}
)

func anySubject(r *rand.Rand) *Subject {
	return &Subject{
		ID: track.DeviceID(r.IntN(1<<8)) << 40, Name: pick(r, modelNames), State: State(r.IntN(int(States))),
		Age: pick(r, []time.Duration{-time.Second, 0, 90 * time.Second, time.Hour, Never}),
		At:  geo.Deg(float64(r.IntN(181)-90), float64(r.IntN(361)-180)), Has: track.Has(r.IntN(256)),
		Speed: float64(r.IntN(60)) / 2, Course: float64(r.IntN(3600)) / 10, Alt: r.IntN(4000) - 100,
		Battery: r.IntN(101), Accuracy: geo.Meters(r.IntN(300)) / 10,
		Power: r.IntN(2) == 0, Jump: r.IntN(2) == 0, Suspect: r.IntN(2) == 0, Late: r.IntN(2) == 0,
		Event: pick(r, []string{"", "sos", "tamper", "event_9"}), Status: pick(r, []string{"", "active", "revoked"}),
		Alarms: pick(r, [][]string{nil, {"clone_suspected"}, {"auth_flood", "epoch_future"}}),
	}
}

func textTest(r *rand.Rand) (string, meaning) {
	word := pick(r, fragments)
	means := func(s *Subject) bool { return strings.Contains(lower(s.Name), lower(word)) }
	if r.IntN(2) == 0 {
		return `"` + word + `"`, means
	}
	return word, means
}

// lower is enough for the names here, but for one letter with two small forms.
func lower(s string) string { return strings.ReplaceAll(strings.ToLower(s), "ς", "σ") }

func globTest(r *rand.Rand) (string, meaning) {
	g := pick(r, []string{"v*", "*1*", "???-?", "*a*b", "*", "b?s*7", "*σ", "*.*"})
	var b strings.Builder
	for _, c := range g {
		switch c {
		case '*':
			b.WriteString(".*")
		case '?':
			b.WriteString(".")
		default:
			b.WriteString(regexp.QuoteMeta(string(c)))
		}
	}
	re := regexp.MustCompile("^(?i:" + b.String() + ")$")
	if r.IntN(2) == 0 {
		return "name!=" + g, func(s *Subject) bool { return !re.MatchString(s.Name) }
	}
	return "name:nobody," + g, func(s *Subject) bool { return re.MatchString(s.Name) }
}

func regexpTest(r *rand.Rand) (string, meaning) {
	src := pick(r, []string{"^v", `\d$`, "a|7", "^$", "ß"})
	re := regexp.MustCompile("(?i:" + src + ")")
	return "/" + src + "/", func(s *Subject) bool { return re.MatchString(s.Name) }
}

func idTest(r *rand.Rand) (string, meaning) {
	var begins []string
	for range 1 + r.IntN(20) {
		begins = append(begins, track.DeviceID(r.IntN(1<<8) << 40).String()[:1+r.IntN(12)])
	}
	means := func(s *Subject) bool {
		return slices.ContainsFunc(begins, func(b string) bool { return strings.HasPrefix(s.ID.String(), b) })
	}
	return "id:" + strings.Join(starred(begins), ","), means
}

func starred(begins []string) []string {
	var out []string
	for _, b := range begins {
		if len(b) < 12 {
			b += "*"
		}
		out = append(out, b)
	}
	return out
}

func stateTest(r *rand.Rand) (string, meaning) {
	a, b := State(r.IntN(int(States))), State(r.IntN(int(States)))
	return fmt.Sprintf("state:%v,%v", a, b), func(s *Subject) bool { return s.State == a || s.State == b }
}

// modelNumber is a quantity with what a unit of it is worth.
type modelNumber struct {
	key, unit   string
	times, per  float64
	least, most int
	of          func(*Subject) (float64, bool)
}

var modelNumbers = []modelNumber{
	{"speed", "", 1000, 3600, 0, 110, func(s *Subject) (float64, bool) { return s.Speed, s.Has&track.HasVel != 0 }},
	{"speed", "kn", 1852, 3600, 0, 60, func(s *Subject) (float64, bool) { return s.Speed, s.Has&track.HasVel != 0 }},
	{"speed", "m/s", 1, 1, 0, 30, func(s *Subject) (float64, bool) { return s.Speed, s.Has&track.HasVel != 0 }},
	{"age", "m", 60, 1, 0, 90, func(s *Subject) (float64, bool) { return s.Age.Seconds(), true }},
	{"battery", "%", 1, 1, 0, 100, func(s *Subject) (float64, bool) { return float64(s.Battery), s.Has&track.HasBat != 0 }},
	{"alt", "", 1, 1, -200, 4000, func(s *Subject) (float64, bool) { return float64(s.Alt), s.Has&track.HasAlt != 0 }},
	{"acc", "ft", 0.3048, 1, 0, 100, func(s *Subject) (float64, bool) { return float64(s.Accuracy), s.Has&track.HasAcc != 0 }},
	{"lat", "°", 1, 1, -90, 90, func(s *Subject) (float64, bool) { return s.At.LatDeg(), s.Has&track.HasPos != 0 }},
}

func (m *modelNumber) typed(r *rand.Rand) (string, float64) {
	n := m.least + r.IntN(m.most-m.least+1)
	return strconv.Itoa(n) + m.unit, float64(n) * m.times / m.per
}

func compareTest(r *rand.Rand) (string, meaning) {
	m := pick(r, modelNumbers)
	text, x := m.typed(r)
	op := pick(r, []string{"<", "<=", ">", ">="})
	return m.key + op + text, func(s *Subject) bool {
		v, known := m.of(s)
		switch op {
		case "<":
			return known && v < x
		case "<=":
			return known && v <= x
		case ">":
			return known && v > x
		}
		return known && v >= x
	}
}

func equalTest(r *rand.Rand) (string, meaning) {
	m := pick(r, modelNumbers)
	text, x := m.typed(r)
	half := m.times / m.per / 2
	equal := func(v float64) bool { return v >= x-half && v < x+half }
	if r.IntN(2) == 0 {
		return m.key + "!=" + text, func(s *Subject) bool { v, known := m.of(s); return known && !equal(v) }
	}
	return m.key + "=" + text, func(s *Subject) bool { v, known := m.of(s); return known && equal(v) }
}

func rangeTest(r *rand.Rand) (string, meaning) {
	m := pick(r, modelNumbers)
	from, a := m.typed(r)
	to, b := m.typed(r)
	if a > b {
		from, to, a, b = to, from, b, a
	}
	switch r.IntN(3) {
	case 0:
		from, a = "", math.Inf(-1)
	case 1:
		to, b = "", math.Inf(1)
	}
	return m.key + ":" + from + ".." + to, func(s *Subject) bool { v, known := m.of(s); return known && v >= a && v <= b }
}

// circleTest turns the circle so that the range begins at 0.
func circleTest(r *rand.Rand) (string, meaning) {
	key, least, of := "course", 0, func(s *Subject) (float64, bool) { return s.Course, s.Has&track.HasVel != 0 }
	if r.IntN(2) == 0 {
		key, least, of = "lon", -180, func(s *Subject) (float64, bool) { return s.At.LonDeg(), s.Has&track.HasPos != 0 }
	}
	from, to := least+r.IntN(360), least+r.IntN(360)
	turned := func(v float64) float64 { return math.Mod(v-float64(from)+720, 360) }
	return fmt.Sprintf("%s:%d..%d", key, from, to), func(s *Subject) bool {
		v, known := of(s)
		return known && turned(v) <= turned(float64(to))
	}
}

func boxTest(r *rand.Rand) (string, meaning) {
	south, west, east := r.IntN(180)-90, r.IntN(361)-180, r.IntN(361)-180
	north := south + r.IntN(91-south)
	box, err := geo.BoxDeg(float64(south), float64(west), float64(north), float64(east))
	if err != nil {
		panic(err)
	}
	return fmt.Sprintf("bbox:%d,%d,%d,%d", south, west, north, east), func(s *Subject) bool {
		return s.Has&track.HasPos != 0 && box.Contains(s.At)
	}
}

func nearTest(r *rand.Rand) (string, meaning) {
	lat, lon, km := r.IntN(181)-90, r.IntN(361)-180, 1+r.IntN(20000)
	op := pick(r, []string{":", "=", "!="})
	return fmt.Sprintf("near%s%d,%d,%dkm", op, lat, lon, km), func(s *Subject) bool {
		inside := geo.Distance(geo.Deg(float64(lat), float64(lon)), s.At) <= geo.Meters(km)*1000
		return s.Has&track.HasPos != 0 && inside == (op != "!=")
	}
}

func wordTest(r *rand.Rand) (string, meaning) {
	switch r.IntN(6) {
	case 0:
		return "event:sos,event_9", func(s *Subject) bool { return s.Event == "sos" || s.Event == "event_9" }
	case 1:
		return "event:*", func(s *Subject) bool { return s.Event != "" }
	case 2:
		return "status!=active", func(s *Subject) bool { return s.Status != "active" }
	case 3:
		return "alarm:auth_flood", func(s *Subject) bool { return slices.Contains(s.Alarms, "auth_flood") }
	case 4:
		return "power:no", func(s *Subject) bool { return !s.Power }
	}
	return "alarm!=*", func(s *Subject) bool { return len(s.Alarms) == 0 }
}

func flagTest(r *rand.Rand) (string, meaning) {
	switch r.IntN(3) {
	case 0:
		return "is:jump,late", func(s *Subject) bool { return s.Jump || s.Late }
	case 1:
		return "is!=suspect", func(s *Subject) bool { return !s.Suspect }
	}
	return "is:placed", func(s *Subject) bool { return s.Has&track.HasPos != 0 }
}

// TestGlobsAgreeWithRegularExpressions uses names that almost match, again and again.
func TestGlobsAgreeWithRegularExpressions(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	some := func(of string, n int) string {
		var b strings.Builder
		for range r.IntN(n) {
			b.WriteString(string(pick(r, []rune(of))))
		}
		return b.String()
	}
	for range 20000 {
		g, name := some("aä*?", 8), some("aAäÄ", 10)
		src := strings.NewReplacer("*", ".*", "?", ".").Replace(g)
		if got, want := newGlob(g).match(name), regexp.MustCompile("^(?i:"+src+")$").MatchString(name); got != want {
			t.Fatalf("%q of %q: got %v", g, name, got)
		}
	}
}
