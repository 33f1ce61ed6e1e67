package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	flatbuffers "github.com/google/flatbuffers/go"

	"tracker/pkg/rpc/rpcgen/reflection"
)

// compiled is the schema as flatc made it, to be changed.
func compiled(t *testing.T, file string) *reflection.SchemaT {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(repo, file))
	if err != nil {
		t.Fatal(err)
	}
	return reflection.GetRootAsSchema(b, 0).UnPack()
}

func compile(s *reflection.SchemaT) []byte {
	b := flatbuffers.NewBuilder(1 << 16)
	b.FinishWithFileIdentifier(s.Pack(b), []byte("BFBS"))
	return b.FinishedBytes()
}

func object(t *testing.T, s *reflection.SchemaT, name string) *reflection.ObjectT {
	t.Helper()
	for _, o := range s.Objects {
		if short(o.Name) == name {
			return o
		}
	}
	t.Fatalf("no object %s", name)
	return nil
}

func field(t *testing.T, s *reflection.SchemaT, table, name string) *reflection.FieldT {
	t.Helper()
	for _, f := range object(t, s, table).Fields {
		if f.Name == name {
			return f
		}
	}
	t.Fatalf("no field %s.%s", table, name)
	return nil
}

func service(t *testing.T, s *reflection.SchemaT, name string) *reflection.ServiceT {
	t.Helper()
	for _, svc := range s.Services {
		if short(svc.Name) == name {
			return svc
		}
	}
	t.Fatalf("no service %s", name)
	return nil
}

func call(t *testing.T, s *reflection.SchemaT, svc, name string) *reflection.RPCCallT {
	t.Helper()
	for _, c := range service(t, s, svc).Calls {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("no method %s.%s", svc, name)
	return nil
}

func setAttribute(t *testing.T, all []*reflection.KeyValueT, key, value string) {
	t.Helper()
	for _, a := range all {
		if a.Key == key {
			a.Value = value
			return
		}
	}
	t.Fatalf("no attribute %s", key)
}

func without(t *testing.T, s *reflection.SchemaT, table, name string) {
	t.Helper()
	o := object(t, s, table)
	gone := field(t, s, table, name)
	var rest []*reflection.FieldT
	for _, f := range o.Fields {
		if f == gone {
			continue
		}
		if f.Id > gone.Id {
			f.Id--
			f.Offset -= 2
		}
		rest = append(rest, f)
	}
	o.Fields = rest
}

// TestChangesThatBreakTheWireAreRefused goes the whole way: a changed compiled schema
// in a copy of the tree, and rpcgen, whose error has to name the place.
func TestChangesThatBreakTheWireAreRefused(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*testing.T, *reflection.SchemaT)
		want   []string
	}{
		{"a field of another type", func(t *testing.T, s *reflection.SchemaT) {
			field(t, s, "SumReq", "b").Type.BaseType = reflection.BaseTypeDouble
		}, []string{`table SumReq: field "b" was "int = 0" and is "double = 0"`}},
		{"a field of another default", func(t *testing.T, s *reflection.SchemaT) {
			field(t, s, "NearReq", "limit").DefaultInteger = 20
		}, []string{`table NearReq: field "limit" was "uint = 0" and is "uint = 20"`}},
		{"a field gone from the middle", func(t *testing.T, s *reflection.SchemaT) {
			without(t, s, "HistoryReq", "to")
		}, []string{`table HistoryReq: field "to" is gone`, `field "after" moved from slot 3 to 2`, "(deprecated)"}},
		{"a field gone from the end", func(t *testing.T, s *reflection.SchemaT) {
			without(t, s, "SumReq", "b")
		}, []string{`table SumReq: field "b" (slot 1) is gone`}},
		{"a field renamed", func(t *testing.T, s *reflection.SchemaT) {
			field(t, s, "PubReq", "value").Name = "number"
		}, []string{`table PubReq: field "value" is gone, and "number" has its slot 2`}},
		{"fields in another order", func(t *testing.T, s *reflection.SchemaT) {
			a, b := field(t, s, "SumReq", "a"), field(t, s, "SumReq", "b")
			a.Id, b.Id, a.Offset, b.Offset = b.Id, a.Id, b.Offset, a.Offset
		}, []string{`table SumReq: field "a" moved from slot 0 to 1`, "new fields go to the end"}},
		{"a field no longer required", func(t *testing.T, s *reflection.SchemaT) {
			field(t, s, "SubReq", "topic").Required = false
		}, []string{`table SubReq: field "topic" was "string required" and is "string"`}},
		{"a new field that is required", func(t *testing.T, s *reflection.SchemaT) {
			o := object(t, s, "TokenRef")
			o.Fields = append(o.Fields, &reflection.FieldT{Name: "why", Id: 1, Offset: 6, Required: true,
				Type: &reflection.TypeT{BaseType: reflection.BaseTypeString, Index: -1}})
		}, []string{`table TokenRef: field "why" is new and required`}},
		{"a table gone", func(t *testing.T, s *reflection.SchemaT) {
			object(t, s, "Alarm").Name = "trk.Alert"
		}, []string{"table Alarm is gone"}},
		{"a struct that grew", func(t *testing.T, s *reflection.SchemaT) {
			o := object(t, s, "Point")
			o.Bytesize = 12
			o.Fields = append(o.Fields, &reflection.FieldT{Name: "alt", Id: 2, Offset: 8,
				Type: &reflection.TypeT{BaseType: reflection.BaseTypeInt, Index: -1}})
		}, []string{`struct Point was "8 bytes, aligned to 4" and is "12 bytes, aligned to 4"`, `struct Point: field "alt" is new`}},
		{"a struct with another order", func(t *testing.T, s *reflection.SchemaT) {
			a, b := field(t, s, "Point", "lat"), field(t, s, "Point", "lon")
			a.Id, b.Id, a.Offset, b.Offset = b.Id, a.Id, b.Offset, a.Offset
		}, []string{`struct Point: field "lat" moved from offset 0 to 4`}},
		{"a service with another id", func(t *testing.T, s *reflection.SchemaT) {
			setAttribute(t, service(t, s, "Status").Attributes, "service_id", "9")
		}, []string{`service Status was "7" and is "9"`}},
		{"a service with the id of another", func(t *testing.T, s *reflection.SchemaT) {
			setAttribute(t, service(t, s, "Status").Attributes, "service_id", "6")
		}, []string{"service_id 6 is that of"}},
		{"a method with another id", func(t *testing.T, s *reflection.SchemaT) {
			setAttribute(t, call(t, s, "Example", "Pub").Attributes, "rpc_id", "9")
		}, []string{`service Example: method "Pub" moved from id 6 to 9`}},
		{"methods that swap ids", func(t *testing.T, s *reflection.SchemaT) {
			setAttribute(t, call(t, s, "Devices", "Show").Attributes, "rpc_id", "5")
			setAttribute(t, call(t, s, "Devices", "Revoke").Attributes, "rpc_id", "2")
		}, []string{`service Devices: method "Show" moved from id 2 to 5`, `method "Revoke" moved from id 5 to 2`}},
		{"a method that takes the id of one that is gone", func(t *testing.T, s *reflection.SchemaT) {
			call(t, s, "Example", "Echo").Name = "Mirror"
		}, []string{`service Example: method "Echo" is gone, and "Mirror" has its id 4`}},
		{"a method with another request", func(t *testing.T, s *reflection.SchemaT) {
			call(t, s, "Example", "Sum").Request = object(t, s, "PubReq")
		}, []string{`service Example: method "Sum" was "(SumReq): SumRsp" and is "(PubReq): SumRsp"`}},
		{"a method with another answer", func(t *testing.T, s *reflection.SchemaT) {
			call(t, s, "Devices", "Revoke").Response = object(t, s, "Device")
		}, []string{`service Devices: method "Revoke" was`}},
		{"a stream with another type of update", func(t *testing.T, s *reflection.SchemaT) {
			setAttribute(t, call(t, s, "Example", "Sub").Attributes, "event_id", "4")
		}, []string{`service Example: method "Sub" was "(SubReq): SubAck, update 3 Published" and is "(SubReq): SubAck, update 4 Published"`}},
		{"a method that older callers send twice, and may not any more", func(t *testing.T, s *reflection.SchemaT) {
			c := call(t, s, "Devices", "List")
			c.Attributes = slices.DeleteFunc(c.Attributes, func(a *reflection.KeyValueT) bool { return a.Key == "idempotent" })
		}, []string{`service Devices: method "List" was idempotent and is not: put it back`}},
		{"a field that is required, and deprecated", func(t *testing.T, s *reflection.SchemaT) {
			field(t, s, "SubReq", "topic").Deprecated = true
		}, []string{`table SubReq: field "topic": required and deprecated`}},
		{"an error with another number", func(t *testing.T, s *reflection.SchemaT) {
			for _, e := range s.Enums {
				if short(e.Name) == "AppError" {
					e.Values[1].Value, e.Values[2].Value = 258, 257
				}
			}
		}, []string{`enum AppError: value "DeviceRevoked" moved from number 257 to 258`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := compiled(t, v1.bfbs)
			c.change(t, s)
			_, err := bindings(repo, files{v1.bfbs: compile(s)}, true)
			if err == nil {
				t.Fatal("accepted")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %v\nwant %s", err, want)
				}
			}
		})
	}
}

func TestMistakesInTheSchemaAreNamed(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*testing.T, *reflection.SchemaT)
		want   string
	}{
		{"a word of Go", func(t *testing.T, s *reflection.SchemaT) { field(t, s, "SumReq", "a").Name = "func" }, `table SumReq: field "func"`},
		{"64 bits", func(t *testing.T, s *reflection.SchemaT) {
			field(t, s, "SumReq", "a").Type.BaseType = reflection.BaseTypeLong
		}, `table SumReq: field "a": a browser has no integers of 64 bits`},
		{"no id", func(t *testing.T, s *reflection.SchemaT) { call(t, s, "Example", "Sum").Attributes = nil }, "method Example.Sum: rpc_id is missing"},
		{"no scope", func(t *testing.T, s *reflection.SchemaT) { call(t, s, "Example", "Sum").Attributes = nil }, "method Example.Sum: scope is missing"},
		{"a key that is not there", func(t *testing.T, s *reflection.SchemaT) {
			setAttribute(t, call(t, s, "Publish", "Report").Attributes, "key", "devices")
		}, `method Publish.Report: key "devices" is not a text or a number in ReportReq`},
		{"an unknown policy", func(t *testing.T, s *reflection.SchemaT) {
			setAttribute(t, call(t, s, "Watch", "Open").Attributes, "policy", "push")
		}, `method Watch.Open: policy is "push"; it is one of latest block drop pull`},
		{"an id out of range", func(t *testing.T, s *reflection.SchemaT) {
			setAttribute(t, call(t, s, "Watch", "Open").Attributes, "rpc_id", "256")
		}, "method Watch.Open: rpc_id is \"256\"; it is a number from 1 to 255"},
		{"a stream of nothing", func(t *testing.T, s *reflection.SchemaT) {
			setAttribute(t, call(t, s, "Watch", "Open").Attributes, "stream", "Nothing")
		}, `method Watch.Open: stream "Nothing" is not a table`},
		{"an update's id for two tables", func(t *testing.T, s *reflection.SchemaT) {
			setAttribute(t, call(t, s, "Example", "Sub").Attributes, "event_id", "1")
		}, "event_id 1 is that of"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := compiled(t, v1.bfbs)
			c.change(t, s)
			if _, err := readSchema(compile(s)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %q", err, c.want)
			}
		})
	}
	for _, b := range [][]byte{nil, []byte("hello, world"), []byte("1234BFBS1234")} {
		if _, err := readSchema(b); err == nil {
			t.Errorf("%q is a schema", b)
		}
	}
}

// TestAdditionsHaveToBeAccepted takes the grown schema for today's.
func TestAdditionsHaveToBeAccepted(t *testing.T) {
	later, err := os.ReadFile(filepath.Join(repo, v2.bfbs))
	if err != nil {
		t.Fatal(err)
	}
	grown := files{v1.bfbs: later, v2.bfbs: later}
	_, err = bindings(repo, grown, false)
	for _, want := range []string{
		`table SumReq: field "c" (slot 2)`, `table Empty: field "note" (slot 0)`, `table WatchFrame: field "owners" (slot 11)`, "table Owner\n",
		`service Example: method "Product" (id 7)`, "service Owners", `enum AppError: value "NoOwner" (number 260)`, "scripts/generate -accept",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	out, err := bindings(repo, grown, true)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(out[lockFile]), "\nservice Owners 16\n  1 List (OwnersReq): OwnersReply, idempotent\n") {
		t.Errorf("rpc.lock lacks the new service:\n%s", out[lockFile])
	}
}

func TestLockReadsBack(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(repo, v2.bfbs))
	if err != nil {
		t.Fatal(err)
	}
	s, err := readSchema(b)
	if err != nil {
		t.Fatal(err)
	}
	all, err := parseLock(lockText(lockOf(s)))
	if err != nil {
		t.Fatal(err)
	}
	if added, broken := compareLocks(all, lockOf(s)); broken != nil || added != nil {
		t.Errorf("added %q, broken %v", added, broken)
	}
	if string(lockText(all)) != string(lockText(lockOf(s))) {
		t.Error("written again differently")
	}
	if _, err := parseLock([]byte("table X\n  y z\n")); err == nil {
		t.Error("an entry without number is read")
	}
}

func TestIdempotentIsTakenIn(t *testing.T) {
	s := compiled(t, v1.bfbs)
	c := call(t, s, "Example", "Pub")
	c.Attributes = append(c.Attributes, &reflection.KeyValueT{Key: "idempotent", Value: "0"})
	b := compile(s)
	_, err := bindings(repo, files{v1.bfbs: b, v2.bfbs: b}, false)
	if want := `service Example: method "Pub" is idempotent`; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
	if _, err := bindings(repo, files{v1.bfbs: b, v2.bfbs: b}, true); err != nil {
		t.Error(err)
	}
}

// TestLockIsNotMadeAnew guards against a lock that was lost.
func TestLockIsNotMadeAnew(t *testing.T) {
	root := copyTree(t)
	if err := os.Remove(filepath.Join(root, lockFile)); err != nil {
		t.Fatal(err)
	}
	if err := run(root, "", false, false); err == nil || !strings.Contains(err.Error(), "restore it") {
		t.Fatalf("got %v", err)
	}
}

func TestHashIsOfTheWireOnly(t *testing.T) {
	read := func(s *reflection.SchemaT) uint64 {
		got, err := readSchema(compile(s))
		if err != nil {
			t.Fatal(err)
		}
		return wireHash(got)
	}
	s := compiled(t, v1.bfbs)
	before := read(s)
	object(t, s, "SumReq").Documentation = []string{" Two numbers."}
	if read(s) != before {
		t.Error("a comment changes the hash")
	}
	field(t, s, "SumReq", "a").DefaultInteger = 1
	if read(s) == before {
		t.Error("a default does not change the hash")
	}
}
