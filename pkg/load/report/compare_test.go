package report

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"tracker/pkg/load"
)

// side makes a side of launches that are so much slower, each begun at its minute.
func side(t testing.TB, name string, slower float64, minutes ...int) Side {
	t.Helper()
	s := Side{Name: name}
	for _, m := range minutes {
		r := synth(uint64(m), 15, slower)
		r.Started = load.Instant{Time: time.Date(2026, 11, 21, 22, m, 0, 0, time.UTC)}
		r.Scenario.Seed = 1
		f := fileOf(t, r)
		f.Name = fmt.Sprintf("%s%d.json", name, m)
		s.Files = append(s.Files, f)
	}
	return s
}

func cellOf(t *testing.T, c *Comparison, metric string) Cell {
	t.Helper()
	for _, r := range c.Rows {
		if r.Metric == metric {
			return r.Cells[1]
		}
	}
	t.Fatalf("there is no %q", metric)
	return Cell{}
}

func noted(c *Comparison, words string) bool {
	return strings.Contains(strings.Join(c.Notes, "\n"), words)
}

func compared(t *testing.T, sides ...Side) *Comparison {
	t.Helper()
	c, err := Compare(sides, 0.95)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestSingleRunsAreMarkedAsSuch(t *testing.T) {
	c := compared(t, side(t, "a", 1, 1), side(t, "b", 1.3, 2))
	cell := cellOf(t, c, "response p50")
	if cell.Method != Blocks || cell.Says != MaybeWorse || *cell.Ratio < 1.2 || *cell.Low > *cell.Ratio || *cell.High < *cell.Ratio {
		t.Errorf("got %+v", cell)
	}
	if rate := cellOf(t, c, "achieved"); rate.Says != NoMatter || *rate.Ratio != 1 {
		t.Errorf("the rate: %+v", rate)
	}
	if !noted(c, "within these two runs only") || noted(c, "launches, by") {
		t.Errorf("notes %q", c.Notes)
	}
	if back := cellOf(t, compared(t, side(t, "b", 1.3, 2), side(t, "a", 1, 1)), "response p50"); back.Says != MaybeBetter {
		t.Errorf("the other way round: %+v", back)
	}
}

func TestLaunchesInTurnsArePaired(t *testing.T) {
	c := compared(t, side(t, "a", 1, 1, 4, 5), side(t, "b", 1.3, 2, 3, 6))
	cell := cellOf(t, c, "response p99")
	if cell.Method != Paired || cell.Says != Worse || cell.Runs != 3 || *cell.Low < 1.1 {
		t.Errorf("got %+v", cell)
	}
	if got := cellOf(t, compared(t, side(t, "a", 1, 1, 2, 3), side(t, "b", 1.3, 4, 5, 6)), "response p99"); got.Method != Welch || got.Says != Worse {
		t.Errorf("one side after the other: %+v", got)
	}
	if got := cellOf(t, compared(t, side(t, "a", 1, 1, 3), side(t, "b", 1, 2)), "response p99"); got.Method != "" || got.Ratio == nil || got.Low != nil || got.Says != "" {
		t.Errorf("one launch beside two: %+v", got)
	}
}

func TestTheDirectionOfEachMetric(t *testing.T) {
	a, b := side(t, "a", 1, 1, 3, 5), side(t, "b", 1, 2, 4, 6)
	for i, f := range b.Files {
		r := f.Result
		r.Rates["accepted_per_s"] *= 1.5 + 0.01*float64(i)
		r.Resources.Server.RSS *= 2
		r.Resources.Server.CPUSeconds *= 2
		r.Counts.Deliveries.Lost = 5
	}
	c := compared(t, a, b)
	for metric, want := range map[string]Says{"accepted": Better, "server memory": Worse, "server CPU each": Worse, "lost": MaybeWorse, "offered": ""} {
		if got := cellOf(t, c, metric); got.Says != want {
			t.Errorf("%s: %+v, want %q", metric, got, want)
		}
	}
}

func TestWhatMayNotBeCompared(t *testing.T) {
	a, bad := side(t, "a", 1, 1), side(t, "b", 1, 2)
	bad.Files[0].Result.Verdict.Warn("W23", load.Ruin, nil, "no answer came")
	if _, err := Compare([]Side{a, bad}, 0.95); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "b2.json") || !strings.Contains(err.Error(), "W23 no answer came") {
		t.Errorf("invalid: %v", err)
	}
	other := side(t, "b", 1, 2)
	other.Files[0].Result.Scenario.Name = "fanout"
	if _, err := Compare([]Side{a, other}, 0.95); !errors.Is(err, ErrUnlike) {
		t.Errorf("another scenario: %v", err)
	}
	if _, err := Compare([]Side{a}, 0.95); !errors.Is(err, ErrUnlike) {
		t.Errorf("alone: %v", err)
	}
	if _, err := Compare([]Side{a, {Name: "none"}}, 0.95); !errors.Is(err, ErrUnlike) {
		t.Errorf("nothing: %v", err)
	}
}

func TestWhatHasToBeKnownIsNoted(t *testing.T) {
	a, b := side(t, "a", 1, 1), side(t, "b", 1, 2)
	r := b.Files[0].Result
	r.Verdict.Warn("W07", load.Doubt, nil, "stolen")
	r.Partial, r.Env.Fingerprint, r.Scenario.Args["rate"] = true, "sha256:ff", "3k"
	c := compared(t, a, b)
	for _, want := range []string{"SUSPECT: b2.json", "PARTIAL: b2.json", "machine differs", "argument rate differs: 2k and 3k"} {
		if !noted(c, want) {
			t.Errorf("no %q in %q", want, c.Notes)
		}
	}
}

// A server that loses half of everything is fast: whoever compares has to be told.
func TestAFailureIsToldBesideTheFigures(t *testing.T) {
	a, b := side(t, "before", 1, 0), side(t, "after", 0.5, 10)
	b.Files[0].Result.Fail(load.Incorrect, "", "of 10 deliveries: 5 lost")
	c := compared(t, a, b)
	if !noted(c, "FAILED: ") || !noted(c, "5 lost") || !strings.Contains(c.Sides[1].head(), "FAILED") {
		t.Errorf("notes %q, heading %q", c.Notes, c.Sides[1].head())
	}
}

func TestFormatsOfAComparison(t *testing.T) {
	c := compared(t, side(t, "a|b", 1, 1), side(t, "=b", 1.3, 2))
	out := map[string]string{}
	for _, f := range Formats {
		var b bytes.Buffer
		if err := c.Print(&b, f, Context{}); err != nil {
			t.Fatal(err)
		}
		out[f] = b.String()
	}
	if !regexp.MustCompile(`(?m)^response p50 +lower +24\.\d ms +31\.\d ms +1\.2\d\d +1\.\d+ to 1\.\d+ +worse\?$`).MatchString(out["text"]) {
		t.Errorf("text:\n%s", out["text"])
	}
	if !strings.Contains(out["md"], `a\|b`) {
		t.Errorf("md:\n%s", out["md"])
	}
	rows, err := csv.NewReader(strings.NewReader(out["csv"])).ReadAll()
	if err != nil || len(rows) < 8 || rows[1][0] != "response p50" || rows[1][4] != "'=b" {
		t.Errorf("csv %v, %v", rows, err)
	}
	harmlessPage(t, []byte(out["html"]))
	if !strings.Contains(out["html"], "Comparison of ingest") || !strings.Contains(out["html"], "within these two runs only") {
		t.Errorf("html: %.2000s", out["html"])
	}
	var back Comparison
	if err := json.Unmarshal([]byte(out["json"]), &back); err != nil || back.Schema != SchemaCompare || len(back.Rows) != len(c.Rows) {
		t.Errorf("json: %v, %+v", err, back)
	}
	if err := c.Print(&bytes.Buffer{}, "xml", Context{}); !errors.Is(err, ErrKind) {
		t.Errorf("xml: %v", err)
	}
}

func TestForest(t *testing.T) {
	c := compared(t, side(t, "a", 1, 1, 4, 5), side(t, "b", 1.3, 2, 3, 6))
	d := c.forest()
	golden(t, "forest.svg", d.inline(""))
	wellFormed(t, d.id, d.alone())
	if !strings.Contains(d.desc, "response p99 worse") {
		t.Errorf("it says %q", d.desc)
	}
	alone := &Comparison{Sides: []SideInfo{{}, {}}, Rows: []Row{{Cells: []Cell{{}, {}}}}}
	if alone.forest() != nil {
		t.Error("a drawing of nothing")
	}
	far := 1e9
	alone.Rows[0].Cells[1] = Cell{Ratio: &far, Low: &far, High: &far}
	wellFormed(t, "far", alone.forest().alone())
}

func TestNothingBreaksOutOfAComparison(t *testing.T) {
	a, b := fileOf(t, hostile(t)), fileOf(t, hostile(t))
	a.Name, b.Name = "<script>alert(1)</script>", "\"><img src=x>"
	c := compared(t, Side{a.Name, []*File{a}}, Side{b.Name, []*File{b}}, Side{"|", []*File{a}})
	for _, f := range Formats {
		var out bytes.Buffer
		if err := c.Print(&out, f, Context{}); err != nil {
			t.Fatal(err)
		}
		if f == "html" {
			harmlessPage(t, out.Bytes())
		}
	}
}
