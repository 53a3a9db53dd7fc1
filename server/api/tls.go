package api

import (
	"crypto/tls"
	"errors"
	"net"

	"fanfare/server/internal/limit"
	"fanfare/server/internal/proxyproto"
	"fanfare/server/internal/secure"
)

// ErrNoTLS is what SetTLS returns for an API without Config.TLS.
var ErrNoTLS = errors.New("api: Config.TLS is nil, so connections are served without TLS")

// SetTLS replaces Config.TLS for the connections that are accepted from now on. Open
// connections are not affected.
func (a *API) SetTLS(cfg *tls.Config) error {
	if a.tls.Load() == nil {
		return ErrNoTLS
	}
	if err := secure.Validate(cfg); err != nil {
		return err
	}
	a.useTLS(cfg)
	return nil
}

func (a *API) useTLS(cfg *tls.Config) {
	cfg = cfg.Clone()
	cfg.NextProtos = []string{"http/1.1"}
	a.tls.Store(cfg)
}

// secure returns a connection that was accepted, with TLS if the API has it. The first
// Read does the handshake, within readTimeout. A PROXY protocol header comes before that.
func (a *API) secure(nc net.Conn) net.Conn {
	if peer, ok := nc.RemoteAddr().(*net.TCPAddr); ok && limit.Proxies(a.cfg.ProxyProtocol).Contain(peer.AddrPort().Addr().Unmap()) {
		nc = proxyproto.NewConn(nc, func(err error) {
			a.proxyHeaders.Add(1)
			a.cfg.Logger.Debug("API connection rejected", "address", peer, "err", err)
		})
	}
	cfg := a.tls.Load()
	if cfg == nil {
		return nc
	}
	return secure.NewConn(nc, cfg, func(_ *tls.ConnectionState, err error) {
		if err == nil {
			a.tlsHandshakes.Add(1)
			return
		}
		a.tlsFailed.Add(1)
		a.cfg.Logger.Debug("API TLS handshake failed", "address", nc.RemoteAddr(), "reason", secure.Reason(err), "err", err)
	})
}
