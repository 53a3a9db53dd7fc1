// Package million holds very many connections to one server process, a million unless told otherwise: each
// with a user of its own and its heartbeat armed. Then everybody receives one broadcast and a thousand random
// users one push each, and every message is checked.
//
// Both ends of a connection are on this machine, so it takes two descriptors and about 9 KiB of kernel memory
// besides what the server uses. Where the limit on descriptors forbids that, Boot runs the same thing inside
// user-mode Linux: a kernel as an ordinary process, in which the limits can be set. There it has one
// processor, and system calls cost several times what they do outside: its times say little, its memory and
// its counts say the same.
package million
