package main

const (
	auditArch     = 0xc000003e
	sysClone      = 56
	sysUnshare    = 272
	sysSetns      = 308
	sysSeccomp    = 317
	sysClone3     = 435
	sysCloseRange = 436
)
