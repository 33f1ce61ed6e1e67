package wire

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"tracker/pkg/track"
)

func TestTLVsComeBackInOrder(t *testing.T) {
	raw := AppendTLV(nil, TLVText, []byte("hallo"))
	raw = AppendTLV(raw, TLVPad, nil)
	raw = AppendTLV(raw, 200, []byte{0, 1, 2})
	var types []TLVType
	var values [][]byte
	for typ, v := range TLVs(raw) {
		types, values = append(types, typ), append(values, v)
	}
	if !slices.Equal(types, []TLVType{TLVText, TLVPad, 200}) || string(values[0]) != "hallo" || len(values[1]) != 0 || !bytes.Equal(values[2], []byte{0, 1, 2}) {
		t.Errorf("got %v %x", types, values)
	}
	for typ := range TLVs(raw) {
		if typ != TLVText {
			t.Errorf("went on to %v after a break", typ)
		}
		break
	}
	for range TLVs([]byte{8, 200, 1}) {
		t.Error("a TLV that ends early came out")
	}
}

func TestLongTextIsCut(t *testing.T) {
	raw := AppendTLV(nil, TLVText, []byte(strings.Repeat("a", 300)))
	if len(raw) != 257 || raw[1] != 255 {
		t.Errorf("%d bytes, length %d", len(raw), raw[1])
	}
	// A character is not torn apart: the decoder would refuse it.
	raw = AppendTLV(nil, TLVText, []byte(strings.Repeat("ü", 200)))
	if _, err := checkTLVs(raw); err != nil || len(raw) != 2+254 {
		t.Errorf("%d bytes, %v", len(raw), err)
	}
}

func TestCellRoundTrip(t *testing.T) {
	want := Cell{Radio: 4, MCC: 262, MNC: 1, Area: 0xfffffe, ID: 1<<36 - 1}
	raw := AppendCell(nil, want)
	if _, err := checkTLVs(raw); err != nil {
		t.Fatal(err)
	}
	for typ, v := range TLVs(raw) {
		if got, err := ParseCell(v); typ != TLVCell || err != nil || got != want {
			t.Errorf("got %v %+v %v, want %+v", typ, got, err, want)
		}
	}
	if _, err := ParseCell(raw); !errors.Is(err, track.ErrInvalid) {
		t.Errorf("a cell of another length: %v", err)
	}
}
