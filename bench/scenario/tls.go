package scenario

// tlsIdle and tlsEcho are idle and echo with TLS 1.3.
var (
	tlsIdle = overTLS(idle, "what an idle connection costs with TLS")
	tlsEcho = overTLS(echo, "the server echoes messages over TLS")
)

func overTLS(s Scenario, about string) Scenario {
	s.Name, s.About, s.TLS = "tls-"+s.Name, about, true
	return s
}
