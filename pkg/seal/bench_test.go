package seal

import (
	"fmt"
	"testing"

	"tracker/pkg/track"
)

// The sizes are those of a full fix (21), of what most figures in the literature
// use (64), and of the largest datagram.
func BenchmarkOpen(b *testing.B) {
	for _, suite := range bothSuites {
		for _, n := range []int{21, 64, MaxBody} {
			b.Run(fmt.Sprintf("%v/%dB", suite, n), func(b *testing.B) {
				k := Derive(testRoot(), suite, testDevice, testEpoch)
				pkt := mustSeal(b, Header{suite, testDevice, testEpoch, 0}, &k, make([]byte, n))
				dst := make([]byte, 0, MaxDatagram)
				var o Opener
				b.ReportAllocs()
				b.SetBytes(int64(len(pkt)))
				for b.Loop() {
					if _, err := o.Open(dst, suite, &k.Up, pkt); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// Another device with each datagram, 64 bytes: 100 k keys inline in an array, as in
// the records of a server. Suite 2 has to expand nearly each of them.
func BenchmarkOpenManyDevices(b *testing.B) {
	const devices, datagrams = 100_000, 4096
	for _, suite := range bothSuites {
		b.Run(suite.String(), func(b *testing.B) {
			r := testRand(1)
			keys := make([]Keys, devices)
			for i := range keys {
				keys[i] = Derive(testRoot(), suite, track.DeviceID(i+1), testEpoch)
			}
			type arrival struct {
				device int
				pkt    []byte
			}
			arrivals := make([]arrival, datagrams)
			for i := range arrivals {
				d := r.IntN(devices)
				arrivals[i] = arrival{d, mustSeal(b, Header{suite, track.DeviceID(d + 1), testEpoch, 0}, &keys[d], make([]byte, 64))}
			}
			dst := make([]byte, 0, MaxDatagram)
			var o Opener
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				a := &arrivals[i%datagrams]
				i++
				if _, err := o.Open(dst, suite, &keys[a.device].Up, a.pkt); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkOpenForged(b *testing.B) {
	pkt, k := fullDatagram(b, ChaCha20Poly1305)
	pkt[30] ^= 1
	dst := make([]byte, 0, MaxDatagram)
	var o Opener
	b.ReportAllocs()
	for b.Loop() {
		o.Open(dst, ChaCha20Poly1305, &k.Up, pkt)
	}
}

func BenchmarkSeal(b *testing.B) {
	for _, suite := range bothSuites {
		b.Run(suite.String(), func(b *testing.B) {
			k := Derive(testRoot(), suite, testDevice, testEpoch)
			body, dst := make([]byte, 64), make([]byte, 0, MaxDatagram)
			b.ReportAllocs()
			for b.Loop() {
				Seal(dst, Header{suite, testDevice, testEpoch, 0}, &k, body)
			}
		})
	}
}

func BenchmarkDerive(b *testing.B) {
	root := testRoot()
	b.ReportAllocs()
	for b.Loop() {
		Derive(root, ChaCha20Poly1305, testDevice, testEpoch)
	}
}

func BenchmarkRotatingID(b *testing.B) {
	root := testRoot()
	b.ReportAllocs()
	for b.Loop() {
		RotatingID(root, 25939)
	}
}

func BenchmarkAppendAck(b *testing.B) {
	k := Derive(testRoot(), ChaCha20Poly1305, testDevice, testEpoch)
	dst := make([]byte, 0, AckLen)
	b.ReportAllocs()
	for b.Loop() {
		AppendAck(dst, Header{ChaCha20Poly1305, testDevice, testEpoch, 1}, Ack{}, &k.Ack)
	}
}

func BenchmarkWindow(b *testing.B) {
	var w Window
	pid := uint32(0)
	b.ReportAllocs()
	for b.Loop() {
		if w.Check(pid) == nil {
			w.Accept(pid)
		}
		pid += 1 + pid&1 // some loss
	}
}

func BenchmarkUnwrap(b *testing.B) {
	var master [32]byte
	w := Wrap(&master, testDevice, testRoot())
	var root Root
	b.ReportAllocs()
	for b.Loop() {
		if err := Unwrap(&master, testDevice, &w, &root); err != nil {
			b.Fatal(err)
		}
	}
}
