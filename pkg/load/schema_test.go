package load

import (
	"encoding/json"
	"flag"
	"reflect"
	"testing"

	"tracker/pkg/load/schematest"
)

var update = flag.Bool("update", false, "rewrite what is generated")

// published is the schema of results.
var published = schematest.Schema{
	File: "../../docs/schema/trackbench.result-1.json", ID: SchemaResult, Root: reflect.TypeFor[Result](), From: []string{"."},
	As: map[reflect.Type]map[string]any{
		reflect.TypeFor[Instant]():  schematest.Instant(),
		reflect.TypeFor[Validity](): schematest.Enum(Valid, Suspect, Invalid),
		reflect.TypeFor[Severity](): schematest.Enum(Info, Doubt, Ruin),
	},
}

func TestThePublishedSchemaIsThatOfTheTypes(t *testing.T) { published.CheckPublished(t, *update) }

// checkSchema holds what a result is as JSON against the published schema.
func checkSchema(t *testing.T, res *Result) {
	t.Helper()
	b, err := json.Marshal(res)
	if err != nil {
		t.Fatal(err)
	}
	for _, fault := range published.Faults(t, b) {
		t.Error(fault)
	}
}

func TestTheSchemaRefusesWhatIsNoResult(t *testing.T) {
	b, err := json.Marshal(fullResult(t))
	if err != nil {
		t.Fatal(err)
	}
	published.CheckRefuses(t, b, map[string]func(map[string]any){
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
	})
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
