// Package fault makes the server worse on demand, so that whoever measures it can be
// tested: a gate that has never seen a regression proves nothing by letting all pass.
//
// A server has faults only if it was built with -tags benchfault, for Linux. Without the
// tag every function here is empty and compiled into its callers as nothing; the name of
// the environment variable is not even in the program, which a test of trackerd checks.
// With the tag, TRACKERD_FAULT says at the start what is to be worse:
//
//	TRACKERD_FAULT=cpu=150ns,write=10%
//
//	cpu=150ns      a request of RPC takes so much more time of a processor
//	alloc=1        a request of RPC allocates so many small objects more
//	latency=200us  answers of RPC leave so much later, and no processor works meanwhile
//	write=10%      so many of all writes to TCP connections are made as two
//	wrong=1000     every 1000th answer of Example.Sum and Example.AsyncSum is wrong
//	drop=1000      every 1000th frame that a viewer takes from the hub is left out
//	crash=2s       the process ends, with exit code 3, so long after its start
//	crash=1000req  or at the 1000th request of RPC
//	mute=NAME      /metrics does not tell the metric of that name
//	leak=1KiB      a connection keeps so much more memory
//
// Where they are placed:
//
//	cmd/trackerd  Start                 before anything is opened; Suffix, in the version
//	pkg/rpc       Request               before each handler, in the reader and in workers
//	              Answers               before each write of gathered answers
//	pkg/gateway   Conn                  what is accepted
//	              Sum                   what Example.Sum and Example.AsyncSum answer
//	pkg/hub       Drop                  each frame, before a viewer has it
//	pkg/web       Conn, Metrics         what is accepted; what /metrics says
//	              Split                 writes that go around Conn: those of several slices,
//	pkg/sock      Split                 and those that do not wait
//
// What is said of every so manieth counts in the whole process, so that it does not
// depend on which connection was quicker.
package fault
