package client

import "unsafe"

const sizeofFleetDevice = unsafe.Sizeof(fleetDevice{})
