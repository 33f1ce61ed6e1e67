// Package gateway is the door for apps: the services of the schema over the frames of
// rpc, on connections that the roof hands in.
package gateway
