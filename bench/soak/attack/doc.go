// Package attack attacks a running server and measures what its other clients notice.
//
// Each [Attack] starts two servers with the same flags, the attacked one and its twin, and gives each the same number
// of healthy clients. A healthy client has one connection for an echo a second and one for a push a second, and checks
// every byte, number and order of what it receives. The attackers are a process of their own and attack one of the two
// servers. Where the load of an attack is more than its harm (sessions that receive broadcasts), the twin gets the same
// load without the harm.
//
// # Bounds
//
// No healthy connection is lost, and no message is lost, late by seconds, duplicated, reordered or changed. The
// attacked server's memory stays under the bound of the attack, and after the attack it has the connections of the
// healthy clients only, and accepts new ones. An [Attack] further says how its attackers must end (rejected, closed
// with 1008, …) and which counters must have grown.
//
// The p99 of echoes and pushes is at most [Bound] times that of the twin in the same seconds, or under [Floor].
// [Compare] judges that: noise of the host hits both servers, so it does not count; noise that hits one of them makes
// the verdict undecided, not wrong.
//
// # Limitations
//
// Linux. Half-open peers need root and iproute2, for a network namespace. Attackers come from loopback addresses, which
// are exempt from the limits per address; the attacks on those limits come through a trusted proxy. Both servers share
// the machine, so what an attack costs in processor time slows the twin, too: real-time priorities, where the system
// allows them, let the twin run first.
package attack
