package main

import (
	"cmp"
	"errors"
	"fmt"
	"go/token"
	"slices"
	"strconv"
	"strings"

	"tracker/pkg/rpc/rpcgen/reflection"
)

// Schema is a compiled schema as the emitters want it: names without namespace,
// pointers instead of indexes, fields by slot, everything checked that flatc leaves to
// us.
type Schema struct {
	Enums    []*Enum
	Structs  []*Object
	Tables   []*Object
	Services []*Service // by id
}

// Enum is a set of named numbers.
type Enum struct {
	Name   string
	Base   reflection.BaseType
	Bits   bool // its values are bits; flatc does not tell, but they look it
	Values []EnumValue
	Doc    []string
}

// EnumValue is one of them.
type EnumValue struct {
	Name  string
	Value int64
	Doc   []string
}

// Object is a table or a struct.
type Object struct {
	Name   string
	Struct bool
	Size   int // of structs
	Align  int
	Fields []*Field // by slot
	Doc    []string
}

// Field of a table, in its slot, or of a struct, at its offset.
type Field struct {
	Name       string
	Slot       int
	Offset     int // in the vtable, or in the struct
	Type       Type
	Default    string
	Required   bool
	Deprecated bool
	Doc        []string
}

// Type of a field. Of a vector Base is that of its elements.
type Type struct {
	Base   reflection.BaseType
	Vector bool
	Object *Object // of Obj
	Enum   *Enum   // of numbers with names
}

// Service and its methods by id.
type Service struct {
	ID      int
	Name    string
	Methods []*Method
	Doc     []string
}

// Method of a service.
type Method struct {
	Service           *Service
	ID                int // within the service
	Name              string
	Request, Response *Object
	Exec              string // async, inline, keyed
	Key               *Field
	Batch             bool
	Event             *Object // of a stream
	EventID           int
	Policy            string
	Idempotent        bool
	TimeoutMs         int
	Scope             string
	Doc               []string
}

// Code is the method's number on the wire.
func (m *Method) Code() int { return m.Service.ID<<8 | m.ID }

var scalarSize = map[reflection.BaseType]int{
	reflection.BaseTypeBool: 1, reflection.BaseTypeByte: 1, reflection.BaseTypeUByte: 1,
	reflection.BaseTypeShort: 2, reflection.BaseTypeUShort: 2,
	reflection.BaseTypeInt: 4, reflection.BaseTypeUInt: 4, reflection.BaseTypeFloat: 4,
	reflection.BaseTypeDouble: 8,
}

// inline is how many bytes t takes in its table, and their alignment.
func (t Type) inline() (size, align int) {
	switch {
	case t.isRef():
		return 4, 4
	case t.Object != nil:
		return t.Object.Size, t.Object.Align
	}
	size = scalarSize[t.Base]
	return size, size
}

// isRef says that the table holds only an offset.
func (t Type) isRef() bool {
	return t.Vector || t.Base == reflection.BaseTypeString || t.Object != nil && !t.Object.Struct
}

// name is the type as the schema writes it, of a vector that of its elements.
func (t Type) name() string {
	switch {
	case t.Object != nil:
		return t.Object.Name
	case t.Enum != nil:
		return t.Enum.Name
	}
	return strings.ToLower(t.Base.String())
}

func (t Type) String() string {
	if t.Vector {
		return "[" + t.name() + "]"
	}
	return t.name()
}

// readSchema reads what flatc compiled. All mistakes are reported at once.
func readSchema(bfbs []byte) (s *Schema, err error) {
	defer func() {
		if r := recover(); r != nil {
			s, err = nil, fmt.Errorf("read schema: not a compiled schema: %v", r)
		}
	}()
	if len(bfbs) < 8 || string(bfbs[4:8]) != "BFBS" {
		return nil, errors.New("read schema: not a compiled schema")
	}
	return buildSchema(reflection.GetRootAsSchema(bfbs, 0).UnPack())
}

type loader struct {
	raw     *reflection.SchemaT
	objects []*Object
	enums   []*Enum
	errs    []error
}

func (l *loader) fail(format string, args ...any) {
	l.errs = append(l.errs, fmt.Errorf(format, args...))
}

func buildSchema(raw *reflection.SchemaT) (*Schema, error) {
	l := &loader{raw: raw}
	l.loadEnums()
	l.loadObjects()
	s := &Schema{Enums: l.enums}
	for _, o := range l.objects {
		if o.Struct {
			s.Structs = append(s.Structs, o)
		} else {
			s.Tables = append(s.Tables, o)
		}
	}
	for _, raw := range raw.Services {
		s.Services = append(s.Services, l.service(raw))
	}
	slices.SortFunc(s.Services, func(a, b *Service) int { return cmp.Compare(a.ID, b.ID) })
	l.checkIDs(s.Services)
	return s, errors.Join(l.errs...)
}

// short drops the namespace.
func short(name string) string { return name[strings.LastIndexByte(name, '.')+1:] }

func (l *loader) loadEnums() {
	for _, raw := range l.raw.Enums {
		e := &Enum{Name: short(raw.Name), Base: raw.UnderlyingType.BaseType, Doc: raw.Documentation}
		if raw.IsUnion {
			l.fail("union %s: unions are not supported; use a table with optional fields", e.Name)
		}
		e.Bits = len(raw.Values) > 0
		for _, v := range raw.Values {
			e.Values = append(e.Values, EnumValue{v.Name, v.Value, v.Documentation})
			e.Bits = e.Bits && v.Value > 0 && v.Value&(v.Value-1) == 0
		}
		l.enums = append(l.enums, e)
	}
}

func (l *loader) loadObjects() {
	for _, raw := range l.raw.Objects {
		l.objects = append(l.objects, &Object{
			Name: short(raw.Name), Struct: raw.IsStruct,
			Size: int(raw.Bytesize), Align: int(raw.Minalign), Doc: raw.Documentation,
		})
	}
	for i, raw := range l.raw.Objects {
		o := l.objects[i]
		for _, f := range raw.Fields {
			o.Fields = append(o.Fields, l.field(o, f))
		}
		slices.SortFunc(o.Fields, func(a, b *Field) int { return cmp.Compare(a.Slot, b.Slot) })
		for slot, f := range o.Fields {
			if f.Slot != slot {
				l.fail("%s %s: slot %d is not named", o.kind(), o.Name, slot)
				break
			}
		}
	}
}

func (o *Object) kind() string {
	if o.Struct {
		return "struct"
	}
	return "table"
}

func (l *loader) field(o *Object, raw *reflection.FieldT) *Field {
	f := &Field{
		Name: raw.Name, Slot: int(raw.Id), Offset: int(raw.Offset), Type: l.typeOf(raw.Type),
		Required: raw.Required, Deprecated: raw.Deprecated, Doc: raw.Documentation,
	}
	switch f.Type.Base {
	case reflection.BaseTypeFloat, reflection.BaseTypeDouble:
		f.Default = strconv.FormatFloat(raw.DefaultReal, 'g', -1, 64)
	default:
		f.Default = strconv.FormatInt(raw.DefaultInteger, 10)
	}
	if f.Type.isRef() || f.Type.Object != nil {
		f.Default = ""
	}
	l.checkField(o, f, raw)
	return f
}

func (l *loader) typeOf(raw *reflection.TypeT) Type {
	t := Type{Base: raw.BaseType}
	if raw.BaseType == reflection.BaseTypeVector {
		t = Type{Base: raw.Element, Vector: true}
	}
	if raw.Index >= 0 {
		if t.Base == reflection.BaseTypeObj {
			t.Object = l.objects[raw.Index]
		} else {
			t.Enum = l.enums[raw.Index]
		}
	}
	return t
}

// tsKeywords are names that flatc would have to change in TypeScript.
var tsKeywords = strings.Fields("arguments await class constructor debugger delete enum eval export extends finally function implements in instanceof let new null private protected public static super this throw try typeof void with yield")

func (l *loader) checkField(o *Object, f *Field, raw *reflection.FieldT) {
	at := fmt.Sprintf("%s %s: field %q", o.kind(), o.Name, f.Name)
	_, scalar := scalarSize[f.Type.Base]
	switch {
	case f.Type.Base == reflection.BaseTypeLong || f.Type.Base == reflection.BaseTypeULong:
		l.fail("%s: a browser has no integers of 64 bits; use double, or hex digits in text", at)
	case !scalar && f.Type.Base != reflection.BaseTypeString && f.Type.Base != reflection.BaseTypeObj:
		l.fail("%s: %s is not supported", at, f.Type.Base)
	case o.Struct && f.Type.Object != nil:
		l.fail("%s: structs hold numbers only; write its fields out", at)
	case raw.Optional && scalar && !f.Type.Vector:
		l.fail("%s: a number without default is not supported; use a struct, or say what 0 means", at)
	case raw.Required && raw.Deprecated:
		l.fail("%s: required and deprecated: whoever is older refuses what comes without it; leave it as it is", at)
	case raw.Offset64:
		l.fail("%s: offsets of 64 bits are not supported", at)
	case token.IsKeyword(f.Name), slices.Contains(tsKeywords, f.Name):
		l.fail("%s: that is a word of a language; use another name", at)
	}
}

var attributes = strings.Fields("rpc_id exec key batch stream event_id policy idempotent timeout_ms scope")

func (l *loader) service(raw *reflection.ServiceT) *Service {
	s := &Service{Name: short(raw.Name), Doc: raw.Documentation}
	for _, a := range raw.Attributes {
		if a.Key == "service_id" {
			s.ID = l.number("service "+s.Name, a, 255)
			continue
		}
		l.fail("service %s: attribute %q does not belong here", s.Name, a.Key)
	}
	if s.ID == 0 {
		l.fail("service %s: service_id is missing", s.Name)
	}
	for _, c := range raw.Calls {
		s.Methods = append(s.Methods, l.method(s, c))
	}
	slices.SortFunc(s.Methods, func(a, b *Method) int { return cmp.Compare(a.ID, b.ID) })
	return s
}

func (l *loader) number(at string, a *reflection.KeyValueT, limit int) int {
	n, err := strconv.Atoi(a.Value)
	if err != nil || n < 1 || n > limit {
		l.fail("%s: %s is %q; it is a number from 1 to %d", at, a.Key, a.Value, limit)
	}
	return n
}

func (l *loader) oneOf(at string, a *reflection.KeyValueT, words string) string {
	if !slices.Contains(strings.Fields(words), a.Value) {
		l.fail("%s: %s is %q; it is one of %s", at, a.Key, a.Value, words)
	}
	return a.Value
}

func (l *loader) object(name string) *Object {
	for _, o := range l.objects {
		if o.Name == short(name) {
			return o
		}
	}
	return nil
}

func (l *loader) method(s *Service, raw *reflection.RPCCallT) *Method {
	m := &Method{
		Service: s, Name: raw.Name, Exec: "async", Doc: raw.Documentation,
		Request: l.object(raw.Request.Name), Response: l.object(raw.Response.Name),
	}
	at := "method " + s.Name + "." + m.Name
	key, stream := "", ""
	for _, a := range raw.Attributes {
		switch a.Key {
		case "rpc_id":
			m.ID = l.number(at, a, 255)
		case "exec":
			m.Exec = l.oneOf(at, a, "async inline keyed")
		case "key":
			key = a.Value
		case "batch":
			m.Batch = true
		case "stream":
			stream = a.Value
		case "event_id":
			m.EventID = l.number(at, a, 65535)
		case "policy":
			m.Policy = l.oneOf(at, a, "latest block drop pull")
		case "idempotent":
			m.Idempotent = true
		case "timeout_ms":
			m.TimeoutMs = l.number(at, a, 65534)
		case "scope":
			m.Scope = l.oneOf(at, a, "any member viewer admin device")
		default:
			l.fail("%s: attribute %q does not belong here; there are %s", at, a.Key, strings.Join(attributes, ", "))
		}
	}
	if m.ID == 0 {
		l.fail("%s: rpc_id is missing", at)
	}
	if m.Scope == "" {
		l.fail("%s: scope is missing; say who may call it", at)
	}
	l.checkExec(at, m, key)
	l.checkStream(at, m, stream)
	return m
}

func (l *loader) checkExec(at string, m *Method, key string) {
	if m.Batch && m.Exec != "async" {
		l.fail("%s: batch is for async methods", at)
	}
	if (key != "") != (m.Exec == "keyed") {
		l.fail("%s: exec \"keyed\" and key belong together", at)
	}
	if key == "" {
		return
	}
	for _, f := range m.Request.Fields {
		if f.Name == key && !f.Deprecated && !f.Type.Vector && f.Type.Object == nil {
			m.Key = f
			return
		}
	}
	l.fail("%s: key %q is not a text or a number in %s", at, key, m.Request.Name)
}

func (l *loader) checkStream(at string, m *Method, stream string) {
	switch {
	case stream == "" && m.EventID == 0 && m.Policy == "":
		return
	case stream == "" || m.EventID == 0 || m.Policy == "":
		l.fail("%s: stream, event_id and policy belong together", at)
		return
	case m.Exec != "async" || m.Batch:
		l.fail("%s: a stream is async, and by itself", at)
	}
	if m.Event = l.object(stream); m.Event == nil || m.Event.Struct {
		l.fail("%s: stream %q is not a table", at, stream)
	}
}

// checkIDs finds numbers that are given twice.
func (l *loader) checkIDs(services []*Service) {
	methods, events := map[int]string{}, map[int]string{}
	for i, s := range services {
		if i > 0 && services[i-1].ID == s.ID {
			l.fail("service %s: service_id %d is that of %s; take the next free one", s.Name, s.ID, services[i-1].Name)
		}
		for _, m := range s.Methods {
			name := s.Name + "." + m.Name
			if other, taken := methods[m.Code()]; taken {
				l.fail("method %s: rpc_id %d is that of %s; take the next free one", name, m.ID, other)
			}
			methods[m.Code()] = name
			if m.Event == nil {
				continue
			}
			if other, taken := events[m.EventID]; taken && other != m.Event.Name {
				l.fail("method %s: event_id %d is that of %s; take the next free one", name, m.EventID, other)
			}
			events[m.EventID] = m.Event.Name
		}
	}
}
