package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"tracker/pkg/load"
)

var update = flag.Bool("update", false, "write the golden files anew")

// missing is a result with everything that can be drawn.
func missing(t testing.TB) *load.Result {
	t.Helper()
	r := synth(1, 24, 1)
	r.Completeness = slices.Repeat([]float64{1}, 120)
	r.Completeness[17], r.Completeness[118] = 0.995, 0.2
	return r
}

func TestDrawings(t *testing.T) {
	v, err := look(fileOf(t, missing(t)).Result)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, d := range charts(v) {
		names = append(names, d.id)
		wellFormed(t, d.id, d.alone())
		golden(t, d.id+".svg", d.inline(""))
	}
	want := []string{"percentiles", "heat", "rates", "send-lag", "cpu", "send-lag-percentiles", "completeness"}
	if !slices.Equal(names, want) {
		t.Errorf("drawn were %v, want %v", names, want)
	}
}

func TestAPanelWithoutFiguresIsLeftOut(t *testing.T) {
	r := load.NewResult("1", "rpc")
	r.DurationNS = 1e9
	v, err := look(fileOf(t, r).Result)
	if err != nil {
		t.Fatal(err)
	}
	if list := charts(v); len(list) != 0 {
		t.Errorf("%d drawings of nothing", len(list))
	}
	for _, kind := range Kinds() {
		if err := writers[kind](io.Discard, []*File{fileOf(t, r)}, Context{}); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

func TestALongRunIsDrawnInFewerColumns(t *testing.T) {
	r := little(t)
	one := r.Intervals[0]
	r.Intervals = nil
	for i := range int64(1000) {
		iv := one
		iv.TNS = i * 1e9
		r.Intervals = append(r.Intervals, iv)
	}
	r.DurationNS = 1000e9
	v, err := look(fileOf(t, r).Result)
	if err != nil {
		t.Fatal(err)
	}
	var sent int64
	for i := range v.slots {
		sent += v.slots[i].sent
	}
	if len(v.slots) > maxSlots || sent != 4000 || v.slots[0].hist.total != 6*4 || v.slots[0].clientCPU != 0.5 {
		t.Errorf("%d columns, %d sent, the first has %+v", len(v.slots), sent, v.slots[0])
	}
	if d := heat(v); !strings.HasPrefix(d.desc, "Each column is 6 intervals") {
		t.Errorf("it says %q", d.desc)
	}
}

// golden compares with a file of testdata; -update writes it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is not as it was; look at it, and run go test -update", name)
	}
}

func wellFormed(t *testing.T, name, text string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(text))
	for {
		_, err := d.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
}

// What a page may consist of. Whatever a result holds, nothing else may appear.
var (
	elements = strings.Fields(`html head meta title style body main header h1 h2 h3 p div span ul li b section article figure
		figcaption table caption thead tbody tr th td details summary pre a footer svg desc line rect circle text path`)
	attributes = strings.Fields(`lang charset name content tabindex http-equiv class id scope download href role viewbox aria-labelledby
		x y x1 y1 x2 y2 cx cy r d width height`)
)

// harmlessPage checks that a page has no element, attribute or address but ours.
func harmlessPage(t testing.TB, page []byte) {
	t.Helper()
	doc, err := html.Parse(bytes.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	for n := range doc.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		if !slices.Contains(elements, n.Data) {
			t.Fatalf("an element %q", n.Data)
		}
		for _, a := range n.Attr {
			if !slices.Contains(attributes, strings.ToLower(a.Key)) {
				t.Fatalf("an attribute %q of %q", a.Key, n.Data)
			}
			if a.Key == "href" && !strings.HasPrefix(a.Val, "data:application/json;base64,") && !strings.HasPrefix(a.Val, "data:application/gzip;base64,") {
				t.Fatalf("a link to %.60q", a.Val)
			}
		}
	}
	if style := string(page[bytes.Index(page, []byte("<style>")):bytes.Index(page, []byte("</style>"))]); strings.Contains(style, "url(") || strings.Contains(style, "@import") {
		t.Fatal("the style fetches something")
	}
}

func TestPage(t *testing.T) {
	r := missing(t)
	var b bytes.Buffer
	if err := HTML(&b, []*File{fileOf(t, r)}, Context{Version: "0.3.0"}); err != nil {
		t.Fatal(err)
	}
	harmlessPage(t, b.Bytes())
	page := b.String()
	for _, want := range []string{
		"<!doctype html>", `<html lang="en">`, "default-src &#39;none&#39;", "VALID", "Latency by percentile", "Response time over time",
		"Offered against achieved rate", "Send lag over time", "CPU of both sides", "Completeness by receiver", `role="img"`,
		"prefers-color-scheme:dark", "trackbench ingest --rate 2k --watch", "&#39;p99&lt;60ms&#39;", "W08", "sha256:0123456789abcdef",
		`download="trackbench-ingest-019a2b3c4d5e.json"`, "2 of 120 receivers miss something; the worst got 20 %.",
	} {
		if !strings.Contains(page, want) && !strings.Contains(page, html.UnescapeString(want)) {
			t.Errorf("no %q in the page", want)
		}
	}
	for _, id := range strings.Fields("percentiles heat rates send-lag cpu completeness") {
		for _, part := range []string{"-title", "-desc"} {
			if n := strings.Count(page, `id="run-1-`+id+part+`"`); n != 1 {
				t.Errorf("%d elements called %s%s", n, id, part)
			}
		}
	}
}

func TestAPageOfSeveralResults(t *testing.T) {
	var b bytes.Buffer
	files := []*File{fileOf(t, synth(1, 5, 1)), fileOf(t, synth(2, 5, 1.5))}
	if err := HTML(&b, files, Context{}); err != nil {
		t.Fatal(err)
	}
	harmlessPage(t, b.Bytes())
	for _, want := range []string{"2 results of trackbench", "Response time of all runs", `id="run-1"`, `id="run-2"`} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in the page", want)
		}
	}
}

// hostile has something to break out with wherever a result has a text.
func hostile(t testing.TB) *load.Result {
	t.Helper()
	const evil = "</title></style></svg><script>alert(1)</script><img src=http://evil.test/x onerror=alert(1)>\"'`|=@\n\r\x00\x1b\u202e]]>--><!-- {{.}} \\"
	r := missing(t)
	for _, s := range []*string{&r.ID, &r.Tool.Version, &r.Tool.Go, &r.Scenario.Name, &r.Scenario.Loop, &r.Scenario.Plan, &r.Target.Addr, &r.Target.UDP,
		&r.Target.Kind, &r.Target.Version, &r.Env.Fingerprint, &r.Env.OS, &r.Env.CPU, &r.Env.Kernel} {
		*s = evil
	}
	r.Scenario.Args = map[string]any{evil: map[string]any{evil: evil}}
	r.Labels = map[string]string{evil: evil, evil + "2": evil}
	r.Command = []string{"trackbench", evil}
	r.Rates[evil], r.Counts.Errors[evil], r.Counts.Dropped[evil] = 1, 2, 3
	r.Latency[evil] = r.Latency["response"]
	r.Intervals[3].Marks = []string{evil}
	r.Fail(evil, evil, "%s", evil)
	r.Events = []load.Event{{TNS: 5e9, Text: evil}}
	r.Counts.Faults = []string{evil}
	r.Findings = map[string]any{evil: []any{evil}}
	r.Consistency = &load.Consistency{State: evil, Planned: evil, Mismatches: []load.Mismatch{{Receiver: evil, Sender: evil, Want: evil, Got: evil}}}
	r.Search = &load.Search{Expr: evil, Bound: evil, Trials: []load.Trial{{Rate: 1, Reasons: []string{evil}}}}
	r.Checks = []load.Check{{Kind: evil, Name: evil, Text: evil}, {Kind: evil, Name: evil, Text: evil}}
	r.Verdict.Warn(evil, load.Severity(evil), map[string]any{evil: evil}, "%s", evil)
	return r
}

func TestNothingBreaksOutOfAReport(t *testing.T) {
	f := fileOf(t, hostile(t))
	f.Name = "<script>alert(1)</script>.json"
	for _, files := range [][]*File{{f}, {f, f}} {
		var b bytes.Buffer
		if err := HTML(&b, files, Context{Version: "<b>"}); err != nil {
			t.Fatal(err)
		}
		harmlessPage(t, b.Bytes())
	}
	v, err := look(f.Result)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range charts(v) {
		wellFormed(t, d.id, d.alone())
	}
	var b bytes.Buffer
	if err := Markdown(&b, []*File{f}, Context{}); err != nil {
		t.Fatal(err)
	}
	for l := range strings.Lines(b.String()) {
		if code := strings.HasPrefix(l, "    "); !code && (strings.Contains(l, "<script") || strings.Contains(l, "<img")) {
			t.Errorf("a tag in the Markdown: %.80q", l)
		}
	}
}

func TestALargeResultIsHandedOnPacked(t *testing.T) {
	f := fileOf(t, synth(1, 3, 1))
	f.JSON = append(f.JSON, bytes.Repeat([]byte(" "), plainData)...)
	url, name, err := download(f)
	if err != nil || !strings.HasSuffix(name, ".json.gz") || !strings.HasPrefix(string(url), "data:application/gzip;") {
		t.Errorf("%q, %.30q, %v", name, url, err)
	}
}
