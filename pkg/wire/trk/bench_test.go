package trk

import (
	"fmt"
	"testing"

	flatbuffers "github.com/google/flatbuffers/go"

	"tracker/pkg/rpc"
)

// adder answers Sum; the rest of the service is not asked.
type adder struct{ ExampleServer }

func (adder) Sum(_ *rpc.Request, in SumReq, out []byte) ([]byte, error) {
	return AppendSumRsp(out, &SumRspT{Sum: in.A() + in.B()}), nil
}

// frameOf is what a watch brings: n fixes and the names of their devices.
func frameOf(n int) *WatchFrameT {
	f := &WatchFrameT{
		Kind: FrameKindFixes, Stream: 7, Epoch: "0123456789abcdef", Position: 123456,
		Fixes: make([]*FixT, n), Names: make([]string, n), Left: []string{},
	}
	for i := range n {
		f.Fixes[i] = &FixT{
			Time: 1.7e12 + float64(i), Received: 1.7e12, DeviceLo: uint32(i), DeviceHi: 17,
			Has: HasPosition | HasVelocity, Lat: 525200000, Lon: 134050000, SpeedCmps: 1300, CourseCdeg: 9000,
		}
		f.Names[i] = fmt.Sprintf("van %d in town", i)
	}
	return f
}

func TestHotPathsDoNotAllocate(t *testing.T) {
	buf := make([]byte, 0, 1<<16)
	frame := frameOf(20)
	body := AppendWatchFrame(nil, frame)
	sum := AppendSumReq(nil, &SumReqT{A: 1, B: 2})
	status := AppendStatusReply(nil, &StatusReplyT{Hub: []*CounterT{{Name: "x"}}, Alarms: []*AlarmT{{Kind: "y"}}, Store: &StoreStatusT{}})
	request := &rpc.Request{Method: ExampleSumID, Body: sum}
	dispatch := methodExampleSum(adder{}, func(*rpc.Request, *MethodInfo) error { return nil }).Handle
	for name, f := range map[string]func(){
		"dispatch of Sum":   func() { buf, _ = dispatch(request, buf[:0]) },
		"AppendSumRsp":      func() { buf = AppendSumRsp(buf[:0], &SumRspT{Sum: 3}) },
		"AppendNearReq":     func() { buf = AppendNearReq(buf[:0], &NearReqT{At: &PointT{Lat: 1}}) },
		"AppendWatchFrame":  func() { buf = AppendWatchFrame(buf[:0], frame) },
		"VerifySumReq":      func() { VerifySumReq(sum) },
		"ReadSumReq":        func() { _, _ = ReadSumReq(sum) },
		"VerifyWatchFrame":  func() { VerifyWatchFrame(body) },
		"VerifyStatusReply": func() { VerifyStatusReply(status) },
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}

// BenchmarkDispatchSum is a request from its body to its answer's, guard and all.
func BenchmarkDispatchSum(b *testing.B) {
	request := &rpc.Request{Method: ExampleSumID, Body: AppendSumReq(nil, &SumReqT{A: 1, B: 2})}
	handle := methodExampleSum(adder{}, func(*rpc.Request, *MethodInfo) error { return nil }).Handle
	buf := make([]byte, 0, 64)
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if buf, err = handle(request, buf[:0]); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerifySumReq(b *testing.B) {
	body := AppendSumReq(nil, &SumReqT{A: 1, B: 2})
	b.ReportAllocs()
	for b.Loop() {
		if !VerifySumReq(body) {
			b.Fatal("refused")
		}
	}
}

// BenchmarkVerifySumReqOfBuilder is about a layout that is not our encoder's.
func BenchmarkVerifySumReqOfBuilder(b *testing.B) {
	builder := flatbuffers.NewBuilder(64)
	builder.Finish((&SumReqT{A: 1}).Pack(builder))
	body := builder.FinishedBytes()
	b.ReportAllocs()
	for b.Loop() {
		if !VerifySumReq(body) {
			b.Fatal("refused")
		}
	}
}

func BenchmarkReadSumReq(b *testing.B) {
	body := AppendSumReq(nil, &SumReqT{A: 1, B: 2})
	b.ReportAllocs()
	n := int32(0)
	for b.Loop() {
		in, err := ReadSumReq(body)
		if err != nil {
			b.Fatal(err)
		}
		n += in.A() + in.B()
	}
}

func BenchmarkVerifyWatchFrame(b *testing.B) {
	body := AppendWatchFrame(nil, frameOf(20))
	b.ReportAllocs()
	for b.Loop() {
		if !VerifyWatchFrame(body) {
			b.Fatal("refused")
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(20*b.N), "ns/fix")
}

func BenchmarkAppendSumRsp(b *testing.B) {
	buf := make([]byte, 0, 64)
	b.ReportAllocs()
	for b.Loop() {
		buf = AppendSumRsp(buf[:0], &SumRspT{Sum: 3})
	}
}

// BenchmarkBuilderSumRsp is what flatc's own way costs.
func BenchmarkBuilderSumRsp(b *testing.B) {
	builder := flatbuffers.NewBuilder(64)
	buf := make([]byte, 0, 64)
	b.ReportAllocs()
	for b.Loop() {
		builder.Reset()
		builder.Finish((&SumRspT{Sum: 3}).Pack(builder))
		buf = append(buf[:0], builder.FinishedBytes()...)
	}
}

func BenchmarkAppendWatchFrame(b *testing.B) {
	frame := frameOf(20)
	buf := AppendWatchFrame(nil, frame)
	b.ReportAllocs()
	for b.Loop() {
		buf = AppendWatchFrame(buf[:0], frame)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(20*b.N), "ns/fix")
	b.ReportMetric(float64(len(buf))/20, "B/fix")
}

func BenchmarkBuilderWatchFrame(b *testing.B) {
	frame := frameOf(20)
	builder := flatbuffers.NewBuilder(4096)
	buf := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		builder.Reset()
		builder.Finish(frame.Pack(builder))
		buf = append(buf[:0], builder.FinishedBytes()...)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(20*b.N), "ns/fix")
}
