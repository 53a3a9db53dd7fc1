// Package console is the test console: a page from which a developer connects to the
// endpoints of a server and sees what is pushed.
package console

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html"
	"io"
	"net"
	"net/http"
	"strings"

	"fanfare/server"
)

// page is one file, which loads nothing from elsewhere.
//
//go:embed console.html
var page []byte

// policy allows the page's own script and style, by their hashes, and connections to
// where it came from. No other script runs in it, wherever it may come from, and no
// other page may frame it.
var policy = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; connect-src 'self'; " +
	"script-src " + sourceHash(page, "script") + "; style-src " + sourceHash(page, "style")

// sourceHash is the hash of an element's text as a Content-Security-Policy names it.
func sourceHash(page []byte, element string) string {
	_, rest, _ := bytes.Cut(page, []byte("<"+element+">"))
	text, _, ok := bytes.Cut(rest, []byte("</"+element+">"))
	if !ok {
		panic("BUG: console: console.html has no <" + element + ">")
	}
	sum := sha256.Sum256(text)
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// Page is an http.Handler, for server.Config.Fallback, that serves the console at / and
// says for every other path where it is. The fields are set before the server starts.
type Page struct {
	// Endpoints are those of the server.
	Endpoints []server.Endpoint
	// API is where the HTTP API listens; nil: none.
	API net.Addr
}

// ServeHTTP implements http.Handler.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	switch {
	case r.URL.Path != "/" && r.URL.Path != "/favicon.ico":
		w.WriteHeader(http.StatusNotFound)
		io.WriteString(w, "nothing is at this path; / is the test console\n")
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		h.Set("Allow", "GET, HEAD")
		w.WriteHeader(http.StatusMethodNotAllowed)
		io.WriteString(w, "only GET and HEAD are possible here\n")
	case r.URL.Path == "/":
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Content-Security-Policy", policy)
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cache-Control", "no-cache")
		filled := bytes.Replace(page, []byte("<!--endpoints-->"), []byte(p.options()), 1)
		w.Write(bytes.Replace(filled, []byte("<!--api-->"), []byte(html.EscapeString(p.apiURL())), 1))
	default:
		w.WriteHeader(http.StatusNoContent) // browsers ask for an icon
	}
}

// options lists the endpoints for the page's select.
func (p *Page) options() string {
	var b strings.Builder
	for i := range p.Endpoints {
		ep := &p.Endpoints[i]
		b.WriteString(`<option data-identity="` + ep.Credentials() + `">` + html.EscapeString(ep.Path) + "</option>")
	}
	return b.String()
}

// apiURL is where the page's example says that the API is. The address is disclosed only
// if it is loopback, of no use elsewhere.
func (p *Page) apiURL() string {
	if tcp, ok := p.API.(*net.TCPAddr); ok && tcp.IP.IsLoopback() {
		return "http://" + tcp.String()
	}
	return "http://API"
}
