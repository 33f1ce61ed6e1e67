package trk

import (
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	flatbuffers "github.com/google/flatbuffers/go"
)

// fill makes up a value: everything set, or some of it.
func fill(r *rand.Rand, v reflect.Value, all bool) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(r, v.Elem(), all)
	case reflect.Struct:
		for i := range v.NumField() {
			if all || r.IntN(3) > 0 || v.Field(i).Kind() == reflect.Pointer || v.Field(i).Kind() == reflect.String {
				fill(r, v.Field(i), all)
			}
		}
	case reflect.Slice:
		n := r.IntN(4)
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			fill(r, v.Index(i), all)
		}
	case reflect.String:
		v.SetString(strings.Repeat("äx", r.IntN(4)) + "z")
	case reflect.Bool:
		v.SetBool(r.IntN(2) == 0)
	case reflect.Float64, reflect.Float32:
		v.SetFloat(float64(r.IntN(1 << 20)))
	case reflect.Int8, reflect.Int16, reflect.Int32:
		v.SetInt(r.Int64N(1 << (v.Type().Bits() - 1)))
	default:
		v.SetUint(r.Uint64N(1 << v.Type().Bits()))
	}
}

// TestEncodersWriteWhatTheBuilderReads holds what the encoders write against what
// flatc's own builder makes of the same value.
func TestEncodersWriteWhatTheBuilderReads(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, k := range tableKinds {
		for i := range 200 {
			v := k.value()
			fill(r, reflect.ValueOf(v).Elem(), i%2 == 0)
			prefix := make([]byte, r.IntN(9))
			ours := k.encode(prefix, v)[len(prefix):]
			b := flatbuffers.NewBuilder(0)
			b.Finish(k.pack(b, v))
			got, err := k.read(ours)
			if err != nil {
				t.Fatalf("%s: %v\n%x", k.name, err, ours)
			}
			want, err := k.read(b.FinishedBytes())
			if err != nil {
				t.Fatalf("%s: of the builder: %v", k.name, err)
			}
			if !reflect.DeepEqual(got, want) {
				t.Fatalf("%s:\ngot  %+v\nwant %+v", k.name, got, want)
			}
		}
	}
}

// TestZeroValues is about everything that is absent: texts, lists, tables and structs.
func TestZeroValues(t *testing.T) {
	var refused []string
	for _, k := range tableKinds {
		got, err := k.read(k.encode(nil, k.value()))
		if err != nil {
			refused = append(refused, k.name)
			continue
		}
		b := flatbuffers.NewBuilder(0)
		b.Finish(k.pack(b, k.value()))
		want, err := k.read(b.FinishedBytes())
		if err != nil {
			t.Errorf("%s: of the builder: %v", k.name, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\ngot  %+v\nwant %+v", k.name, got, want)
		}
	}
	// A table or a struct that is required has no zero value.
	if want := []string{"MoveReq", "NearReq", "WatchReq"}; !reflect.DeepEqual(refused, want) {
		t.Errorf("refused %v, want %v", refused, want)
	}
}

func TestEncodersMendWhatCannotTravel(t *testing.T) {
	in, err := ReadRenameReq(AppendRenameReq(nil, &RenameReqT{Device: "a\xffb", Name: ""}))
	if err != nil || string(in.Device()) != "a\uFFFDb" || in.Name() == nil {
		t.Errorf("got %q, %q, %v", in.Device(), in.Name(), err)
	}
	page, err := ReadFixes(AppendFixes([]byte("dirty"), &FixesT{Fixes: []*FixT{nil, {Lat: 1}}})[5:])
	var fix Fix
	if err != nil || !page.Fixes(&fix, 0) || fix.Lat() != 0 || !page.Fixes(&fix, 1) || fix.Lat() != 1 {
		t.Errorf("got %+v, %v", page.UnPack(), err)
	}
	if _, err := ReadDeviceList(AppendDeviceList(nil, &DeviceListT{Devices: []*DeviceT{nil}})); err != nil {
		t.Error(err)
	}
	if _, err := ReadSumReq(AppendSumReq(nil, nil)); err != nil {
		t.Error(err)
	}
}

// TestReusedBuffersLeaveNothingBehind guards padding: room that held something else.
func TestReusedBuffersLeaveNothingBehind(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	dirty := make([]byte, 1<<16)
	for i := range dirty {
		dirty[i] = 0xee
	}
	for _, k := range tableKinds {
		v := k.value()
		fill(r, reflect.ValueOf(v).Elem(), false)
		if clean, got := k.encode(nil, v), k.encode(dirty[:0], v); string(clean) != string(got) {
			t.Errorf("%s:\ngot  %x\nwant %x", k.name, got, clean)
		}
		for i := range dirty {
			dirty[i] = 0xee
		}
	}
}
