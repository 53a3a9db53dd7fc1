// Package fasthttpmount serves a server.Mount inside a fasthttp server.
//
//	mount, err := srv.Mount(endpoint)
//	…
//	fasthttp.ListenAndServe(addr, fasthttpmount.Handler(mount))
//
// It is a package of its own so that programs without fasthttp do not link it.
//
// The session opens when the handler has returned, because fasthttp gives up the
// connection only then. A connection over TLS keeps a goroutine of fasthttp.
package fasthttpmount
