package client

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"tracker/pkg/rpc"
	"tracker/pkg/wire/trk"
)

// suite is what every client can ask of a server, and what it must hear. The file says
// how it is read; the TypeScript client runs the same.
type suite struct {
	Cases []suiteCase
}

type suiteCase struct {
	Name      string
	Method    string
	Request   any
	As        string
	TimeoutMs int `json:"timeout_ms"`
	During    []suiteCase
	Save      map[string]string
	Expect    struct {
		Status, Reason, Field string
		Fields                any
		Events                []any
		Frames                []suiteFrame
		Ends                  string
	}
}

type suiteFrame struct {
	Kind        uint8
	Fixes       int
	Names       string
	First, Last any
}

func TestSuiteOfAllClients(t *testing.T) {
	b, err := os.ReadFile("../../testdata/rpc/suite.json")
	if err != nil {
		t.Fatal(err)
	}
	var all suite
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	h := newHouse(t, nil)
	r := &suiteRunner{h: h, now: time.Now().UnixMilli(), saved: map[string]any{"token": h.admin}}
	boss, err := r.dial(h.admin)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = boss.Close() })
	for _, c := range all.Cases {
		t.Run(c.Name, func(t *testing.T) { r.run(t, boss, c) })
	}
}

type suiteRunner struct {
	h     *house
	now   int64
	saved map[string]any
}

func (r *suiteRunner) dial(token string) (*rpc.Client, error) {
	nc, err := net.Dial("tcp", r.h.tcp)
	if err != nil {
		return nil, err
	}
	hello := rpc.Hello{Client: "suite", SchemaHash: trk.SchemaHash, AuthKind: rpc.AuthBearer, Auth: []byte(token)}
	return rpc.NewClient(context.Background(), nc, rpc.ClientConfig{Hello: hello})
}

func (r *suiteRunner) run(t *testing.T, boss *rpc.Client, c suiteCase) {
	t.Helper()
	on := boss
	if c.As != "" {
		other, err := r.dial(r.fill(t, c.As).(string))
		if err != nil {
			r.failed(t, c, err)
			return
		}
		defer other.Close()
		on = other
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(cmp.Or(c.TimeoutMs, 30_000))*time.Millisecond)
	defer cancel()
	out, err := r.ask(t, ctx, on, c)
	if err != nil {
		r.failed(t, c, err)
		return
	}
	var stream reflect.Value
	answer := out
	if ack := out.MethodByName("Ack"); ack.IsValid() {
		stream = out
		answer = results(t, ack.Call(nil))
	}
	got := unpack(t, answer)
	if c.Expect.Status != "" {
		t.Fatalf("%s: got %v, want %s", c.Name, got, c.Expect.Status)
	}
	if c.Expect.Fields != nil {
		match(t, got, r.fill(t, c.Expect.Fields), c.Name)
	}
	for name, path := range c.Save {
		r.saved[name] = at(got, path)
	}
	if stream.IsValid() {
		r.stream(t, ctx, boss, c, stream)
	}
}

// ask calls the method of the generated client by its name.
func (r *suiteRunner) ask(t *testing.T, ctx context.Context, c rpc.Caller, k suiteCase) (reflect.Value, error) {
	t.Helper()
	services := map[string]any{
		"Session": trk.SessionClient{Caller: c}, "Positions": trk.PositionsClient{Caller: c}, "Watch": trk.WatchClient{Caller: c},
		"Devices": trk.DevicesClient{Caller: c}, "Tokens": trk.TokensClient{Caller: c}, "Publish": trk.PublishClient{Caller: c},
		"Status": trk.StatusClient{Caller: c}, "Maps": trk.MapsClient{Caller: c}, "Example": trk.ExampleClient{Caller: c},
	}
	service, name, _ := strings.Cut(k.Method, ".")
	m := reflect.ValueOf(services[service]).MethodByName(name)
	if !m.IsValid() {
		t.Fatalf("no method %s", k.Method)
	}
	in := reflect.New(m.Type().In(1).Elem())
	text, err := json.Marshal(r.fill(t, k.Request))
	if err == nil {
		err = json.Unmarshal(text, in.Interface())
	}
	if err != nil {
		t.Fatal(err)
	}
	out := m.Call([]reflect.Value{reflect.ValueOf(ctx), in})
	if err, _ := out[1].Interface().(error); err != nil {
		return reflect.Value{}, err
	}
	return out[0], nil
}

func (r *suiteRunner) failed(t *testing.T, c suiteCase, err error) {
	t.Helper()
	var e *rpc.Error
	if !errors.As(err, &e) {
		e = &rpc.Error{Status: rpc.StatusOf(err)}
	}
	if got := e.Status.String(); got != c.Expect.Status {
		t.Fatalf("got %v, want %q", err, c.Expect.Status)
	}
	if want := c.Expect.Reason; want != "" && e.Reason != want {
		t.Errorf("got the reason %q, want %q", e.Reason, want)
	}
	if want := c.Expect.Field; want != "" && e.Field != want {
		t.Errorf("got the field %q, want %q", e.Field, want)
	}
}

func (r *suiteRunner) stream(t *testing.T, ctx context.Context, boss *rpc.Client, c suiteCase, s reflect.Value) {
	t.Helper()
	next := func() (any, error) {
		out := s.MethodByName("Next").Call([]reflect.Value{reflect.ValueOf(ctx)})
		if err, _ := out[len(out)-1].Interface().(error); err != nil {
			return nil, err
		}
		return unpack(t, out[0]), nil
	}
	frames := c.Expect.Frames
	// A watch begins with a snapshot: what happens meanwhile comes after it.
	if len(frames) > 0 && frames[0].Kind == uint8(trk.FrameKindSnapshot) {
		r.frames(t, next, frames[:1])
		frames = frames[1:]
	}
	for _, d := range c.During {
		t.Run(d.Name, func(t *testing.T) { r.run(t, boss, d) })
	}
	for i, want := range c.Expect.Events {
		got, err := next()
		if err != nil {
			t.Fatal(err)
		}
		match(t, got, r.fill(t, want), fmt.Sprintf("%s, event %d", c.Name, i))
	}
	r.frames(t, next, frames)
	if c.Expect.Ends == "" {
		s.MethodByName("Close").Call(nil)
		return
	}
	got, err := next()
	if err == nil || errors.Is(err, io.EOF) != (c.Expect.Ends == "ok") {
		t.Errorf("ended with %v, %v, want %s", got, err, c.Expect.Ends)
	}
}

// frames reads as many frames as it takes to have all fixes, for they may be cut anywhere.
func (r *suiteRunner) frames(t *testing.T, next func() (any, error), wants []suiteFrame) {
	t.Helper()
	for _, want := range wants {
		var fixes []any
		for more := true; more; {
			got, err := next()
			if err != nil {
				t.Fatal(err)
			}
			f := got.(map[string]any)
			if want.Kind != 0 && f["kind"] != float64(want.Kind) {
				t.Fatalf("got %v, want kind %d", f, want.Kind)
			}
			for _, name := range f["names"].([]any) {
				if want.Names != "" && name != want.Names {
					t.Errorf("got the name %v, want %s", name, want.Names)
				}
			}
			fixes = append(fixes, f["fixes"].([]any)...)
			more = len(fixes) < want.Fixes || f["more"] == true
		}
		if len(fixes) != want.Fixes {
			t.Fatalf("got %d fixes, want %d", len(fixes), want.Fixes)
		}
		if want.First != nil {
			match(t, fixes[0], r.fill(t, want.First), "first")
		}
		if want.Last != nil {
			match(t, fixes[len(fixes)-1], r.fill(t, want.Last), "last")
		}
	}
}

// fill puts what was saved in the place of its name.
func (r *suiteRunner) fill(t *testing.T, v any) any {
	t.Helper()
	switch v := v.(type) {
	case string:
		name, ok := strings.CutPrefix(v, "$")
		if !ok {
			return v
		}
		if by, ok := strings.CutPrefix(name, "now"); ok {
			n, _ := strconv.ParseInt(cmp.Or(by, "0"), 10, 64)
			return float64(r.now + n)
		}
		if r.saved[name] == nil {
			t.Fatalf("nothing was saved as %s", v)
		}
		return r.saved[name]
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = r.fill(t, v[i])
		}
		return out
	case map[string]any:
		out := map[string]any{}
		for k := range v {
			out[k] = r.fill(t, v[k])
		}
		return out
	}
	return v
}

// results is what a method returned beside its error.
func results(t *testing.T, out []reflect.Value) reflect.Value {
	t.Helper()
	if err, _ := out[len(out)-1].Interface().(error); err != nil {
		t.Fatal(err)
	}
	return out[0]
}

// unpack makes of a table what JSON would be read as, by the names of the schema.
func unpack(t *testing.T, table reflect.Value) any {
	t.Helper()
	at := reflect.New(table.Type())
	at.Elem().Set(table)
	text, err := json.Marshal(at.MethodByName("UnPack").Call(nil)[0].Interface())
	var got any
	if err == nil {
		err = json.Unmarshal(text, &got)
	}
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func at(v any, path string) any {
	for part := range strings.SplitSeq(path, ".") {
		if list, ok := v.([]any); ok {
			i, _ := strconv.Atoi(part)
			v = list[i]
		} else {
			v = v.(map[string]any)[part]
		}
	}
	return v
}

// match compares as far as want names things.
func match(t *testing.T, got, want any, path string) {
	t.Helper()
	switch want := want.(type) {
	case nil:
		if got != nil {
			t.Errorf("%s: got %v, want nothing", path, got)
		}
	case string:
		if want == "*" && got != nil && got != "" && got != 0.0 && got != false || got == any(want) {
			return
		}
		t.Errorf("%s: got %v, want %s", path, got, want)
	case []any:
		list, _ := got.([]any)
		if len(list) != len(want) {
			t.Errorf("%s: got %v, want %v", path, got, want)
			return
		}
		for i := range want {
			match(t, list[i], want[i], fmt.Sprintf("%s.%d", path, i))
		}
	case map[string]any:
		members, ok := got.(map[string]any)
		if !ok {
			t.Errorf("%s: got %v, want %v", path, got, want)
		}
		for k := range want {
			match(t, members[k], want[k], path+"."+k)
		}
	default:
		if got != want {
			t.Errorf("%s: got %v, want %v", path, got, want)
		}
	}
}
