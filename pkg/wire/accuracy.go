package wire

import (
	"math"
	"math/bits"
)

// accWorse is the accuracy code for anything past the largest step.
const accWorse = 0xff

// AccuracyCM is the radius in centimetres that an accuracy code stands for: a
// minifloat with 4 bits of exponent and 4 of mantissa, 0 to 4.9 km in steps of at
// most 6 %. With worse, the true radius is larger than cm.
func AccuracyCM(code uint8) (cm int, worse bool) {
	if code == accWorse {
		cm, _ = AccuracyCM(accWorse - 1)
		return cm, true
	}
	e, m := code>>4, int(code&15)
	if e == 0 {
		return m, false
	}
	return (16 + m) << (e - 1), false
}

// AccuracyCode is the smallest code whose radius is not below cm. What is no number
// is worse than everything; below 0 is 0.
func AccuracyCode(cm float64) uint8 {
	largest, _ := AccuracyCM(accWorse - 1)
	if math.IsNaN(cm) || cm > float64(largest) {
		return accWorse
	}
	n := int(math.Ceil(max(cm, 0)))
	if n < 16 {
		return uint8(n)
	}
	// Five leading bits, rounded up; a carry runs into the exponent as it should.
	shift := bits.Len(uint(n)) - 5
	top := (n + 1<<shift - 1) >> shift
	return uint8((shift+1)<<4 + top - 16)
}
