package world

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write what the packed map holds into testdata")

// holds is what there is in a packed level, so that another reader of the same bytes can
// be compared with this one. Steps are those of the file, as far north and south as the
// square goes: unlike places on the projection they do not depend on anybody's logarithm.
type holds struct {
	Arcs    int    `json:"arcs"`
	Borders int    `json:"borders"` // of the arcs
	Points  int    `json:"points"`
	Rings   int    `json:"rings"` // with an inside
	Refs    int    `json:"refs"`  // of all rings
	Wound   int    `json:"wound"` // rings that go round a pole
	Steps   string `json:"steps"` // SHA-256 of x and y of all points, int32 LE each
	SumX    uint64 `json:"sum_x"` // on the square
	SumY    uint64 `json:"sum_y"`
}

func holdsOf(l *Level, packed []byte) holds {
	h := holds{Arcs: len(l.arcs), Points: len(l.pos), Rings: len(l.rings), Refs: len(l.refs)}
	starts := map[int32]bool{}
	for _, a := range l.arcs {
		starts[a.from] = true
	}
	for _, s := range l.strokes {
		if starts[s.from] && s.kind == Border {
			h.Borders++
		}
	}
	for _, g := range l.rings {
		if g.wound != 0 {
			h.Wound++
		}
	}
	var header [4]float64
	for i := range header {
		header[i] = math.Float64frombits(binary.LittleEndian.Uint64(packed[5+8*i:]))
	}
	var steps []byte
	for _, p := range l.pos {
		lon := float64(p.X)/float64(turn)*360 - 180
		lat := math.Atan(math.Sinh(math.Pi*(1-2*float64(p.Y)/float64(turn)))) * 180 / math.Pi
		x, y := math.Round((lon-header[2])/header[0]), math.Round((lat-header[3])/header[1])
		steps = binary.LittleEndian.AppendUint32(steps, uint32(int32(x)))
		steps = binary.LittleEndian.AppendUint32(steps, uint32(int32(y)))
		h.SumX += uint64(p.X)
		h.SumY += uint64(p.Y)
	}
	h.Steps = fmt.Sprintf("%x", sha256.Sum256(steps))
	return h
}

// What the packed files hold is written down for readers in other languages, which are
// held to the same (clients/web).
func TestPackedFilesHoldWhatIsWrittenDown(t *testing.T) {
	cities := Cities()
	var names []string
	var sumX, sumY uint64
	for _, c := range cities {
		names = append(names, c.Name)
		sumX += uint64(c.Pos.X)
		sumY += uint64(c.Pos.Y)
	}
	got, err := json.MarshalIndent(map[string]any{
		"world-110m": holdsOf(Coarse(), gunzip(coarseGz)),
		"world-50m":  holdsOf(Fine(), gunzip(fineGz)),
		"cities": map[string]any{
			"count": len(cities), "first": cities[0].Name, "last": cities[len(cities)-1].Name,
			"names": fmt.Sprintf("%x", sha256.Sum256([]byte(strings.Join(names, "\n")))), "sum_x": sumX, "sum_y": sumY,
		},
	}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	const file = "testdata/packed.json"
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("the packed files hold\n%swritten down is\n%s", got, want)
	}
}
