package report

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"encoding/xml"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"tracker/pkg/load"
	"tracker/pkg/load/gate"
)

func at(v float64) *float64 { return &v }

// gateOf is a gate that found nothing, as one on a machine of two cores would.
func gateOf() *gate.Report {
	commit := strings.Repeat("a1b2c3d4", 5)
	r := &gate.Report{
		Schema: gate.Schema, ID: "019a2b3c4d5e6f70", Tool: load.Tool{Version: "0.3.0", Commit: "a1b2c3d", Go: "go1.26.8"},
		Command: []string{"trackbench", "gate", "--base-ref", "main", "--budget", "5m"},
		Started: load.Instant{Time: time.Date(2026, 11, 22, 9, 30, 0, 0, time.UTC)}, TookNS: 287e9,
		Base: gate.Binary{Name: "main", SHA256: strings.Repeat("0f", 32), Version: "1.4.0", Commit: commit, Go: "go1.26.8",
			Settings: map[string]string{"CGO_ENABLED": "0", "-trimpath": "true"}},
		Head: gate.Binary{Name: "the working tree", SHA256: strings.Repeat("1e", 32), Version: "1.4.0-dirty", Go: "go1.26.8",
			Settings: map[string]string{"CGO_ENABLED": "0", "-trimpath": "true"}},
		Same: []string{"GOMAXPROCS=2", "any processor"}, Seed: 7,
		Verdict: gate.Pass, Reason: "none of 10 metrics regressed", Visible: at(0.052),
		Counters: &gate.Stage{Launches: 3, TookNS: 11e9}, Statistics: &gate.Stage{Launches: 12, Discarded: 1, TookNS: 252e9},
		Control: &gate.Control{Steady: true, Launches: 12, Change: at(0.002), Low: at(-0.019), High: at(0.023), Text: "steady", Each: noise(1, 12, 0.002, 0.03)},
		Env:     load.Env{Fingerprint: "sha256:0123456789abcdef", OS: "linux/amd64", CPU: "AMD EPYC", Cores: 2, GoMaxProcs: 2, GOGC: 400, Kernel: "6.18"},
	}
	counted := func(work, name, unit, text string, v float64) {
		r.Metrics = append(r.Metrics, &gate.Metric{Work: work, Name: name, Unit: unit, Text: text, Stage: gate.Counters, Floor: 0.02, Verdict: gate.Pass, Says: "no change that matters",
			Batch: gate.Batch{Launches: 3, Base: at(v), Head: at(v), Change: at(0), Each: []float64{0, 0, 0}}})
	}
	counted("rpc", "writes", "writes/call", "write calls of the server for each call", 0.015625)
	counted("rpc", "allocs", "allocs/call", "allocations for each call", 0.2134)
	counted("fanout", "encodings", "encodings/fix", "encodings of each fix", 1)
	counted("idle", "rss", "bytes/connection", "memory of an idle connection", 34_816)
	for i, x := range []struct {
		work, name, unit, text     string
		floor, absolute, v, change float64
	}{
		{"rpc", "cpu", "ns/call", "processor time of the server for each call", 0.03, 0, 812, -0.011},
		{"rpc", "p50", "ms", "half of the answers come sooner, at a fixed rate", 0.05, 0, 0.41, 0.006},
		{"rpc", "p99", "ms", "all answers but one in a hundred come sooner", 0.25, 1, 3.1, 0.079},
		{"fanout", "cpu", "ns/delivery", "processor time of the server for each delivery", 0.03, 0, 640, 0.004},
		{"fanout", "p50", "ms", "half of the deliveries come sooner", 0.05, 0, 2.2, -0.004},
		{"ingest", "cpu", "ns/fix", "processor time of the server for each fix", 0.03, 0, 1930, 0.001},
	} {
		m := &gate.Metric{Work: x.work, Name: x.name, Unit: x.unit, Text: x.text, Stage: gate.Statistics, Floor: x.floor, Absolute: x.absolute, Verdict: gate.Pass, Says: "no change shown"}
		m.Batch = measured(uint64(i), 12, x.v, x.change, 0.03)
		r.Metrics = append(r.Metrics, m)
	}
	return r
}

// noise is what launches say of a change.
func noise(seed uint64, n int, mean, sd float64) []float64 {
	rnd := rand.New(rand.NewPCG(seed, 5))
	var list []float64
	for range n {
		list = append(list, math.Round(1e5*(mean+sd*rnd.NormFloat64()))/1e5)
	}
	return list
}

func measured(seed uint64, n int, v, change, sd float64) gate.Batch {
	half := 3 * sd / math.Sqrt(float64(n))
	return gate.Batch{Launches: n, Base: at(v), Head: at(v * (1 + change)), Change: at(change), Low: at(change - half), High: at(change + half),
		Confidence: 0.99, Visible: at(2 * half), Each: noise(seed, n, change, sd)}
}

func metricOf(t testing.TB, r *gate.Report, name string) *gate.Metric {
	t.Helper()
	i := slices.IndexFunc(r.Metrics, func(m *gate.Metric) bool { return m.FullName() == name })
	if i < 0 {
		t.Fatalf("there is no %q", name)
	}
	return r.Metrics[i]
}

// gates are what a gate can come to.
func gates(t testing.TB) map[string]*gate.Report {
	t.Helper()
	all := map[string]*gate.Report{"pass": gateOf()}

	r := gateOf()
	r.Verdict, r.Reason = gate.Regressed, "1 of 10 metrics regressed: rpc.allocs +61.9 %"
	r.Statistics, r.Control, r.Visible = nil, nil, nil
	r.Metrics = ofStage(r, gate.Counters)
	m := metricOf(t, r, "rpc.allocs")
	m.Verdict, m.Says = gate.Regressed, "worse"
	m.Batch = gate.Batch{Launches: 3, Base: at(0.21), Head: at(0.34), Change: at(0.619), Shows: "worse", Each: []float64{0.618, 0.619, 0.62}}
	m.Confirm = &gate.Batch{Launches: 3, Base: at(0.21), Head: at(0.339), Change: at(0.618), Shows: "worse", Each: []float64{0.618, 0.618, 0.619}}
	all["counter"] = r

	r = gateOf()
	r.Verdict, r.Reason = gate.Regressed, "1 of 10 metrics regressed: rpc.cpu +24.1 %"
	m = metricOf(t, r, "rpc.cpu")
	m.Verdict, m.Says, m.Batch = gate.Regressed, "worse", measured(31, 6, 812, 0.241, 0.03)
	m.Shows, m.Confidence = "worse", 0.999
	again := measured(32, 12, 815, 0.228, 0.04)
	again.Shows = "worse"
	m.Confirm = &again
	m = metricOf(t, r, "fanout.p50")
	m.Says, m.Batch = "was worse once, and not again", measured(33, 12, 2.2, 0.071, 0.03)
	m.Shows = "worse"
	once := measured(34, 12, 2.2, 0.004, 0.03)
	m.Confirm = &once
	all["statistics"] = r

	r = gateOf()
	r.Verdict, r.Reason = gate.Inconclusive, "2 of 10 metrics are not decided: rpc.p50, ingest.cpu"
	r.Hint = "give it more time (--budget, --most), or a quieter machine; what it can see today stands beside each metric"
	r.Statistics.Launches, r.Visible = 24, at(0.081)
	for i, name := range []string{"rpc.p50", "ingest.cpu"} {
		m := metricOf(t, r, name)
		m.Verdict, m.Says, m.Batch = gate.Inconclusive, "too much noise to tell", measured(uint64(41+i), 24, 0.41, 0.05+0.02*float64(i), 0.14)
	}
	r.Control.Steady, r.Control.Text, r.Control.Change, r.Control.Low, r.Control.High = false, "not steady: the machine favours one side", at(0.034), at(0.008), at(0.061)
	all["inconclusive"] = r

	for name, f := range map[string]gate.Failure{
		"missing": {Side: "head", Kind: gate.Missing, Work: "rpc", Text: "it does not tell rpc.allocs, which the base does"},
		"died":    {Side: "base", Kind: gate.Died, Text: "it does not start: exit status 2; it said: panic: runtime error\n\tgoroutine 1 [running]:\n\tmain.main()"},
		"wrong":   {Side: "head", Kind: gate.Wrong, Work: "rpc", Text: "the server is not right: call 17: want 42, got 41"},
	} {
		r := gateOf()
		r.Verdict, r.Reason, r.Failure, r.Metrics, r.Statistics, r.Control, r.Visible = gate.Failed, f.Side+": "+f.Text, &f, nil, nil, nil, nil
		r.Hint = "run that binary by hand with the same load, and look at its log"
		all[name] = r
	}

	r = gateOf()
	r.Partial, r.Verdict, r.Reason = true, gate.Inconclusive, "it was interrupted"
	r.Metrics, r.Statistics.Launches = r.Metrics[:6], 4
	for _, m := range ofStage(r, gate.Statistics) {
		m.Verdict, m.Says, m.Launches, m.Each = gate.Inconclusive, "it was interrupted", 4, m.Each[:4]
	}
	all["partial"] = r

	r = gateOf()
	r.Reason = "none of 10 metrics regressed; 2 are better"
	m = metricOf(t, r, "rpc.writes")
	m.Says, m.Batch = "better", gate.Batch{Launches: 3, Base: at(0.0313), Head: at(0.0156), Change: at(-0.5016), Shows: "better", Each: []float64{-0.5, -0.5016, -0.502}}
	same := m.Batch
	m.Confirm = &same
	m = metricOf(t, r, "fanout.cpu")
	m.Says, m.Batch = "better", measured(51, 12, 640, -0.12, 0.03)
	m.Shows = "better"
	same2 := measured(52, 12, 640, -0.118, 0.03)
	same2.Shows = "better"
	m.Confirm = &same2
	m = metricOf(t, r, "idle.rss")
	m.Stage, m.Moved, m.Says, m.Batch = gate.Statistics, "its base launches differ by 1.3 %", "no change shown", measured(53, 12, 34_816, 0.002, 0.02)
	r.Notes = []string{"fanout.frames is new: the base does not tell it, so there is nothing to compare with"}
	all["better"] = r

	all["nil"] = &gate.Report{Verdict: gate.Inconclusive, Reason: "nothing was compared", Metrics: []*gate.Metric{
		{Work: "rpc", Name: "errors", Unit: "errors/call", Stage: gate.Counters, Verdict: gate.Regressed, Says: "worse",
			Batch: gate.Batch{Launches: 3, Base: at(0), Head: at(0.25), Shows: "worse"}, Confirm: &gate.Batch{Launches: 3, Shows: "worse"}},
		{Work: "rpc", Name: "cpu", Stage: gate.Statistics},
		{},
	}, Control: &gate.Control{}, Counters: &gate.Stage{}, Statistics: &gate.Stage{}}
	all["hostile"] = hostileGate(t)
	return all
}

// hostileGate has something to break out with wherever a gate has a text.
func hostileGate(t testing.TB) *gate.Report {
	t.Helper()
	const evil = "</title></style></svg><script>alert(1)</script><img src=http://evil.test/x onerror=alert(1)>\"'`|=@\n\r\x00\x1b[31m\u202e]]>--><!-- {{.}} \\"
	r := gateOf()
	for _, s := range []*string{&r.ID, &r.Tool.Version, &r.Base.Name, &r.Base.Version, &r.Base.Commit, &r.Base.SHA256, &r.Base.Go, &r.Head.Name,
		&r.Reason, &r.Hint, &r.Env.CPU, &r.Env.OS, &r.Env.Fingerprint, &r.Control.Text} {
		*s = evil
	}
	r.Verdict = gate.Verdict(evil)
	r.Command, r.Same, r.Notes = []string{"trackbench", evil}, []string{evil}, []string{evil}
	r.Base.Settings, r.Base.Env = map[string]string{evil: evil}, []string{evil}
	r.Failure = &gate.Failure{Side: evil, Kind: evil, Work: evil, Text: evil}
	m := r.Metrics[5]
	m.Work, m.Name, m.Unit, m.Text, m.Moved, m.Says = evil, evil, evil, evil, evil, evil
	m.Confirm = &gate.Batch{Change: at(1e9), Low: at(-1), High: at(math.Inf(1)), Each: []float64{1e9, -1}, Shows: evil}
	r.Metrics[6].Verdict, r.Metrics[6].Stage = gate.Verdict(evil), evil
	r.Metrics[4].High = at(1e12)
	return r
}

func gatePrinted(t testing.TB, kind string, r *gate.Report) string {
	t.Helper()
	var b bytes.Buffer
	if err := PrintGate(&b, kind, r, Context{Version: "0.3.0"}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func gateTextOf(t testing.TB, r *gate.Report) string {
	t.Helper()
	var b bytes.Buffer
	if err := GateText(&b, r); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestGateReportsAreAsTheyWere(t *testing.T) {
	for name, r := range gates(t) {
		if name == "hostile" { // other tests look at what comes of it
			continue
		}
		golden(t, "gate-"+name+".txt", gateTextOf(t, r))
		golden(t, "gate-"+name+".md", gatePrinted(t, "md", r))
		golden(t, "gate-"+name+".xml", gatePrinted(t, "junit", r))
	}
	for _, name := range []string{"statistics", "better"} {
		r := gates(t)[name]
		golden(t, "gate-"+name+".csv", gatePrinted(t, "csv", r))
		golden(t, "gate-"+name+".bench", gatePrinted(t, "bench", r))
		golden(t, "gate-"+name+".svg", gateForest(r, broadForest).inline(""))
		golden(t, "gate-"+name+"-narrow.svg", gateForest(r, narrowForest).inline(""))
	}
}

// What a terminal shows is read in 80 columns, without anything that a terminal obeys.
func TestGateTextIsPlainAndFits(t *testing.T) {
	for name, r := range gates(t) {
		text := gateTextOf(t, r)
		for l := range strings.Lines(text) {
			l = strings.TrimSuffix(l, "\n")
			if n := utf8.RuneCountInString(l); n > screen && name != "hostile" {
				t.Errorf("%s: %d columns: %s", name, n, l)
			}
			if strings.TrimRight(l, " ") != l {
				t.Errorf("%s: blanks at the end of %q", name, l)
			}
			if strings.ContainsFunc(l, func(c rune) bool { return c < ' ' || c == 0x7f || bidi(c) }) {
				t.Errorf("%s: a sign that is obeyed in %q", name, l)
			}
		}
		last := strings.Split(strings.TrimSpace(text), "\n")
		if !slices.ContainsFunc(last, func(l string) bool { return strings.HasPrefix(l, oneLine(string(r.Verdict))[:4]) }) {
			t.Errorf("%s: no line begins with the verdict:\n%s", name, text)
		}
	}
}

func TestGateTextSaysWhatItShould(t *testing.T) {
	all := gates(t)
	for name, wants := range map[string][]string{
		"pass":         {"3 launches of each side", "smallest change visible today: 5.2 %", "rpc.p99: worse, but by less than its limit of 25 % and 1 ms", "null server beside itself: +0.2 %, -1.9 to +2.3 %, steady", "PASS "},
		"counter":      {"+61.9 %  REGRESSED", "its limit is 2 %", "confirm     rpc.allocs +61.8 %, 3 launches: REGRESSED again", "REGRESSED   1 of 10 metrics"},
		"statistics":   {"6 launches, and its bounds are of 99.9 %", "rpc.cpu +22.8 %, +19.3 to +26.3 %, 12 launches: REGRESSED again", "not again"},
		"inconclusive": {"24 launches can see a change of", "hint        give it more time", "not steady: the machine favours"},
		"missing":      {"FAILED", "head: it does not tell rpc.allocs, which the base does"},
		"died":         {"base: it does not start: exit status 2; it said: panic:"},
		"wrong":        {"want 42, got 41"},
		"partial":      {"INCONCLUSIVE, PARTIAL"},
		"better":       {"better      rpc.writes -50.2 %, fanout.cpu -12.0 %", "measured, not counted: its base launches differ by 1.3 %", "note        fanout.frames is new"},
		"nil":          {"from 0", "n/a"},
	} {
		got := strings.Join(strings.Fields(gateTextOf(t, all[name])), " ")
		for _, want := range wants {
			if !strings.Contains(got, strings.Join(strings.Fields(want), " ")) {
				t.Errorf("%s: no %q in\n%s", name, want, gateTextOf(t, all[name]))
			}
		}
	}
}

type gateSuites struct {
	Suites []struct {
		Tests      int `xml:"tests,attr"`
		Failures   int `xml:"failures,attr"`
		Skipped    int `xml:"skipped,attr"`
		Properties []struct {
			Name  string `xml:"name,attr"`
			Value string `xml:"value,attr"`
		} `xml:"properties>property"`
		Cases []struct {
			Class   string    `xml:"classname,attr"`
			Name    string    `xml:"name,attr"`
			Failure *struct{} `xml:"failure"`
			Skipped *struct{} `xml:"skipped"`
		} `xml:"testcase"`
	} `xml:"testsuite"`
}

func TestGateJUnitFailsAndSkipsAsTheVerdictSays(t *testing.T) {
	all := gates(t)
	for name, want := range map[string][3]int{ // tests, failures, skipped
		"pass": {11, 0, 0}, "counter": {5, 1, 0}, "statistics": {11, 1, 0}, "inconclusive": {11, 0, 3}, "missing": {1, 1, 0}, "died": {1, 1, 0},
		"wrong": {1, 1, 0}, "partial": {7, 0, 3}, "better": {11, 0, 0}, "nil": {4, 1, 3}, "hostile": {11, 1, 1},
	} {
		var got gateSuites
		if err := xml.Unmarshal([]byte(gatePrinted(t, "junit", all[name])), &got); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		s := got.Suites[0]
		if [3]int{s.Tests, s.Failures, s.Skipped} != want || len(s.Cases) != s.Tests {
			t.Errorf("%s: %d tests, %d failures, %d skipped, want %v", name, s.Tests, s.Failures, s.Skipped, want)
		}
		if name == "counter" && (s.Cases[1].Class != "gate.counters.rpc" || s.Cases[1].Name != "allocs" || s.Cases[1].Failure == nil) {
			t.Errorf("the case is %+v", s.Cases[1])
		}
		if name == "pass" && (s.Properties[3].Name != "base" || s.Properties[3].Value != "main") {
			t.Errorf("properties %+v", s.Properties)
		}
	}
	r := gateOf()
	r.Verdict, r.Reason, r.Metrics = gate.Failed, "", nil
	if text := gatePrinted(t, "junit", r); !strings.Contains(text, `failures="1"`) {
		t.Errorf("a gate that failed for no metric's sake passes:\n%s", text)
	}
}

func TestGateBenchIsReadByBenchstat(t *testing.T) {
	for name, r := range gates(t) {
		units := map[string]bool{}
		for l := range strings.Lines(gatePrinted(t, "bench", r)) {
			l = strings.TrimSuffix(l, "\n")
			f := strings.Fields(l)
			switch {
			case strings.HasPrefix(l, "Unit ") && len(f) == 3 && f[2] == "better=lower":
				units[f[1]] = true
			case benchLine.MatchString(l):
				if !units[f[3]] {
					t.Errorf("%s: the unit %q has no line", name, f[3])
				}
			case strings.HasPrefix(l, "# "), regexp.MustCompile(`^(goos|goarch|pkg|cpu|side): `).MatchString(l):
			default:
				t.Errorf("%s: an unknown line %q", name, l)
			}
		}
	}
}

func TestGateCSVHasARowForEachMetric(t *testing.T) {
	for name, r := range gates(t) {
		rows, err := csv.NewReader(strings.NewReader(gatePrinted(t, "csv", r))).ReadAll()
		if err != nil || len(rows) != 1+len(r.Metrics) {
			t.Fatalf("%s: %d rows, %v", name, len(rows), err)
		}
		for _, row := range rows {
			for _, c := range row {
				if strings.HasPrefix(c, "=") || strings.HasPrefix(c, "@") {
					t.Errorf("%s: a formula %q", name, c)
				}
			}
		}
	}
}

func TestGatePageIsHarmless(t *testing.T) {
	for name, r := range gates(t) {
		if name == "hostile" {
			r.Metrics[5].Confirm.High = nil // JSON cannot say how far
		}
		page := gatePrinted(t, "html", r)
		harmlessPage(t, []byte(page))
		for _, id := range []string{"forest-title", "forest-narrow-title"} {
			if n := strings.Count(page, `id="`+id+`"`); n > 1 || n == 0 && len(drawn(r.Metrics)) > 0 {
				t.Errorf("%s: %d elements called %s", name, n, id)
			}
		}
		for _, shape := range []forestShape{broadForest, narrowForest} {
			if d := gateForest(r, shape); d != nil {
				wellFormed(t, name, d.alone())
			}
		}
	}
	page := gatePrinted(t, "html", gates(t)["died"])
	for _, want := range []string{"default-src &#39;none&#39;", "FAILED", "What failed", "goroutine 1 [running]", `download="trackbench-gate-019a2b3c4d5e.json"`} {
		if !strings.Contains(strings.ReplaceAll(page, "'", "&#39;"), want) {
			t.Errorf("no %q in the page", want)
		}
	}
}

func TestNothingBreaksOutOfGateMarkdown(t *testing.T) {
	for name, r := range gates(t) {
		text := gatePrinted(t, "md", r)
		columns := 0
		for l := range strings.Lines(text) {
			l = strings.TrimSuffix(l, "\n")
			if strings.Contains(l, "<script") || strings.Contains(l, "<img") || strings.ContainsAny(l, "\x00\x1b\r") {
				t.Errorf("%s: a tag in %.120q", name, l)
			}
			if !strings.HasPrefix(l, "|") {
				columns = 0
				continue
			}
			n := strings.Count(strings.ReplaceAll(strings.ReplaceAll(l, `\\`, ""), `\|`, ""), "|")
			if columns != 0 && n != columns {
				t.Errorf("%s: %d edges, the head has %d: %s", name, n, columns, l)
			}
			columns = n
		}
		if open, closed := strings.Count(text, "<details>"), strings.Count(text, "</details>"); open != closed || open == 0 {
			t.Errorf("%s: %d folds open and %d close", name, open, closed)
		}
	}
}

func TestGateMarkdownTellsChangesFirst(t *testing.T) {
	text := gatePrinted(t, "md", gates(t)["statistics"])
	folded := strings.Index(text, "<details>")
	if i := strings.Index(text, "| rpc.cpu | REGRESSED |"); i < 0 || i > folded {
		t.Errorf("the regression is folded away:\n%s", text)
	}
	if i := strings.Index(text, "| rpc.writes |"); i < folded {
		t.Errorf("what did not change is in sight:\n%s", text)
	}
	if !strings.HasPrefix(text, "## Gate: REGRESSED\n\n1 of 10 metrics regressed: rpc.cpu +24.1 %.\n") {
		t.Errorf("it begins with %.200s", text)
	}
}

func TestAGateAsJSONIsTheReport(t *testing.T) {
	want := gates(t)["better"]
	var got gate.Report
	if err := json.Unmarshal([]byte(gatePrinted(t, "json", want)), &got); err != nil {
		t.Fatal(err)
	}
	if a, b := gatePrinted(t, "md", &got), gatePrinted(t, "md", want); a != b {
		t.Errorf("read back it is another report:\n%s\nwant\n%s", a, b)
	}
	r := gateOf()
	r.Visible = at(math.NaN())
	if err := PrintGate(&bytes.Buffer{}, "json", r, Context{}); err == nil {
		t.Error("JSON that says NaN")
	}
}

func TestWriteGate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gate.out")
	for _, kind := range GateKinds() {
		if err := WriteGate(kind, path, gateOf(), Context{}); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		if b, err := os.ReadFile(path); err != nil || string(b) != strings.ReplaceAll(gatePrinted(t, kind, gateOf()), "trackbench 0.3.0.", "trackbench dev.") {
			t.Errorf("%s: another file, %v", kind, err)
		}
	}
	if err := WriteGate("prom", path, gateOf(), Context{}); !errors.Is(err, ErrKind) || !strings.Contains(err.Error(), "bench, csv, html, json, junit, md") {
		t.Errorf("got %v", err)
	}
}

func TestChangesAreSaidInAsManyDigitsAsMean(t *testing.T) {
	for v, want := range map[float64]string{0: "0 %", 0.00001: "0.00 %", 0.0004: "+0.04 %", -0.011: "-1.1 %", 0.619: "+61.9 %", 2.5: "+250 %", -1: "-100 %", 1e9: "+1.0e+11 %"} {
		if got := signed(&v); got != want {
			t.Errorf("%v is %q, want %q", v, got, want)
		}
	}
	for v, want := range map[float64]string{0: "0", 0.015625: "0.01562", 0.21: "0.21", 812.44: "812.4", 34_816: "34816", 1.2e6: "1.2" + thinSpace + "M", 1e-7: "1.0e-07"} {
		if got := cost(&v); got != want {
			t.Errorf("%v is %q, want %q", v, got, want)
		}
	}
}
