package embed

import (
	"fanfare/server"
	"fanfare/server/sse"
)

func newEvents(srv *server.Server) (*server.Mount, error) {
	ep := sse.PushEndpoint("/events") // clients name their user: set Identifier, and Insecure to false, for others
	return srv.Mount(ep)
}
