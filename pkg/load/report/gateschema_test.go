package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/doc/comment"
	"go/parser"
	"go/token"
	"maps"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"tracker/pkg/load"
	"tracker/pkg/load/gate"
)

const gateSchemaFile = "../../../docs/schema/trackbench.gate-1.json"

// The published schema is made of the types and their comments, so that neither can say
// something else.
func TestThePublishedGateSchemaIsThatOfTheTypes(t *testing.T) {
	s := &scribe{t: t, words: map[string]string{}, defs: map[string]any{}}
	s.read("..")
	s.read("../gate")
	root := s.object(reflect.TypeFor[gate.Report]())
	maps.Copy(root, map[string]any{"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "urn:tracker:" + gate.Schema, "title": gate.Schema, "$defs": s.defs})
	root["properties"].(map[string]any)["schema"] = map[string]any{"const": gate.Schema}
	var want bytes.Buffer
	e := json.NewEncoder(&want)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(root); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(gateSchemaFile, want.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(gateSchemaFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want.Bytes()) {
		t.Errorf("%s is not what the types say; go test ./pkg/load/report -run Schema -update rewrites it", gateSchemaFile)
	}
}

// scribe writes a schema of types, with their comments as descriptions.
type scribe struct {
	t     *testing.T
	words map[string]string // by Type and Type.Field
	defs  map[string]any
}

// read takes the comments of a package.
func (s *scribe) read(dir string) {
	s.t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(files) == 0 {
		s.t.Fatalf("no source in %s: %v", dir, err)
	}
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			s.t.Fatal(err)
		}
		for _, d := range f.Decls {
			if d, ok := d.(*ast.GenDecl); ok {
				s.note(d)
			}
		}
	}
}

func (s *scribe) note(decl *ast.GenDecl) {
	for _, spec := range decl.Specs {
		spec, ok := spec.(*ast.TypeSpec)
		if !ok {
			continue
		}
		s.words[spec.Name.Name] = prose(decl.Doc.Text())
		fields, ok := spec.Type.(*ast.StructType)
		if !ok {
			continue
		}
		for _, f := range fields.Fields.List {
			for _, name := range f.Names {
				s.words[spec.Name.Name+"."+name.Name] = prose(f.Doc.Text() + f.Comment.Text())
			}
		}
	}
}

// prose is a comment on one line.
func prose(text string) string {
	var p comment.Parser
	var pr comment.Printer
	return strings.Join(strings.Fields(string(pr.Text(p.Parse(text)))), " ")
}

func (s *scribe) of(t reflect.Type) map[string]any {
	switch t {
	case reflect.TypeFor[load.Instant]():
		return map[string]any{"type": "string", "format": "date-time", "pattern": `^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$`}
	case reflect.TypeFor[gate.Verdict]():
		return map[string]any{"type": "string", "enum": []gate.Verdict{gate.Pass, gate.Regressed, gate.Inconclusive, gate.Failed}}
	}
	switch t.Kind() {
	case reflect.String:
		return map[string]any{"type": "string"}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Int, reflect.Int64:
		return map[string]any{"type": "integer"}
	case reflect.Uint64:
		return map[string]any{"type": "integer", "minimum": 0}
	case reflect.Float64:
		return map[string]any{"type": "number"}
	case reflect.Slice:
		return map[string]any{"type": "array", "items": s.of(t.Elem())}
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": s.of(t.Elem())}
	case reflect.Pointer:
		one := s.of(t.Elem())
		if t.Elem().Kind() != reflect.Struct {
			one["type"] = []any{one["type"], "null"}
		}
		return one
	case reflect.Struct:
		if s.defs[t.Name()] == nil {
			s.defs[t.Name()] = s.object(t)
		}
		return map[string]any{"$ref": "#/$defs/" + t.Name()}
	}
	s.t.Fatalf("no schema of %v", t)
	return nil
}

func (s *scribe) object(t reflect.Type) map[string]any {
	props, required := map[string]any{}, []string{}
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous { // its members are ours
			inner := s.object(f.Type)
			maps.Copy(props, inner["properties"].(map[string]any))
			required = append(required, inner["required"].([]string)...)
			continue
		}
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		one := s.of(f.Type)
		if words := s.words[t.Name()+"."+f.Name]; words != "" {
			one["description"] = words
		}
		props[name] = one
		if !strings.Contains(options, "omitempty") {
			required = append(required, name)
		}
	}
	out := map[string]any{"type": "object", "properties": props, "required": required}
	if words := s.words[t.Name()]; words != "" {
		out["description"] = words
	}
	return out
}

func validGate(t *testing.T, doc []byte) (faults []string) {
	t.Helper()
	text, err := os.ReadFile(gateSchemaFile)
	if err != nil {
		t.Fatal(err)
	}
	var root map[string]any
	var value any
	if err := json.Unmarshal(text, &root); err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(doc))
	d.UseNumber()
	if err := d.Decode(&value); err != nil {
		t.Fatal(err)
	}
	j := judge{root: root}
	j.hold("gate", value, root)
	return j.faults
}

// judge validates by as much of JSON Schema as ours needs, and complains of a keyword
// that it does not know.
type judge struct {
	root   map[string]any
	faults []string
}

func (j *judge) fault(at, format string, args ...any) {
	j.faults = append(j.faults, at+": "+fmt.Sprintf(format, args...))
}

func (j *judge) hold(at string, v any, schema map[string]any) {
	for word, want := range schema {
		switch word {
		case "description", "title", "$schema", "$id", "$defs", "format", "required":
		case "$ref":
			def, ok := j.root["$defs"].(map[string]any)[strings.TrimPrefix(want.(string), "#/$defs/")].(map[string]any)
			if !ok {
				j.fault(at, "no definition of %v", want)
				continue
			}
			j.hold(at, v, def)
		case "type":
			if !isA(v, want) {
				j.fault(at, "%v is no %v", v, want)
			}
		case "const":
			if v != want {
				j.fault(at, "%v is not %v", v, want)
			}
		case "enum":
			if !slices.Contains(want.([]any), v) {
				j.fault(at, "%v is none of %v", v, want)
			}
		case "pattern":
			if s, ok := v.(string); ok && !regexp.MustCompile(want.(string)).MatchString(s) {
				j.fault(at, "%q does not match %s", s, want)
			}
		case "minimum":
			if n, ok := v.(json.Number); ok {
				if f, err := n.Float64(); err != nil || f < want.(float64) {
					j.fault(at, "%v is below %v", n, want)
				}
			}
		case "items":
			list, _ := v.([]any)
			for i, x := range list {
				j.hold(fmt.Sprintf("%s[%d]", at, i), x, want.(map[string]any))
			}
		case "additionalProperties":
			all, _ := v.(map[string]any)
			for name, x := range all {
				j.hold(at+"."+name, x, want.(map[string]any))
			}
		case "properties":
			j.members(at, v, schema)
		default:
			j.fault(at, "the schema has a keyword that is not known here: %s", word)
		}
	}
}

func (j *judge) members(at string, v any, schema map[string]any) {
	all, ok := v.(map[string]any)
	if !ok {
		return // type says so
	}
	for _, name := range schema["required"].([]any) {
		if _, ok := all[name.(string)]; !ok {
			j.fault(at, "there is no %s", name)
		}
	}
	props := schema["properties"].(map[string]any)
	for name, x := range all {
		if p, ok := props[name].(map[string]any); ok { // unknown members are allowed
			j.hold(at+"."+name, x, p)
		}
	}
}

func isA(v, want any) bool {
	if list, ok := want.([]any); ok {
		return slices.ContainsFunc(list, func(w any) bool { return isA(v, w) })
	}
	switch v := v.(type) {
	case nil:
		return want == "null"
	case string:
		return want == "string"
	case bool:
		return want == "boolean"
	case map[string]any:
		return want == "object"
	case []any:
		return want == "array"
	case json.Number:
		f, err := v.Float64()
		return err == nil && (want == "number" || want == "integer" && f == math.Trunc(f))
	}
	return false
}

func TestGatesAsJSONKeepToTheSchema(t *testing.T) {
	for name, r := range gates(t) {
		if name == "nil" || name == "hostile" { // no gate of ours
			continue
		}
		for _, fault := range validGate(t, []byte(gatePrinted(t, "json", r))) {
			t.Errorf("%s: %s", name, fault)
		}
	}
	r := gateOf()
	r.Same, r.Metrics = nil, nil
	if faults := validGate(t, []byte(gatePrinted(t, "json", r))); len(faults) > 0 {
		t.Errorf("a gate that compared nothing: %v", faults)
	}
}

// A schema that takes everything tests nothing.
func TestTheGateSchemaRefusesWhatIsNoGate(t *testing.T) {
	good := []byte(gatePrinted(t, "json", gates(t)["statistics"]))
	metric := func(m map[string]any) map[string]any { return m["metrics"].([]any)[4].(map[string]any) }
	for name, edit := range map[string]func(map[string]any){
		"another schema":         func(m map[string]any) { m["schema"] = "trackbench.gate/2" },
		"no verdict":             func(m map[string]any) { delete(m, "verdict") },
		"an odd verdict":         func(m map[string]any) { m["verdict"] = "FINE" },
		"a local time":           func(m map[string]any) { m["started"] = "2026-11-22 05:00" },
		"half a nanosecond":      func(m map[string]any) { m["took_ns"] = 0.5 },
		"no metrics":             func(m map[string]any) { m["metrics"] = nil },
		"a head without a name":  func(m map[string]any) { delete(m["head"].(map[string]any), "name") },
		"a metric's odd verdict": func(m map[string]any) { metric(m)["verdict"] = "FINE" },
		"a change in words":      func(m map[string]any) { metric(m)["change"] = "a lot" },
		"no launches":            func(m map[string]any) { delete(metric(m), "launches") },
		"half a launch":          func(m map[string]any) { metric(m)["confirm"].(map[string]any)["launches"] = 0.5 },
		"a launch in words":      func(m map[string]any) { metric(m)["each"] = []any{"much"} },
		"a seed below 0":         func(m map[string]any) { m["seed"] = -1 },
	} {
		var m map[string]any
		if err := json.Unmarshal(good, &m); err != nil {
			t.Fatal(err)
		}
		edit(m)
		bad, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if len(validGate(t, bad)) == 0 {
			t.Errorf("%s was let through", name)
		}
	}
	var m map[string]any
	if err := json.Unmarshal(good, &m); err != nil {
		t.Fatal(err)
	}
	m["of_tomorrow"] = 1
	more, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	if faults := validGate(t, more); len(faults) > 0 {
		t.Errorf("a member that is not known yet: %v", faults)
	}
}
