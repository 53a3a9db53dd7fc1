package server

import "strings"

// endpointAt returns the endpoint of a path, as a client sends it; nil if there is none. An
// endpoint of exactly this path precedes one of a pattern, see Endpoint.Path.
func (srv *Server) endpointAt(path string) *endpoint {
	if ep := srv.endpoints[path]; ep != nil {
		return ep
	}
	slash := strings.LastIndexByte(path, '/')
	if slash < 0 || slash == len(path)-1 || !srv.patterns {
		return nil
	}
	return srv.endpoints[path[:slash+1]+"*"]
}
