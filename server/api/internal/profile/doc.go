// Package profile answers requests for profiles, as `go tool pprof` and `go tool trace` expect
// them. It uses runtime/pprof, because importing net/http/pprof would register handlers on
// http.DefaultServeMux of every program that embeds the server.
package profile
