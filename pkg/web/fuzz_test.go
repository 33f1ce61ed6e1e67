package web

import (
	"net/url"
	"strings"
	"testing"

	"tracker/pkg/engine"
	"tracker/pkg/hub"
)

func FuzzRoute(f *testing.F) {
	for _, r := range routes {
		f.Add(r.method, r.path, "limit=1")
	}
	f.Add("GET", "/v1/devices/%2e%2e%2Fx", "device=a&device=b")
	f.Add("GET", "/v1/devices/%zz", "%zz=%")
	f.Fuzz(func(t *testing.T, method, path, query string) {
		r, variable, allowed := match(method, path)
		if r == nil {
			return
		}
		if len(allowed) > 0 || strings.Contains(r.path, "{") == (variable[0] == "") || (strings.Count(r.path, "{") > 1) == (variable[1] == "") {
			t.Fatalf("%s %s: got route %s with %q", method, path, r.path, variable)
		}
		// The path that the route and the variable stand for leads to the same place.
		again := r.path
		for _, v := range variable {
			if i := strings.IndexByte(again, '{'); i >= 0 {
				again = again[:i] + strings.ReplaceAll(url.PathEscape(v), "{", "%7B") + again[strings.IndexByte(again, '}')+1:]
			}
		}
		if back, v, _ := match(method, again); back != r || v != variable {
			t.Fatalf("%q became %q", path, again)
		}
		q, err := parseQuery([]byte(query), r.params)
		if err != nil {
			return
		}
		for name := range q {
			if !strings.Contains(" "+strings.Join(r.params, " ")+" ", " "+name+" ") {
				t.Fatalf("%s: took the parameter %q", r.path, name)
			}
		}
	})
}

func FuzzRequestOfASession(f *testing.F) {
	for _, s := range []string{
		`{"op":"watch","id":1,"all":true}`, `{"op":"watch","id":1,"devices":["a"]}`, `{"op":"area","id":-1,"bbox":[1,2,3,4]}`,
		`{"op":"watch","id":1,"map":"harbour"}`,
		`{"op":"watch","id":1,"bbox":[0,170,1,-170],"epoch":"0123456789abcdef","seq":5}`, `{"op":"unwatch","id":9}`, `{"op":"ping"}`,
	} {
		f.Add([]byte(s))
	}
	e, err := engine.New(f.Context(), engine.Config{}, &memory{})
	if err != nil {
		f.Fatal(err)
	}
	s := &session{w: New(Config{}, e), who: engine.Identity{Role: engine.RoleViewer}}
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := s.parse(b)
		if err != nil {
			if _, _, known := explain(err); !known {
				t.Fatalf("%q: %v is not in the table", b, err)
			}
			return
		}
		if a.op == "watch" || a.op == "area" {
			if q := a.query; q.Kind != hub.KindAll && q.Kind != hub.KindBox && q.Kind != hub.KindDevices && q.Kind != hub.KindMap {
				t.Fatalf("%q: got %+v", b, q)
			}
		}
	})
}
