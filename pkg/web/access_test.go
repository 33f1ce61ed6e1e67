package web

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"tracker/pkg/engine"
	"tracker/pkg/geo"
	"tracker/pkg/hub"
	"tracker/pkg/track"
)

// ofMembers is all that the token of a member opens, beside what is open to everybody.
// Whoever adds a route to it has thought about what it shows.
var ofMembers = []string{"GET /v1/maps", "GET /v1/maps/{map}", "GET /v1/stream"}

// TestEveryRouteKnowsItsRoles walks all routes as everybody. A route that nobody thought
// of is closed to members, and to viewers unless it only reads.
func TestEveryRouteKnowsItsRoles(t *testing.T) {
	h := newHouse(t, nil)
	tokens := map[string]string{"admin": h.admin, "viewer": h.viewer, "member": h.token("skipper", engine.RoleMember), "nobody": ""}
	for i := range routes {
		r := &routes[i]
		name := r.method + " " + r.path
		for who, token := range tokens {
			allowed := true
			switch {
			case r.who == everybody || r.who == scrapers:
			case who == "nobody":
				allowed = false
			case who == "member":
				allowed = slices.Contains(ofMembers, name)
			case who == "viewer":
				allowed = r.method == http.MethodGet && r.path != "/v1/tokens"
			}
			a := h.do(r.method, strings.NewReplacer("{map}", "x", "{device}", "x", "{id}", "x", "{token}", "x").Replace(r.path), token, "")
			denied := a.status == http.StatusUnauthorized || a.status == http.StatusForbidden
			if who == "member" && r.path == "/v1/maps/{map}" && a.status == http.StatusForbidden && allowed {
				denied = false // by the handler: the map is not theirs
			}
			if denied == allowed {
				t.Errorf("%s as %s: got %d %s, want allowed %v", name, who, a.status, a.body, allowed)
			}
		}
	}
}

// TestMembersWatchTheirMapsOnly asks for every kind of watch as everybody.
func TestMembersWatchTheirMapsOnly(t *testing.T) {
	h := newHouse(t, nil)
	h.enroll("van")
	ctx := t.Context()
	tok, secret, err := h.engine.CreateToken(ctx, "skipper", engine.RoleMember, 0)
	for _, name := range []string{"theirs", "other"} {
		_, bad := h.engine.CreateMap(ctx, name)
		err = errors.Join(err, bad)
	}
	if err = errors.Join(err, h.engine.GrantMap(ctx, "theirs", tok.ID)); err != nil {
		t.Fatal(err)
	}
	who := map[string]string{"admin": h.admin, "viewer": h.viewer, "member": secret}
	for name, token := range who {
		id, err := h.engine.Authenticate(token)
		if err != nil {
			t.Fatal(err)
		}
		s := &session{w: h.web, who: id}
		for _, m := range []struct {
			text string
			kind hub.Kind
			open bool // to members
		}{
			{`{"op":"watch","id":1,"all":true}`, hub.KindAll, false},
			{`{"op":"watch","id":1,"bbox":[0,0,1,1]}`, hub.KindBox, false},
			{`{"op":"watch","id":1,"devices":["van"]}`, hub.KindDevices, false},
			{`{"op":"area","id":1,"all":true}`, hub.KindAll, false},
			{`{"op":"area","id":1,"map":"other"}`, hub.KindMap, false},
			{`{"op":"watch","id":1,"map":"other"}`, hub.KindMap, false},
			{`{"op":"watch","id":1,"map":"theirs"}`, hub.KindMap, true},
			{`{"op":"area","id":1,"map":"theirs"}`, hub.KindMap, true},
		} {
			a, err := s.parse([]byte(m.text))
			if want := name != "member" || m.open; (err == nil) != want || err == nil && a.query.Kind != m.kind || err != nil && !errors.Is(err, track.ErrDenied) {
				t.Errorf("%s as %s: got %v %v, want allowed %v", m.text, name, a.query.Kind, err, want)
			}
		}
		for _, kind := range []hub.Query{hub.All(), hub.Devices(1), hub.Box(geo.World), hub.Map(1)} {
			err := h.engine.MayWatch(&engine.Identity{Role: "operator", Name: "x"}, &kind)
			if err == nil {
				t.Errorf("a role that is none may watch %v", kind.Kind)
			}
		}
	}
}
