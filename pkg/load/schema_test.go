package load

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	"go/doc/comment"
	"go/parser"
	"go/token"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite what is generated")

const schemaFile = "../../docs/schema/trackbench.result-1.json"

// The published schema is made of the types and their comments, so that neither can say
// something else.
func TestThePublishedSchemaIsThatOfTheTypes(t *testing.T) {
	var want bytes.Buffer
	e := json.NewEncoder(&want)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(newScribe(t).schema()); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.MkdirAll(filepath.Dir(schemaFile), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(schemaFile, want.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want.Bytes()) {
		t.Errorf("%s is not what the types say; go test ./pkg/load -run Schema -update rewrites it", schemaFile)
	}
}

// scribe writes a schema of types, with their comments as descriptions.
type scribe struct {
	t     *testing.T
	words map[string]string // by Type and Type.Field
	defs  map[string]any
}

func newScribe(t *testing.T) *scribe {
	t.Helper()
	s := &scribe{t: t, words: map[string]string{}, defs: map[string]any{}}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, s.note)
	}
	return s
}

func (s *scribe) note(n ast.Node) bool {
	decl, ok := n.(*ast.GenDecl)
	if !ok {
		return true
	}
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
	return true
}

// prose is a comment on one line.
func prose(text string) string {
	var p comment.Parser
	var pr comment.Printer
	return strings.Join(strings.Fields(string(pr.Text(p.Parse(text)))), " ")
}

func (s *scribe) schema() map[string]any {
	root := s.object(reflect.TypeFor[Result]())
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["$id"] = "urn:tracker:" + SchemaResult
	root["title"] = SchemaResult
	root["$defs"] = s.defs
	props, _ := root["properties"].(map[string]any)
	props["schema"] = map[string]any{"const": SchemaResult}
	return root
}

// closed are texts that may be one of few.
var closed = map[reflect.Type][]string{
	reflect.TypeFor[Validity](): {string(Valid), string(Suspect), string(Invalid)},
	reflect.TypeFor[Severity](): {string(Info), string(Doubt), string(Ruin)},
}

func (s *scribe) of(t reflect.Type) map[string]any {
	if t == reflect.TypeFor[Instant]() {
		return map[string]any{"type": "string", "format": "date-time", "pattern": `^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$`}
	}
	if words := closed[t]; words != nil {
		return map[string]any{"type": "string", "enum": words}
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
	case reflect.Interface:
		return map[string]any{}
	case reflect.Pointer:
		if t.Elem().Kind() == reflect.Struct {
			return s.of(t.Elem())
		}
		one := s.of(t.Elem())
		one["type"] = []any{one["type"], "null"}
		return one
	case reflect.Struct:
		if s.defs[t.Name()] == nil {
			s.defs[t.Name()] = true // it may hold itself
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
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" || name == "-" {
			continue
		}
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

// checkSchema holds what a result is as JSON against the published schema.
func checkSchema(t *testing.T, res *Result) {
	t.Helper()
	b, err := json.Marshal(res)
	if err != nil {
		t.Fatal(err)
	}
	for _, fault := range validate(t, b) {
		t.Error(fault)
	}
}

func validate(t *testing.T, doc []byte) (faults []string) {
	t.Helper()
	text, err := os.ReadFile(schemaFile)
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
	j.hold("result", value, root)
	return j.faults
}

// judge validates by as much of JSON Schema as ours needs, and refuses to go on where it
// meets a keyword that it does not know.
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
		case "description", "title", "$schema", "$id", "$defs", "format", "required", "additionalProperties":
		case "$ref":
			name, _ := strings.CutPrefix(want.(string), "#/$defs/")
			def, ok := j.root["$defs"].(map[string]any)[name].(map[string]any)
			if !ok {
				j.fault(at, "no definition of %q", name)
				continue
			}
			j.hold(at, v, def)
		case "type":
			if !j.isA(v, want) {
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
		case "properties":
			j.members(at, v, schema)
		default:
			j.fault(at, "the schema has a keyword that is not known here: %s", word)
		}
	}
	if more, ok := schema["additionalProperties"].(map[string]any); ok && schema["properties"] == nil {
		all, _ := v.(map[string]any)
		for name, x := range all {
			j.hold(at+"."+name, x, more)
		}
	}
}

func (j *judge) members(at string, v any, schema map[string]any) {
	all, ok := v.(map[string]any)
	if !ok {
		return // type says so
	}
	props := schema["properties"].(map[string]any)
	for _, name := range schema["required"].([]any) {
		if _, ok := all[name.(string)]; !ok {
			j.fault(at, "there is no %s", name)
		}
	}
	for name, x := range all {
		if p, ok := props[name].(map[string]any); ok { // unknown members are allowed
			j.hold(at+"."+name, x, p)
		}
	}
}

func (j *judge) isA(v, want any) bool {
	if list, ok := want.([]any); ok {
		return slices.ContainsFunc(list, func(w any) bool { return j.isA(v, w) })
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

// A schema that takes everything tests nothing.
func TestTheSchemaRefusesWhatIsNoResult(t *testing.T) {
	good := fullResult(t)
	b, err := json.Marshal(good)
	if err != nil {
		t.Fatal(err)
	}
	if faults := validate(t, b); len(faults) > 0 {
		t.Fatal(faults)
	}
	for name, edit := range map[string]func(map[string]any){
		"another schema":     func(m map[string]any) { m["schema"] = "trackbench.result/2" },
		"no verdict":         func(m map[string]any) { delete(m, "verdict") },
		"a word as duration": func(m map[string]any) { m["duration_ns"] = "long" },
		"half a nanosecond":  func(m map[string]any) { m["duration_ns"] = 0.5 },
		"an odd validity":    func(m map[string]any) { m["verdict"].(map[string]any)["validity"] = "FINE" },
		"a local time":       func(m map[string]any) { m["started"] = "2026-11-22 05:00" },
		"a nameless warning": func(m map[string]any) {
			delete(m["verdict"].(map[string]any)["warnings"].([]any)[0].(map[string]any), "id")
		},
		"a rate of words": func(m map[string]any) { m["rates"].(map[string]any)["offered_per_s"] = "many" },
	} {
		var m map[string]any
		if err := json.Unmarshal(b, &m); err != nil {
			t.Fatal(err)
		}
		edit(m)
		bad, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if len(validate(t, bad)) == 0 {
			t.Errorf("%s was let through", name)
		}
	}
	var m map[string]any
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	m["of_tomorrow"] = 1
	more, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	if faults := validate(t, more); len(faults) > 0 {
		t.Errorf("a member that is not known yet: %v", faults)
	}
}

// fullResult has a value in every member.
func fullResult(t *testing.T) *Result {
	t.Helper()
	r := NewResult("1.2.3", "ingest")
	fill(reflect.ValueOf(r).Elem(), 0)
	r.Schema, r.Verdict.Validity, r.Verdict.Warnings[0].Severity = SchemaResult, Suspect, Doubt
	return r
}

func fill(v reflect.Value, depth int) {
	if v.Type() == reflect.TypeFor[Instant]() || depth > 8 {
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(1)
	case reflect.Uint64:
		v.SetUint(1)
	case reflect.Float64:
		v.SetFloat(1.5)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), depth+1)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0), depth+1)
	case reflect.Map:
		one := reflect.New(v.Type().Elem()).Elem()
		fill(one, depth+1)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("offered_per_s"), one)
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(v.Field(i), depth+1)
			}
		}
	}
}
