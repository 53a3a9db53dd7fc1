// Package attack attacks a running server, and measures what others feel of it.
//
// Each [Attack] has a server of its own, started with the flags that it names, and a number of healthy
// clients: a client has one connection that echoes and one that is pushed to, each once a second, and every
// byte, number and order of what comes back is checked. They are measured before the attack and during it,
// second by second, and a second in which the machine itself stood still does not count. The attackers are a
// process of their own, which runs at the lowest priority where latency is judged: elsewhere they would have
// machines of their own, so what they cost themselves shall not be what the healthy feel.
//
// # Bounds
//
// No healthy connection is lost and no message late by seconds, lost, doubled, reordered or changed. The
// p99 of echoes and of pushes is at most twice what it was before, or under [Floor], which is twice what it
// is on a quiet machine. The server's memory stays under the attack's own bound, and its connections are
// those of the healthy again when the attackers are gone. Beyond that, an attack says what must have become
// of the attackers, and what the server must have counted.
//
// # Limitations
//
// Linux. Half-open peers need root and iproute2, for a network namespace. Attackers come from loopback
// addresses, which the limits per address exempt, so to the server they are as many attackers as there are
// connections; the attacks on those limits come through a trusted proxy.
package attack
