package schematest

import (
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
)

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
