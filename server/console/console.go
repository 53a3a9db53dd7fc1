package server

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html"
	"net"

	"github.com/valyala/fasthttp"
)

// consolePage is the test console: one file, which asks nobody else for anything.
//
//go:embed console.html
var consolePage []byte

// consolePolicy allows the page's own script and style, by their hashes, and
// connections to where it came from. No other script runs in it, wherever it may
// come from, and nobody may put the page into a frame.
var consolePolicy = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; connect-src 'self'; " +
	"script-src " + sourceHash(consolePage, "script") + "; style-src " + sourceHash(consolePage, "style")

// sourceHash is the hash of an element's text as a Content-Security-Policy wants
// it.
func sourceHash(page []byte, element string) string {
	_, rest, _ := bytes.Cut(page, []byte("<"+element+">"))
	text, _, ok := bytes.Cut(rest, []byte("</"+element+">"))
	if !ok {
		panic("BUG: server: console.html has no <" + element + ">")
	}
	sum := sha256.Sum256(text)
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// console serves the page, with the server's endpoints filled in.
func (srv *Server) console(ctx *fasthttp.RequestCtx) {
	h := &ctx.Response.Header
	h.SetContentType("text/html; charset=utf-8")
	h.Set("Content-Security-Policy", consolePolicy)
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cache-Control", "no-cache")
	page := bytes.Replace(consolePage, []byte("<!--endpoints-->"), []byte(srv.consoleOptions()), 1)
	page = bytes.Replace(page, []byte("<!--api-->"), []byte(html.EscapeString(srv.consoleAPI())), 1)
	ctx.SetBody(page)
}

// consoleAPI is where the page's example says that the API is. The address is
// told only if it is of no use elsewhere.
func (srv *Server) consoleAPI() string {
	if tcp, ok := srv.APIAddr().(*net.TCPAddr); ok && tcp.IP.IsLoopback() {
		return "http://" + tcp.String()
	}
	return "http://API"
}
