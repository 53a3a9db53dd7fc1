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

// page is the whole console.
//
//go:embed console.html
var page []byte

// policy allows the page's own script and style, by their hashes, and connections to
// the server that it came from. No other script runs in it, and no other page may frame
// it.
var policy = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; connect-src 'self'; " +
	"script-src " + sourceHash(page, "script") + "; style-src " + sourceHash(page, "style")

// sourceHash returns the hash of an element's text as a Content-Security-Policy names it.
func sourceHash(page []byte, element string) string {
	_, rest, _ := bytes.Cut(page, []byte("<"+element+">"))
	text, _, ok := bytes.Cut(rest, []byte("</"+element+">"))
	if !ok {
		panic("BUG: console: console.html has no <" + element + ">")
	}
	sum := sha256.Sum256(text)
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// Page serves the console at Path. For every other path it answers 404. The fields are
// set before the server starts.
type Page struct {
	// Path of the page, "/" if empty.
	Path string
	// Endpoints are those of the server.
	Endpoints []server.Endpoint
	// API is where the HTTP API listens; nil: unknown.
	API net.Addr
	// APITLS says that the API speaks TLS.
	APITLS bool
	// APIKey says that the API requires a key, so that the page's example has one.
	APIKey bool
	// Server and Authorizes let the page push: Authorizes reports whether a key may. nil: the page
	// does not push.
	Server     *server.Server
	Authorizes func(key string) bool
}

// ServeHTTP implements http.Handler.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	path := p.Path
	if path == "" {
		path = "/"
	}
	switch {
	case r.URL.Path != path && r.URL.Path != "/favicon.ico":
		w.WriteHeader(http.StatusNotFound)
		io.WriteString(w, "nothing is at this path; the test console is at "+path+"\n")
	case r.Method == http.MethodPost && r.URL.Path == path && p.canPush():
		status, text := p.push(w, r)
		w.WriteHeader(status)
		io.WriteString(w, text+"\n")
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		allow := "GET, HEAD"
		if p.canPush() && r.URL.Path == path {
			allow += ", POST"
		}
		h.Set("Allow", allow)
		w.WriteHeader(http.StatusMethodNotAllowed)
		io.WriteString(w, "this path takes "+allow+"\n")
	case r.URL.Path == path:
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Content-Security-Policy", policy)
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cache-Control", "no-cache")
		w.Write(p.fill(page))
	default:
		w.WriteHeader(http.StatusNoContent) // browsers ask for an icon
	}
}

// fill replaces the marks of the page.
func (p *Page) fill(page []byte) []byte {
	auth, push := "", "hidden"
	if p.APIKey {
		auth = "required"
	}
	if p.canPush() {
		push = ""
	}
	return []byte(strings.NewReplacer(
		"<!--endpoints-->", p.options(),
		"<!--api-->", html.EscapeString(p.apiURL()),
		"<!--api-key-->", auth,
		"<!--push-->", push,
	).Replace(string(page)))
}

// options lists the endpoints for the page's select.
func (p *Page) options() string {
	var b strings.Builder
	for i := range p.Endpoints {
		ep := &p.Endpoints[i]
		if ep.Streams() {
			continue // the page speaks WebSocket
		}
		var protocols []string
		for _, d := range ep.Dialects {
			protocols = append(protocols, d.Protocol())
		}
		b.WriteString(`<option data-identity="` + ep.Credentials() + `" data-protocols="` + html.EscapeString(strings.Join(protocols, " ")) + `">` +
			html.EscapeString(ep.Path) + "</option>")
	}
	return b.String()
}

// apiURL is where the page's example says that the API is. Its address is disclosed only
// if it is loopback, and so of no use elsewhere.
func (p *Page) apiURL() string {
	scheme := "http://"
	if p.APITLS {
		scheme = "https://"
	}
	if tcp, ok := p.API.(*net.TCPAddr); ok && tcp.IP.IsLoopback() {
		return scheme + tcp.String()
	}
	return scheme + "API"
}
