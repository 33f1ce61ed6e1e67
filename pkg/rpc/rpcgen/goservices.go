package main

import (
	"fmt"

	"tracker/pkg/rpc/rpcgen/reflection"
)

const goServicesHead = goHeader + `package %s

import (
	"context"
	"slices"
	"sync"
	"time"

	"tracker/pkg/rpc"
)

// SchemaHash is of everything in the schema that is seen on the wire. It goes into
// HELLO and WELCOME; ends with different ones understand each other all the same.
const SchemaHash uint64 = 0x%016x

// MethodInfo is what the schema says of a method.
type MethodInfo struct {
	ID            uint16 // service << 8 | method
	Service, Name string
	Exec          rpc.Exec
	Batch         bool // async ones that are quick
	Stream        bool
	Idempotent    bool // may be sent again when nobody knows whether it ran
	Policy        rpc.Policy
	Event         uint16 // of a stream
	Timeout       time.Duration // when the caller asks for none; 0: the server's
	Scope         string // who may call: any, member, viewer, admin, device
}

// FullName is Service.Name.
func (m *MethodInfo) FullName() string { return m.Service + "." + m.Name }

// Methods lists all by ascending id.
func Methods() []MethodInfo { return slices.Clone(methods[:]) }

// MethodOf finds a method; its information must not be changed.
func MethodOf(id uint16) (*MethodInfo, bool) {
	i, ok := slices.BinarySearchFunc(methods[:], id, func(m MethodInfo, id uint16) int { return int(m.ID) - int(id) })
	if !ok {
		return nil, false
	}
	return &methods[i], true
}

// Guard is asked before each call, before its body is looked at. Its error is the
// answer. nil lets everybody.
type Guard func(r *rpc.Request, m *MethodInfo) error

func (g Guard) check(r *rpc.Request, m *MethodInfo) error {
	if g == nil {
		return nil
	}
	return g(r, m)
}

// method is what all methods have in common.
func (m *MethodInfo) method() rpc.Method {
	return rpc.Method{Name: m.FullName(), Exec: m.Exec, Batch: m.Batch, Timeout: m.Timeout, Policy: m.Policy}
}

// bodies are for what is copied on, and never grow beyond a usual frame.
var bodies = sync.Pool{New: func() any { return new([]byte) }}

const keepBody = 64 << 10

func putBody(b *[]byte) {
	if cap(*b) <= keepBody {
		bodies.Put(b)
	}
}

func takeBody() *[]byte {
	b := bodies.Get().(*[]byte)
	*b = (*b)[:0]
	return b
}

func callWith[A any](ctx context.Context, c rpc.Caller, id uint16, body *[]byte, read func([]byte) (A, error)) (A, error) {
	out, err := c.Call(ctx, id, *body)
	putBody(body)
	if err != nil {
		var none A
		return none, err
	}
	return read(out)
}

func goWith[A any](ctx context.Context, c rpc.Caller, id uint16, body *[]byte, read func([]byte) (A, error), then func(A, error)) error {
	err := c.Go(ctx, id, *body, func(out []byte, err error) {
		if err != nil {
			var none A
			then(none, err)
			return
		}
		then(read(out))
	})
	putBody(body)
	return err
}

func nextOf[A any](ctx context.Context, s *rpc.Stream, event uint16, read func([]byte) (A, error)) (A, rpc.Event, error) {
	e, err := s.Next(ctx)
	if err == nil && e.Type != event {
		err = rpc.Errorf(rpc.BadBody, "an update of type %%d, not %%d", e.Type, event)
	}
	if err != nil {
		var none A
		return none, e, err
	}
	in, err := read(e.Body)
	return in, e, err
}

// hashText is FNV-1a.
func hashText(b []byte) uint64 {
	h := uint64(0xcbf29ce484222325)
	for _, c := range b {
		h = (h ^ uint64(c)) * 0x100000001b3
	}
	return h
}

`

func goServices(s *Schema, pkg string, hash uint64) ([]byte, error) {
	t := &text{}
	t.p(goServicesHead, pkg, hash)
	goMethods(t, s)
	for _, svc := range s.Services {
		goServer(t, svc)
		goClient(t, svc)
	}
	return t.gofmt()
}

func goMethods(t *text, s *Schema) {
	t.p("// Ids of methods, and of the updates that streams bring.\nconst (")
	n := 0
	for _, svc := range s.Services {
		for _, m := range svc.Methods {
			t.p("%sID uint16 = 0x%04x", m.full(), m.Code())
			if m.Event != nil {
				t.p("%sEvent uint16 = %d", m.full(), m.EventID)
			}
			n++
		}
	}
	t.p(")\n\nvar methods = [%d]MethodInfo{", n)
	for _, svc := range s.Services {
		for _, m := range svc.Methods {
			t.p("{ID: %sID, Service: %q, Name: %q, Exec: rpc.%s%s},", m.full(), svc.Name, m.Name, camel(m.Exec), m.goInfo())
		}
	}
	t.p("}\n")
}

// full is the method's name in Go.
func (m *Method) full() string { return m.Service.Name + m.Name }

func (m *Method) goInfo() (s string) {
	if m.Batch {
		s += ", Batch: true"
	}
	if m.Event != nil {
		s += fmt.Sprintf(", Stream: true, Policy: rpc.%s, Event: %sEvent", camel(m.Policy), m.full())
	}
	if m.Idempotent {
		s += ", Idempotent: true"
	}
	if m.TimeoutMs > 0 {
		s += fmt.Sprintf(", Timeout: %d * time.Millisecond", m.TimeoutMs)
	}
	return s + fmt.Sprintf(", Scope: %q", m.Scope)
}

func goServer(t *text, s *Service) {
	t.p("// %sServer answers the methods of %s. Nothing of a request may be kept after its\n// method returned; unary methods append their answer to out.", s.Name, s.Name)
	if len(s.Doc) > 0 {
		t.p("//")
		t.doc("", "", s.Doc)
	}
	t.p("type %sServer interface {", s.Name)
	for _, m := range s.Methods {
		t.doc("\t", "", m.Doc)
		if m.Event != nil {
			t.p("\t%s(r *rpc.Request, in %s, s %sPublisher) error", m.Name, m.Request.Name, m.full())
		} else {
			t.p("\t%s(r *rpc.Request, in %s, out []byte) ([]byte, error)", m.Name, m.Request.Name)
		}
	}
	t.p("}\n")
	for _, m := range s.Methods {
		goKeyer(t, m)
		goPublisher(t, m)
	}
	t.p("// Register%s has s answer the methods of %s with impl. Call it before s serves.", s.Name, s.Name)
	t.p("func Register%s(s *rpc.Server, impl %sServer, guard Guard) {", s.Name, s.Name)
	for _, m := range s.Methods {
		t.p("s.Handle(%sID, method%s(impl, guard))", m.full(), m.full())
	}
	t.p("}\n")
	for _, m := range s.Methods {
		goRegister(t, m)
	}
}

func goKeyer(t *text, m *Method) {
	if m.Key == nil {
		return
	}
	t.p("// %sKeyer may be implemented by a %sServer that knows better which queue a\n// request belongs to than its field %s says. It must not block.", m.Name, m.Service.Name, m.Key.Name)
	t.p("type %sKeyer interface {\n%sKey(r *rpc.Request, in %s) uint64\n}\n", m.Name, m.Name, m.Request.Name)
}

func goPublisher(t *text, m *Method) {
	if m.Event == nil {
		return
	}
	name := m.full() + "Publisher"
	t.p("// %s is the server's end of a %s.%s.\ntype %s struct{ *rpc.Subscription }\n", name, m.Service.Name, m.Name, name)
	t.p(`// Answer accepts the subscription. Updates from before would be lost.
func (p %[1]s) Answer(t *%[2]sT) error {
	body := takeBody()
	*body = Append%[2]s(*body, t)
	err := p.Accept(*body)
	putBody(body)
	return err
}

// Send publishes t; see rpc.Subscription.Publish.
func (p %[1]s) Send(key uint64, t *%[3]sT) error {
	body := takeBody()
	*body = Append%[3]s(*body, t)
	err := p.Publish(key, %[4]sEvent, *body)
	putBody(body)
	return err
}
`, name, m.Response.Name, m.Event.Name, m.full())
}

func goRegister(t *text, m *Method) {
	t.p("func method%[1]s(impl %[2]sServer, guard Guard) rpc.Method {\ninfo, _ := MethodOf(%[1]sID)\nm := info.method()", m.full(), m.Service.Name)
	if m.Key != nil {
		goKey(t, m)
	}
	if m.Event != nil {
		t.p(`m.Stream = func(r *rpc.Request, s *rpc.Subscription) error {
	if err := guard.check(r, info); err != nil {
		return err
	}
	in, err := Read%s(r.Body)
	if err != nil {
		return err
	}
	return impl.%s(r, in, %sPublisher{s})
}`, m.Request.Name, m.Name, m.full())
	} else {
		t.p(`m.Handle = func(r *rpc.Request, out []byte) ([]byte, error) {
	if err := guard.check(r, info); err != nil {
		return out, err
	}
	in, err := Read%s(r.Body)
	if err != nil {
		return out, err
	}
	return impl.%s(r, in, out)
}`, m.Request.Name, m.Name)
	}
	t.p("return m\n}\n")
}

func goKey(t *text, m *Method) {
	key := fmt.Sprintf("uint64(in.%s())", camel(m.Key.Name))
	if m.Key.Type.Base == reflection.BaseTypeString {
		key = fmt.Sprintf("hashText(in.%s())", camel(m.Key.Name))
	}
	t.p(`keyer, _ := impl.(%[1]sKeyer)
m.Key = func(r *rpc.Request) uint64 {
	in, err := Read%[2]s(r.Body)
	if err != nil {
		return 0 // and refused when its turn comes
	}
	if keyer != nil {
		return keyer.%[1]sKey(r, in)
	}
	return %[3]s
}`, m.Name, m.Request.Name, key)
}

func goClient(t *text, s *Service) {
	t.p("// %sClient calls the methods of %s. Its answers belong to the caller, except that\n// the Async methods' are good only until then returns, which must not block.", s.Name, s.Name)
	t.p("type %sClient struct{ Caller rpc.Caller }\n", s.Name)
	for _, m := range s.Methods {
		if m.Event != nil {
			goStream(t, m)
		} else {
			goCall(t, m)
		}
	}
}

func goCallDoc(t *text, m *Method) {
	t.p("// %s calls %s.%s.", m.Name, m.Service.Name, m.Name)
	if len(m.Doc) > 0 {
		t.p("//")
		t.doc("", "", m.Doc)
	}
}

func goCall(t *text, m *Method) {
	goCallDoc(t, m)
	t.p(`func (c %[1]sClient) %[2]s(ctx context.Context, in *%[3]sT) (%[4]s, error) {
	body := takeBody()
	*body = Append%[3]s(*body, in)
	return callWith(ctx, c.Caller, %[1]s%[2]sID, body, Read%[4]s)
}

// %[2]sAsync is %[2]s without waiting.
func (c %[1]sClient) %[2]sAsync(ctx context.Context, in *%[3]sT, then func(%[4]s, error)) error {
	body := takeBody()
	*body = Append%[3]s(*body, in)
	return goWith(ctx, c.Caller, %[1]s%[2]sID, body, Read%[4]s, then)
}
`, m.Service.Name, m.Name, m.Request.Name, m.Response.Name)
}

func goStream(t *text, m *Method) {
	goCallDoc(t, m)
	t.p(`func (c %[1]sClient) %[2]s(ctx context.Context, in *%[3]sT) (*%[1]s%[2]sStream, error) {
	body := takeBody()
	*body = Append%[3]s(*body, in)
	s, err := c.Caller.Subscribe(ctx, %[1]s%[2]sID, *body)
	putBody(body)
	if err != nil {
		return nil, err
	}
	return &%[1]s%[2]sStream{s}, nil
}

// %[1]s%[2]sStream is the calling end of a %[1]s.%[2]s.
type %[1]s%[2]sStream struct{ *rpc.Stream }

// Ack is the server's answer.
func (s *%[1]s%[2]sStream) Ack() (%[4]s, error) { return Read%[4]s(s.Answer()) }

// Next waits for an update; see rpc.Stream.Next.
func (s *%[1]s%[2]sStream) Next(ctx context.Context) (%[5]s, rpc.Event, error) {
	return nextOf(ctx, s.Stream, %[1]s%[2]sEvent, Read%[5]s)
}
`, m.Service.Name, m.Name, m.Request.Name, m.Response.Name, m.Event.Name)
}
