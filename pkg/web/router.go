package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"tracker/pkg/engine"
	"tracker/pkg/track"
)

// access says who may come in by a route.
type access uint8

const (
	everybody access = iota
	members          // any token: each is shown what is theirs
	viewers          // any token but that of a member
	admins
	scrapers // as Config.OpenMetrics says
)

// route is one line of the API.
type route struct {
	method string
	path   string // {…} stands for one segment, unescaped
	who    access
	params []string // of the query; others are refused
	serve  func(*Web, *request) error
}

// routes is all that this door serves; openapi.json says the same in more words.
var routes = []route{
	{"GET", "/", everybody, nil, (*Web).root},
	{"GET", "/d", everybody, nil, (*Web).enrolmentPage},
	{"GET", "/healthz", everybody, nil, (*Web).healthz},
	{"GET", "/readyz", everybody, nil, (*Web).readyz},
	{"GET", "/metrics", scrapers, nil, (*Web).metrics},
	{"GET", "/v1/openapi.json", everybody, nil, (*Web).openAPI},
	{"GET", "/v1/status", viewers, nil, (*Web).status},
	{"GET", "/v1/devices", viewers, []string{"q", "limit", "after"}, (*Web).listDevices},
	{"POST", "/v1/devices", admins, nil, (*Web).enroll},
	{"POST", batchPath, admins, nil, (*Web).enrollBatch},
	{"GET", "/v1/devices/{device}", viewers, nil, (*Web).showDevice},
	{"PATCH", "/v1/devices/{device}", admins, nil, (*Web).renameDevice},
	{"DELETE", "/v1/devices/{device}", admins, nil, (*Web).revokeDevice},
	{"POST", "/v1/devices/{device}/rotate", admins, nil, (*Web).rotateDevice},
	{"POST", "/v1/devices/{device}/reset-floor", admins, nil, (*Web).resetFloor},
	{"GET", "/v1/positions", viewers, []string{"device", "bbox", "limit", "after"}, (*Web).positions},
	{"GET", "/v1/near", viewers, []string{"at", "within", "limit"}, (*Web).near},
	{"GET", "/v1/history/{device}", viewers, []string{"from", "to", "limit", "after", "heartbeats"}, (*Web).history},
	{"GET", "/v1/tokens", admins, nil, (*Web).listTokens},
	{"POST", "/v1/tokens", admins, nil, (*Web).createToken},
	{"DELETE", "/v1/tokens/{id}", admins, nil, (*Web).revokeToken},
	{"GET", "/v1/maps", members, []string{"q", "limit", "after"}, (*Web).listMaps},
	{"POST", "/v1/maps", admins, nil, (*Web).createMap},
	{"GET", "/v1/maps/{map}", members, nil, (*Web).showMap},
	{"DELETE", "/v1/maps/{map}", admins, nil, (*Web).deleteMap},
	{"POST", "/v1/maps/{map}/devices:batch", admins, nil, (*Web).changeMembers},
	{"PUT", "/v1/maps/{map}/devices/{device}", admins, nil, (*Web).joinMap},
	{"DELETE", "/v1/maps/{map}/devices/{device}", admins, nil, (*Web).partMap},
	{"PUT", "/v1/maps/{map}/viewers/{token}", admins, nil, (*Web).grantMap},
	{"DELETE", "/v1/maps/{map}/viewers/{token}", admins, nil, (*Web).ungrantMap},
	{"GET", "/v1/stream", members, nil, (*Web).stream},
	{"GET", "/v1/rpc", everybody, nil, (*Web).rpc},
}

const batchPath = "/v1/devices:batch"

// match finds the route of a request. With a path that exists and a method that does
// not, it returns the methods that do.
func match(method, path string) (r *route, variable [2]string, allowed []string) {
	for i := range routes {
		v, ok := fits(routes[i].path, path)
		if !ok {
			continue
		}
		if routes[i].method == method || method == fasthttp.MethodHead && routes[i].method == fasthttp.MethodGet {
			return &routes[i], v, nil
		}
		allowed = append(allowed, routes[i].method)
	}
	return nil, variable, allowed
}

// fits compares a path, still escaped, with a pattern of at most two variables.
func fits(pattern, path string) (variable [2]string, ok bool) {
	for n := 0; ; {
		p, patternRest, patternMore := strings.Cut(pattern, "/")
		s, pathRest, pathMore := strings.Cut(path, "/")
		if patternMore != pathMore {
			return variable, false
		}
		if strings.HasPrefix(p, "{") {
			v, err := url.PathUnescape(s)
			if err != nil || v == "" {
				return variable, false
			}
			variable[n] = v
			n++
		} else if p != s {
			return variable, false
		}
		if !patternMore {
			return variable, true
		}
		pattern, path = patternRest, pathRest
	}
}

// request is one question on its way through the door.
type request struct {
	http     *fasthttp.RequestCtx
	ctx      context.Context // ends with the server, or when the answer is long overdue
	id       string
	who      engine.Identity
	variable string // what stood for {…} in the path
	second   string // and for the second {…}
	query    url.Values
}

// handle serves one request, whatever happens inside.
func (w *Web) handle(ctx *fasthttp.RequestCtx) {
	began := time.Now()
	life, cancel := context.WithTimeout(w.life, w.cfg.WriteTimeout)
	defer cancel()
	rq := &request{http: ctx, ctx: life, id: w.nextID()}
	name := "none"
	defer func() {
		if p := recover(); p != nil {
			w.log.Error("panic", "request", rq.id, "err", p, "stack", string(debug.Stack()))
			w.fail(rq, fmt.Errorf("panic: %v", p))
		}
		w.stats.request(name, ctx.Response.StatusCode(), time.Since(began))
	}()
	ctx.Response.Header.Set("X-Request-Id", rq.id)
	ctx.Response.Header.Set("X-Content-Type-Options", "nosniff")
	ctx.Response.Header.Set("Cache-Control", "no-store")
	r, variable, allowed := match(string(ctx.Method()), string(ctx.URI().PathOriginal()))
	if r == nil {
		w.fail(rq, w.noRoute(rq, allowed))
		return
	}
	name, rq.variable, rq.second = r.path, variable[0], variable[1]
	err := w.admit(rq, r)
	if err == nil {
		rq.query, err = parseQuery(ctx.URI().QueryString(), r.params)
	}
	if err == nil {
		err = r.serve(w, rq)
	}
	if err != nil {
		w.fail(rq, err)
	}
}

func (w *Web) noRoute(rq *request, allowed []string) error {
	if len(allowed) == 0 {
		return fmt.Errorf("path %q: %w", rq.http.URI().PathOriginal(), track.ErrNotFound)
	}
	rq.http.Response.Header.Set("Allow", strings.Join(allowed, ", "))
	return fmt.Errorf("%s %s: %w, which takes %s", rq.http.Method(), rq.http.URI().PathOriginal(), errMethod, strings.Join(allowed, ", "))
}

// admit lets a request through a route, or says why not.
func (w *Web) admit(rq *request, r *route) error {
	if r.who == everybody || r.who == scrapers && w.mayScrape(rq) {
		return nil
	}
	who, err := w.identify(&rq.http.Request.Header)
	if err != nil {
		return err
	}
	if c, ok := rq.http.Conn().(*conn); ok {
		c.admit()
	}
	if r.who == admins && who.Role != engine.RoleAdmin || r.who != members && who.Role == engine.RoleMember {
		return fmt.Errorf("the token %q is that of a %s: %w", who.Name, who.Role, track.ErrDenied)
	}
	rq.who = who
	return nil
}

func (w *Web) mayScrape(rq *request) bool {
	if w.cfg.OpenMetrics {
		return true
	}
	tcp, ok := rq.http.RemoteAddr().(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback() && len(rq.http.Request.Header.Peek("X-Forwarded-For")) == 0
}

// identify finds out who bears the token of a request.
func (w *Web) identify(h *fasthttp.RequestHeader) (engine.Identity, error) {
	scheme, token, _ := strings.Cut(string(h.Peek("Authorization")), " ")
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return engine.Identity{}, fmt.Errorf("a token is needed: %w", errUnauthenticated)
	}
	who, err := w.engine.Authenticate(strings.TrimSpace(token))
	if err != nil {
		w.stats.badTokens.Add(1)
		return engine.Identity{}, fmt.Errorf("the token is unknown, expired or revoked: %w", errUnauthenticated)
	}
	return who, nil
}

// admitBody runs when the headers of a request have arrived and nothing else has. A
// body is read only for those who may send one, so it is here that strangers stop.
func (w *Web) admitBody(h *fasthttp.RequestHeader) fasthttp.RequestConfig {
	none := fasthttp.RequestConfig{MaxRequestBodySize: 1} // 0 would mean the default
	if h.ContentLength() == 0 {
		return none
	}
	who, err := w.identify(h)
	if err != nil {
		return none
	}
	allow := fasthttp.RequestConfig{MaxRequestBodySize: maxBody, ReadTimeout: 6 * w.cfg.HeaderTimeout}
	if who.Role == engine.RoleAdmin && isBatch(string(h.RequestURI())) {
		allow.MaxRequestBodySize = maxBatchBody
	}
	return allow
}

// expect tells a client that asked first whether to send its body.
func (w *Web) expect(ctx *fasthttp.RequestCtx) int {
	h := &ctx.Request.Header
	if h.ContentLength() <= w.admitBody(h).MaxRequestBodySize {
		return fasthttp.StatusContinue
	}
	w.refuse(ctx, fasthttp.ErrBodyTooLarge)
	return ctx.Response.StatusCode()
}

// refuse answers what never became a request.
func (w *Web) refuse(ctx *fasthttp.RequestCtx, err error) {
	rq := &request{http: ctx, id: w.nextID()}
	ctx.Response.Header.Set("X-Request-Id", rq.id)
	var small *fasthttp.ErrSmallBuffer
	var line net.Error
	switch {
	case errors.As(err, &small):
		err = errHeaders
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		err = fmt.Errorf("the body is %w", errTooLarge)
		if _, denied := w.identify(&ctx.Request.Header); denied != nil {
			err = denied
		}
	case errors.As(err, &line) && line.Timeout():
		err = errTimeout
	default:
		err = fmt.Errorf("not an HTTP request: %w", track.ErrInvalid)
	}
	if c, ok := ctx.Conn().(*conn); ok {
		c.unread.Store(true)
	}
	w.fail(rq, err)
	w.stats.request("none", ctx.Response.StatusCode(), 0)
}

// fail answers with an error.
func (w *Web) fail(rq *request, err error) {
	f, message, known := explain(err)
	if !known {
		w.log.Error("request failed", "request", rq.id, "method", string(rq.http.Method()), "path", string(rq.http.Path()), "err", err)
	}
	rq.http.Response.ResetBody()
	body := append(appendProblem([]byte(`{"error":`), f, message, rq.id), '}', '\n')
	rq.reply(f.status, body)
	if f.status == fasthttp.StatusUnauthorized {
		rq.http.Response.Header.Set("WWW-Authenticate", "Bearer")
		rq.http.SetConnectionClose() // strangers get one try a connection
	}
}

func (w *Web) nextID() string {
	return w.boot + "-" + strconv.FormatUint(w.requests.Add(1), 10)
}

// reply sends a body of JSON, which it keeps.
func (rq *request) reply(status int, body []byte) {
	rq.http.SetStatusCode(status)
	rq.http.SetContentType("application/json")
	rq.http.Response.SetBodyRaw(body)
}

// replyJSON sends v, for answers of which there are few.
func (rq *request) replyJSON(status int, v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	rq.reply(status, b.Bytes())
	return nil
}

// readJSON reads the body into v.
func (rq *request) readJSON(v any) error {
	if err := decodeStrict(rq.http.Request.Body(), v); err != nil {
		return fmt.Errorf("body: %v: %w", err, track.ErrInvalid)
	}
	return nil
}

// decodeStrict reads exactly one JSON value, with no member that v lacks: a
// misspelt one must not go unnoticed.
func decodeStrict(b []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	err := dec.Decode(v)
	if errors.Is(err, io.EOF) {
		return errors.New("it is empty")
	}
	if err != nil {
		return err
	}
	if _, more := dec.Token(); !errors.Is(more, io.EOF) {
		return errors.New("something follows the JSON value")
	}
	return nil
}

// parseQuery reads the query and refuses what the route does not know: a misspelt
// filter must not answer with everything.
func parseQuery(raw []byte, known []string) (url.Values, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	q, err := url.ParseQuery(string(raw))
	if err != nil {
		return nil, fmt.Errorf("query: %v: %w", err, track.ErrInvalid)
	}
	for name, values := range q {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("parameter %q: unknown here (known: %s): %w", name, orNone(known), track.ErrInvalid)
		}
		if len(values) > 1 && name != "device" {
			return nil, fmt.Errorf("parameter %q: given twice: %w", name, track.ErrInvalid)
		}
	}
	return q, nil
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// limit reads the parameter limit.
func (rq *request) limit(def, most int) (int, error) {
	s := rq.query.Get("limit")
	if s == "" {
		return def, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		return 0, fmt.Errorf("limit %q: want 1..%d: %w", s, most, track.ErrInvalid)
	}
	return engine.Limit(&n, def, most)
}
