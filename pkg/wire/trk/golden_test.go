package trk

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"tracker/pkg/rpc"
)

var update = flag.Bool("update", false, "write the golden files")

// goldenDir is outside of the package because the tests of the TypeScript client read
// the same files.
const goldenDir = "../../../testdata/rpc"

// goldenMethod is a method's bodies and what they say, in the words of TypeScript:
// lower camel case, bytes as numbers.
type goldenMethod struct {
	Method      string `json:"method"`
	ID          uint16 `json:"id"`
	RequestHex  string `json:"request_hex"`
	ResponseHex string `json:"response_hex"`
	EventHex    string `json:"event_hex,omitempty"`
	// The same as they travel: whole frames of request 1, the update with number 1.
	RequestFrame  string `json:"request_frame_hex"`
	ResponseFrame string `json:"response_frame_hex"`
	EventFrame    string `json:"event_frame_hex,omitempty"`
	EventID       uint16 `json:"event_id,omitempty"`
	Request       any    `json:"request"`
	Response      any    `json:"response"`
	Event         any    `json:"event,omitempty"`
}

// goldenBuffer is a buffer, mostly damaged, and whether it is valid all the same.
type goldenBuffer struct {
	Table string `json:"table"`
	Hex   string `json:"hex"`
	Valid bool   `json:"valid"`
}

func kindOf(t *testing.T, name string) tableKind {
	t.Helper()
	for _, k := range tableKinds {
		if k.name == name {
			return k
		}
	}
	t.Fatalf("no table %q", name)
	return tableKind{}
}

// plain is v as JSON has it.
func plain(v reflect.Value) any {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return nil
		}
		return plain(v.Elem())
	case reflect.Struct:
		all := map[string]any{}
		for i := range v.NumField() {
			name := v.Type().Field(i).Name
			all[strings.ToLower(name[:1])+name[1:]] = plain(v.Field(i))
		}
		return all
	case reflect.Slice:
		all := make([]any, v.Len())
		for i := range all {
			all[i] = plain(v.Index(i))
		}
		return all
	case reflect.String:
		return v.String()
	case reflect.Bool:
		return v.Bool()
	case reflect.Float64, reflect.Float32:
		return v.Float()
	case reflect.Int8, reflect.Int16, reflect.Int32:
		return float64(v.Int())
	}
	return float64(v.Uint())
}

func writeGolden(t *testing.T, name string, v any) {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	// One entry a line: small differences are small in a diff.
	b = bytes.ReplaceAll(b, []byte("},{\"method\""), []byte("},\n{\"method\""))
	b = bytes.ReplaceAll(b, []byte("},{\"table\""), []byte("},\n{\"table\""))
	if err := os.MkdirAll(goldenDir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(goldenDir, name), append(b, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}

func readGolden[T any](t *testing.T, name string) []T {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(goldenDir, name))
	if err != nil {
		t.Fatal(err)
	}
	var all []T
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestGoldenMethods reads what was written once. The bytes may be made differently some
// day; what stands in the file has to be readable for ever.
func TestGoldenMethods(t *testing.T) {
	if *update {
		writeGolden(t, "golden.json", makeGolden(t))
	}
	all := readGolden[goldenMethod](t, "golden.json")
	seen := map[uint16]bool{}
	for _, g := range all {
		m, ok := MethodOf(g.ID)
		if !ok || m.FullName() != g.Method || m.Event != g.EventID {
			t.Errorf("%s: 0x%04x is another method now", g.Method, g.ID)
			continue
		}
		seen[g.ID] = true
		tables := methodTables[g.ID]
		mustFrame(t, g)
		mustRead(t, g.Method+" request", tables[0], g.RequestHex, g.Request)
		mustRead(t, g.Method+" response", tables[1], g.ResponseHex, g.Response)
		if m.Stream {
			mustRead(t, g.Method+" event", tables[2], g.EventHex, g.Event)
		}
	}
	for _, m := range Methods() {
		if !seen[m.ID] {
			t.Errorf("%s is missing: go test ./pkg/wire/trk -update", m.FullName())
		}
	}
}

// mustFrame holds the frames against what rpc makes of the bodies.
func mustFrame(t *testing.T, g goldenMethod) {
	t.Helper()
	want := g
	frames(t, &want)
	if g.RequestFrame != want.RequestFrame || g.ResponseFrame != want.ResponseFrame || g.EventFrame != want.EventFrame {
		t.Errorf("%s: frames\ngot  %s %s %s\nwant %s %s %s", g.Method,
			g.RequestFrame, g.ResponseFrame, g.EventFrame, want.RequestFrame, want.ResponseFrame, want.EventFrame)
	}
}

func frames(t *testing.T, g *goldenMethod) {
	t.Helper()
	frame := func(f rpc.Frame) string { return hex.EncodeToString(rpc.AppendFrame(nil, f)) }
	g.RequestFrame = frame(rpc.Frame{Kind: rpc.KindReq, ID: 1, Code: g.ID, Body: unhex(t, g.RequestHex)})
	g.ResponseFrame = frame(rpc.Frame{Kind: rpc.KindRsp, ID: 1, Body: unhex(t, g.ResponseHex)})
	if g.EventID != 0 {
		body := append([]byte{1, 0, 0, 0, 0, 0, 0, 0}, unhex(t, g.EventHex)...)
		g.EventFrame = frame(rpc.Frame{Kind: rpc.KindEvent, ID: 1, Code: g.EventID, Body: body})
	}
}

func mustRead(t *testing.T, name, table, hexed string, want any) {
	t.Helper()
	k := kindOf(t, table)
	v, err := k.read(unhex(t, hexed))
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	if got := plain(reflect.ValueOf(v)); !subset(want, got) {
		t.Errorf("%s:\ngot  %v\nwant %v", name, got, want)
	}
}

// subset lets tables have grown since: what was written has to be there.
func subset(want, got any) bool {
	switch want := want.(type) {
	case map[string]any:
		in, ok := got.(map[string]any)
		for k, v := range want {
			ok = ok && subset(v, in[k])
		}
		return ok
	case []any:
		in, ok := got.([]any)
		ok = ok && len(in) == len(want)
		for i := 0; ok && i < len(want); i++ {
			ok = subset(want[i], in[i])
		}
		return ok
	}
	return reflect.DeepEqual(want, got)
}

func makeGolden(t *testing.T) []goldenMethod {
	r := rand.New(rand.NewPCG(7, 8))
	one := func(table string) (string, any) {
		k := kindOf(t, table)
		v := k.value()
		fill(r, reflect.ValueOf(v).Elem(), true)
		b := k.encode(nil, v)
		back, err := k.read(b)
		if err != nil {
			t.Fatal(err)
		}
		return hex.EncodeToString(b), plain(reflect.ValueOf(back))
	}
	var all []goldenMethod
	for _, m := range Methods() {
		g := goldenMethod{Method: m.FullName(), ID: m.ID, EventID: m.Event}
		tables := methodTables[m.ID]
		g.RequestHex, g.Request = one(tables[0])
		g.ResponseHex, g.Response = one(tables[1])
		if m.Stream {
			g.EventHex, g.Event = one(tables[2])
		}
		frames(t, &g)
		all = append(all, g)
	}
	return all
}

// TestGoldenBuffers holds the verifiers of both languages to the same verdicts.
func TestGoldenBuffers(t *testing.T) {
	if *update {
		r := rand.New(rand.NewPCG(9, 10))
		var all []goldenBuffer
		for _, k := range tableKinds {
			for i, seed := range seeds(r, k, 1) {
				for j := range 6 {
					b := seed
					if i+j > 0 {
						b = mutate(r, seed)
					}
					all = append(all, goldenBuffer{k.name, hex.EncodeToString(b), k.verify(b)})
				}
			}
		}
		writeGolden(t, "verify.json", all)
	}
	valid := 0
	for _, g := range readGolden[goldenBuffer](t, "verify.json") {
		if got := kindOf(t, g.Table).verify(unhex(t, g.Hex)); got != g.Valid {
			t.Errorf("%s: %t: %s", g.Table, got, g.Hex)
		}
		if g.Valid {
			valid++
		}
	}
	if valid == 0 {
		t.Error("none is valid")
	}
}
