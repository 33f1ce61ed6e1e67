package seal_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const headerFile = testdata + "/vectors.h"

// printHeader is the vectors that a client in C needs to test itself with: what it
// has to send, byte for byte, and the acks that it has to believe.
func printHeader(t testing.TB, vectors []vector) []byte {
	var b, reports, acks bytes.Buffer
	b.WriteString(`/* Test vectors of datagram v1 for a client in C99. Made from the same source as
 * vectors.json by: go test ./pkg/seal -run Vectors -update. See docs/protocol.md. */
#ifndef TRK1_VECTORS_H
#define TRK1_VECTORS_H

#include <stddef.h>
#include <stdint.h>

/* Sealing plaintext gives wire. */
struct trk1_report {
	const char *name;
	uint8_t suite, root[32], id[6];
	uint32_t epoch, pid;
	uint8_t okm[64]; /* K_up, then K_ack at 32 */
	const uint8_t *plaintext;
	size_t plaintext_len;
	const uint8_t *wire;
	size_t wire_len;
};

/* What a device that waits for (epoch, pid) has to believe. */
struct trk1_ack {
	const char *name;
	uint8_t suite, id[6];
	uint32_t epoch, pid;
	uint8_t k_ack[32];
	uint8_t status;
	uint32_t time, max;
	uint16_t bitmap;
	uint8_t wire[40];
};

`)
	list := func(s string) string {
		var l strings.Builder
		for i, c := range unhex(t, s) {
			if i > 0 {
				l.WriteByte(',')
			}
			fmt.Fprintf(&l, "%d", c)
		}
		return l.String()
	}
	n := 0
	for _, v := range vectors {
		switch {
		case v.Error != "":
		case v.Kind == "report":
			n++
			fmt.Fprintf(&b, "static const uint8_t trk1_plaintext_%d[] = {%s};\nstatic const uint8_t trk1_wire_%d[] = {%s};\n",
				n, list(v.Plaintext), n, list(v.Wire))
			fmt.Fprintf(&reports, "\t{%q, %d, {%s}, {%s}, %du, %du, {%s},\n\t\ttrk1_plaintext_%d, %d, trk1_wire_%d, %d},\n",
				v.Name, v.Suite, list(v.Root), list(v.ID), *v.Epoch, *v.PID, list(v.OKM), n, len(v.Plaintext)/2, n, len(v.Wire)/2)
		case v.Kind == "ack":
			fmt.Fprintf(&acks, "\t{%q, %d, {%s}, %du, %du, {%s}, %d, %du, %du, %d, {%s}},\n",
				v.Name, v.Suite, list(v.ID), *v.Epoch, *v.PID, list(v.OKM[64:]), v.Ack.Status, v.Ack.Time, v.Ack.Max, v.Ack.Bitmap, list(v.Wire))
		}
	}
	fmt.Fprintf(&b, "\nstatic const struct trk1_report trk1_reports[] = {\n%s};\n\nstatic const struct trk1_ack trk1_acks[] = {\n%s};\n\n#endif\n", &reports, &acks)
	return b.Bytes()
}

func TestVectorsHeaderIsUpToDate(t *testing.T) {
	want := printHeader(t, makeVectors(t))
	if *update {
		if err := os.WriteFile(headerFile, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(headerFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs from what the code makes; if that is meant: go test ./pkg/seal -run Vectors -update", headerFile)
	}
}

func TestVectorsHeaderCompiles(t *testing.T) {
	cc, err := exec.LookPath("cc")
	if err != nil {
		t.Skip("no C compiler: the header of vectors is not compiled")
	}
	main := filepath.Join(t.TempDir(), "main.c")
	src := `#include "vectors.h"
int main(void) {
	int sum = 0;
	for (size_t i = 0; i < sizeof trk1_reports / sizeof *trk1_reports; i++)
		sum += trk1_reports[i].wire_len == trk1_reports[i].plaintext_len + 30 ? 0 : 1;
	for (size_t i = 0; i < sizeof trk1_acks / sizeof *trk1_acks; i++)
		sum += trk1_acks[i].wire[14] == trk1_acks[i].status ? 0 : 1;
	return sum;
}
`
	if err := os.WriteFile(main, []byte(src), 0o600); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "main")
	if out, err := exec.Command(cc, "-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-I", testdata, "-o", program, main).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := exec.Command(program).Run(); err != nil {
		t.Errorf("the header does not agree with itself: %v", err)
	}
}
