package tell

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/track"
	"tracker/pkg/tui/fleet"
)

const schemaFile = "../../../docs/schema/trackctl.map.jsonl-1.json"

// schema is as much of JSON Schema as ours needs.
type schema struct {
	Ref        string            `json:"$ref"`
	Defs       map[string]schema `json:"$defs"`
	OneOf      []schema          `json:"oneOf"`
	Type       string            `json:"type"`
	Const      any               `json:"const"`
	Enum       []any             `json:"enum"`
	Pattern    string            `json:"pattern"`
	Minimum    *float64          `json:"minimum"`
	Maximum    *float64          `json:"maximum"`
	Required   []string          `json:"required"`
	Properties map[string]schema `json:"properties"`

	// Words, and that no object has other members, which hold takes for granted.
	ID          string `json:"$id"`
	Dialect     string `json:"$schema"`
	Title       string `json:"title"`
	Description string `json:"description"`
	Closed      bool   `json:"additionalProperties"`
}

func published(t testing.TB) *schema {
	t.Helper()
	b, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	var s schema
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields() // what is not held here would hold nobody
	if err := d.Decode(&s); err != nil {
		t.Fatal(err)
	}
	return &s
}

// faults are what the published schema has against a line.
func faults(t testing.TB, line []byte) []string {
	t.Helper()
	var v any
	if err := json.Unmarshal(line, &v); err != nil {
		return []string{err.Error()}
	}
	root := published(t)
	return root.hold(root, "line", v)
}

func (s *schema) hold(root *schema, at string, v any) (faults []string) {
	fault := func(format string, args ...any) { faults = append(faults, at+" "+fmt.Sprintf(format, args...)) }
	if name, ok := strings.CutPrefix(s.Ref, "#/$defs/"); ok {
		def := root.Defs[name]
		return def.hold(root, at, v)
	}
	if len(s.OneOf) > 0 {
		fits := 0
		for _, one := range s.OneOf {
			if f := one.hold(root, at, v); len(f) == 0 {
				fits++
			} else {
				faults = append(faults, f...)
			}
		}
		if fits == 1 {
			return nil
		}
		return append(faults, fmt.Sprintf("%s fits %d of %d", at, fits, len(s.OneOf)))
	}
	switch is := v.(type) {
	case map[string]any:
		if s.Type != "object" {
			fault("is an object")
		}
		for _, name := range s.Required {
			if _, ok := is[name]; !ok {
				fault("has no %s", name)
			}
		}
		for name, member := range is {
			if p, ok := s.Properties[name]; ok {
				faults = append(faults, p.hold(root, at+"."+name, member)...)
			} else {
				fault("has %s", name)
			}
		}
	case float64:
		if s.Type != "number" && (s.Type != "integer" || is != float64(int64(is))) || s.Minimum != nil && is < *s.Minimum || s.Maximum != nil && is > *s.Maximum {
			fault("is %v", is)
		}
	case string:
		if s.Const == nil && s.Enum == nil && s.Type != "string" || s.Pattern != "" && !regexp.MustCompile(s.Pattern).MatchString(is) {
			fault("is %q", is)
		}
	}
	if s.Const != nil && s.Const != v || s.Enum != nil && !slices.Contains(s.Enum, v) {
		fault("is %v", v)
	}
	return faults
}

func TestTheSchemaRefusesWhatIsNoLine(t *testing.T) {
	good := `{"type":"silent","n":1,"time":"2026-01-02T14:22:07Z","times":1}`
	if f := faults(t, []byte(good)); len(f) > 0 {
		t.Error(f)
	}
	for _, bad := range []string{
		`[]`, `{`, `{"type":"silent","n":0,"time":"2026-01-02T14:22:07Z","times":1}`, strings.Replace(good, "silent", "quiet", 1),
		strings.Replace(good, "Z", "+01:00", 1), strings.Replace(good, `"n":1`, `"n":1.5`, 1), strings.Replace(good, `"n"`, `"N"`, 1),
		`{"type":"fix","device":"00000000000a","name":"a"}`, `{"device":"00000000000a","name":"a","time":"2026-01-02T14:22:07Z"}`,
		`{"type":"fix","device":"x","name":"a","time":"2026-01-02T14:22:07Z"}`, `{"type":"fix","device":"00000000000a","name":"a","time":"2026-01-02T14:22:07Z","lat":91}`,
		`{"type":"fix","device":"00000000000a","name":"a","time":"2026-01-02T14:22:07Z","late":false}`, `{"type":"fix","device":"00000000000a","name":7,"time":"2026-01-02T14:22:07Z"}`,
	} {
		if len(faults(t, []byte(bad))) == 0 {
			t.Errorf("%s is taken", bad)
		}
	}
}

// The schema names every type there is and every member that a line can have, and no
// others.
func TestTheSchemaIsThatOfTheLines(t *testing.T) {
	defs := published(t).Defs
	var types []any
	for k := fleet.Silent; k <= fleet.Refused; k++ {
		types = append(types, typeOf(k))
	}
	if got := defs["event"].Properties["type"].Enum; !reflect.DeepEqual(got, types) {
		t.Errorf("types %v, want %v", got, types)
	}
	full := client.Fix{
		Device: 1, Name: "a", Time: time.Unix(1, 0), Received: time.Unix(2, 0), Event: "sos", Battery: 1, Late: true, Suspect: true, Jump: true, Power: true,
		Has: track.HasPos | track.HasAlt | track.HasVel | track.HasAcc | track.HasBat,
	}
	var out bytes.Buffer
	l := &lineWriter{w: bufio.NewWriter(&out), newest: map[track.DeviceID]newest{}, written: map[uint64]goings{}}
	l.fix(&full, false)
	l.event(&fleet.Event{Kind: fleet.SOS, N: 1, Device: 1, Name: "a", Text: "b", Muted: true})
	if err := l.flush(); err != nil {
		t.Fatal(err)
	}
	fix, event, _ := bytes.Cut(out.Bytes(), []byte("\n"))
	for name, line := range map[string][]byte{"fix": fix, "event": event} {
		var members map[string]any
		if err := json.Unmarshal(line, &members); err != nil {
			t.Fatal(err)
		}
		for m := range members {
			if _, ok := defs[name].Properties[m]; !ok {
				t.Errorf("%s: the schema does not know %q", name, m)
			}
		}
		for m := range defs[name].Properties {
			if _, ok := members[m]; !ok {
				t.Errorf("%s: no line has %q", name, m)
			}
		}
	}
}
