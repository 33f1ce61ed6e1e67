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
