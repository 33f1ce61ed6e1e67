package seal

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"os/exec"
	"slices"
	"sync"
	"testing"

	"golang.org/x/crypto/chacha20poly1305"

	"tracker/pkg/track"
)

var bothSuites = []Suite{ChaCha20Poly1305, AES128GCM}

// fullBody is the full fix of the published vectors; seal does not care.
var fullBody, _ = hex.DecodeString("8f6553f13c1f11688707e36f4e0022056d69875e57")

func fullDatagram(t testing.TB, suite Suite) (pkt []byte, k Keys) {
	t.Helper()
	k = Derive(testRoot(), suite, testDevice, testEpoch)
	return mustSeal(t, Header{suite, testDevice, testEpoch, 1}, &k, fullBody), k
}

func TestOpenUndoesSeal(t *testing.T) {
	r := testRand(4)
	var o Opener
	for range 2000 {
		root := Root(randomBytes(r, 32))
		h := Header{bothSuites[r.IntN(2)], track.DeviceID(r.Uint64N(1 << 48)), r.Uint32(), r.Uint32N(1 << 24)}
		k := Derive(&root, h.Suite, h.Device, h.Epoch)
		body := randomBytes(r, MinBody+r.IntN(MaxBody-MinBody+1))
		prefix := randomBytes(r, r.IntN(20))

		pkt, err := Seal(slices.Clone(prefix), h, &k, body)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.HasPrefix(pkt, prefix) || len(pkt) != len(prefix)+len(body)+Overhead {
			t.Fatalf("%d bytes after a prefix of %d, want %d", len(pkt), len(prefix), len(prefix)+len(body)+Overhead)
		}
		pkt = pkt[len(prefix):]
		if got, err := ParseHeader(pkt); err != nil || got != h {
			t.Fatalf("header: got %+v, %v, want %+v", got, err, h)
		}
		got, err := o.Open(slices.Clone(prefix), h.Suite, &k.Up, pkt)
		if err != nil || !bytes.Equal(got, append(prefix, body...)) {
			t.Fatalf("%+v: got %x, %v, want %x", h, got, err, body)
		}
	}
}

func TestOpenLeavesTheBufferAloneOnErrors(t *testing.T) {
	for _, suite := range bothSuites {
		pkt, k := fullDatagram(t, suite)
		pkt[20] ^= 1
		buf := append(make([]byte, 0, 2000), "kept"...)
		var o Opener
		out, err := o.Open(buf, suite, &k.Up, pkt)
		if !errors.Is(err, ErrAuth) || string(out) != "kept" {
			t.Errorf("%v: got %q, %v, want the buffer and ErrAuth", suite, out, err)
		}
		if leak := buf[:cap(buf)]; bytes.Contains(leak, fullBody[5:]) {
			t.Errorf("%v: plaintext of a forged datagram is left behind", suite)
		}
	}
}

func TestParseHeaderRefuses(t *testing.T) {
	good, _ := fullDatagram(t, ChaCha20Poly1305)
	with := func(vt byte) []byte { b := bytes.Clone(good); b[0] = vt; return b }
	for _, c := range []struct {
		name string
		pkt  []byte
		want error
	}{
		{"nothing", nil, ErrLength},
		{"one byte short", make([]byte, MinDatagram-1), ErrLength},
		{"one byte long", append([]byte{0x11}, make([]byte, MaxDatagram)...), ErrLength},
		{"version 0", with(0x01), ErrVersion},
		{"version 2", with(0x21), ErrVersion},
		{"suite 0", with(0x10), ErrVersion},
		{"suite 3 is reserved", with(0x13), ErrVersion},
		{"suite 7", with(0x17), ErrVersion},
	} {
		if _, err := ParseHeader(c.pkt); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, err, c.want)
		}
	}
}

func TestSealRefuses(t *testing.T) {
	k := Derive(testRoot(), ChaCha20Poly1305, testDevice, testEpoch)
	h := Header{Suite: ChaCha20Poly1305, Device: testDevice, Epoch: testEpoch}
	for _, c := range []struct {
		name string
		h    Header
		body int
	}{
		{"a body of 12", h, MinBody - 1},
		{"a body of 1171", h, MaxBody + 1},
		{"a packet id of 25 bits", Header{h.Suite, h.Device, h.Epoch, MaxPID + 1}, MinBody},
		{"an id of 49 bits", Header{h.Suite, track.MaxDeviceID + 1, h.Epoch, 0}, MinBody},
		{"suite 3", Header{3, h.Device, h.Epoch, 0}, MinBody},
	} {
		dst := []byte("kept")
		out, err := Seal(dst, c.h, &k, make([]byte, c.body))
		if err == nil || string(out) != "kept" {
			t.Errorf("%s: got %q, %v, want an error and the buffer as it was", c.name, out, err)
		}
	}
}

func TestThreat01CiphertextShowsNothing(t *testing.T) {
	const reports = 10_000
	var histogram [256]int
	total := 0
	for _, suite := range bothSuites {
		k := Derive(testRoot(), suite, testDevice, testEpoch)
		var pkt []byte
		for pid := range uint32(reports / 2) {
			pkt, _ = Seal(pkt[:0], Header{suite, testDevice, testEpoch, pid}, &k, fullBody)
			if box := pkt[HeaderLen:]; bytes.Contains(box, fullBody[5:9]) || bytes.Contains(box, fullBody[9:13]) {
				t.Fatalf("%v pid %d: coordinate in %x", suite, pid, box)
			}
			for _, c := range pkt[HeaderLen:] {
				histogram[c]++
				total++
			}
		}
	}
	chi, want := 0.0, float64(total)/256
	for _, n := range histogram {
		d := float64(n) - want
		chi += d * d / want
	}
	// 255 degrees of freedom: mean 255, deviation 22.6; six of them is a billion to one.
	if chi > 255+6*22.6 || chi < 255-6*22.6 {
		t.Errorf("chi-square of %d ciphertext bytes is %.0f, want about 255", total, chi)
	}
}

func TestThreat02ForgeOrAlter(t *testing.T) {
	var o Opener
	for _, suite := range bothSuites {
		pkt, k := fullDatagram(t, suite)
		if len(pkt) != 51 {
			t.Fatalf("a full fix is %d bytes, want 51", len(pkt))
		}
		for bit := range 8 * len(pkt) {
			bad := bytes.Clone(pkt)
			bad[bit/8] ^= 1 << (bit % 8)
			if _, err := o.Open(nil, suite, &k.Up, bad); err == nil {
				t.Errorf("%v: accepted with bit %d flipped", suite, bit)
			}
			// Nor does it help that the server derives the key from the altered header.
			if h, err := ParseHeader(bad); err == nil {
				other := Derive(testRoot(), h.Suite, h.Device, h.Epoch)
				if _, err := o.Open(nil, h.Suite, &other.Up, bad); err == nil {
					t.Errorf("%v: accepted with bit %d flipped, key of that header", suite, bit)
				}
			}
		}
		for n := range len(pkt) {
			if _, err := o.Open(nil, suite, &k.Up, pkt[:n]); err == nil {
				t.Errorf("%v: accepted when cut to %d bytes", suite, n)
			}
		}
		if _, err := o.Open(nil, suite, &k.Up, append(bytes.Clone(pkt), 0)); err == nil {
			t.Errorf("%v: accepted with a byte too many", suite)
		}
		if _, err := o.Open(nil, suite, &k.Up, pkt); err != nil {
			t.Errorf("%v: the honest one is refused: %v", suite, err)
		}
	}
}

func TestThreat13AckIsNoReport(t *testing.T) {
	for _, suite := range bothSuites {
		k := Derive(testRoot(), suite, testDevice, testEpoch)
		ack := AppendAck(nil, Header{suite, testDevice, testEpoch, 1}, Ack{}, &k.Ack)
		if _, err := ParseHeader(ack); !errors.Is(err, ErrLength) {
			t.Errorf("an ack: got %v, want ErrLength", err)
		}
		for vt := byte(0x18); vt <= 0x1f; vt++ {
			long := append([]byte{vt}, make([]byte, MinDatagram)...)
			if _, err := ParseHeader(long); !errors.Is(err, ErrVersion) {
				t.Errorf("type %#x: got %v, want ErrVersion", vt, err)
			}
		}
	}
}

func TestThreat19SuiteDowngrade(t *testing.T) {
	var o Opener
	for _, mine := range bothSuites {
		other := ChaCha20Poly1305 + AES128GCM - mine
		// Even a sender that has the root cannot move a device to the other suite.
		pkt, k := fullDatagram(t, other)
		if _, err := o.Open(nil, mine, &k.Up, pkt); !errors.Is(err, ErrSuite) {
			t.Errorf("%v datagram to a device of %v: got %v, want ErrSuite", other, mine, err)
		}
		// And relabelling one gives another key and other associated data.
		pkt, _ = fullDatagram(t, mine)
		pkt[0] = version | byte(other)
		relabelled := Derive(testRoot(), other, testDevice, testEpoch)
		if _, err := o.Open(nil, other, &relabelled.Up, pkt); !errors.Is(err, ErrAuth) {
			t.Errorf("%v relabelled %v: got %v, want ErrAuth", mine, other, err)
		}
	}
}

func TestThreat20ParsersSurviveJunk(t *testing.T) {
	r := testRand(5)
	good, k := fullDatagram(t, ChaCha20Poly1305)
	var o Opener
	for range 50_000 {
		pkt := randomBytes(r, r.IntN(80))
		if r.IntN(2) == 0 {
			pkt = bytes.Clone(good)
			for range 1 + r.IntN(4) {
				pkt[r.IntN(len(pkt))] ^= byte(1 + r.IntN(255))
			}
			if bytes.Equal(pkt, good) {
				continue
			}
		}
		ParseHeader(pkt)
		OpenAck(pkt, func(Header) *[32]byte { return &k.Ack })
		ParseEnrolment(string(pkt))
		for _, suite := range []Suite{0, 1, 2, 3} {
			if _, err := o.Open(nil, suite, &k.Up, pkt); err == nil {
				t.Fatalf("%x opens", pkt)
			}
		}
	}
}

func TestOpenerChangesKeysBetweenDatagrams(t *testing.T) {
	if !rekeyable {
		t.Error("this version of x/crypto cannot be re-keyed in place: opening allocates; see rekey.go")
	}
	const devices = 5000 // more than the cache of suite 2 holds
	for _, suite := range bothSuites {
		keys, pkts := make([]Keys, devices), make([][]byte, devices)
		for i := range keys {
			keys[i] = Derive(testRoot(), suite, track.DeviceID(i+1), testEpoch)
			pkts[i] = mustSeal(t, Header{suite, track.DeviceID(i + 1), testEpoch, 0}, &keys[i], fullBody)
		}
		var o Opener
		r := testRand(6)
		for range 4 * devices {
			i, j := r.IntN(devices), r.IntN(devices)
			_, err := o.Open(nil, suite, &keys[i].Up, pkts[j])
			if (err == nil) != (i == j) {
				t.Fatalf("%v: key of %d on datagram of %d: %v", suite, i, j, err)
			}
		}
	}
}

// Where the layout of x/crypto is not what rekey.go expects, everything still
// works, by a new object for each call.
func TestOpenWithoutRekeying(t *testing.T) {
	defer func(was bool) { rekeyable = was }(rekeyable)
	rekeyable = false
	pkt, k := fullDatagram(t, ChaCha20Poly1305)
	other := Derive(testRoot(), ChaCha20Poly1305, 1, 1)
	var o Opener
	for range 3 {
		if got, err := o.Open(nil, ChaCha20Poly1305, &k.Up, pkt); err != nil || !bytes.Equal(got, fullBody) {
			t.Fatalf("got %x, %v", got, err)
		}
		if _, err := o.Open(nil, ChaCha20Poly1305, &other.Up, pkt); !errors.Is(err, ErrAuth) {
			t.Fatalf("other key: got %v, want ErrAuth", err)
		}
	}
	if o.one.key != nil {
		t.Error("re-keyed in place although that is off")
	}
}

func TestKeyOfRefusesUnknownLayouts(t *testing.T) {
	var key [16]byte
	gcm, err := newGCM(&key)
	if err != nil {
		t.Fatal(err)
	}
	x, err := chacha20poly1305.NewX(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	if keyOf(gcm) != nil {
		t.Error("found a 32-byte key in AES-128-GCM")
	}
	if k := keyOf(x); k != nil && *k != [32]byte{} { // same layout, and then it is its key
		t.Error("found something else than the key in XChaCha20-Poly1305")
	}
}

func TestSealFromManyGoroutines(t *testing.T) {
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			id := track.DeviceID(g + 1)
			suite := bothSuites[g%2]
			k := Derive(testRoot(), suite, id, testEpoch)
			var o Opener
			for pid := range uint32(500) {
				pkt, err := Seal(nil, Header{suite, id, testEpoch, pid}, &k, fullBody)
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := o.Open(nil, suite, &k.Up, pkt); err != nil {
					t.Errorf("device %s pid %d: %v", id, pid, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestOpenDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	dst := make([]byte, 0, MaxDatagram)
	for _, suite := range bothSuites {
		pkt, k := fullDatagram(t, suite)
		forged := bytes.Clone(pkt)
		forged[30] ^= 1
		var o Opener
		if n := testing.AllocsPerRun(1000, func() {
			o.Open(dst, suite, &k.Up, pkt)
			o.Open(dst, suite, &k.Up, forged)
			ParseHeader(pkt)
			ParseHeader(pkt[:20])
		}); n != 0 {
			t.Errorf("%v: %v allocations", suite, n)
		}
	}
}

func TestSealDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	dst := make([]byte, 0, MaxDatagram)
	for _, suite := range bothSuites {
		k := Derive(testRoot(), suite, testDevice, testEpoch)
		h := Header{suite, testDevice, testEpoch, 1}
		if n := testing.AllocsPerRun(1000, func() { Seal(dst, h, &k, fullBody) }); n != 0 {
			t.Errorf("%v: %v allocations", suite, n)
		}
	}
}

// In a FIPS process everything else has to go on. The mode is chosen at start, so
// the test runs itself again.
func TestFIPSModes(t *testing.T) {
	if mode := os.Getenv("SEAL_TEST_FIPS"); mode != "" {
		testInFIPSMode(t, mode)
		return
	}
	for _, mode := range []string{"on", "only"} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestFIPSModes$", "-test.v")
		cmd.Env = append(os.Environ(), "SEAL_TEST_FIPS="+mode, "GODEBUG=fips140="+mode)
		if out, err := cmd.CombinedOutput(); err != nil || !bytes.Contains(out, []byte("--- PASS: TestFIPSModes")) {
			t.Errorf("fips140=%s: %v\n%s", mode, err, out)
		}
	}
}

func testInFIPSMode(t *testing.T, mode string) {
	k := Derive(testRoot(), AES128GCM, testDevice, testEpoch)
	pkt, err := hex.DecodeString("12a1b2c3d4e5f66553f1000000018e64a3a3ec843b8813d87c10c396f59be0abf30b3123c5c3aa15a9617fba4f9ce5e5fda0e9")
	if err != nil {
		t.Fatal(err)
	}
	var o Opener
	for range 2 {
		if got, err := o.Open(nil, AES128GCM, &k.Up, pkt); err != nil || !bytes.Equal(got, fullBody) {
			t.Errorf("suite 2: got %x, %v", got, err)
		}
	}
	pkt[25] ^= 1
	if _, err := o.Open(nil, AES128GCM, &k.Up, pkt); !errors.Is(err, ErrAuth) {
		t.Errorf("suite 2, forged: got %v, want ErrAuth", err)
	}
	h := Header{AES128GCM, testDevice, testEpoch, 1}
	ack := AppendAck(nil, h, Ack{Time: 0x6553f13d, Max: 1, Bitmap: 0x8000}, &k.Ack)
	if want := "1aa1b2c3d4e5f66553f100000001006553f13d0000018000a443f52737db2c8cae5a4d7018793579"; hex.EncodeToString(ack) != want {
		t.Errorf("ack: got %x, want %s", ack, want)
	}
	_, sealErr := Seal(nil, h, &k, fullBody)
	if mode == "on" {
		if err := errors.Join(sealErr, SelfTest()); err != nil {
			t.Error(err)
		}
		return
	}
	one := Derive(testRoot(), ChaCha20Poly1305, testDevice, testEpoch)
	_, oneErr := o.Open(nil, ChaCha20Poly1305, &one.Up, append([]byte{0x11}, make([]byte, MinDatagram)...))
	for name, err := range map[string]error{"seal": sealErr, "suite 1": oneErr, "self test": SelfTest()} {
		if !errors.Is(err, errNoCipher) {
			t.Errorf("%s: got %v, want errNoCipher", name, err)
		}
	}
}
