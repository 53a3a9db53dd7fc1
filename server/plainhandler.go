package server

import (
	"html"
	"strings"

	"github.com/valyala/fasthttp"
)

// plainHandler answers the ordinary requests of the public listener: the console
// at /, and for everything else a status and a text that says what to do.
func (srv *Server) plainHandler(ctx *fasthttp.RequestCtx) {
	h := &ctx.Response.Header
	h.SetContentType("text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	path := string(ctx.Path())
	ep := srv.endpoints[path]
	switch {
	case ep == nil && path != "/" && path != "/favicon.ico":
		ctx.SetStatusCode(fasthttp.StatusNotFound)
		ctx.SetBodyString("nothing is at this path; / is the test console\n")
	case !ctx.IsGet() && (ep != nil || !ctx.IsHead()):
		allow := "GET, HEAD"
		if ep != nil {
			allow = "GET" // RFC 6455, 4.1: a handshake is nothing else
		}
		ctx.SetStatusCode(fasthttp.StatusMethodNotAllowed)
		ctx.SetBodyString("only " + allow + " is possible here\n")
		h.Set("Allow", allow)
	case ep != nil:
		ctx.SetStatusCode(fasthttp.StatusUpgradeRequired)
		ctx.SetBodyString(upgradeText(ep))
		h.Set("Upgrade", "websocket") // RFC 9110, 15.5.22
		h.Set("Connection", "Upgrade, close")
		h.Set("Sec-WebSocket-Version", "13")
	case path == "/":
		srv.console(ctx)
	default:
		ctx.SetStatusCode(fasthttp.StatusNoContent) // browsers ask for an icon
	}
}

// upgradeText says how an endpoint wants to be spoken to.
func upgradeText(ep *endpoint) string {
	example := ep.Path
	switch ep.identity() {
	case "query":
		example += "?user=NAME&topic=TOPIC"
	case "token":
		example += "?token=TOKEN"
	}
	return "This is a WebSocket endpoint. Connect to ws://HOST" + example + " with a WebSocket client, or try it on the page at /.\n"
}

// identity tells how the endpoint learns who connects: "none", "query", or
// "token" for everything that proves something.
func (ep *endpoint) identity() string {
	switch {
	case ep.Identify == nil:
		return "none"
	case ep.Insecure:
		return "query"
	}
	return "token"
}

// consoleOptions lists the endpoints for the page's select.
func (srv *Server) consoleOptions() string {
	var b strings.Builder
	for _, ep := range srv.cfg.Endpoints {
		path := html.EscapeString(ep.Path)
		b.WriteString(`<option data-identity="` + srv.endpoints[ep.Path].identity() + `">` + path + "</option>")
	}
	return b.String()
}
