package main

const (
	auditArch     = 0xc00000b7
	sysClone      = 220
	sysUnshare    = 97
	sysSetns      = 268
	sysSeccomp    = 277
	sysClone3     = 435
	sysCloseRange = 436
)
