package server

import (
	"net"

	"github.com/valyala/fasthttp"
)

func (srv *Server) serveAPI(ln net.Listener)              { ln.Close() }
func (srv *Server) stopAPI()                              {}
func (srv *Server) plainHandler(ctx *fasthttp.RequestCtx) { ctx.Error("not found", 404) }
