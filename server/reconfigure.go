package server

import (
	"slices"

	"fanfare/server/internal/field"
	"fanfare/server/internal/limit"
)

// Reconfigure changes the configuration of a running server. These fields of cfg take
// effect:
//
//   - AllowOrigins, TrustedProxies, Forwarded, ProxyProtocol, HandshakeTimeout, HandshakesPerIP and
//     HandshakeRate for handshakes from now on;
//   - MaxConnections, ConnectionsPerIP, SessionsPerUser, SessionsFull and
//     TopicsPerSession for new connections, sessions and subscriptions: what exceeds a
//     lower limit stays;
//   - UserFull, TopicFull and the Rate of Endpoints for every session at once;
//   - PingInterval, PingTimeout and CloseTimeout for a session when its present timer has
//     fired, that is, within the former PingInterval;
//   - DrainDelay, DrainRate and DrainSpread when Drain is called.
//
// All other fields stay as New was given them, whatever cfg says, and so do the endpoints
// of a Mount. A zero field means its default, as for New: start from Config. The error is
// that of Validate, or says that Endpoints have other paths than the server's; then
// nothing is changed.
func (srv *Server) Reconfigure(cfg Config) error {
	if err := cfg.validate(); err != nil {
		return err
	}
	for _, ep := range cfg.Endpoints {
		if srv.endpoints[ep.Path] == nil {
			return field.Wrapf("server: %w", field.Errorf("Endpoints", "has one at %s, which the server does not serve: endpoints cannot be added while it runs", ep.Path))
		}
	}
	if len(cfg.Endpoints) != len(srv.endpoints) {
		return field.Wrapf("server: %w", field.Errorf("Endpoints", "has %d endpoints, the server serves %d: they cannot be removed while it runs", len(cfg.Endpoints), len(srv.endpoints)))
	}
	srv.changing.Lock()
	defer srv.changing.Unlock()
	next := srv.Config()
	next.AllowOrigins = cfg.AllowOrigins
	next.TrustedProxies = cfg.TrustedProxies
	next.ProxyProtocol = cfg.ProxyProtocol
	next.Forwarded = cfg.Forwarded
	next.HandshakeTimeout = cfg.HandshakeTimeout
	next.HandshakesPerIP = cfg.HandshakesPerIP
	next.HandshakeRate = cfg.HandshakeRate
	d := limit.Divide(next.OtherDescriptors)
	next.MaxConnections = withinDescriptors(cfg.MaxConnections, d)
	next.ConnectionsPerIP = cfg.ConnectionsPerIP
	next.SessionsPerUser = cfg.SessionsPerUser
	next.SessionsFull = cfg.SessionsFull
	next.TopicsPerSession = cfg.TopicsPerSession
	next.UserFull = cfg.UserFull
	next.TopicFull = cfg.TopicFull
	next.PingInterval = cfg.PingInterval
	next.PingTimeout = cfg.PingTimeout
	next.CloseTimeout = cfg.CloseTimeout
	next.DrainDelay = cfg.DrainDelay
	next.DrainRate = cfg.DrainRate
	next.DrainSpread = cfg.DrainSpread
	next.Endpoints = srv.withRates(cfg.Endpoints)
	if next.MaxConnections != srv.live().MaxConnections {
		warnAboutDescriptors(&cfg, d)
	}

	srv.current.Store(&next)
	srv.users.SetLimits(next.limits())
	srv.setLocalOnly()
	return nil
}

// withRates puts the rates of endpoints into force, and returns the server's endpoints
// with them.
func (srv *Server) withRates(from []Endpoint) []Endpoint {
	rates := make(map[string]*Rate, len(from))
	for i := range from {
		rates[from[i].Path] = &from[i].Rate
		srv.endpoints[from[i].Path].rate.Store(&from[i].Rate)
	}
	all := slices.Clone(srv.cfg.Endpoints)
	for i := range all {
		all[i].Rate = *rates[all[i].Path]
	}
	return all
}
