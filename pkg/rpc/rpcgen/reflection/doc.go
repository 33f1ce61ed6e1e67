// Package reflection reads compiled schemas. It is flatc's Go for the reflection.fbs of
// the FlatBuffers release in go.mod, which has no such package itself.
package reflection
