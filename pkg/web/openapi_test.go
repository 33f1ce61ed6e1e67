package web

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"tracker/pkg/track"
)

// document is openapi.json and a validator for the part of JSON Schema that it uses.
// An unknown keyword fails the test, so that none is believed to be checked.
type document struct {
	t    testing.TB
	root map[string]any
}

func readDocument(t testing.TB) *document {
	t.Helper()
	d := &document{t: t}
	if err := json.Unmarshal(openAPIDocument, &d.root); err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *document) at(path ...string) map[string]any {
	var v any = d.root
	for _, p := range path {
		m, ok := v.(map[string]any)
		if !ok {
			d.t.Fatalf("%v: not in the document", path)
		}
		v = m[p]
	}
	m, _ := v.(map[string]any)
	return m
}

// validate lists what is wrong with a value.
func (d *document) validate(where string, schema map[string]any, v any) (wrong []string) {
	bad := func(format string, args ...any) { wrong = append(wrong, where+": "+fmt.Sprintf(format, args...)) }
	for key, arg := range schema {
		switch key {
		case "description", "default", "format":
		case "$ref":
			name, ok := strings.CutPrefix(arg.(string), "#/components/schemas/")
			if !ok {
				d.t.Fatalf("%s: reference %v", where, arg)
			}
			target := d.at("components", "schemas", name)
			if target == nil {
				d.t.Fatalf("%s: no schema %s", where, name)
			}
			wrong = append(wrong, d.validate(where, target, v)...)
		case "type":
			if !hasType(v, arg.(string)) {
				bad("%v is no %v", v, arg)
			}
		case "const":
			if v != arg {
				bad("%v is not %v", v, arg)
			}
		case "enum":
			if !slices.Contains(arg.([]any), v) {
				bad("%v is none of %v", v, arg)
			}
		case "pattern":
			if s, ok := v.(string); ok && !regexp.MustCompile(arg.(string)).MatchString(s) {
				bad("%q does not match %v", s, arg)
			}
		case "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum":
			if n, ok := v.(float64); ok && !inRange(key, n, arg.(float64)) {
				bad("%v breaks %s %v", n, key, arg)
			}
		case "minLength", "maxLength":
			if s, ok := v.(string); ok && (key == "minLength") == (float64(len(s)) < arg.(float64)) && float64(len(s)) != arg.(float64) {
				bad("%q breaks %s %v", s, key, arg)
			}
		case "items":
			if list, ok := v.([]any); ok {
				for i, x := range list {
					wrong = append(wrong, d.validate(fmt.Sprintf("%s[%d]", where, i), arg.(map[string]any), x)...)
				}
			}
		case "minItems", "maxItems":
			if list, ok := v.([]any); ok && (key == "minItems") == (float64(len(list)) < arg.(float64)) && float64(len(list)) != arg.(float64) {
				bad("%d items break %s %v", len(list), key, arg)
			}
		case "properties", "required", "additionalProperties":
			if m, ok := v.(map[string]any); ok {
				wrong = append(wrong, d.validateMembers(where, key, schema, m)...)
			}
		case "oneOf":
			fits := 0
			var all []string
			for _, s := range arg.([]any) {
				w := d.validate(where, s.(map[string]any), v)
				if len(w) == 0 {
					fits++
				}
				all = append(all, w...)
			}
			if fits != 1 {
				bad("fits %d of the alternatives: %v", fits, all)
			}
		default:
			d.t.Fatalf("%s: the validator does not know %q", where, key)
		}
	}
	return wrong
}

func (d *document) validateMembers(where, key string, schema, v map[string]any) (wrong []string) {
	properties, _ := schema["properties"].(map[string]any)
	switch key {
	case "properties":
		for name, s := range properties {
			if x, ok := v[name]; ok {
				wrong = append(wrong, d.validate(where+"."+name, s.(map[string]any), x)...)
			}
		}
	case "required":
		for _, name := range schema["required"].([]any) {
			if _, ok := v[name.(string)]; !ok {
				wrong = append(wrong, fmt.Sprintf("%s: %v is missing", where, name))
			}
		}
	case "additionalProperties":
		for name, x := range v {
			if _, ok := properties[name]; ok {
				continue
			}
			switch more := schema[key].(type) {
			case bool:
				if !more {
					wrong = append(wrong, fmt.Sprintf("%s: %s is not in the document", where, name))
				}
			case map[string]any:
				wrong = append(wrong, d.validate(where+"."+name, more, x)...)
			}
		}
	}
	return wrong
}

func hasType(v any, want string) bool {
	switch x := v.(type) {
	case string:
		return want == "string"
	case bool:
		return want == "boolean"
	case float64:
		return want == "number" || want == "integer" && x == math.Trunc(x)
	case []any:
		return want == "array"
	case map[string]any:
		return want == "object"
	}
	return false
}

func inRange(key string, n, limit float64) bool {
	switch key {
	case "minimum":
		return n >= limit
	case "maximum":
		return n <= limit
	case "exclusiveMinimum":
		return n > limit
	}
	return n < limit
}

// operation finds what the document says of a route.
func (d *document) operation(method, path string) map[string]any {
	return d.at("paths", path, strings.ToLower(method))
}

func TestDocumentAndRoutesAgree(t *testing.T) {
	d := readDocument(t)
	inCode := map[string]bool{}
	for _, r := range routes {
		name := r.method + " " + r.path
		inCode[name] = true
		op := d.operation(r.method, r.path)
		if op == nil {
			t.Errorf("%s is not in the document", name)
			continue
		}
		if role, want := op["x-role"], map[access]any{everybody: nil, members: "member", viewers: "viewer", admins: "admin", scrapers: "scrapers"}[r.who]; role != want {
			t.Errorf("%s: the document says role %v, the code %v", name, role, want)
		}
		if _, open := op["security"]; open != (r.who == everybody) {
			t.Errorf("%s: security %v", name, op["security"])
		}
		var params []string
		list, _ := op["parameters"].([]any)
		for _, p := range list {
			if m := p.(map[string]any); m["in"] == "query" {
				params = append(params, m["name"].(string))
			}
		}
		known := slices.Clone(r.params)
		slices.Sort(params)
		slices.Sort(known)
		if !slices.Equal(params, known) {
			t.Errorf("%s: the document has the parameters %v, the code %v", name, params, known)
		}
		if strings.Contains(r.path, "{") && d.at("paths", r.path)["parameters"] == nil {
			t.Errorf("%s: its path parameter is not in the document", name)
		}
	}
	for path, item := range d.at("paths") {
		for method := range item.(map[string]any) {
			if method != "parameters" && !inCode[strings.ToUpper(method)+" "+path] {
				t.Errorf("%s %s is in the document only", method, path)
			}
		}
	}
	ids := map[string]bool{}
	for _, r := range routes {
		id, _ := d.operation(r.method, r.path)["operationId"].(string)
		if id == "" || ids[id] {
			t.Errorf("%s %s: operationId %q is empty or taken", r.method, r.path, id)
		}
		ids[id] = true
	}
}

func TestEveryFailureIsInTheDocument(t *testing.T) {
	d := readDocument(t)
	var inCode []string
	for _, f := range failures {
		inCode = append(inCode, f.code)
	}
	inCode = append(inCode, internal.code)
	slices.Sort(inCode)
	var inDocument []string
	for _, c := range d.at("components", "schemas", "ProblemDetail", "properties", "code")["enum"].([]any) {
		inDocument = append(inDocument, c.(string))
	}
	slices.Sort(inDocument)
	if got := slices.Compact(inCode); !slices.Equal(got, inDocument) {
		t.Errorf("the code has %v, the document %v", got, inDocument)
	}
}

// TestAnswersAreAsTheDocumentSays calls every operation, well and badly, and validates
// what comes back.
func TestAnswersAreAsTheDocumentSays(t *testing.T) {
	d := readDocument(t)
	h := newHouse(t, nil)
	ids := h.enroll("van-1", "van-2", "gone")
	full := sampleFixes[0].fix
	full.Device, full.Wire = ids[0], ids[0]
	odd := sampleFixes[2].fix
	odd.Device, odd.Wire, odd.Time = ids[1], ids[1], time.Now().UnixMilli()
	h.apply(full, odd, track.Fix{Device: ids[1], Wire: ids[1], Time: 1, Has: track.HasBat, Bat: 0xe3, Event: track.EventSOS})
	_, secret := h.admin, ""
	_ = secret
	tok, _, err := h.engine.CreateToken(t.Context(), "other", "viewer", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	skipper, _, err := h.engine.CreateToken(t.Context(), "skipper", "member", 0)
	if err != nil {
		t.Fatal(err)
	}
	called := map[string]bool{}
	for _, tc := range []struct {
		method, route, path, body string
		header                    []string
	}{
		{method: "GET", route: "/", path: "/"},
		{method: "GET", route: "/d", path: "/d"},
		{method: "GET", route: "/healthz", path: "/healthz"},
		{method: "GET", route: "/readyz", path: "/readyz"},
		{method: "GET", route: "/metrics", path: "/metrics"},
		{method: "GET", route: "/v1/openapi.json", path: "/v1/openapi.json"},
		{method: "GET", route: "/v1/status", path: "/v1/status"},
		{method: "GET", route: "/v1/devices", path: "/v1/devices?limit=2"},
		{method: "GET", route: "/v1/devices", path: "/v1/devices?q=van"},
		{method: "GET", route: "/v1/devices", path: "/v1/devices?q=van&limit=none"},
		{method: "POST", route: "/v1/devices", path: "/v1/devices", body: `{"name":"van-3","flags":"cpm","suite":2}`},
		{method: "POST", route: "/v1/devices", path: "/v1/devices", body: `{"name":"van-3"}`},
		{method: "POST", route: "/v1/devices:batch", path: "/v1/devices:batch", body: `{"devices":[{"name":"van-4"},{"name":"van-5"}]}`},
		{method: "POST", route: "/v1/devices:batch", path: "/v1/devices:batch", body: `{"devices":[]}`},
		{method: "GET", route: "/v1/devices/{device}", path: "/v1/devices/van-1"},
		{method: "GET", route: "/v1/devices/{device}", path: "/v1/devices/" + ids[1].String()},
		{method: "GET", route: "/v1/devices/{device}", path: "/v1/devices/nobody"},
		{method: "PATCH", route: "/v1/devices/{device}", path: "/v1/devices/van-2", body: `{"name":"lorry"}`},
		{method: "DELETE", route: "/v1/devices/{device}", path: "/v1/devices/gone"},
		{method: "GET", route: "/v1/devices/{device}", path: "/v1/devices/" + ids[2].String()},
		{method: "POST", route: "/v1/devices/{device}/rotate", path: "/v1/devices/van-1/rotate"},
		{method: "POST", route: "/v1/devices/{device}/rotate", path: "/v1/devices/" + ids[2].String() + "/rotate"},
		{method: "POST", route: "/v1/devices/{device}/reset-floor", path: "/v1/devices/van-1/reset-floor"},
		{method: "GET", route: "/v1/positions", path: "/v1/positions"},
		{method: "GET", route: "/v1/positions", path: "/v1/positions?device=van-1"},
		{method: "GET", route: "/v1/near", path: "/v1/near?at=52,13&within=100000"},
		{method: "GET", route: "/v1/near", path: "/v1/near?at=x"},
		{method: "GET", route: "/v1/history/{device}", path: "/v1/history/van-1"},
		{method: "GET", route: "/v1/history/{device}", path: "/v1/history/lorry?heartbeats=1&limit=1"},
		{method: "GET", route: "/v1/history/{device}", path: "/v1/history/lorry?heartbeats=1", header: []string{"Accept", "application/x-ndjson"}},
		{method: "GET", route: "/v1/tokens", path: "/v1/tokens"},
		{method: "POST", route: "/v1/tokens", path: "/v1/tokens", body: `{"name":"wall","role":"viewer","ttl":"1h"}`},
		{method: "DELETE", route: "/v1/tokens/{id}", path: "/v1/tokens/" + tok.ID},
		{method: "POST", route: "/v1/maps", path: "/v1/maps", body: `{"name":"harbour"}`},
		{method: "POST", route: "/v1/maps", path: "/v1/maps", body: `{"name":"harbour"}`},
		{method: "POST", route: "/v1/maps/{map}/devices:batch", path: "/v1/maps/harbour/devices:batch", body: `{"join":["van-1","lorry"]}`},
		{method: "POST", route: "/v1/maps/{map}/devices:batch", path: "/v1/maps/harbour/devices:batch", body: `{"part":["van-1"]}`},
		{method: "POST", route: "/v1/maps/{map}/devices:batch", path: "/v1/maps/harbour/devices:batch", body: `{}`},
		{method: "PUT", route: "/v1/maps/{map}/devices/{device}", path: "/v1/maps/harbour/devices/van-1"},
		{method: "PUT", route: "/v1/maps/{map}/devices/{device}", path: "/v1/maps/harbour/devices/nobody"},
		{method: "DELETE", route: "/v1/maps/{map}/devices/{device}", path: "/v1/maps/harbour/devices/van-1"},
		{method: "PUT", route: "/v1/maps/{map}/viewers/{token}", path: "/v1/maps/harbour/viewers/" + skipper.ID},
		{method: "GET", route: "/v1/maps", path: "/v1/maps?q=harb&limit=5"},
		{method: "GET", route: "/v1/maps", path: "/v1/maps?after=x"},
		{method: "GET", route: "/v1/maps/{map}", path: "/v1/maps/harbour"},
		{method: "GET", route: "/v1/maps/{map}", path: "/v1/maps/port"},
		{method: "DELETE", route: "/v1/maps/{map}/viewers/{token}", path: "/v1/maps/harbour/viewers/" + skipper.ID},
		{method: "DELETE", route: "/v1/maps/{map}/viewers/{token}", path: "/v1/maps/harbour/viewers/" + skipper.ID},
		{method: "DELETE", route: "/v1/maps/{map}", path: "/v1/maps/harbour"},
		{method: "GET", route: "/v1/stream", path: "/v1/stream"},
		{method: "GET", route: "/v1/rpc", path: "/v1/rpc"},
	} {
		called[tc.method+" "+tc.route] = true
		a := h.do(tc.method, tc.path, h.admin, tc.body, tc.header...)
		for _, w := range d.checkAnswer(tc.method, tc.route, a) {
			t.Errorf("%s %s %s: %s", tc.method, tc.path, tc.body, w)
		}
	}
	// resetFloor cannot succeed without a device from the future; its answer is a Device.
	for _, r := range routes {
		if !called[r.method+" "+r.path] {
			t.Errorf("%s %s was not called", r.method, r.path)
		}
	}
}

func (d *document) checkAnswer(method, route string, a answer) []string {
	responses := d.operation(method, route)["responses"].(map[string]any)
	resp, ok := responses[fmt.Sprint(a.status)].(map[string]any)
	if !ok {
		if a.status < 400 {
			return []string{fmt.Sprintf("status %d is not in the document", a.status)}
		}
		resp = d.at("components", "responses", "Problem")
	}
	content, _ := resp["content"].(map[string]any)
	ct, _, _ := strings.Cut(a.header.Get("Content-Type"), ";")
	if content == nil {
		if len(a.body) > 0 {
			return []string{fmt.Sprintf("got a body: %s", a.body)}
		}
		return nil
	}
	media, ok := content[ct].(map[string]any)
	if !ok {
		return []string{fmt.Sprintf("content type %q is not in the document", ct)}
	}
	schema := media["schema"].(map[string]any)
	docs := [][]byte{a.body}
	switch {
	case strings.HasPrefix(ct, "text/"):
		return d.validate("body", schema, string(a.body))
	case ct == "application/x-ndjson":
		docs = bytes.Split(bytes.TrimSpace(a.body), []byte("\n"))
	}
	var wrong []string
	for _, b := range docs {
		var v any
		if err := json.Unmarshal(b, &v); err != nil {
			return []string{err.Error()}
		}
		wrong = append(wrong, d.validate("body", schema, v)...)
	}
	return wrong
}

func TestStreamIsAsTheDocumentSays(t *testing.T) {
	d := readDocument(t)
	h := newHouse(t, nil)
	ids := h.enroll("a", "b")
	h.apply(fixAt(ids[0], 1, 10, 10))
	p := h.dialPeer(h.admin, "", "")
	seen := map[string]bool{}
	read := func(until string) {
		t.Helper()
		for {
			op, b, err := p.frame()
			if err != nil {
				t.Fatal(err)
			}
			if op.IsControl() {
				continue
			}
			var v map[string]any
			if err := json.Unmarshal(b, &v); err != nil {
				t.Fatal(err)
			}
			for _, w := range d.validate("message", d.at("components", "schemas", "StreamMessage"), v) {
				t.Errorf("%s: %s", w, b)
			}
			seen[v["type"].(string)] = true
			if v["type"] == until {
				return
			}
		}
	}
	for _, step := range []struct{ send, until string }{
		{`{"op":"watch","id":1,"bbox":[0,0,20,20]}`, "snapshot"},
		{`{"op":"watch","id":1,"bbox":[0,0,20,20]}`, "error"},
		{`{"op":"area","id":1,"all":true}`, "snapshot"},
		{`{"op":"area","id":1,"bbox":[0,0,20,20]}`, "snapshot"},
		{`{"op":"watch","id":2,"devices":["b"],"epoch":"0123456789abcdef","seq":5}`, "watching"},
		{`{"op":"ping"}`, "pong"},
		{`{"op":"report","id":3,"device":"b","fixes":[{"time":1,"lat":40,"lon":1.5},{"time":"2023-03-01T12:00:00Z","alt_m":5,"speed_mps":1,"course_deg":0,"accuracy_m":2,"battery_pct":99}]}`, "reported"},
		{`{"op":"unwatch","id":2}`, "unwatched"},
	} {
		var v any
		if err := json.Unmarshal([]byte(step.send), &v); err != nil {
			t.Fatal(err)
		}
		for _, w := range d.validate("request", d.at("components", "schemas", "StreamRequest"), v) {
			t.Errorf("%s: %s", step.send, w)
		}
		p.send(step.send)
		read(step.until)
	}
	h.apply(fixAt(ids[0], 2, 11, 11))
	read("fixes")
	h.apply(fixAt(ids[0], 3, 50, 50))
	read("fixes")
	go h.stop()
	read("goodbye")
	for _, s := range []string{"watching", "snapshot", "fixes", "error", "unwatched", "reported", "pong", "goodbye"} {
		if !seen[s] {
			t.Errorf("no message %s was seen", s)
		}
	}
}

func TestResyncIsAsTheDocumentSays(t *testing.T) {
	d := readDocument(t)
	for _, f := range sampleFrames() {
		var v any
		b := appendFrame(nil, f, named("van"))
		if err := json.Unmarshal(b, &v); err != nil {
			t.Fatalf("%v in %s", err, b)
		}
		for _, w := range d.validate("message", d.at("components", "schemas", "StreamMessage"), v) {
			t.Errorf("%s: %s", w, b)
		}
	}
}
