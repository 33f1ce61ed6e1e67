package wire

import (
	"math"
	"testing"
)

func TestAccuracyCodes(t *testing.T) {
	for cm, want := range map[float64]uint8{0: 0, 1: 1, 15: 15, 16: 0x10, 100: 0x39, 480: 0x5e, 500: 0x60, 1000: 0x70,
		5000: 0x94, 100000: 0xd9, 491520: 0xfe, 491521: 0xff, 500000: 0xff, -3: 0, 0.2: 1, 31.5: 0x20} {
		if got := AccuracyCode(cm); got != want {
			t.Errorf("%g cm: got %#x, want %#x", cm, got, want)
		}
	}
	for _, cm := range []float64{math.NaN(), math.Inf(1), math.MaxFloat64} {
		if got := AccuracyCode(cm); got != accWorse {
			t.Errorf("%g cm: got %#x, want %#x", cm, got, accWorse)
		}
	}
	if got := AccuracyCode(math.Inf(-1)); got != 0 {
		t.Errorf("-Inf: got %#x, want 0", got)
	}
}

func TestAccuracyRoundsUpToTheNextStep(t *testing.T) {
	last := -1
	for code := range accWorse {
		cm, worse := AccuracyCM(uint8(code))
		if worse || cm <= last {
			t.Errorf("code %#x is %d cm after %d, worse %v", code, cm, last, worse)
		}
		if got := AccuracyCode(float64(cm)); got != uint8(code) {
			t.Errorf("%d cm: got %#x, want %#x", cm, got, code)
		}
		if got := AccuracyCode(float64(cm) + 0.01); got != uint8(code)+1 {
			t.Errorf("just over %d cm: got %#x, want %#x", cm, got, code+1)
		}
		if code > 16 && float64(cm-last) > 0.0626*float64(last) {
			t.Errorf("the step to code %#x is %d cm at %d", code, cm-last, last)
		}
		last = cm
	}
	if cm, worse := AccuracyCM(accWorse); cm != last || !worse {
		t.Errorf("code 0xff: got %d, %v, want %d, true", cm, worse, last)
	}
}
