// Command rpcgen makes the bindings of the services from a compiled schema.
package main

func main() {}
