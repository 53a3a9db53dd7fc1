package server_test

import (
	"fanfare/server"
	"fanfare/server/fasthttpmount"
)

func init() {
	server.FastHTTPHandler = fasthttpmount.Handler
	server.FastHTTPUpgrade = fasthttpmount.Upgrade
}
